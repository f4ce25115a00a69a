//! What the checker takes the code's word for: where the code breaks its word, the check says so, and where.
//!
//! Each test is the mutant of one assumption.

use std::hash::{Hash, Hasher};
use std::ops::ControlFlow;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

use standstill::CpuId;
use standstill::platform::{Deadline, Ipi, Irq, Memory, Site, Wait, WaitContext, WaitFor, Word};
use standstill_model::{
    Audit, Coverage, Model, ModelWord, Options, Plain, Scenario, Setup, Verdict, Violation, all_up, branch,
    check, replay, require,
};

/// A list that both CPUs push to, as numbers of nodes; the links.
struct List {
    head: ModelWord,
    next: [ModelWord; 4],
}

impl List {
    fn empty() -> List {
        List { head: ModelWord::ZERO, next: [const { ModelWord::ZERO }; 4] }
    }
}

fn run(scenario: &Scenario, change: impl FnOnce(&mut Options)) -> Verdict {
    let mut options = scenario.options();
    options.shrink = false;
    change(&mut options);
    check(&options, &mut |_| ControlFlow::Continue(()))
}

/// Two CPUs push a node each by `push`; at the end both are there.
fn pushes(push: impl Fn(&Model, &List, usize) + Clone + Send + Sync + 'static) -> Scenario {
    Scenario::new("pushes", move |s: &mut Setup<'_, 2>| {
        let machine = s.machine();
        let (list, ready) = (s.keep(List::empty()), s.keep(ModelWord::ZERO));
        let (one, other) = (push.clone(), push.clone());
        s.task(move |task| {
            all_up(machine, task);
            branch();
            one(machine.platform(), list, 1);
            await_that(machine.platform(), ready, || (ready.load(Acquire) != 0).then_some(()));
            let first = list.head.load(Acquire);
            let second = list.next[first].load(Relaxed);
            require(first + second == 3, "a node that was pushed is not in the list");
        });
        s.task_on(CpuId::new(1), move |_| {
            other(machine.platform(), list, 2);
            ready.store(1, Release);
            machine.platform().notify(ready);
        });
    })
}

fn await_that(platform: &Model, on: &'static ModelWord, poll: impl FnMut() -> Option<()>) {
    let site = Site::here("a word of the scenario");
    let wait = WaitFor { site, context: WaitContext::Task, deadline: Deadline::NEVER, stalled: &|_| () };
    platform.wait_until(on, &wait, poll);
}

/// The violation, which the schedule shows again, and whose words point at this file.
fn broken(scenario: &Scenario, rule: &str) -> Violation {
    let verdict = run(scenario, |_| ());
    assert_eq!(verdict.error, None);
    let violation = verdict.violation.unwrap_or_else(|| panic!("nothing is found: {:?}", verdict.coverage));
    assert_eq!(violation.rule, rule, "{}", violation.text);
    assert!(violation.location.contains("trust.rs:"), "{}", violation.location);
    let mut options = scenario.options();
    options.shrink = false;
    let again = replay(&options, &violation.choices).expect("it is its schedule");
    assert_eq!(again.violation.map(|violation| violation.rule).as_deref(), Some(rule), "as it is replayed");
    violation
}

fn passes(scenario: &Scenario) {
    let verdict = run(scenario, |_| ());
    assert_eq!(verdict.story(), Ok(()));
    assert!(matches!(verdict.coverage, Coverage::Exhausted { .. }));
}

/// As a guess is meant.
fn well(_: &Model, list: &List, node: usize) {
    let mut head = list.head.load_for_cas();
    loop {
        list.next[node].store(head, Relaxed);
        match list.head.compare_exchange(head, node, AcqRel, Relaxed) {
            Ok(_) => return,
            Err(now) => head = now,
        }
    }
}

#[test]
fn a_guess_that_is_kept() {
    passes(&pushes(well));
}

#[test]
fn a_guess_that_no_compare_and_swap_follows() {
    type Wrong = fn(&List, usize, usize);
    let wrongs: [(&str, Wrong); 5] = [
        ("the word is stored to", |list, node, _| list.head.store(node, Release)),
        ("the word is changed", |list, node, _| {
            list.head.swap(node, AcqRel);
        }),
        ("the word is changed", |list, node, head| {
            list.head.fetch_add(node.wrapping_sub(head), AcqRel);
        }),
        ("expects another value", |list, node, head| {
            let _ = list.head.compare_exchange(head + 1, node, AcqRel, Relaxed);
        }),
        ("the word is read again", |list, node, _| {
            let head = list.head.load(Relaxed);
            let _ = list.head.compare_exchange(head, node, AcqRel, Relaxed);
        }),
    ];
    for (words, wrong) in wrongs {
        for stores in [true, false] {
            let violation = broken(
                &pushes(move |_, list, node| {
                    let head = list.head.load_for_cas();
                    if stores {
                        list.next[node].store(head, Relaxed);
                    }
                    wrong(list, node, head);
                }),
                "guess",
            );
            assert!(violation.text.contains(words), "{}", violation.text);
        }
    }
}

