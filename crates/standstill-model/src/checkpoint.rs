//! A search that was stopped, as a file, so that it can go on later.
//!
//! What a search of all states is made of: the states that were seen and with which windows ([`crate::covers`]), what was learnt of who shares what, what
//! was found, and what is left to do, as [jobs](crate::search::Job): schedules that lead to a state, and the choices that were not tried there. None of
//! that depends on where a process has its memory ([`crate::arena`]), nor on how many threads search.
//!
//! A file begins with text, one name and value on each line: the version of the format, a hash of the program (another build may number
//! and hash things in another way), the options that say what is searched, and the length and a hash of what follows. That is a row of numbers of eight
//! bytes, the lowest byte first. A list is its length and its elements.

use std::path::Path;
use std::sync::OnceLock;

use standstill_io::input::{self, Kind, Unreadable};
use standstill_io::words;

use crate::class::Users;
use crate::covers::Cover;
use crate::hash::Hash128;
use crate::options::{Engine, Options};
use crate::parallel::Learned;
use crate::search::{Found, Job};
use crate::world::Fault;

const MAGIC: &str = "standstill-checkpoint";
const VERSION: u32 = 1;
/// As large as a search of the largest machine can be, and no larger than memory.
const KIND: Kind<'_> =
    Kind { name: "the checkpoint of a search", magic: &["standstill-checkpoint "], most: 64 << 30 };

/// Where a search is.
pub(crate) struct Checkpoint {
    /// The fingerprint of the machine before anything was searched: a process in which it is another one can't go on.
    pub(crate) birth: Hash128,
    /// How long the search has taken so far.
    pub(crate) time_ns: u64,
    pub(crate) learned: Learned,
    pub(crate) entries: Vec<u128>,
    pub(crate) sets: Vec<Box<[u32]>>,
    pub(crate) states: Vec<(Hash128, Cover)>,
    pub(crate) jobs: Vec<Job>,
    pub(crate) found: Found,
}

/// What decides what is searched, in words.
pub(crate) fn what(options: &Options) -> String {
    format!(
        "{} {} cpus {} irqs {} ipi {} memory {} fan_in {} races {} reduce {} keep_going {} sleepers {} mutant {:?} {:?}",
        options.protocol.name(),
        options.scenario,
        options.cpus,
        options.irqs,
        options.ipi.name(),
        options.memory.name(),
        options.fan_in,
        options.races,
        options.reduce,
        options.keep_going,
        options.sleepers,
        options.mutant,
        options.mutant_begins,
    )
}

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
        let bytes = std::env::current_exe()
            .and_then(std::fs::read)
            .map_err(|error| format!("this program can't be read, to tell it from others: {error}"))?;
        let hash = Hash128::of(&bytes[..]);
        Ok(format!("{:016x}{:016x}", hash.0, hash.1))
    };
    PROGRAM.get_or_init(hash).clone()
}

/// Can the search of these options be stopped and go on?
pub(crate) fn refuse(options: &Options) -> Result<(), String> {
    match options.engine {
        _ if options.checkpoint.is_none() => Ok(()),
        Engine::Stateful => Ok(()),
        other => Err(format!("the engine `{}` can't go on from a checkpoint: take `stateful`", other.name())),
    }
}

impl Checkpoint {
    /// Writes the file: whole, or not at all.
    pub(crate) fn write(&self, path: &Path, options: &Options) -> Result<(), String> {
        let mut body = Numbers::default();
        self.put(&mut body);
        let sum = Hash128::of(&body.0[..]);
        let head = format!(
            "{MAGIC} {VERSION}\nprogram {}\nsearch {}\nlength {}\nsum {:016x}\n",
            program()?,
            what(options),
            body.0.len(),
            sum.0
        );
        let written = standstill_io::replace(path, &[head.as_bytes(), &body.0[..]]);
        written.map_err(|error| format!("the checkpoint {} can't be written: {error}", words::path(path)))
    }

    /// Reads the file, if there is one.
    pub(crate) fn read(path: &Path, options: &Options) -> Result<Option<Checkpoint>, String> {
        let bytes = match input::read(path, KIND) {
            Ok(bytes) => bytes,
            Err(Unreadable::Missing(_)) => return Ok(None),
            Err(Unreadable::Other(why)) => return Err(format!("the checkpoint {why}")),
        };
        load(&bytes, &program()?, &what(options))
            .map(Some)
            .map_err(|why| format!("the checkpoint {} is of no use: {why}", words::path(path)))
    }

