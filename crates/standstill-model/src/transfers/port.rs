//! The platform on which accesses are counted.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use standstill::context::{Stopped, Task};
use standstill::event::Event;
use standstill::hotplug::Reason;
use standstill::platform::{
    Cpus, DataCell, Datum, Deadline, Ipi, Irq, Memory, PlainCell, Pointer, Runs, Sched, StartError, Vacate,
    Wait, WaitFor, Word,
};
use standstill::{CpuId, CpuMask, Machine, Protocol};

use super::StageCost;
use super::world::{World, world};

/// A machine whose CPUs and cache lines are counted: see [`transfers`](super::transfers).
pub(super) struct Counted;

/// A word that is counted.
pub(super) struct CountedWord(AtomicUsize);

/// A pointer that is counted.
pub(super) struct CountedPtr<T>(AtomicPtr<T>);

/// Plain memory that is counted.
pub(super) struct CountedCell<T>(PlainCell<T>);

fn touch<T>(place: &T, writes: bool) {
    world().touch(std::ptr::from_ref(place).addr(), writes);
}

// SAFETY: each method is the type's own, after it was counted.
unsafe impl Word for CountedWord {
    const ZERO: Self = CountedWord(AtomicUsize::new(0));
    fn load(&self, order: Ordering) -> usize {
        touch(self, false);
        self.0.load(order)
    }
    fn store(&self, value: usize, order: Ordering) {
        touch(self, true);
        self.0.store(value, order);
    }
    fn swap(&self, value: usize, order: Ordering) -> usize {
        touch(self, true);
        self.0.swap(value, order)
    }
    fn compare_exchange(&self, old: usize, new: usize, ok: Ordering, no: Ordering) -> Result<usize, usize> {
        touch(self, true);
        self.0.compare_exchange(old, new, ok, no)
    }
    fn fetch_add(&self, value: usize, order: Ordering) -> usize {
        touch(self, true);
        self.0.fetch_add(value, order)
    }
    fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
        touch(self, true);
        self.0.fetch_sub(value, order)
    }
    fn fetch_or(&self, value: usize, order: Ordering) -> usize {
        touch(self, true);
        self.0.fetch_or(value, order)
    }
    fn fetch_and(&self, value: usize, order: Ordering) -> usize {
        touch(self, true);
        self.0.fetch_and(value, order)
    }
}

// SAFETY: each method is the type's own, after it was counted.
unsafe impl<T: 'static> Pointer<T> for CountedPtr<T> {
    const NULL: Self = CountedPtr(AtomicPtr::new(std::ptr::null_mut()));
    fn load(&self, order: Ordering) -> *mut T {
        touch(self, false);
        self.0.load(order)
    }
    fn store(&self, value: *mut T, order: Ordering) {
        touch(self, true);
        self.0.store(value, order);
    }
    fn swap(&self, value: *mut T, order: Ordering) -> *mut T {
        touch(self, true);
        self.0.swap(value, order)
    }
    fn compare_exchange(
        &self,
        old: *mut T,
        new: *mut T,
        ok: Ordering,
        no: Ordering,
    ) -> Result<*mut T, *mut T> {
        touch(self, true);
        self.0.compare_exchange(old, new, ok, no)
    }
}

// SAFETY: the cell inside keeps the contract.
unsafe impl<T: Datum> DataCell<T> for CountedCell<T> {
    const EMPTY: Self = CountedCell(PlainCell::EMPTY);
    unsafe fn read(&self) -> T {
        touch(self, false);
        // SAFETY: the caller's contract is the same.
        unsafe { self.0.read() }
    }
    unsafe fn write(&self, value: T) {
        touch(self, true);
        // SAFETY: as above.
        unsafe { self.0.write(value) }
    }
}

// SAFETY: the types of real machines, counted; one OS thread runs all.
unsafe impl Memory for Counted {
    type Word = CountedWord;
    type Ptr<T: 'static> = CountedPtr<T>;
    type Cell<T: Datum> = CountedCell<T>;
    fn fence(&self) {
        std::sync::atomic::fence(Ordering::SeqCst);
    }
}

/// Runs the stopper of this CPU if it is due and this context is the one that it may interrupt.
fn poll() {
    let (cpu, me) = (world().cpu(), world().me());
    let may = me.stops && cpu.preempt.get() == 0 && !cpu.irqs_off.get() && !cpu.in_stopper.get();
    if may && cpu.stop_pending.replace(false) {
        cpu.in_stopper.set(true);
        // SAFETY: preempt count 0, interrupts on, not nested.
        unsafe { world().entry.get().expect("there is a machine").run_stopper() };
        cpu.in_stopper.set(false);
    }
}

// SAFETY: 1., 5. stoppers run in `poll` only, which looks at the flags kept here. 2. No other interrupt is used. 3. Nothing moves. 4. One OS thread.
unsafe impl Irq for Counted {
    type Flags = bool;
    fn this_cpu(&self) -> CpuId {
        CpuId::new(world().at())
    }
    fn irq_save(&self) -> bool {
        !world().cpu().irqs_off.replace(true)
    }
    unsafe fn irq_restore(&self, were_on: bool) {
        if were_on {
            world().cpu().irqs_off.set(false);
            poll();
        }
    }
    fn irqs_on(&self) -> bool {
        !world().cpu().irqs_off.get()
    }
    fn hard_irq_disable(&self) {}
    fn preempt_disable(&self) {
        let preempt = &world().cpu().preempt;
        preempt.set(preempt.get() + 1);
    }
    unsafe fn preempt_enable(&self) {
        let preempt = &world().cpu().preempt;
        preempt.set(preempt.get() - 1);
        poll();
    }
    fn send_ipi(&self, to: CpuId, why: Ipi) {
        assert_eq!(why, Ipi::Stop, "only stops are counted");
        world().interrupt(to.index());
    }
}

