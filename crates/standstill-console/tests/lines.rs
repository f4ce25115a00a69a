//! Every command with what may stand behind it and what may not, and every byte in a line.

use standstill::CpuId;
use standstill::hotplug::StateId;
use standstill_console::{
    Command, END_OF_INPUT, Editor, Key, MAX_LINE, MAX_SECONDS, MAX_TIMES, Refusal, Unfit, help, parse,
};

const CPUS: usize = 4;
const COMMANDS: [&str; 17] = [
    "cpus", "up", "down", "cycle", "states", "fill", "fail", "log", "torture", "bench", "panic", "hang",
    "freeze", "lost", "watchdog", "exit", "help",
];
/// Those that need no more than their name.
const PLAIN: [&str; 8] = ["cpus", "states", "fill", "bench", "panic", "lost", "exit", "help"];

/// What a reader gets for a line that was refused: one line, and not a long one.
fn refused(line: &str) -> String {
    let refusal = match parse(line, CPUS) {
        Err(refusal) => refusal.to_string(),
        Ok(command) => panic!("{line:?} became {command:?}"),
    };
    assert!(!refusal.contains(char::is_control) && refusal.len() <= 300, "{refusal:?}");
    refusal
}

#[test]
fn every_command_is_understood() {
    let (one, state) = (CpuId::new(1), StateId::from_index(36).unwrap());
    let all = [
        ("", Command::Nothing),
        (" \t ", Command::Nothing),
        ("help", Command::Help),
        ("cpus", Command::Cpus),
        ("up 1", Command::Up(one)),
        ("down 01", Command::Down(one)),
        ("cycle 1", Command::Cycle { cpu: one, times: 100 }),
        ("cycle 1 7", Command::Cycle { cpu: one, times: 7 }),
        ("cycle 1 1000000", Command::Cycle { cpu: one, times: MAX_TIMES }),
        ("states", Command::States),
        ("fill", Command::Fill),
        ("fail 1 online/1", Command::Fail { cpu: one, state }),
        ("fail 1 36", Command::Fail { cpu: one, state }),
        ("log 1", Command::Log(one)),
        ("torture 3", Command::Torture { seconds: 3, preset: None }),
        ("torture 3 refuse", Command::Torture { seconds: 3, preset: Some("refuse") }),
        ("bench", Command::Bench),
        ("panic", Command::Panic),
        ("hang 1", Command::Hang(one)),
        ("freeze 1", Command::Freeze(one)),
        ("lost", Command::Lost),
        ("watchdog 604800", Command::Watchdog { seconds: MAX_SECONDS }),
        ("  exit  ", Command::Exit),
    ];
    for (line, command) in all {
        assert_eq!(parse(line, CPUS), Ok(command), "{line:?}");
    }
    let listed = help().to_string();
    for command in COMMANDS {
        let named = |line: &str| line.split_ascii_whitespace().next() == Some(command);
        assert!(listed.lines().any(named), "`help` leaves out `{command}`");
        assert!(!matches!(parse(command, CPUS), Err(Refusal::Unknown(_))), "{command}");
    }
    assert_eq!(listed.lines().count(), COMMANDS.len());
}

/// What is no number of a CPU, of times, or of seconds.
const NO_NUMBERS: [&str; 14] = [
    "-1",
    "+1",
    "1.5",
    "1e3",
    "0x1",
    "one",
    "1,",
    "18446744073709551616",
    "99999999999999999999999999",
    "-9223372036854775808",
    "NaN",
    "1_0",
    "\u{661}",
    "''",
];

#[test]
fn what_is_no_number_is_refused_and_not_replaced() {
    for word in NO_NUMBERS {
        for command in ["up", "down", "log", "hang", "freeze", "cycle"] {
            assert!(refused(&format!("{command} {word}")).contains("0 to 3"), "{command} {word}");
        }
        assert!(refused(&format!("fail {word} online/1")).contains("0 to 3"));
        assert!(refused(&format!("cycle 1 {word}")).contains("1 to 1000000"), "{word}");
        for command in ["torture", "watchdog"] {
            assert!(refused(&format!("{command} {word}")).contains("1 to 604800"), "{command} {word}");
        }
    }
    // One below and one above what there is.
    for (line, allowed) in [
        ("up 4", "0 to 3"),
        ("cycle 1 0", "1 to 1000000"),
        ("cycle 1 1000001", "1 to 1000000"),
        ("torture 0", "1 to 604800"),
        ("torture 604801", "1 to 604800"),
        ("watchdog 0", "1 to 604800"),
        ("watchdog 18446744074", "1 to 604800"),
    ] {
        assert!(refused(line).contains(allowed), "{line}");
    }
    for word in ["", "online", "online/32", "prepare/-1", "68", "online/1x", "/", "Online/1"] {
        assert!(refused(&format!("fail 1 {word}")).contains("a state"), "{word}");
    }
}

