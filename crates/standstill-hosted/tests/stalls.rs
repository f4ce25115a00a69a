//! Every wait that becomes long is explained: who is really missing, what runs there, and whose call it is that waits.
//!
//! One row for each place where the library waits, with somebody who keeps it waiting until the report has come. Another test reads
//! the library's sources: a place that is in no row is an error, and so is a public function that can wait and that no row calls.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use standstill::context::{IrqOff, Pinned, Stopped, Task};
use standstill::event::{Event, Stall, Walk, What};
use standstill::hotplug::{Callbacks, Reason};
use standstill::platform::Deadline;
use standstill::{CpuId, CpuMask, Csd, Machine, Protocol};
use standstill_hosted::{Config, Hosted, Observer, run};
use standstill_torture::Ground;

type Small = Machine<Hosted, 64, 1>;

/// After this long a wait is reported, and again after twice, four times that.
const LONG: Duration = Duration::from_millis(50);

/// Who is kept waiting goes on after this long, whatever was reported.
const CAP: Duration = Duration::from_secs(60);

const DEAF: &str = "the deaf one";
const STAYS: &str = "stays";
const SLOW: &str = "slow driver";

/// Where it waits, which public function, and who is to be named.
struct Row {
    site: &'static str,
    calls: &'static str,
    protocol: Protocol,
    missing: usize,
    /// What that CPU runs; empty: whatever the port says.
    runs: &'static str,
    walk: Option<Walk>,
    /// CPU 3 is missing, too.
    two: bool,
    go: fn(&'static Small, &mut Task, &'static Until),
}

/// Is the report there?
struct Until {
    row: Row,
    began: Instant,
    told: AtomicBool,
    /// Somebody waits long, for whatever it is.
    stuck: AtomicBool,
    /// Other CPUs that were blamed, for longer than a busy machine may keep one from running.
    wrong: Mutex<Vec<String>>,
}

impl Until {
    fn goes_on(&self) -> bool {
        self.told.load(SeqCst) || self.began.elapsed() > CAP
    }

    /// Keeps a CPU, or a thread of it, from going on.
    fn hold(&self, m: &Small) {
        while !self.goes_on() {
            m.platform().pause();
        }
    }

    fn is_blamed(&self, stall: &Stall) -> bool {
        self.is_meant(stall) || self.row.two && stall.missing == cpu(3)
    }

    fn is_meant(&self, stall: &Stall) -> bool {
        let runs = self.row.runs.is_empty() || stall.runs.what == self.row.runs;
        stall.missing == cpu(self.row.missing)
            && runs
            && stall.callback.map(|callback| callback.walk) == self.row.walk
            && stall.site.at.file().ends_with(file!().rsplit('/').next().unwrap())
    }
}

impl Observer for Until {
    fn event(&self, event: &Event) {
        let What::Stalled(stall) = event.what else { return };
        self.stuck.store(true, SeqCst);
        if stall.site.what != self.row.site || Duration::from_nanos(stall.waited_ns) < 2 * LONG {
            return;
        }
        if self.is_meant(&stall) {
            self.told.store(true, SeqCst);
        } else if let (false, Ok(mut wrong)) =
            (self.goes_on() || self.is_blamed(&stall), self.wrong.try_lock())
        {
            wrong.push(stall.told_by(event.cpu).to_string());
        }
    }
}

const fn cpu(n: usize) -> CpuId {
    CpuId::new(n)
}

fn leak<T>(value: T) -> &'static T {
    Box::leak(Box::new(value))
}

/// How it ends is not looked at here.
fn whatever<T>(_: T) {}

fn nothing(_: &Stopped<'_>) -> i32 {
    0
}

/// CPU 2 closes its interrupts.
fn deaf(m: &'static Small, task: &mut Task, until: &'static Until) {
    close_interrupts(m, task, until, 2);
}

fn close_interrupts(m: &'static Small, task: &mut Task, until: &'static Until, who: usize) {
    let inside: &'static AtomicBool = leak(AtomicBool::new(false));
    m.platform().spawn_once(DEAF, cpu(who), move |task| {
        m.irq_off(task, |_| {
            inside.store(true, SeqCst);
            until.hold(m);
        });
    });
    while !inside.load(SeqCst) {
        m.platform().sleep_ns(task, 100_000);
    }
}

