//! A search that was stopped, as a file, so that it can go on later.
//!
//! What a search of all states is made of: the states that were seen and with which windows ([`crate::reduction::explored`]), what was learnt of who shares what, what
//! was found, and what is left to do, as [jobs](crate::engine::search::Job): schedules that lead to a state, and the choices that were not tried there. None of
//! that depends on where a process has its memory ([`crate::base::arena`]), nor on how many threads search.
//!
//! A file begins with text, one name and value on each line: the version of the format, a hash of the program (another build may number
//! and hash things in another way), the options that say what is searched, and the length and a hash of what follows. That is a row of numbers of eight
//! bytes, the lowest byte first. A list is its length and its elements.
//!
//! It is written piece by piece from where the search has it, so writing takes hardly any memory, however large the search is:
//! it may be memory that ended the search. It is written beside the old one, and takes its place once it is on the disk.

use crate::engine::explore::engine;
use crate::engine::snapshot::Checkpoint;
use crate::engine::snapshot::Snapshot;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;
use std::sync::OnceLock;

use standstill_io::input::{self, Kind, Unreadable};
use standstill_io::words;

use crate::base::hash::Hash128;
use crate::config::options::Options;
use crate::engine::learned::Learned;
use crate::engine::search::{Found, Job, Level};
use crate::reduction::explored::Cover;
use crate::reduction::visibility::Users;
use crate::vocab::fault::Fault;

const MAGIC: &str = "standstill-checkpoint";
const VERSION: u32 = 2;
/// No line of the head is longer.
const LONGEST_LINE: u64 = 4096;
/// As large as a search of the largest machine can be, and no larger than memory.
const KIND: Kind<'_> = Kind {
    name: "the checkpoint of a search",
    magic: &["standstill-checkpoint "],
    most: 64 << 30,
    line: LONGEST_LINE,
};

/// Where two searches differ: the first word that is another one, with the word before it, which is its name.
fn differs(then: &str, now: &str) -> String {
    let (then, now): (Vec<_>, Vec<_>) = (then.split(' ').collect(), now.split(' ').collect());
    let at = then.iter().zip(&now).position(|(then, now)| then != now);
    let at = at.unwrap_or(then.len().min(now.len()));
    let word = |words: &[&str]| words::quote(words.get(at).copied().unwrap_or("nothing"));
    let name = at.checked_sub(1).filter(|at| *at > 1).and_then(|at| now.get(at));
    format!(
        "{}`{}`, and this one has `{}`",
        name.map_or_else(String::new, |name| format!("{name} is ")),
        word(&then),
        word(&now)
    )
}

/// A hash of the program that runs.
fn program() -> Result<String, String> {
    static PROGRAM: OnceLock<Result<String, String>> = OnceLock::new();
    let hash = || {
        let hash = std::env::current_exe()
            .and_then(File::open)
            .and_then(hash_of)
            .map_err(|error| format!("this program can't be read, to tell it from others: {error}"))?;
        Ok(format!("{:016x}{:016x}", hash.0, hash.1))
    };
    PROGRAM.get_or_init(hash).clone()
}

/// The hash of a file, piece by piece: a program may be larger than the memory that is left.
fn hash_of(file: File) -> io::Result<Hash128> {
    let mut hash = Hash128::ZERO;
    let mut from = BufReader::with_capacity(1 << 16, file);
    loop {
        let piece = from.fill_buf()?;
        if piece.is_empty() {
            return Ok(hash);
        }
        hash.mix_hash(sum_of(piece));
        let read = piece.len();
        from.consume(read);
    }
}

/// Can the search of these options be stopped and go on?
pub(crate) fn refuse(options: &Options) -> Result<(), String> {
    if options.checkpoint.is_none() || engine(options.engine).remembers() {
        return Ok(());
    }
    Err(format!("the engine `{}` can't go on from a checkpoint: take `stateful`", options.engine.name()))
}

