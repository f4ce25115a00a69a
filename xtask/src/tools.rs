//! What this machine has, and how to install what it lacks.

use std::path::Path;

use crate::bench;
use crate::run::{Not, Outcome, Steps, command, fail, nightly, output, root, skip, succeed, works};

/// The target of the build without std.
pub(crate) const BARE: &str = "x86_64-unknown-none";
/// What the reference kernel boots in.
pub(crate) const QEMU: &str = "qemu-system-x86_64";
/// The other architecture.
pub(crate) const AARCH64: &str = "aarch64-unknown-linux-gnu";
/// Its linker, its emulator, and where its libraries are.
pub(crate) const AARCH64_LINKER: &str = "aarch64-linux-gnu-gcc";
pub(crate) const AARCH64_QEMU: &str = "qemu-aarch64";
pub(crate) const AARCH64_LIBS: &str = "/usr/aarch64-linux-gnu";

/// A compiler from the system's packages, with its library's source: builds for the bare target where rustup can't get it.
const SYSTEM_CARGO: &str = "/usr/bin/cargo";
const SYSTEM_RUSTC: &str = "/usr/bin/rustc";
const SYSTEM_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// Installs what is missing. What can't be installed is no failure here: the step that needs it says so.
pub(crate) fn setup(steps: &mut Steps, quick: bool) {
    steps.run("set-up: rustfmt and clippy", || {
        if works("cargo", &["fmt", "--version"]) && works("cargo", &["clippy", "--version"]) {
            return Ok("there".into());
        }
        succeed(&mut command("rustup", &["component", "add", "rustfmt", "clippy"]))?;
        Ok("installed".into())
    });
    steps.run("set-up: target without std", bare_target);
    steps.run("set-up: QEMU", || {
        if works(QEMU, &["--version"]) {
            return Ok("there".into());
        }
        apt(&["qemu-system-x86"])?;
        Ok("installed".into())
    });
    if quick {
        return;
    }
    steps.run("set-up: what builds the bench's module for Linux", || {
        let mut news = Vec::new();
        for (program, package) in [(bench::COMPILER, "gcc-12"), ("make", "make")] {
            if !works(program, &["--version"]) {
                apt(&[package])?;
                news.push(package);
            }
        }
        Ok(if news.is_empty() { "there".into() } else { format!("installed: {}", news.join(", ")) })
    });
    steps.run("set-up: a browser without a window, for the checker's page", || {
        if ["chromium", "chromium-browser", "google-chrome"].iter().any(|name| works(name, &["--version"])) {
            return Ok("there".into());
        }
        apt(&["chromium"])?;
        Ok("installed".into())
    });
    steps.run("set-up: Valgrind, which counts instructions", || {
        if works("valgrind", &["--version"]) {
            return Ok("there".into());
        }
        apt(&["valgrind"])?;
        Ok("installed".into())
    });
    steps.run("set-up: Miri", || {
        if has_miri() {
            return Ok("there".into());
        }
        let args =
            ["toolchain", "install", "nightly", "--profile", "minimal", "--component", "miri,rust-src"];
        if works("rustup", &args) && has_miri() {
            Ok("installed".into())
        } else {
            skip("rustup has no nightly with Miri here")
        }
    });
    steps.run("set-up: aarch64", || {
        let mut news = Vec::new();
        if !has_target(AARCH64) {
            if !works("rustup", &["target", "add", AARCH64]) {
                return skip("rustup has no aarch64 target here");
            }
            news.push("target");
        }
        for (program, package) in [(AARCH64_LINKER, "gcc-aarch64-linux-gnu"), (AARCH64_QEMU, "qemu-user")] {
            if !works(program, &["--version"]) {
                apt(&[package])?;
                news.push(package);
            }
        }
        if !Path::new(AARCH64_LIBS).exists() {
            apt(&["libc6-dev-arm64-cross"])?;
            news.push("libc");
        }
        Ok(if news.is_empty() { "there".into() } else { format!("installed: {}", news.join(", ")) })
    });
}

fn bare_target() -> Outcome {
    if has_target(BARE) {
        return Ok("there".into());
    }
    if works("rustup", &["target", "add", BARE]) {
        return Ok("installed".into());
    }
    if !has_system_compiler() {
        apt(&SYSTEM_PACKAGES)?;
    }
    if has_system_compiler() {
        Ok("rustup refuses it, but the system's compiler can build the core library from source".into())
    } else {
        fail("neither rustup nor the system's packages have it")
    }
}

/// Is this target installed?
pub(crate) fn has_target(target: &str) -> bool {
    let libdir =
        output(command("rustc", &["--print", "target-libdir", "--target", target]).current_dir(root()));
    libdir.is_ok_and(|out| out.code == 0 && Path::new(out.stdout.trim()).exists())
}

/// Is there a nightly toolchain with Miri?
pub(crate) fn has_miri() -> bool {
    matches!(output(&mut nightly(&["miri", "--version"])), Ok(out) if out.code == 0)
}

fn has_system_compiler() -> bool {
    works(SYSTEM_CARGO, &["--version"]) && Path::new("/usr/lib/rustlib/src/rust/library").exists()
}

/// Cargo for the bare target: the usual one, or the system's with the core library from source.
pub(crate) fn bare_cargo(args: &[&str]) -> Result<std::process::Command, Not> {
    if has_target(BARE) {
        return Ok(crate::run::cargo(args));
    }
    if !has_system_compiler() {
        return skip(format!("the target {BARE} is not installed"));
    }
    let mut cargo = command(SYSTEM_CARGO, args);
    cargo.args(["-Zbuild-std=core"]).env("RUSTC", SYSTEM_RUSTC).env("RUSTC_BOOTSTRAP", "1");
    Ok(cargo)
}

/// Spin, and the compiler that its output needs.
pub(crate) fn spin() -> Result<(), Not> {
    if works("spin", &["-V"]) && works("gcc", &["--version"]) {
        return Ok(());
    }
    apt(&["spin", "gcc", "libc6-dev"])
}

/// Installs packages, if this is root on a machine with apt.
fn apt(packages: &[&str]) -> Result<(), Not> {
    let list = packages.join(" ");
    if !works("apt-get", &["--version"]) {
        return skip(format!("there is no apt here; install by hand: {list}"));
    }
    let is_root = output(&mut command("id", &["-u"])).is_ok_and(|out| out.stdout.trim() == "0");
    if !is_root {
        return skip(format!("only root may use apt; run: sudo apt-get install {list}"));
    }
    let install = [&["install", "-y", "--no-install-recommends"], packages].concat();
    for args in [&["update"][..], &install] {
        let done = output(command("apt-get", args).env("DEBIAN_FRONTEND", "noninteractive"))?;
        if done.code != 0 {
            let why = done.stderr.lines().last().unwrap_or("no reason given");
            return skip(format!("apt-get {} refused: {why}", args[0]));
        }
    }
    Ok(())
}
