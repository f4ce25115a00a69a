//! The library with one thing left out, by call site: a rule fires, and the one that is meant. `cargo xtask mutants` does this for every site;
//! here are some of each kind.

use std::ops::ControlFlow;
use std::path::Path;

use standstill::{Property, Protocol};
use standstill_model::{
    Begins, CALLER, Change, MemoryModel, Mutant, Options, Sites, Verdict, check, past_setup, scenarios,
};

fn options(scenario: &str) -> Options {
    let mut options = Options::default();
    options.scenario = scenarios().iter().find(|s| s.name == scenario).expect("a scenario").name;
    options.irqs = usize::from(scenario != "rollback");
    options.shrink = false;
    options
}

fn run(options: &Options) -> Verdict {
    check(options, &mut |_| ControlFlow::Continue(()))
}

/// The mutant that changes the line of `file` that contains `code`; `scenario` comes there.
fn find(options: &Options, change: Change, file: &str, code: &str) -> Mutant {
    let sites = Sites::new();
    let mut whole = options.clone();
    whole.sites = Some(sites.clone());
    let verdict = run(&whole);
    assert!(verdict.passed(), "{}: the library itself passes", options.scenario);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = sites.list();
    found.retain(|site| {
        if site.change != change || !site.file.ends_with(file) {
            return false;
        }
        if site.file == CALLER {
            return true;
        }
        let text = std::fs::read_to_string(root.join(&site.file)).expect("a source of the library");
        text.lines().nth(site.line as usize - 1).is_some_and(|line| line.contains(code))
    });
    assert_eq!(found.len(), 1, "`{code}` in {file}, {}: {found:?}", change.name());
    found.remove(0)
}

/// Runs the mutant; the rule that caught it.
fn caught(mut options: Options, change: Change, file: &str, code: &str) -> String {
    options.mutant = Some(find(&options, change, file, code));
    let verdict = run(&options);
    let violation = verdict.violation.unwrap_or_else(|| {
        panic!("{}: `{code}` in {file}, {}: {:?}", options.scenario, change.name(), verdict.error)
    });
    violation.rule
}

#[test]
fn a_write_that_is_dropped_breaks_its_own_rule() {
    for (file, code, scenario, rule) in [
        ("call/queue.rs", "next.store(head, Relaxed)", "irqs-off-sender", "5"),
        ("call/single.rs", "csd.state.compare_exchange", "payload-call", "6"),
        ("src/machine.rs", "self.accepting.remove(who)", "offline-vs-device-irq", "8"),
        ("stop/control.rs", "stop.split.store", "works-behind-stop", "20"),
        ("stop/work.rs", "self.head.swap(open(), Acquire)", "payload-stop-one", "22"),
        ("hotplug/table.rs", "inject.swap(0", "rollback", "40"),
        ("hotplug/up.rs", "began.store", "half-way", "37"),
        ("hotplug/lock.rs", "gate.fetch_or(CLOSED", "readers-and-writers", "41"),
        // The readers' sum is not 0 when they have gone, and the next writer waits for ever. (41 would come after that.)
        ("hotplug/lock.rs", "granted.fetch_add", "readers-and-writers", "deadlock"),
    ] {
        assert_eq!(caught(options(scenario), Change::DropWrite, file, code), rule, "`{code}` in {file}");
    }
}

/// Orderings of the stop, each by the promise that it carries: what is handed over to whom.
#[test]
fn orderings_that_stops_need() {
    for (file, code, scenario, (cpus, fan_in)) in [
        ("stop/control.rs", "self.stop.done.load(Acquire)", "payload-pair", (3, 8)),
        ("stop/machine.rs", "self.stop.done.store", "payload-pair", (3, 8)),
        ("stop/machine.rs", "stage_word(s.me, s.post).load(Acquire)", "payload-stop-end", (3, 2)),
        ("stop/machine.rs", "compare_exchange(at.pack(), next.pack()", "payload-stop-end", (3, 2)),
        ("stop/relay.rs", "compare_exchange(seen, to, Release", "payload-stop-end", (3, 2)),
        ("stop/work.rs", "link.cast_mut(), Release", "half-a-pair", (3, 8)),
        ("stop/work.rs", "self.head.swap(open(), Acquire)", "half-a-pair", (3, 8)),
        ("stop/work.rs", "compare_exchange(was, WorkState::Queued", "payload-work-refused", (3, 8)),
        ("stop/work.rs", "store(WorkState::Refused", "payload-work-refused", (3, 8)),
        ("stop/work.rs", "store(state.pack(), Release)", "payload-work-again", (2, 8)),
    ] {
        let mut options = options(scenario);
        (options.cpus, options.fan_in, options.irqs, options.memory) = (cpus, fan_in, 0, MemoryModel::Ra);
        assert_eq!(caught(options, Change::ToRelaxed, file, code), "race", "`{code}` in {file}");
    }
    for change in [Change::ToAcquire, Change::ToRelease] {
        for (scenario, cpus) in [("payload-pair", 3), ("payload-stop-threads", 2)] {
            let mut options = options(scenario);
            (options.cpus, options.irqs, options.memory) = (cpus, 0, MemoryModel::Ra);
            assert_eq!(caught(options, change, "stop/acks.rs", "AcqRel, Relaxed"), "race", "{scenario}");
        }
    }
}

