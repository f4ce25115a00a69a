//! `cargo xtask mutants`: the library with something wrong in it, and who notices.
//!
//! `sites.rs` leaves one thing out at each place where a scenario comes along, by the platform; `source/` has errors in the source, as a
//! maintainer makes them.

mod parallel;
mod sites;
mod source;

use std::process::ExitCode;

use crate::run::Not;

/// What to run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the changes at the places where scenarios come along
    #[arg(long, conflicts_with_all = ["source", "only", "shard"])]
    sites: bool,
    /// Only the errors in the source
    #[arg(long)]
    source: bool,
    /// Runs the torture over the errors in the library's source, 10 s for each, in place of the checker and the tests
    #[arg(long, requires = "source")]
    torture: bool,
    /// Of those that the torture is shown, this many, spread evenly over the list
    #[arg(long, value_name = "N", requires = "torture", value_parser = clap::value_parser!(u16).range(1..))]
    sample: Option<u16>,
    /// Without the long searches with three CPUs that survivors of the changes by place get otherwise
    #[arg(long)]
    quick: bool,
    /// Of the errors in the source, those with this in their name or file; can be given more than once
    #[arg(long, value_name = "PART", requires = "source")]
    only: Vec<String>,
    /// Of those, every n-th from the i-th
    #[arg(long, value_name = "I/N", value_parser = shard, requires = "source")]
    shard: Option<(usize, usize)>,
    /// How many at a time; 0: one for each core
    #[arg(long, default_value_t = 0)]
    jobs: usize,
    /// Prints one JSON object for each kind instead of the tables
    #[arg(long)]
    json: bool,
}

fn shard(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
    match parts {
        Some((i, n)) if (1..=n).contains(&i) => Ok((i, n)),
        _ => Err("a shard is I/N, with I from 1 to N, such as 1/4".to_string()),
    }
}

/// Runs both kinds, or the one that is asked for.
pub(crate) fn main(args: &Args) -> ExitCode {
    let mut passed = true;
    let mut run = || -> Result<(), Not> {
        if !args.source {
            let report = sites::run(args.quick, args.jobs)?;
            report.show(args.json);
            passed &= report.passed();
        }
        if !args.sites {
            let choice = source::Choice { only: args.only.clone(), shard: args.shard, jobs: args.jobs };
            if args.torture {
                source::torture(&choice, args.sample.map(usize::from))?.show(args.json);
                return Ok(());
            }
            let report = source::run(&choice)?;
            report.show(args.json);
            passed &= report.passed();
        }
        Ok(())
    };
    if let Err(Not::Passed(why) | Not::Run(why)) = run() {
        eprintln!("mutants: {why}");
        return ExitCode::FAILURE;
    }
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_one_of_many() {
        assert_eq!(shard("2/3"), Ok((2, 3)));
        for wrong in ["0/3", "4/3", "1", "a/b", ""] {
            assert!(shard(wrong).is_err(), "{wrong}");
        }
    }
}
