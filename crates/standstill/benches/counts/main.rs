//! How many instructions the library's short ways take: `cargo bench -p standstill --bench counts`.
//!
//! Valgrind's callgrind counts them, so the figures have no noise: they change with the code and the compiler, and with nothing else. Each operation runs in a
//! process of its own under callgrind, which counts inside of [`measured`] only. What the port adds is small (loads and stores of its own
//! words) and the same in each.

#![expect(
    clippy::disallowed_types,
    reason = "a bench is no part of the library: it may have atomics of its own"
)]

#[macro_use]
#[path = "../../tests/plain/sched.rs"]
mod plain_sched;
mod port;

use std::hint::black_box;
use std::process::{Command, ExitCode};

use standstill::context::{IrqOff, Stopped, Task};
use standstill::hotplug::StateId;
use standstill::{CpuId, CpuMask, Csd, Machine, Protocol};

use port::{One, on_the_other};

static MACHINE: Machine<One, 64> = Machine::new(One, Protocol::STANDSTILL);

/// How often each operation runs.
const TIMES: u64 = 100;
/// How many calls one drain takes in the operation for several.
const SEVERAL: usize = 8;
const OTHER: CpuId = CpuId::new(1);

/// What is counted.
#[inline(never)]
fn measured<R>(f: impl FnOnce() -> R) -> R {
    f()
}

type Op = fn(&mut Task);

/// The operations: the name, what it is, and one turn of it.
const OPS: [(&str, &str, Op); 15] = [
    ("nothing", "nothing: what the counting itself adds", |_| measured(|| ())),
    ("mask-change", "a CPU into a mask of 64 and out again", |_| {
        let mut mask = black_box(CpuMask::<1>::first_n(40));
        measured(|| {
            mask.insert(black_box(CpuId::new(50)));
            mask.remove(black_box(CpuId::new(7)));
        });
        black_box(mask);
    }),
    ("mask-walk-64", "a walk through a mask of 64 CPUs, all in", |_| walk(CpuMask::<1>::first_n(64))),
    ("mask-walk-4096", "a walk through a mask of 4096 CPUs, 64 in", |_| {
        walk((0..64).map(|n| CpuId::new(n * 64)).collect::<CpuMask<64>>());
    }),
    ("mask-and-4096", "two masks of 4096 CPUs: those in both, and are there any", |_| {
        let (a, b) = black_box((CpuMask::<64>::first_n(2048), CpuMask::<64>::first_n(64)));
        black_box(measured(|| a.and(&b).is_empty()));
    }),
    ("online", "is a CPU online", |_| {
        black_box(measured(|| MACHINE.online().contains(black_box(OTHER))));
    }),
    ("push-first", "push: an async call to an empty queue, IPI included", |task| {
        let csd = csd();
        measured(|| MACHINE.call_single_async(task, black_box(OTHER), csd, &work)).expect("it is online");
        drain();
    }),
    ("push-next", "push: an async call to a queue that is not empty", |task| {
        MACHINE.call_single_async(task, OTHER, csd(), &work).expect("it is online");
        let csd = csd();
        measured(|| MACHINE.call_single_async(task, black_box(OTHER), csd, &work)).expect("it is online");
        drain();
    }),
    ("refused", "an async call to a CPU that is not online", |task| {
        let csd = csd();
        let answer = measured(|| MACHINE.call_single_async(task, black_box(CpuId::new(2)), csd, &work));
        assert!(answer.is_err(), "CPU 2 is not online");
    }),
    ("drain-none", "drain: an IPI that finds an empty queue", |_| {
        on_the_other(|entry| {
            // SAFETY: as CPU 1, in a handler.
            measured(|| unsafe { entry.on_call_ipi() });
        })
    }),
    ("drain-one", "drain: one call", |task| drain_of(task, 1)),
    ("drain-several", "drain: eight calls", |task| drain_of(task, SEVERAL)),
    ("read-lock", "the hotplug lock, for reading, and back", |task| {
        measured(|| drop(MACHINE.cpus_read_lock(task)));
    }),
    ("stop-alone", "an empty stop of one CPU, no other possible", stop),
    ("stop-one", "an empty stop of one CPU, 64 possible", stop),
];

fn stop(task: &mut Task) {
    let ran =
        measured(|| MACHINE.stop_machine(task, None, &|_: &Stopped<'_>| 0).map(|receipts| receipts.ran()));
    assert!(matches!(ran, Ok(1)), "CPU 0 is online, and alone");
}

fn walk<const W: usize>(mask: CpuMask<W>) {
    let mask = black_box(mask);
    black_box(measured(|| mask.iter().map(CpuId::index).sum::<usize>()));
}

fn work(_: &IrqOff<'_>) {}

fn csd() -> &'static Csd<One> {
    Box::leak(Box::new(Csd::new()))
}

fn drain() {
    // SAFETY: as CPU 1, in a handler.
    on_the_other(|entry| unsafe { entry.on_call_ipi() });
}

fn drain_of(task: &mut Task, calls: usize) {
    for _ in 0..calls {
        MACHINE.call_single_async(task, OTHER, csd(), &work).expect("it is online");
    }
    on_the_other(|entry| {
        // SAFETY: as CPU 1, in a handler.
        measured(|| unsafe { entry.on_call_ipi() });
    });
}

/// One operation, [`TIMES`] times.
fn run(name: &str, op: Op) {
    port::set_entry(&MACHINE);
    let possible = CpuMask::first_n(if name == "stop-alone" { 1 } else { 64 });
    // SAFETY: the first thing, once.
    unsafe { MACHINE.boot(&possible, &possible) };
    // SAFETY: the only thread.
    let mut task = unsafe { Task::new() };
    // Not for a stop: one CPU has to do.
    if !name.starts_with("stop") {
        MACHINE.cpu_up_to(&mut task, OTHER, StateId::AP_ONLINE).expect("it answers");
    }
    for _ in 0..TIMES {
        op(&mut task);
    }
}

/// The count of one operation, by callgrind.
fn count(name: &str) -> Result<u64, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=counts::measured*"])
        .arg(own)
        .args(["--run", name])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    match collected {
        Some(total) if output.status.success() => Ok(total),
        _ => Err(format!("callgrind has counted nothing for {name}:\n{text}")),
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some(at) = args.iter().position(|arg| arg == "--run") {
        let wanted = args.get(at + 1).map_or("", String::as_str);
        let Some((name, _, op)) = OPS.iter().find(|(name, ..)| *name == wanted) else {
            eprintln!("there is no operation `{wanted}`");
            return ExitCode::from(2);
        };
        run(name, *op);
        return ExitCode::SUCCESS;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("skipped: there is no valgrind; `cargo xtask setup` installs it");
        return ExitCode::SUCCESS;
    }
    println!("| operation | instructions |");
    println!("|---|---|");
    let mut none = 0;
    for (name, what, _) in OPS {
        match count(name) {
            Ok(total) => {
                if name == "nothing" {
                    none = total;
                }
                println!("| {what} | {:.1} |", (total - none.min(total)) as f64 / TIMES as f64);
            }
            Err(why) => {
                eprintln!("{why}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}