/// What dies in the set-up says nothing about the interleavings, so a mutant can begin behind it.
#[test]
fn a_mutant_that_breaks_the_set_up_is_caught_behind_it() {
    let (file, code) = ("hotplug/thread.rs", "mail.state.store(POSTED, Release)");
    let mut options = options("payload-offline");
    options.irqs = 0;
    let mutant = find(&options, Change::DropWrite, file, code);
    let sites = Sites::new();
    options.sites = Some(sites.clone());
    assert!(run(&options).passed());
    assert!(sites.has(&mutant, Begins::AtOnce) && sites.has(&mutant, Begins::AfterSetup));
    (options.sites, options.mutant) = (None, Some(mutant));
    let verdict = run(&options);
    assert!(verdict.violation.is_none() && !past_setup());
    assert!(verdict.error.is_some_and(|error| error.contains("set-up")));
    options.mutant_begins = Begins::AfterSetup;
    let violation = run(&options).violation.expect("nobody answers a request that is not there");
    assert_eq!(violation.rule, "deadlock");
    assert!(past_setup());
}

#[test]
fn sections_that_are_left_open() {
    // Acknowledged before the interrupts are off: the CPU that leaves makes its last looks with them on. (S would come after that.)
    let rule = caught(options("offline-vs-device-irq"), Change::KeepIrqsOn, "stop/machine.rs", "irq_save()");
    assert_eq!(rule, "require");
    let rule = caught(options("works-behind-stop"), Change::KeepIrqsOff, "stop/machine.rs", "irq_restore");
    assert_eq!(rule, "21");
    // What the port is asked with interrupts off, and how a CPU dies: in its idle loop, where it opened them again.
    for (protocol, code) in
        [(Protocol::REFUSE, "self.irq_off(pinned, |_|"), (Protocol::LINUX_6_12, "irq_save()")]
    {
        let mut options = options("payload-offline");
        (options.protocol, options.irqs) = (protocol, 0);
        assert_eq!(caught(options, Change::KeepIrqsOn, "hotplug/leave.rs", code), "require", "{protocol}");
    }
    // The stopper comes between the look at the mask and the push.
    assert_eq!(caught(options("two-senders"), Change::SkipPin, CALLER, ""), "8");
}

#[test]
fn waits_that_are_skipped() {
    let rule = caught(options("payload-call"), Change::SkipWait, "call/single.rs", "wait_until(&csd.state");
    assert_eq!(rule, "6");
    let rule =
        caught(options("readers-and-writers"), Change::SkipWait, "hotplug/lock.rs", "wait_within(&lock.poke");
    assert_eq!(rule, "41");
}

#[test]
fn ipis_and_wake_ups_that_are_lost() {
    let rule = caught(options("payload-call"), Change::DropIpi, "call/single.rs", "send_ipi(to, Ipi::Call)");
    assert_eq!(rule, "deadlock");
    let rule =
        caught(options("payload-stop-one"), Change::DropIpi, "stop/stopper.rs", "send_ipi(to, Ipi::Stop)");
    assert_eq!(rule, "deadlock");
    for (file, code, scenario) in [
        ("call/flush.rs", "notify(state)", "payload-call"),
        ("hotplug/lock.rs", "notify(&raw const lock.gate)", "readers-and-writers"),
    ] {
        let mut options = options(scenario);
        let mut polls = options.clone();
        options.sleepers = true;
        assert_eq!(caught(options, Change::DropNotify, file, code), "deadlock", "`{code}` in {file}");
        polls.mutant = Some(find(&polls, Change::DropNotify, file, code));
        assert!(run(&polls).passed(), "who polls needs no wake-up");
    }
}

