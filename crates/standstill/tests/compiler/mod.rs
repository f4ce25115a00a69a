//! The compiler, for tests about what compiles and what comes of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Runs `rustc` in the crate's folder.
pub(crate) fn rustc(args: &[&str]) -> Output {
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let mut command = Command::new(compiler);
    command.args(["--edition", "2024", "-Aunused"]).args(args).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.output().expect("the compiler that built this test is still there")
}

/// The library as a kernel builds it, in a file named after `test`, so that tests don't overwrite each other's.
pub(crate) fn library(test: &str) -> PathBuf {
    let lib = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("lib{test}.rlib"));
    let file = lib.to_str().expect("cargo's folders are UTF-8");
    let kind = ["--crate-name", "standstill", "--crate-type", "rlib", "-Copt-level=3"];
    let output = rustc(&[&kind[..], &["-o", file, "src/lib.rs"]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    lib
}