/// Writes the file: whole, or not at all.
pub(crate) fn write(snapshot: &Snapshot<'_>, path: &Path, options: &Options) -> Result<(), String> {
    let written = program().and_then(|program| {
        let head = |length: u64, sum: u64| {
            let search = options.searched();
            format!(
                "{MAGIC} {VERSION}\nprogram {program}\nsearch {search}\nlength {length:020}\nsum {sum:016x}\n"
            )
        };
        let fill = |file: &File| write_to(snapshot, file, &head);
        standstill_io::replace_by(path, &fill).map_err(|error| error.to_string())
    });
    written.map_err(|error| format!("the checkpoint {} can't be written: {error}", words::path(path)))
}

fn write_to(snapshot: &Snapshot<'_>, file: &File, head: &dyn Fn(u64, u64) -> String) -> io::Result<()> {
    let mut to = BufWriter::with_capacity(1 << 18, file);
    // The length and the hash are known in the end.
    to.write_all(head(0, 0).as_bytes())?;
    let mut body = Numbers { to, sum: Hash128::ZERO, length: 0, error: None };
    put(snapshot, &mut body);
    let (length, sum) = (body.length, body.sum.0);
    let mut to = body.end()?;
    to.rewind()?;
    to.write_all(head(length, sum).as_bytes())?;
    to.flush()?;
    // Only what is on the disk takes the place of the one before.
    file.sync_all()
}

fn put(snapshot: &Snapshot<'_>, to: &mut Numbers<impl Write>) {
    to.hash(snapshot.birth);
    to.put(snapshot.time_ns);
    to.list(&snapshot.learned.users, |to, (place, users)| {
        to.put(*place as u64);
        users.to_words().into_iter().for_each(|word| to.put(word));
    });
    to.list(&snapshot.learned.cells, |to, (place, users)| {
        to.put(*place as u64);
        to.put(u64::from(*users));
    });
    to.list(&snapshot.learned.points, |to, point| to.put(*point));
    to.put(u64::from(snapshot.learned.fences));
    if let Some((covers, table)) = snapshot.seen {
        covers.with_parts(|entries, sets| {
            to.list(entries, |to, (entry, number)| {
                to.wide(*entry);
                to.put(u64::from(*number));
            });
            to.list(sets, |to, (set, _)| to.choices(set));
        });
        to.put(table.len() as u64);
        table.each(|state, cover| {
            to.hash(state);
            to.put(u64::from(cover));
        });
    } else {
        // No entries, no sets, no states.
        (0..3).for_each(|_| to.put(0));
    }
    to.list(&snapshot.jobs, |to, job| {
        to.choices(&job.way);
        to.list(&job.levels, |to, level| {
            to.list(level.taken.as_slice(), |to, taken| to.put(u64::from(*taken)));
            to.choices(&level.untried);
            to.put(u64::from(level.new));
        });
    });
    put_found(snapshot, to);
}

fn put_found(snapshot: &Snapshot<'_>, to: &mut Numbers<impl Write>) {
    let all = &snapshot.found;
    for property in 0..5 {
        to.put(all.iter().map(|found| found.counts[property]).sum());
    }
    for property in 0..5 {
        let first = all.iter().find_map(|found| found.firsts[property].as_ref());
        to.list(first.as_slice(), |to, first| to.choices(first));
    }
    let faults = all.iter().filter_map(|found| found.fault.as_ref());
    // As `Found::broken` has it.
    let fault = faults.min_by(|(a, _), (b, _)| a.rule.cmp(&b.rule));
    to.list(fault.as_slice(), |to, (fault, choices)| {
        to.text(&fault.rule);
        to.put(fault.cpu as u64);
        to.text(&fault.text);
        to.text(&fault.location);
        to.choices(choices);
    });
    to.put(all.iter().map(|found| found.ends.len() as u64).sum());
    all.iter().flat_map(|found| &found.ends).for_each(|end| to.wide(*end));
    to.put(all.iter().map(|found| found.states).sum());
    to.put(all.iter().map(|found| found.steps).sum());
    to.put(all.iter().map(|found| found.depth as u64).max().unwrap_or(0));
}

