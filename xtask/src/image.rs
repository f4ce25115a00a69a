//! The reference kernel's image for QEMU. Built by its own call of cargo, so that its features do not unify with those of the workspace.

use std::path::PathBuf;

use crate::run::{Outcome, fail, root, succeed, target_dir};
use crate::tools::{self, BARE};

/// Does the image know the study presets? The one that shows what they break does; a kernel must not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Presets {
    Study,
    Safe,
}

/// Builds the image.
pub(crate) fn build(presets: Presets) -> Outcome {
    let mut args = vec!["build", "--release", "--target", BARE];
    if presets == Presets::Study {
        args.extend(["--features", "study"]);
    }
    let mut cargo = tools::bare_cargo(&args)?;
    let target = target_dir();
    cargo.current_dir(root().join("kernel")).env("CARGO_TARGET_DIR", &target);
    succeed(&mut cargo)?;
    let image = path();
    if image.exists() { Ok(image.display().to_string()) } else { fail("cargo built no image") }
}

/// Where it is.
pub(crate) fn path() -> PathBuf {
    target_dir().join(BARE).join("release/standstill-kernel")
}
