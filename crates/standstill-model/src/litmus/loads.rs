//! What loads may find.

use super::*;

const STORE_BUFFERING: [Body; 2] = [
    |w| {
        w.x.store(1, Release);
        w.saw(0, w.y.load(Acquire));
    },
    |w| {
        w.y.store(1, Release);
        w.saw(1, w.x.load(Acquire));
    },
];

const STORE_BUFFERING_FENCED: [Body; 2] = [
    |w| {
        w.x.store(1, Relaxed);
        Model.fence();
        w.saw(0, w.y.load(Relaxed));
    },
    |w| {
        w.y.store(1, Relaxed);
        Model.fence();
        w.saw(1, w.x.load(Relaxed));
    },
];

#[test]
fn store_buffering() {
    assert_eq!(registers(SC, &STORE_BUFFERING), all_but(&[[0, 0]]));
    for memory in [TSO, RA] {
        assert_eq!(registers(memory, &STORE_BUFFERING), all_but::<2>(&[]));
    }
    for memory in [SC, TSO, RA] {
        assert_eq!(registers(memory, &STORE_BUFFERING_FENCED), all_but(&[[0, 0]]));
    }
}

#[test]
fn a_locked_instruction_drains_as_a_fence_does() {
    let bodies: [Body; 2] = [
        |w| {
            w.x.store(1, Relaxed);
            w.z.fetch_add(1, Relaxed);
            w.saw(0, w.y.load(Relaxed));
        },
        |w| {
            w.y.swap(1, Relaxed);
            w.saw(1, w.x.load(Relaxed));
        },
    ];
    assert_eq!(registers(TSO, &bodies), all_but(&[[0, 0]]));
    // That is a promise of x86 alone.
    assert_eq!(registers(RA, &bodies), all_but::<2>(&[]));
}

#[test]
fn a_cpu_sees_its_own_store_first() {
    // As store buffering, and each CPU looks at its own word before.
    let bodies: [Body; 2] = [
        |w| {
            w.x.store(1, Relaxed);
            w.saw(0, w.x.load(Relaxed));
            w.saw(1, w.y.load(Relaxed));
        },
        |w| {
            w.y.store(1, Relaxed);
            w.saw(2, w.y.load(Relaxed));
            w.saw(3, w.x.load(Relaxed));
        },
    ];
    let tso: BTreeSet<[usize; 4]> = [[1, 0, 1, 0], [1, 0, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1]].into();
    for memory in [TSO, RA] {
        assert_eq!(registers(memory, &bodies), tso);
    }
}

const MESSAGE_PASSING: [Body; 2] = [
    |w| {
        w.x.store(1, Relaxed);
        w.y.store(1, Release);
    },
    |w| {
        w.saw(0, w.y.load(Acquire));
        w.saw(1, w.x.load(Relaxed));
    },
];

#[test]
fn message_passing() {
    for memory in [SC, TSO, RA] {
        assert_eq!(registers(memory, &MESSAGE_PASSING), all_but(&[[1, 0]]));
    }
}

#[test]
fn message_passing_needs_both_sides() {
    let relaxed_store: Body = |w| {
        w.x.store(1, Relaxed);
        w.y.store(1, Relaxed);
    };
    let relaxed_load: Body = |w| {
        w.saw(0, w.y.load(Relaxed));
        w.saw(1, w.x.load(Relaxed));
    };
    for bodies in [[relaxed_store, MESSAGE_PASSING[1]], [MESSAGE_PASSING[0], relaxed_load]] {
        assert_eq!(registers(RA, &bodies), all_but::<2>(&[]));
        assert_eq!(registers(TSO, &bodies), all_but(&[[1, 0]]));
    }
}

