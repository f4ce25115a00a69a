//! Debian's packages.

use crate::run::{Not, command, output, skip, works};

/// Installs packages, if this is root on a machine with apt.
pub(super) fn install(packages: &[&str]) -> Result<(), Not> {
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
        let mut apt = command("apt-get", args);
        apt.env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C.UTF-8");
        let done = output(&mut apt)?;
        if done.code != 0 {
            let why = done.stderr.lines().last().unwrap_or("no reason given");
            return skip(format!("apt-get {} refused: {why}", args[0]));
        }
    }
    Ok(())
}
