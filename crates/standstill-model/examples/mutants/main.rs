//! One process of `cargo xtask mutants`: finds mutants, or runs one.
//!
//! ```text
//! mutants cells                  the cells that are exhausted in seconds
//! mutants sites CELL             the cell must pass; its mutants, one in a line: whether its set-up comes there, and what follows
//! mutants run "MUTANT" CELL...   runs the mutant in each cell until it is caught behind a set-up
//! mutants explore MEMORY TRIED   all cells of a memory model, behind those that were tried, until something is found
//! ```
//! A cell is `scenario:cpus:irqs:memory:fan_in:protocol:waits:seconds`, with `waits` `polls` or `sleeps`; `cells` prints it without the last
//! two. For `run` it ends with `:at-once` or `:after-setup`: from when on the mutant is one. A mutant may break what the checker itself
//! relies on, so each runs in a process of its own.

mod end;
mod explore;

use std::io::Write;
use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Instant;

use standstill::Protocol;
use standstill_model::{
    Begins, Bound, Coverage, MemoryModel, Mutant, Options, Sites, Verdict, check, scenarios,
};

fn cell(text: &str) -> Option<Options> {
    let parts: Vec<&str> = text.split(':').collect();
    let [scenario, cpus, irqs, memory, fan_in, protocol, waits, seconds] = parts[..] else { return None };
    let mut options = Options::default();
    options.scenario = scenarios().iter().find(|known| known.name == scenario)?.name;
    options.cpus = cpus.parse().ok()?;
    options.irqs = irqs.parse().ok()?;
    options.memory = MemoryModel::by_name(memory)?;
    options.fan_in = fan_in.parse().ok()?;
    options.protocol = Protocol::by_name(protocol)?;
    options.sleepers = waits == "sleeps";
    options.limits.seconds = seconds.parse().ok()?;
    options.limits.bytes = 2 << 30;
    options.shrink = false;
    Some(options)
}

fn run(options: &Options) -> Verdict {
    check(options, &mut |_| ControlFlow::Continue(()))
}

/// A text without what separates fields and lines.
fn plain(text: &str) -> String {
    text.replace(['\t', '\n'], " ")
}

/// Prints a line at once, as the next cell may end the process.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // Nobody reads it any more: then nobody needs it.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn sites(text: &str) -> ExitCode {
    let Some(mut options) = cell(text) else { return wrong(text) };
    let sites = Sites::new();
    options.sites = Some(sites.clone());
    let began = Instant::now();
    let verdict = run(&options);
    if let Err(why) = verdict.story() {
        let bounded = matches!(
            verdict.coverage,
            Coverage::Bounded { by: Bound::Seconds | Bound::States | Bound::Bytes, .. }
        );
        if !bounded {
            println!("broken\t{}", plain(&why));
            return ExitCode::FAILURE;
        }
    }
    println!("cell\t{}\t{}\t{}", verdict.passed(), verdict.states, began.elapsed().as_millis());
    for mutant in sites.list() {
        let part = |part| if sites.has(&mutant, part) { "yes" } else { "no" };
        println!("{}\t{}\t{mutant}", part(Begins::AtOnce), part(Begins::AfterSetup));
    }
    ExitCode::SUCCESS
}

/// Runs a mutant in each cell, until one catches it behind its set-up; says before each which one it is, and what its set-up failed of.
fn mutant(mutant: &str, cells: &[String]) -> ExitCode {
    let Ok(mutant) = mutant.parse() else { return wrong(mutant) };
    let mut bounded = 0;
    for (index, text) in cells.iter().enumerate() {
        let (name, begins) = match text.rsplit_once(':') {
            Some((name, "at-once")) => (name, Begins::AtOnce),
            Some((name, "after-setup")) => (name, Begins::AfterSetup),
            _ => return wrong(text),
        };
        let Some(mut options) = cell(name) else { return wrong(text) };
        (options.mutant, options.mutant_begins) = (Some(Mutant::clone(&mutant)), begins);
        say(&format!("in\t{index}\t{text}"));
        let verdict = run(&options);
        let panic = end::last_panic();
        match (&verdict.violation, &verdict.error) {
            (Some(violation), _) => {
                let checker = violation.rule == "panic" && panic.is_some_and(|(at, _)| end::is_checker(&at));
                let word = if checker { "checker" } else { "caught" };
                say(&format!("{word}\t{}\t{text}\t{}", violation.rule, plain(&violation.text)));
                if !checker {
                    return ExitCode::SUCCESS;
                }
            }
            (None, Some(error)) => say(&format!("set-up\t{text}\t{}", plain(error))),
            (None, None) => bounded += usize::from(!verdict.passed()),
        }
    }
    say(&format!("survived\t{bounded}"));
    ExitCode::SUCCESS
}

/// With many states, so without device interrupts.
const LARGE: [&str; 5] = ["pair-vs-offline", "deadline-vs-last-ack", "rollback", "call-forms", "down-and-up"];
/// With three CPUs, two of which meet in one word: stops use a tree.
const TREES: [&str; 7] = [
    "payload-stop",
    "payload-stop-end",
    "payload-pair",
    "payload-quiesce",
    "offline-vs-device-irq",
    "deadline-frees",
    "stop-from-inactive",
];
/// Without a stop, and where a CPU that left in one opens its interrupts again and dies in its idle loop.
const OTHER: [(&str, usize, &str); 3] = [
    ("payload-offline", 0, "refuse"),
    ("works-behind-stop", 1, "refuse"),
    ("payload-offline", 0, "linux-6.12"),
];

/// Each scenario on as few CPUs as it makes sense for, in both memory models.
fn cells() -> Vec<String> {
    let mut cells = Vec::new();
    for memory in ["sc", "ra"] {
        for scenario in scenarios() {
            let (name, irqs) = (scenario.name, usize::from(!LARGE.contains(&scenario.name)));
            cells.push(format!("{name}:{}:{irqs}:{memory}:8:standstill", scenario.min_cpus));
        }
        for name in TREES {
            cells.push(format!("{name}:3:0:{memory}:2:standstill"));
        }
        for (name, irqs, protocol) in OTHER {
            cells.push(format!("{name}:2:{irqs}:{memory}:8:{protocol}"));
        }
    }
    cells
}

fn wrong(text: &str) -> ExitCode {
    eprintln!("mutants: `{text}` is no cell and no mutant; see the head of examples/mutants.rs");
    ExitCode::from(2)
}

fn main() -> ExitCode {
    end::watch();
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [what] if what == "cells" => {
            cells().iter().for_each(|cell| println!("{cell}"));
            ExitCode::SUCCESS
        }
        [what, cell] if what == "sites" => sites(cell),
        [what, which, cells @ ..] if what == "run" && !cells.is_empty() => mutant(which, cells),
        [what, memory, tried] if what == "explore" => match tried.parse() {
            Ok(tried) => explore::explore(memory, tried),
            Err(_) => wrong(tried),
        },
        _ => wrong(&args.join(" ")),
    }
}
