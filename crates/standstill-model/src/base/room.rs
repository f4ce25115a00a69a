//! The memory that there is, and what happens where it comes to its end: a search ends with its
//! verdict and its checkpoint, instead of being killed.
//!
//! | limit | is looked at |
//! |---|---|
//! | one that was asked for ([`Room::of_process`]) | what of this process is in memory |
//! | `RLIMIT_AS`, `RLIMIT_DATA` (`ulimit -v`, `-d`) | the addresses and the data of this process |
//! | the control group's, and those above it | what the group uses, files that can be dropped apart |
//! | the machine's | `MemAvailable` and what is left of the swap |
//!
//! All are looked at now and then, before they are reached. What fails between two looks is the
//! allocator's: [`Reserve`] has kept memory aside for that, as much as the largest table needs to
//! grow. It gives it back, tries again, and says that memory has run out; the search ends with its
//! next step.

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Between two looks: what is allocated meanwhile is far less than [`SPARE`].
const NAP: Duration = Duration::from_millis(20);
/// What the end of a search needs, at most, its checkpoint and its verdict included.
const SPARE: u64 = 16 << 20;
/// The machine is left so much of its memory.
const LEFT_TO_OTHERS: u64 = 64;

/// The memory that a process may use.
pub struct Room {
    most: Option<u64>,
    groups: Vec<Group>,
    look: Mutex<Look>,
}

struct Look {
    next: Instant,
    /// What ended the memory, in words.
    why: Option<String>,
}

/// A control group with a limit.
#[derive(Debug)]
struct Group {
    most: u64,
    used: PathBuf,
    details: PathBuf,
    /// The line of the details that says how much of it can be dropped.
    files: &'static str,
}

/// What was asked for. What the system allows differs from moment to moment, and is no part of a search's options.
impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("most", &self.most).finish_non_exhaustive()
    }
}

impl Room {
    /// The room of this process: `most` bytes, if somebody says so, and what the system allows.
    #[must_use]
    pub fn of_process(most: Option<u64>) -> Room {
        let look = Look { next: Instant::now(), why: None };
        Room { most, groups: groups(), look: Mutex::new(look) }
    }

    /// The limit that was asked for.
    pub(crate) fn most(&self) -> Option<u64> {
        self.most
    }

    /// Is there enough to begin? What is asked for is given back but for what is kept aside, so that
    /// stacks and tables can grow until the first look.
    ///
    /// # Errors
    /// There is not, in words.
    pub fn begin(&self) -> Result<(), String> {
        let enough = hold(2 * SPARE as usize);
        release();
        if enough && hold(SPARE as usize) {
            return Ok(());
        }
        let least = bytes(2 * SPARE);
        Err(format!(
            "a search or a replay needs {least} to begin with, and the system does not give them to this process"
        ))
    }

    /// Is there room for what is read from so many bytes of a file? They are not taken yet.
    pub(crate) fn fits(&self, length: u64) -> Result<(), String> {
        // A list that grows is there twice for a moment, and what is in it goes into a table.
        let end = self.end(length.saturating_mul(2).min(1 << 46));
        // What was kept aside to see that is needed now.
        release();
        hold(SPARE as usize);
        match end {
            None => Ok(()),
            Some(why) => Err(format!("it needs about {}, and {why}", bytes(length.saturating_mul(2)))),
        }
    }

    /// What ended the memory, if it has come to its end.
    #[must_use]
    pub fn why(&self) -> Option<String> {
        self.look.lock().unwrap_or_else(PoisonError::into_inner).why.clone()
    }

    /// Is too little left, where the next growth of a table takes so many bytes?
    pub(crate) fn is_short(&self, growth: u64) -> bool {
        let mut look = self.look.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if now >= look.next {
            look.next = now + NAP;
            look.why = self.end(growth);
        }
        look.why.is_some()
    }