/// Each ordering of calls, of the masks and of `stop_others` is caught by the promise that it carries.
#[test]
fn orderings_of_calls_that_are_weakened() {
    use Change::{ToAcquire, ToRelaxed, ToRelease};
    for (scenario, change, file, code, rule) in [
        ("payload-call", ToRelaxed, "call/flush.rs", "store(csd::FREE, Release)", "race"),
        ("payload-call", ToRelaxed, "call/single.rs", "csd.state.load(Acquire)", "race"),
        ("payload-async", ToRelaxed, "call/single.rs", "csd.state.compare_exchange", "race"),
        ("payload-many", ToRelaxed, "call/flush.rs", "unsafe { &*left }.fetch_sub(1, Release)", "race"),
        ("payload-many", ToRelaxed, "call/many.rs", "done.left.load(Acquire)", "race"),
        ("payload-board", ToRelaxed, "call/flush.rs", "if left.fetch_sub(1, Release)", "race"),
        ("payload-board", ToRelaxed, "call/many.rs", "left.compare_exchange(0, CLAIMED, Acquire", "race"),
        ("payload-boards", ToRelaxed, "call/queue.rs", "node.cast_mut(), Release", "race"),
        ("payload-boards", ToRelaxed, "call/queue.rs", "swap(ptr::null_mut(), Acquire)", "race"),
        ("payload-boards", ToAcquire, "call/many.rs", "requests[me / 64].fetch_or", "race"),
        ("payload-boards", ToRelease, "call/flush.rs", "requests[w].swap(0, AcqRel)", "race"),
        // A link that is written late would put a node into the list twice: who writes it does not know of who wrote it last.
        ("payload-boards", ToRelease, "call/many.rs", "requests[me / 64].fetch_or", "race"),
        ("payload-boards", ToAcquire, "call/flush.rs", "requests[w].swap(0, AcqRel)", "race"),
        ("payload-masks", ToRelaxed, "src/machine.rs", "self.online.insert(me)", "race"),
        ("payload-masks", ToRelaxed, "src/machine.rs", "self.accepting.insert(who)", "race"),
        // Looks of the kernel's own.
        ("payload-masks", ToRelaxed, CALLER, "", "race"),
        ("payload-halt", ToRelaxed, "call/halt.rs", "halt.halted.insert(me)", "race"),
        ("payload-halt", ToRelaxed, "call/halt.rs", "halt.halted.snapshot()", "race"),
    ] {
        let mut options = options(scenario);
        options.cpus = if scenario == "payload-boards" { 3 } else { 2 };
        options.memory = MemoryModel::Ra;
        assert_eq!(caught(options, change, file, code), rule, "{}: `{code}` in {file}", change.name());
    }
}

/// Who stops all others, and who begins or ends to run something, look at each other's word.
#[test]
fn fences_of_who_is_alone() {
    for (scenario, protocol, line, rule) in [
        ("halt-vs-starting", Protocol::STANDSTILL, "// Against the fence of `halt_if_told`.", "require"),
        ("halt-vs-starting", Protocol::STANDSTILL, "// Against the fence of `stop_others`", "require"),
        // A sleeper is not told that a CPU has nothing left to do but to die.
        ("halt-vs-dying", Protocol::REFUSE, "// As in `halt_if_told`.", "deadlock"),
    ] {
        for change in [Change::SkipFence, Change::WeakerFence] {
            let mut options = options(scenario);
            (options.memory, options.protocol) = (MemoryModel::Ra, protocol);
            options.sleepers = rule == "deadlock";
            let sites = Sites::new();
            let mut whole = options.clone();
            whole.sites = Some(sites.clone());
            assert!(run(&whole).passed(), "{scenario}: the library itself passes");
            let source = include_str!("../../standstill/src/call/halt.rs");
            let comment = source.lines().position(|text| text.contains(line)).expect("the comment above it");
            let at = |site: &Mutant| site.file.ends_with("call/halt.rs") && site.line as usize == comment + 2;
            let found = sites.list().into_iter().find(|site| site.change == change && at(site));
            options.mutant = Some(found.unwrap_or_else(|| panic!("{scenario} does not come to `{line}`")));
            let violation = run(&options).violation.unwrap_or_else(|| panic!("{line}: {change:?}"));
            assert_eq!(violation.rule, rule, "{line}: {change:?}");
        }
    }
}

/// Who sees that a CPU was given up sees that it runs callbacks still. It takes a third CPU to look.
/// `cargo test --release -p standstill-model --test mutants -- --ignored`.
#[test]
#[ignore = "some seconds in release"]
fn who_is_given_up_is_seen_to_run() {
    let mut options = options("halt-vs-starting");
    options.memory = MemoryModel::Ra;
    let mutant =
        find(&options, Change::ToRelaxed, "hotplug/mod.rs", "compare_exchange(from.pack(), to.pack()");
    (options.cpus, options.mutant, options.keep_going) = (3, Some(mutant), false);
    let verdict = run(&options);
    assert_eq!(verdict.violation.map(|violation| violation.rule).as_deref(), Some("require"));
}

