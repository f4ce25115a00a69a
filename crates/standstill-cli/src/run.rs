//! `standstill torture`: a machine, the workloads on it, and a thread that watches both.
//!
//! | thread | does |
//! |---|---|
//! | main | boots the machine and waits for it |
//! | one for each CPU, one for the devices | the machine, see `standstill_hosted` |
//! | watcher | feeds the events to the rules, shows the progress, notices a machine that hangs |

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::thread::{self, available_parallelism};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use standstill::context::Task;
use standstill::event::Form;
use standstill::{CpuId, Machine};
use standstill_hosted::{Config, Hosted};
use standstill_torture::{
    Calls, Failure, Hang, Patience, Progress as Counts, Report, RuleCount, Settings, Torture,
};

use crate::args::TortureArgs;
use crate::conclude::{Found, conclude as print};
use crate::ends::{End, Ends, Workloads};
use crate::json::{
    CallsJson, FailureJson, HangJson, Host, HotplugJson, OpsJson, RuleJson, StallJson, StopJson,
};
use crate::judge::{Judge, Stall};
use crate::limits;
use crate::progress::Progress;
use crate::table;
use crate::verdict::Findings;
use crate::watch::Watch;

/// How often the progress is shown.
const SHOW_EVERY: Duration = Duration::from_millis(100);
/// How many CPUs meet in one word of a stop: a tree with a level for each two, as the port has it, and one word for all.
const FAN_INS: [usize; 3] = [2, 8, 64];
/// How many events are eaten between two looks at the clock.
const BITE: usize = 4096;

/// Ctrl-C was pressed.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Runs the torture, prints its result and returns the exit code.
#[must_use]
pub fn torture(args: &TortureArgs) -> u8 {
    // Without the handler, Ctrl-C ends the run without a table: no reason not to run.
    let _ = ctrlc::set_handler(|| {
        if INTERRUPTED.swap(true, SeqCst) {
            // The second time means it.
            std::process::exit(130);
        }
    });
    // The CPUs, the devices, the watcher, and those that build the machine and its judge.
    if let Err(error) = limits::look(args.cpus + 4) {
        return standstill_io::refuse(&error);
    }
    if args.cpus <= 64 { on_hosted::<64, 1>(args) } else { on_hosted::<1024, 16>(args) }
}

/// What the watcher needs of a torture, whatever its size.
trait Watched: Workloads + Sync {
    fn workloads(&self) -> &dyn Workloads;
    fn progress(&self) -> Counts;
    fn hold(&self, held: bool);
    fn report(&self) -> Report;
    fn cycles(&self) -> Vec<u64>;
}

impl<const N: usize, const W: usize> Workloads for Torture<Hosted, N, W> {
    fn look(&self, patience: &mut Patience) -> Option<Hang> {
        Torture::look(self, patience)
    }

    fn give_up(&self, patience: &mut Patience) -> Option<Hang> {
        Torture::give_up(self, patience)
    }

    fn slowest(&self, patience: &mut Patience) -> Option<Hang> {
        Torture::slowest(self, patience)
    }

    fn is_ending(&self) -> bool {
        Torture::is_ending(self)
    }
}

impl<const N: usize, const W: usize> Watched for Torture<Hosted, N, W> {
    fn workloads(&self) -> &dyn Workloads {
        self
    }

    fn progress(&self) -> Counts {
        Torture::progress(self)
    }

    fn hold(&self, held: bool) {
        Torture::hold(self, held);
    }

    fn report(&self) -> Report {
        Torture::report(self)
    }

    fn cycles(&self) -> Vec<u64> {
        (0..Torture::report(self).cpus).map(|cpu| Torture::cycles(self, CpuId::new(cpu))).collect()
    }
}

/// What the threads share.
struct Run {
    watch: Watch,
    torture: OnceLock<&'static dyn Watched>,
    /// The machine is off.
    over: AtomicBool,
    /// For how long the workloads ran.
    ran_ns: AtomicU64,
    /// Something is wrong, and that is enough.
    enough: AtomicBool,
}

/// What a torture on threads is made of.
struct Plan {
    config: Config,
    settings: Settings,
    length: Duration,
    cycles: u64,
    fail_fast: bool,
}

impl Plan {
    fn of(args: &TortureArgs, seed: u64) -> Plan {
        Plan {
            config: Config {
                stall_after: args.stall_after,
                seed,
                refused: standstill_io::stop,
                fan_in: FAN_INS[(seed % FAN_INS.len() as u64) as usize],
                ..Config::new(args.cpus)
            },
            settings: settings(args.cpus, seed),
            length: args.seconds,
            cycles: args.cycles,
            fail_fast: args.fail_fast,
        }
    }
}

