//! What memory held before it was changed, so that it can be put back.

use std::mem::MaybeUninit;

/// What was at a place of memory. Most of what changes is a word: that is kept here.
enum Old {
    Word { place: *mut Word, was: Word },
    Bytes { place: *mut u8, len: usize, from: usize },
}

/// Not a number: it may be a pointer, and parts of it may never have been written.
type Word = MaybeUninit<usize>;

/// All that was changed since the log was switched on, the oldest first.
#[derive(Default)]
pub(crate) struct Log {
    on: bool,
    bytes: Vec<u8>,
    olds: Vec<Old>,
}

impl Log {
    /// Changes are noted from here on, or not.
    pub(crate) const fn switch(&mut self, on: bool) {
        self.on = on;
    }

    /// How many changes were noted.
    pub(crate) fn len(&self) -> usize {
        self.olds.len()
    }

    /// How many bytes the log takes.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity() + self.olds.capacity() * size_of::<Old>()
    }

    /// Puts back all but the first `len` changes, the last one first.
    pub(crate) fn undo_to(&mut self, len: usize) {
        while self.olds.len() > len {
            match self.olds.pop() {
                // SAFETY: the place was memory of the machine or of a stack when it was saved, and is mapped until the world ends.
                Some(Old::Word { place, was }) => unsafe { place.write_unaligned(was) },
                Some(Old::Bytes { place, len, from }) => {
                    let was = self.bytes[from..from + len].as_ptr();
                    // SAFETY: as above.
                    unsafe { std::ptr::copy_nonoverlapping(was, place, len) };
                    self.bytes.truncate(from);
                }
                None => {}
            }
        }
    }

    /// Memory is about to change.
    ///
    /// # Safety
    /// `len` bytes can be read at `place`.
    pub(crate) unsafe fn memory(&mut self, place: usize, len: usize) {
        if !self.on {
            return;
        }
        if len == size_of::<Word>() {
            let place = place as *mut Word;
            // SAFETY: the contract of this function; any bytes are a `MaybeUninit`.
            let was = unsafe { place.read_unaligned() };
            self.olds.push(Old::Word { place, was });
            return;
        }
        self.olds.push(Old::Bytes { place: place as *mut u8, len, from: self.bytes.len() });
        // SAFETY: the contract of this function; what is copied may be uninitialised, and is only copied back.
        self.bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(place as *const u8, len) });
    }
}

/// Notes the old value of something that lives as long as the exploration.
pub(crate) fn keep<T>(log: &mut Log, value: &T) {
    // SAFETY: the value can be read, and it lies in memory that is not moved while steps can be undone.
    unsafe { log.memory(std::ptr::from_ref(value).addr(), size_of::<T>()) };
}
