//! `cargo xtask fresh`: the README's commands on a machine that has nothing yet.
//!
//! The machine is a folder that debootstrap fills with Debian's smallest system. Each step runs in it by chroot, in a
//! mount namespace of its own, so that nothing stays mounted when this program ends in any way. It shares the host's
//! kernel, network, certificates and package sources; its compiler comes from rustup, by the host's own installer.
//!
//! It takes an hour, and root. So it is no part of `cargo xtask test`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run::{Not, Outcome, Steps, command, fail, output, root, skip, succeed, target_dir, works};

/// What the README asks for, besides Rust: something to link with. And git, as the source comes from somewhere.
const PACKAGES: &str = "ca-certificates,gcc,libc6-dev,git";
/// Where the compiler is, in the machine.
const RUSTUP: &str = "/opt/rustup";
const CARGO: &str = "/opt/cargo";
/// All certificates in one file.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// Who is not root there.
const USER: &str = "tester";

/// Options of `cargo xtask fresh`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Tests for a moment only: `cargo xtask test --quick`, and no other variant
    #[arg(long)]
    quick: bool,
    /// Debian's compiler in place of rustup's
    #[arg(long)]
    without_rustup: bool,
    /// Leaves the machine's folder, to look at, and begins with it the next time
    #[arg(long)]
    keep: bool,
    /// Only the variants whose name holds this, in place of the README's commands and all variants
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// One way to run the tests.
struct Variant {
    name: &'static str,
    /// Root, or nobody special.
    user: bool,
    /// Where the source is.
    home: &'static str,
    /// What is different in the environment.
    env: &'static [(&'static str, &'static str)],
    /// Everything outside of `target` can only be read.
    read_only: bool,
    /// Before it, as root.
    before: &'static str,
}

const PLAIN: Variant =
    Variant { name: "", user: false, home: "/root/standstill", env: &[], read_only: false, before: "true" };

const VARIANTS: [Variant; 5] = [
    Variant { name: "with rust-src", before: "rustup component add rust-src", ..PLAIN },
    Variant { name: "without rust-src", before: "rustup component remove rust-src", ..PLAIN },
    Variant { name: "in a path with a space", home: "/root/a path/stand still", ..PLAIN },
    Variant {
        name: "as another user, in another language",
        user: true,
        home: "/home/tester/standstill",
        env: &[("LC_ALL", "de_DE.UTF-8"), ("LANGUAGE", "de")],
        before: "apt-get install -y --no-install-recommends locales \
            && sed -i 's/^# de_DE.UTF-8/de_DE.UTF-8/' /etc/locale.gen && locale-gen",
        ..PLAIN
    },
    Variant {
        name: "read-only outside of target",
        env: &[("TMPDIR", "/root/standstill/target/tmp")],
        read_only: true,
        ..PLAIN
    },
];

struct Machine {
    root: PathBuf,
    without_rustup: bool,
}

/// Makes the machine, runs the commands in it, and removes it.
pub(crate) fn all(steps: &mut Steps, args: &Args) {
    let machine = Machine { root: target_dir().join("fresh/root"), without_rustup: args.without_rustup };
    if args.keep && machine.root.join("etc/debian_version").is_file() {
        steps.run("fresh: a machine is there", || Ok(String::new()));
    } else {
        let mut made = false;
        steps.run("fresh: an empty machine", || {
            let outcome = machine.make();
            made = outcome.is_ok();
            outcome
        });
        if !made {
            return;
        }
    }
    steps.run("fresh: Rust", || machine.install_rust());
    if args.only.is_none() {
        steps.run("fresh: the README's first command", || {
            machine.fetch(&PLAIN)?;
            machine.run("first", &PLAIN, "cargo run --release -- torture")
        });
        let test = if args.quick { "cargo xtask test --quick" } else { "cargo xtask test" };
        steps.run("fresh: the README's last command", || machine.run("test", &PLAIN, test));
    }
    if !args.quick {
        let chosen = |variant: &&Variant| args.only.as_ref().is_none_or(|text| variant.name.contains(text));
        for variant in VARIANTS.iter().filter(chosen) {
            steps.run(&format!("fresh: {}", variant.name), || {
                if machine.without_rustup && variant.before.starts_with("rustup") {
                    return skip("that is a component of rustup's");
                }
                machine.run("before", &PLAIN, variant.before)?;
                machine.fetch(variant)?;
                machine.run(variant.name, variant, "cargo xtask test --quick")
            });
        }
    }
    if !args.keep {
        steps.run("fresh: the machine is removed", || machine.remove());
    }
}

