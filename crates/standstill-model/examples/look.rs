//! Checks one combination and prints the verdict: `look PRESET CPUS IRQS IPI [SCENARIO] [keep]`.

use std::ops::ControlFlow;

use standstill::Protocol;
use standstill_model::{Audit, Ipi, Options, check, scenarios};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let arg = |n: usize, default: &str| args.get(n).cloned().unwrap_or_else(|| default.to_string());
    let mut options = Options::default();
    options.protocol = Protocol::by_name(&arg(1, "standstill")).expect("no such preset");
    options.cpus = arg(2, "2").parse().expect("a number of CPUs");
    options.irqs = arg(3, "1").parse().expect("a number of interrupts");
    options.ipi = Ipi::by_name(&arg(4, "delayed")).expect("instant or delayed");
    let name = arg(5, "offline-vs-device-irq");
    options.scenario = scenarios().iter().find(|s| s.name == name).expect("no such scenario").name;
    options.keep_going = arg(6, "") == "keep";
    if let Ok(runs) = arg(7, "").parse() {
        options.engine = standstill_model::Engine::Random { runs, seed: 1 };
    }
    options.threads = std::env::var("THREADS").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    if let Ok(memory) = std::env::var("MEMORY") {
        options.memory =
            standstill_model::MemoryModel::by_name(&memory).expect("sc, tso, tso-unfenced or ra");
    }
    if let Some(fan_in) = std::env::var("FAN_IN").ok().and_then(|text| text.parse().ok()) {
        options.fan_in = fan_in;
    }
    options.reduce = std::env::var_os("PLAIN").is_none();
    if let Some(merges) = std::env::var("AUDIT").ok().and_then(|text| text.parse().ok()) {
        options.audit = Audit { merges, seed: 1, undone: true };
    }
    options.sleepers = std::env::var_os("SLEEPERS").is_some();
    options.mutant = std::env::var("MUTANT").ok().map(|text| text.parse().expect("a mutant"));
    if let Ok(letter) = std::env::var("FIND") {
        let property = standstill::Property::ALL.into_iter().find(|p| p.letter().to_string() == letter);
        match standstill_model::counterexample(&options, property.expect("W, L, S, O or F"), &mut |_| {
            ControlFlow::Continue(())
        }) {
            Some(found) => {
                println!(
                    "{} interrupts, {} preemptions, {:?}",
                    found.interrupts, found.preemptions, found.critical_pair
                );
                for (index, step) in found.steps.iter().enumerate() {
                    println!(
                        "{index:4} {:4} CPU {} {:?} {:?} {}",
                        step.choice, step.cpu, step.context, step.what, step.location
                    );
                }
            }
            None => println!("there is none"),
        }
        return;
    }
    let verdict = check(&options, &mut |now| {
        eprintln!("{} states, {} steps, depth {}", now.states, now.steps, now.depth);
        ControlFlow::Continue(())
    });
    println!(
        "{:?} {} steps {} ms {} KiB",
        verdict.coverage,
        verdict.steps,
        verdict.time_ns / 1_000_000,
        verdict.peak_bytes / 1024
    );
    for property in &verdict.properties {
        print!("{}: {}  ", property.property.letter(), property.count);
    }
    println!("ends {} depth {} {:?} {:?}", verdict.ends.len(), verdict.depth, verdict.audited, verdict.error);
    if let Some(violation) = &verdict.violation {
        println!("{} on CPU {}: {} ({})", violation.rule, violation.cpu, violation.text, violation.location);
        for step in &violation.steps {
            println!(
                "{:4} CPU {} {:?} {:?} {}",
                step.choice, step.cpu, step.context, step.what, step.location
            );
        }
    }
}
