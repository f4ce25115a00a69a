//! A machine that is no [`Machine`](standstill::Machine): its entries count and do what a test tells them, so that the port's
//! pieces are tested without the library.

use std::sync::Mutex;
use std::sync::atomic::Ordering::{Release, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};

use standstill::CpuId;
use standstill::context::Task;
use standstill::platform::{Cpus, Entry, Irq, TooLate, Word};

use crate::{Config, Hosted, run};

/// A machine for tests.
pub(crate) struct Fake {
    pub(crate) hosted: Hosted,
    /// One for each CPU.
    pub(crate) calls: Vec<AtomicUsize>,
    pub(crate) stopper_runs: Vec<AtomicUsize>,
    pub(crate) online: Vec<AtomicBool>,
    pub(crate) dead: Vec<AtomicUsize>,
    /// What a handler of a call IPI does.
    pub(crate) on_call: Mutex<fn(&'static Fake)>,
    /// What the stopper does.
    pub(crate) on_stop: Mutex<fn(&'static Fake)>,
    pub(crate) log: Mutex<Vec<&'static str>>,
    me: AtomicPtr<Fake>,
}

impl Fake {
    fn me(&self) -> &'static Fake {
        // SAFETY: set before the first CPU starts, to this leaked value.
        unsafe { &*self.me.load(SeqCst) }
    }

    pub(crate) fn say(&self, what: &'static str) {
        self.log.lock().unwrap().push(what);
    }

    /// Starts a CPU and waits until it is up.
    pub(crate) fn up(&self, cpu: usize) {
        self.dead[cpu].store(0, Release);
        self.hosted.start(CpuId::new(cpu), 1).unwrap();
        while !self.online[cpu].load(SeqCst) {
            std::thread::yield_now();
        }
        self.hosted.board.admit(CpuId::new(cpu));
    }
}

// SAFETY: only tests of this crate use it, and they rely on nothing that it does not do.
unsafe impl Entry for Fake {
    unsafe fn on_call_ipi(&self) {
        self.calls[self.hosted.this_cpu().index()].fetch_add(1, SeqCst);
        let f = *self.on_call.lock().unwrap();
        f(self.me());
    }

    unsafe fn on_halt_ipi(&self) -> ! {
        self.hosted.halt()
    }

    fn stopper_pending(&self) -> bool {
        false
    }

    unsafe fn run_stopper(&self) {
        self.stopper_runs[self.hosted.this_cpu().index()].fetch_add(1, SeqCst);
        let f = *self.on_stop.lock().unwrap();
        f(self.me());
    }

    unsafe fn start_cpu(&self, incarnation: usize) -> Result<(), TooLate> {
        if incarnation == usize::MAX {
            return Err(TooLate);
        }
        self.online[self.hosted.this_cpu().index()].store(true, SeqCst);
        Ok(())
    }

    unsafe fn serve_hotplug(&self, _: &mut Task) {
        self.say("hotplug");
    }

    unsafe fn idle(&self) {}

    fn is_online(&self, cpu: CpuId) -> bool {
        self.online[cpu.index()].load(SeqCst)
    }
}

/// A configuration with nothing random in it.
pub(crate) fn plain(cpus: usize) -> Config {
    Config { ipi_latency: None, ..Config::new(cpus) }
}

/// Boots a fake machine and runs `main` on it.
pub(crate) fn with_fake<R: Send>(
    config: Config,
    main: impl FnOnce(&'static Fake, &mut Task) -> R + Send,
) -> R {
    let hosted = Hosted::new(config);
    let n = hosted.cpus();
    let fake: &'static Fake = Box::leak(Box::new(Fake {
        hosted,
        calls: (0..n).map(|_| AtomicUsize::new(0)).collect(),
        stopper_runs: (0..n).map(|_| AtomicUsize::new(0)).collect(),
        online: (0..n).map(|_| AtomicBool::new(false)).collect(),
        dead: (0..n).map(|_| AtomicUsize::ZERO).collect(),
        on_call: Mutex::new(|_| {}),
        on_stop: Mutex::new(|_| {}),
        log: Mutex::new(Vec::new()),
        me: AtomicPtr::new(std::ptr::null_mut()),
    }));
    fake.me.store(std::ptr::from_ref(fake).cast_mut(), SeqCst);
    hosted.board.set_entry(fake);
    let boot = Box::new(move || fake.online[0].store(true, SeqCst));
    run::power_on(hosted.board, boot, |task| main(fake, task))
}

/// Waits, with the OS thread, until `f` is true; a test that waits for ever shows where.
pub(crate) fn until(f: impl Fn() -> bool) {
    while !f() {
        std::thread::yield_now();
    }
}
