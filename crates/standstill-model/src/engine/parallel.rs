//! The search of all states, by all cores.
//!
//! Each thread has a machine of its own; what they share is the table of the states that were seen, whose fingerprints say the same to all of them
//! ([`crate::base::arena`]). A thread that has nothing left to do asks for a *job*, and the others give away what they have left to try nearest to
//! the beginning; who gets it makes the steps that lead there, and goes on.
//!
//! # Why the number of threads makes no difference
//! Which states there are follows from what is known of who shares what, and that is learnt while searching ([`crate::reduction::visibility`], [`crate::reduction::movers`]):
//! whatever is learnt ends the search, and it starts again with it. In which order things are learnt depends on the order of the search, and a
//! different order may lead to a different set of points. So a search begins with one thread, and most is learnt there. After so many
//! states ([`Options::spread`]) the others begin, with what the first one knows. If all ends and nobody has learnt anything, also not from
//! what the others have seen ([`World::outdated`]), one thread alone would not have learnt anything either: the windows that each state is
//! searched with are the same, entry by entry, in whatever order they come ([`crate::reduction::explored`]). Otherwise what was learnt is forgotten, and one thread alone
//! searches until it has learnt what it learns first. So the set of points is always the one that one thread finds, and with it the states,
//! the final states and what is broken. (A search that ends early has seen what it has seen.)
//!
//! What is broken counts in the steps from a state that is new, so each step counts once.

use crate::engine::learned::Learned;
use crate::engine::learned::learned;
use crate::engine::learned::outdated;
use crate::engine::learned::teach;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::base::hash::Hash128;
use crate::config::options::Options;
use crate::engine::search::{Came, End, Found, Job, Search, limit_at};
use crate::engine::snapshot::Keep;
use crate::engine::snapshot::{Checkpoint, Snapshot};
use crate::engine::table::Table;
use crate::machine::session::Ready;
use crate::machine::world::{World, with_ptr};
use crate::reduction::explored::Covers;
use crate::vocab::progress::{Bound, Progress};

/// How long somebody waits before the caller is told how far the search is.
const NAP: Duration = Duration::from_millis(50);

/// What the threads of a search share.
struct Shared<'a> {
    options: &'a Options,
    table: Table,
    queue: Mutex<Queue>,
    wake: Condvar,
    /// How many wait for a job that is not there yet.
    hungry: AtomicUsize,
    over: AtomicBool,
    /// The first thread writes down where the search is: the others stand by.
    pause: AtomicBool,
    /// What the threads but the first have done so far.
    states: AtomicU64,
    steps: AtomicU64,
    bytes: AtomicU64,
    growth: AtomicU64,
}

/// What one thread has found, learnt and left to do.
struct Part {
    found: Found,
    learned: Learned,
    left: Option<Job>,
}

impl Part {
    fn of(search: &mut Search<'_>, found: Found) -> Part {
        let learned = search.learned();
        Part { found, learned, left: search.left() }
    }
}

/// The jobs that nobody has taken yet.
struct Queue {
    jobs: Vec<Job>,
    /// The threads that take part.
    threads: usize,
    waiting: usize,
    end: Option<End>,
    /// The number of the pause that it is, if the others are to stand by.
    pause: Option<u64>,
    pauses: u64,
    /// What those that stand by have.
    parts: Vec<Part>,
}

impl Queue {
    const fn new() -> Queue {
        Queue {
            jobs: Vec::new(),
            threads: 1,
            waiting: 0,
            end: None,
            pause: None,
            pauses: 0,
            parts: Vec::new(),
        }
    }
}

