//! The rules as data: numbers, scopes, names.

use super::{Rule, RuleId, Scope};

const fn rule(id: u8, scope: Scope, name: &'static str, text: &'static str) -> Rule {
    Rule { id: RuleId(id), scope, name, text }
}

use Scope::{Global, Local, Pair};

/// Every rule that is checked, in ascending order of its number.
pub const RULES: &[Rule] = &[
    rule(
        1,
        Pair,
        "call-exactly-once",
        "a call that was accepted runs once; nothing is left when the machine is quiet",
    ),
    rule(2, Local, "call-on-its-cpu", "a call runs on its target, and no call of the queue inside another"),
    rule(3, Pair, "slot-used-once", "a slot that is queued, or that a sender waits on, is not queued again"),
    rule(
        4,
        Local,
        "ipi-iff-empty",
        "an IPI is sent for each push that found the list empty, and for no other",
    ),
    rule(
        5,
        Global,
        "call-order",
        "calls of one sender to one target in one form run in the order they were sent",
    ),
    rule(
        6,
        Local,
        "release-order",
        "without wait the slot is free before the function starts; with wait the sender goes on after it returned",
    ),
    rule(8, Global, "push-only-when-accepting", "a call is queued only for a CPU that accepts calls"),
    rule(
        9,
        Local,
        "no-call-outside",
        "no foreign call begins on an offline CPU; where that is not promised, none after its last drain",
    ),
    rule(10, Local, "dying-queue-empty", "past the last drain the queue of the CPU that leaves is empty"),
    rule(11, Local, "late-ipi-finds-nothing", "an IPI that reaches an offline CPU finds no call"),
    rule(12, Pair, "waiter-goes-on", "a sender whose call has ended goes on"),
    rule(
        16,
        Local,
        "run-once-where-active",
        "a stop's function runs once on each active CPU and nowhere else",
    ),
    rule(
        17,
        Global,
        "frozen-while-run",
        "while a stop's function runs, all CPUs of the stop have closed interrupts",
    ),
    rule(
        18,
        Local,
        "stage-order",
        "a CPU acknowledges each stage once and in order; a stage is entered when all acknowledged the one before",
    ),
    rule(19, Local, "expected-is-accepted", "a stop waits for as many CPUs as accepted its work"),
    rule(
        20,
        Local,
        "split-stages",
        "of two disable stages the CPUs that stay take the first and the active ones the second, after all of them",
    ),
    rule(21, Local, "irqs-as-before", "after a stop a CPU's interrupts are as they were before it"),
    rule(22, Pair, "work-one-fate", "a queued work runs, is refused or is claimed back: one of them, once"),
    rule(23, Local, "stopper-before-online", "the stopper of a CPU is open before the CPU is online"),
    rule(24, Local, "work-on-its-cpu", "a work runs on the CPU whose stopper got it"),
    rule(25, Pair, "no-work-left", "no work is left queued when the machine is quiet"),
    rule(
        27,
        Local,
        "stops-in-one-order",
        "stops do not interleave, and every CPU sees them in the same order",
    ),
    rule(28, Local, "closed-stopper-runs-nothing", "no work begins on a stopper that is closed"),
    rule(29, Local, "work-is-atomic", "a work ends before the next one begins on its CPU"),
    rule(
        31,
        Global,
        "leave-under-lock",
        "a CPU comes and goes only while the hotplug lock is held for writing",
    ),
    rule(32, Pair, "mask-order", "active is inside online: set after it, cleared before it"),
    rule(
        33,
        Global,
        "one-in-transition",
        "one CPU moves between states at a time, or several come up in one operation; none leaves beside a STARTING callback",
    ),
    rule(
        34,
        Local,
        "online-bit-by-itself",
        "a CPU's online bit is changed by that CPU, cleared only while the others are frozen, and not set in a stop by one that comes up",
    ),
    rule(
        35,
        Pair,
        "walk-order",
        "a walk passes its states one after the other, up ascending, down descending",
    ),
    rule(
        36,
        Local,
        "callback-place",
        "PREPARE and DEAD run elsewhere, STARTING and DYING here with interrupts off, ONLINE here with them on",
    ),
    rule(
        37,
        Pair,
        "rollback-reverses",
        "a rollback undoes what succeeded, in reverse, and the operation reports failure",
    ),
    rule(39, Pair, "no-way-back", "a failure where none is allowed does not turn the walk around"),
    rule(
        40,
        Pair,
        "injection-place",
        "an injected failure strikes on the way forth only, and only where a walk may fail",
    ),
    rule(
        41,
        Global,
        "lock-excludes",
        "the hotplug lock has one writer and no reader, or readers and no writer",
    ),
    rule(42, Global, "one-online", "the online mask is never empty"),
    rule(43, Local, "control-stays", "the CPU that controls the stop is not the one that leaves in it"),
    rule(
        44,
        Pair,
        "threads-parked",
        "the bound threads of a CPU are parked before it leaves, unparked once it is online",
    ),
    rule(
        48,
        Local,
        "deaf-after-online",
        "a dead CPU does nothing before it is started; a deaf one takes no IPI offline",
    ),
    rule(49, Pair, "handshake-order", "the handshake of a CPU that starts or dies takes legal steps only"),
    rule(
        52,
        Pair,
        "whole-or-gone",
        "after an operation that succeeded the masks and threads of the CPU fit its state",
    ),
    rule(
        53,
        Local,
        "death-seen-by-the-living",
        "each death is noted once, by another CPU, after it happened",
    ),
];

impl RuleId {
    /// The rule itself, if it is one that is checked.
    #[must_use]
    pub fn rule(self) -> Option<&'static Rule> {
        RULES.iter().find(|rule| rule.id == self)
    }
}
