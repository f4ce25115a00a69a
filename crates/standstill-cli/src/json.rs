//! What `--json` prints. A reader ignores fields that it does not know; a change of meaning changes the number in `schema`.

use serde::{Deserialize, Serialize};
use standstill::{CpuId, Drain, Property, Protocol, Stages};
use standstill_torture::{Dist, Hang};

/// `schema` of a torture.
pub const TORTURE: &str = "standstill.torture/1";

/// How a run ended.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything that had to hold held.
    Pass,
    /// Something did not.
    Fail,
    /// What was seen held, and the run was cut short.
    Incomplete,
}

impl Verdict {
    /// The exit code.
    #[must_use]
    pub const fn exit(self) -> u8 {
        match self {
            Verdict::Pass | Verdict::Incomplete => 0,
            Verdict::Fail => 1,
        }
    }

    /// In the table.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Incomplete => "incomplete",
        }
    }
}

/// The computer below.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct Host {
    /// Its cores.
    pub cpus: usize,
    /// Their name.
    pub model: String,
    /// What carries the simulated machine.
    pub accel: String,
}

/// How a CPU leaves.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
pub struct ProtocolJson {
    /// The preset's name.
    pub preset: String,
    /// `single`, `split` or `none`.
    pub stages: String,
    /// `none`, `dying`, `run_start` or `pass`.
    pub drain: String,
    /// Does a CPU that leaves never open its interrupts again?
    pub deaf: bool,
    /// The letters of the properties that it promises.
    pub promises: String,
}

impl From<&Protocol> for ProtocolJson {
    fn from(protocol: &Protocol) -> Self {
        ProtocolJson {
            preset: protocol.name().into(),
            stages: stages(protocol).into(),
            drain: drain(protocol).into(),
            deaf: protocol.deaf(),
            promises: letters(protocol.promises()),
        }
    }
}

/// The name of the disable stages.
#[must_use]
pub fn stages(protocol: &Protocol) -> &'static str {
    match protocol.stages() {
        Stages::Single => "single",
        Stages::Split => "split",
        Stages::None => "none",
    }
}

/// The name of the drain.
#[must_use]
pub fn drain(protocol: &Protocol) -> &'static str {
    match protocol.drain() {
        Drain::None => "none",
        Drain::Dying => "dying",
        Drain::RunStart => "run_start",
        Drain::Pass => "pass",
    }
}

/// The letters of `properties`, in the order W, L, S, O, F.
#[must_use]
pub fn letters(properties: &[Property]) -> String {
    Property::ALL.iter().filter(|p| properties.contains(p)).map(|p| p.letter()).collect()
}

/// A distribution, in nanoseconds. All zero if `n` is.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct DistJson {
    pub n: u64,
    pub min_ns: u64,
    pub mean_ns: u64,
    pub p50_ns: u64,
    pub p99_ns: u64,
    pub max_ns: u64,
}

impl From<Dist> for DistJson {
    fn from(d: Dist) -> Self {
        DistJson { n: d.n, min_ns: d.min, mean_ns: d.mean, p50_ns: d.p50, p99_ns: d.p99, max_ns: d.max }
    }
}

/// The calls of one form.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[expect(missing_docs, reason = "as in standstill_torture::Calls")]
pub struct CallsJson {
    pub form: String,
    pub sent: u64,
    pub ran: u64,
    pub refused: u64,
    pub busy: u64,
    pub lost: u64,
}

/// One direction of hotplug.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[expect(missing_docs, reason = "as in standstill_torture::Ops")]
pub struct OpsJson {
    pub tried: u64,
    pub ok: u64,
    /// Made to fail, and undone.
    pub vetoed: u64,
    pub latency: DistJson,
}

/// Both directions.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct HotplugJson {
    pub down: OpsJson,
    pub up: OpsJson,
    /// Why the first operation failed that did and was not made to.
    pub first_veto: Option<String>,
    /// How often each CPU, by its number, was taken down and brought back.
    pub cycles: Vec<u64>,
}

/// Stops of the machine, hotplug aside, and for how long all stops kept CPUs frozen.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct StopJson {
    pub count: u64,
    pub aborted: u64,
    pub frozen: DistJson,
}

/// One rule.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct RuleJson {
    pub id: String,
    pub scope: String,
    pub checked: u64,
    pub broken: u64,
}

/// The first thing that went wrong.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct FailureJson {
    pub rule: String,
    pub cpu: usize,
    pub func: Option<String>,
    pub sender: Option<usize>,
    pub t_ns: u64,
}

/// A wait that took long.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub struct StallJson {
    pub cpu: usize,
    pub site: String,
    pub waited_ns: u64,
    pub missing: usize,
    pub runs: String,
}

