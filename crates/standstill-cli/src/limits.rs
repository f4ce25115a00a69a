//! What the system allows this process, looked at before the work: where it is too little, that is one line, and no panic
//! in the middle of a machine.

use std::sync::{Arc, Mutex};
use std::thread::Builder;

/// The stack of a thread that is tried.
const STACK: usize = 128 << 10;

/// Can so many threads run at the same time? They are started, and ended again.
///
/// # Errors
/// In words.
pub(crate) fn look(threads: usize) -> Result<(), String> {
    let mut started = Vec::with_capacity(threads);
    // Each waits until this lock is free, so all are there at once.
    let gate = Arc::new(Mutex::new(()));
    let shut = gate.lock();
    let mut refused = None;
    for _ in 0..threads {
        let gate = Arc::clone(&gate);
        match Builder::new().stack_size(STACK).spawn(move || drop(gate.lock())) {
            Ok(thread) => started.push(thread),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    drop(shut);
    let count = started.len();
    // They only wait: none panics.
    started.into_iter().for_each(|thread| drop(thread.join()));
    match refused {
        None => Ok(()),
        Some(error) => Err(format!(
            "{threads} threads are needed, and the system allows {count}: {error}; raise the limit (`ulimit -u`, \
             `ulimit -v`), or ask for less"
        )),
    }
}

/// In words: the system refuses the thread that is to do `what`.
pub(crate) fn no_thread(what: &str, error: &std::io::Error) -> String {
    format!(
        "the system gives no thread to {what}: {error}; raise the limit (`ulimit -u`, `ulimit -v`), or ask for less"
    )
}
