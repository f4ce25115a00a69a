//! `standstill check --matrix`: every preset, instant and delayed IPIs, each of W, L, S, O, F; and what follows from it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Instant;

use comfy_table::CellAlignment;
use standstill::{Property, Protocol, Stages};
use standstill_io::Outputs;
use standstill_model::{Coverage, Ipi, Options, Verdict as Found};
use standstill_report::html::{self, Page};
use standstill_report::matrix::{Cell, Finding, Matrix, MatrixRow};

use crate::check::{Failure, go_on, host};
use crate::check_answer::{Seen, answer};
use crate::check_args::CheckArgs;
use crate::check_json::{CellJson, MATRIX, MatrixJson};
use crate::check_progress::CheckProgress;
use crate::check_words::{self as words, count, thousands};
use crate::json::{ProtocolJson, Verdict};
use crate::layout::{self, Sheet};
use crate::table::time;

/// The machines of a matrix, unless the command line says one.
const SIZES: [usize; 3] = [2, 3, 4];
/// The largest of them.
pub(crate) const LARGEST: usize = SIZES[SIZES.len() - 1];
/// Those of the protocols without a stop: nothing keeps their CPUs in step, so there is much more to see.
const SMALL: usize = 2;

/// The order in which the table tells the story: the race, each cure alone, both, and those that do without a stop.
const STORY: [Protocol; 7] = [
    Protocol::LINUX_3_14,
    Protocol::SEED_V6,
    Protocol::LINUX_6_12,
    Protocol::SINGLE_DEAF,
    Protocol::STANDSTILL,
    Protocol::NO_STOP,
    Protocol::REFUSE,
];

/// One search, and what came of it.
pub(crate) struct Row {
    pub(crate) options: Options,
    /// How often each property did not hold.
    pub(crate) counts: [u64; 5],
    pub(crate) exhausted: bool,
    pub(crate) states: u64,
    pub(crate) time_ns: u64,
    pub(crate) assumptions: Vec<String>,
    /// What is wrong with it besides properties that are not promised.
    pub(crate) wrong: Option<String>,
    /// Why it could not be tried: nothing that was searched is to blame for that.
    pub(crate) untried: Option<String>,
    /// The runs that show what was found: one for each property.
    pub(crate) failures: [Option<Failure>; 5],
}

impl Row {
    fn of(options: Options, found: Found, failures: [Option<Failure>; 5]) -> Row {
        let Options { protocol, cpus, ipi, .. } = &options;
        let place = format!("{} on {cpus} CPUs, IPIs {}", protocol.name(), ipi.name());
        let broken = || {
            let violation = found.violation.as_ref()?;
            Some(words::sentence(&violation.rule, &violation.text, &violation.location))
        };
        let at_place = |what| format!("{place}: {what}");
        let error = found.error.clone();
        let (in_setup, untried) = if found.fails_in_setup { (error, None) } else { (None, error) };
        let wrong = in_setup.or_else(broken).map(at_place);
        let untried = untried.map(at_place);
        Row {
            counts: Property::ALL.map(|property| found.of(property).count),
            exhausted: matches!(found.coverage, Coverage::Exhausted { .. }),
            states: found.states,
            time_ns: found.time_ns,
            assumptions: found.assumptions,
            wrong,
            untried,
            options,
            failures,
        }
    }

    /// Of a search that never began.
    fn unseen(options: Options) -> Row {
        Row {
            options,
            counts: [0; 5],
            exhausted: false,
            states: 0,
            time_ns: 0,
            assumptions: Vec::new(),
            wrong: None,
            untried: None,
            failures: [const { None }; 5],
        }
    }

    const fn finding(&self, property: Property) -> Finding {
        match (self.counts[property as usize], self.exhausted) {
            (0, true) => Finding::None,
            (0, false) => Finding::Unknown,
            _ => Finding::Found,
        }
    }

    fn promised(&self, property: Property) -> bool {
        self.options.protocol.promises().contains(&property)
    }

    fn shown(&self, property: Property) -> Option<&Failure> {
        self.failures[property as usize].as_ref()
    }

    /// For file names and anchors.
    fn id(&self, property: Property) -> String {
        format!(
            "{}-{}-{}-{}",
            self.options.protocol.name().replace('.', "-"),
            self.options.ipi.name(),
            self.options.cpus,
            property.letter().to_lowercase()
        )
    }
}