/// Reads the file, if there is one.
pub(crate) fn read(path: &Path, options: &Options) -> Result<Option<Checkpoint>, String> {
    let (mut source, size) = match input::source(path, KIND) {
        Ok(source) => source,
        Err(Unreadable::Missing(_)) => return Ok(None),
        Err(Unreadable::Other(why)) => return Err(format!("the checkpoint {why}")),
    };
    let fits = |length| options.room.as_ref().map_or(Ok(()), |room| room.fits(length));
    load(&mut source, size, &program()?, &options.searched(), &fits)
        .map(Some)
        .map_err(|why| format!("the checkpoint {} is of no use: {why}", words::path(path)))
}

fn take(from: &mut Reader<impl BufRead>) -> Option<Checkpoint> {
    let birth = from.hash()?;
    let time_ns = from.take()?;
    let learned = Learned {
        users: from
            .list(|from| Some((from.take()? as usize, Users::of_words([from.take()?, from.take()?]))))?
            .into_iter()
            .collect(),
        cells: from
            .list(|from| Some((from.take()? as usize, u8::try_from(from.take()?).ok()?)))?
            .into_iter()
            .collect(),
        points: from.list(Reader::take)?,
        fences: from.take()? != 0,
    };
    let entries = from.list(|from| Some((from.wide()?, u32::try_from(from.take()?).ok()?)))?;
    let sets = from.list(|from| Some(from.choices()?.into_boxed_slice()))?;
    let states = from.list(|from| Some((from.hash()?, Cover::try_from(from.take()?).ok()?)))?;
    let level = |from: &mut Reader<_>| {
        Some(Level { taken: from.choices()?.pop(), untried: from.choices()?, new: from.take()? != 0 })
    };
    let jobs = from.list(|from| Some(Job { way: from.choices()?, levels: from.list(level)? }))?;
    let mut found = Found::new();
    for count in &mut found.counts {
        *count = from.take()?;
    }
    for first in &mut found.firsts {
        *first = from.list(Reader::choices)?.pop();
    }
    let fault = from.list(|from| {
        let fault = Fault {
            rule: from.text()?,
            cpu: from.take()? as usize,
            text: from.text()?,
            location: from.text()?,
        };
        Some((fault, from.choices()?))
    })?;
    found.fault = fault.into_iter().next();
    found.ends = from.list(Reader::wide)?.into_iter().collect();
    (found.states, found.steps, found.depth) = (from.take()?, from.take()?, from.take()? as usize);
    let covers = sets.len() as u64;
    let known = states.iter().all(|(_, cover)| u64::from(*cover) < covers);
    let numbers = entries.len() as u64;
    let numbered = entries.iter().all(|(_, number)| u64::from(*number) < numbers);
    // All levels but the last lead to the next one.
    let lead =
        |job: &Job| job.levels.split_last().is_some_and(|(_, rest)| rest.iter().all(|l| l.taken.is_some()));
    (from.left == 0 && known && numbered && jobs.iter().all(lead)).then_some(Checkpoint {
        birth,
        time_ns,
        learned,
        entries,
        sets,
        states,
        jobs,
        found,
    })
}

/// Of a file that anybody may have written: its head is read first, and what follows is taken in as it is understood.
fn load(
    source: &mut impl BufRead,
    size: u64,
    program: &str,
    what: &str,
    fits: &dyn Fn(u64) -> Result<(), String>,
) -> Result<Checkpoint, String> {
    let mut head = 0;
    let mut line = |name: &str| {
        let mut line = Vec::new();
        source.take(LONGEST_LINE).read_until(b'\n', &mut line).ok()?;
        head += line.len() as u64;
        let line = String::from_utf8(line).ok()?;
        line.strip_suffix('\n')?.strip_prefix(name)?.strip_prefix(' ').map(str::to_string)
    };
    let version = line(MAGIC).ok_or_else(|| format!("it does not begin with `{MAGIC}`"))?;
    if version != VERSION.to_string() {
        return Err(format!(
            "it has version {}, and this program reads version {VERSION}",
            words::quote(&version)
        ));
    }
    let damaged = || "it is damaged: take it away, and the search begins anew".to_string();
    let of = line("program").ok_or_else(damaged)?;
    if of != program {
        return Err("another build of this program wrote it, and may number the states in another way".into());
    }
    let searched = line("search").ok_or_else(damaged)?;
    if searched != what {
        return Err(format!("it is of another search: {}", differs(&searched, what)));
    }
    let length = line("length").ok_or_else(damaged)?;
    let sum = line("sum").ok_or_else(damaged)?;
    let length: u64 = length.parse().map_err(|_| damaged())?;
    if size.checked_sub(head) != Some(length) || !length.is_multiple_of(8) {
        return Err(damaged());
    }
    fits(length)?;
    let mut body = Reader { from: source, left: length / 8, sum: Hash128::ZERO };
    let checkpoint = take(&mut body).ok_or_else(damaged)?;
    if sum == format!("{:016x}", body.sum.0) { Ok(checkpoint) } else { Err(damaged()) }
}

