//! The files that a command is asked for.
//!
//! Each is probed before the work: whether it can be written, and whether it is something else that the command reads
//! or writes, by whatever name. Nothing that is there is touched until there is something to put in its place. A file is
//! written beside its place and moved there, so that it is whole or as it was; where that is not possible (a device, a
//! pipe, a folder that takes no files, a file with several names) it is written in place.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;

use crate::input::other_kind;
use crate::stream::{self, USAGE};
use crate::words;

/// What is written for a probe: a block, as an empty file needs no room.
const PROBE: [u8; 4096] = [0; 4096];
/// Links to links to links.
const LINKS: usize = 40;

/// A file on its file system.
type Node = (u64, u64);

fn node(meta: &Metadata) -> Node {
    (meta.dev(), meta.ino())
}

/// What a path names, by whatever name.
struct Id {
    /// The file, if there is one.
    node: Option<Node>,
    /// Its folder, and its name there.
    place: Option<(Node, OsString)>,
}

impl Id {
    fn is(&self, other: &Id) -> bool {
        let same_node = self.node.is_some() && self.node == other.node;
        same_node || self.place.is_some() && self.place == other.place
    }
}

/// Where a file is written.
enum Way {
    /// Beside its place, and moved there. The file that was there can be written, too.
    Replace(PathBuf, Option<File>),
    InPlace(File),
}

/// A file that is asked for.
struct Output {
    name: &'static str,
    path: PathBuf,
    way: Way,
}

/// A file that must not be another one: what it is called in errors, and what it is.
struct Taken {
    name: String,
    id: Id,
}

/// A folder that is asked for: each file in it with this ending is the command's.
struct Folder {
    name: &'static str,
    path: PathBuf,
    node: Node,
    ending: &'static str,
}

/// All outputs of a command, and what they must not be.
#[derive(Default)]
pub struct Outputs {
    taken: Vec<Taken>,
    files: Vec<Output>,
    folders: Vec<Folder>,
    errors: Vec<String>,
}

impl Outputs {
    /// None yet: but standard output and standard error, if they are files, are no other output.
    #[must_use]
    pub fn new() -> Self {
        let mut outputs = Outputs::default();
        let (out, err) = (io::stdout(), io::stderr());
        for (name, stream) in [("standard output", out.as_fd()), ("standard error", err.as_fd())] {
            let meta = stream.try_clone_to_owned().map(File::from).and_then(|file| file.metadata());
            if let Ok(meta) = meta
                && meta.is_file()
            {
                let id = Id { node: Some(node(&meta)), place: None };
                outputs.taken.push(Taken { name: name.into(), id });
            }
        }
        outputs
    }

    /// A file that is read: no output may be it.
    ///
    /// # Errors
    /// One is, in words.
    pub fn input(&mut self, path: &Path) -> Result<(), String> {
        // What can't be found is said by whoever reads it.
        let Ok(resolved) = resolve(path) else { return Ok(()) };
        let id = resolved.id;
        self.look_in_folders("the input", path, &id)?;
        self.taken.push(Taken { name: format!("the input {}", words::path(path)), id });
        Ok(())
    }

    /// The file that the option `name` asks for, if it does. Nothing is written yet.
    ///
    /// # Errors
    /// It can't be written, or is something else, in words.
    pub fn file(&mut self, name: &'static str, path: Option<&PathBuf>) -> Result<(), String> {
        let Some(path) = path else { return Ok(()) };
        let fails = |error| cannot(name, path, &error);
        let resolved = resolve(path).map_err(fails)?;
        let way = way(&resolved).map_err(fails)?;
        let special = matches!(&way, Way::InPlace(file) if file.metadata().is_ok_and(|meta| !meta.is_file()));
        if !special {
            self.take(name, path, resolved.id)?;
        }
        self.files.push(Output { name, path: path.clone(), way });
        Ok(())
    }

    /// As [`file`](Self::file), of a file that is read first: a regular one, if it is there.
    ///
    /// # Errors
    /// As there.
    pub fn kept(&mut self, name: &'static str, path: Option<&PathBuf>) -> Result<(), String> {
        if let Some(path) = path
            && let Ok(meta) = fs::metadata(path)
            && let Some(what) = other_kind(&meta)
        {
            return Err(format!("{name} {} is {what}, and not a regular file", words::path(path)));
        }
        self.file(name, path)
    }

    /// The folder that the option `name` asks for, if it does, for files with this ending. It is made.
    ///
    /// # Errors
    /// It can't be made, or takes no files, in words.
    pub fn folder(
        &mut self,
        name: &'static str,
        path: Option<&PathBuf>,
        ending: &'static str,
    ) -> Result<(), String> {
        let Some(path) = path else { return Ok(()) };
        let fails = |error| cannot(name, path, &error);
        if fs::metadata(path).is_ok_and(|meta| !meta.is_dir()) {
            return Err(format!("{name} {} is no folder", words::path(path)));
        }
        fs::create_dir_all(path).map_err(fails)?;
        probe_folder(path).map_err(fails)?;
        let node = node(&fs::metadata(path).map_err(fails)?);
        let folder = Folder { name, path: path.clone(), node, ending };
        if let Some(taken) = self.taken.iter().find(|taken| folder.has(&taken.id)) {
            return Err(format!(
                "{} is in the folder of {name}, and its name is that of a file there",
                taken.name
            ));
        }
        self.folders.push(folder);
        Ok(())
    }