    /// The limit that is reached, in words.
    fn end(&self, growth: u64) -> Option<String> {
        let used = Used::now()?;
        if self.most.is_some_and(|most| used.resident + growth > most) {
            return self.most.map(|most| format!("the limit of {}", bytes(most)));
        }
        let kept = has_run_out() || hold((growth + SPARE) as usize);
        let limits = [("v", libc::RLIMIT_AS, used.addresses), ("d", libc::RLIMIT_DATA, used.data)];
        for (flag, limit, used) in limits {
            // What is kept aside is there for the growth, and counts already.
            if let Some(most) = resource(limit)
                && (!kept || used + SPARE > most)
            {
                return Some(format!("`ulimit -{flag}` is {}", bytes(most)));
            }
        }
        if !kept || has_run_out() {
            return Some("the system has no more".into());
        }
        for group in &self.groups {
            if group.used().is_some_and(|used| used + growth + SPARE > group.most) {
                return Some(format!("the control group has {}", bytes(group.most)));
            }
        }
        let machine = Machine::now()?;
        (machine.free < growth + SPARE.max(machine.all / LEFT_TO_OTHERS))
            .then(|| format!("the machine has {}, and {} left", bytes(machine.all), bytes(machine.free)))
    }
}

/// Bytes for people.
fn bytes(n: u64) -> String {
    let mib = n as f64 / f64::from(1 << 20);
    if mib < 10_000.0 { format!("{mib:.1} MiB") } else { format!("{:.1} GiB", mib / 1024.0) }
}

/// What this process uses, in bytes.
struct Used {
    addresses: u64,
    resident: u64,
    data: u64,
}

impl Used {
    fn now() -> Option<Used> {
        let text = fs::read_to_string("/proc/self/statm").ok()?;
        let mut pages = text.split_whitespace().map(|word| word.parse::<u64>().ok());
        // SAFETY: asks for a number, and touches no memory.
        let size = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
        let (addresses, resident) = (pages.next()??, pages.next()??);
        let data = pages.nth(3)??;
        Some(Used { addresses: addresses * size, resident: resident * size, data: data * size })
    }
}

/// A limit of the process, if there is one.
fn resource(which: libc::__rlimit_resource_t) -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a place for one of these.
    let result = unsafe { libc::getrlimit(which, &raw mut limit) };
    (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// The memory of the machine.
struct Machine {
    all: u64,
    free: u64,
}

impl Machine {
    fn now() -> Option<Machine> {
        let text = fs::read_to_string("/proc/meminfo").ok()?;
        let of = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
        };
        let swap = of("SwapFree").unwrap_or(0);
        Some(Machine { all: of("MemTotal")?, free: of("MemAvailable")? + swap })
    }
}

impl Group {
    fn used(&self) -> Option<u64> {
        let used = number(&self.used)?;
        let details = fs::read_to_string(&self.details).unwrap_or_default();
        let files = details.lines().find_map(|line| line.strip_prefix(self.files)?.trim().parse().ok());
        Some(used.saturating_sub(files.unwrap_or(0)))
    }
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The control groups of this process that have a limit.
fn groups() -> Vec<Group> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let mut all = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(kinds), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (root, names) = if kinds.is_empty() {
            ("/sys/fs/cgroup", ["memory.max", "memory.current", "inactive_file "])
        } else if kinds.split(',').any(|kind| kind == "memory") {
            let names = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "];
            ("/sys/fs/cgroup/memory", names)
        } else {
            continue;
        };
        // The limits of all groups above count, too.
        for path in Path::new(path.trim_start_matches('/')).ancestors() {
            let folder = Path::new(root).join(path);
            // Without a limit there is a word, or a number that no machine has.
            if let Some(most) = number(&folder.join(names[0])).filter(|most| *most < 1 << 60) {
                all.push(Group {
                    most,
                    used: folder.join(names[1]),
                    details: folder.join("memory.stat"),
                    files: names[2],
                });
            }
        }
    }
    all
}

/// Memory has run out: an allocation failed, and lives on what was kept aside.
static RAN_OUT: AtomicBool = AtomicBool::new(false);
/// What is kept aside: a mapping that nobody touches.
static ASIDE: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
static ASIDE_BYTES: AtomicUsize = AtomicUsize::new(0);
/// Who changes what is kept aside. No allocation is made under it.
static CHANGES: AtomicBool = AtomicBool::new(false);

