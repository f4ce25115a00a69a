//! The kernel's image: built by `cargo xtask image`, which knows how.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Builds the image and returns where it is.
pub(super) fn build() -> Result<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    if !root.join("kernel/Cargo.toml").exists() {
        return Err("the kernel's source is not where this command was built: pass `--image PATH`".into());
    }
    let built = Command::new("cargo")
        .args(["xtask", "image"])
        .current_dir(&root)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cargo, which builds the kernel's image: {error}"))?;
    let text = String::from_utf8_lossy(&built.stdout);
    match text.lines().last() {
        Some(path) if built.status.success() => Ok(path.into()),
        _ => Err("the kernel's image can't be built: `cargo xtask setup` installs what that needs".into()),
    }
}
