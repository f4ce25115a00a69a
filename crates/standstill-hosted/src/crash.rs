//! A panic on a CPU ends the process, and says why without a lock.
//!
//! It may come from a handler, on top of code that holds any lock of libc or std; the standard hook takes some of them.
//! So ours only writes. (Formatting a panic's message may allocate before the hook is called: a panic with a message
//! that has no arguments is the safest kind in a handler.)

use std::panic;
use std::sync::Once;

use crate::board::try_here;
use crate::os::write_err;

/// Installs the hook, once for the process. Panics elsewhere go to the hook that was there before.
pub(crate) fn install_hook() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let Some(cpu) = try_here() else { return before(info) };
            let payload = info.payload();
            let message = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no message");
            let thread = cpu.thread().map_or("its idle context", |t| t.name);
            let mut cpu_digits = [0; 20];
            let mut line_digits = [0; 20];
            let cpu = decimal(cpu.id.index(), &mut cpu_digits);
            write_err(&["standstill-hosted: panic on CPU ", cpu, " (", thread, ")"]);
            if let Some(at) = info.location() {
                write_err(&[" at ", at.file(), ":", decimal(at.line() as usize, &mut line_digits)]);
            }
            write_err(&[": ", message, "\n"]);
            std::process::abort();
        }));
    });
}

/// `n` in decimal, without an allocation.
fn decimal(mut n: usize, buffer: &mut [u8; 20]) -> &str {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    str::from_utf8(&buffer[at..]).unwrap_or("?")
}

#[cfg(test)]
mod tests {
    use super::decimal;

    #[test]
    fn numbers_are_written_without_format() {
        for n in [0, 7, 10, 4096, usize::MAX] {
            assert_eq!(decimal(n, &mut [0; 20]), n.to_string());
        }
    }
}
