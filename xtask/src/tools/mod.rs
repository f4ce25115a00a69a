//! What this machine has, and how to install what it lacks.
//!
//! A tool counts as there when it has done its job: a compiler has linked a program that ran, an emulator has run
//! code. A file that exists, or a version that is printed, says too little: a cross compiler without its C library
//! has both.
//!
//! | file | what |
//! |---|---|
//! | `apt.rs` | Debian's packages |
//! | `bare.rs` | the compiler for the target without std |
//! | `probe.rs` | small jobs, one for each tool |

mod apt;
mod bare;
mod probe;

use crate::bench;
use crate::run::{Not, Outcome, Steps, command, nightly, skip, succeed, works};

pub(crate) use bare::{BARE, bare_cargo, bare_clippy};

/// What the reference kernel boots in.
pub(crate) const QEMU: &str = "qemu-system-x86_64";
/// The other architecture.
pub(crate) const AARCH64: &str = "aarch64-unknown-linux-gnu";
/// Its linker, its emulator, and where its libraries are.
pub(crate) const AARCH64_LINKER: &str = "aarch64-linux-gnu-gcc";
pub(crate) const AARCH64_QEMU: &str = "qemu-aarch64";
pub(crate) const AARCH64_LIBS: &str = "/usr/aarch64-linux-gnu";

/// Something outside of this repository that a step needs.
pub(crate) struct Tool {
    /// For messages, e.g. `Valgrind`.
    name: &'static str,
    /// Does its job; the error says what went wrong.
    probe: fn() -> Result<(), String>,
    /// Debian's packages that bring all of it.
    packages: &'static [&'static str],
}

impl Tool {
    /// A step that needs it is skipped where it does not work.
    pub(crate) fn needed(&self) -> Result<(), Not> {
        let get = self.packages.join(" ");
        (self.probe)().or_else(|why| {
            skip(format!("{} does not work here ({why}); Debian's packages for it: {get}", self.name))
        })
    }

    /// Installs it if it does not work.
    pub(crate) fn set_up(&self) -> Outcome {
        if (self.probe)().is_ok() {
            return Ok("works".into());
        }
        apt::install(self.packages)?;
        self.needed()?;
        Ok(format!("installed: {}", self.packages.join(", ")))
    }
}

/// QEMU for the reference kernel.
pub(crate) const EMULATOR: Tool = Tool { name: QEMU, probe: probe::qemu, packages: &["qemu-system-x86"] };
/// Counts instructions. It can't start a program without the symbols of its C library.
pub(crate) const VALGRIND: Tool =
    Tool { name: "Valgrind", probe: probe::valgrind, packages: &["valgrind", "libc6-dbg"] };
/// Builds the bench's module for Linux.
pub(crate) const MODULE_TOOLS: Tool =
    Tool { name: "gcc-12 with make", probe: probe::module, packages: &[bench::COMPILER, "make"] };
/// Shows the checker's page.
const BROWSER: Tool =
    Tool { name: "a browser without a window", probe: probe::browser, packages: &["chromium"] };
/// Another model checker, to compare with, and the compiler that its output needs.
pub(crate) const SPIN: Tool =
    Tool { name: "Spin with gcc", probe: probe::spin, packages: &["spin", "gcc", "libc6-dev"] };
/// Links for aarch64, and runs that.
pub(crate) const AARCH64_TOOLS: Tool = Tool {
    name: "the compiler and emulator for aarch64",
    probe: probe::aarch64,
    packages: &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross", "qemu-user"],
};

/// Installs what is missing. What can't be installed is no failure here: the step that needs it says so.
pub(crate) fn setup(steps: &mut Steps, quick: bool) {
    steps.run("set-up: rustfmt and clippy", rust_components);
    steps.run("set-up: target without std", bare::set_up);
    steps.run("set-up: QEMU", || EMULATOR.set_up());
    if quick {
        return;
    }
    steps.run("set-up: what builds the bench's module for Linux", || MODULE_TOOLS.set_up());
    steps.run("set-up: a browser without a window, for the checker's page", || BROWSER.set_up());
    steps.run("set-up: Valgrind, which counts instructions", || VALGRIND.set_up());
    steps.run("set-up: Miri", miri);
    steps.run("set-up: aarch64", || {
        if probe::target_installed(AARCH64).is_err() && !works("rustup", &["target", "add", AARCH64]) {
            return skip("rustup has no aarch64 target here");
        }
        AARCH64_TOOLS.set_up()
    });
}

fn rust_components() -> Outcome {
    let there = || probe::rustfmt().is_ok() && works("cargo", &["clippy", "--version"]);
    if there() {
        return Ok("works".into());
    }
    if works("rustup", &["--version"]) {
        succeed(&mut command("rustup", &["component", "add", "rustfmt", "clippy"]))?;
    }
    if there() {
        return Ok("installed".into());
    }
    skip("this compiler comes without rustfmt or clippy; with rustup: rustup component add rustfmt clippy")
}

/// Miri is there when it has prepared the standard library that it runs on.
pub(crate) fn miri_works() -> Result<(), Not> {
    match crate::run::output(&mut nightly(&["miri", "setup"])) {
        Ok(out) if out.code == 0 => Ok(()),
        _ => skip("there is no nightly toolchain whose Miri works"),
    }
}

fn miri() -> Outcome {
    if miri_works().is_ok() {
        return Ok("works".into());
    }
    let add = ["toolchain", "install", "nightly", "--profile", "minimal", "--component", "miri,rust-src"];
    if !works("rustup", &add) {
        return skip("rustup has no nightly with Miri here");
    }
    miri_works()?;
    Ok("installed".into())
}
