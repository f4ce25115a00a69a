//! What a hosted machine is made of.

use std::time::Duration;

use standstill::event::Event;

/// Listens to the events of a machine.
///
/// Events come from signal handlers, with locks of the interrupted code held: an observer allocates nothing, takes no
/// lock, and does not panic. Counting in atomics and writing to a buffer that each CPU has for itself are fine.
pub trait Observer: Sync {
    /// `event` happened, on the CPU that calls.
    fn event(&self, event: &Event);
}

/// How long call IPIs are under way, as on an interconnect that is busy.
///
/// One call IPI in `one_in` travels through the interrupt controller's thread, which delivers it after a random time
/// up to `max_ns`, and later if the OS does not run that thread. What the sender sees is the same for every protocol.
/// An IPI that is under way to a CPU that is reset meanwhile is dropped, as in hardware.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Latency {
    /// One in how many; 1 delays each.
    pub one_in: u32,
    /// The longest delay.
    pub max_ns: u64,
}

/// A hosted machine.
#[derive(Clone)]
pub struct Config {
    /// How many CPUs are possible and present. CPU 0 boots; the others come up by `cpu_up`.
    pub cpus: usize,
    /// How many device lines the interrupt controller has.
    pub lines: usize,
    /// Delays for call IPIs; `None` delivers each at once.
    pub ipi_latency: Option<Latency>,
    /// Binds each CPU's thread to a core, if there are at least as many cores as CPUs.
    pub pin: bool,
    /// How many CPUs meet in one word of a stop; see [`Cpus::fan_in`](standstill::platform::Cpus::fan_in).
    pub fan_in: usize,
    /// A wait that is longer is reported, and again each time that its length has doubled.
    pub stall_after: Duration,
    /// Start of all random choices of the port. The OS schedules as it likes, so a run can't be repeated by it.
    pub seed: u64,
    /// Who listens to events.
    pub observer: Option<&'static dyn Observer>,
    /// Bytes of stack for each thread of the simulated kernel, and for each CPU's idle context. Interrupt handlers and
    /// the stopper run on the stack of what they interrupt.
    pub stack_bytes: usize,
    /// What ends the process where the OS refuses a thread or memory, with the reason in words. It
    /// may be called on a CPU. The default panics.
    pub refused: fn(&str) -> !,
}

/// The default of [`Config::refused`].
fn panics(words: &str) -> ! {
    panic!("{words}")
}

impl Config {
    /// `cpus` CPUs with one device line for each two of them, and IPIs that now and then take up to 200 µs.
    #[must_use]
    pub fn new(cpus: usize) -> Self {
        Config {
            cpus,
            lines: cpus.div_ceil(2).clamp(2, 64),
            ipi_latency: Some(Latency { one_in: 8, max_ns: 200_000 }),
            pin: true,
            fan_in: 8,
            stall_after: Duration::from_secs(1),
            seed: 1,
            observer: None,
            stack_bytes: 256 << 10,
            refused: panics,
        }
    }
}

/// What the port counted.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Stats {
    /// Interrupts asked for: IPIs and device lines.
    pub interrupts: u64,
    /// Signals sent for them. Fewer: an interrupt that finds another one pending needs none.
    pub signals: u64,
    /// Call IPIs that the interconnect delayed.
    pub delayed: u64,
    /// Raises of a line that was still pending, so that one handler run answered several.
    pub coalesced: u64,
    /// Waits that ended well at a timeout although no wake had come: a lost wake-up, or one that was about to come.
    pub missed_wakes: u64,
    /// Contexts of CPUs that were dropped because the CPU died.
    pub deaths: u64,
}