/// What was stored is seen by others whether there is a compare-and-swap or not.
#[test]
fn a_guess_that_is_given_up_after_a_store() {
    type Else = fn(&Model, &List);
    let instead: [Else; 5] = [
        |_, list| {
            list.next[3].load(Relaxed);
        },
        |_, list| {
            list.next[3].fetch_add(1, Relaxed);
        },
        |platform, _| platform.send_ipi(CpuId::BOOT, Ipi::Call),
        |platform, _| {
            let flags = platform.irq_save();
            // SAFETY: from the line before.
            unsafe { platform.irq_restore(flags) };
        },
        |_, _| (),
    ];
    for (at, instead) in instead.into_iter().enumerate() {
        let violation = broken(
            &pushes(move |platform, list, node| {
                let head = list.head.load_for_cas();
                list.next[node].store(head, Relaxed);
                instead(platform, list);
                let _ = (at < 4).then(|| list.head.compare_exchange(head, node, AcqRel, Relaxed));
            }),
            "guess",
        );
        assert!(violation.text.contains("with no compare-and-swap in between"), "{}", violation.text);
    }
}

/// A guess that is given up was a load, and what follows is a step of its own.
#[test]
fn a_guess_that_is_given_up_decides_nothing() {
    let wrong = |_: &Model, list: &List, node: usize| {
        let head = list.head.load_for_cas();
        // Nobody else can come in between, or so it seems.
        list.next[3].load(Relaxed);
        if list.head.compare_exchange(head, node, AcqRel, Relaxed).is_ok() {
            list.next[node].store(head, Relaxed);
        }
    };
    broken(&pushes(wrong), "require");
    passes(&pushes(|platform, list, node| {
        list.head.load_for_cas();
        well(platform, list, node);
    }));
}

/// A handler between a guess and its compare-and-swap, which guesses, too.
#[test]
fn a_guess_in_a_handler_that_interrupts_one() {
    let nested = |stores: bool| {
        Scenario::new("nested", move |s: &mut Setup<'_, 2>| {
            let machine = s.machine();
            let list = s.keep(List::empty());
            s.device(move |_, cpu| {
                if cpu == CpuId::BOOT {
                    well(machine.platform(), list, 2);
                }
            });
            s.task(move |task| {
                all_up(machine, task);
                branch();
                let head = list.head.load_for_cas();
                if stores {
                    list.next[1].store(head, Relaxed);
                }
                machine.irq_off(task, |_| ());
                if stores || list.head.compare_exchange(head, 1, AcqRel, Relaxed).is_err() {
                    well(machine.platform(), list, 1);
                }
            });
        })
    };
    passes(&nested(false));
    broken(&nested(true), "guess");
}

/// Somebody looks at what is stored before the compare-and-swap has made it known.
#[test]
fn what_is_stored_behind_a_guess_is_looked_at() {
    let scenario = |looks: bool| {
        Scenario::new("looked-at", move |s: &mut Setup<'_, 2>| {
            let machine = s.machine();
            let list = s.keep(List::empty());
            s.task(move |task| {
                all_up(machine, task);
                branch();
                well(machine.platform(), list, 1);
            });
            s.task_on(CpuId::new(1), move |_| {
                let known = list.head.load(Acquire) == 1;
                if looks || known {
                    list.next[1].load(Relaxed);
                }
            });
        })
    };
    passes(&scenario(false));
    let violation = broken(&scenario(true), "race");
    assert!(violation.text.contains("between a guess and its compare-and-swap"), "{}", violation.text);
}

/// What a condition of [`waits`] has at hand.
struct Hand {
    platform: &'static Model,
    word: &'static ModelWord,
    plain: &'static Plain<usize>,
}

/// A thread on CPU 1 waits by `poll` for a word that CPU 0 stores.
fn waits(poll: impl Fn(&Hand, &mut usize) -> Option<()> + Clone + Send + Sync + 'static) -> Scenario {
    Scenario::new("waits", move |s: &mut Setup<'_, 2>| {
        let machine = s.machine();
        let (word, plain) = (s.keep(ModelWord::ZERO), s.plain());
        let poll = poll.clone();
        s.task(move |task| {
            all_up(machine, task);
            branch();
            word.store(1, Release);
            machine.platform().notify(word);
        });
        s.task_on(CpuId::new(1), move |_| {
            let hand = Hand { platform: machine.platform(), word, plain };
            let mut kept = 0;
            await_that(hand.platform, word, || poll(&hand, &mut kept));
        });
    })
}