#[test]
fn message_passing_by_fences() {
    let fenced_store: Body = |w| {
        w.x.store(1, Relaxed);
        Model.fence();
        w.y.store(1, Relaxed);
    };
    let fenced_load: Body = |w| {
        w.saw(0, w.y.load(Relaxed));
        Model.fence();
        w.saw(1, w.x.load(Relaxed));
    };
    // A fence on one side goes with a release or an acquire on the other.
    for bodies in
        [[fenced_store, fenced_load], [fenced_store, MESSAGE_PASSING[1]], [MESSAGE_PASSING[0], fenced_load]]
    {
        for memory in [SC, TSO, RA] {
            assert_eq!(registers(memory, &bodies), all_but(&[[1, 0]]));
        }
    }
    let relaxed: Body = |w| {
        w.saw(0, w.y.load(Relaxed));
        w.saw(1, w.x.load(Relaxed));
    };
    assert_eq!(registers(RA, &[fenced_store, relaxed]), all_but::<2>(&[]));
}

#[test]
fn a_release_sequence_goes_through_read_modify_writes_and_not_through_stores() {
    // The third CPU sees what the first published, if the second only modified it.
    let publish: Body = |w| {
        w.x.store(1, Relaxed);
        w.y.store(1, Release);
    };
    let look: Body = |w| {
        w.saw(0, usize::from(w.y.load(Acquire) == 3));
        w.saw(1, w.x.load(Relaxed));
    };
    let modify: Body = |w| {
        w.y.fetch_add(2, Relaxed);
    };
    assert_eq!(registers(RA, &[publish, modify, look]), all_but(&[[1, 0]]));
    let store: Body = |w| {
        if w.y.load(Relaxed) == 1 {
            w.y.store(3, Relaxed);
        }
    };
    assert_eq!(registers(RA, &[publish, store, look]), all_but::<2>(&[]));
}

#[test]
fn one_word_has_one_order() {
    // Two loads of one word don't go back, and what a CPU stored it does not see undone by what was before.
    let bodies: [Body; 2] = [
        |w| {
            w.x.store(1, Relaxed);
            w.x.store(2, Relaxed);
        },
        |w| {
            w.saw(0, w.x.load(Relaxed));
            w.saw(1, w.x.load(Relaxed));
        },
    ];
    let forward: BTreeSet<[usize; 2]> = [[0, 0], [0, 1], [0, 2], [1, 1], [1, 2], [2, 2]].into();
    for memory in [SC, TSO, RA] {
        assert_eq!(registers(memory, &bodies), forward);
        // The last store is the last.
        assert!(ends(memory, &bodies, NOTHING).iter().all(|(_, [x, _, _])| *x == 2));
    }
    let two_readers: [Body; 4] = [
        |w| w.x.store(1, Relaxed),
        |w| w.x.store(2, Relaxed),
        |w| {
            w.saw(0, w.x.load(Relaxed));
            w.saw(1, w.x.load(Relaxed));
        },
        |w| {
            w.saw(2, w.x.load(Relaxed));
            w.saw(3, w.x.load(Relaxed));
        },
    ];
    let seen: BTreeSet<[usize; 4]> = registers(RA, &two_readers);
    assert!(seen.contains(&[1, 2, 1, 2]) && seen.contains(&[2, 1, 2, 1]));
    assert!(!seen.contains(&[1, 2, 2, 1]), "two readers disagree on the order of two stores to one word");
    assert_eq!(seen, registers(SC, &two_readers));
}

#[test]
fn read_modify_writes_are_atomic() {
    let add: Body = |w| {
        w.x.fetch_add(1, Relaxed);
    };
    let store: Body = |w| w.x.store(5, Relaxed);
    for memory in [SC, TSO, RA] {
        assert!(ends(memory, &[add, add, add], NOTHING).iter().all(|(_, [x, _, _])| *x == 3));
        let with_store: BTreeSet<_> =
            ends(memory, &[add, add, store], NOTHING).iter().map(|(_, [x, _, _])| *x).collect();
        assert_eq!(with_store, [5, 6, 7].into());
        // Of two compare-and-swaps that expect the same one succeeds.
        let swap: [Body; 2] = [
            |w| w.saw(0, usize::from(w.x.compare_exchange(0, 1, Relaxed, Relaxed).is_ok())),
            |w| w.saw(1, usize::from(w.x.compare_exchange(0, 2, Relaxed, Relaxed).is_ok())),
        ];
        assert_eq!(registers(memory, &swap), [[0, 1], [1, 0]].into());
    }
}

