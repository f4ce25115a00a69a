//! The command line: words of the shape `name` or `name=value`.

use standstill::Protocol;

use crate::bench::Counts;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Run the torture and end, in place of the console.
    pub(crate) torture: bool,
    /// Measure so often and end, in place of the console.
    pub(crate) bench: Option<Counts>,
    pub(crate) seconds_ms: u64,
    /// The torture goes on until each CPU but the first had so many cycles.
    pub(crate) cycles: u64,
    pub(crate) seed: u64,
    pub(crate) protocol: Protocol,
    /// The mean pause of an invoker between two operations.
    pub(crate) rest_ns: u64,
    pub(crate) watchdog_ns: Option<u64>,
    /// The machine gets and loses CPUs while it runs.
    pub(crate) slots: bool,
    /// The torture ends when so many CPUs were given back.
    pub(crate) ejects: Option<usize>,
    /// CPUs halt while they wait where they can't sleep.
    pub(crate) dozes: bool,
}

impl Options {
    pub(crate) fn parse(line: &str) -> Self {
        let mut options = Options {
            torture: false,
            bench: None,
            seconds_ms: 10_000,
            cycles: 0,
            seed: 1,
            protocol: Protocol::STANDSTILL,
            rest_ns: 0,
            watchdog_ns: None,
            slots: false,
            ejects: None,
            dozes: true,
        };
        for word in line.split_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            let number =
                || value.parse::<u64>().unwrap_or_else(|_| panic!("{name} needs a number, not '{value}'"));
            match name {
                "torture" => options.torture = true,
                "bench" => options.bench = Some(Counts::SHORT),
                "bench.rules" => counts(&mut options).rules = true,
                "ms" => options.seconds_ms = number(),
                "cycles" => options.cycles = number(),
                "seed" => options.seed = number(),
                "rest_ns" => options.rest_ns = number(),
                "watchdog_ms" => options.watchdog_ns = Some(number().saturating_mul(1_000_000)),
                "spin" => options.dozes = false,
                "slots" => options.slots = true,
                "ejects" => options.ejects = Some(number() as usize),
                "protocol" => {
                    options.protocol = Protocol::by_name(value).unwrap_or_else(|| {
                        panic!("there is no protocol '{value}' in this image (built without `study`?)")
                    });
                }
                _ if name.starts_with("bench.") => {
                    let known = counts(&mut options).set(&name["bench.".len()..], number() as usize);
                    assert!(known, "there is no option '{name}'");
                }
                // The loader puts the image's name first.
                _ => {}
            }
        }
        options
    }
}

fn counts(options: &mut Options) -> &mut Counts {
    options.bench.get_or_insert(Counts::SHORT)
}