/// Has an allocation failed?
pub(crate) fn has_run_out() -> bool {
    RAN_OUT.load(std::sync::atomic::Ordering::Relaxed)
}

/// A search has ended, and has given back what it had: with that, others may begin.
pub(crate) fn settle() {
    if has_run_out() && hold(SPARE as usize) {
        RAN_OUT.store(false, SeqCst);
    }
}

fn changes<R>(f: impl FnOnce() -> R) -> R {
    while CHANGES.swap(true, SeqCst) {
        std::hint::spin_loop();
    }
    let result = f();
    CHANGES.store(false, SeqCst);
    result
}

/// Gives back what is kept aside.
fn release() {
    changes(|| {
        let place = ASIDE.swap(ptr::null_mut(), SeqCst);
        let size = ASIDE_BYTES.swap(0, SeqCst);
        if !place.is_null() {
            // SAFETY: the mapping that `hold` made, taken out of the static, so given back once.
            unsafe { libc::munmap(place.cast(), size) };
        }
    });
}

/// Keeps so many bytes aside, at least. False: they can't be had.
fn hold(bytes: usize) -> bool {
    if ASIDE_BYTES.load(SeqCst) >= bytes {
        return true;
    }
    changes(|| {
        // SAFETY: a fresh mapping, wherever there is room.
        let place = unsafe {
            libc::mmap(
                ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if place == libc::MAP_FAILED {
            return false;
        }
        let (before, size) = (ASIDE.swap(place.cast(), SeqCst), ASIDE_BYTES.swap(bytes, SeqCst));
        if !before.is_null() {
            // SAFETY: the mapping that was kept before, taken out of the static just now.
            unsafe { libc::munmap(before.cast(), size) };
        }
        true
    })
}

/// The system's allocator. Where it fails it gives back what was kept aside, and tries once more: so
/// a search can end with what it has. For `#[global_allocator]`.
#[derive(Clone, Copy, Debug)]
pub struct Reserve {
    end: fn() -> !,
}

impl Reserve {
    /// Where nothing was kept aside, or not enough, `end` ends the process. It allocates nothing.
    #[must_use]
    pub const fn or(end: fn() -> !) -> Reserve {
        Reserve { end }
    }

    #[cold]
    fn again(self, allocate: impl FnOnce() -> *mut u8) -> *mut u8 {
        RAN_OUT.store(true, SeqCst);
        release();
        let place = allocate();
        if place.is_null() { (self.end)() } else { place }
    }
}

// SAFETY: all memory is the system allocator's, under the caller's contract. What is kept aside is a
// mapping of its own.
unsafe impl GlobalAlloc for Reserve {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract.
        let allocate = || unsafe { System.alloc(layout) };
        let place = allocate();
        if place.is_null() { self.again(allocate) } else { place }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's contract.
        let allocate = || unsafe { System.alloc_zeroed(layout) };
        let place = allocate();
        if place.is_null() { self.again(allocate) } else { place }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(place, layout) };
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's contract. If it fails, the old place is as it was.
        let allocate = || unsafe { System.realloc(place, layout, size) };
        let new = allocate();
        if new.is_null() { self.again(allocate) } else { new }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_reached_and_named() {
        let room = Room::of_process(Some(1 << 20));
        assert!(room.is_short(0), "no process has less than a MiB");
        assert_eq!(room.why().as_deref(), Some("the limit of 1.0 MiB"));
        let room = Room::of_process(Some(1 << 40));
        assert!(!room.is_short(0) && room.why().is_none(), "{:?}", room.why());
        std::thread::sleep(NAP);
        assert!(room.is_short(1 << 60), "no machine has so much");
    }

    #[test]
    fn what_the_system_says_is_understood() {
        let used = Used::now().expect("Linux says it");
        assert!(used.resident > 1 << 20 && used.addresses > used.resident && used.data > 0);
        let machine = Machine::now().expect("Linux says it");
        assert!(machine.all >= used.resident && machine.free > 0);
        for group in groups() {
            assert!(group.used().is_some_and(|used| used > 0), "{group:?}");
        }
    }
}