/// What a torture on threads is made of, in words.
pub(crate) fn effective(args: &TortureArgs) -> String {
    let Plan { config, settings, length, cycles, fail_fast } = Plan::of(args, args.seed.unwrap_or(0));
    let Config { cpus, stall_after, seed, .. } = config;
    let protocol = args.protocol.name();
    format!("{protocol} {cpus} {stall_after:?} {seed} {settings:?} {length:?} {cycles} {fail_fast}")
}

fn on_hosted<const N: usize, const W: usize>(args: &TortureArgs) -> u8 {
    let run: &'static Run = Box::leak(Box::new(Run {
        watch: Watch::new(),
        torture: OnceLock::new(),
        over: AtomicBool::new(false),
        ran_ns: AtomicU64::new(0),
        enough: AtomicBool::new(false),
    }));
    let seed = args.seed.unwrap_or_else(seed_from_the_clock);
    let watcher = Judge::new(args.cpus, args.protocol).and_then(|judge| {
        let args = args.clone();
        thread::Builder::new().name("watcher".into()).spawn(move || watch(run, judge, &args, seed))
    });
    let watcher = match watcher {
        Ok(watcher) => watcher,
        Err(error) => return standstill_io::refuse(&limits::no_thread("watch the machine", &error)),
    };
    let Plan { config, settings, length, cycles, fail_fast: _ } = Plan::of(args, seed);
    let config = Config { observer: Some(&run.watch), ..config };
    standstill_hosted::run::<N, W, ()>(
        config,
        args.protocol,
        move |machine: &'static Machine<Hosted, N, W>, task: &mut Task| {
            let torture: &'static Torture<Hosted, N, W> =
                Box::leak(Box::new(Torture::new(machine, settings)));
            run.watch.set_hooks(|event| torture.observe(event), || torture.hold(true));
            let _ = run.torture.set(torture);
            let began = Instant::now();
            torture.run(task, || {
                let done = began.elapsed() >= length && torture.least_cycles() >= cycles;
                done || INTERRUPTED.load(Relaxed) || run.enough.load(Relaxed)
            });
            run.ran_ns.store(began.elapsed().as_nanos() as u64, Relaxed);
        },
    );
    run.over.store(true, SeqCst);
    watcher.join().expect("the watcher does not panic")
}

/// A new seed for each run. It is printed, so a run can be repeated as far as the choices go.
fn seed_from_the_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.as_micros() as u64)
}

/// With far more CPUs than cores, invokers rest between two operations: else a CPU that is waited for gets its turn only when all others
/// had theirs, and nothing comes to an end.
fn settings(cpus: usize, seed: u64) -> Settings {
    let cores = available_parallelism().map_or(1, usize::from);
    // Each operation keeps up to all CPUs busy, and each CPU operates: so the work grows with the square.
    let rest_ns = if cpus > 4 * cores { (cpus * cpus) as u64 * 2_000 } else { 0 };
    Settings { seed, rest_ns, ..Settings::default() }
}

/// The watcher: returns the exit code.
fn watch(run: &'static Run, mut judge: Judge, args: &TortureArgs, seed: u64) -> u8 {
    // It competes with all CPUs for a core, and must keep up with them. Where that is not allowed, the senders are held more often.
    let _ = rustix::process::nice(-10);
    let mut progress = Progress::new(args.seconds);
    let mut next_show = Instant::now() + SHOW_EVERY;
    let mut ends = Ends::new(Instant::now());
    let end = loop {
        // Looked at before the last bite, so that nothing that was emitted before the end is left.
        let over = run.over.load(SeqCst);
        let mut eaten = 0;
        while eaten < BITE || over {
            let Some(event) = run.watch.next() else { break };
            judge.eat(&event);
            eaten += 1;
        }
        let torture = run.torture.get();
        if let Some(torture) = torture
            && !run.watch.is_crowded()
        {
            torture.hold(false);
        }
        if over {
            break None;
        }
        let now = Instant::now();
        if now >= next_show {
            next_show = now + SHOW_EVERY;
            if let Some(torture) = torture {
                progress.show(&torture.progress(), &judge.tally());
                if args.fail_fast && is_wrong(run, args, *torture, &judge) {
                    run.enough.store(true, Relaxed);
                }
            }
            for stall in judge.new_stalls() {
                progress.say(&stall.to_string());
            }
            let hurry = INTERRUPTED.load(Relaxed) || run.enough.load(Relaxed);
            let end = ends.look(now, torture.map(|torture| torture.workloads()), hurry);
            if end.is_some() {
                break end;
            }
        }
        if eaten < BITE {
            thread::sleep(Duration::from_millis(1));
        }
    };
    progress.clear();
    if end.is_none() {
        judge.finish();
    }
    let exit = conclude(run, args, seed, &judge, end.as_ref());
    if end.is_some() {
        // The machine's threads can't be ended one by one any more.
        std::process::exit(exit.into());
    }
    exit
}

