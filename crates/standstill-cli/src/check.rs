//! `standstill check`: runs the model, and says what was covered and what was found.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Instant;

use standstill::{Property, Protocol};
use standstill_io::Outputs;
use standstill_model::{
    Bound, Coverage, Options, Progress, Run, Saved, Step, Verdict as Found, Violation, counterexample,
    follow, replay, save,
};
use standstill_report::html::{Case, Page};
use standstill_report::{Trace, chrome, html, svg};

use crate::check_args::{CheckArgs, Instead};
use crate::check_json::{AuditedJson, CHECK, CheckJson, CoverageJson, ViolationJson};
use crate::check_progress::CheckProgress;
use crate::check_trace::{Broken, fate, title, trace};
use crate::check_words as words;
use crate::json::{Host, ProtocolJson, Verdict};
use crate::layout::Sheet;
use crate::{check_matrix, check_matrix_parts, check_parts, limits, run};

/// Ctrl-C was pressed.
static STOP: AtomicBool = AtomicBool::new(false);

/// From now on Ctrl-C ends a search with what it has seen so far; the second time ends the command.
pub(crate) fn listen() {
    STOP.store(false, SeqCst);
    // Without the handler, Ctrl-C ends the command without a verdict: no reason not to run.
    let _ = ctrlc::set_handler(|| {
        if STOP.swap(true, SeqCst) {
            std::process::exit(130);
        }
    });
}