    fn take(&mut self, name: &str, path: &Path, id: Id) -> Result<(), String> {
        let shown = words::path(path);
        if let Some(taken) = self.taken.iter().find(|taken| taken.id.is(&id)) {
            return Err(format!("{name} {shown} is {}, too: nothing is written", taken.name));
        }
        self.look_in_folders(name, path, &id)?;
        self.taken.push(Taken { name: format!("{name} {shown}"), id });
        Ok(())
    }

    fn look_in_folders(&self, name: &str, path: &Path, id: &Id) -> Result<(), String> {
        match self.folders.iter().find(|folder| folder.has(id)) {
            Some(folder) => Err(format!(
                "{name} {} is in the folder of {}, and its name is that of a file there",
                words::path(path),
                folder.name
            )),
            None => Ok(()),
        }
    }

    /// Is the option given?
    #[must_use]
    pub fn wants(&self, name: &str) -> Option<&Path> {
        self.files.iter().find(|file| file.name == name).map(|file| file.path.as_path())
    }

    /// Writes the file of the option `name`, if it is given. What fails is said by [`end`](Self::end).
    pub fn write(&mut self, name: &str, text: &str) {
        let Some(at) = self.files.iter().position(|file| file.name == name) else { return };
        let Output { name, path, way } = self.files.swap_remove(at);
        if let Err(error) = write(way, &|mut file| file.write_all(text.as_bytes())) {
            self.errors.push(cannot(name, &path, &error));
        }
    }

    /// Writes a file into the folder of the option `name`, if it is given. What fails is said by [`end`](Self::end).
    pub fn write_in(&mut self, name: &str, file: &str, text: &str) {
        let Some(folder) = self.folders.iter().find(|folder| folder.name == name) else { return };
        let (name, path) = (folder.name, folder.path.join(file));
        if let Err(error) = replace(&path, &[text.as_bytes()]) {
            self.errors.push(cannot(name, &path, &error));
        }
    }

    /// Something else could not be kept, in words: [`end`](Self::end) says so, too.
    pub fn fail(&mut self, error: String) {
        self.errors.push(error);
    }

    /// Says what could not be written, in one line, and returns the exit code: `exit`, unless nothing else failed.
    #[must_use]
    pub fn end(self, exit: u8) -> u8 {
        let Some(first) = self.errors.first() else { return exit };
        let more = match self.errors.len() - 1 {
            0 => String::new(),
            more => format!(" (nor {more} more)"),
        };
        stream::refuse(&format!("{first}{more}"));
        if exit == 0 { USAGE } else { exit }
    }
}

impl Folder {
    /// Is it the place of a file that the command may write here?
    fn has(&self, id: &Id) -> bool {
        id.place.as_ref().is_some_and(|(folder, name)| {
            *folder == self.node && name.as_bytes().ends_with(self.ending.as_bytes())
        })
    }
}

fn cannot(name: &str, path: &Path, error: &io::Error) -> String {
    format!("{name} {} can't be written: {error}", words::path(path))
}

/// A path without links, and what it names.
struct Resolved {
    path: PathBuf,
    id: Id,
    meta: Option<Metadata>,
    /// A descriptor of this process: whoever has it, too, looks at the file that is there now.
    descriptor: bool,
}

fn resolve(path: &Path) -> io::Result<Resolved> {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS {
        let bytes = path.as_os_str().as_bytes();
        let Some(name) = path.file_name().filter(|_| !bytes.ends_with(b"/")) else {
            let error = if bytes.is_empty() { Errno::NOENT } else { Errno::ISDIR };
            return Err(error.into());
        };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder.canonicalize()?,
            _ => Path::new(".").canonicalize()?,
        };
        let place = node(&fs::metadata(&folder)?);
        let whole = folder.join(name);
        let descriptor = folder.starts_with("/proc") && folder.ends_with("fd");
        match fs::symlink_metadata(&whole) {
            Ok(meta) if meta.is_symlink() && !descriptor => path = folder.join(fs::read_link(&whole)?),
            Ok(_) => {
                let meta = fs::metadata(&whole)?;
                let place = (!descriptor).then(|| (place, name.to_owned()));
                let id = Id { node: Some(node(&meta)), place };
                return Ok(Resolved { path: whole, id, meta: Some(meta), descriptor });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let id = Id { node: None, place: Some((place, name.to_owned())) };
                return Ok(Resolved { path: whole, id, meta: None, descriptor });
            }
            Err(error) => return Err(error),
        }
    }
    Err(Errno::LOOP.into())
}

