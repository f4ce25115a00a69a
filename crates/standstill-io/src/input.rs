//! Files that are read. Whatever a path names, reading it ends soon and takes little memory: only regular files are
//! read, what has the wrong beginning is not read on, and each kind has a largest size.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, ErrorKind, Read, Take};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

use crate::words;

/// A kind of file.
#[derive(Clone, Copy, Debug)]
pub struct Kind<'a> {
    /// In errors: `a replay file`.
    pub name: &'a str,
    /// How it begins, one of these.
    pub magic: &'a [&'a str],
    /// Its largest size, in bytes.
    pub most: u64,
    /// Its longest line, for [`read_text`].
    pub line: u64,
}

/// What keeps a file from being used.
#[derive(Debug)]
pub enum Unreadable {
    /// There is none.
    Missing(String),
    /// Anything else.
    Other(String),
}

impl Unreadable {
    /// In words, with the file's name.
    #[must_use]
    pub fn text(self) -> String {
        match self {
            Unreadable::Missing(text) | Unreadable::Other(text) => text,
        }
    }
}

/// What `meta` is of, if it is no regular file.
pub(crate) fn other_kind(meta: &std::fs::Metadata) -> Option<&'static str> {
    let kind = meta.file_type();
    Some(match () {
        () if kind.is_file() => return None,
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    })
}

/// Opens a regular file. A pipe or a device is opened without waiting for the other side, and refused.
fn open(path: &Path) -> Result<(File, u64), Unreadable> {
    let name = words::path(path);
    let fails = |error: io::Error| {
        let text = format!("{name} can't be read: {error}");
        if error.kind() == ErrorKind::NotFound { Unreadable::Missing(text) } else { Unreadable::Other(text) }
    };
    // A name that ends with a slash, or an empty one, is found out here, too. Looked at before it is opened: opening a
    // device may do something to it.
    let wrong = |what: &str| Unreadable::Other(format!("{name} is {what}, and not a regular file"));
    if let Some(what) = other_kind(&std::fs::metadata(path).map_err(fails)?) {
        return Err(wrong(what));
    }
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(fails)?;
    let meta = file.metadata().map_err(fails)?;
    match other_kind(&meta) {
        Some(what) => Err(wrong(what)),
        None => Ok((file, meta.len())),
    }
}

/// Is this a regular file that can be read? For files that another program reads.
///
/// # Errors
/// In words.
pub fn look(path: &Path) -> Result<u64, String> {
    open(path).map(|(_, size)| size).map_err(Unreadable::text)
}

/// A file of the right kind, from its beginning: no more is read of it than is wanted.
pub type Source = BufReader<Take<Chain<Cursor<Vec<u8>>, File>>>;

/// Opens a file of this kind; and its size, as the system says it.
///
/// # Errors
/// It is none of this kind, and why.
pub fn source(path: &Path, kind: Kind<'_>) -> Result<(Source, u64), Unreadable> {
    let (file, size) = open(path)?;
    let name = words::path(path);
    let other = |text: String| Unreadable::Other(text);
    let longest = kind.magic.iter().map(|magic| magic.len() as u64).max().unwrap_or(0);
    let mut begin = Vec::new();
    let read = (&file).take(longest).read_to_end(&mut begin);
    read.map_err(|error| other(format!("{name} can't be read: {error}")))?;
    if !kind.magic.iter().any(|magic| begin.starts_with(magic.as_bytes())) {
        let magic = kind.magic.iter().map(|magic| format!("`{}`", magic.trim_end()));
        let magic = magic.collect::<Vec<_>>().join(" or ");
        return Err(other(format!("{name} is not {}: it does not begin with {magic}", kind.name)));
    }
    if size > kind.most {
        return Err(too_long(path, kind));
    }
    // The size is only what somebody says: files of /proc say 0, and others grow. One byte more shows that.
    Ok((BufReader::new(Cursor::new(begin).chain(file).take(kind.most.saturating_add(1))), size))
}

fn too_long(path: &Path, kind: Kind<'_>) -> Unreadable {
    let name = words::path(path);
    Unreadable::Other(format!("{name} is too long for {}: at most {} bytes", kind.name, kind.most))
}