/// Another thread on `home` does `first`, and this one `then`, again and again until the report is there: so one of them waits for the
/// other sooner or later.
fn beside(
    m: &'static Small,
    task: &mut Task,
    until: &'static Until,
    home: usize,
    first: fn(&'static Small, &mut Task),
    then: fn(&'static Small, &mut Task),
) {
    let ended: &'static AtomicBool = leak(AtomicBool::new(false));
    m.platform().spawn_once("the first one", cpu(home), move |task| {
        first(m, task);
        ended.store(true, SeqCst);
    });
    // If the first one waits for others itself, that is told; if not, this one tries again and again.
    let began = Instant::now();
    while !until.stuck.load(SeqCst) && began.elapsed() < 10 * LONG {
        m.platform().sleep_ns(task, 1_000_000);
    }
    while !until.goes_on() {
        then(m, task);
        m.platform().sleep_ns(task, 1_000_000);
    }
    while !ended.load(SeqCst) {
        m.platform().sleep_ns(task, 1_000_000);
    }
}

fn stops(m: &'static Small, task: &mut Task) {
    whatever(m.stop_machine(task, None, &nothing));
}

/// CPU 0 has no part in it, and neither has the hotplug lock.
fn stops_a_pair(m: &'static Small, task: &mut Task) {
    whatever(m.stop_two_cpus(task, cpu(2), cpu(3), &nothing));
}

fn takes_down(m: &'static Small, task: &mut Task) {
    let _ = m.cpu_down(task, cpu(2));
}

fn changes(m: &'static Small, task: &mut Task) {
    if m.hotplug_disable(task).is_ok() {
        let _ = m.hotplug_enable(task);
    }
}

/// A driver whose ONLINE callback does not return on CPU 2.
fn slow_online(m: &'static Small, task: &mut Task, until: &'static Until) {
    let slow = leak(move |task: &mut Task, who: CpuId| -> Result<(), Reason> {
        while who == cpu(2) && !until.goes_on() {
            m.platform().sleep_ns(task, 1_000_000);
        }
        Ok(())
    });
    let callbacks = Callbacks::Online { up: Some(slow), down: Some(slow) };
    m.add_state_nocalls(task, SLOW, callbacks).unwrap();
}

/// One whose PREPARE callback does not return.
fn slow_prepare(m: &'static Small, task: &mut Task, until: &'static Until) {
    let slow = leak(move |task: &mut Task, _: CpuId| -> Result<(), Reason> {
        while !until.goes_on() {
            m.platform().sleep_ns(task, 1_000_000);
        }
        Ok(())
    });
    m.add_state_nocalls(task, SLOW, Callbacks::Prepare { up: Some(slow), dead: None }).unwrap();
}

/// One whose STARTING and DYING callbacks do not return on CPU 2.
fn slow_irqs_off(m: &'static Small, task: &mut Task, until: &'static Until) {
    let slow = leak(move |_: &IrqOff<'_>, who: CpuId| {
        if who == cpu(2) {
            until.hold(m);
        }
    });
    let callbacks = Callbacks::Starting { starting: Some(slow), dying: Some(slow) };
    m.add_state_nocalls(task, SLOW, callbacks).unwrap();
}

/// CPUs 2 and 3 come up together; CPU 2 stops the machine meanwhile, and its function does not return. CPU 3 wants to stop it, too.
fn stops_on_the_way_up(m: &'static Small, task: &mut Task, until: &'static Until, both: bool) {
    for n in [2, 3] {
        m.cpu_down(task, cpu(n)).unwrap();
    }
    let (there, running): (&'static AtomicBool, &'static AtomicBool) =
        (leak(AtomicBool::new(false)), leak(AtomicBool::new(false)));
    let starting = leak(move |off: &IrqOff<'_>, who: CpuId| {
        if who == cpu(2) {
            // The stop holds the CPU that starts the other one.
            while !there.load(SeqCst) {
                m.platform().pause();
            }
            let f = |_: &Stopped<'_>| {
                running.store(true, SeqCst);
                until.hold(m);
                0
            };
            m.stop_machine_from_inactive_cpu(off, None, &f).unwrap();
        } else {
            there.store(true, SeqCst);
            while !running.load(SeqCst) {
                m.platform().pause();
            }
            if both {
                m.stop_machine_from_inactive_cpu(off, None, &nothing).unwrap();
            }
        }
    });
    let callbacks = Callbacks::Starting { starting: Some(starting), dying: None };
    m.add_state_nocalls(task, "stops", callbacks).unwrap();
    let _ = m.cpus_up(task, &[cpu(2), cpu(3)].into_iter().collect(), |_, _| ());
}