    fn put(&self, to: &mut Numbers) {
        to.hash(self.birth);
        to.put(self.time_ns);
        to.list(&self.learned.users, |to, (place, users)| {
            to.put(*place as u64);
            users.to_words().into_iter().for_each(|word| to.put(word));
        });
        to.list(&self.learned.cells, |to, (place, users)| {
            to.put(*place as u64);
            to.put(u64::from(*users));
        });
        to.list(&self.learned.points, |to, point| to.put(*point));
        to.put(u64::from(self.learned.fences));
        to.list(&self.entries, |to, entry| to.wide(*entry));
        to.list(&self.sets, |to, set| to.choices(set));
        to.list(&self.states, |to, (state, cover)| {
            to.hash(*state);
            to.put(u64::from(*cover));
        });
        to.list(&self.jobs, |to, job| {
            to.choices(&job.way);
            to.choices(&job.choices);
            to.put(u64::from(job.new));
        });
        let found = &self.found;
        found.counts.into_iter().for_each(|count| to.put(count));
        to.list(&found.firsts, |to, first| to.list(first, |to, first| to.choices(first)));
        to.list(&found.fault, |to, (fault, choices)| {
            to.text(&fault.rule);
            to.put(fault.cpu as u64);
            to.text(&fault.text);
            to.text(&fault.location);
            to.choices(choices);
        });
        to.list(&found.ends, |to, end| to.wide(*end));
        [found.states, found.steps, found.depth as u64].into_iter().for_each(|number| to.put(number));
    }

    fn take(from: &mut Reader<'_>) -> Option<Checkpoint> {
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
        let entries = from.list(Reader::wide)?;
        let sets = from.list(|from| Some(from.choices()?.into_boxed_slice()))?;
        let states = from.list(|from| Some((from.hash()?, Cover::try_from(from.take()?).ok()?)))?;
        let jobs = from.list(|from| {
            Some(Job { way: from.choices()?, choices: from.choices()?, new: from.take()? != 0 })
        })?;
        let mut found = Found::new();
        for count in &mut found.counts {
            *count = from.take()?;
        }
        let firsts = from.list(|from| Some(from.list(Reader::choices)?.pop()))?;
        found.firsts = firsts.try_into().ok()?;
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
        (from.0.is_empty() && known).then_some(Checkpoint {
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
}

fn load(bytes: &[u8], program: &str, what: &str) -> Result<Checkpoint, String> {
    let mut rest = bytes;
    let mut line = |name: &str| {
        let end = rest.iter().position(|byte| *byte == b'\n')?;
        let line = std::str::from_utf8(&rest[..end]).ok()?.to_string();
        rest = &rest[end + 1..];
        line.strip_prefix(name)?.strip_prefix(' ').map(str::to_string)
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
    let hash = Hash128::of(rest);
    if length != rest.len().to_string() || sum != format!("{:016x}", hash.0) {
        return Err(damaged());
    }
    Checkpoint::take(&mut Reader(rest)).ok_or_else(damaged)
}

/// A row of numbers that is written.
#[derive(Default)]
struct Numbers(Vec<u8>);

impl Numbers {
    fn put(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn hash(&mut self, hash: Hash128) {
        self.put(hash.0);
        self.put(hash.1);
    }

    fn wide(&mut self, number: u128) {
        self.put((number >> 64) as u64);
        self.put(number as u64);
    }

    fn list<T>(&mut self, list: impl IntoIterator<Item = T>, mut f: impl FnMut(&mut Self, T)) {
        let at = self.0.len();
        self.put(0);
        let mut len = 0_u64;
        for element in list {
            f(self, element);
            len += 1;
        }
        self.0[at..at + 8].copy_from_slice(&len.to_le_bytes());
    }

    fn choices(&mut self, choices: &[u32]) {
        self.list(choices, |to, choice| to.put(u64::from(*choice)));
    }

    fn text(&mut self, text: &str) {
        self.list(text.bytes(), |to, byte| to.put(u64::from(byte)));
    }
}

/// What is left of a row of numbers that is read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take(&mut self) -> Option<u64> {
        let (number, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*number))
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
