//! Errors that are planted, to see that each kind of them is noticed: `--self-test`.

use std::ffi::OsString;

use standstill_io::note;

/// What a command must not do, and in which words that is told; and one that is good.
pub(crate) const PLANTED: [(&str, &str); 13] = [
    ("good", ""),
    ("panic", "exit 101: "),
    ("quiet-panic", "panicked at"),
    ("abort", "SIGABRT"),
    ("exit-code", "exit 3"),
    ("no-error", "exit 2, and 0 errors"),
    ("two-errors", "exit 2, and 2 errors"),
    ("long-error", "an error of 3"),
    ("more-lines", "more than the error is said"),
    ("escapes", "prints the character '\\u{1b}'"),
    ("memory", "SIGABRT"),
    ("hang", "SIGINT"),
    ("hang-for-good", "hangs"),
];

/// Does what is planted, if `line` asks for that.
pub(crate) fn run(line: &[OsString]) -> Option<u8> {
    let what = line.get(1)?.to_str()?.strip_prefix("--planted=")?;
    let error = |words: &str| note(&format!("standstill: {words}"));
    match what {
        "good" => error("it is good"),
        "panic" => panic!("planted"),
        "quiet-panic" => note("thread 'main' panicked at a place"),
        "abort" => std::process::abort(),
        "exit-code" => return Some(3),
        "no-error" => {}
        "two-errors" => (0..2).for_each(|_| error("it is wrong")),
        "long-error" => error(&"x".repeat(300)),
        "more-lines" => {
            error("it is wrong");
            note("and here is more");
        }
        "escapes" => {
            // `note` would escape it.
            let _ = rustix::io::write(std::io::stderr(), b"standstill: \x1b[31m\n");
        }
        "memory" => {
            let mut all = Vec::new();
            while all.len() < 1 << 20 {
                all.push(vec![0_u8; 1 << 20]);
            }
        }
        _ => {
            // Ctrl-C ends what is long, unless it is heard and forgotten.
            if what == "hang-for-good" {
                let _ = ctrlc::set_handler(|| ());
            }
            loop {
                std::thread::park();
            }
        }
    }
    Some(2)
}
