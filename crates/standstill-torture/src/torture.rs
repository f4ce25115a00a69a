//! [`Torture`]: the workloads, put together, run, and ended with balanced books.

use alloc::boxed::Box;
use alloc::vec::Vec;

use standstill::context::{IrqOff, Task};
use standstill::event::{CallInfo, Event, Form, Stall, What};
use standstill::hotplug::HotplugError;
use standstill::{CpuId, Machine};

use crate::counts::Cycles;
use crate::device::{self, Device};
use crate::ground::{Body, Ground, LineHandler};
use crate::invoke::{self, Invoker};
use crate::kit::{self, Records};
use crate::once::Once;
use crate::onoff::OnOff;
use crate::pulse::{Doing, Hang, HangWait, Patience, Pulse, note_wait};
use crate::readers::Reader;
use crate::record::{Record, Stream};
use crate::relay::Relay;
use crate::report::{Progress, Report, RuleCount};
use crate::rng::Rng;
use crate::rules::{Failure, Rule};
use crate::settings::Settings;
use crate::shared::{Core, Other};
use crate::states::{self, Hooks};
use crate::stops::{self, Stops};
use crate::works::Works;

/// How often the torture looks whether it is over, in nanoseconds.
const LOOK_NS: u64 = 5_000_000;
/// How many times an operation of the final part is tried.
const TRIES: usize = 100;

/// A torture of one machine. Built once, run once; everything that it needs is allocated when it is built, and lives for ever, as
/// handlers may point to it for as long as the machine runs.
pub struct Torture<P: Ground, const N: usize, const W: usize = 1> {
    pub(crate) core: &'static Core<P, N, W>,
    /// One for each CPU.
    invokers: Vec<&'static Body>,
    others: Vec<(&'static str, Other, &'static Body)>,
    relays: Vec<&'static Relay<P>>,
    works: &'static Works<P>,
    handler: &'static LineHandler,
    hooks: Hooks,
    records: Records<W>,
}

impl<P: Ground, const N: usize, const W: usize> Torture<P, N, W> {
    /// Prepares the torture of `machine`, which is booted, and allocates all that it will need.
    #[must_use]
    pub fn new(machine: &'static Machine<P, N, W>, settings: Settings) -> Self {
        let core: &'static Core<P, N, W> = Box::leak(Box::new(Core::new(machine, settings)));
        let mut records = Records::new();
        let relays: Vec<_> = (0..core.cpus).map(|_| Relay::leak(core)).collect();
        let works = Works::leak(core, core.cpus);
        let invokers =
            (0..core.cpus).map(|index| invoker(core, index, relays[index], works, &mut records)).collect();
        let onoff = OnOff { core, rng: Rng::new(settings.seed, 2 << 32) };
        let stops = Stops::new(core, Rng::new(settings.seed, 3 << 32), works, stops::nowait_work(core));
        let mut others: Vec<(&'static str, Other, &'static Body)> = Vec::new();
        others.push((
            "torture: on/off",
            Other::OnOff,
            Box::leak(Box::new(move |task: &mut Task| onoff.run(task))),
        ));
        others.push((
            "torture: stops",
            Other::Stops,
            Box::leak(Box::new(move |task: &mut Task| stops.run(task))),
        ));
        for (other, stream) in [(Other::ReaderOne, 4 << 32), (Other::ReaderTwo, 5 << 32)] {
            let reader = Reader { core, rng: Rng::new(settings.seed, stream), other };
            others.push((
                "torture: reader",
                other,
                Box::leak(Box::new(move |task: &mut Task| reader.run(task))),
            ));
        }
        let handler = device_handler(core, &mut records);
        Torture { core, invokers, others, relays, works, handler, hooks: Hooks::new(core), records }
    }

    /// Runs the torture until `until` says so, ends the workloads, brings all CPUs online and closes the books.
    pub fn run(&self, task: &mut Task, until: impl Fn() -> bool) {
        let core = self.core;
        let ground = core.ground();
        let pulse = core.pulse(Other::Main);
        pulse.starts();
        self.forget_failures(task);
        self.all_online(task);
        core.begin(pulse, Doing::AddState, None);
        states::install(core, &self.hooks, task);
        for (cpu, body) in self.invokers.iter().enumerate() {
            self.spawn("torture: invoker", CpuId::new(cpu), *body, &core.pulses[cpu]);
        }
        for (name, other, body) in &self.others {
            self.spawn(name, CpuId::BOOT, *body, core.pulse(*other));
        }
        ground.start_devices(self.handler);
        core.begin(pulse, Doing::Runs, None);
        while !until() {
            pulse.beat();
            ground.sleep_ns(task, LOOK_NS);
        }
        core.stop();
        core.begin(pulse, Doing::Watch, None);
        while !core.all_ended() {
            // Each of them has signs of its own.
            pulse.beat();
            ground.sleep_ns(task, LOOK_NS);
        }
        core.begin(pulse, Doing::Devices, None);
        let (raised, handled) = ground.stop_devices(task);
        self.check(Rule::Lines, raised == handled);
        // What was to fail in an operation that failed before is not to fail in the next one.
        self.forget_failures(task);
        let online = self.all_online(task);
        self.check(Rule::Final, online);
        if ground.is_expendable() {
            core.begin(pulse, Doing::Lost, None);
            core.lose_one(task);
        }
        core.begin(pulse, Doing::RemoveState, None);
        states::remove(core, task);
        core.begin(pulse, Doing::Flush, None);
        self.flush(task);
        for relay in &self.relays {
            relay.finish(core, task);
        }
        self.works.finish(core, task);
        self.close_books();
        if ground.is_expendable() {
            core.begin(pulse, Doing::Halt, None);
            core.halt_all_others(task);
        }
        pulse.ends();
    }

