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
    out
}