const fn row(
    site: &'static str,
    calls: &'static str,
    (missing, runs): (usize, &'static str),
    go: fn(&'static Small, &mut Task, &'static Until),
) -> Row {
    Row { site, calls, protocol: Protocol::STANDSTILL, missing, runs, walk: None, two: false, go }
}

impl Row {
    /// What is named is a callback.
    const fn callback(self, walk: Walk) -> Row {
        Row { walk: Some(walk), ..self }
    }
}

macro_rules! deaf_and {
    (|$m:ident, $task:ident| $($body:tt)*) => {
        |$m, $task, until| {
            deaf($m, $task, until);
            whatever({ $($body)* });
        }
    };
}

const RETURN: &str = "call_many: the functions to return";
const CALLBACKS: &str = "hotplug: the callbacks on the CPU's own thread";
const PREPARE: &str = "stop_machine: the acknowledgements of PREPARE";

fn calls() -> Vec<Row> {
    vec![
        row(
            "call_single: the function to return",
            "call_single",
            (2, DEAF),
            deaf_and!(|m, task| m.call_single(task, cpu(2), &|_: &IrqOff<'_>| ())),
        ),
        row(
            "call_single: the function to return",
            "call_any",
            (2, DEAF),
            deaf_and!(|m, task| m.call_any(task, &CpuMask::of(cpu(2)), &|_: &IrqOff<'_>| ())),
        ),
        row(
            "call_single_until: the function to return",
            "call_single_until",
            (2, DEAF),
            deaf_and!(|m, task| m.call_single_until(
                task,
                cpu(2),
                leak(Csd::new()),
                Deadline::NEVER,
                &|_: &IrqOff<'_>| ()
            )),
        ),
        row(
            "call_many_until: the functions to return",
            "call_many_until",
            (2, DEAF),
            deaf_and!(|m, task| m.call_many_until(
                task,
                &CpuMask::first_n(4),
                leak([const { Csd::new() }; 4]),
                Deadline::NEVER,
                &|_: &IrqOff<'_>| ()
            )),
        ),
        row(
            RETURN,
            "call_many",
            (2, DEAF),
            deaf_and!(|m, task| m.call_many(task, &CpuMask::first_n(4), &|_: &IrqOff<'_>| ())),
        ),
        row(RETURN, "call_all", (2, DEAF), deaf_and!(|m, task| m.call_all(task, &|_: &IrqOff<'_>| ()))),
        row(RETURN, "on_each_cpu", (2, DEAF), deaf_and!(|m, task| m.on_each_cpu(task, &|_: &IrqOff<'_>| ()))),
        row(
            RETURN,
            "on_each_cpu_mask",
            (2, DEAF),
            deaf_and!(|m, task| m.on_each_cpu_mask(task, &CpuMask::first_n(4), &|_: &IrqOff<'_>| ())),
        ),
        row(
            RETURN,
            "on_each_cpu_cond",
            (2, DEAF),
            deaf_and!(
                |m, task| m.on_each_cpu_cond(task, &CpuMask::first_n(4), |_| true, &|_: &IrqOff<'_>| ())
            ),
        ),
        row(
            "call_many: the targets of this CPU's last call to read it",
            "call_all",
            (2, DEAF),
            deaf_and!(|m, task| {
                m.pin(task, |pinned| {
                    m.call_all_async(pinned, &|_: &IrqOff<'_>| ()).unwrap();
                    m.call_all(pinned, &|_: &IrqOff<'_>| ())
                })
            }),
        ),
        row(
            "stop_others: the other CPUs to halt",
            "stop_others",
            (2, DEAF),
            deaf_and!(|m, task| m.stop_others(task, 10_000_000_000)),
        ),
    ]
}

fn stops_and_works() -> Vec<Row> {
    vec![
        row(
            PREPARE,
            "stop_machine",
            (2, DEAF),
            deaf_and!(|m, task| m.stop_machine(task, None, &nothing).is_ok()),
        ),
        row(
            PREPARE,
            "stop_machine_deadline",
            (2, DEAF),
            deaf_and!(|m, task| {
                let deadline = standstill::platform::Wait::deadline_in(m.platform(), 60_000_000_000);
                m.stop_machine_deadline(task, None, deadline, &nothing).is_ok()
            }),
        ),
        row(
            PREPARE,
            "stop_machine_cpuslocked",
            (2, DEAF),
            deaf_and!(|m, task| {
                let mut read = m.cpus_read_lock(task);
                m.stop_machine_cpuslocked(&mut read, None, &nothing).is_ok()
            }),
        ),
        row(
            PREPARE,
            "stop_two_cpus",
            (2, DEAF),
            deaf_and!(|m, task| m.stop_two_cpus(task, cpu(0), cpu(2), &nothing).is_ok()),
        ),
        row("stop_machine: the function to return", "stop_machine", (2, ""), |m, task, until| {
            let f = |_: &Stopped<'_>| {
                until.hold(m);
                0
            };
            assert!(m.stop_machine(task, Some(&CpuMask::of(cpu(2))), &f).is_ok());
        }),
        row(
            "stop_machine: the other CPUs",
            "quiesce",
            (2, DEAF),
            deaf_and!(|m, task| m.quiesce(task).is_ok()),
        ),
        row(
            "stop_machine: the other CPUs",
            "cpu_down",
            (2, DEAF),
            deaf_and!(|m, task| m.cpu_down(task, cpu(1)).is_ok()),
        ),
        row("stop_machine: its turn", "stop_machine", (2, DEAF), |m, task, until| {
            deaf(m, task, until);
            beside(m, task, until, 1, stops_a_pair, stops);
        }),
        row("stop_two_cpus: its turn", "stop_two_cpus", (2, DEAF), |m, task, until| {
            deaf(m, task, until);
            beside(m, task, until, 1, stops_a_pair, |m, task| {
                whatever(m.stop_two_cpus(task, cpu(0), cpu(1), &nothing))
            });
        }),
        row("quiesce: its turn", "quiesce", (2, DEAF), |m, task, until| {
            deaf(m, task, until);
            beside(m, task, until, 1, stops_a_pair, |m, task| whatever(m.quiesce(task)));
        }),
        row(
            "stop_one_cpu: the work to end",
            "stop_one_cpu",
            (2, DEAF),
            deaf_and!(|m, task| m.stop_one_cpu(task, cpu(2), &|_: &mut Pinned<'_>| 0).is_ok()),
        ),
        row("stop_one_cpu: its turn", "stop_one_cpu", (2, DEAF), |m, task, until| {
            fn works(m: &'static Small, task: &mut Task) {
                let _ = m.stop_one_cpu(task, cpu(2), &|_: &mut Pinned<'_>| 0);
            }
            deaf(m, task, until);
            beside(m, task, until, 1, works, works);
        }),
        row(
            "stop_machine: other CPUs to be online",
            "stop_machine_from_inactive_cpu",
            (2, ""),
            |m, task, until| stops_on_the_way_up(m, task, until, true),
        )
        .callback(Walk::Up),
        row("cpu_up: the stop by another CPU to end", "cpus_up", (2, ""), |m, task, until| {
            stops_on_the_way_up(m, task, until, false)
        })
        .callback(Walk::Up),
        // Nobody is in the loop of the stop to speak.
        Row {
            two: true,
            ..row("stop_machine: the other CPUs", "stop_two_cpus", (2, DEAF), |m, task, until| {
                deaf(m, task, until);
                close_interrupts(m, task, until, 3);
                whatever(m.stop_two_cpus(task, cpu(2), cpu(3), &nothing));
            })
        },
    ]
}

fn operations() -> Vec<Row> {
    vec![
        row(CALLBACKS, "cpu_down", (2, SLOW), |m, task, until| {
            slow_online(m, task, until);
            let _ = m.cpu_down(task, cpu(2));
        })
        .callback(Walk::Down),
        row(CALLBACKS, "cpu_down_to", (2, SLOW), |m, task, until| {
            slow_online(m, task, until);
            let _ = m.cpu_down_to(task, cpu(2), standstill::hotplug::StateId::AP_ONLINE);
        })
        .callback(Walk::Down),
        row(CALLBACKS, "cpu_up", (2, SLOW), |m, task, until| {
            m.cpu_down(task, cpu(2)).unwrap();
            slow_online(m, task, until);
            let _ = m.cpu_up(task, cpu(2));
        })
        .callback(Walk::Up),
        row(CALLBACKS, "cpu_up_to", (2, SLOW), |m, task, until| {
            m.cpu_down(task, cpu(2)).unwrap();
            slow_online(m, task, until);
            let _ = m.cpu_up_to(task, cpu(2), standstill::hotplug::StateId::ACTIVE);
        })
        .callback(Walk::Up),
        row(CALLBACKS, "add_state", (2, SLOW), |m, task, until| {
            let slow = leak(move |task: &mut Task, who: CpuId| -> Result<(), Reason> {
                while who == cpu(2) && !until.goes_on() {
                    m.platform().sleep_ns(task, 1_000_000);
                }
                Ok(())
            });
            m.add_state(task, SLOW, Callbacks::Online { up: Some(slow), down: None }).unwrap();
        })
        .callback(Walk::Up),
        row(CALLBACKS, "remove_state", (2, SLOW), |m, task, until| {
            let slow = leak(move |task: &mut Task, who: CpuId| -> Result<(), Reason> {
                while who == cpu(2) && !until.goes_on() {
                    m.platform().sleep_ns(task, 1_000_000);
                }
                Ok(())
            });
            let state = m.add_state(task, SLOW, Callbacks::Online { up: None, down: Some(slow) }).unwrap();
            m.remove_state(task, state).unwrap();
        })
        .callback(Walk::Down),
        row("cpu_up: the started CPU to be online", "cpus_up", (2, SLOW), |m, task, until| {
            m.cpu_down(task, cpu(2)).unwrap();
            slow_irqs_off(m, task, until);
            let _ = m.cpus_up(task, &CpuMask::of(cpu(2)), |_, _| ());
        })
        .callback(Walk::Up),
        row("stop_machine: the function to return", "cpu_down", (2, SLOW), |m, task, until| {
            slow_irqs_off(m, task, until);
            let _ = m.cpu_down(task, cpu(2));
        })
        .callback(Walk::Down),
        Row {
            protocol: Protocol::REFUSE,
            ..row("cpu_down: the CPU to leave", "cpu_down", (2, SLOW), |m, task, until| {
                slow_irqs_off(m, task, until);
                let _ = m.cpu_down(task, cpu(2));
            })
            .callback(Walk::Down)
        },
        // It keeps the hotplug thread of its CPU from running.
        row(CALLBACKS, "cpu_down", (2, STAYS), |m, task, until| {
            let inside: &'static AtomicBool = leak(AtomicBool::new(false));
            m.platform().spawn_once(STAYS, cpu(2), move |_| {
                inside.store(true, SeqCst);
                until.hold(m);
            });
            while !inside.load(SeqCst) {
                m.platform().sleep_ns(task, 100_000);
            }
            let _ = m.cpu_down(task, cpu(2));
        }),
        row("cpu_down: its turn", "cpu_down", (2, DEAF), |m, task, until| {
            deaf(m, task, until);
            beside(m, task, until, 1, stops_a_pair, |m, task| whatever(m.cpu_down(task, cpu(1))));
        }),
    ]
}

/// Who waits for a hotplug operation is told what that waits for.
fn the_lock() -> Vec<Row> {
    vec![
        row("cpus_read_lock: the hotplug operation to end", "cpus_read_lock", (2, SLOW), |m, task, until| {
            slow_online(m, task, until);
            beside(m, task, until, 1, takes_down, |m, task| whatever(m.cpus_read_lock(task)));
        })
        .callback(Walk::Down),
        row(
            "cpus_read_lock: the hotplug operation to end",
            "cpus_read_lock_until",
            (1, SLOW),
            |m, task, until| {
                m.cpu_down(task, cpu(2)).unwrap();
                slow_prepare(m, task, until);
                beside(
                    m,
                    task,
                    until,
                    1,
                    |m, task| whatever(m.cpu_up(task, cpu(2))),
                    |m, task| {
                        let deadline = standstill::platform::Wait::deadline_in(m.platform(), 60_000_000_000);
                        whatever(m.cpus_read_lock_until(task, deadline));
                    },
                );
            },
        )
        .callback(Walk::Up),
        row("stop_machine: the hotplug operation to end", "stop_machine", (2, SLOW), |m, task, until| {
            slow_online(m, task, until);
            beside(m, task, until, 1, takes_down, stops);
        })
        .callback(Walk::Down),
        row("quiesce: the hotplug operation to end", "quiesce", (2, SLOW), |m, task, until| {
            slow_online(m, task, until);
            beside(m, task, until, 1, takes_down, |m, task| whatever(m.quiesce(task)));
        })
        .callback(Walk::Down),
        row("hotplug: its turn", "hotplug_disable", (2, SLOW), |m, task, until| {
            slow_online(m, task, until);
            beside(m, task, until, 1, takes_down, changes);
        })
        .callback(Walk::Down),
        row("hotplug: its turn", "hotplug_disable", (2, DEAF), |m, task, until| {
            deaf(m, task, until);
            beside(m, task, until, 1, |m, task| whatever(m.cpu_down(task, cpu(1))), changes);
        }),
        row("hotplug: the readers to go", "hotplug_disable", (2, STAYS), |m, task, until| {
            let inside: &'static AtomicBool = leak(AtomicBool::new(false));
            m.platform().spawn_once(STAYS, cpu(2), move |task| {
                let _read = m.cpus_read_lock(task);
                inside.store(true, SeqCst);
                until.hold(m);
            });
            while !inside.load(SeqCst) {
                m.platform().sleep_ns(task, 100_000);
            }
            changes(m, task);
        }),
    ]
}

fn check(row: Row) {
    let (site, calls, protocol) = (row.site, row.calls, row.protocol);
    let until: &'static Until = leak(Until {
        row,
        began: Instant::now(),
        told: AtomicBool::new(false),
        stuck: AtomicBool::new(false),
        wrong: Mutex::new(Vec::new()),
    });
    let config = Config { stall_after: LONG, observer: Some(until), ..Config::new(4) };
    run::<64, 1, _>(config, protocol, |m, task| {
        for n in 1..4 {
            m.cpu_up(task, cpu(n)).unwrap_or_else(|e| panic!("CPU {n} does not come up: {e}"));
        }
        (until.row.go)(m, task, until);
    });
    let wrong = until.wrong.lock().unwrap();
    assert!(until.told.load(SeqCst), "{calls}, `{site}`: nothing says who is missing, but {wrong:?}");
    assert!(wrong.is_empty(), "{calls}, `{site}`: others are blamed: {wrong:?}");
}

#[test]
fn calls_that_wait_long_are_explained() {
    calls().into_iter().for_each(check);
}

#[test]
fn stops_and_works_that_wait_long_are_explained() {
    stops_and_works().into_iter().for_each(check);
}

#[test]
fn hotplug_operations_that_wait_long_are_explained() {
    operations().into_iter().for_each(check);
}

#[test]
fn who_waits_for_the_hotplug_lock_is_told_what_its_holder_waits_for() {
    the_lock().into_iter().for_each(check);
}

fn rows() -> Vec<Row> {
    [calls(), stops_and_works(), operations(), the_lock()].into_iter().flatten().collect()
}

/// Places that no row can hold open, each with its reason.
const ELSEWHERE: &[(&str, &str)] = &[
    ("hotplug thread: a request", "it may last without end: nobody owes it anything, and it is not reported"),
    (
        "cpu_up: the started CPU to answer",
        "no CPU of this port is late for that; the wait is that for it to be online",
    ),
    (
        "cpu_down: the CPU to be dead",
        "no CPU of this port is late for that; the wait is that for it to be online",
    ),
    (
        "cpu_up: the online bit",
        "the CPU has committed itself with interrupts off, and its next step is to set the bit",
    ),
    ("cpu_down: the threads to leave", "no thread of this port stays once the hotplug thread had its turn"),
    ("cpu_down: the stoppers of the other CPUs", "words of an error: the wait is that of a stop"),
    ("stop_machine: the works to be queued", "the wait for PREPARE; who queues them can't be interrupted"),
    ("stop_machine: the acknowledgements of DISABLE_IRQ_INACTIVE", "the wait for PREPARE, at a later stage"),
    ("stop_machine: the acknowledgements of DISABLE_IRQ_ACTIVE", "the wait for PREPARE, at a later stage"),
    ("stop_machine: the queues to be shut", "the wait for PREPARE, at a later stage"),
    ("stop_machine: the end", "the wait for PREPARE, at a later stage"),
];

/// Public functions with a caller's place that do not wait for another CPU or thread, or are another one's form.
const NO_WAIT: &[(&str, &str)] = &[
    ("call_single_async", "it does not wait"),
    ("call_single_nowait", "it does not wait"),
    ("call_many_async", "it does not wait"),
    ("call_all_async", "it does not wait"),
    ("stop_one_cpu_nowait", "it does not wait"),
    ("irq_off", "it does not wait"),
    ("here", "it does not wait"),
    ("contains", "it does not wait"),
    ("snapshot", "it does not wait"),
    ("hotplug_enable", "waits as `hotplug_disable` does, and for nothing else"),
    ("set_present", "the same"),
    ("add_state_nocalls", "the same"),
    ("remove_state_nocalls", "the same"),
    ("fail_once", "the same"),
    ("forget_failure", "the same"),
    ("state_name", "waits as `cpus_read_lock` does, and for nothing else"),
];

/// The library's sources, without its tests.
fn sources(folder: &Path, into: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).expect("the library's sources") {
        let path = entry.expect("an entry of the library's sources").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = fs::read_to_string(&path).expect("a source of the library");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default().to_string();
            into.push((path, code));
        }
    }
}

fn library() -> Vec<(PathBuf, String)> {
    let mut all = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../standstill/src"), &mut all);
    assert!(all.len() > 40);
    all
}

/// Is it the text of a place that waits? `function: what for`.
fn is_site(text: &str) -> bool {
    let functions = ["call_", "stop_", "quiesce", "cpu_", "cpus_", "hotplug"];
    text.split_once(": ").is_some_and(|(function, what)| {
        functions.iter().any(|start| function.starts_with(start))
            && function.bytes().all(|b| b.is_ascii_lowercase() || b == b'_' || b == b' ')
            && what.bytes().all(|b| b != b'{')
    })
}

#[test]
fn every_place_that_waits_has_a_row() {
    let rows = rows();
    for (path, code) in library() {
        if path.ends_with("hotplug/error.rs") || path.ends_with("stop/receipts.rs") {
            continue;
        }
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            let texts: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
            for text in &texts {
                if is_site(text) {
                    let known = rows.iter().any(|row| row.site == *text)
                        || ELSEWHERE.iter().any(|(site, _)| site == text);
                    assert!(known, "`{text}` ({}) waits, and no row looks who is named", path.display());
                }
            }
            // A text that the look above would not find.
            if line.contains("Site { what: \"") || line.contains(": &str = \"") && line.contains(": the ") {
                assert!(texts.iter().any(|text| is_site(text)), "{}: `{line}`", path.display());
            }
        }
    }
    let all: String = library().into_iter().map(|(_, code)| code).collect();
    for site in rows.iter().map(|row| row.site).chain(ELSEWHERE.iter().map(|(site, _)| *site)) {
        assert!(all.contains(&format!("\"{site}\"")), "nobody waits at `{site}` any more");
    }
}

#[test]
fn every_function_that_can_wait_is_in_a_row() {
    let rows = rows();
    let mut seen = Vec::new();
    for (_, code) in library() {
        let lines: Vec<&str> = code.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
            if let Some(rest) = line.strip_prefix("pub fn ")
                && attributes.into_iter().any(|line| *line == "#[track_caller]")
            {
                seen.push(rest.split(['(', '<']).next().unwrap_or_default().to_string());
            }
        }
    }
    assert!(seen.len() > 20, "{seen:?}");
    for function in &seen {
        let known =
            rows.iter().any(|row| row.calls == function) || NO_WAIT.iter().any(|(name, _)| name == function);
        assert!(known, "`{function}` tells who called it, so it can wait, and no row calls it");
    }
    for function in rows.iter().map(|row| row.calls).chain(NO_WAIT.iter().map(|(name, _)| *name)) {
        assert!(
            seen.iter().any(|name| name == function),
            "there is no `{function}` that tells who called it"
        );
    }
}