#[test]
fn a_guess_and_its_swap_are_one_step() {
    let push: Body = |w| {
        let mut seen = w.x.load_for_cas();
        while let Err(now) = w.x.compare_exchange(seen, seen * 2 + 1, AcqRel, Relaxed) {
            seen = now;
        }
    };
    for memory in [SC, TSO, RA] {
        assert!(ends(memory, &[push, push, push], NOTHING).iter().all(|(_, [x, _, _])| *x == 7));
    }
}

#[test]
fn who_waits_sees_what_was_published_and_no_more() {
    let publish: Body = |w| {
        w.x.store(1, Relaxed);
        w.y.store(1, Release);
    };
    let acquire: Body = |w| {
        wait(&w.y, Acquire, 1);
        w.saw(0, w.x.load(Relaxed));
    };
    let relaxed: Body = |w| {
        wait(&w.y, Relaxed, 1);
        w.saw(0, w.x.load(Relaxed));
    };
    for memory in [SC, TSO, RA] {
        assert_eq!(registers(memory, &[publish, acquire]), [[1]].into());
    }
    assert_eq!(registers(TSO, &[publish, relaxed]), [[1]].into());
    assert_eq!(registers(RA, &[publish, relaxed]), [[0], [1]].into());
}

#[test]
fn a_value_that_is_gone_can_be_missed() {
    // Who waits for 1 may see it late, or not at all: then it waits for ever, and the search says so.
    let bodies: [Body; 2] = [
        |w| {
            w.x.store(1, Relaxed);
            w.x.store(0, Relaxed);
        },
        |w| {
            wait(&w.x, Relaxed, 1);
            w.saw(0, 1);
        },
    ];
    for memory in [SC, TSO, RA] {
        let (found, faults) = all_ends(memory, &bodies, NOTHING);
        assert_eq!(faults, ["deadlock".to_string()].into());
        assert!(found.iter().any(|(r, _)| r[0] == Some(1)));
    }
}

#[test]
fn load_buffering() {
    let bodies: [Body; 2] = [
        |w| {
            w.saw(0, w.x.load(Relaxed));
            w.y.store(1, Relaxed);
        },
        |w| {
            w.saw(1, w.y.load(Relaxed));
            w.x.store(1, Relaxed);
        },
    ];
    for memory in [SC, TSO, RA] {
        assert_eq!(registers(memory, &bodies), all_but(&[[1, 1]]));
    }
}

#[test]
fn independent_reads_of_independent_writes() {
    let bodies: [Body; 4] = [
        |w| w.x.store(1, Release),
        |w| w.y.store(1, Release),
        |w| {
            w.saw(0, w.x.load(Acquire));
            w.saw(1, w.y.load(Acquire));
        },
        |w| {
            w.saw(2, w.y.load(Acquire));
            w.saw(3, w.x.load(Acquire));
        },
    ];
    for memory in [SC, TSO] {
        assert_eq!(registers(memory, &bodies), all_but(&[[1, 0, 1, 0]]));
    }
    assert_eq!(registers(RA, &bodies), all_but::<4>(&[]));
    let fenced: [Body; 4] = [
        bodies[0],
        bodies[1],
        |w| {
            w.saw(0, w.x.load(Relaxed));
            Model.fence();
            w.saw(1, w.y.load(Relaxed));
        },
        |w| {
            w.saw(2, w.y.load(Relaxed));
            Model.fence();
            w.saw(3, w.x.load(Relaxed));
        },
    ];
    for memory in [SC, TSO, RA] {
        assert_eq!(registers(memory, &fenced), all_but(&[[1, 0, 1, 0]]));
    }
}
