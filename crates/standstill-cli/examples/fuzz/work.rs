//! A worker: tries the cases of a class, one after the other, and says how each ended.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::damage::damage;
use crate::planted::PLANTED;
use crate::rng::Rng;
use crate::trial::{Done, How, Stream, furnish, interrupt_what_is_long, limit_memory, try_line};
use crate::{console, lines, seeds};

/// A copy of what is damaged.
const COPY: &str = "damaged.copy";

/// A kind of case.
pub(crate) struct Class {
    pub(crate) name: &'static str,
    /// How many are all of them.
    pub(crate) cases: u64,
    /// The file that is damaged, and the command line that reads it.
    file: Option<(&'static str, &'static str)>,
}

const fn files(name: &'static str, seed: &'static str, line: &'static str) -> Class {
    Class { name, cases: 2_000, file: Some((seed, line)) }
}

/// All of them. A megabyte is typed on the console.
pub(crate) const CLASSES: [Class; 7] = [
    Class { name: "line", cases: 10_000, file: None },
    files("replay", "seed.replay", "replay damaged --svg new.svg --html new.html"),
    files("checkpoint", "seed.checkpoint", "check --cpus 3 --max-seconds 1 --checkpoint damaged"),
    files("part", "seed.part", "check merge damaged"),
    files("matrix", "seed.matrix", "check merge damaged --html new.html"),
    files("serial", "seed.serial", "torture --on qemu --seconds 1 --qemu ./qemu --image seed.image"),
    Class { name: "console", cases: (1 << 20) / console::TYPED as u64, file: None },
];

/// The class of the self-test: one case for each error that is planted.
pub(crate) const PLANTED_CLASS: Class = Class { name: "planted", cases: PLANTED.len() as u64, file: None };

/// Where the file of a case that went wrong is kept.
pub(crate) fn kept(seed: u64, class: &str, case: u64) -> PathBuf {
    std::env::temp_dir().join("standstill-fuzz-kept").join(format!("{seed}-{class}-{case}"))
}

/// The damaged file of the class, in the folder where its lines are tried.
pub(crate) fn damaged_file(class: &str) -> Option<&'static str> {
    let (seed, _) = CLASSES.iter().find(|known| known.name == class)?.file?;
    Some(if seed == "seed.serial" { "serial" } else { COPY })
}

/// Keeps the file of a case that went wrong; where, in words. Some bytes of it are of the moment, so that it can't be made
/// again.
pub(crate) fn keep(dir: &Path, seed: u64, class: &str, case: u64) -> String {
    let Some(file) = damaged_file(class) else { return String::new() };
    let to = kept(seed, class, case);
    let made = to.parent().map_or(Ok(()), std::fs::create_dir_all);
    match made.and_then(|()| std::fs::copy(dir.join(file), &to)) {
        Ok(_) => format!(" (kept as {})", to.display()),
        Err(error) => format!(" (not kept: {error})"),
    }
}

/// What a case is, in words.
pub(crate) fn describe(class: &str, seed: u64, case: u64) -> String {
    let mut rng = Rng::of(seed, class, case);
    let text = match CLASSES.iter().find(|known| known.name == class).and_then(|known| known.file) {
        Some((file, line)) => format!("{file} damaged; {line}"),
        None if class == PLANTED_CLASS.name => "planted".into(),
        None if class == "line" => {
            let words = lines::line(&mut rng);
            let (out, err) = (Stream::any(&mut rng), Stream::any(&mut rng));
            format!("{words:?}, standard output {out:?}, standard error {err:?}")
        }
        None => format!("{:?}", String::from_utf8_lossy(&console::typed(&mut rng))),
    };
    text.chars().take(900).collect()
}

/// Tries the cases that `what` says: the class, the first, and the one after the last.
pub(crate) fn work(seed: u64, what: &[String]) {
    let [class, from, until] = what else { return };
    let number = |text: &String| text.parse::<u64>().unwrap_or(0);
    // Standard output goes elsewhere while a command runs.
    let Ok(says) = rustix::io::dup(io::stdout()) else { return };
    let mut says = std::fs::File::from(says);
    let seeds = seeds::read();
    interrupt_what_is_long();
    limit_memory();
    for case in number(from)..number(until) {
        let done = one(seed, class, case, &seeds);
        let how = match &done {
            Ok(Done { how: How::Parsed, .. }) => "parsed",
            Ok(Done { how: How::Process, .. }) => "process",
            _ => "here",
        };
        let (exit, wrong) = match done {
            Ok(done) => (done.exit, done.wrong),
            Err(error) => (-1, Some(format!("the fuzzer itself failed: {error}"))),
        };
        let mut text = String::new();
        if let Some(wrong) = wrong {
            let kept = keep(Path::new("."), seed, class, case);
            text = format!("bad {case} {}{kept}\n", wrong.replace(['\n', '\r'], " "));
        }
        text += &format!("end {case} {exit} {how}\n");
        if says.write_all(text.as_bytes()).is_err() {
            return;
        }
    }
}

fn one(seed: u64, class: &str, case: u64, seeds: &[(String, Vec<u8>)]) -> io::Result<Done> {
    let mut rng = Rng::of(seed, class, case);
    if class == PLANTED_CLASS.name {
        let what = PLANTED.get(case as usize).map_or("hang", |(what, _)| what);
        let line = ["standstill".into(), format!("--planted={what}").into()];
        return try_line(&line, Stream::Kept, Stream::Kept, false);
    }
    let known = CLASSES.iter().find(|known| known.name == class).ok_or(io::ErrorKind::NotFound)?;
    if let Some((file, line)) = known.file {
        return damaged(&mut rng, file, line, seeds);
    }
    if class == "console" {
        let wrong = console::run(&console::typed(&mut rng));
        return Ok(Done { how: How::Here, exit: 0, wrong });
    }
    furnish(Path::new("."), seeds)?;
    let words = lines::line(&mut rng);
    let (out, err) = (Stream::any(&mut rng), Stream::any(&mut rng));
    let done = try_line(&words, out, err, rng.chance(25));
    if case % 64 == 63 {
        tidy()?;
    }
    done
}

fn damaged(rng: &mut Rng, file: &str, line: &str, seeds: &[(String, Vec<u8>)]) -> io::Result<Done> {
    let whole = seeds.iter().find(|(name, _)| name == file).ok_or(io::ErrorKind::NotFound)?;
    let others: Vec<Vec<u8>> = seeds.iter().map(|(_, bytes)| bytes.clone()).collect();
    let mut bytes = damage(rng, &whole.1, &others);
    if rng.chance(60) {
        bytes = standstill_cli::resealed(&bytes);
    }
    if file == "seed.serial" {
        std::fs::write("serial", &bytes)?;
        std::fs::write("seed.image", "\x7fELF @progress ")?;
    } else {
        std::fs::write("damaged", &bytes)?;
        // A command may write what it has read anew, or take it away.
        std::fs::write(COPY, &bytes)?;
    }
    let words: Vec<OsString> = std::iter::once("standstill").chain(line.split(' ')).map(Into::into).collect();
    try_line(&words, Stream::Kept, Stream::Kept, false)
}

/// Takes away what the lines wrote: all but what is damaged.
fn tidy() -> io::Result<()> {
    for entry in std::fs::read_dir(".")? {
        let entry = entry?;
        let name = entry.file_name();
        let keep = name.to_string_lossy().starts_with("seed.") || name == "qemu";
        if !keep && entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else if !keep {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
