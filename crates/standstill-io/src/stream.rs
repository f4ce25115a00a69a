//! The two standard streams.
//!
//! Standard output carries what was asked for, standard error all else. A reader of standard output that leaves is no
//! failure: it has read what it wanted, and the exit code says the rest. A disk that is full is one: what could not be
//! printed is said on standard error, in one line. A standard error that can't be written leaves nowhere to say so.

use std::io::{stderr, stdout};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{FileType, fstat, fstatvfs};
use rustix::io::Errno;

use crate::words::{escape, one_line};

/// Nothing could be done: the command line, a file or the system stands in the way.
pub const USAGE: u8 = 2;

/// Writes all of it, whatever kind of stream it is. One call for a short text, so that the lines of two threads do not
/// mix.
fn write_all(to: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(to, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::INTR) => {}
            // Somebody else who has the stream, too, made it non-blocking.
            Err(Errno::AGAIN) => match poll(&mut [PollFd::new(&to, PollFlags::OUT)], None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Can `to` be written at all? A pipe without a reader can: the reader had enough.
pub(crate) fn can_write(to: BorrowedFd<'_>) -> Result<(), Errno> {
    let is_file = fstat(to).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file());
    match rustix::io::write(to, &[]) {
        Ok(_) | Err(Errno::PIPE | Errno::INTR | Errno::AGAIN) => {}
        Err(error) => return Err(error),
    }
    // An empty write to a full disk succeeds. A file system without a size has no blocks at all.
    match fstatvfs(to) {
        Ok(disk) if is_file && disk.f_blocks > 0 && disk.f_bfree == 0 => Err(Errno::NOSPC),
        _ => Ok(()),
    }
}

/// Looks, before any work is done, whether standard output can be written. From now on a file that would become longer
/// than this process may make it is an error, as a full disk is, and no signal that ends the process.
///
/// # Errors
/// In words.
pub fn probe() -> Result<(), String> {
    // SAFETY: no handler is installed; what the signal would tell, the system call that is too long says, too.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    can_write(stdout().as_fd()).map_err(|error| format!("standard output can't be written: {error}"))
}

/// Prints `text`, all that the command was asked for, and returns the exit code: `exit`, unless the text could not be
/// printed and nothing else failed. `verdict`, if there is one, is said on standard error then, so that it is never lost.
#[must_use]
pub fn answer(text: &str, verdict: Option<&str>, exit: u8) -> u8 {
    match write_all(stdout().as_fd(), text.as_bytes()) {
        Ok(()) | Err(Errno::PIPE) => exit,
        Err(error) => {
            let verdict = verdict.map_or_else(String::new, |verdict| format!("verdict: {verdict}; "));
            refuse(&format!("{verdict}standard output can't be written: {error}"));
            if exit == 0 { USAGE } else { exit }
        }
    }
}

/// Prints a piece of a conversation, as it comes; false if nobody reads it any more.
#[must_use]
pub fn pass_on(piece: &[u8]) -> bool {
    write_all(stdout().as_fd(), piece).is_ok()
}

/// Says something on standard error, in one line: progress, remarks.
pub fn note(line: &str) {
    // There is nowhere to say that this failed.
    let _ = write_all(stderr().as_fd(), format!("{}\n", escape(line)).as_bytes());
}

/// Says on standard error what is wrong, in one short line, and returns the exit code for it.
pub fn refuse(error: &str) -> u8 {
    note(&one_line(&format!("standstill: {error}")));
    USAGE
}

/// As [`refuse`], in the middle of something that can't be undone step by step: ends the process at once.
pub fn stop(error: &str) -> ! {
    let exit = refuse(error);
    // SAFETY: it only ends the process. No destructor and no other thread is waited for.
    unsafe { libc::_exit(exit.into()) }
}

/// There is no memory, not even for a message: says so, and ends the process at once.
pub fn out_of_memory() -> ! {
    const LINE: &str = "standstill: the system gives this process no more memory: raise the limit \
                        (`ulimit -v`, `ulimit -d`), or ask for less\n";
    // There is nowhere to say that this failed.
    let _ = write_all(stderr().as_fd(), LINE.as_bytes());
    // SAFETY: as above.
    unsafe { libc::_exit(USAGE.into()) }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;

    use super::*;

    #[test]
    fn a_full_disk_and_a_stream_for_reading_only_are_noticed_before_the_work() {
        let full = File::options().write(true).open("/dev/full").expect("Linux has it");
        assert_eq!(can_write(full.as_fd()), Err(Errno::NOSPC));
        let null = File::open("/dev/null").expect("Linux has it");
        assert_eq!(can_write(null.as_fd()), Err(Errno::BADF));
        let null = File::options().write(true).open("/dev/null").expect("Linux has it");
        assert_eq!(can_write(null.as_fd()), Ok(()));
    }

    #[test]
    fn a_pipe_without_a_reader_is_no_reason_not_to_begin() {
        let (reader, writer) = std::io::pipe().expect("two descriptors");
        drop(reader);
        assert_eq!(can_write(writer.as_fd()), Ok(()));
        assert_eq!(write_all(writer.as_fd(), b"x"), Err(Errno::PIPE));
    }

    #[test]
    fn a_stream_that_does_not_block_gets_all_of_it() {
        let (mut reader, writer) = std::io::pipe().expect("two descriptors");
        rustix::io::ioctl_fionbio(&writer, true).expect("it is a pipe");
        let reads = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all.len())
        });
        assert_eq!(write_all(writer.as_fd(), &vec![7; 1 << 20]), Ok(()));
        drop(writer);
        assert_eq!(reads.join().expect("it reads").expect("a pipe"), 1 << 20);
    }
}
