//! Where a mutant by place is tried, and what the processes say that try it.

/// A cell that comes to a mutant: in its set-up, or behind it.
pub(super) struct Visit {
    pub(super) ms: u64,
    pub(super) cell: String,
    pub(super) early: bool,
    pub(super) late: bool,
}

/// Where a mutant is tried.
pub(super) struct Trials {
    /// The cells, with the time that each may take and from when on the mutant is one, in this order.
    pub(super) cells: Vec<String>,
    pub(super) only_in_set_up: bool,
}

impl Trials {
    /// The quickest first; from the end of the set-up on, if what follows comes there, and then at once, if the set-up does.
    pub(super) fn of(mut visits: Vec<Visit>) -> Trials {
        visits.sort_by(|a, b| (a.ms, &a.cell).cmp(&(b.ms, &b.cell)));
        // A mutant may have more states than the library; one that has far more is left at that.
        let patient = |visit: &Visit, begins: &str| {
            format!("{}:{}:{begins}", visit.cell, 10 + 10 * visit.ms.div_ceil(1000))
        };
        let late = visits.iter().filter(|visit| visit.late).map(|visit| patient(visit, "after-setup"));
        let early = visits.iter().filter(|visit| visit.early).map(|visit| patient(visit, "at-once"));
        let only_in_set_up = visits.iter().all(|visit| !visit.late);
        Trials { cells: late.chain(early).collect(), only_in_set_up }
    }
}

/// What the processes that ran a mutant have said.
#[derive(Default)]
pub(super) struct Said {
    /// How many cells were begun.
    pub(super) begun: usize,
    pub(super) cell: String,
    pub(super) set_up: Option<String>,
    /// The rule, and its words.
    pub(super) caught: Option<(String, String)>,
    pub(super) survived: bool,
}

impl Said {
    pub(super) fn line(&mut self, line: &str) {
        match line.split('\t').collect::<Vec<_>>()[..] {
            ["in", _, cell] => {
                self.begun += 1;
                self.cell = cell.to_string();
            }
            ["set-up", _, words] | ["ended", "set-up", _, words] => {
                self.set_up.get_or_insert(words.to_string());
            }
            ["caught", rule, _, words] => self.caught = Some((rule.to_string(), words.to_string())),
            // It followed a link that is none, or broke a promise where nothing can unwind.
            ["ended", "after", "mutant", words] => {
                self.caught = Some(("crash".to_string(), words.to_string()))
            }
            ["survived", _] => self.survived = true,
            // The checker's own fault, or the machine's: it says nothing.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_dies_in_a_set_up_is_not_caught() {
        let mut said = Said::default();
        for line in [
            "in\t0\ta:10:at-once",
            "set-up\ta:10:at-once\tit hangs",
            "in\t1\tb:10:at-once",
            "ended\tset-up\tmutant\tSIGSEGV",
        ] {
            said.line(line);
        }
        assert_eq!((said.begun, said.set_up.as_deref(), &said.caught), (2, Some("it hangs"), &None));
        // Nor does the checker's own end say anything.
        said.line("in\t0\tc:10:at-once");
        said.line("ended\tafter\tchecker\tSIGSEGV at 0x0, in no function of the library");
        said.line("ended\tafter\tstack\tthe stack ran out");
        assert_eq!(said.caught, None);
        said.line("ended\tafter\tmutant\tSIGSEGV at 0x8 in standstill::call::queue::Chain::pop");
        assert!(said.caught.is_some_and(|(rule, _)| rule == "crash"));
    }

    #[test]
    fn a_mutant_begins_behind_the_set_up_where_it_can() {
        let visit = |ms, cell: &str, early, late| Visit { ms, cell: cell.to_string(), early, late };
        let trials = Trials::of(vec![visit(9, "b", true, false), visit(3, "a", true, true)]);
        assert_eq!(trials.cells, ["a:20:after-setup", "a:20:at-once", "b:20:at-once"]);
        assert!(!trials.only_in_set_up);
        assert!(Trials::of(vec![visit(9, "b", true, false)]).only_in_set_up);
    }
}