impl Shared<'_> {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The search is over, for all.
    fn end(&self, end: End) {
        let mut queue = self.queue();
        // A violation that one thread found counts more than that another one learnt something then.
        queue.end.get_or_insert(end);
        self.over.store(true, Relaxed);
        self.wake.notify_all();
    }

    fn note_hunger(&self, queue: &Queue) {
        self.hungry.store(queue.waiting.saturating_sub(queue.jobs.len()), Relaxed);
    }

    /// Waits for a job; `None` if there will be none. `nap` is called now and then.
    fn job(&self, search: &mut Search<'_>, nap: &mut Nap<'_>) -> Option<Job> {
        let mut queue = self.queue();
        queue.waiting += 1;
        let mut stood_by = 0;
        loop {
            if queue.end.is_some() {
                return None;
            }
            if queue.pause.is_some() {
                queue = self.stand_by(queue, search, &mut stood_by);
                continue;
            }
            if let Some(job) = queue.jobs.pop() {
                queue.waiting -= 1;
                self.note_hunger(&queue);
                return Some(job);
            }
            if queue.waiting == queue.threads {
                queue.end = Some(End::Exhausted);
                self.over.store(true, Relaxed);
                self.wake.notify_all();
                return None;
            }
            self.note_hunger(&queue);
            (queue, _) = self.wake.wait_timeout(queue, NAP).unwrap_or_else(PoisonError::into_inner);
            drop(queue);
            let end = nap(search);
            queue = self.queue();
            if let Some(end) = end {
                queue.end.get_or_insert(end);
                self.over.store(true, Relaxed);
                self.wake.notify_all();
            }
        }
    }

    /// A thread but the first says what it has, once in each pause, and waits for a while.
    fn stand_by<'q>(
        &self,
        mut queue: MutexGuard<'q, Queue>,
        search: &mut Search<'_>,
        stood_by: &mut u64,
    ) -> MutexGuard<'q, Queue> {
        if let Some(pause) = queue.pause.filter(|pause| pause != stood_by) {
            *stood_by = pause;
            search.count();
            let found = search.found.clone();
            queue.parts.push(Part::of(search, found));
            self.wake.notify_all();
        }
        self.wake.wait_timeout(queue, NAP).unwrap_or_else(PoisonError::into_inner).0
    }

    /// The first thread keeps where the search is, when all others stand by. `None`: it goes on.
    fn keep(&self, main: &mut Search<'_>, covers: &Covers, keeper: &mut dyn Keep) -> Option<End> {
        main.count();
        let mut queue = self.queue();
        queue.pauses += 1;
        queue.pause = Some(queue.pauses);
        self.pause.store(true, Relaxed);
        self.wake.notify_all();
        while queue.end.is_none() && queue.parts.len() + 1 < queue.threads {
            (queue, _) = self.wake.wait_timeout(queue, NAP).unwrap_or_else(PoisonError::into_inner);
        }
        let parts = std::mem::take(&mut queue.parts);
        // A search that has ended is kept in another way.
        let end = if queue.end.is_none() { self.write(main, &queue, &parts, covers, keeper) } else { None };
        queue.pause = None;
        self.pause.store(false, Relaxed);
        self.wake.notify_all();
        end
    }

    /// Writes where the search is; all others stand by.
    fn write(
        &self,
        main: &mut Search<'_>,
        queue: &Queue,
        parts: &[Part],
        covers: &Covers,
        keeper: &mut dyn Keep,
    ) -> Option<End> {
        let mine = main.learned();
        let (all, outdated) = main.together(&mine, parts);
        if outdated {
            return Some(End::Again);
        }
        let left = main.left();
        let snapshot = Snapshot {
            birth: keeper.birth(),
            time_ns: keeper.time_ns(),
            learned: &all,
            seen: Some((covers, &self.table)),
            jobs: left
                .iter()
                .chain(parts.iter().filter_map(|part| part.left.as_ref()))
                .chain(&queue.jobs)
                .collect(),
            found: std::iter::once(&main.found).chain(parts.iter().map(|part| &part.found)).collect(),
        };
        // If this one can't be written, the one before is still there, and the next one may be.
        let _ = keeper.write(self.options, &snapshot);
        None
    }

    /// Searches until the whole search is over. `each` is called before each step and while nothing is to be done.
    fn work(
        &self,
        search: &mut Search<'_>,
        report: &mut dyn FnMut(&mut Found, usize) -> Option<End>,
        each: &mut dyn FnMut(&mut Search<'_>, bool) -> Option<End>,
    ) {
        loop {
            let goes_on = |search: &mut Search<'_>| {
                if self.hungry.load(Relaxed) > 0
                    && let Some(job) = search.give_away()
                {
                    let mut queue = self.queue();
                    queue.jobs.push(job);
                    self.note_hunger(&queue);
                    self.wake.notify_one();
                }
                if let Some(end) = each(search, false) {
                    self.end(end);
                }
                !self.over.load(Relaxed)
            };
            match search.go(goes_on, report) {
                Came::To(end) => self.end(end),
                Came::Far => {}
                Came::Through => {
                    let mut nap =
                        |search: &mut Search<'_>| search.report(report).or_else(|| each(search, true));
                    if let Some(job) = self.job(search, &mut nap) {
                        search.take_over(job);
                        continue;
                    }
                }
            }
            return;
        }
    }
}

/// What a thread does now and then that waits for a job.
type Nap<'a> = dyn FnMut(&mut Search<'_>) -> Option<End> + 'a;

impl Search<'_> {
    fn learned(&self) -> Learned {
        with_ptr(self.ready.world, |w| learned(w))
    }

    /// What all threads know, and whether one of them would have searched in another way, had it known that.
    fn together(&self, mine: &Learned, parts: &[Part]) -> (Learned, bool) {
        let mut all = mine.clone();
        parts.iter().for_each(|part| all.add(&part.learned));
        let each = || std::iter::once(mine).chain(parts.iter().map(|part| &part.learned));
        let outdated = with_ptr(self.ready.world, |w| each().any(|one| outdated(w, one, &all)));
        (all, outdated)
    }
}