fn holds(hand: &Hand) -> Option<()> {
    (hand.word.load(Acquire) != 0).then_some(())
}

#[test]
fn a_condition_that_only_looks() {
    passes(&waits(|hand, _| holds(hand)));
    // It takes what it waited for, in one step.
    passes(&waits(|hand, _| hand.word.compare_exchange(1, 2, Acquire, Relaxed).ok().map(|_| ())));
}

#[test]
fn a_condition_that_changes_something() {
    type Wrong = fn(&Hand);
    let wrongs: [(&str, Wrong); 7] = [
        ("writes to memory", |hand| hand.word.store(0, Relaxed)),
        ("writes to memory", |hand| {
            hand.word.fetch_add(0, Relaxed);
        }),
        ("writes to plain memory", |hand| hand.plain.set(1)),
        ("wakes others", |hand| hand.platform.notify(hand.word)),
        ("asks the platform", |hand| hand.platform.send_ipi(CpuId::BOOT, Ipi::Call)),
        ("waits", |hand| await_that(hand.platform, hand.word, || Some(()))),
        ("has changed something", |hand| {
            let _ = hand.word.compare_exchange(0, 2, Relaxed, Relaxed);
        }),
    ];
    for (words, wrong) in wrongs {
        let scenario = waits(move |hand, _| {
            wrong(hand);
            (hand.word.load(Acquire) == 1).then_some(())
        });
        let violation = broken(&scenario, "condition");
        assert!(violation.text.contains(words), "{words}: {}", violation.text);
    }
}

#[test]
fn a_condition_that_remembers() {
    let violation = broken(
        &waits(|hand, looks| {
            *looks += 1;
            holds(hand).filter(|()| *looks % 2 == 0)
        }),
        "condition",
    );
    assert!(violation.text.contains("it remembers something"), "{}", violation.text);
}

/// What the audit says of code whose states are merged as its word says.
fn audited(scenario: &Scenario) -> Option<String> {
    run(scenario, |options| options.audit = Audit { merges: 1_000, seed: 1, undone: false }).error
}

/// A thread on CPU 1 turns round in a loop with cuts, and reads what CPU 0 writes; it tells the loop's head its turn, and `all` it remembers or not.
fn turns(all: bool) -> Scenario {
    Scenario::new("turns", move |s: &mut Setup<'_, 2>| {
        let machine = s.machine();
        let (word, told) = (s.keep(ModelWord::ZERO), s.keep(ModelWord::ZERO));
        s.task(move |task| {
            all_up(machine, task);
            branch();
            for value in 1..4 {
                word.store(value, Relaxed);
            }
        });
        s.task_on(CpuId::new(1), move |_| {
            let platform = machine.platform();
            let mut sum = 0;
            platform.enter_loop();
            for turn in 0..3 {
                if all {
                    platform.loop_head(&(turn, sum));
                } else {
                    platform.loop_head(&turn);
                }
                sum += word.load(Relaxed);
            }
            platform.leave_loop();
            told.store(sum, Relaxed);
        });
    })
}

#[test]
fn a_loop_that_remembers_more_than_its_state() {
    assert_eq!(audited(&turns(true)), None);
    let differs = audited(&turns(false)).expect("the sum makes a difference");
    assert!(differs.contains("the fingerprint merged two different states"), "{differs}");
}

/// A plain value whose hash leaves something out, if `HIDES`.
#[derive(Clone, Copy)]
struct Half<const HIDES: bool>(usize);

impl<const HIDES: bool> Hash for Half<HIDES> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (if HIDES { 0 } else { self.0 }).hash(state);
    }
}

/// Handlers on CPU 0 keep in plain memory what they have read.
fn keeps<const HIDES: bool>() -> Scenario {
    Scenario::new("keeps", |s: &mut Setup<'_, 2>| {
        let machine = s.machine();
        let (given, kept) = (s.keep(ModelWord::ZERO), s.plain::<Half<HIDES>>());
        s.device(move |_, cpu| {
            if cpu == CpuId::BOOT {
                kept.set(Half(given.load(Relaxed)));
            }
        });
        s.task(move |task| {
            all_up(machine, task);
            kept.set(Half(0));
            branch();
            for round in 1..4 {
                given.store(round, Relaxed);
            }
            if kept.get().0 == 2 {
                given.store(7, Relaxed);
            }
        });
    })
}

#[test]
fn a_plain_value_whose_hash_leaves_something_out() {
    assert_eq!(audited(&keeps::<false>()), None);
    let differs = audited(&keeps::<true>()).expect("what it leaves out makes a difference");
    assert!(differs.contains("the fingerprint merged two different states"), "{differs}");
}

