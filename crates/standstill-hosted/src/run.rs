//! From nothing to a running machine and back.

use std::io;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::{Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use standstill::context::Task;
use standstill::{CpuId, CpuMask, Machine, Protocol};

use crate::board::{Board, try_here};
use crate::config::Config;
use crate::firmware::{self, Boot};
use crate::thread::Code;
use crate::{Hosted, bus, crash, irq, os};

/// How long CPUs get to become idle when the machine is switched off.
const GRACE: Duration = Duration::from_millis(200);

/// Boots a machine, runs `main` as its first thread, and switches the machine off when that returns.
///
/// All of `config.cpus` are possible and present, and CPU 0 is online. Other threads end with the machine, wherever
/// they are: as when a computer loses power, nothing of them is dropped.
///
/// # Panics
/// If the configuration asks for no CPU or more than `N`. Where the OS refuses threads or memory, [`Config::refused`] is
/// called. A panic in `main` or in any other code of the machine ends the process.
pub fn run<const N: usize, const W: usize, R: Send>(
    config: Config,
    protocol: Protocol,
    main: impl FnOnce(&'static Machine<Hosted, N, W>, &mut Task) -> R + Send,
) -> R {
    assert!(
        (1..=N).contains(&config.cpus),
        "{} CPUs asked for, and this machine is built for 1 to {N}",
        config.cpus
    );
    let hosted = Hosted::new(config);
    let machine = build::<N, W>(hosted, protocol);
    let possible = CpuMask::<W>::first_n(hosted.cpus());
    hosted.board.set_entry(machine);
    power_on(
        hosted.board,
        // SAFETY: this is CPU 0, and the first code of the library that it runs.
        Box::new(move || unsafe { machine.boot(&possible, &possible) }),
        |task| main(machine, task),
    )
}

/// Starts a board that has its machine: `boot` as the first code of CPU 0, then `main` as the first thread.
pub(crate) fn power_on<R: Send>(
    board: &'static Board,
    boot: Boot,
    main: impl FnOnce(&mut Task) -> R + Send,
) -> R {
    assert!(try_here().is_none(), "a machine can't be started on a CPU of another one");
    crash::install_hook();
    irq::install_handlers();

    let result = Mutex::new(None);
    let done = AtomicU32::new(0);
    let body: Box<dyn FnOnce(&mut Task) + Send + '_> = Box::new(|task| {
        let value = main(task);
        *result.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        done.store(1, Release);
        os::futex_wake(done.as_ptr(), 1);
    });
    // SAFETY: only the lifetime changes. The code runs on a thread of the machine, and this function does not return
    // before every CPU has ended: a panic on a CPU aborts, and `PowerOff` waits for the CPUs if a panic comes from here.
    let body: Code = unsafe { std::mem::transmute::<Box<dyn FnOnce(&mut Task) + Send + '_>, Code>(body) };

    let boot: Boot = Box::new(move || {
        boot();
        let cpu = &board.cpus()[0];
        board.admit(cpu.id);
        board.start_hotplug_thread(cpu);
        board.start_thread("main", CpuId::BOOT, body);
    });
    let mut off = PowerOff { board, threads: Vec::new() };
    start_threads(board, boot, &mut off.threads);
    while done.load(Acquire) == 0 {
        // SAFETY: `done` outlives the call.
        unsafe { os::futex_wait(done.as_ptr(), 0, None) };
    }
    drop(off);
    result
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .expect("the first thread has returned a value")
}

/// Builds the machine on a stack that is large enough for it: a large one does not fit the caller's on the way to the heap.
fn build<const N: usize, const W: usize>(
    hosted: Hosted,
    protocol: Protocol,
) -> &'static Machine<Hosted, N, W> {
    let stack = 4 * size_of::<Machine<Hosted, N, W>>() + (1 << 20);
    let refused = hosted.board.config.refused;
    Builder::new()
        .name("machine".into())
        .stack_size(stack)
        .spawn(move || &*Box::leak(Box::new(Machine::new(hosted, protocol))))
        .unwrap_or_else(|error| no_thread(refused, &error))
        .join()
        .expect("building a machine does not panic")
}

/// The OS refuses a thread, which nothing here can do without.
fn no_thread(refused: fn(&str) -> !, error: &io::Error) -> ! {
    refused(&format!(
        "the system gives no thread for the machine: {error}; use fewer CPUs, or raise the limit \
         (`ulimit -u`, `ulimit -v`)"
    ))
}

/// Starts the threads of the bus and of all CPUs, and then the boot CPU.
fn start_threads(board: &'static Board, boot: Boot, threads: &mut Vec<JoinHandle<()>>) {
    // They inherit the mask: no signal meant for the process reaches a CPU.
    let mask = os::block_all();
    let mut start = |name: String, body: Box<dyn FnOnce() + Send>| {
        let thread = Builder::new().name(name).stack_size(128 << 10).spawn(body);
        threads.push(thread.unwrap_or_else(|error| no_thread(board.config.refused, &error)));
    };
    start("bus".into(), Box::new(move || bus::main(board)));
    let mut boot = Some(boot);
    for cpu in board.cpus() {
        let boot = boot.take();
        start(format!("cpu{}", cpu.id.index()), Box::new(move || firmware::main(cpu, boot)));
    }
    os::set_mask(&mask);
    for cpu in board.cpus() {
        while cpu.tid.load(Acquire) == 0 {
            // SAFETY: the word is part of a leaked board.
            unsafe { os::futex_wait(cpu.tid.as_ptr().cast(), 0, None) };
        }
    }
    board.start_cpu(CpuId::BOOT, 0);
}

/// Switches the machine off when dropped.
struct PowerOff {
    board: &'static Board,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for PowerOff {
    fn drop(&mut self) {
        self.board.switch_off();
        self.board.bus.wake();
        let begin = Instant::now();
        // The bus came first, then the CPUs in order.
        while self.threads.iter().any(|t| !t.is_finished()) {
            std::thread::sleep(Duration::from_micros(200));
            if begin.elapsed() > GRACE {
                for (thread, cpu) in self.threads.iter().skip(1).zip(self.board.cpus()) {
                    if !thread.is_finished() {
                        os::signal_thread(cpu.tid.load(Acquire), os::NMI);
                    }
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        for thread in self.threads.drain(..) {
            // A panic on one of these threads has ended the process.
            let _ = thread.join();
        }
        self.board.free_stacks();
    }
}