/// Computes the matrix, prints it and returns the exit code.
pub(crate) fn matrix(args: &CheckArgs, outputs: Outputs) -> u8 {
    let began = Instant::now();
    let jobs = jobs(args);
    let all: Vec<usize> = (0..jobs.len()).collect();
    conclude(args, &search(&jobs, &all, args.threads), began, outputs)
}

/// Pass, fail, or not everything was seen.
pub(crate) fn verdict(rows: &[Row]) -> Verdict {
    let cut = rows.iter().any(|row| Property::ALL.iter().any(|p| row.finding(*p) == Finding::Unknown));
    match (rows.iter().all(|row| row.wrong.is_none()), cut) {
        (false, _) => Verdict::Fail,
        (true, true) => Verdict::Incomplete,
        (true, false) => Verdict::Pass,
    }
}

/// Prints the matrix of these rows, all of them, writes what is asked for, and returns the exit code.
pub(crate) fn conclude(args: &CheckArgs, rows: &[Row], began: Instant, mut outputs: Outputs) -> u8 {
    let wrong: Vec<String> = rows.iter().filter_map(|row| row.wrong.clone()).collect();
    let verdict = verdict(rows);
    let seen: Vec<Seen> = rows
        .iter()
        .map(|row| Seen {
            preset: row.options.protocol.name(),
            delayed: row.options.ipi == Ipi::Delayed,
            cpus: row.options.cpus,
            findings: Property::ALL.map(|property| row.finding(property)),
        })
        .collect();
    let answer = answer(&seen, args.irqs);
    let said = if args.json {
        let json = json(args, rows, answer.clone(), wrong.clone(), verdict, began);
        serde_json::to_string(&json).expect("plain values can be written") + "\n"
    } else {
        text(args, rows, &answer, &wrong, verdict, began)
    };
    let exit = standstill_io::answer(&said, Some(verdict.name()), verdict.exit());
    tell_untried(rows, &mut outputs);
    for row in rows {
        for property in Property::ALL {
            match row.shown(property) {
                Some(failure) => {
                    let file = format!("{}.replay", row.id(property));
                    outputs.write_in("--save", &file, &failure.file(&row.options));
                }
                None if row.finding(property) == Finding::Found => standstill_io::note(&format!(
                    "{}: found, but its schedule can't be replayed",
                    row.id(property)
                )),
                None => {}
            }
        }
    }
    if outputs.wants("--html").is_some() {
        outputs.write("--html", &html::render(&page(args, rows, &answer, &wrong)));
    }
    outputs.end(exit)
}

/// Searches that could not be tried are said in the end, and are no pass.
pub(crate) fn tell_untried(rows: &[Row], outputs: &mut Outputs) {
    rows.iter().filter_map(|row| row.untried.clone()).for_each(|why| outputs.fail(why));
}

/// What is to be searched, in the order of the table.
pub(crate) fn jobs(args: &CheckArgs) -> Vec<Options> {
    let fewest = args.fewest_cpus();
    let mut sizes = if args.cpus.is_empty() { SIZES.to_vec() } else { args.cpus.clone() };
    sizes.retain(|cpus| *cpus >= fewest);
    sizes.sort_unstable();
    sizes.dedup();
    let mut jobs = Vec::new();
    for cpus in &sizes {
        for protocol in &STORY {
            let wanted = args.protocol.is_empty() || args.protocol.contains(protocol);
            // Whoever asks for a size gets it.
            let small = SMALL.max(fewest);
            let too_large = args.cpus.is_empty() && protocol.stages() == Stages::None && *cpus > small;
            if !wanted || too_large {
                continue;
            }
            for ipi in [Ipi::Instant, Ipi::Delayed] {
                let mut options = args.options();
                options.protocol = *protocol;
                options.cpus = *cpus;
                options.ipi = ipi;
                options.keep_going = true;
                jobs.push(options);
            }
        }
    }
    jobs
}