/// A waiter that compares its word and nothing else before it sleeps has to find it changed.
#[test]
fn what_a_sleeper_compares_has_to_change() {
    let mut options = options("halt");
    options.sleepers = true;
    for (memory, change) in [(MemoryModel::Sc, Change::DropWrite), (MemoryModel::Ra, Change::ToRelaxed)] {
        options.memory = memory;
        let rule = caught(options.clone(), change, "call/halt.rs", "halt.count.fetch_add");
        assert_eq!(rule, "deadlock", "{}", change.name());
    }
}

/// A store buffer keeps what the fence would have shown.
#[test]
fn a_fence_that_is_left_out() {
    let mut options = options("readers-and-writers");
    options.memory = MemoryModel::Tso { fenced: true };
    let sites = Sites::new();
    let mut whole = options.clone();
    whole.sites = Some(sites.clone());
    assert!(run(&whole).passed());
    let fences: Vec<Mutant> =
        sites.list().into_iter().filter(|site| site.change == Change::SkipFence).collect();
    assert!(!fences.is_empty(), "the lock has fences");
    let rules: Vec<_> = fences
        .into_iter()
        .filter_map(|fence| {
            let mut mutated = options.clone();
            mutated.mutant = Some(fence);
            run(&mutated).violation
        })
        .map(|violation| violation.rule)
        .collect();
    // Every read-modify-write is a fence on x86: what is left to see is what the library does with plain stores.
    assert!(rules.iter().all(|rule| rule == "41" || rule == "deadlock"), "{rules:?}");
}

/// Each ordering of hotplug is caught by the promise that it carries: a plain cell that is used without it.
#[test]
fn orderings_of_hotplug_that_are_weakened() {
    for (scenario, file, code) in [
        ("payload-readers", "hotplug/lock.rs", "gate.load(Acquire) & CLOSED"),
        ("payload-readers", "hotplug/lock.rs", "gate.load(Acquire) / PHASE"),
        ("payload-readers", "hotplug/lock.rs", "readers.fetch_sub(1, Release)"),
        ("payload-readers", "hotplug/lock.rs", "readers.load(Acquire)"),
        ("payload-readers", "hotplug/lock.rs", "compare_exchange(seen, open, Release"),
        ("payload-states", "hotplug/thread.rs", "mail.state.store(POSTED, Release)"),
        ("payload-states", "hotplug/thread.rs", "compare_exchange(POSTED, TAKEN, Acquire"),
        ("payload-states", "hotplug/thread.rs", "compare_exchange(TAKEN, EMPTY, Release"),
        ("payload-states", "hotplug/thread.rs", "mail.state.load(Acquire) == EMPTY"),
        ("payload-state", "hotplug/mod.rs", "state.load(Acquire)"),
        ("payload-state", "hotplug/mod.rs", "state.store(state.index(), Release)"),
        ("payload-early", "hotplug/up.rs", "accepting.contains(who)"),
        ("payload-late", "hotplug/arrive.rs", "loose.remove_last(me)"),
        ("payload-late", "hotplug/mod.rs", "loose.snapshot()"),
        ("payload-bits", "hotplug/down.rs", "active.insert(who)"),
    ] {
        let mut options = options(scenario);
        options.cpus = if scenario == "payload-bits" { 3 } else { 2 };
        options.memory = MemoryModel::Ra;
        assert_eq!(caught(options, Change::ToRelaxed, file, code), "race", "`{code}` in {file}");
    }
    // Without a stop nothing but its last store hands over what a dying CPU did. (The store's own release is
    // behind a fence, which does the same for all that comes before it.)
    let mut dies = options("payload-offline");
    (dies.memory, dies.protocol) = (MemoryModel::Ra, Protocol::REFUSE);
    assert_eq!(caught(dies, Change::ToRelaxed, "hotplug/mod.rs", "sync.load(Acquire)"), "race");
    // A writer that sleeps is woken by the reader that goes, or sees it gone.
    let mut options = options("readers-and-writers");
    options.memory = MemoryModel::Ra;
    options.sleepers = true;
    let rule = caught(options, Change::ToRelaxed, "hotplug/lock.rs", "poke.fetch_add(1, Release)");
    assert_eq!(rule, "deadlock");
}

/// The protocol's own parts, left out one by one: the presets of older times are those mutants.
#[test]
fn each_part_of_the_protocol_is_needed() {
    for (preset, broken) in [
        (Protocol::LINUX_3_14, Property::Late),
        (Protocol::SEED_V6, Property::Lost),
        (Protocol::LINUX_6_12, Property::Outside),
        (Protocol::LINUX_6_12, Property::Spurious),
        (Protocol::SINGLE_DEAF, Property::Frozen),
        (Protocol::NO_STOP, Property::Outside),
    ] {
        let mut options = options("offline-vs-device-irq");
        options.protocol = preset;
        options.keep_going = true;
        assert!(run(&options).of(broken).count > 0, "{preset}: {broken:?}");
    }
}
