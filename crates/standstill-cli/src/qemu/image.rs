//! The kernel's image: built by `cargo xtask image`, which knows how.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use standstill_io::input::{self, Kind, Unreadable};
use standstill_io::words;

/// What an image is: no kernel is as large as that.
const KIND: Kind<'_> = Kind { name: "a kernel image", magic: &["\x7fELF"], most: 256 << 20, line: 0 };
/// What the reference kernel holds, and no other does.
const MARK: &[u8] = b"@progress ";

/// Looks whether `path` is an image of the reference kernel.
pub(super) fn look(path: &Path) -> Result<(), String> {
    let bytes = input::read(path, KIND).map_err(Unreadable::text)?;
    if bytes.windows(MARK.len()).any(|window| window == MARK) {
        return Ok(());
    }
    Err(format!("{} is no image of the reference kernel: `cargo xtask image` builds one", words::path(path)))
}

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
