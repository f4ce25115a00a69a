//! Progress and report: lines that begin with `@` and go on as JSON, for the `standstill` command.

use alloc::string::ToString;
use core::fmt::{self, Display, Formatter};

use standstill::event::What;
use standstill::invariants::{RULES, Scope, Tally};
use standstill::{CpuId, Property, Protocol};
use standstill_torture::{Calls, Dist, Failure, Hang, Ops, Progress, Report};

use crate::{say, watch};

/// A text in quotes.
struct Text<T>(T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        struct Escaped<'a, 'b>(&'a mut Formatter<'b>);
        impl fmt::Write for Escaped<'_, '_> {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                text.chars().try_for_each(|c| match c {
                    '"' | '\\' => write!(self.0, "\\{c}"),
                    c if c < ' ' => write!(self.0, " "),
                    c => write!(self.0, "{c}"),
                })
            }
        }
        f.write_str("\"")?;
        fmt::Write::write_fmt(&mut Escaped(f), format_args!("{}", self.0))?;
        f.write_str("\"")
    }
}

/// `null`, or the value.
struct Maybe<T>(Option<T>);

impl<T: Display> Display for Maybe<T> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => value.fmt(f),
            None => f.write_str("null"),
        }
    }
}

/// `[a,b,c]`.
struct List<F>(F);

impl<I: Iterator<Item: Display>, F: Fn() -> I> Display for List<F> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (i, item) in (self.0)().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            item.fmt(f)?;
        }
        f.write_str("]")
    }
}

struct Distribution<'a>(&'a Dist);

impl Display for Distribution<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Dist { n, min, mean, p50, p99, max } = self.0;
        write!(
            f,
            r#"{{"n":{n},"min_ns":{min},"mean_ns":{mean},"p50_ns":{p50},"p99_ns":{p99},"max_ns":{max}}}"#
        )
    }
}

struct Direction<'a>(&'a Ops);

impl Display for Direction<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Ops { tried, ok, vetoed, latency } = self.0;
        write!(f, r#"{{"tried":{tried},"ok":{ok},"vetoed":{vetoed},"latency":{}}}"#, Distribution(latency))
    }
}

struct First<'a>(&'a Failure);

impl Display for First<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Failure { rule, cpu, func, sender, t_ns } = *self.0;
        write!(
            f,
            r#"{{"rule":{},"cpu":{},"func":{},"sender":{},"t_ns":{t_ns}}}"#,
            Text(rule),
            cpu.index(),
            Maybe(func.map(Text)),
            Maybe(sender.map(CpuId::index)),
        )
    }
}

struct Stuck<'a>(&'a Hang);

impl Display for Stuck<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Hang { workload, number, doing, about, cpu, waited_ns, wait } = *self.0;
        write!(
            f,
            r#"{{"workload":{},"number":{},"doing":{},"about":{},"cpu":{},"waited_ns":{waited_ns},"site":{},"missing":{}}}"#,
            Text(workload),
            Maybe(number),
            Text(doing),
            Maybe(about.map(CpuId::index)),
            cpu.index(),
            Maybe(wait.map(|wait| Text(wait.site))),
            Maybe(wait.map(|wait| wait.missing.index())),
        )
    }
}

struct Rule {
    id: (u8, &'static str),
    scope: &'static str,
    checked: u64,
    broken: u64,
}

impl Display for Rule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Rule { id: (number, name), scope, checked, broken } = self;
        let id = match number {
            0 => Text(name.to_string()),
            n => Text(alloc::format!("{n} {name}")),
        };
        write!(f, r#"{{"id":{id},"scope":"{scope}","checked":{checked},"broken":{broken}}}"#)
    }
}

struct Properties<'a>(&'a Tally);

impl Display for Properties<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let tally = self.0;
        let count = |property| tally.count(property);
        write!(
            f,
            r#""late":{},"lost":{},"spurious":{},"outside":{},"frozen":{},"drained":{},"stalls":{}"#,
            count(Property::Late),
            count(Property::Lost),
            count(Property::Spurious),
            count(Property::Outside),
            count(Property::Frozen),
            tally.drained,
            tally.stalled,
        )
    }
}

/// One line of progress.
pub(crate) fn progress(elapsed_ns: u64, counts: &Progress) {
    let Progress { sent, ran, refused, down, up, online, cycles } = counts;
    let properties = Properties(&watch::tally());
    say!(
        r#"@progress {{"t_ns":{elapsed_ns},"sent":{sent},"ran":{ran},"refused":{refused},"down":{down},"up":{up},"online":{online},"cycles":{cycles},{properties}}}"#
    );
}

