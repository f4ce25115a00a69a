//! In which order stores may end, and reach a handler.

use super::*;

/// The words and the registers of all ends.
fn both(memory: MemoryModel, bodies: &[Body]) -> BTreeSet<([usize; 2], Option<usize>)> {
    ends(memory, bodies, NOTHING).into_iter().map(|(r, [x, y, _])| ([x, y], r[0])).collect()
}

#[test]
fn r() {
    // The second word ends as the second CPU's, and that CPU has not seen the first word.
    let bodies: [Body; 2] = [
        |w| {
            w.x.store(1, Relaxed);
            w.y.store(1, Relaxed);
        },
        |w| {
            w.y.store(2, Relaxed);
            w.saw(0, w.x.load(Relaxed));
        },
    ];
    let sc: BTreeSet<_> = [([1, 1], Some(0)), ([1, 1], Some(1)), ([1, 2], Some(1))].into();
    assert_eq!(both(SC, &bodies), sc);
    let mut weak = sc;
    weak.insert(([1, 2], Some(0)));
    for memory in [TSO, RA] {
        assert_eq!(both(memory, &bodies), weak);
    }
}

#[test]
fn s() {
    // The first word ends as the first CPU's, and the second CPU has seen the second word.
    let bodies: [Body; 2] = [
        |w| {
            w.x.store(2, Relaxed);
            w.y.store(1, Release);
        },
        |w| {
            w.saw(0, w.y.load(Acquire));
            w.x.store(1, Relaxed);
        },
    ];
    let expected: BTreeSet<_> = [([1, 1], Some(0)), ([1, 1], Some(1)), ([2, 1], Some(0))].into();
    for memory in [SC, TSO, RA] {
        assert_eq!(both(memory, &bodies), expected);
    }
    let relaxed: [Body; 2] = [
        |w| {
            w.x.store(2, Relaxed);
            w.y.store(1, Relaxed);
        },
        bodies[1],
    ];
    let mut weak = expected;
    weak.insert(([2, 1], Some(1)));
    assert_eq!(both(RA, &relaxed), weak);
}

#[test]
fn two_plus_two_writes() {
    let bodies: [Body; 2] = [
        |w| {
            w.x.store(1, Release);
            w.y.store(2, Release);
        },
        |w| {
            w.y.store(1, Release);
            w.x.store(2, Release);
        },
    ];
    // The last store to each word can't be the first of each CPU.
    let expected: BTreeSet<_> = [([1, 2], None), ([2, 1], None), ([2, 2], None)].into();
    for memory in [SC, TSO] {
        assert_eq!(both(memory, &bodies), expected);
    }
    let mut weak = expected;
    weak.insert(([1, 1], None));
    assert_eq!(both(RA, &bodies), weak);
}

/// A store, and an IPI whose handler looks for it.
fn seen_by_the_handler(memory: MemoryModel) -> BTreeSet<Option<usize>> {
    let bodies: [Body; 2] = [
        |w| {
            w.x.store(1, Relaxed);
            Model.send_ipi(CpuId::new(1), Ipi::Call);
        },
        |_| {
            // A last moment for an interrupt.
            let flags = Model.irq_save();
            // SAFETY: from the line above.
            unsafe { Model.irq_restore(flags) };
        },
    ];
    ends(memory, &bodies, |w| w.saw(0, w.x.load(Relaxed))).into_iter().map(|(r, _)| r[0]).collect()
}

#[test]
fn an_ipi_overtakes_a_store_where_sends_are_not_fenced() {
    // `None`: the IPI comes too late for the body.
    assert_eq!(seen_by_the_handler(SC), [None, Some(1)].into());
    assert_eq!(seen_by_the_handler(TSO), [None, Some(1)].into());
    assert_eq!(seen_by_the_handler(RA), [None, Some(1)].into());
    assert_eq!(seen_by_the_handler(UNFENCED), [None, Some(0), Some(1)].into());
}
