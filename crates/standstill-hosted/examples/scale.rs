//! Times stops and calls on machines of 2 to 256 hosted CPUs: with one word for each stage of a stop, and with a tree, in turn. Prints a table;
//! `--write` puts it into docs/scale.md. On fewer cores than CPUs it mostly shows the host's scheduler.

use std::fmt::Write as _;
use std::io::{IsTerminal, stderr};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use standstill::context::{IrqOff, Stopped, Task};
use standstill::{CpuId, CpuMask, Machine, Protocol};
use standstill_hosted::{Config, Hosted, run};

type Big = Machine<Hosted, 256, 4>;

const SIZES: [usize; 8] = [2, 4, 8, 16, 32, 64, 128, 256];
const ROUNDS: usize = 3;
/// How long each operation is repeated in each round, at least.
const LENGTH: Duration = Duration::from_millis(250);
const FEWEST: usize = 50;
const OPERATIONS: [&str; 3] = ["stop_machine", "call_single", "on_each_cpu"];
/// How many CPUs meet in one word.
const WAYS: [(&str, usize); 2] = [("one word", usize::MAX), ("groups of 8", 8)];
const BEGIN: &str = "<!-- hosted: begin -->\n";
const END: &str = "<!-- hosted: end -->\n";

/// Times of one operation, in nanoseconds.
type Times = Vec<u64>;

fn repeat(mut operation: impl FnMut()) -> Times {
    let began = Instant::now();
    let mut times = Vec::new();
    while began.elapsed() < LENGTH || times.len() < FEWEST {
        let now = Instant::now();
        operation();
        times.push(now.elapsed().as_nanos() as u64);
    }
    times
}

fn measure(cpus: usize, fan_in: usize) -> [Times; 3] {
    let config = Config { fan_in, ipi_latency: None, ..Config::new(cpus) };
    run::<256, 4, [Times; 3]>(config, Protocol::STANDSTILL, |machine: &'static Big, task: &mut Task| {
        let all = CpuMask::first_n(cpus);
        let up = machine.cpus_up(task, &all, |_, error| panic!("{error}"));
        assert_eq!(up, Ok(all));
        let mut to = 0;
        [
            repeat(|| {
                let receipts = machine.stop_machine(task, None, &|_: &Stopped<'_>| 0).expect("a stop");
                assert_eq!(receipts.ran(), 1);
            }),
            repeat(|| {
                to = to % (cpus - 1) + 1;
                machine.call_single(task, CpuId::new(to), &|_: &IrqOff<'_>| {}).expect("a call");
            }),
            repeat(|| {
                machine.on_each_cpu(task, &|_: &IrqOff<'_>| {}).expect("a call");
            }),
        ]
    })
}

fn percentile(times: &mut [u64], percent: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100] as f64 / 1000.0
}

fn main() -> ExitCode {
    let write = match std::env::args().nth(1).as_deref() {
        None => false,
        Some("--write") => true,
        Some(other) => {
            eprintln!("scale: there is no option `{other}`; `--write` puts the table into docs/scale.md");
            return ExitCode::from(2);
        }
    };
    let plain = !stderr().is_terminal();
    let target = if plain { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    let bar = ProgressBar::with_draw_target(Some((SIZES.len() * ROUNDS * WAYS.len()) as u64), target);
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}") {
        bar.set_style(style);
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut text = format!(
        "Microseconds, median and 99th percentile of {ROUNDS} rounds in turn, on {cores} cores.\n\n| CPUs | samples |"
    );
    for operation in OPERATIONS {
        for (way, _) in WAYS {
            let _ = write!(text, " {operation}, {way} |");
        }
    }
    text.push_str("\n|---:|---:|");
    text.push_str(&"---:|".repeat(OPERATIONS.len() * WAYS.len()));
    text.push('\n');
    for cpus in SIZES {
        let mut all: [[Times; 3]; WAYS.len()] = Default::default();
        for round in 1..=ROUNDS {
            for ((way, fan_in), all) in WAYS.iter().zip(&mut all) {
                let message = format!("{cpus} CPUs, {way}, round {round} of {ROUNDS}");
                if plain {
                    eprintln!("{message}");
                }
                bar.set_message(message);
                for (all, times) in all.iter_mut().zip(measure(cpus, *fan_in)) {
                    all.extend(times);
                }
                bar.inc(1);
            }
        }
        let fewest = all.iter().flatten().map(Vec::len).min().unwrap_or(0);
        let _ = write!(text, "| {cpus} | ≥ {fewest} |");
        for operation in 0..OPERATIONS.len() {
            for all in &mut all {
                let times = &mut all[operation];
                let _ = write!(text, " {:.1}, {:.1} |", percentile(times, 50), percentile(times, 99));
            }
        }
        text.push('\n');
    }
    bar.finish_and_clear();
    print!("{text}");
    if write && let Err(error) = put(&text) {
        eprintln!("scale: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Puts the table between the marks of the page.
fn put(text: &str) -> Result<(), String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/scale.md");
    let old = std::fs::read_to_string(&page).map_err(|error| format!("docs/scale.md: {error}"))?;
    let (before, rest) = old.split_once(BEGIN).ok_or("docs/scale.md has no mark for the table")?;
    let (_, after) = rest.split_once(END).ok_or("docs/scale.md has no mark for the end of the table")?;
    std::fs::write(&page, format!("{before}{BEGIN}{text}{END}{after}"))
        .map_err(|error| format!("docs/scale.md: {error}"))
}
