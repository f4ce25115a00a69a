//! `standstill presets`: the protocols by which a CPU can leave.

use std::fmt::Write as _;

use standstill::Protocol;

use crate::json;
use crate::layout::{self, Sheet};

/// The table.
pub(crate) fn list(sheet: Sheet) -> String {
    let mut table = layout::plain(&["preset", "stages", "drain", "deaf", "promises"]);
    for protocol in Protocol::ALL {
        let promises = json::letters(protocol.promises());
        table.add_row([
            protocol.name(),
            json::stages(protocol),
            json::drain(protocol),
            if protocol.deaf() { "yes" } else { "no" },
            if promises.is_empty() { "nothing" } else { &promises },
        ]);
    }
    let mut out = format!(
        "{}\n\n\
         W: no handler finds a call when its CPU is offline.  L: no accepted call is lost.  \
         S: no IPI is taken on an offline CPU.  \
         O: no call of another CPU runs outside the online mask.  \
         F: none runs while the machine is frozen.\n",
        sheet.table(&table)
    );
    let less: Vec<_> = Protocol::ALL.iter().filter(|p| !p.pins_online()).map(Protocol::name).collect();
    let _ = writeln!(
        out,
        "\n{}: no stop, so a pinned section may rely on the active mask and not on the online one, \
         and `on_each_cpu` leaves out a CPU that is leaving while it still runs.",
        less.join(", ")
    );
    sheet.fit(&out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_letter_shows_is_said_of_those_without_a_stop() {
        let text = list(Sheet::file());
        assert!(text.contains("\nrefuse, no-stop: no stop, so a pinned section"), "{text}");
    }
}
