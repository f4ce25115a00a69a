//! What is typed on the console: from this command's input to the machine's serial port.

use std::io::{self, IsTerminal, Read, Write, stdin};
use std::process::ChildStdin;
use std::sync::mpsc::Receiver;
use std::thread;

use rustix::termios::{
    InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use standstill_console::END_OF_INPUT;

/// The terminal passes each key on at once and echoes none: the kernel does. Dropped, it is as it was.
pub(super) struct Keys(Option<Termios>);

impl Keys {
    /// Nothing changes if the input is no terminal.
    pub(super) fn pass() -> Self {
        let before = stdin().is_terminal().then(|| tcgetattr(stdin()).ok()).flatten();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.input_modes -= InputModes::ICRNL | InputModes::INLCR | InputModes::IGNCR | InputModes::IXON;
            // Ctrl-C stays a signal: it ends a machine that hangs.
            raw.local_modes -=
                LocalModes::ICANON | LocalModes::ECHO | LocalModes::ECHONL | LocalModes::IEXTEN;
            raw.special_codes[SpecialCodeIndex::VMIN] = 1;
            raw.special_codes[SpecialCodeIndex::VTIME] = 0;
            // Where that is refused, the terminal sends whole lines: usable as well.
            let _ = tcsetattr(stdin(), OptionalActions::Now, &raw);
        }
        Keys(before)
    }

    /// Is somebody typing?
    pub(super) fn are_typed(&self) -> bool {
        self.0.is_some()
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = tcsetattr(stdin(), OptionalActions::Now, before);
        }
    }
}

/// Passes this command's input on once `ready` says so, and then its end.
///
/// The port loses what comes before the kernel has set it up. The byte that means the end is kept back
/// where it comes from a file: there it is an accident.
pub(super) fn forward(mut serial: ChildStdin, ready: Receiver<()>, by_keys: bool) -> io::Result<()> {
    let pass_on = move || {
        if ready.recv().is_err() {
            return;
        }
        let mut bytes = [0; 4096];
        while let Ok(n @ 1..) = stdin().read(&mut bytes) {
            let mut typed = bytes[..n].to_vec();
            typed.retain(|byte| by_keys || *byte != END_OF_INPUT);
            if serial.write_all(&typed).and_then(|()| serial.flush()).is_err() {
                // The machine has ended.
                return;
            }
        }
        // The kernel ends when it has done what came before.
        let _ = serial.write_all(&[END_OF_INPUT]).and_then(|()| serial.flush());
    };
    // It ends with the process: a read that nobody answers can't be ended otherwise.
    thread::Builder::new().name("typed".into()).spawn(pass_on).map(drop)
}
