//! The compiler for the target without std: the usual one, or the system's with the core library from source.

use std::process::Command;

use super::{apt, probe};
use crate::run::{Not, Outcome, cargo, command, skip, target_dir, works};

/// The target.
pub(crate) const BARE: &str = "x86_64-unknown-none";

/// A compiler from the system's packages, with its library's source, where rustup can't get the target.
const SYSTEM_CARGO: &str = "/usr/bin/cargo";
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";
const SYSTEM_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld"];
/// What cargo is told for it.
const LINKER_OF: &str = "CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER";

/// A program without std that links: it has a place to start at.
const PROGRAM: &str = "#![no_std]\n#![no_main]\n\
    #[unsafe(no_mangle)]\nextern \"C\" fn _start() -> ! { loop {} }\n\
    #[panic_handler]\nfn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }\n";

/// Installs the target, or a compiler that can do without.
pub(super) fn set_up() -> Outcome {
    if usual().is_ok() {
        return Ok("works".into());
    }
    if works("rustup", &["target", "add", BARE]) && usual().is_ok() {
        return Ok("installed".into());
    }
    if system().is_err() {
        apt::install(&SYSTEM_PACKAGES)?;
    }
    match system() {
        Ok(_) => {
            Ok("rustup has it not, but the system's compiler builds the core library from source".into())
        }
        Err(why) => skip(format!("neither rustup nor the system's packages have it: {why}")),
    }
}

/// Does the usual compiler link a program?
fn usual() -> Result<(), String> {
    let source = probe::file("bare.rs", PROGRAM)?.to_string_lossy().into_owned();
    let program = target_dir().join("probe/bare").to_string_lossy().into_owned();
    let args = ["--edition", "2024", "--target", BARE, "-Cpanic=abort", &source, "-o", &program];
    probe::run(&mut command("rustc", &args), 0).map(drop)
}

/// Does the system's compiler link a program with a core library that it builds? The linker that did.
fn system() -> Result<&'static str, String> {
    let manifest = "[package]\nname = \"bare\"\nedition = \"2024\"\n[workspace]\n\
        [profile.dev]\npanic = \"abort\"\n";
    let folder = probe::file("bare/Cargo.toml", manifest)?.with_file_name("");
    probe::file("bare/src/main.rs", PROGRAM)?;
    let mut last = String::new();
    for linker in ["rust-lld", "ld.lld"] {
        let mut build = system_cargo(&["build", "--offline", "--target", BARE], linker);
        build.current_dir(&folder).env("CARGO_TARGET_DIR", folder.join("target"));
        match probe::run(&mut build, 0) {
            Ok(_) => return Ok(linker),
            Err(why) => last = why,
        }
    }
    Err(last)
}

fn system_cargo(args: &[&str], linker: &str) -> Command {
    let mut cargo = command(SYSTEM_CARGO, args);
    cargo.arg("-Zbuild-std=core,alloc").arg("-Zbuild-std-features=compiler-builtins-mem");
    cargo.env("RUSTC", SYSTEM_RUSTC).env("RUSTC_BOOTSTRAP", "1").env(LINKER_OF, linker);
    cargo
}

/// Clippy for the bare target. The system's compiler comes without.
pub(crate) fn bare_clippy(args: &[&str]) -> Result<Command, Not> {
    match usual() {
        Ok(()) => Ok(cargo(args)),
        Err(why) => skip(format!("no usual compiler for {BARE}: {why}")),
    }
}

/// Cargo for the bare target. `args` begin with the subcommand, which builds.
pub(crate) fn bare_cargo(args: &[&str]) -> Result<Command, Not> {
    if usual().is_ok() {
        return Ok(cargo(args));
    }
    match system() {
        Ok(linker) => Ok(system_cargo(args, linker)),
        Err(why) => skip(format!("no compiler for {BARE}: {why}")),
    }
}
