//! The serial console, for people.

use alloc::boxed::Box;
use alloc::string::String;

use standstill::context::{Stopped, Task};
use standstill::event::What;
use standstill::hotplug::{Callbacks, DeadCallback, IrqOffCallback, StateId, ThreadCallback};
use standstill::{CpuId, CpuMask, Protocol};
use standstill_x86_64::cpu;
use standstill_x86_64::time::{delay_ns, now_ns};

use crate::bench::{self, Counts};
use crate::options::Options;
use crate::thread::{Code, Thread};
use crate::{crash, machine, say, sched, serial, slots, torture, watch, watchdog};

/// Between two looks at the slots, while nothing is typed.
const LOOK_NS: u64 = 50_000_000;

const HELP: &str = "\
cpus                the CPUs, and what each does
up N | down N       takes a CPU online or offline
cycle N TIMES       takes it offline and online so many times
states              the callbacks that are installed, and their states
fill                installs a callback in each state that has none
fail N STATE        the next walk of CPU N fails once in that state (prepare/0, online/1, ...)
log N               the last events of CPU N
torture S [PRESET]  the torture for S seconds
bench               how long calls, stops and hotplug take
panic | hang N      what happens then: N hangs with its interrupts off
freeze N | lost     N hangs in a stop, so that all do; this thread waits for what never comes
watchdog S          what hangs is noticed after S seconds
exit                ends the machine
help                this";

pub(crate) fn run(task: &mut Task, options: &Options) {
    install_states(task);
    serial::listen();
    let present = machine().present().snapshot();
    if let Err(error) = machine().cpus_up(task, &present, |_, error| say!("{error}")) {
        say!("{error}");
    }
    let mut line = String::new();
    say!("type `help`");
    prompt();
    loop {
        slots::look(task);
        let Some(byte) = serial::typed(LOOK_NS) else { continue };
        match byte {
            b'\r' | b'\n' => {
                serial::print(format_args!("\n"));
                command(task, options, &line);
                line.clear();
                prompt();
            }
            8 | 127 if line.pop().is_some() => serial::print(format_args!("\x08 \x08")),
            b' '..=b'~' => {
                line.push(byte as char);
                serial::print(format_args!("{}", byte as char));
            }
            _ => {}
        }
    }
}

fn prompt() {
    serial::print(format_args!("> "));
}

fn command(task: &mut Task, options: &Options, line: &str) {
    let mut words = line.split_whitespace();
    let Some(name) = words.next() else { return };
    let (first, second) = (words.next(), words.next());
    let cpu = || {
        let cpu = first.and_then(|word| word.parse().ok()).map(CpuId::new);
        let known = cpu.filter(|cpu| machine().possible().contains(*cpu));
        if known.is_none() {
            say!("`{name}` needs the number of a CPU: 0 to {}", machine().possible().snapshot().len() - 1);
        }
        known
    };
    match name {
        "help" => say!("{HELP}"),
        "cpus" => cpus(),
        "up" => {
            if let Some(cpu) = cpu() {
                walk(task, cpu, true);
            }
        }
        "down" => {
            if let Some(cpu) = cpu() {
                walk(task, cpu, false);
            }
        }
        "cycle" => {
            if let Some(cpu) = cpu() {
                cycle(task, cpu, second.and_then(|word| word.parse().ok()).unwrap_or(100));
            }
        }
        "states" => states(task),
        "fill" => fill(task),
        "fail" => {
            if let Some(cpu) = cpu() {
                fail(task, cpu, second);
            }
        }
        "log" => {
            if let Some(cpu) = cpu() {
                watch::print_last(cpu);
            }
        }
        "torture" => torture_for(task, options, first, second),
        "bench" => bench::run(task, &Counts::SHORT),
        "panic" => panic!("somebody typed `panic`"),
        "hang" => {
            if let Some(cpu) = cpu() {
                hang(cpu);
            }
        }
        "freeze" => {
            if let Some(cpu) = cpu() {
                freeze(task, cpu);
            }
        }
        "lost" => lost(),
        "watchdog" => match first.and_then(|word| word.parse::<u64>().ok()) {
            Some(s) => watchdog::start(Some(s * 1_000_000_000)),
            None => say!("`watchdog` needs a number of seconds"),
        },
        "exit" => crash::exit(crash::DONE),
        _ => say!("there is no command `{name}`; `help` lists what there is"),
    }
}

fn cpus() {
    let machine = machine();
    for id in &machine.possible().snapshot() {
        let of = masks(id);
        let block = cpu::block(id);
        let runs = sched::local(id).current().map_or("idle", |thread| thread.name);
        say!(
            "{id}: {of}, state {}, APIC {}, {:?}: {runs}",
            machine.state(id),
            block.apic_id(),
            block.doing()
        );
    }
}

/// Takes a CPU up or down and says what its callbacks did.
fn walk(task: &mut Task, cpu: CpuId, up: bool) {
    let began = now_ns();
    watch::log_walks(true);
    let result = if up { machine().cpu_up(task, cpu) } else { machine().cpu_down(task, cpu) };
    watch::log_walks(false);
    let us = (now_ns() - began) / 1_000;
    let (state, masks) = (machine().state(cpu), masks(cpu));
    match result {
        Ok(()) => say!("{cpu} is {state} ({masks}) after {us} us"),
        Err(error) => say!("{error}; {cpu} is {state} ({masks})"),
    }
}