/// Should a search go on?
pub(crate) fn go_on() -> ControlFlow<()> {
    if STOP.load(SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// How far something is; it says whether to go on.
pub(crate) type Report<'a> = &'a mut dyn FnMut(&Progress) -> ControlFlow<()>;

/// Something that a search found, and the run that shows it.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) rule: String,
    pub(crate) cpu: usize,
    pub(crate) text: String,
    pub(crate) location: String,
    pub(crate) interrupts: u32,
    pub(crate) preemptions: u32,
    pub(crate) steps: Vec<Step>,
    pub(crate) pair: Option<(usize, usize)>,
    pub(crate) choices: Vec<u32>,
}

impl Failure {
    /// What decides: the first broken promise or rule; else a late or lost call, which counts for every protocol, as in the torture.
    pub(crate) fn of(options: &Options, found: &Found, report: Report<'_>) -> Option<Failure> {
        if let Some(violation) = &found.violation {
            return Some(Failure::told(violation, violation.steps.clone()));
        }
        [Property::Late, Property::Lost].into_iter().find_map(|property| {
            Failure::shown(options, property, found.of(property).first.as_ref()?, report)
        })
    }

    /// What the model says of a broken promise or rule.
    pub(crate) fn told(violation: &Violation, steps: Vec<Step>) -> Failure {
        Failure {
            rule: violation.rule.clone(),
            cpu: violation.cpu,
            text: violation.text.clone(),
            location: violation.location.clone(),
            interrupts: words::interrupts(&steps),
            preemptions: violation.preemptions,
            steps,
            pair: violation.critical_pair,
            choices: violation.choices.clone(),
        }
    }

    /// That a run has no end: its last step is as good as any.
    pub(crate) fn endless(saved: &Saved, run: &Run) -> Failure {
        let last = run.steps.last();
        Failure {
            rule: saved.rule.clone(),
            cpu: last.map_or(0, |step| step.cpu),
            text: format!("a run of {} steps has no end", saved.choices.len()),
            location: last.map_or_else(String::new, |step| step.location.clone()),
            interrupts: words::interrupts(&run.steps),
            preemptions: run.preemptions,
            steps: run.steps.clone(),
            pair: None,
            choices: saved.choices.clone(),
        }
    }

    /// That `property` does not hold: by the cheapest run that shows it, else by the schedule `choices`.
    pub(crate) fn shown(
        options: &Options,
        property: Property,
        choices: &[u32],
        report: Report<'_>,
    ) -> Option<Failure> {
        let shrunk = counterexample(options, property, report);
        match shrunk {
            Some(v) => Failure::at(options, property, &v.choices, v.critical_pair),
            None => Failure::at(options, property, choices, None),
        }
    }

    /// That `property` does not hold, by this schedule.
    pub(crate) fn at(
        options: &Options,
        property: Property,
        choices: &[u32],
        pair: Option<(usize, usize)>,
    ) -> Option<Failure> {
        let run = replay(options, choices).ok()?;
        let broken = Broken { rule: property.letter().to_string(), pair };
        let picture = trace(options, &run.steps, Some(&broken));
        let at = picture.broken_at?;
        let cpu = run.steps[at].cpu;
        Some(Failure {
            rule: property.letter().to_string(),
            cpu,
            text: format!("CPU {cpu} {}", picture.steps[at].text),
            location: picture.steps[at].location.clone(),
            interrupts: words::interrupts(&run.steps),
            preemptions: run.preemptions,
            steps: run.steps,
            pair,
            choices: choices.to_vec(),
        })
    }

    /// The picture.
    pub(crate) fn trace(&self, options: &Options) -> Trace {
        let broken = Broken { rule: self.rule.clone(), pair: self.pair };
        let mut trace = trace(options, &self.steps, Some(&broken));
        trace.sentence = words::sentence(&self.rule, &self.text, &self.location);
        trace
    }

    /// The replay file.
    pub(crate) fn file(&self, options: &Options) -> String {
        save(options, &self.rule, &self.choices).unwrap_or_else(|error| format!("# {error}\n"))
    }

    /// What it costs to get there.
    pub(crate) fn facts(&self) -> Vec<String> {
        vec![
            words::count(u64::from(self.preemptions), "preemption"),
            words::count(u64::from(self.interrupts), "device interrupt"),
            words::count(self.steps.len() as u64, "step"),
        ]
    }

    /// For the page.
    pub(crate) fn case(&self, options: &Options, id: String, title: String) -> Case {
        Case {
            id,
            title,
            facts: self.facts(),
            trace: self.trace(options),
            cured: cured(options, &self.choices)
                .map(|trace| (format!("The same schedule under `{}`", Protocol::STANDSTILL.name()), trace)),
            replay: self.file(options),
        }
    }
}

/// The same schedule under the default protocol, if that is another one.
pub(crate) fn cured(options: &Options, choices: &[u32]) -> Option<Trace> {
    if options.protocol == Protocol::STANDSTILL {
        return None;
    }
    let mut options = options.clone();
    options.protocol = Protocol::STANDSTILL;
    let run = follow(&options, choices).ok()?;
    let broken = run.violation.as_ref().map(|v| Broken { rule: v.rule.clone(), pair: v.critical_pair });
    let mut trace = trace(&options, &run.steps, broken.as_ref());
    trace.sentence = match &run.violation {
        Some(v) => words::sentence(&v.rule, &v.text, &v.location),
        None => fate(&trace),
    };
    Some(trace)
}

/// Runs a check, prints its result and returns the exit code.
#[must_use]
pub fn check(args: &CheckArgs) -> u8 {
    if let Some(Instead::Merge(args)) = &args.instead {
        return check_parts::merge(args);
    }
    let mut outputs = match args.refuse().and_then(|()| outputs(args)) {
        Ok(outputs) => outputs,
        Err(error) => return standstill_io::refuse(&error),
    };
    // The other threads of a search, as many as there are cores at most, unless somebody asks for more.
    let threads = if args.threads == 0 { run::host().cpus } else { args.threads };
    if let Err(error) = limits::look(threads) {
        return standstill_io::refuse(&error);
    }
    listen();
    match args.shard {
        Some(shard) if args.matrix => return check_matrix_parts::part(args, shard, outputs),
        Some(shard) => return check_parts::part(args, shard, outputs),
        None if args.matrix => return check_matrix::matrix(args, outputs),
        None => {}
    }
    let options = args.options();
    let mut progress = CheckProgress::new();
    let began = Instant::now();
    let found = standstill_model::check(&options, &mut |now| {
        progress.show(now);
        go_on()
    });
    let failure = Failure::of(&options, &found, &mut |now| {
        progress.show_as("the cheapest run: ", now);
        go_on()
    });
    progress.clear();
    if let Some(error) = &found.error {
        let usage = standstill_io::refuse(error);
        // A set-up that fails is the code's doing, and not the command line's.
        return if found.fails_in_setup { 1 } else { usage };
    }
    let verdict = verdict(&found, failure.is_some());
    let time_ns = if found.time_ns == 0 { began.elapsed().as_nanos() as u64 } else { found.time_ns };
    let text = if args.json {
        let json = json(args, &options, &found, failure.as_ref(), verdict, time_ns);
        serde_json::to_string(&json).expect("plain values can be written") + "\n"
    } else {
        words::report(&options, &found, failure.as_ref(), verdict, Sheet::of_output())
    };
    let exit = standstill_io::answer(&text, Some(verdict.name()), verdict.exit());
    write_files(&mut outputs, &options, &found, failure.as_ref());
    if let Some(error) = found.not_kept {
        outputs.fail(error);
    }
    outputs.end(exit)
}

/// Pass or fail, or neither.
pub(crate) fn verdict(found: &Found, failed: bool) -> Verdict {
    let cut = matches!(
        found.coverage,
        Coverage::Bounded { by: Bound::States | Bound::Seconds | Bound::Bytes | Bound::Stopped, .. }
    );
    match (failed, cut) {
        (true, _) => Verdict::Fail,
        (false, true) => Verdict::Incomplete,
        (false, false) => Verdict::Pass,
    }
}

/// What is asked for, probed.
fn outputs(args: &CheckArgs) -> Result<Outputs, String> {
    let mut outputs = Outputs::new();
    if args.matrix {
        outputs.folder("--save", args.save.as_ref(), ".replay")?;
    } else {
        outputs.file("--save", args.save.as_ref())?;
    }
    outputs.kept("--checkpoint", args.checkpoint.as_ref())?;
    for (name, path) in [
        ("--part-file", &args.part_file),
        ("--html", &args.html),
        ("--svg", &args.svg),
        ("--trace", &args.trace),
    ] {
        outputs.file(name, path.as_ref())?;
    }
    Ok(outputs)
}

fn write_files(outputs: &mut Outputs, options: &Options, found: &Found, failure: Option<&Failure>) {
    let names = ["--save", "--svg", "--trace"];
    match failure {
        Some(failure) => {
            let picture = failure.trace(options);
            outputs.write("--save", &failure.file(options));
            outputs.write("--svg", &svg::render(&picture, svg::Style::default()));
            outputs.write("--trace", &chrome::render(&picture));
        }
        None => names.iter().filter_map(|name| outputs.wants(name)).for_each(|path| {
            let path = path.display();
            standstill_io::note(&format!("nothing was broken, so there is nothing to put into {path}"));
        }),
    }
    if outputs.wants("--html").is_some() {
        let mut about = vec![title(options), words::covered(found)];
        about.extend(found.assumptions.iter().map(|text| format!("Assumed: {text}.")));
        let cases = failure.map(|failure| failure.case(options, "violation".into(), title(options)));
        let page = Page {
            title: "standstill check".into(),
            about,
            matrix: None,
            cases: cases.into_iter().collect(),
        };
        outputs.write("--html", &html::render(&page));
    }
}

pub(crate) fn host() -> Host {
    Host { accel: "fibres".into(), ..run::host() }
}

fn json(
    args: &CheckArgs,
    options: &Options,
    found: &Found,
    failure: Option<&Failure>,
    verdict: Verdict,
    time_ns: u64,
) -> CheckJson {
    let (kind, bound) = words::coverage(found.coverage);
    CheckJson {
        schema: CHECK.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        command: crate::command_line(),
        host: host(),
        protocol: ProtocolJson::from(&options.protocol),
        seed: args.seed,
        exit: verdict.exit(),
        verdict,
        scenario: options.scenario.into(),
        cpus: options.cpus,
        irqs_per_cpu: options.irqs,
        ipi: options.ipi.name().into(),
        memory: options.memory.name().into(),
        engine: options.engine.name().into(),
        coverage: CoverageJson {
            kind: kind.into(),
            bound: bound.map(Into::into),
            runs: found.runs,
            states: found.states,
            steps: found.steps,
            depth: found.depth,
        },
        time_ns,
        peak_bytes: found.peak_bytes,
        assumptions: found.assumptions.clone(),
        audited: found.audited.map(|done| AuditedJson {
            merges: done.merges,
            schedules: done.schedules,
            steps: done.steps,
        }),
        violation: failure.map(|failure| ViolationJson {
            rule: failure.rule.clone(),
            cpu: failure.cpu,
            text: failure.text.clone(),
            location: failure.location.clone(),
            interrupts: failure.interrupts,
            preemptions: failure.preemptions,
            steps: failure.steps.len(),
            critical_pair: failure.pair,
            replay: failure.file(options),
        }),
    }
}

/// What can be checked.
#[must_use]
pub fn list() -> String {
    let scenarios = standstill_model::scenarios().iter();
    let lines = scenarios.map(|scenario| format!("{:<28}  {}\n", scenario.name, scenario.about));
    Sheet::of_output().fit(&lines.collect::<String>())
}
