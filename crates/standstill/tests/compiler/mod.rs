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

/// The library as a kernel builds it, for one test.
pub(crate) struct Library(PathBuf);

impl Library {
    /// In a folder named after `test`, so that tests don't overwrite each other's.
    pub(crate) fn build(test: &str) -> Library {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        std::fs::create_dir_all(&folder).expect("cargo's folder can be written");
        let library = Library(folder);
        library.add("smpmem", "../smpmem/src/lib.rs", &[]);
        library.add("standstill", "src/lib.rs", &["--extern", &library.named("smpmem")]);
        library
    }

    fn add(&self, name: &str, source: &str, extra: &[&str]) {
        let kind = ["--crate-name", name, "--crate-type", "rlib", "-Copt-level=3"];
        let file = self.file(name);
        let output = rustc(&[&kind[..], extra, &["-o", &file, source]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn file(&self, name: &str) -> String {
        let file = self.0.join(format!("lib{name}.rlib"));
        file.to_str().expect("cargo's folders are UTF-8").to_string()
    }

    fn named(&self, name: &str) -> String {
        format!("{name}={}", self.file(name))
    }

    /// The compiler's arguments for a crate that uses it.
    pub(crate) fn args(&self) -> [String; 4] {
        let folder = self.0.to_str().expect("cargo's folders are UTF-8");
        ["--extern".into(), self.named("standstill"), "-L".into(), format!("dependency={folder}")]
    }
}