/// The innermost of the masks that `cpu` is in, if it is in those around it, too.
fn masks(cpu: CpuId) -> &'static str {
    match [machine().present(), machine().online(), machine().active()].map(|mask| mask.contains(cpu)) {
        [true, true, true] => "active",
        [true, true, false] => "online",
        [true, false, false] => "present",
        [false, false, false] => "not there",
        _ => "THE MASKS DISAGREE",
    }
}

fn cycle(task: &mut Task, cpu: CpuId, times: usize) {
    for n in 0..times {
        let result = machine().cpu_down(task, cpu).and_then(|()| machine().cpu_up(task, cpu));
        let masks = machine().online().contains(cpu) && machine().active().contains(cpu);
        if let Err(error) = result {
            return say!("cycle {n}: {error}");
        }
        assert!(masks, "{cpu} came up and is not in the masks");
    }
    say!("{times} cycles of {cpu}");
}

const THREAD: &ThreadCallback = &|_, _| Ok(());
const DEAD: &DeadCallback = &|_, _| ();
const OFF: &IrqOffCallback = &|_, _| ();
const PREPARE: Callbacks = Callbacks::Prepare { up: Some(THREAD), dead: Some(DEAD) };
const STARTING: Callbacks = Callbacks::Starting { starting: Some(OFF), dying: Some(OFF) };
const ONLINE: Callbacks = Callbacks::Online { up: Some(THREAD), down: Some(THREAD) };

/// Some callbacks, so that a walk has something to call.
pub(crate) fn install_states(task: &mut Task) {
    let all = [
        ("memory", PREPARE),
        ("buffers", PREPARE),
        ("clock", STARTING),
        ("caches", ONLINE),
        ("workers", ONLINE),
        ("statistics", ONLINE),
    ];
    for (name, callbacks) in all {
        machine().add_state(task, name, callbacks).expect("the table is empty");
    }
}

/// A callback in each state that has none.
fn fill(task: &mut Task) {
    let mut count = 0;
    for callbacks in [PREPARE, STARTING, ONLINE] {
        while machine().add_state(task, "filler", callbacks).is_ok() {
            count += 1;
        }
    }
    say!("{count} callbacks more");
}

fn states(task: &mut Task) {
    for state in (0..StateId::COUNT).filter_map(StateId::from_index) {
        let name = machine().state_name(task, state);
        if name.is_some() || state.section().is_none() {
            say!("{:>2}  {state}  {}", state.index(), name.unwrap_or(""));
        }
    }
}

fn fail(task: &mut Task, cpu: CpuId, wanted: Option<&str>) {
    let named = |state: &StateId| {
        wanted.is_some_and(|w| alloc::format!("{state}") == w || w.parse() == Ok(state.index()))
    };
    let Some(state) = (0..StateId::COUNT).filter_map(StateId::from_index).find(named) else {
        return say!("`fail` needs a state, as `states` lists them: prepare/0, online/1, ...");
    };
    match machine().fail_once(task, cpu, state) {
        Ok(()) => say!("the next walk of {cpu} through {state} fails there"),
        Err(error) => say!("{error}"),
    }
}

fn torture_for(task: &mut Task, options: &Options, seconds: Option<&str>, preset: Option<&str>) {
    let Some(seconds) = seconds.and_then(|word| word.parse::<u64>().ok()) else {
        return say!("`torture` needs a number of seconds");
    };
    if let Some(preset) = preset.filter(|preset| *preset != options.protocol.name()) {
        let known = Protocol::ALL.iter().any(|protocol| protocol.name() == preset);
        let hint = if known { "boot with it" } else { "and there is none of that name in this image" };
        return say!(
            "this machine runs the protocol {}: {hint} (protocol={preset} on the command line)",
            options.protocol.name()
        );
    }
    torture::run(task, &Options { seconds_ms: seconds * 1_000, ..*options });
}

/// Lets `cpu` hang with interrupts off: the watchdog's turn.
fn hang(cpu: CpuId) {
    if !machine().online().contains(cpu) {
        return say!("{cpu} is not online");
    }
    let body = Box::leak(Box::new(move |task: &mut Task| {
        machine().irq_off(task, |_| {
            loop {
                delay_ns(1_000_000_000);
            }
        })
    }));
    sched::start(Thread::leak("hangs", cpu, Code::Body(body)));
}

/// Lets `cpu` hang in a stop, everybody else frozen.
fn freeze(task: &mut Task, cpu: CpuId) {
    if !machine().online().contains(cpu) {
        return say!("{cpu} is not online");
    }
    let hangs = |_: &Stopped<'_>| -> i32 {
        loop {
            delay_ns(1_000_000_000);
        }
    };
    let stopped = machine().stop_machine(task, Some(&CpuMask::of(cpu)), &hangs);
    drop(stopped);
}

/// Waits for a wake that nobody sends.
fn lost() {
    watchdog::expect_events(true);
    loop {
        sched::sleep(u64::MAX / 2);
    }
}

/// A line for a step of a walk.
pub(crate) fn log_walk(what: &What) {
    match *what {
        What::StateEnter { who, state, name, walk, .. } => say!("  {who}: {walk:?} {state} {name}"),
        What::StateLeave { state, outcome, .. } if outcome != standstill::event::Outcome::Ok => {
            say!("    {state} {outcome:?}");
        }
        _ => {}
    }
}