/// Is what was seen so far a failure?
fn is_wrong(run: &Run, args: &TortureArgs, torture: &dyn Watched, judge: &Judge) -> bool {
    let (tally, rules) = (judge.tally(), rules(&torture.report(), judge));
    let missed = run.watch.missed();
    let findings = Findings {
        protocol: args.protocol,
        tally: &tally,
        rules: &rules,
        missed,
        cut_short: false,
        hangs: None,
    };
    !findings.wrong().is_empty()
}

/// Prints the result and returns the exit code.
fn conclude(run: &Run, args: &TortureArgs, seed: u64, judge: &Judge, end: Option<&End>) -> u8 {
    let (hangs, hang) = match end {
        Some(End::Hangs(words, hang)) => (Some(words.as_str()), hang.as_ref()),
        Some(End::LetGo(about)) => {
            standstill_io::note(&format!("let go before its end: {about}"));
            (None, None)
        }
        None => (None, None),
    };
    let Some(torture) = run.torture.get() else {
        // There is nothing to report of a machine that never was.
        standstill_io::note(&format!("wrong: {}", hangs.unwrap_or("it was let go")));
        return u8::from(hangs.is_some());
    };
    let report = torture.report();
    let tally = judge.tally();
    let mut rules = rules(&report, judge);
    rules.push(torture_rule(&report.operations()));
    if end.is_none() {
        rules.push(torture_rule(&report.agreement(&tally)));
    }
    let findings = Findings {
        protocol: args.protocol,
        tally: &tally,
        rules: &rules,
        missed: run.watch.missed(),
        cut_short: INTERRUPTED.load(Relaxed) || end.is_some(),
        hangs,
    };
    let found = Found {
        host: host(),
        seconds: Duration::from_nanos(run.ran_ns.load(Relaxed)).as_secs_f64(),
        calls: report.calls_seen(&tally).iter().map(|(form, calls)| calls_of(*form, calls)).collect(),
        hotplug: HotplugJson {
            down: ops(&report.down),
            up: ops(&report.up),
            first_veto: report.veto.map(|veto| veto.to_string()),
            cycles: torture.cycles(),
        },
        stop: StopJson { count: report.stops, aborted: report.aborted, frozen: report.frozen.into() },
        hang: hang.map(HangJson::from),
        first_stall: judge.stalls().first().map(|Stall { cpu, stall }| StallJson {
            cpu: cpu.index(),
            site: stall.site.to_string(),
            waited_ns: stall.waited_ns,
            missing: stall.missing.index(),
            runs: stall.running().to_string(),
        }),
        first_failure: first_failure(&report, judge),
        first_late: report.first_late.as_ref().map(failure_of),
        first_lost: report.first_lost.as_ref().map(failure_of),
    };
    print(args, seed, &findings, found)
}

fn calls_of(form: Form, calls: &Calls) -> CallsJson {
    let Calls { sent, ran, refused, busy, lost } = *calls;
    CallsJson { form: form.name().into(), sent, ran, refused, busy, lost }
}

fn torture_rule(rule: &RuleCount) -> RuleJson {
    RuleJson { id: rule.id.into(), scope: "torture".into(), checked: rule.checked, broken: rule.broken }
}

fn ops(ops: &standstill_torture::Ops) -> OpsJson {
    OpsJson { tried: ops.tried, ok: ops.ok, vetoed: ops.vetoed, latency: ops.latency.into() }
}

/// The rules on events by their numbers, and the torture's own by their names.
fn rules(report: &Report, judge: &Judge) -> Vec<RuleJson> {
    let on_events = judge.rules().into_iter().map(|(rule, checked, broken)| RuleJson {
        id: format!("{} {}", rule.id, rule.name),
        scope: rule.scope.name().into(),
        checked,
        broken,
    });
    let own = report.rules.iter().map(torture_rule);
    on_events.chain(own).collect()
}

/// What the workloads noticed first; else the first rule on events.
fn first_failure(report: &Report, judge: &Judge) -> Option<FailureJson> {
    if let Some(failure) = &report.first_failure {
        return Some(failure_of(failure));
    }
    let violation = judge.first()?;
    let call = violation.call();
    let number = violation.rule;
    Some(FailureJson {
        rule: number.rule().map_or_else(|| number.to_string(), |rule| format!("{number} {}", rule.name)),
        cpu: violation.cpu.index(),
        func: call.map(|call| table::short_name(call.func)),
        sender: call.map(|call| call.sender.index()),
        t_ns: 0,
    })
}

fn failure_of(failure: &Failure) -> FailureJson {
    let Failure { rule, cpu, func, sender, t_ns } = *failure;
    FailureJson {
        rule: rule.into(),
        cpu: cpu.index(),
        func: func.map(table::short_name),
        sender: sender.map(CpuId::index),
        t_ns,
    }
}

/// This computer.
pub(crate) fn host() -> Host {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    Host {
        cpus: available_parallelism().map_or(1, usize::from),
        model: model.map_or_else(|| std::env::consts::ARCH.into(), |(_, name)| name.trim().into()),
        accel: "threads".into(),
    }
}