/// A workload that did not get on.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Debug)]
#[expect(missing_docs, reason = "the names say it; docs/torture.md has the rest")]
pub struct HangJson {
    pub workload: String,
    pub number: Option<usize>,
    pub doing: String,
    pub about: Option<usize>,
    pub cpu: usize,
    pub waited_ns: u64,
    pub site: Option<String>,
    pub missing: Option<usize>,
}

impl From<&Hang> for HangJson {
    fn from(hang: &Hang) -> Self {
        HangJson {
            workload: hang.workload.into(),
            number: hang.number,
            doing: hang.doing.into(),
            about: hang.about.map(CpuId::index),
            cpu: hang.cpu.index(),
            waited_ns: hang.waited_ns,
            site: hang.wait.map(|wait| wait.site.to_string()),
            missing: hang.wait.map(|wait| wait.missing.index()),
        }
    }
}

/// The result of a torture.
#[derive(Clone, PartialEq, Serialize, Deserialize, Debug)]
#[expect(missing_docs, reason = "the names say it; docs/torture.md has the rest")]
pub struct TortureJson {
    pub schema: String,
    pub version: String,
    pub command: Vec<String>,
    pub host: Host,
    pub protocol: ProtocolJson,
    pub seed: u64,
    pub exit: u8,
    pub verdict: Verdict,
    pub port: String,
    pub cpus: usize,
    pub seconds: f64,
    pub calls: Vec<CallsJson>,
    /// W.
    pub late: u64,
    /// L.
    pub lost: u64,
    /// S.
    pub spurious: u64,
    /// O.
    pub outside: u64,
    /// F.
    pub frozen: u64,
    /// Calls that a CPU that left ran in RUN, or in its pass.
    pub drained: u64,
    pub hotplug: HotplugJson,
    pub stop: StopJson,
    pub rules: Vec<RuleJson>,
    pub stalls: u64,
    /// The workload that did not get on, if one did not.
    #[serde(default)]
    pub hang: Option<HangJson>,
    pub first_stall: Option<StallJson>,
    pub first_failure: Option<FailureJson>,
    pub first_late: Option<FailureJson>,
    pub first_lost: Option<FailureJson>,
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn result() -> TortureJson {
        let dist = DistJson {
            n: 3,
            min_ns: 10_000,
            mean_ns: 20_000,
            p50_ns: 20_000,
            p99_ns: 30_000,
            max_ns: 30_000,
        };
        let none = DistJson::from(Dist::default());
        let calls = ["single", "single_wait", "async", "many", "many_wait", "all", "all_wait"];
        TortureJson {
            schema: TORTURE.into(),
            version: "0.1.0".into(),
            command: vec!["standstill".into(), "torture".into()],
            host: Host { cpus: 2, model: "a CPU".into(), accel: "threads".into() },
            protocol: ProtocolJson::from(&Protocol::STANDSTILL),
            seed: 7,
            exit: 0,
            verdict: Verdict::Pass,
            port: "hosted".into(),
            cpus: 4,
            seconds: 10.0,
            calls: calls
                .iter()
                .map(|form| CallsJson {
                    form: (*form).into(),
                    sent: 100,
                    ran: 90,
                    refused: 10,
                    busy: 5,
                    lost: 0,
                })
                .collect(),
            late: 0,
            lost: 0,
            spurious: 0,
            outside: 0,
            frozen: 4,
            drained: 4,
            hotplug: HotplugJson {
                down: OpsJson { tried: 4, ok: 3, vetoed: 1, latency: dist },
                up: OpsJson { tried: 3, ok: 0, vetoed: 0, latency: none },
                first_veto: Some("CPU 1 was busy".into()),
                cycles: vec![0, 2, 1, 5],
            },
            stop: StopJson { count: 9, aborted: 1, frozen: dist },
            rules: vec![RuleJson {
                id: "2 call-on-its-cpu".into(),
                scope: "local".into(),
                checked: 5,
                broken: 0,
            }],
            stalls: 0,
            hang: None,
            first_stall: None,
            first_failure: None,
            first_late: None,
            first_lost: None,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let result = result();
        let text = serde_json::to_string(&result).unwrap();
        assert_eq!(serde_json::from_str::<TortureJson>(&text).unwrap(), result);
    }

    #[test]
    fn protocols_have_the_schema_s_words() {
        for protocol in Protocol::ALL {
            let json = ProtocolJson::from(protocol);
            assert!(["single", "split", "none"].contains(&json.stages.as_str()));
            assert!(["none", "dying", "run_start", "pass"].contains(&json.drain.as_str()));
        }
        assert_eq!(ProtocolJson::from(&Protocol::STANDSTILL).promises, "WLSO");
        assert_eq!(ProtocolJson::from(&Protocol::LINUX_3_14).promises, "");
    }

    #[test]
    fn verdicts_are_words() {
        assert_eq!(serde_json::to_string(&Verdict::Incomplete).unwrap(), "\"incomplete\"");
        assert_eq!((Verdict::Pass.exit(), Verdict::Fail.exit(), Verdict::Incomplete.exit()), (0, 1, 0));
    }
}
