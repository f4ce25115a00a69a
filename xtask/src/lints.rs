//! Clippy and rustdoc: their warnings are errors with the compilers whose warnings are mended.
//!
//! Each release of Rust warns of more. With a newer one than [`NEWEST`] the code is as good as it
//! was, so its warnings are counted and shown, and fail nothing.

use std::process::Command;

use crate::run::{Not, Outcome, cargo, command, output, show, succeed};

/// The newest minor version of Rust 1 whose warnings are mended.
const NEWEST: u32 = 95;

/// The minor version in `rustc 1.95.0 (...)`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("rustc 1.")?.split('.').next()?.parse().ok()
}

/// How many warnings there are among these lines: each crate ends with a line that sums up.
fn count(text: &str) -> usize {
    let sums = text.lines().filter(|line| line.contains(") generated "));
    sums.filter_map(|line| line.split(") generated ").nth(1)?.split(' ').next()?.parse::<usize>().ok()).sum()
}

/// Runs `lints`; `deny` makes errors of its warnings.
fn look(mut lints: Command, deny: impl FnOnce(&mut Command)) -> Outcome {
    let version = output(&mut command("rustc", &["-V"]))?.stdout;
    let Some(minor) = minor(&version) else {
        return Err(Not::Passed(format!("`rustc -V` says `{}`, and no version", version.trim())));
    };
    if minor <= NEWEST {
        deny(&mut lints);
        return succeed(&mut lints).map(|_| String::new());
    }
    let seen = succeed(&mut lints)?;
    let warnings = count(&seen.stderr);
    if warnings > 0 {
        show(&seen);
    }
    let newer = format!("Rust 1.{minor}, which is newer than the 1.{NEWEST} that they are mended for");
    Ok(format!("{warnings} warnings of {newer}"))
}

/// Clippy: a command without arguments for the compiler.
pub(crate) fn clippy(lints: Command) -> Outcome {
    look(lints, |lints| {
        lints.args(["--", "-D", "warnings"]);
    })
}

/// The documentation.
pub(crate) fn doc() -> Outcome {
    look(cargo(&["doc", "--workspace", "--no-deps"]), |lints| {
        lints.env("RUSTDOCFLAGS", "-D warnings");
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_warnings_are_read() {
        assert_eq!(minor("rustc 1.95.0 (59807616e 2026-04-14)\n"), Some(95));
        assert_eq!(minor("rustc 1.100.0-nightly (x)"), Some(100));
        assert_eq!(minor("something else"), None);
        let text = "warning: unused\n  --> a.rs\nwarning: `a` (lib) generated 1 warning\n\
                    warning: `a` (lib test) generated 12 warnings (1 duplicate)\n";
        assert_eq!(count(text), 13);
        assert_eq!(count("    Finished `dev` profile\n"), 0);
    }
}
