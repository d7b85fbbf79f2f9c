//! Writing a file complete or not at all: beside its place first, then renamed.
//!
//! Where a name cannot be replaced (a device, a file mounted by itself, a directory that is not
//! ours but whose file is), the file is overwritten in place.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_setfl};
use tempfile::NamedTempFile;

use super::{Cause, FileError};

/// Every file is readable by all whatever the umask: other phases run as other users.
const MODE: u32 = 0o644;
/// So is every directory.
const DIR_MODE: u32 = 0o755;

/// A place where a file can be written; nothing is there yet.
#[derive(Debug)]
pub struct Reserved {
    file: &'static str,
    path: PathBuf,
    place: Place,
}

#[derive(Debug)]
enum Place {
    /// A temporary file in the same directory, to be renamed.
    Beside(NamedTempFile),
    /// The file itself, opened but untouched.
    InPlace(File),
}

/// Writes `text` to `path`, creating its directory, with mode 0644. `file` is what messages call it.
pub fn write(file: &'static str, path: &Path, text: &str) -> Result<(), FileError> {
    reserve(file, path)?.write(text)
}

/// Makes sure that `path` can be written, before work starts whose result it will hold.
pub fn reserve(file: &'static str, path: &Path) -> Result<Reserved, FileError> {
    place(path)
        .map(|place| Reserved { file, path: path.to_owned(), place })
        .map_err(|error| failed(file, "open", path, error))
}

impl Reserved {
    /// Puts `text` there.
    pub fn write(self, text: &str) -> Result<(), FileError> {
        let written = match self.place {
            Place::Beside(temp) => replace(temp, &self.path, text),
            Place::InPlace(file) => overwrite(&file, text),
        };
        written.map_err(|error| failed(self.file, "write", &self.path, error))
    }
}

/// Creates the directory `path` and those above it that are missing, with mode 0755 whatever the
/// umask: they become part of layers, and other phases run as other users.
pub fn make_dirs(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        make_dirs(parent)?;
    }
    match fs::create_dir(path) {
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(DIR_MODE)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
    }
}

fn failed(file: &'static str, operation: &'static str, path: &Path, error: io::Error) -> FileError {
    FileError { action: "write", file, cause: Cause::system(operation, path, error) }
}

fn place(path: &Path) -> io::Result<Place> {
    let special = fs::metadata(path).is_ok_and(|found| !found.is_file())
        || fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
    if special {
        return open(path).map(Place::InPlace);
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    make_dirs(dir)?;
    match tempfile::Builder::new().prefix(".tmp-").tempfile_in(dir) {
        Ok(temp) => Ok(Place::Beside(temp)),
        Err(error) => open(path).map(Place::InPlace).map_err(|_| error),
    }
}

/// Opens the file itself. A pipe that nobody reads is refused instead of waited for.
fn open(path: &Path) -> io::Result<File> {
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).mode(MODE).custom_flags(flags).open(path)?;
    fcntl_setfl(&file, OFlags::empty())?;
    Ok(file)
}

fn replace(mut temp: NamedTempFile, path: &Path, text: &str) -> io::Result<()> {
    temp.write_all(text.as_bytes())?;
    temp.as_file().set_permissions(Permissions::from_mode(MODE))?;
    match temp.persist(path) {
        Ok(_) => Ok(()),
        Err(error) => overwrite(&open(path).map_err(|_| error.error)?, text),
    }
}

fn overwrite(mut file: &File, text: &str) -> io::Result<()> {
    if file.metadata()?.is_file() {
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entry = |entry: io::Result<fs::DirEntry>| entry.expect("an entry").file_name();
        fs::read_dir(dir).expect("a directory").map(|e| entry(e).to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn a_file_is_replaced_whole_and_readable_by_all() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("new/dir/plan.toml");
        for text in ["a long first text", "short"] {
            write("plan", &path, text).expect("written");
            assert_eq!(fs::read_to_string(&path).expect("readable"), text);
        }
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, MODE);
        assert_eq!(names(path.parent().expect("a parent")), ["plan.toml"]);
    }

    #[test]
    fn directories_are_made_where_they_are_missing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a/b");
        make_dirs(&path).expect("created");
        make_dirs(&path).expect("there already");
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o7777, DIR_MODE);
        fs::write(path.join("file"), "").expect("written");
        assert!(make_dirs(&path.join("file")).is_err() && make_dirs(&path.join("file/c")).is_err());
    }

    #[test]
    fn a_reservation_that_is_not_used_leaves_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("report.toml");
        fs::write(&path, "old").expect("written");
        drop(reserve("report", &path).expect("can be written"));
        assert_eq!(fs::read_to_string(&path).expect("readable"), "old");
        assert_eq!(names(dir.path()), ["report.toml"]);
    }

    #[test]
    fn links_and_devices_are_written_through() {
        let dir = tempfile::tempdir().expect("a directory");
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        fs::write(&target, "something longer").expect("written");
        std::os::unix::fs::symlink(&target, &link).expect("linked");
        write("report", &link, "new").expect("written");
        assert_eq!(fs::read_to_string(&target).expect("readable"), "new");
        write("report", Path::new("/dev/null"), "gone").expect("written");
    }

    #[test]
    fn a_pipe_that_nobody_reads_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("metadata.toml");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert!(write("metadata", &path, "text").is_err());
    }

    #[test]
    fn a_place_that_cannot_be_written_is_refused_before_work_starts() {
        let error = reserve("report", Path::new("/proc/none/report.toml")).expect_err("refused");
        assert!(error.to_string().starts_with("failed to write report file: open /proc/none"), "{error}");
        let dir = tempfile::tempdir().expect("a directory");
        let error = reserve("report", dir.path()).expect_err("a directory").to_string();
        assert!(error.ends_with("is a directory"), "{error}");
    }
}
