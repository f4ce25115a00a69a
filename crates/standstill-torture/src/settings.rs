//! What the torture does how often.

use standstill::event::Form;

/// The share of each form among the calls, in no unit: 2 is twice as much as 1.
///
/// A call is counted for each target: one `call_many` to three CPUs is three calls. The shares hold for the calls, not
/// for the operations, so that they mean the same on 4 CPUs and on 1024. 0 switches a form off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Weights(pub [u32; Form::ALL.len()]);

impl Default for Weights {
    /// Mostly async calls, in bursts: they are what races with a CPU that leaves. Every form has a few percent.
    fn default() -> Self {
        // single, single_wait, async, many, many_wait, all, all_wait
        Weights([30, 40, 640, 90, 60, 80, 60])
    }
}

impl Weights {
    /// The form that is furthest behind its share, if `done` calls were made of each; `None` if all are switched off.
    #[must_use]
    pub fn most_behind(&self, done: &[u64; Form::ALL.len()]) -> Option<Form> {
        let mut best: Option<usize> = None;
        for (i, weight) in self.0.iter().enumerate().filter(|(_, w)| **w > 0) {
            // done[i] / weight[i] < done[b] / weight[b], without a division.
            let behind = |b: usize| {
                u128::from(done[i]) * u128::from(self.0[b]) < u128::from(done[b]) * u128::from(*weight)
            };
            if best.is_none_or(behind) {
                best = Some(i);
            }
        }
        best.map(|i| Form::ALL[i])
    }
}

/// What the torture does how often.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Settings {
    /// Where all random numbers come from.
    pub seed: u64,
    /// The share of each form.
    pub weights: Weights,
    /// How many async calls a burst has.
    pub burst: usize,
    /// The mean pause of an invoker between two operations, in nanoseconds; 0: it only lets others run. On a machine that simulates far more CPUs
    /// than it has, invokers that never rest leave no time for anything else.
    pub rest_ns: u64,
    /// The mean pause between two hotplug operations, in nanoseconds.
    pub onoff_pause_ns: u64,
    /// The mean pause between two stops of the machine that have nothing to do with hotplug, in nanoseconds.
    pub stop_pause_ns: u64,
    /// The mean pause between two sections of a reader of the hotplug lock, in nanoseconds.
    pub read_pause_ns: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            seed: 0,
            weights: Weights::default(),
            burst: 32,
            rest_ns: 0,
            onoff_pause_ns: 1_000_000,
            stop_pause_ns: 4_000_000,
            read_pause_ns: 2_000_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "plain arithmetic, and a lot of it")]
    fn shares_are_met() {
        let weights = Weights::default();
        let mut done = [0_u64; Form::ALL.len()];
        for _ in 0..100_000 {
            let form = weights.most_behind(&done).unwrap();
            // As the real thing: a burst, three targets, or one.
            done[form as usize] += match form {
                Form::Async => 32,
                Form::Single | Form::SingleWait => 1,
                _ => 3,
            };
        }
        let total: u64 = done.iter().sum();
        let weight: u64 = weights.0.iter().map(|w| u64::from(*w)).sum();
        for (n, w) in done.iter().zip(weights.0) {
            let share = *n as f64 / total as f64;
            let wanted = f64::from(w) / weight as f64;
            assert!((share - wanted).abs() < 0.002, "{done:?}");
            assert!(share >= 0.01, "{done:?}");
        }
    }

    #[test]
    fn a_weight_of_zero_is_never_chosen() {
        let weights = Weights([0, 0, 0, 5, 0, 0, 0]);
        assert_eq!(weights.most_behind(&[0; 7]), Some(Form::Many));
        assert_eq!(weights.most_behind(&[0, 0, 0, 99, 0, 0, 0]), Some(Form::Many));
        assert_eq!(Weights([0; 7]).most_behind(&[0; 7]), None);
    }

    #[test]
    fn a_tie_goes_to_the_first() {
        assert_eq!(Weights([1; 7]).most_behind(&[0; 7]), Some(Form::Single));
    }
}
