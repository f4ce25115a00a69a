//! CPUs that are plugged in and out while the machine runs.
//!
//! A CPU that was plugged in becomes present: from then on it can be brought up. One that is asked for back is taken down, and given back
//! when it is dead.

use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::Relaxed;

use standstill::context::Task;
use standstill::{CpuId, CpuMask, HotplugError};
use standstill_x86_64::present::Slots;
use standstill_x86_64::time::now_ns;

use crate::lock::SpinLock;
use crate::{machine, say};

/// Between two looks.
const LOOK_NS: u64 = 10_000_000;

/// How often a CPU is tried to be taken down that is asked for back.
const TRIES: usize = 4;

struct State {
    slots: Slots,
    next_look: u64,
}

static STATE: SpinLock<Option<State>> = SpinLock::new(None);
static EJECTED: AtomicUsize = AtomicUsize::new(0);

/// Switches it on: the machine is one that has the registers.
pub(crate) fn init() {
    // SAFETY: whoever wrote the command line says that this is QEMU's q35. The lock keeps others away.
    *STATE.lock() = Some(State { slots: unsafe { Slots::new() }, next_look: 0 });
}

/// How many CPUs were given back.
pub(crate) fn ejected() -> usize {
    EJECTED.load(Relaxed)
}

/// What the registers ask for.
enum Wish {
    Insert(CpuId),
    Remove(CpuId),
}

fn wish() -> Option<Wish> {
    let mut state = STATE.lock();
    let state = state.as_mut()?;
    if now_ns() < state.next_look {
        return None;
    }
    // The number of a CPU is that of its slot: both follow the MADT, whose first processor is the boot CPU.
    for cpu in &machine().possible().snapshot() {
        let status = state.slots.status(cpu.index() as u32);
        if status.inserted {
            state.slots.acknowledge(cpu.index() as u32);
            return Some(Wish::Insert(cpu));
        }
        // The flag outlives the CPU.
        if status.remove && machine().present().contains(cpu) {
            return Some(Wish::Remove(cpu));
        }
    }
    state.next_look = now_ns() + LOOK_NS;
    None
}

/// Looks whether a CPU was plugged in, or is asked for back, and does what follows.
pub(crate) fn look(task: &mut Task) {
    while let Some(wish) = wish() {
        match wish {
            Wish::Insert(cpu) => match machine().set_present(task, cpu, true) {
                Ok(()) => say!("slot: {cpu} is present"),
                Err(error) => say!("slot: {error}"),
            },
            Wish::Remove(cpu) => remove(task, cpu),
        }
    }
}

fn take_out(task: &mut Task, cpu: CpuId) -> Result<(), HotplugError> {
    match machine().cpu_down(task, cpu) {
        // Somebody has to stay, and that one is asked for.
        Err(last @ HotplugError::LastOnline(_)) => {
            let others = machine().present().snapshot().without(&CpuMask::of(cpu));
            machine().cpu_up(task, others.first().ok_or(last)?)?;
            machine().cpu_down(task, cpu)?;
        }
        done => done?,
    }
    machine().set_present(task, cpu, false)
}

fn remove(task: &mut Task, cpu: CpuId) {
    let mut gone = take_out(task, cpu);
    for _ in 1..TRIES {
        // A callback that refused may agree the next time.
        let Err(error) = gone else { break };
        say!("slot: {error}; once more");
        gone = take_out(task, cpu);
    }
    let mut state = STATE.lock();
    let Some(state) = state.as_mut() else { return };
    match gone {
        Ok(()) => {
            // SAFETY: it was seen dead, and as it is not present nobody starts it.
            unsafe { state.slots.eject(cpu.index() as u32) };
            say!("slot: {cpu} is ejected");
            // After the word: the last one ends the machine.
            EJECTED.fetch_add(1, Relaxed);
        }
        Err(error) => {
            state.slots.refuse(cpu.index() as u32);
            say!("slot: {cpu} stays: {error}");
        }
    }
}
