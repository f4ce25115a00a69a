//! Small jobs, one for each tool: it works if it does its job here.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::{AARCH64, AARCH64_LIBS, AARCH64_LINKER, AARCH64_QEMU, QEMU};
use crate::bench;
use crate::run::{command, output, root, target_dir};

/// What the programs say that are compiled to see whether they run.
const SAYS: &str = "it works";

/// A folder for the jobs' files, with `text` in the file `name`.
pub(super) fn file(name: &str, text: impl AsRef<[u8]>) -> Result<PathBuf, String> {
    let folder = target_dir().join("probe");
    let file = folder.join(name);
    fs::create_dir_all(file.parent().unwrap_or(&folder))
        .and_then(|()| fs::write(&file, text))
        .map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(file)
}

/// Runs a command, which has to end with `code`; what it printed.
pub(super) fn run(command: &mut Command, code: i32) -> Result<String, String> {
    // What a tool says in another language can't be told from what it says when it fails.
    command.env("LC_ALL", "C.UTF-8");
    let name = command.get_program().to_string_lossy().into_owned();
    let Ok(out) = output(command) else { return Err(format!("there is no {name}")) };
    if out.code == code {
        return Ok(out.stdout);
    }
    let last = out.stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given");
    Err(format!("{name} ended with {}: {}", out.code, last.trim()))
}

fn says(text: &str) -> Result<(), String> {
    if text.contains(SAYS) { Ok(()) } else { Err(format!("`{SAYS}` was expected, and this came: {text}")) }
}

fn path(file: &std::path::Path) -> String {
    file.to_string_lossy().into_owned()
}

/// Formats a line.
pub(super) fn rustfmt() -> Result<(), String> {
    let source = path(&file("format.rs", "fn main() {}\n")?);
    run(&mut command("rustfmt", &["--check", &source]), 0).map(drop)
}

/// Compiles a library for `target`.
pub(super) fn target_installed(target: &str) -> Result<(), String> {
    let source = path(&file("empty.rs", "#![no_std]\n")?);
    let object = path(&target_dir().join(format!("probe/empty-{target}.rlib")));
    let args = ["--target", target, "--crate-type", "rlib", &source, "-o", &object];
    run(command("rustc", &args).current_dir(root()), 0).map(drop)
}

/// Runs a boot sector that switches its machine off.
pub(super) fn qemu() -> Result<(), String> {
    // mov al, 1; out 0xf4, al; then halt for good.
    let mut sector = vec![0xb0, 1, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd];
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    let image = file("boot.img", sector)?;
    let mut qemu = command("timeout", &["60", QEMU, "-machine", "pc", "-accel", "tcg", "-display", "none"]);
    qemu.args(["-nodefaults", "-no-user-config", "-no-reboot"]);
    qemu.args(["-device", "isa-debug-exit,iobase=0xf4,iosize=1"]);
    qemu.arg("-drive").arg(format!("format=raw,file={}", path(&image).replace(',', ",,")));
    // The device's exit code for the byte 1.
    run(&mut qemu, 3).map(drop)
}

/// Starts a program under the tool.
pub(super) fn valgrind() -> Result<(), String> {
    run(&mut command("valgrind", &["--tool=none", "-q", "true"]), 0).map(drop)
}

/// Compiles an object as the kernel's build does, by make.
pub(super) fn module() -> Result<(), String> {
    file("module/one.c", "int one(void) { return 1; }\n")?;
    let rule = format!("one.o: one.c\n\t{} -ffreestanding -c -o one.o one.c\n", bench::COMPILER);
    let makefile = file("module/Makefile", rule)?;
    let folder = makefile.parent().map(path).unwrap_or_default();
    run(&mut command("make", &["--always-make", "-C", &folder]), 0).map(drop)
}

/// Shows a page whose script writes something.
pub(super) fn browser() -> Result<(), String> {
    let text = format!("<p id=p></p><script>p.textContent = '{}' + 's'</script>", SAYS.trim_end_matches('s'));
    let page = file("page.html", text)?;
    let profile = page.with_file_name("profile");
    let mut last = String::new();
    for name in ["chromium", "chromium-browser", "google-chrome"] {
        let mut browser = command("timeout", &["60", name, "--headless", "--no-sandbox", "--disable-gpu"]);
        browser.arg("--dump-dom").arg(format!("--user-data-dir={}", profile.display()));
        browser.arg(format!("file://{}", page.display()));
        match run(&mut browser, 0).and_then(|text| says(&text)) {
            Ok(()) => return Ok(()),
            Err(why) => last = why,
        }
    }
    Err(last)
}

/// Makes a verifier of a model, and compiles it.
pub(super) fn spin() -> Result<(), String> {
    let model = file("spin/model.pml", "active proctype P() { skip }\n")?;
    let folder = model.with_file_name("");
    run(command("spin", &["-a", "model.pml"]).current_dir(&folder), 0)?;
    run(command("gcc", &["-o", "pan", "pan.c"]).current_dir(&folder), 0)?;
    run(command("./pan", &[]).current_dir(&folder), 0).map(drop)
}

/// Links a program with the standard library, and runs it in the emulator.
pub(super) fn aarch64() -> Result<(), String> {
    let source = path(&file("aarch64.rs", format!("fn main() {{ println!(\"{SAYS}\") }}\n"))?);
    let program = path(&target_dir().join("probe/aarch64"));
    let linker = format!("-Clinker={AARCH64_LINKER}");
    let args = ["--target", AARCH64, &linker, &source, "-o", &program];
    run(command("rustc", &args).current_dir(root()), 0)?;
    says(&run(&mut command(AARCH64_QEMU, &["-L", AARCH64_LIBS, &program]), 0)?)
}
