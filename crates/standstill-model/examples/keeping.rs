//! What it costs to keep a search now and then: the same search without and with a checkpoint, in
//! turn.
//!
//! `cargo run --release -p standstill-model --example keeping [ROUNDS] [STATES] [SECONDS]`

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use standstill_model::{Options, check};

fn main() {
    let number =
        |nth: usize, or: f64| std::env::args().nth(nth).and_then(|text| text.parse().ok()).unwrap_or(or);
    let (rounds, states, seconds) = (number(1, 5.0) as usize, number(2, 300_000.0) as u64, number(3, 1.0));
    let path = std::env::temp_dir().join(format!("standstill-keeping-{}", std::process::id()));
    let mut times = [Vec::new(), Vec::new()];
    for round in 0..2 * rounds {
        // Who begins changes in each round.
        let keeps = (round + round / 2) % 2;
        let mut options = Options::default();
        (options.cpus, options.irqs, options.limits.states) = (4, 2, states);
        options.checkpoint = (keeps == 1).then(|| path.clone());
        options.checkpoint_every = Duration::from_secs_f64(seconds);
        let mut written = 0;
        let mut last = None;
        let began = Instant::now();
        let mut searched = Duration::ZERO;
        let verdict = check(&options, &mut |_| {
            searched = began.elapsed();
            let now = std::fs::metadata(&path).and_then(|file| file.modified()).ok();
            written += usize::from(now.is_some() && now != last);
            last = now;
            ControlFlow::Continue(())
        });
        let size = std::fs::metadata(&path).map_or(0, |file| file.len());
        let _ = std::fs::remove_file(&path);
        println!(
            "{}: {:.3} s, {} states, kept {written} times, a file of {size} bytes in the end",
            ["without", "with   "][keeps],
            searched.as_secs_f64(),
            verdict.states
        );
        times[keeps].push(searched);
    }
    let [without, with] = times.map(|mut times| {
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64()
    });
    println!("medians: {without:.3} s and {with:.3} s: {:+.2} %", (with / without - 1.0) * 100.0);
}