impl Machine {
    fn inside(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn make(&self) -> Outcome {
        let is_root = output(&mut command("id", &["-u"])).is_ok_and(|out| out.stdout.trim() == "0");
        if !is_root {
            return skip("only root may make one");
        }
        if !works("unshare", &["--mount", "true"]) {
            return skip("this machine gives nobody a mount namespace");
        }
        if !works("debootstrap", &["--version"]) {
            return skip("there is no debootstrap; run: apt-get install debootstrap");
        }
        self.remove()?;
        let Some(parent) = self.root.parent() else { return fail("the root of the file system is no place") };
        fs::create_dir_all(parent).or_else(|error| fail(format!("{}: {error}", parent.display())))?;
        let suite = release_name().unwrap_or_else(|| "bookworm".into());
        let include = format!("--include={PACKAGES}");
        let mut make = command("debootstrap", &["--variant=minbase", &include, &suite]);
        succeed(make.arg(&self.root))?;
        // The packages' sources, the certificates of what is on the way to them, and the names of hosts.
        let shared = ["/etc/apt/sources.list.d/debian.sources", CERTIFICATES, "/etc/resolv.conf"];
        for path in shared.map(Path::new).into_iter().filter(|path| path.exists()) {
            succeed(command("cp", &["-L"]).arg(path).arg(self.inside(&path.to_string_lossy())))?;
        }
        Ok(suite)
    }

    fn install_rust(&self) -> Outcome {
        if self.without_rustup {
            let get = "apt-get update && apt-get install -y --no-install-recommends rustc-web cargo-web";
            self.run("rust", &PLAIN, get)?;
            return self.run("rust", &PLAIN, "useradd -m tester; rustc --version");
        }
        // rustup is one program under several names; under this one it installs.
        let Some(rustup) = find("rustup") else { return skip("the host has no rustup to take") };
        let installer = self.inside("/opt/rustup-init");
        fs::copy(&rustup, &installer).or_else(|error| fail(format!("{}: {error}", installer.display())))?;
        let install = "mkdir -p /opt/rustup /opt/cargo && { id tester 2>&1 || useradd -m tester; } \
            && chmod +x /opt/rustup-init \
            && /opt/rustup-init -y --no-modify-path --profile minimal && chmod -R a+rX /opt \
            && rustc --version";
        self.run("rust", &PLAIN, install)
    }

    /// Puts the committed source where `variant` wants it.
    fn fetch(&self, variant: &Variant) -> Result<(), Not> {
        let to = self.inside(variant.home);
        if to.join("Cargo.toml").is_file() {
            // The folder may be another user's.
            let git = |args: &[&str]| {
                succeed(command("git", &["-c", "safe.directory=*", "-C"]).arg(&to).args(args))
            };
            git(&["fetch", "--quiet", "origin", "HEAD"])?;
            git(&["checkout", "--quiet", "--force", "--detach", "FETCH_HEAD"])?;
        } else {
            if let Some(parent) = to.parent() {
                fs::create_dir_all(parent).or_else(|error| fail(format!("{}: {error}", parent.display())))?;
            }
            succeed(command("git", &["clone", "--quiet", "--no-hardlinks"]).arg(root()).arg(&to))?;
        }
        if variant.user {
            self.run("chown", &PLAIN, &format!("chown -R {USER}: '{}'", variant.home))?;
        }
        Ok(())
    }

    /// Runs a line of shell in the machine, where the source is; its output goes to a file.
    fn run(&self, name: &str, variant: &Variant, line: &str) -> Outcome {
        let log = self.root.with_file_name(format!("{}.log", name.replace(' ', "-")));
        println!("   | {line}  (its output: {})", log.display());
        let home = variant.home;
        let target = format!("{home}/target");
        let mut script = String::from(
            "set -e\nmount --make-rprivate /\nmount --bind \"$ROOT\" \"$ROOT\"\n\
             mount -t proc proc \"$ROOT/proc\"\nmount --rbind /dev \"$ROOT/dev\"\n",
        );
        if variant.read_only {
            script += "mkdir -p \"$ROOT$TARGET/tmp\"\nmount --bind \"$ROOT$TARGET\" \"$ROOT$TARGET\"\n\
                       mount -o remount,ro,bind \"$ROOT\"\n";
        }
        let user = if variant.user { format!("--userspec={USER}") } else { String::new() };
        script += &format!(
            "exec chroot {user} \"$ROOT\" /bin/bash -c 'cd \"$HOME_OF\" 2>/dev/null || cd /; '\"$LINE\"\n"
        );
        let mut all =
            command("unshare", &["--mount", "--pid", "--fork", "--kill-child", "/bin/bash", "-c", &script]);
        self.environment(&mut all, variant);
        all.env("ROOT", &self.root).env("TARGET", &target).env("HOME_OF", home).env("LINE", line);
        let done = output(&mut all)?;
        fs::write(&log, format!("$ {line}\n{}{}", done.stdout, done.stderr))
            .or_else(|error| fail(format!("{}: {error}", log.display())))?;
        let last = done.stdout.lines().rfind(|line| !line.is_empty()).unwrap_or_default().to_string();
        if done.code == 0 {
            return Ok(last);
        }
        crate::run::show(&done);
        fail(format!("`{line}` ended with {}", done.code))
    }

    /// Nothing of the host's but the way to the network.
    fn environment(&self, all: &mut Command, variant: &Variant) {
        let kept: Vec<_> = std::env::vars_os()
            .filter(|(name, _)| {
                let name = name.to_string_lossy().to_lowercase();
                name.ends_with("_proxy")
                    || name.starts_with("ssl_cert")
                    || name.starts_with("rustup_")
                    || name == "ci"
            })
            .collect();
        let home = if variant.user { "/home/tester" } else { "/root" };
        let cargo = if variant.user { "/home/tester/.cargo" } else { CARGO };
        all.env_clear().envs(kept).env("HOME", home).env("TERM", "dumb");
        all.env("PATH", format!("{CARGO}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
        all.env("RUSTUP_HOME", RUSTUP).env("CARGO_HOME", cargo).env("DEBIAN_FRONTEND", "noninteractive");
        all.env_remove("RUSTUP_TOOLCHAIN").envs(variant.env.iter().copied());
    }

    fn remove(&self) -> Outcome {
        if self.root.exists() {
            // Nothing is mounted here: mounts lived in namespaces. Should one be, it is not followed.
            succeed(command("rm", &["-rf", "--one-file-system"]).arg(&self.root))?;
        }
        Ok(String::new())
    }
}

/// The name of this Debian's release, e.g. `bookworm`.
fn release_name() -> Option<String> {
    let text = fs::read_to_string("/etc/os-release").ok()?;
    let debian = text.lines().any(|line| line == "ID=debian");
    let name = text.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="))?;
    debian.then(|| name.trim_matches('"').to_string())
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}