// SAFETY: `wait_until` returns what `poll` said. No deadline is used.
unsafe impl Wait for Counted {
    fn deadline_in(&self, _: u64) -> Deadline {
        Deadline(usize::MAX)
    }
    fn expired(&self, _: Deadline) -> bool {
        false
    }
    fn wait_until<R>(
        &self,
        _: &CountedWord,
        _: &WaitFor<'_>,
        mut condition: impl FnMut() -> Option<R>,
    ) -> Option<R> {
        loop {
            world().look();
            if let Some(result) = condition() {
                return Some(result);
            }
            world().sleep();
            poll();
        }
    }
    fn event(&self, event: impl FnOnce() -> Event) {
        // Where nobody listens, an event is not made.
        let event = world().uncounted(event);
        world().event(&event.what);
    }
}

fn hotplug_thread(cpu: usize) {
    world().spawn(cpu, false, || {
        // SAFETY: a thread of its own, interrupts on.
        let mut task = unsafe { Task::new() };
        // SAFETY: this thread belongs to the CPU and is its only hotplug thread.
        unsafe { world().entry.get().expect("there is a machine").serve_hotplug(&mut task) };
    });
}

fn idle() -> ! {
    loop {
        poll();
        world().look();
        world().sleep();
    }
}

// SAFETY: a started CPU is a new coroutine that calls `start_cpu` first. None dies. The world's `fan_in` does not change.
unsafe impl Cpus for Counted {
    fn fan_in(&self) -> usize {
        world().fan_in
    }
    fn start(&self, cpu: CpuId, incarnation: usize) -> Result<(), StartError> {
        world().spawn(cpu.index(), true, move || {
            world().cpu().irqs_off.set(true);
            // SAFETY: the first thing on a fresh stack, interrupts off.
            let up = unsafe { world().entry.get().expect("there is a machine").start_cpu(incarnation) };
            up.expect("nobody gives up on it");
            world().cpu().irqs_off.set(false);
            idle()
        });
        Ok(())
    }
    fn die(&self, _: &CountedWord, _: usize) -> ! {
        panic!("no CPU goes here")
    }
    fn halt(&self) -> ! {
        panic!("nobody panics here")
    }
    fn halt_hard(&self, _: CpuId) {
        panic!("nobody panics here")
    }
}

// SAFETY: no CPU leaves, so nothing is ever asked for.
unsafe impl Sched for Counted {
    fn evict(&self, _: CpuId) {}
    fn readmit(&self, _: CpuId) {}
    fn vacate(&self, _: CpuId) -> Result<(), Vacate> {
        Err(Vacate::Nowhere)
    }
    fn occupied(&self, _: CpuId) -> Option<&'static str> {
        Some("no CPU goes here")
    }
    fn only_idle_left(&self) -> bool {
        false
    }
    fn park_threads(&self, _: CpuId) {}
    fn unpark_threads(&self, cpu: CpuId) {
        hotplug_thread(cpu.index());
    }
    fn aim_lines_away(&self, _: CpuId) -> Result<(), Reason> {
        Ok(())
    }
    fn lines_left(&self, _: CpuId) -> Result<(), Reason> {
        Ok(())
    }
    fn lines_back(&self, _: CpuId) {}
    fn runs(&self, _: CpuId) -> Runs {
        Runs { what: "a simulated thread", irqs_off_at: None }
    }
}

/// Counts the second stop of a machine. Once for each OS thread.
pub(super) fn measure<const N: usize, const W: usize>(fan_in: usize, hold: bool) -> Vec<StageCost> {
    let w = World::make(N, fan_in);
    let machine: &'static Machine<Counted, N, W> =
        Box::leak(Box::new(Machine::new(Counted, Protocol::STANDSTILL)));
    w.entry.set(Some(machine));
    let result = Rc::new(RefCell::new(None));
    let place = Rc::clone(&result);
    w.spawn(0, true, move || {
        // SAFETY: the first thing on the CPU that boots, while no other runs.
        unsafe { machine.boot(&CpuMask::first_n(N), &CpuMask::first_n(N)) };
        hotplug_thread(0);
        // SAFETY: a thread of its own, interrupts on.
        let mut task = unsafe { Task::new() };
        for cpu in (1..N).map(CpuId::new) {
            machine.cpu_up(&mut task, cpu).expect("a CPU comes up");
        }
        world().comes_up.set(false);
        let empty = |_: &Stopped<'_>| 0;
        drop(machine.stop_machine(&mut task, None, &empty).expect("a stop"));
        world().measure(hold);
        drop(machine.stop_machine(&mut task, None, &empty).expect("a stop"));
        *place.borrow_mut() = Some(world().measured());
    });
    loop {
        if let Some(costs) = result.borrow_mut().take() {
            return costs;
        }
        assert!(w.step(), "the machine hangs");
    }
}
