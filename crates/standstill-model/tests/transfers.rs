//! What a stage costs in transfers of cache lines grows with the number of levels of the tree, and not with the number of CPUs.

use standstill::stop::Stage;
use standstill_model::transfers::{StageCost, transfers};

const ONE_WORD: usize = usize::MAX;

fn of(costs: &[StageCost], stage: Stage) -> StageCost {
    *costs.iter().find(|cost| cost.stage == stage).expect("every stop has the stage")
}

#[test]
fn a_machine_of_one_group_is_as_with_one_word() {
    for cpus in [2, 3, 4, 8] {
        assert_eq!(transfers(cpus, 8), transfers(cpus, ONE_WORD), "{cpus} CPUs");
    }
}

/// The deepest stage of a machine of one group is what one level costs.
#[test]
fn each_level_adds_the_same() {
    let one = transfers(8, 8);
    let deepest = |costs: &[StageCost], of: fn(&StageCost) -> u64| costs.iter().map(of).max().unwrap();
    let (down, up) = (deepest(&one, |cost| cost.down.depth), deepest(&one, |cost| cost.up.depth));
    for (cpus, levels) in [(16, 2), (64, 2), (256, 3)] {
        for cost in transfers(cpus, 8) {
            // A relay passes each stage on: one line more to take for each level.
            assert!(cost.down.depth <= levels * (down + 1), "{cpus} CPUs: {cost:?}");
            assert!(cost.up.depth <= levels * (up + 1), "{cpus} CPUs: {cost:?}");
        }
    }
}

#[test]
fn with_one_word_everybody_takes_turns() {
    for cpus in [16, 32] {
        for cost in transfers(cpus, ONE_WORD) {
            let cpus = cpus as u64;
            assert!(cost.down.depth >= cpus, "{cost:?}");
            // Each turn makes all that wait try again.
            assert!(cost.up.depth >= cpus * cpus / 2, "{cost:?}");
        }
    }
}

/// If these change, the cost of a stop has changed: put the new tables into the docs, with `cargo run --release -p standstill-model --example
/// transfers -- --write`.
#[test]
fn the_numbers_of_the_docs() {
    for (cpus, fan_in, down, up) in
        [(8, 8, 8, 41), (64, 8, 17, 84), (256, 8, 21, 97), (32, ONE_WORD, 32, 557)]
    {
        let cost = of(&transfers(cpus, fan_in), Stage::DisableIrqActive);
        assert_eq!((cost.down.depth, cost.up.depth), (down, up), "{cpus} CPUs, {fan_in}: {cost:?}");
    }
}
