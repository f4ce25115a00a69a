//! What a command line makes the command do, in words: two lines with the same words do the same.
//!
//! It is made of what the work itself is made of, and not of the flags. So a flag that is accepted
//! and changes nothing shows, in a test that goes over all flags.

use crate::args::{Cli, Command, Port, TortureArgs};
use crate::check_args::{CheckArgs, Instead};
use crate::{check_matrix, qemu, run};

/// What this command line makes the command do.
#[must_use]
pub fn plan(cli: &Cli) -> String {
    match &cli.command {
        Command::Torture(args) => torture(args),
        Command::Console(args) => format!("console {} {} {:?}", args.cpus, args.protocol.name(), args.qemu),
        Command::Check(args) => match &args.instead {
            Some(Instead::Merge(args)) => format!("merge {args:?}"),
            None => check(args),
        },
        Command::Replay(args) => format!("replay {args:?}"),
        Command::Scenarios => "scenarios".into(),
        Command::Presets => "presets".into(),
    }
}

fn torture(args: &TortureArgs) -> String {
    let work = match args.on {
        Port::Hosted => run::effective(args),
        Port::Qemu => qemu::effective(args),
    };
    format!("torture on {}: {work}; json {}", args.on.name(), args.json)
}

fn check(args: &CheckArgs) -> String {
    let (kind, searches) = if args.matrix {
        (format!("matrix by {}", args.threads), check_matrix::jobs(args))
    } else {
        ("check".into(), vec![args.options()])
    };
    let searches: Vec<String> = searches.iter().map(|options| options.effective()).collect();
    let files = [&args.part_file, &args.save, &args.html, &args.svg, &args.trace];
    format!("{kind}: {}; part {:?}; json {}, files {files:?}", searches.join("; "), args.shard, args.json)
}
