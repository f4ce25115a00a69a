//! The `standstill` command.

use std::process::ExitCode;

use standstill::Protocol;
use standstill_cli::args::{self, Command, Parsed, Port};
use standstill_cli::{check, json, qemu, run};

/// The command line was wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    match args::parse(std::env::args_os()) {
        Parsed::Print(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Parsed::Refuse(line) => {
            eprintln!("{line}");
            ExitCode::from(USAGE)
        }
        Parsed::Run(cli) => match cli.command {
            Command::Torture(args) if args.on == Port::Qemu => ExitCode::from(qemu::torture(&args)),
            Command::Torture(args) => ExitCode::from(run::torture(&args)),
            Command::Console(args) => ExitCode::from(qemu::console(&args)),
            Command::Check(args) => ExitCode::from(check::check(&args)),
            Command::Replay(args) => ExitCode::from(check::replay_file(&args)),
            Command::Scenarios => {
                check::list();
                ExitCode::SUCCESS
            }
            Command::Presets => {
                presets();
                ExitCode::SUCCESS
            }
        },
    }
}

fn presets() {
    println!("{:<14} {:<8} {:<10} {:<5} promises", "preset", "stages", "drain", "deaf");
    for protocol in Protocol::ALL {
        let promises = json::letters(protocol.promises());
        println!(
            "{:<14} {:<8} {:<10} {:<5} {}",
            protocol.name(),
            json::stages(protocol),
            json::drain(protocol),
            if protocol.deaf() { "yes" } else { "no" },
            if promises.is_empty() { "nothing" } else { &promises },
        );
    }
    println!(
        "\nW: no handler finds a call when its CPU is offline.  L: no accepted call is lost.  S: no IPI is taken on an offline\n\
         CPU.  O: no call of another CPU runs outside the online mask.  F: none runs while the machine is frozen."
    );
}