/// The calls of each form.
fn calls(report: &Report, tally: &Tally) -> impl Iterator<Item = alloc::string::String> {
    let line = |(form, calls): (standstill::event::Form, Calls)| {
        let Calls { sent, ran, refused, busy, lost } = calls;
        let form = form.name();
        alloc::format!(
            r#"{{"form":"{form}","sent":{sent},"ran":{ran},"refused":{refused},"busy":{busy},"lost":{lost}}}"#
        )
    };
    report.calls_seen(tally).map(line).into_iter()
}

fn rules(report: &Report, tally: &Tally) -> impl Iterator<Item = Rule> {
    let checks = watch::checks();
    let on_events = RULES.iter().filter(|rule| rule.scope != Scope::Global).map(move |rule| Rule {
        id: (rule.id.0, rule.name),
        scope: rule.scope.name(),
        checked: checks.asked(rule.id),
        broken: checks.broken(rule.id),
    });
    let own = report.rules.into_iter().chain([report.agreement(tally), report.operations()]);
    on_events.chain(own.map(|rule| Rule {
        id: (0, rule.id),
        scope: "torture",
        checked: rule.checked,
        broken: rule.broken,
    }))
}

fn stall() -> Option<alloc::string::String> {
    let event = watch::first_stall()?.event;
    let What::Stalled(stall) = event.what else { return None };
    Some(alloc::format!(
        r#"{{"cpu":{},"site":{},"waited_ns":{},"missing":{},"runs":{}}}"#,
        event.cpu.index(),
        Text(stall.site),
        stall.waited_ns,
        stall.missing.index(),
        Text(stall.running())
    ))
}

/// What the workloads noticed first; else the first rule on events.
fn first_failure(report: &Report) -> Option<Failure> {
    report.first_failure.or_else(|| {
        let violation = watch::first_violation()?;
        let call = violation.call();
        Some(Failure {
            rule: violation.rule.rule().map_or("?", |rule| rule.name),
            cpu: violation.cpu,
            func: call.map(|call| call.func),
            sender: call.map(|call| call.sender),
            t_ns: 0,
        })
    })
}

/// Everything, in one line; `hang` is the workload that hangs, and `cycles` says how often a CPU was down and up again.
pub(crate) fn report(took_ns: u64, report: &Report, hang: Option<&Hang>, cycles: impl Fn(CpuId) -> u64) {
    let tally = watch::tally();
    let properties = Properties(&tally);
    say!(
        r#"@report {{"ran_ns":{took_ns},"calls":{},{properties},"hotplug":{{"down":{},"up":{},"first_veto":{},"cycles":{}}},"stop":{{"count":{},"aborted":{},"frozen":{}}},"rules":{},"hang":{},"first_stall":{},"first_failure":{},"first_late":{},"first_lost":{}}}"#,
        List(|| calls(report, &tally)),
        Direction(&report.down),
        Direction(&report.up),
        Maybe(report.veto.map(Text)),
        List(|| (0..report.cpus).map(|cpu| cycles(CpuId::new(cpu)))),
        report.stops,
        report.aborted,
        Distribution(&report.frozen),
        List(|| rules(report, &tally)),
        Maybe(hang.map(Stuck)),
        Maybe(stall()),
        Maybe(first_failure(report).as_ref().map(First)),
        Maybe(report.first_late.as_ref().map(First)),
        Maybe(report.first_lost.as_ref().map(First)),
    );
}

/// What was wrong, in words, and whether nothing was. As in the `standstill` command, a late or a lost call fails
/// every protocol, and the other properties count where they are promised.
pub(crate) fn verdict(report: &Report, protocol: Protocol) -> bool {
    let tally = watch::tally();
    let mut passed = true;
    for property in Property::ALL {
        let count = tally.count(property);
        let always = matches!(property, Property::Late | Property::Lost);
        if count > 0 && (always || protocol.promises().contains(&property)) {
            say!("torture: property {property:?} did not hold {count} times");
            passed = false;
        }
    }
    for rule in rules(report, &tally).filter(|rule| rule.broken > 0) {
        let Rule { id: (_, name), scope, checked, broken } = rule;
        say!("torture: rule {name} ({scope}) was broken {broken} of {checked} times");
        passed = false;
    }
    say!("torture: {}", if passed { "pass" } else { "fail" });
    passed
}
