//! The serial console, for people.

use alloc::boxed::Box;
use core::sync::atomic::AtomicBool;
use core::sync::atomic::Ordering::Relaxed;

use standstill::context::{Stopped, Task};
use standstill::event::What;
use standstill::hotplug::{Callbacks, DeadCallback, IrqOffCallback, StateId, ThreadCallback};
use standstill::{CpuId, CpuMask, Protocol};
use standstill_console::{Command, Editor, Key, help, parse};
use standstill_x86_64::cpu;
use standstill_x86_64::time::{delay_ns, now_ns};

use crate::bench::{self, Counts};
use crate::options::Options;
use crate::thread::{Code, Thread};
use crate::{crash, fillers, machine, say, sched, serial, slots, torture, watch, watchdog};

/// Between two looks at the slots, while nothing is typed.
const LOOK_NS: u64 = 50_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// A torture found something.
static FAILED: AtomicBool = AtomicBool::new(false);
/// A line was refused.
static REFUSED: AtomicBool = AtomicBool::new(false);

pub(crate) fn run(task: &mut Task, options: &Options) -> ! {
    install_states(task);
    serial::listen();
    let present = machine().present().snapshot();
    if let Err(error) = machine().cpus_up(task, &present, |_, error| say!("{error}")) {
        say!("{error}");
    }
    let mut editor = Editor::new();
    say!("type `help`");
    prompt();
    loop {
        slots::look(task);
        let Some(byte) = serial::typed(LOOK_NS) else { continue };
        match editor.take(byte) {
            Key::Echo(c) => serial::print(format_args!("{c}")),
            Key::Erase => serial::print(format_args!("\x08 \x08")),
            Key::Nothing => {}
            Key::Drop => {
                serial::print(format_args!("\n"));
                prompt();
            }
            Key::Line => {
                enter(task, options, &mut editor);
                prompt();
            }
            Key::End => {
                if !editor.is_empty() {
                    enter(task, options, &mut editor);
                }
                serial::print(format_args!("\n"));
                exit();
            }
        }
    }
}

fn prompt() {
    serial::print(format_args!("> "));
}

/// The line is complete.
fn enter(task: &mut Task, options: &Options, editor: &mut Editor) {
    serial::print(format_args!("\n"));
    let cpus = machine().possible().snapshot().len();
    match editor.line() {
        Err(unfit) => refuse(format_args!("{unfit}")),
        Ok(line) => match parse(line, cpus) {
            Ok(wanted) => command(task, options, wanted),
            Err(refusal) => refuse(format_args!("{refusal}")),
        },
    }
    editor.clear();
}

/// What was typed can't be done, and `why` says so.
fn refuse(why: core::fmt::Arguments<'_>) {
    REFUSED.store(true, Relaxed);
    say!("{why}");
}

/// Ends the machine with a code that tells scripts how it went.
fn exit() -> ! {
    crash::exit(match (FAILED.load(Relaxed), REFUSED.load(Relaxed)) {
        (true, _) => crash::FAILED,
        (false, true) => crash::REFUSED,
        (false, false) => crash::DONE,
    })
}

fn command(task: &mut Task, options: &Options, command: Command<'_>) {
    match command {
        Command::Nothing => {}
        Command::Help => say!("{}", help()),
        Command::Cpus => cpus(),
        Command::Up(cpu) => walk(task, cpu, true),
        Command::Down(cpu) => walk(task, cpu, false),
        Command::Cycle { cpu, times } => cycle(task, cpu, times),
        Command::States => states(task),
        Command::Fill => say!("{} callbacks more", fillers::fill(task)),
        Command::Fail { cpu, state } => fail(task, cpu, state),
        Command::Log(cpu) => watch::print_last(cpu),
        Command::Torture { seconds, preset } => torture_for(task, options, seconds, preset),
        Command::Bench => {
            forget_failures(task);
            bench::run(task, &Counts::SHORT);
        }
        Command::Panic => panic!("somebody typed `panic`"),
        Command::Hang(cpu) => hang(cpu),
        Command::Freeze(cpu) => freeze(task, cpu),
        Command::Lost => lost(),
        Command::Watchdog { seconds } => watchdog::start(Some(seconds * SECOND_NS)),
        Command::Exit => exit(),
    }
}

pub(crate) fn cpus() {
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

fn cycle(task: &mut Task, cpu: CpuId, times: u64) {
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
pub(crate) const PREPARE: Callbacks = Callbacks::Prepare { up: Some(THREAD), dead: Some(DEAD) };
pub(crate) const STARTING: Callbacks = Callbacks::Starting { starting: Some(OFF), dying: Some(OFF) };
pub(crate) const ONLINE: Callbacks = Callbacks::Online { up: Some(THREAD), down: Some(THREAD) };

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

fn states(task: &mut Task) {
    for state in (0..StateId::COUNT).filter_map(StateId::from_index) {
        let name = machine().state_name(task, state);
        if name.is_some() || state.section().is_none() {
            say!("{:>2}  {state}  {}", state.index(), name.unwrap_or(""));
        }
    }
}

fn fail(task: &mut Task, cpu: CpuId, state: StateId) {
    match machine().fail_once(task, cpu, state) {
        Ok(()) => say!("the next walk of {cpu} through {state} fails there"),
        Err(error) => refuse(format_args!("{error}")),
    }
}

/// Takes back what `fail` asked for and no walk has met: what comes next counts its own failures.
fn forget_failures(task: &mut Task) {
    for cpu in &machine().possible().snapshot() {
        if let Ok(Some(state)) = machine().forget_failure(task, cpu) {
            say!("the failure of {cpu} in {state} that `fail` asked for is taken back");
        }
    }
}

fn torture_for(task: &mut Task, options: &Options, seconds: u64, preset: Option<&str>) {
    if let Some(preset) = preset.filter(|preset| *preset != options.protocol.name()) {
        let runs = options.protocol.name();
        return match Protocol::by_name(preset) {
            Some(known) => refuse(format_args!(
                "this machine runs the protocol {runs}: `standstill console --protocol {}` boots another one",
                known.name()
            )),
            None => refuse(format_args!(
                "this image has no protocol of that name; the machine runs {runs}, and `torture {seconds}` is enough"
            )),
        };
    }
    forget_failures(task);
    let taken = fillers::make_room(task);
    let passed = torture::run(task, &Options { seconds_ms: seconds * 1_000, ..*options });
    if taken {
        fillers::fill(task);
    }
    if !passed {
        FAILED.store(true, Relaxed);
    }
}

/// Lets `cpu` hang with interrupts off: the watchdog's turn.
fn hang(cpu: CpuId) {
    if !machine().online().contains(cpu) {
        return refuse(format_args!("{cpu} is not online"));
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
        return refuse(format_args!("{cpu} is not online"));
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
