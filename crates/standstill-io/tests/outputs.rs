//! Outputs are probed before the work, destroy nothing, and are nothing else.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use standstill_io::{Outputs, replace};

/// A folder of the test's own, which is removed at its end.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Dir {
        let dir = std::env::temp_dir().join(format!("standstill-outputs-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a folder");
        Dir(dir.canonicalize().expect("it is there"))
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("a file");
        path
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).expect("a folder");
        let mut names: Vec<_> =
            entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn probe(path: &Path) -> Result<(), String> {
    Outputs::new().file("--svg", Some(&path.to_path_buf()))
}

#[test]
fn what_cannot_be_written_is_said_before_the_work() {
    let dir = Dir::new("probe");
    let file = dir.file("file", "old");
    symlink("loop", dir.0.join("loop")).expect("a link");
    for (path, why) in [
        (PathBuf::from("/dev/full"), "No space left"),
        (dir.0.clone(), "Is a directory"),
        (PathBuf::new(), "No such file"),
        (dir.0.join("none/x.svg"), "No such file"),
        (dir.0.join("new/"), "Is a directory"),
        (file.join("x.svg"), "Not a directory"),
        (dir.0.join("loop"), "Too many"),
        (dir.0.join("x".repeat(256)), "too long"),
        (PathBuf::from("/proc/none.svg"), ""),
    ] {
        let error = probe(&path).expect_err("it can't be written");
        assert!(error.starts_with("--svg ") && error.contains(why), "{path:?}: {error}");
    }
    let pipe = dir.0.join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).expect("a pipe");
    assert!(probe(&pipe).is_err(), "nobody reads it, and nobody waits for a reader");
}

#[test]
fn a_probe_leaves_everything_as_it_was() {
    let dir = Dir::new("untouched");
    let old = dir.file("old", "old");
    symlink(dir.0.join("nowhere"), dir.0.join("link")).expect("a link");
    for path in [&old, &dir.0.join("new"), &dir.0.join("link"), &dir.0.join("x".repeat(255))] {
        probe(path).expect("it can be written");
    }
    assert_eq!(fs::read_to_string(&old).expect("it is there"), "old");
    assert_eq!(dir.names(), ["link", "old"]);
}

#[test]
fn a_file_is_replaced_as_a_whole_with_its_mode_and_through_its_link() {
    let dir = Dir::new("replaced");
    let old = dir.file("old", "old, and longer");
    fs::set_permissions(&old, fs::Permissions::from_mode(0o600)).expect("it is ours");
    let link = dir.0.join("link");
    symlink("old", &link).expect("a link");
    let before = fs::metadata(&old).expect("it is there").ino();
    let mut outputs = Outputs::new();
    outputs.file("--svg", Some(&link)).expect("it can be written");
    outputs.write("--svg", "new");
    assert_eq!(outputs.end(0), 0);
    let meta = fs::metadata(&old).expect("it is there");
    assert_eq!(fs::read_to_string(&old).expect("it is there"), "new");
    assert!(meta.ino() != before && meta.mode() & 0o777 == 0o600);
    assert!(fs::symlink_metadata(&link).expect("it is there").is_symlink());
    assert_eq!(dir.names(), ["link", "old"]);
}

#[test]
fn a_file_with_two_names_keeps_both() {
    let dir = Dir::new("names");
    let one = dir.file("one", "old, and longer");
    let two = dir.0.join("two");
    fs::hard_link(&one, &two).expect("a link");
    replace(&one, &[b"n", b"ew"]).expect("it can be written");
    assert_eq!(fs::read_to_string(two).expect("it is there"), "new");
}

#[test]
fn no_output_is_another_one_or_an_input_by_any_name() {
    let dir = Dir::new("one");
    let one = dir.file("one", "");
    symlink("one", dir.0.join("link")).expect("a link");
    symlink("new", dir.0.join("dangling")).expect("a link");
    fs::hard_link(&one, dir.0.join("hard")).expect("a link");
    let pairs = [
        ("one", "one"),
        ("one", "link"),
        ("link", "hard"),
        ("one", "hard"),
        ("new", "new"),
        ("new", "./new"),
        ("new", "../DIR/new"),
        ("dangling", "new"),
    ];
    for (a, b) in pairs {
        let name = dir.0.file_name().expect("a name").to_string_lossy().into_owned();
        let [a, b] = [a, b].map(|path| dir.0.join(path.replace("DIR", &name)));
        let mut outputs = Outputs::new();
        outputs.file("--svg", Some(&a)).expect("it can be written");
        let error = outputs.file("--html", Some(&b)).expect_err("it is the same file");
        assert!(error.contains("is --svg"), "{error}");
        let mut outputs = Outputs::new();
        outputs.input(&a).expect("there is no output yet");
        let error = outputs.file("--html", Some(&b)).expect_err("it is the same file");
        assert!(error.contains("is the input"), "{error}");
    }
    let mut outputs = Outputs::new();
    let null = PathBuf::from("/dev/null");
    outputs.file("--svg", Some(&null)).expect("it takes everything");
    outputs.file("--html", Some(&null)).expect("it takes everything, from everybody");
}

#[test]
fn a_folder_takes_files_and_none_of_them_is_anything_else() {
    let dir = Dir::new("folder");
    let folder = dir.0.join("a/b");
    let file = dir.file("file", "");
    assert!(Outputs::new().folder("--save", Some(&file), ".replay").is_err());
    let mut outputs = Outputs::new();
    outputs.folder("--save", Some(&folder), ".replay").expect("it can be made");
    assert!(outputs.input(&folder.join("x.replay")).is_err());
    assert!(outputs.file("--html", Some(&folder.join("x.replay"))).is_err());
    outputs.file("--html", Some(&folder.join("x.html"))).expect("this is no schedule");
    outputs.write_in("--save", "x.replay", "text");
    outputs.write("--html", "page");
    assert_eq!(outputs.end(1), 1);
    assert_eq!(fs::read_to_string(folder.join("x.replay")).expect("it is there"), "text");
    let mut outputs = Outputs::new();
    outputs.input(&folder.join("x.replay")).expect("there is no output yet");
    assert!(outputs.folder("--save", Some(&folder), ".replay").is_err());
}

#[test]
fn what_fails_after_the_work_changes_a_pass_and_not_a_failure() {
    for (exit, expected) in [(0, 2), (1, 1)] {
        let dir = Dir::new("late");
        let path = dir.0.join("sub/x.svg");
        fs::create_dir_all(dir.0.join("sub")).expect("a folder");
        let mut outputs = Outputs::new();
        outputs.file("--svg", Some(&path)).expect("it can be written");
        fs::remove_dir_all(dir.0.join("sub")).expect("it is ours");
        outputs.write("--svg", "new");
        assert_eq!(outputs.end(exit), expected);
    }
}

#[test]
fn a_descriptor_is_written_where_it_leads() {
    use std::os::fd::AsRawFd;
    let dir = Dir::new("descriptor");
    let path = dir.file("file", "old, and longer");
    let file = File::options().write(true).open(&path).expect("it is there");
    let name = PathBuf::from(format!("/dev/fd/{}", file.as_raw_fd()));
    replace(&name, &[b"new"]).expect("it can be written");
    let same = fs::metadata(&path).expect("it is there").ino() == file.metadata().expect("it is open").ino();
    assert!(same, "whoever has the descriptor would read the old file");
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "new");
}