/// Ends the search for all if the thread panics: nobody waits for it then.
struct Panics<'a>(&'a Shared<'a>);

impl Drop for Panics<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.end(End::Bounded(crate::vocab::progress::Bound::Stopped));
        }
    }
}

/// What a thread does that helps: what it found, and what it learnt. `origin` is where the search began; a machine that does not look the same there has memory
/// that is not the model's, so its states can't be compared.
fn help(shared: &Shared<'_>, covers: Covers, learned: &Learned, origin: Hash128) -> Option<Part> {
    let ready = Ready::new(shared.options).ok()?;
    with_ptr(ready.world, |w| teach(w, learned));
    if with_ptr(ready.world, World::fingerprint) != origin {
        return None;
    }
    let mut search = Search::new(&ready, shared.options, &shared.table, covers);
    {
        let mut queue = shared.queue();
        if queue.end.is_some() {
            return None;
        }
        queue.threads += 1;
    }
    let mut told = (0, 0, 0);
    let mut report = |found: &mut Found, _: usize| {
        shared.states.fetch_add(found.states - told.0, Relaxed);
        shared.steps.fetch_add(found.steps - told.1, Relaxed);
        shared.bytes.fetch_add(found.bytes - told.2, Relaxed);
        shared.growth.fetch_max(found.growth, Relaxed);
        told = (found.states, found.steps, found.bytes);
        None
    };
    shared.work(&mut search, &mut report, &mut |search, naps| {
        if !naps && shared.pause.load(Relaxed) {
            let (mut queue, mut stood_by) = (shared.queue(), 0);
            while queue.pause.is_some() && queue.end.is_none() {
                queue = shared.stand_by(queue, search, &mut stood_by);
            }
        }
        None
    });
    search.count();
    let found = std::mem::replace(&mut search.found, Found::new());
    Some(Part::of(&mut search, found))
}

