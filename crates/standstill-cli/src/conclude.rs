//! The end of a torture, on whatever port: its result is put together and printed, and becomes an exit code.

use crate::args::TortureArgs;
use crate::json::{
    CallsJson, FailureJson, HangJson, Host, HotplugJson, ProtocolJson, StallJson, StopJson, TORTURE,
    TortureJson, Verdict,
};
use crate::layout::Sheet;
use crate::table;
use crate::verdict::Findings;

/// What a port found out, [`Findings`] aside.
pub(crate) struct Found {
    pub(crate) host: Host,
    pub(crate) seconds: f64,
    pub(crate) calls: Vec<CallsJson>,
    pub(crate) hotplug: HotplugJson,
    pub(crate) stop: StopJson,
    pub(crate) hang: Option<HangJson>,
    pub(crate) first_stall: Option<StallJson>,
    pub(crate) first_failure: Option<FailureJson>,
    pub(crate) first_late: Option<FailureJson>,
    pub(crate) first_lost: Option<FailureJson>,
}

/// Prints the result and returns the exit code.
pub(crate) fn conclude(args: &TortureArgs, seed: u64, findings: &Findings<'_>, found: Found) -> u8 {
    let Findings { tally, rules, .. } = findings;
    let (mut verdict, mut wrong) = (findings.verdict(), findings.wrong());
    let idle = if found.calls.iter().all(|calls| calls.ran == 0) {
        Some("no call ran")
    } else if args.cpus > 1 && found.hotplug.down.tried == 0 {
        Some("no CPU went offline")
    } else {
        None
    };
    if let (Verdict::Pass, Some(what)) = (verdict, idle) {
        verdict = Verdict::Incomplete;
        wrong.push(format!("{what} in the time that there was: take more --seconds"));
    }
    let result = TortureJson {
        schema: TORTURE.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        command: crate::command_line(),
        host: found.host,
        protocol: ProtocolJson::from(&args.protocol),
        seed,
        exit: verdict.exit(),
        verdict,
        port: args.on.name().into(),
        cpus: args.cpus,
        seconds: found.seconds,
        calls: found.calls,
        late: tally.late,
        lost: tally.lost,
        spurious: tally.spurious,
        outside: tally.outside,
        frozen: tally.frozen,
        drained: tally.drained,
        hotplug: found.hotplug,
        stop: found.stop,
        rules: rules.to_vec(),
        stalls: tally.stalled,
        hang: found.hang,
        first_stall: found.first_stall,
        first_failure: found.first_failure,
        first_late: found.first_late,
        first_lost: found.first_lost,
    };
    let text = if args.json {
        serde_json::to_string(&result).expect("plain values can be written")
    } else {
        table::render(&result, &wrong, Sheet::of_output())
    };
    standstill_io::answer(&(text + "\n"), Some(verdict.name()), verdict.exit())
}