/// How the file can be written. It is tried, and nothing is changed.
fn way(to: &Resolved) -> io::Result<Way> {
    let folder = to.path.parent().unwrap_or(Path::new("/"));
    let Some(meta) = &to.meta else {
        probe_folder(folder)?;
        return Ok(Way::Replace(to.path.clone(), None));
    };
    let kind = meta.file_type();
    if kind.is_dir() {
        return Err(Errno::ISDIR.into());
    }
    if kind.is_block_device() {
        return Err(io::Error::other("it is a disk"));
    }
    // A pipe that nobody reads is refused, instead of waited for.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = File::options().write(true).custom_flags(flags).open(&to.path)?;
    fcntl_setfl(&file, OFlags::empty())?;
    if !kind.is_file() {
        stream::can_write(file.as_fd())?;
        return Ok(Way::InPlace(file));
    }
    let in_place = to.descriptor
        || meta.nlink() > 1
        || match probe_folder(folder) {
            Ok(()) => false,
            // The folder takes no file from this user, and the file may be written.
            Err(error) if takes_none(&error) => true,
            // What else is missing, the file in place would miss, too: room, or descriptors.
            Err(error) => return Err(error),
        };
    if !in_place {
        return Ok(Way::Replace(to.path.clone(), Some(file)));
    }
    stream::can_write(file.as_fd())?;
    Ok(Way::InPlace(file))
}

/// Does the folder refuse new files, whatever is in them?
fn takes_none(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::ACCESS | Errno::PERM | Errno::ROFS))
}

/// A new file in `folder`, with a name that nobody has.
fn temporary(folder: &Path) -> io::Result<(PathBuf, File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    loop {
        // Relaxed: only the number matters, nothing is published by it.
        let nth = NEXT.fetch_add(1, Relaxed);
        let path = folder.join(format!(".standstill-{}-{nth}", std::process::id()));
        match File::options().write(true).create_new(true).open(&path) {
            Ok(file) => return Ok((path, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

/// Does the folder take a file, and has its disk room?
fn probe_folder(folder: &Path) -> io::Result<()> {
    let (path, mut file) = temporary(folder)?;
    let written = file.write_all(&PROBE);
    // It is ours; what can't be removed was written at least.
    let _ = fs::remove_file(path);
    written
}

/// Writes what goes into a file. It may be asked again, for another file.
type Fill<'a> = &'a dyn Fn(&File) -> io::Result<()>;

fn write(way: Way, fill: Fill<'_>) -> io::Result<()> {
    match way {
        Way::InPlace(file) => in_place(&file, fill),
        Way::Replace(path, there) => {
            let folder = path.parent().unwrap_or(Path::new("/"));
            let (beside, file) = match (temporary(folder), &there) {
                (Ok(new), _) => new,
                // There were descriptors and rights before the work: the file is open since then.
                (Err(_), Some(there)) => return in_place(there, fill),
                (Err(error), None) => return Err(error),
            };
            let moved = beside_and_moved(&beside, &file, &path, there.as_ref(), fill);
            if moved.is_err() {
                let _ = fs::remove_file(&beside);
            }
            match (moved, there) {
                // The file is somebody else's, or a mount point: it can be written, and not replaced.
                (Err(Moved::Not), Some(there)) => in_place(&there, fill),
                (Err(Moved::Failed(error)), _) => Err(error),
                (Err(Moved::Not), None) => Err(Errno::PERM.into()),
                (Ok(()), _) => Ok(()),
            }
        }
    }
}

enum Moved {
    /// It can't be moved there.
    Not,
    Failed(io::Error),
}

fn beside_and_moved(
    beside: &Path,
    file: &File,
    path: &Path,
    there: Option<&File>,
    fill: Fill<'_>,
) -> Result<(), Moved> {
    if let Some(there) = there {
        let like = there.metadata().map_err(Moved::Failed)?;
        let mine = file.metadata().map_err(Moved::Failed)?;
        if (mine.uid(), mine.gid()) != (like.uid(), like.gid()) {
            fchown(file, Some(like.uid()), Some(like.gid())).map_err(|_| Moved::Not)?;
        }
        file.set_permissions(like.permissions()).map_err(|_| Moved::Not)?;
    }
    fill(file).map_err(Moved::Failed)?;
    fs::rename(beside, path).map_err(|error| if there.is_some() { Moved::Not } else { Moved::Failed(error) })
}

fn in_place(file: &File, fill: Fill<'_>) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    fill(file)
}

/// Writes a file, whole or not at all: what was there is as it was until then.
///
/// # Errors
/// It can't be written.
pub fn replace(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    replace_by(path, &|mut file| parts.iter().try_for_each(|part| file.write_all(part)))
}

/// As [`replace`], by a function that writes the file, which is empty. It may be asked again, for
/// another file.
///
/// # Errors
/// It can't be written.
pub fn replace_by(path: &Path, fill: &dyn Fn(&File) -> io::Result<()>) -> io::Result<()> {
    write(way(&resolve(path)?)?, fill)
}
