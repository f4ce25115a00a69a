//! The answer to the question at the end of the mail, in words, from nothing but the cells of the matrix.
//!
//! The question: is the split of the disable stage still needed, now that the CPU that leaves flushes its queue?

use standstill::Property;
use standstill_report::Finding;

/// A row of the matrix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Seen {
    /// The preset.
    pub preset: &'static str,
    /// IPIs are delayed; else instant.
    pub delayed: bool,
    /// How many CPUs.
    pub cpus: usize,
    /// In the order W, L, S, O, F.
    pub findings: [Finding; 5],
}

/// What breaks, over all machine sizes: one bit for each property.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Set(u8);

impl Set {
    const CALLS: Set = Set(0b00011);

    fn and(self, other: Set) -> Set {
        Set(self.0 & other.0)
    }

    fn without(self, other: Set) -> Set {
        Set(self.0 & !other.0)
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn words(self) -> String {
        if self.is_empty() {
            return "nothing".into();
        }
        let letters: Vec<String> = Property::ALL
            .iter()
            .filter(|property| self.0 & 1 << **property as u8 != 0)
            .map(|property| property.letter().to_string())
            .collect();
        letters.join(" ")
    }
}

/// The answer, line by line.
#[must_use]
pub fn answer(rows: &[Seen], irqs: usize) -> Vec<String> {
    let broken = |preset: &str, delayed: bool| {
        let mut set = 0;
        let mut any = false;
        for row in rows.iter().filter(|row| row.preset == preset && row.delayed == delayed) {
            any = true;
            for (at, finding) in row.findings.iter().enumerate() {
                set |= u8::from(*finding == Finding::Found) << at;
            }
        }
        any.then_some(Set(set))
    };
    let both = |preset| Some((broken(preset, false)?, broken(preset, true)?));
    let mut sizes: Vec<usize> = rows.iter().map(|row| row.cpus).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    let mut lines = vec![format!(
        "Is the split of the disable stage still needed, now that the CPU that leaves flushes its queue? Computed for {} CPUs, \
         {irqs} device interrupt{} each:",
        sizes.join(", "),
        if irqs == 1 { "" } else { "s" }
    )];
    if let Some((instant, delayed)) = both("linux-6.12") {
        let calls = Set(instant.0 | delayed.0).and(Set::CALLS);
        let rest = Set(instant.0 | delayed.0).without(Set::CALLS);
        lines.push(if calls.is_empty() {
            "For calls, no: with one disable stage and the flush (`linux-6.12`) no call is late (W) or lost (L), whether IPIs are \
             instant or delayed."
                .into()
        } else {
            format!("Yes: with one disable stage and the flush (`linux-6.12`) calls still break: {}.", calls.words())
        });
        if !rest.is_empty() {
            lines.push(format!(
                "What it leaves open is about where and when: {} (S: the offline CPU takes the IPI; O: calls run outside the online \
                 mask; F: calls run while the machine is frozen).",
                rest.words()
            ));
        }
    }
    if let Some((instant, delayed)) = both("seed-v6") {
        let so = match (instant.and(Set::CALLS).is_empty(), delayed.and(Set::CALLS).is_empty()) {
            (true, false) => ": it is enough only where an IPI arrives at once, which no hardware promises",
            (true, true) => ": it keeps all calls by itself",
            (false, _) => ": it does not do what it was made for",
        };
        lines.push(format!(
            "The split alone (`seed-v6`) breaks {} if IPIs are instant, and {} if they are delayed{so}.",
            instant.words(),
            delayed.words()
        ));
    }
    if let (Some(single), Some(split)) = (both("single-deaf"), both("standstill")) {
        let (instant, delayed) = (single.0.without(split.0), single.1.without(split.1));
        lines.push(if instant.is_empty() && delayed.is_empty() {
            "Where the queue is drained before the CPU leaves the mask and the CPU stays deaf, the split buys nothing: `single-deaf` \
             breaks no more than `standstill`."
                .into()
        } else {
            format!(
                "Where the queue is drained before the CPU leaves the mask and the CPU stays deaf, the split still buys {} if IPIs are \
                 instant, and {} if they are delayed (`single-deaf` against `standstill`).",
                instant.words(),
                delayed.words()
            )
        });
    }
    if let Some((instant, delayed)) = both("standstill") {
        lines.push(format!(
            "The default (`standstill`) breaks {} if IPIs are instant, and {} if they are delayed.",
            instant.words(),
            delayed.words()
        ));
    }
    for (preset, what) in
        [("no-stop", "only the online bit refuses"), ("refuse", "senders are refused first")]
    {
        if let Some((instant, delayed)) = both(preset) {
            lines.push(format!(
                "Without any stop, where {what} (`{preset}`): {} if IPIs are instant, and {} if they are delayed.",
                instant.words(),
                delayed.words()
            ));
        }
    }
    let mut unsure: Vec<&str> =
        rows.iter().filter(|row| row.findings.contains(&Finding::Unknown)).map(|row| row.preset).collect();
    unsure.dedup();
    if !unsure.is_empty() {
        lines.push(format!(
            "Not everything was seen of {}: what is said of these to be nothing was only not found.",
            unsure.join(", ")
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(preset: &'static str, delayed: bool, letters: &str) -> Seen {
        let findings = Property::ALL
            .map(|property| if letters.contains(property.letter()) { Finding::Found } else { Finding::None });
        Seen { preset, delayed, cpus: 2, findings }
    }

    /// The design's table.
    fn table() -> Vec<Seen> {
        [
            ("standstill", "", "F"),
            ("single-deaf", "F", "F"),
            ("linux-3.14", "WSO", "WLSO"),
            ("seed-v6", "", "WLSO"),
            ("linux-6.12", "SOF", "SOF"),
        ]
        .into_iter()
        .flat_map(|(preset, instant, delayed)| [row(preset, false, instant), row(preset, true, delayed)])
        .collect()
    }

    #[test]
    fn the_answer_to_the_design_s_table() {
        insta::assert_snapshot!(answer(&table(), 1).join("\n"));
    }

    #[test]
    fn the_answer_follows_the_cells() {
        let mut rows = table();
        rows[9] = row("linux-6.12", true, "LSO");
        assert!(answer(&rows, 1)[1].starts_with("Yes:"));
        let mut rows = table();
        rows[2] = row("single-deaf", false, "");
        assert!(answer(&rows, 1).iter().any(|line| line.contains("the split buys nothing")));
        let mut rows = table();
        rows[6] = row("seed-v6", false, "W");
        assert!(answer(&rows, 1).iter().any(|line| line.contains("does not do what it was made for")));
        let mut rows = table();
        rows[0].findings[1] = Finding::Unknown;
        assert!(answer(&rows, 1).last().unwrap().contains("standstill"));
        assert!(answer(&[], 1).len() == 1);
    }
}