    fn spawn(&self, name: &'static str, home: CpuId, body: &'static Body, pulse: &Pulse) {
        pulse.starts();
        self.core.ground().spawn(name, home, body);
    }

    /// The torture counts the failures that it asks for, and no others.
    fn forget_failures(&self, task: &mut Task) {
        for cpu in &self.core.machine.possible().snapshot() {
            // Every CPU of the mask is possible, so there is nothing to refuse.
            let _ = self.core.machine.forget_failure(task, cpu);
        }
    }

    /// Brings each CPU up that is not; says whether all are.
    fn all_online(&self, task: &mut Task) -> bool {
        let machine = self.core.machine;
        for cpu in &machine.present().snapshot() {
            for _ in 0..TRIES {
                if machine.online().contains(cpu) || self.core.bring_up(task, cpu, None) {
                    break;
                }
                self.core.ground().sleep_ns(task, LOOK_NS);
            }
        }
        machine.present().snapshot().is_subset(&machine.online().snapshot())
    }

    /// Nothing is sent any more. A call that waits is behind all that is in its target's queue, and a second one behind what that
    /// was still running: after both, everything that was queued has run.
    fn flush(&self, task: &mut Task) {
        let machine = self.core.machine;
        for _ in 0..2 {
            for cpu in &machine.online().snapshot() {
                // A refusal is no surprise to anybody: the books tell what is missing.
                let _ = machine.call_single(task, cpu, &|_: &IrqOff<'_>| ());
            }
        }
    }

    /// What has not run by now never will.
    pub(crate) fn close_books(&self) {
        for record in &self.records {
            if !record.is_idle() {
                self.core.write_off(record);
            }
            self.core.check_settled(record);
        }
        for form in Form::ALL {
            self.check(Rule::Books, self.core.form(form).get().balanced());
        }
    }

    fn check(&self, rule: Rule, holds: bool) {
        self.core.rules.check(rule, holds, |rule| self.core.failure(rule, CpuId::BOOT));
    }

    // ---- what is seen from outside

    /// For the port's listener: reads from the library's events how long CPUs are frozen, and remembers the first thing that
    /// went wrong if a property broke. Callable in every context.
    pub fn observe(&self, event: &Event) {
        let core = self.core;
        let note = |first: &Once<Failure>, rule, info: CallInfo| {
            let failure = Failure {
                func: Some(info.func),
                sender: Some(info.sender),
                ..core.failure(rule, info.key.to)
            };
            // A CPU's call to itself says less about the race than another CPU's.
            if info.sender != info.key.to {
                first.set(failure);
            }
            core.rules.note_first(failure);
        };
        match event.what {
            What::IrqsClosed { .. } => core.frozen.closed(event.cpu, core.ground().now_ns()),
            What::IrqsRestored { .. } => core.frozen.restored(event.cpu, core.ground().now_ns()),
            What::CpuStarted { .. } => core.frozen.started(event.cpu),
            What::Stalled(Stall { site, waited_ns, missing, .. }) => {
                let since_ns = core.ground().now_ns().saturating_sub(waited_ns);
                note_wait(core.pulses.iter(), since_ns, HangWait { site, missing });
            }
            What::CallLate(info) => note(&core.late, "late", info),
            What::CallLost(info) => note(&core.lost, "lost", info),
            _ => {}
        }
    }

    /// Keeps invokers and device handlers from sending, or lets them go on: for a listener that is behind with the events. Hotplug and
    /// stops go on meanwhile.
    pub fn hold(&self, held: bool) {
        self.core.hold(held);
    }

    /// Is each workload getting on? The one that has not for longest, if that is longer than `patience` allows. To be
    /// asked now and then, by a thread that waits for none of them: not by the one that [runs](Self::run) the torture.
    #[must_use]
    pub fn look(&self, patience: &mut Patience) -> Option<Hang> {
        let slowest = patience.look(&self.core.pulses, self.core.ground().now_ns());
        let hangs = slowest.filter(|(_, silent)| patience.is_over(*silent));
        let hang = hangs.map(|(pulse, silent)| pulse.hang(silent));
        self.judge_progress(hang.as_ref());
        hang
    }

    /// The torture does not end: the workload that has shown no sign for longest has to answer for it.
    #[must_use]
    pub fn give_up(&self, patience: &mut Patience) -> Option<Hang> {
        let hang = self.slowest(patience);
        self.judge_progress(hang.as_ref());
        hang
    }

    /// The workload that has shown no sign for longest, however short that is.
    #[must_use]
    pub fn slowest(&self, patience: &mut Patience) -> Option<Hang> {
        let slowest = patience.look(&self.core.pulses, self.core.ground().now_ns());
        slowest.map(|(pulse, silent)| pulse.hang(silent))
    }

    /// Are the workloads told to end?
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.core.stopping()
    }