/// Searches all states.
pub(crate) fn search(
    ready: &Ready,
    options: &Options,
    began: Instant,
    found: &mut Found,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> End {
    search_from(ready, options, began, found, &mut Way::default(), progress)
}

/// Where a search goes on, and where it was left.
#[derive(Default)]
pub(crate) struct Way {
    /// Taken by who goes on from there.
    pub(crate) from: Option<Checkpoint>,
    /// Keeps the search, if somebody wants that.
    pub(crate) keeper: Option<Box<dyn Keep>>,
    /// It ended early, and was kept, or could not be.
    pub(crate) kept: Option<Result<(), String>>,
}

impl Checkpoint {
    /// Can all that is left to do be done? The sum of a file shows damage, and not who wrote it.
    pub(crate) fn fits(&self, ready: &Ready, options: &Options) -> bool {
        with_ptr(ready.world, |w| teach(w, &self.learned));
        let (table, covers) = (Table::new(), Covers::new());
        let mut search = Search::new(ready, options, &table, covers);
        let fits = self.jobs.iter().all(|job| search.fits(job));
        with_ptr(ready.world, |w| w.undo_to(0));
        fits
    }
}

/// As [`search`], on a way.
pub(crate) fn search_from(
    ready: &Ready,
    options: &Options,
    began: Instant,
    found: &mut Found,
    way: &mut Way,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> End {
    let threads = options.cores();
    let goes_on = way.from.is_some();
    if (threads > 1 || goes_on)
        && let Some(end) = round(ready, options, threads, began, found, way, progress)
    {
        return end;
    }
    round(ready, options, 1, began, found, way, progress).unwrap_or(End::Again)
}

/// Searches all states once. `None`: something was learnt by several threads, and forgotten again.
fn round(
    ready: &Ready,
    options: &Options,
    threads: usize,
    began: Instant,
    found: &mut Found,
    way: &mut Way,
    progress: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Option<End> {
    let from = way.from.take();
    let (mut options, mut covers) = (options.clone(), Covers::new());
    if let Some(from) = &from {
        with_ptr(ready.world, |w| {
            teach(w, &from.learned);
            w.recorder.steps = from.found.steps;
        });
        // A limit is one for this part of the way.
        if options.limits.states != 0 {
            options.limits.states = options.limits.states.saturating_add(from.found.states);
        }
        covers = Covers::of_parts(&from.entries, &from.sets);
    }
    let options = &options;
    let shared = Shared {
        options,
        table: Table::new(),
        queue: Mutex::new(Queue::new()),
        wake: Condvar::new(),
        hungry: AtomicUsize::new(0),
        over: AtomicBool::new(false),
        pause: AtomicBool::new(false),
        states: AtomicU64::new(0),
        steps: AtomicU64::new(0),
        bytes: AtomicU64::new(0),
        growth: AtomicU64::new(0),
    };
    let before = std::mem::replace(found, Found::new());
    let mut main = Search::new(ready, options, &shared.table, covers.another());
    main.found.stable = before.stable;
    let origin = with_ptr(ready.world, World::fingerprint);
    // What was kept when several threads had not learnt the same begins again.
    let goes_on = from.as_ref().is_some_and(|from| !from.states.is_empty());
    match from {
        Some(from) if goes_on => {
            let mut covers = covers.another();
            for (state, cover) in from.states {
                shared.table.visit(state, cover, &mut covers);
            }
            main.found = Found { sample: main.found.sample.take(), ..from.found };
            shared.queue().jobs = from.jobs;
        }
        _ => main.begin(),
    }
    let mut report = |found: &mut Found, depth: usize| {
        let now = Progress {
            states: found.states + shared.states.load(Relaxed),
            steps: found.steps + shared.steps.load(Relaxed),
            runs: 0,
            depth,
            time_ns: began.elapsed().as_nanos() as u64,
        };
        let sets = covers.bytes().0 + shared.table.bytes();
        let bytes = found.bytes + shared.bytes.load(Relaxed) + sets as u64;
        let growth = found.growth.max(shared.growth.load(Relaxed));
        limit_at(options, &now, (bytes, growth), progress).map(End::Bounded)
    };
    let keeper = &mut way.keeper;
    let mut each = |search: &mut Search<'_>, naps: bool| {
        let keeper = keeper.as_deref_mut()?;
        let is_due = if naps { keeper.is_time() } else { keeper.is_due() };
        if is_due { shared.keep(search, &covers, keeper) } else { None }
    };
    let came = if goes_on {
        Came::Far
    } else {
        let alone = |search: &mut Search<'_>| {
            each(search, false);
            threads == 1 || search.found.states < options.spread
        };
        main.go(alone, &mut report)
    };
    let mut others = Vec::new();
    let mut agreed = true;
    let end = match came {
        Came::To(end) => end,
        Came::Through => End::Exhausted,
        Came::Far => {
            let learned = main.learned();
            let kept = with_ptr(ready.world, |w| {
                (w.reduction.classes.clone(), w.reduction.movers.points().collect::<Vec<_>>())
            });
            let helpers = Mutex::new(Vec::new());
            thread::scope(|scope| {
                let _panics = Panics(&shared);
                for _ in 1..threads {
                    let helper = || {
                        let _panics = Panics(&shared);
                        let theirs = help(&shared, covers.another(), &learned, origin);
                        helpers.lock().unwrap_or_else(PoisonError::into_inner).extend(theirs);
                    };
                    // With fewer threads the same comes out.
                    if thread::Builder::new().spawn_scoped(scope, helper).is_err() {
                        break;
                    }
                }
                shared.work(&mut main, &mut report, &mut each);
            });
            let mut end = shared.queue().end.unwrap_or(End::Exhausted);
            others = helpers.into_inner().unwrap_or_else(PoisonError::into_inner);
            let (all, outdated) = main.together(&main.learned(), &others);
            agreed = !outdated;
            if end == End::Exhausted && outdated {
                end = End::Again;
            }
            if end == End::Again && goes_on {
                // One thread from the beginning could be cut before it has learnt the same, and that each time.
                with_ptr(ready.world, |w| teach(w, &all));
                return Some(end);
            }
            if end == End::Again {
                with_ptr(ready.world, |w| {
                    w.undo_to(0);
                    w.reduction.classes = kept.0;
                    w.reduction.movers.set_points(&kept.1);
                });
                return None;
            }
            with_ptr(ready.world, |w| teach(w, &all));
            end
        }
    };
    main.count();
    main.found.bytes += (covers.bytes().0 + shared.table.bytes()) as u64;
    if let Some(keeper) =
        way.keeper.as_deref_mut().filter(|_| matches!(end, End::Bounded(by) if by != Bound::Violation))
    {
        let (left, learned) = (main.left(), main.learned());
        let queue = shared.queue();
        let parts = others.iter().filter_map(|part| part.left.as_ref());
        let nothing = Found::new();
        let mut snapshot = Snapshot {
            birth: keeper.birth(),
            time_ns: keeper.time_ns(),
            learned: &learned,
            seen: Some((&covers, &shared.table)),
            jobs: left.iter().chain(parts).chain(&queue.jobs).collect(),
            found: std::iter::once(&main.found).chain(others.iter().map(|part| &part.found)).collect(),
        };
        if !agreed {
            // Some thread would have seen more, had it known what another one did.
            (snapshot.seen, snapshot.jobs, snapshot.found) = (None, Vec::new(), vec![&nothing]);
        }
        way.kept = Some(keeper.write(options, &snapshot));
    }
    *found = main.found;
    for part in others {
        found.add(part.found);
    }
    if end == End::Exhausted {
        found.expect_an_end();
    }
    Some(end)
}