/// Reads the whole file.
///
/// # Errors
/// It is none of this kind, and why.
pub fn read(path: &Path, kind: Kind<'_>) -> Result<Vec<u8>, Unreadable> {
    let (mut source, _) = source(path, kind)?;
    let mut bytes = Vec::new();
    source
        .read_to_end(&mut bytes)
        .map_err(|error| Unreadable::Other(format!("{} can't be read: {error}", words::path(path))))?;
    if bytes.len() as u64 > kind.most { Err(too_long(path, kind)) } else { Ok(bytes) }
}

/// Reads the whole file, which is text.
///
/// # Errors
/// It is none of this kind, and why.
pub fn read_text(path: &Path, kind: Kind<'_>) -> Result<String, String> {
    let (mut source, _) = source(path, kind).map_err(Unreadable::text)?;
    let name = words::path(path);
    let mut bytes = Vec::new();
    for line in 1.. {
        let read = (&mut source).take(kind.line.saturating_add(1)).read_until(b'\n', &mut bytes);
        let read = read.map_err(|error| format!("{name} can't be read: {error}"))? as u64;
        if read > kind.line {
            return Err(format!("{name}, line {line}: it is longer than {} bytes", kind.line));
        }
        if bytes.len() as u64 > kind.most {
            return Err(too_long(path, kind).text());
        }
        if read == 0 {
            break;
        }
    }
    String::from_utf8(bytes)
        .map_err(|error| format!("{name} is damaged: byte {} is no text", error.utf8_error().valid_up_to()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind<'_> = Kind { name: "a test file", magic: &["{", "test "], most: 20, line: 15 };

    fn error(path: &Path) -> String {
        read(path, KIND).expect_err("it is refused").text()
    }

    #[test]
    fn what_is_no_regular_file_is_not_read() {
        let dir = std::env::temp_dir().join(format!("standstill-input-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a folder");
        let pipe = dir.join("pipe");
        let socket = dir.join("socket");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).expect("a pipe");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        for (path, what) in [
            (Path::new("/dev/zero"), "a device"),
            (Path::new("/dev/full"), "a device"),
            (&dir, "a directory"),
            (&pipe, "a pipe"),
            (&socket, "a socket"),
        ] {
            let error = error(path);
            assert!(error.contains(&format!("{what}, and not a regular file")), "{error}");
        }
        assert!(matches!(read(&dir.join("none"), KIND), Err(Unreadable::Missing(_))));
        assert!(look(&dir).is_err());
        std::fs::remove_dir_all(&dir).expect("it is ours");
    }

    #[test]
    fn the_beginning_and_the_size_are_looked_at_first() {
        let file = std::env::temp_dir().join(format!("standstill-input-size-{}", std::process::id()));
        // A terabyte of nothing, that takes no room: it is not read.
        let hole = File::create(&file).expect("a file");
        hole.set_len(1 << 40).expect("a hole");
        assert!(error(&file).ends_with("is not a test file: it does not begin with `{` or `test`"));
        std::fs::write(&file, "test 0123456789abcde").expect("a file");
        assert_eq!(read(&file, KIND).map_err(Unreadable::text).map(|bytes| bytes.len()), Ok(20));
        File::options().write(true).open(&file).expect("a file").set_len(1 << 40).expect("a hole");
        assert!(error(&file).ends_with("is too long for a test file: at most 20 bytes"));
        std::fs::write(&file, b"test \xff").expect("a file");
        assert!(read_text(&file, KIND).expect_err("no text").ends_with("is damaged: byte 5 is no text"));
        std::fs::write(&file, "test 0123456789").expect("a file");
        assert!(read_text(&file, KIND).is_ok());
        std::fs::write(&file, "test\u{20}\n0123456789abcde").expect("a file");
        assert!(read_text(&file, KIND).is_err_and(|error| error.contains("is too long")));
        std::fs::write(&file, "test 0123456789a").expect("a file");
        assert!(
            read_text(&file, KIND).is_err_and(|error| error.ends_with("line 1: it is longer than 15 bytes"))
        );
        std::fs::remove_file(&file).expect("it is ours");
        // A file of /proc has the size 0, and is read all the same: it does not begin as it should.
        assert!(error(Path::new("/proc/self/status")).contains("it does not begin"));
    }
}
