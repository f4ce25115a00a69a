//! Misuse that must not compile. A line `//~ CODE: words` says which error the line below it has, and words that a user sees.
//!
//! The rest of a message belongs to the compiler: it differs between versions, and with the components that are installed
//! (with the standard library's source at hand, it quotes from there).

mod compiler;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use compiler::Library;

use serde_json::Value;

/// An error: its code, and the line that the compiler points at first.
type Error = (String, usize);

/// The errors that a file announces, each with its words.
fn announced(source: &str) -> Vec<(Error, &str)> {
    let lines = source.lines().enumerate();
    lines
        .filter_map(|(index, line)| {
            let (code, words) = line.trim_start().strip_prefix("//~ ")?.split_once(": ")?;
            // Lines are counted from one, and the error is in the next.
            Some(((code.into(), index + 2), words))
        })
        .collect()
}

/// The compiler's own words in `message`: its labels and notes too, and not the lines of code that it quotes, which hold our
/// announcement.
fn words(message: &Value) -> String {
    let list = |field: &str| message[field].as_array().into_iter().flatten();
    let labels = list("spans").filter_map(|span| span["label"].as_str().map(String::from));
    let own = message["message"].as_str().map(String::from);
    own.into_iter().chain(labels).chain(list("children").map(words)).collect::<Vec<_>>().join("\n")
}

/// The errors that the compiler finds, each with its words.
fn found(diagnostics: &str) -> Vec<(Error, String)> {
    let messages = diagnostics.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    messages
        .filter(|message| message["level"] == "error")
        .filter_map(|message| {
            // The last one only says how many there were: it has no place.
            let spans = message["spans"].as_array()?.iter();
            let span = spans.into_iter().find(|span| span["is_primary"] == true)?;
            let line = usize::try_from(span["line_start"].as_u64()?).ok()?;
            let code = message["code"]["code"].as_str().unwrap_or("no code");
            Some(((code.into(), line), words(&message)))
        })
        .collect()
}

/// What is wrong with the errors of `file`, if anything.
fn complaint(library: &Library, file: &Path) -> Option<String> {
    let source = fs::read_to_string(file).expect("the folder was just listed");
    let announced = announced(&source);
    if announced.is_empty() {
        return Some("no line announces an error".into());
    }
    let name = file.to_str().expect("the names are ours");
    let uses = library.args();
    let out = format!("{}/ui", env!("CARGO_TARGET_TMPDIR"));
    let mut args = vec!["--emit", "metadata", "--error-format=json", "--out-dir", &out, name];
    args.extend(uses.iter().map(String::as_str));
    let output = compiler::rustc(&args);
    let text = String::from_utf8_lossy(&output.stderr);
    let found = found(&text);
    let errors = |all: Vec<Error>| all.into_iter().collect::<BTreeSet<_>>();
    let (want, have) = (
        errors(announced.iter().map(|(error, _)| error.clone()).collect()),
        errors(found.iter().map(|(error, _)| error.clone()).collect()),
    );
    if want != have {
        return Some(format!("errors expected: {want:?}, found: {have:?}\n{text}"));
    }
    announced.iter().find_map(|(error, words)| {
        let says = found.iter().any(|(other, text)| other == error && text.contains(words));
        (!says).then(|| format!("{error:?} does not say `{words}`:\n{text}"))
    })
}

#[test]
#[cfg_attr(miri, ignore = "runs the compiler")]
fn misuse_does_not_compile() {
    let library = Library::build("ui");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let files =
        fs::read_dir(folder).expect("it is part of the crate").map(|entry| entry.expect("readable").path());
    let files: Vec<_> = files.filter(|file| file.extension().is_some_and(|kind| kind == "rs")).collect();
    assert!(!files.is_empty(), "the folder is empty");
    let complaints: Vec<_> = files
        .iter()
        .filter_map(|file| complaint(&library, file).map(|why| format!("{}: {why}", file.display())))
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}
