//! One process of `cargo xtask mutants`: finds mutants, or runs one.
//!
//! ```text
//! mutants cells                  the cells that are exhausted in seconds
//! mutants sites CELL             the cell must pass; its mutants, one in a line
//! mutants run "MUTANT" CELL...   runs the mutant in each cell until it is caught
//! ```
//! A cell is `scenario:cpus:irqs:memory:fan_in:protocol:waits:seconds`, with `waits` `polls` or `sleeps`; `cells` prints it without the last
//! two. A mutant may break what the checker itself relies on, so
//! each runs in a process of its own.

use std::ops::ControlFlow;
use std::process::ExitCode;
use std::time::Instant;

use standstill::Protocol;
use standstill_model::{Bound, Coverage, MemoryModel, Mutant, Options, Sites, Verdict, check, scenarios};

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
        println!("{mutant}");
    }
    ExitCode::SUCCESS
}

fn mutant(mutant: &str, cells: &[String]) -> ExitCode {
    let Ok(mutant) = mutant.parse() else { return wrong(mutant) };
    let began = Instant::now();
    let mut bounded = 0;
    for text in cells {
        let Some(mut options) = cell(text) else { return wrong(text) };
        options.mutant = Some(Mutant::clone(&mutant));
        let verdict = run(&options);
        let (rule, why) = match (&verdict.violation, &verdict.error) {
            (Some(violation), _) => (violation.rule.clone(), violation.text.clone()),
            (None, Some(error)) => ("set-up".to_string(), error.clone()),
            (None, None) => {
                bounded += usize::from(!verdict.passed());
                continue;
            }
        };
        println!("caught\t{rule}\t{text}\t{}\t{}", began.elapsed().as_millis(), plain(&why));
        return ExitCode::SUCCESS;
    }
    println!("survived\t{bounded}\t{}", began.elapsed().as_millis());
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
fn cells() -> ExitCode {
    for memory in ["sc", "ra"] {
        for scenario in scenarios() {
            let (name, irqs) = (scenario.name, usize::from(!LARGE.contains(&scenario.name)));
            println!("{name}:{}:{irqs}:{memory}:8:standstill", scenario.min_cpus);
        }
        for name in TREES {
            println!("{name}:3:0:{memory}:2:standstill");
        }
        for (name, irqs, protocol) in OTHER {
            println!("{name}:2:{irqs}:{memory}:8:{protocol}");
        }
    }
    ExitCode::SUCCESS
}

fn wrong(text: &str) -> ExitCode {
    eprintln!("mutants: `{text}` is no cell and no mutant; see the head of examples/mutants.rs");
    ExitCode::from(2)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [what] if what == "cells" => cells(),
        [what, cell] if what == "sites" => sites(cell),
        [what, which, cells @ ..] if what == "run" && !cells.is_empty() => mutant(which, cells),
        _ => wrong(&args.join(" ")),
    }
}