#[test]
fn what_is_missing_or_too_much_is_refused() {
    for command in COMMANDS {
        if !PLAIN.contains(&command) {
            assert!(refused(command).contains("needs"), "{command}");
        }
    }
    for line in PLAIN.iter().map(|name| name.to_string()).chain(
        ["up 1", "down 1", "cycle 1 5", "fail 1 online/1", "log 1", "torture 1 refuse", "hang 1", "freeze 1"]
            .map(String::from),
    ) {
        assert!(parse(&line, CPUS).is_ok(), "{line}");
        assert!(refused(&format!("{line} 2")).contains("does not take `2`"), "{line}");
    }
    assert!(refused("Exit").contains("no command `Exit`"));
    let long = "x".repeat(100_000);
    assert!(refused(&long).contains("xxx...`"));
    assert!(refused(&format!("up {long}")).contains("xxx...`"));
    assert!(refused("up \u{1b}[31m").contains("`?[31m`"), "an escape sequence is not repeated");
}

/// Types `bytes`, and returns the lines and what was shown.
fn typed(bytes: &[u8]) -> (Vec<Result<String, Unfit>>, String) {
    let (mut editor, mut lines, mut shown) = (Editor::new(), Vec::new(), String::new());
    for byte in bytes {
        match editor.take(*byte) {
            Key::Echo(c) => shown.push(c),
            Key::Erase => {
                shown.pop();
            }
            Key::Line => {
                lines.push(editor.line().map(String::from));
                editor.clear();
                shown.clear();
            }
            Key::Drop => shown.clear(),
            Key::End | Key::Nothing => {}
        }
        assert!(editor.line().is_err() || editor.line() == Ok(shown.as_str()), "{bytes:?}");
    }
    (lines, shown)
}

#[test]
fn lines_end_once_and_can_be_edited() {
    let line = |bytes: &[u8]| typed(bytes).0;
    assert_eq!(
        line(b"up 1\r\ncpus\n\nup 2\r"),
        [Ok("up 1".into()), Ok("cpus".into()), Ok("".into()), Ok("up 2".into())]
    );
    assert_eq!(line(b"\x08\x7fupp\x7f\x08p 1\n"), [Ok("up 1".into())]);
    assert_eq!(line(b"down 1\x03up 1\x15cpus\n"), [Ok("cpus".into())], "Ctrl-C and Ctrl-U");
    assert_eq!(line(b"up\t1\n"), [Ok("up 1".into())]);
    // Arrows, Delete, F1, Alt-x, and one that the end of the line cuts.
    assert_eq!(line(b"cp\x1b[A\x1b[3~us\x1bOP\x1bx\x1b[1\nexit\n"), [Ok("cpus".into()), Ok("exit".into())]);
}

#[test]
fn a_line_with_a_byte_that_does_not_belong_is_no_other_command() {
    for byte in (0..=u8::MAX).filter(|byte| !(b' '..=b'~').contains(byte)) {
        let (lines, _) = typed(&[b'e', b'x', byte, b'i', b't', b'\n', b'c', b'p', b'u', b's', b'\n']);
        // What ends lines, edits them, or begins a sequence is tried above.
        if [3, END_OF_INPUT, 8, b'\t', b'\n', b'\r', 21, 27, 127].contains(&byte) {
            continue;
        }
        assert_eq!(lines, [Err(Unfit::Byte(byte)), Ok("cpus".into())]);
        assert!(Unfit::Byte(byte).to_string().contains(&format!("{byte:#04x}")));
    }
    let (lines, _) = typed("cpüs\ncpus\n".as_bytes());
    assert_eq!(lines, [Err(Unfit::Byte(0xc3)), Ok("cpus".into())]);
}

#[test]
fn a_long_line_is_refused_and_the_next_one_is_not() {
    let (fits, long) = ("x".repeat(MAX_LINE), "x".repeat(MAX_LINE + 1));
    let (lines, _) = typed(format!("{fits}\n{long}\n{}\ncpus\n", long.repeat(1000)).as_bytes());
    assert_eq!(lines, [Ok(fits), Err(Unfit::Long), Err(Unfit::Long), Ok("cpus".into())]);
}

#[test]
fn the_end_of_the_input_keeps_the_line_that_was_begun() {
    let mut editor = Editor::new();
    assert_eq!((editor.take(END_OF_INPUT), editor.is_empty()), (Key::End, true));
    editor.take(b'x');
    assert_eq!((editor.take(END_OF_INPUT), editor.line()), (Key::End, Ok("x")));
}

/// A megabyte from a fixed seed: half of it plain noise, half made of what the console knows.
#[test]
fn a_megabyte_of_anything_is_answered_in_single_lines() {
    let mut state = 1_u64;
    let mut random = move |n: usize| {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 33) as usize % n
    };
    let words = ["1", "-1", "online/1", "99999999999999999999", "\0", "ü", "\x1b[A", "\t", "refuse", "\r"];
    let mut bytes = Vec::new();
    while bytes.len() < 1 << 20 {
        match random(4) {
            0 | 1 => bytes.extend((0..random(40)).map(|_| random(256) as u8)),
            2 => bytes.extend(COMMANDS[random(COMMANDS.len())].as_bytes()),
            _ => bytes.extend(words[random(words.len())].as_bytes()),
        }
        bytes.push(b"  \n\r"[random(4)]);
    }
    let (lines, _) = typed(&bytes);
    let (mut good, mut bad) = (0, 0);
    for line in &lines {
        match line {
            Err(unfit) => assert!(unfit.to_string().len() <= 300),
            Ok(line) if parse(line, CPUS).is_ok() => good += 1,
            Ok(line) => {
                refused(line);
                bad += 1;
            }
        }
    }
    assert!(lines.len() > 10_000 && good > 1_000 && bad > 1_000, "{} {good} {bad}", lines.len());
}