    fn judge_progress(&self, hang: Option<&Hang>) {
        self.core.rules.check(Rule::Progress, hang.is_none(), |rule| {
            let failure = self.core.failure(rule, hang.map_or(CpuId::BOOT, |hang| hang.cpu));
            Failure { func: hang.map(|hang| hang.doing), ..failure }
        });
    }

    /// A few counts, while it runs.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let calls = self.core.forms.iter().map(|form| form.get());
        let (mut sent, mut ran, mut refused) = (0, 0, 0);
        for form in calls {
            sent += form.sent;
            ran += form.ran;
            refused += form.refused;
        }
        Progress {
            // Senders count when they know what became of the call.
            sent: sent.max(ran + refused),
            ran,
            refused,
            down: self.core.down.ok(),
            up: self.core.up.ok(),
            online: self.core.machine.online().snapshot().len(),
            cycles: self.least_cycles(),
        }
    }

    /// How often `cpu` was taken down and brought back.
    #[must_use]
    pub fn cycles(&self, cpu: CpuId) -> u64 {
        self.core.cycles.get(cpu.index()).map_or(0, Cycles::get)
    }

    /// How often each CPU that is present was taken down and brought back, at least. The boot CPU is not asked: a kernel may need it for longer.
    #[must_use]
    pub fn least_cycles(&self) -> u64 {
        let mut others = self.core.machine.present().snapshot();
        others.remove(CpuId::BOOT);
        others.iter().map(|cpu| self.cycles(cpu)).min().unwrap_or(u64::MAX)
    }

    /// Everything, when [`run`](Self::run) has returned.
    #[must_use]
    pub fn report(&self) -> Report {
        let core = self.core;
        Report {
            cpus: core.cpus,
            calls: Form::ALL.map(|form| (form, core.form(form).get())),
            down: core.down.get(),
            up: core.up.get(),
            veto: self.veto(),
            stops: core.stops.load(core::sync::atomic::Ordering::Relaxed),
            aborted: core.aborted.load(core::sync::atomic::Ordering::Relaxed),
            frozen: core.frozen.dist(),
            rules: Rule::ALL.map(|rule| {
                let (checked, broken) = core.rules.counts(rule);
                RuleCount { id: rule.id(), checked, broken }
            }),
            first_late: core.late.get().copied(),
            first_lost: core.lost.get().copied(),
            first_failure: core.rules.first(),
        }
    }

    fn veto(&self) -> Option<HotplugError> {
        self.core.veto.get().copied()
    }
}

fn invoker<P: Ground, const N: usize, const W: usize>(
    core: &'static Core<P, N, W>,
    index: usize,
    relay: &'static Relay<P>,
    works: &'static Works<P>,
    records: &mut Records<W>,
) -> &'static Body {
    let invoker = Invoker {
        core,
        index,
        rng: Rng::new(core.settings.seed, index as u64),
        single: kit::slots(invoke::DEPTH, Stream::Form(Form::Single), records, |record| {
            kit::single_handler(core, record)
        }),
        asynchronous: kit::csd_slots(core.settings.burst, Stream::Form(Form::Async), records, |record| {
            kit::async_handler(core, record)
        }),
        many: kit::slots(invoke::DEPTH, Stream::Form(Form::Many), records, |record| {
            kit::many_handler(core, record)
        }),
        all: kit::slots(invoke::DEPTH, Stream::Form(Form::All), records, |record| {
            kit::all_handler(core, record)
        }),
        relay: Some(relay),
        works: Some(works),
        waiting: [Form::SingleWait, Form::ManyWait, Form::AllWait]
            .map(|form| -> &'static Record<W> { kit::record(Stream::Form(form), records) }),
    };
    Box::leak(Box::new(move |task: &mut Task| invoker.run(task)))
}

fn device_handler<P: Ground, const N: usize, const W: usize>(
    core: &'static Core<P, N, W>,
    records: &mut Records<W>,
) -> &'static LineHandler {
    let slots = kit::csd_slots(core.cpus * device::DEPTH, Stream::Device, records, |record| {
        kit::device_handler(core, record)
    });
    let device = Device { core, slots };
    Box::leak(Box::new(move |line: usize, off: &IrqOff<'_>| device.handle(line, off)))
}
