//! `standstill presets`: the protocols by which a CPU can leave.

use std::fmt::Write as _;

use standstill::Protocol;

use crate::json;

/// The table.
pub(crate) fn list() -> String {
    let mut out = format!("{:<14} {:<8} {:<10} {:<5} promises\n", "preset", "stages", "drain", "deaf");
    for protocol in Protocol::ALL {
        let promises = json::letters(protocol.promises());
        // Writing to a string can't fail.
        let _ = writeln!(
            out,
            "{:<14} {:<8} {:<10} {:<5} {}",
            protocol.name(),
            json::stages(protocol),
            json::drain(protocol),
            if protocol.deaf() { "yes" } else { "no" },
            if promises.is_empty() { "nothing" } else { &promises },
        );
    }
    out.push_str(
        "\nW: no handler finds a call when its CPU is offline.  L: no accepted call is lost.  \
         S: no IPI is taken on an offline\n\
         CPU.  O: no call of another CPU runs outside the online mask.  \
         F: none runs while the machine is frozen.\n",
    );
    let less: Vec<_> = Protocol::ALL.iter().filter(|p| !p.pins_online()).map(Protocol::name).collect();
    let _ = writeln!(
        out,
        "\n{}: no stop, so a pinned section may rely on the active mask and not on the online one,\n\
         and `on_each_cpu` leaves out a CPU that is leaving while it still runs.",
        less.join(", ")
    );
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_letter_shows_is_said_of_those_without_a_stop() {
        assert!(list().contains("\nrefuse, no-stop: no stop, so a pinned section"), "{}", list());
    }
}