/// These of the searches, so many at a time (0: as many as this computer has cores); the large ones first, as they take longest.
pub(crate) fn search(jobs: &[Options], these: &[usize], at_a_time: usize) -> Vec<Row> {
    let next = AtomicUsize::new(0);
    let total = these.len();
    let rows: Mutex<Vec<(usize, Row)>> = Mutex::new(Vec::new());
    let progress = Mutex::new(CheckProgress::new());
    let cores = || thread::available_parallelism().map_or(1, usize::from);
    let workers = if at_a_time == 0 { cores() } else { at_a_time }.min(total);
    let work = || {
        loop {
            // Who wants the end does not wait for the set-up of what is left, either.
            let stopped = go_on().is_break();
            let nth = next.fetch_add(1, SeqCst);
            let Some(at) = total.checked_sub(nth + 1) else { break };
            let options = jobs[these[at]].clone();
            if stopped {
                rows.lock().expect("no worker panics").push((at, Row::unseen(options)));
                continue;
            }
            let name = format!(
                "[{}/{total}] {}, {} CPUs, IPIs {}: ",
                nth + 1,
                options.protocol.name(),
                options.cpus,
                options.ipi.name()
            );
            let found = standstill_model::check(&options, &mut |now| {
                progress.lock().expect("no worker panics").show_as(&name, now);
                go_on()
            });
            let name = format!("{name}the cheapest run: ");
            let failures = Property::ALL.map(|property| {
                Failure::shown(&options, property, found.of(property).first.as_ref()?, &mut |now| {
                    progress.lock().expect("no worker panics").show_as(&name, now);
                    go_on()
                })
            });
            rows.lock().expect("no worker panics").push((at, Row::of(options, found, failures)));
        }
    };
    thread::scope(|scope| {
        // With those that the system refuses, the others have more to do.
        let helpers = (1..workers).map(|_| thread::Builder::new().spawn_scoped(scope, work));
        helpers.take_while(Result::is_ok).for_each(drop);
        work();
    });
    progress.into_inner().expect("no worker panics").clear();
    let mut rows = rows.into_inner().expect("no worker panics");
    rows.sort_by_key(|(at, _)| *at);
    rows.into_iter().map(|(_, row)| row).collect()
}

/// The page. A property's counterexample is shown on the smallest machine that has one.
fn page(args: &CheckArgs, rows: &[Row], answer: &[String], wrong: &[String]) -> Page {
    let mut cases = Vec::new();
    let mut lines = Vec::new();
    for row in rows {
        let mut cells = Vec::new();
        for property in Property::ALL {
            let smallest = rows.iter().find(|other| {
                other.options.protocol == row.options.protocol
                    && other.options.ipi == row.options.ipi
                    && other.finding(property) == Finding::Found
            });
            let case = smallest.filter(|_| row.finding(property) == Finding::Found).map(|r| r.id(property));
            if case.as_ref() == Some(&row.id(property))
                && let Some(failure) = row.shown(property)
            {
                let name = row.options.protocol.name();
                let title = format!("`{name}`, IPIs {}: {}", row.options.ipi.name(), property.letter());
                cases.push(failure.case(&row.options, row.id(property), title));
            }
            cells.push(Cell {
                finding: row.finding(property),
                promised: row.promised(property),
                count: row.counts[property as usize],
                case,
            });
        }
        lines.push(MatrixRow {
            preset: row.options.protocol.name().into(),
            ipi: row.options.ipi.name().into(),
            cpus: row.options.cpus,
            states: row.states,
            time_ns: row.time_ns,
            cells,
        });
    }
    lines.sort_by_key(|line| STORY.iter().position(|protocol| protocol.name() == line.preset));
    let means = [
        "late: a handler finds a queued call while its CPU is offline",
        "lost: a call that was accepted never runs",
        "spurious: an IPI is taken on an offline CPU at all",
        "outside: a call from another CPU runs while its CPU is outside the online mask",
        "frozen: a call from another CPU runs while the machine is frozen",
    ];
    let properties =
        Property::ALL.map(|property| property.letter().to_string()).into_iter().zip(means.map(String::from));
    let mut about = vec![format!(
        "Scenario `{}`, {} for each CPU, memory `{}`, engine `{}`: the library's own code over all interleavings of CPUs, interrupts and IPIs.",
        args.scenario,
        count(args.irqs as u64, "device interrupt"),
        args.memory.name(),
        args.engine
    )];
    about.extend(wrong.iter().map(|text| format!("Wrong: {text}")));
    Page {
        title: "How a CPU leaves: what breaks".into(),
        about,
        matrix: Some(Matrix { properties: properties.collect(), rows: lines, answer: answer.to_vec() }),
        cases,
    }
}

