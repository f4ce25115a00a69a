//! Debian's kernel for clouds, unpacked and not installed, our module for it, and the archive that it boots.

use std::fs;
use std::path::{Path, PathBuf};

use super::boot::Machine;
use super::cpio::Archive;
use super::delay;
use super::plan::Counts;
use super::write;
use crate::run::{Not, command, fail, output, root, skip, succeed, target_dir, works};
use crate::tools;

/// Names that Debian keeps for its newest kernel of a kind, the wanted one first.
const NAMES: [&str; 2] = ["linux-image-6.12-cloud-amd64", "linux-image-cloud-amd64"];
/// The compiler of Debian 12's kernels; the headers ask for it by this name.
pub(crate) const COMPILER: &str = "x86_64-linux-gnu-gcc-12";
/// What the first program is made of.
const SHELL: &str = "busybox-static";
/// No console but the serial one, nothing on it but what is very bad and what the module says, and the CPUs idle in `hlt`: without that
/// Linux would idle in `mwait`, which the emulator takes for a pause, so that it would never have to be woken. And the clock is trusted: where the host
/// runs something else between two looks, Linux would take a slow one for it.
const COMMAND_LINE: &str = "console=ttyS0 quiet loglevel=2 idle=halt tsc=nowatchdog panic=-1 oops=panic";

/// All that it takes to boot it.
pub(super) struct Linux {
    pub(super) version: String,
    kernel: PathBuf,
    archive: PathBuf,
    line: String,
}

impl Linux {
    pub(super) fn machine(&self, cpus: usize, counts: &Counts) -> Machine {
        Machine {
            cpus,
            kernel: self.kernel.clone(),
            archive: Some(self.archive.clone()),
            line: format!("{}{}", self.line, counts.words("smbench")),
        }
    }
}

/// Gets and builds what is missing.
pub(super) fn prepare() -> Result<Linux, Not> {
    for (program, package) in [("apt-get", "apt"), ("dpkg-deb", "dpkg")] {
        if !works(program, &["--version"]) {
            return skip(format!("{program} is not there (package {package})"));
        }
    }
    tools::MODULE_TOOLS.needed()?;
    let image = image_package()?;
    let version = image.trim_start_matches("linux-image-").to_string();
    let headers = format!("linux-headers-{version}");
    let mut packages = vec![image.clone(), headers.clone(), SHELL.into()];
    packages.extend(depends(&headers)?.into_iter().filter(|name| {
        name.starts_with("linux-kbuild-") || (name.starts_with("linux-headers-") && name.ends_with("-common"))
    }));
    let home = target_dir().join("bench-linux");
    let tree = home.join(&version);
    unpack(&home.join("packages"), &tree, &packages)?;
    let module = build_module(&home.join("module"), &tree, &headers)?;
    let archive = home.join("initramfs.cpio");
    pack(&archive, &tree, &module)?;
    let boot = |what: &str| tree.join("boot").join(format!("{what}-{version}"));
    let line = COMMAND_LINE.to_string()
        + &delay::word(&String::from_utf8_lossy(&read(&boot("config"))?)).unwrap_or_default();
    Ok(Linux { kernel: boot("vmlinuz"), archive, line, version })
}

/// The package that the name of the newest kernel stands for.
fn image_package() -> Result<String, Not> {
    for name in NAMES {
        let image = |name| depends(name).ok()?.into_iter().find(|name| name.starts_with("linux-image-"));
        if let Some(image) = image(name) {
            return Ok(image);
        }
    }
    skip(format!("apt knows no {}: run `apt-get update` on a Debian system", NAMES.join(" and no ")))
}

fn depends(package: &str) -> Result<Vec<String>, Not> {
    let out = output(&mut command("apt-cache", &["depends", package]))?;
    let names = out.stdout.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    Ok(names.map(Into::into).collect())
}

/// Downloads each package once, and unpacks all into `tree`.
fn unpack(store: &Path, tree: &Path, packages: &[String]) -> Result<(), Not> {
    let done = tree.join("unpacked");
    let list = packages.join("\n");
    if fs::read_to_string(&done).is_ok_and(|have| have == list) {
        return Ok(());
    }
    for dir in [store, tree] {
        // It may not have been there.
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir).or_else(|error| fail(format!("{}: {error}", dir.display())))?;
    }
    let names: Vec<_> = packages.iter().map(String::as_str).collect();
    succeed(command("apt-get", &[&["download"], &names[..]].concat()).current_dir(store))?;
    let files = fs::read_dir(store).or_else(|error| fail(format!("{}: {error}", store.display())))?;
    for file in files.flatten() {
        succeed(command("dpkg-deb", &["-x"]).arg(file.path()).arg(tree))?;
    }
    write(&done, &list)
}

/// Builds a copy of bench/linux, as the kernel's build leaves its products next to the source.
fn build_module(copy: &Path, tree: &Path, headers: &str) -> Result<PathBuf, Not> {
    let sources = tree.join("usr/src");
    let common = format!("{}-common", headers.trim_end_matches("-cloud-amd64"));
    let here = sources.join(headers);
    // The packages expect to be where they would be installed.
    let include = sources.join(common).join("Makefile");
    write(&here.join("Makefile"), &format!("include {}\n", include.display()))?;
    // It is only there for type information, which this module does without.
    let _ = fs::remove_file(here.join("vmlinux"));
    fs::create_dir_all(copy).or_else(|error| fail(format!("{}: {error}", copy.display())))?;
    for name in ["Makefile", "smbench.c"] {
        let from = root().join("bench/linux").join(name);
        fs::copy(&from, copy.join(name)).or_else(|error| fail(format!("{}: {error}", from.display())))?;
    }
    let mut make = command("make", &["-C"]);
    make.arg(&here).arg(format!("M={}", copy.display())).arg("modules");
    // What runs this may tell its own builds how many jobs there are.
    make.env_remove("MAKEFLAGS").env_remove("CARGO_MAKEFLAGS");
    succeed(&mut make)?;
    Ok(copy.join("smbench.ko"))
}

fn read(path: &Path) -> Result<Vec<u8>, Not> {
    fs::read(path).or_else(|error| fail(format!("{}: {error}", path.display())))
}

fn pack(archive: &Path, tree: &Path, module: &Path) -> Result<(), Not> {
    let mut all = Archive::default();
    for directory in ["bin", "dev", "proc", "sys"] {
        all.directory(directory);
    }
    all.program("bin/busybox", &read(&tree.join("bin/busybox"))?);
    all.program("init", &read(&root().join("bench/linux/init"))?);
    all.program("smbench.ko", &read(module)?);
    fs::write(archive, all.end()).or_else(|error| fail(format!("{}: {error}", archive.display())))
}
