//! How large a simulated machine can be.

/// The most CPUs that can be simulated.
pub const MAX_CPUS: usize = 6;

/// Idle contexts, hotplug threads, tasks.
pub(crate) const THREADS: usize = 2 * MAX_CPUS + TASKS;
/// The most tasks of a scenario.
pub(crate) const TASKS: usize = 4;