fn text(
    args: &CheckArgs,
    rows: &[Row],
    answer: &[String],
    wrong: &[String],
    verdict: Verdict,
    began: Instant,
) -> String {
    let letters = Property::ALL.map(|property| property.letter().to_string());
    let mut header = vec!["preset", "IPIs", "CPUs"];
    header.extend(letters.iter().map(String::as_str));
    header.extend(["states", "time"]);
    let mut table = layout::plain(&header);
    for at in [2, header.len() - 2, header.len() - 1] {
        if let Some(column) = table.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for row in rows {
        let Options { protocol, cpus, ipi, .. } = &row.options;
        let mut cells = vec![protocol.name().to_string(), ipi.name().to_string(), cpus.to_string()];
        cells.extend(Property::ALL.map(|property| match row.finding(property) {
            Finding::None => "-".to_string(),
            Finding::Unknown => "?".to_string(),
            Finding::Found if row.promised(property) => format!("{}!", property.letter()),
            Finding::Found => property.letter().to_string(),
        }));
        cells.extend([thousands(row.states), time(row.time_ns)]);
        table.add_row(cells);
    }
    let sheet = Sheet::of_output();
    let mut out = format!(
        "scenario {}, {} for each CPU, memory {}, engine {}\n\n{}\n\n\
         W late  L lost  S spurious  O outside  F frozen  -: never, everything was seen  \
         ?: not seen, but not everything was  !: found, though promised not to happen\n\n",
        args.scenario,
        count(args.irqs as u64, "device interrupt"),
        args.memory.name(),
        args.engine,
        sheet.table(&table)
    );
    for line in wrong {
        out.push_str(&format!("wrong: {line}\n"));
    }
    for line in answer {
        out.push_str(&format!("{line}\n"));
    }
    let total = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    out.push_str(&format!(
        "\n{} in {}\nverdict: {}\n",
        format_args!("{} searches", rows.len()),
        time(total),
        verdict.name()
    ));
    sheet.fit(&out)
}

fn json(
    args: &CheckArgs,
    rows: &[Row],
    answer: Vec<String>,
    wrong: Vec<String>,
    verdict: Verdict,
    began: Instant,
) -> MatrixJson {
    let cell = |row: &Row, property: Property| CellJson {
        preset: row.options.protocol.name().into(),
        ipi: row.options.ipi.name().into(),
        cpus: row.options.cpus,
        property: property.letter().into(),
        result: row.finding(property).name().into(),
        count: row.counts[property as usize],
        promised: row.promised(property),
        states: row.states,
        time_ns: row.time_ns,
        replay: row.shown(property).map(|failure| failure.file(&row.options)),
    };
    MatrixJson {
        schema: MATRIX.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        command: crate::command_line(),
        host: host(),
        protocol: ProtocolJson::from(&Protocol::STANDSTILL),
        protocols: STORY
            .iter()
            .filter(|protocol| rows.iter().any(|row| row.options.protocol == **protocol))
            .map(ProtocolJson::from)
            .collect(),
        seed: args.seed,
        exit: verdict.exit(),
        verdict,
        scenario: args.scenario.into(),
        irqs_per_cpu: args.irqs,
        memory: args.memory.name().into(),
        engine: args.engine.clone(),
        time_ns: u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX),
        assumptions: rows.last().map_or_else(Vec::new, |row| row.assumptions.clone()),
        properties: Property::ALL.map(|property| property.letter().to_string()).to_vec(),
        cells: rows.iter().flat_map(|row| Property::ALL.map(|property| cell(row, property))).collect(),
        answer,
        wrong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Cli, Command, Parsed, parse};

    #[test]
    fn the_story_has_every_preset() {
        assert_eq!(STORY.len(), Protocol::ALL.len());
        assert!(Protocol::ALL.iter().all(|protocol| STORY.contains(protocol)));
    }

    #[test]
    fn without_a_wish_the_large_machines_are_those_with_a_stop() {
        let jobs = |line: &[&str]| {
            let line = ["standstill", "check", "--matrix"].iter().chain(line).map(Into::into);
            match parse(line) {
                Parsed::Run(Cli { command: Command::Check(args) }) => super::jobs(&args),
                other => panic!("{other:?}"),
            }
        };
        let all = jobs(&[]);
        assert_eq!(all.len(), 2 * (5 * 3 + 2));
        let largest = |preset: Protocol| all.iter().filter(|o| o.protocol == preset).map(|o| o.cpus).max();
        assert_eq!((largest(Protocol::STANDSTILL), largest(Protocol::NO_STOP)), (Some(4), Some(SMALL)));
        assert_eq!(jobs(&["--cpus", "3", "--protocol", "no-stop,refuse"]).len(), 4);
        // A scenario that needs three CPUs is not asked of two.
        let three = jobs(&["--scenario", "stop-pairs"]);
        assert_eq!(three.len(), 2 * (5 * 2 + 2));
        assert!(three.iter().all(|options| options.cpus >= 3));
    }
}