/// The file with the length and the sum of what follows its head; `None` if it is no checkpoint.
pub(crate) fn resealed(file: &[u8]) -> Option<Vec<u8>> {
    let line = |name: &str| {
        let at = file.windows(name.len()).position(|window| window == name.as_bytes())?;
        Some((at + 1, file[at + 1..].iter().position(|byte| *byte == b'\n')? + at + 2))
    };
    let ((length, _), (_, body)) = (line("\nlength ")?, line("\nsum ")?);
    let rest = &file[body..];
    let sum = sum_of(rest).0;
    let head = format!("length {}\nsum {sum:016x}\n", rest.len());
    Some([file.get(..length)?, head.as_bytes(), rest].concat())
}

/// The hash of a row of numbers; bytes that are none of them make it another one.
fn sum_of(row: &[u8]) -> Hash128 {
    let mut sum = Hash128::ZERO;
    let (numbers, rest) = row.as_chunks::<8>();
    numbers.iter().for_each(|number| sum.mix(u64::from_le_bytes(*number)));
    rest.iter().for_each(|byte| sum.mix(u64::from(*byte)));
    sum
}

/// A row of numbers that is written. What goes wrong is told in the end.
struct Numbers<W> {
    to: W,
    sum: Hash128,
    length: u64,
    error: Option<io::Error>,
}

impl<W: Write> Numbers<W> {
    fn put(&mut self, number: u64) {
        self.sum.mix(number);
        self.length += 8;
        if self.error.is_none() {
            self.error = self.to.write_all(&number.to_le_bytes()).err();
        }
    }

    fn end(self) -> io::Result<W> {
        self.error.map_or(Ok(self.to), Err)
    }

    fn hash(&mut self, hash: Hash128) {
        self.put(hash.0);
        self.put(hash.1);
    }

    fn wide(&mut self, number: u128) {
        self.put((number >> 64) as u64);
        self.put(number as u64);
    }

    fn list<T, L: IntoIterator<Item = T>>(&mut self, list: L, mut f: impl FnMut(&mut Self, T))
    where
        L::IntoIter: ExactSizeIterator,
    {
        let list = list.into_iter();
        self.put(list.len() as u64);
        list.for_each(|element| f(self, element));
    }

    fn choices(&mut self, choices: &[u32]) {
        self.list(choices, |to, choice| to.put(u64::from(*choice)));
    }

    fn text(&mut self, text: &str) {
        self.list(text.as_bytes(), |to, byte| to.put(u64::from(*byte)));
    }
}

/// What is left of a row of numbers that is read.
struct Reader<R> {
    from: R,
    /// How many numbers.
    left: u64,
    sum: Hash128,
}

impl<R: BufRead> Reader<R> {
    fn take(&mut self) -> Option<u64> {
        self.left = self.left.checked_sub(1)?;
        let mut bytes = [0; 8];
        self.from.read_exact(&mut bytes).ok()?;
        let number = u64::from_le_bytes(bytes);
        self.sum.mix(number);
        Some(number)
    }

    fn hash(&mut self) -> Option<Hash128> {
        Some(Hash128(self.take()?, self.take()?))
    }

    fn wide(&mut self) -> Option<u128> {
        Some(u128::from(self.take()?) << 64 | u128::from(self.take()?))
    }

    fn list<T>(&mut self, mut f: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let len = self.take()?;
        (0..len).map(|_| f(self)).collect()
    }

    fn choices(&mut self) -> Option<Vec<u32>> {
        self.list(|from| u32::try_from(from.take()?).ok())
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.list(|from| u8::try_from(from.take()?).ok())?).ok()
    }
}