/// Contexts share something that is no memory of the platform.
#[test]
fn memory_that_the_checker_does_not_know() {
    static SEEN: AtomicUsize = AtomicUsize::new(0);
    let scenario = Scenario::new("static", |s: &mut Setup<'_, 2>| {
        let machine = s.machine();
        let word = s.keep(ModelWord::ZERO);
        s.device(move |_, _| {
            word.store(SEEN.fetch_add(1, Relaxed), Relaxed);
        });
        s.task(move |task| {
            all_up(machine, task);
            branch();
            word.store(1, Relaxed);
        });
    });
    let differs = audited(&scenario).expect("no run can be made again");
    // A run leads elsewhere when it is made again, or goes on in another way.
    let says = ["the code is not deterministic", "the fingerprint merged two different states"];
    assert!(says.iter().any(|words| differs.contains(words)), "{differs}");
}

/// What is not looked at is said with the verdict; what was asked to be looked at is not.
#[test]
fn a_verdict_says_what_it_takes_for_granted() {
    let says = |change: fn(&mut Options), words: &str| {
        run(&turns(true), change).assumptions.iter().any(|text| text.contains(words))
    };
    for words in [
        "calls `branch`",
        "no deadline expires",
        "who waits polls",
        "`--audit N`",
        "the access that it announces",
    ] {
        assert!(says(|_| (), words), "{words}");
    }
    assert!(!says(|_| (), "data races are not looked for"));
    assert!(says(|options| options.races = false, "data races are not looked for"));
    assert!(says(|options| options.sleepers = true, "sleeps until"));
    assert!(!says(|options| options.audit.merges = 10, "`--audit N`"));
}

/// What a thread and the handlers of its CPU share, and nobody else: each order of theirs is tried, with merging and without it.
#[test]
fn what_a_thread_and_its_own_handlers_share() {
    fn sharing<K: 'static>(
        keep: impl Fn(&mut Setup<'_, 2>) -> &'static K + Copy + Send + Sync + 'static,
        get: fn(&K) -> usize,
        set: fn(&K, usize),
    ) -> Scenario {
        Scenario::new("own-handlers", move |s: &mut Setup<'_, 2>| {
            let machine = s.machine();
            let (given, kept) = (keep(s), keep(s));
            s.device(move |_, cpu| {
                if cpu == CpuId::BOOT {
                    set(kept, get(given));
                }
            });
            s.task(move |task| {
                all_up(machine, task);
                set(given, 0);
                set(kept, 0);
                branch();
                for round in 1..4 {
                    set(given, round);
                }
                if get(kept) == 2 {
                    set(given, 7);
                }
            });
        })
    }
    let word = sharing(
        |s| s.keep(ModelWord::ZERO),
        |word: &ModelWord| word.load(Relaxed),
        |word, value| word.store(value, Relaxed),
    );
    let plain = sharing(|s| s.plain(), Plain::get, Plain::set);
    for (what, scenario) in [("word", word), ("plain", plain)] {
        let ends = [true, false].map(|reduce| run(&scenario, |options| options.reduce = reduce).ends.len());
        // The handler on CPU 0 keeps 0 to 3, or does not come; that on CPU 1 comes or does not. Where it kept 2, that was before the end or after.
        assert_eq!(ends, [10, 10], "{what}");
    }
}

/// A set-up that fails says why and where, and that it is the code's doing.
#[test]
fn a_set_up_that_fails_says_where() {
    type Fails = fn(&'static Model, &'static ModelWord);
    let ways: [(&str, &str, Fails); 4] = [
        ("fails: deadlock: nobody can go on: task on CPU 0 at ", "trust.rs:", |platform, word| {
            await_that(platform, word, || (word.load(Relaxed) != 0).then_some(()));
        }),
        ("fails: require: it is not", "trust.rs:", |_, _| require(false, "it is not")),
        ("fails: panic: it is not", "(", |_, _| panic!("it is not")),
        ("ends, and nobody has called `branch`", "", |_, _| ()),
    ];
    for (words, place, fails) in ways {
        let scenario = Scenario::new("set-up", move |s: &mut Setup<'_, 2>| {
            let (machine, word) = (s.machine(), s.keep(ModelWord::ZERO));
            s.task(move |_| fails(machine.platform(), word));
        });
        let verdict = run(&scenario, |_| ());
        let error = verdict.error.expect("nothing was searched");
        assert!(error.contains(words) && error.contains(place) && verdict.fails_in_setup, "{error}");
    }
    let mut wrong = turns(true).options();
    wrong.cpus = 3;
    let verdict = check(&wrong, &mut |_| ControlFlow::Continue(()));
    assert!(verdict.error.is_some() && !verdict.fails_in_setup, "those are the options");
}
