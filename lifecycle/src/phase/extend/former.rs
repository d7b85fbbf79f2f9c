//! What the reference implementation's extender kept for later builds, which nobody reads any more.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::{Duration, SystemTime};

use extensions::root::Root;

/// Where it kept steps, below the cache that phases share, and how their directories' names begin.
const DIRECTORY: &str = "layers";
const STEP: &str = "cached:";

/// Removes steps that the reference implementation kept longer ago than `ttl`, and returns their number.
///
/// Younger ones stay: a platform may go back to it. What cannot be removed stays, too.
pub fn remove(cache: &Path, ttl: Duration) -> usize {
    let Ok(root) = Root::open(cache) else { return 0 };
    // The directory may be another user's, who could put a link in its place.
    let Some(dir) = root.dir(Path::new(DIRECTORY)).ok().filter(|dir| dir.path == Path::new(DIRECTORY)) else {
        return 0;
    };
    let Ok(readable) = dir.readable() else { return 0 };
    let here = Path::new("/proc/self/fd").join(readable.as_raw_fd().to_string());
    let is_old = |entry: &fs::DirEntry| {
        let age = entry
            .metadata()
            .ok()
            .filter(fs::Metadata::is_dir)
            .and_then(|metadata| SystemTime::now().duration_since(metadata.modified().ok()?).ok());
        entry.file_name().to_string_lossy().starts_with(STEP) && age.is_some_and(|age| age > ttl)
    };
    let entries = fs::read_dir(here).into_iter().flatten().flatten().filter(is_old);
    entries.filter(|entry| fs::remove_dir_all(entry.path()).is_ok()).count()
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};
    use std::os::unix::fs::symlink;

    use super::*;

    fn step(dir: &Path, name: &str, age: Duration) {
        let path = dir.join(name);
        fs::create_dir_all(path.join("blobs/sha256")).expect("mkdir");
        fs::write(path.join("index.json"), "{}").expect("write");
        let times = FileTimes::new().set_modified(SystemTime::now() - age);
        File::open(&path).and_then(|dir| dir.set_times(times)).expect("set times");
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).expect("list").flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn old_steps_are_removed_and_nothing_else() {
        let temp = tempfile::tempdir().expect("temp dir");
        let layers = temp.path().join("layers");
        let day = Duration::from_hours(24);
        step(&layers, "cached:old", 15 * day);
        step(&layers, "cached:new", 13 * day);
        step(&layers, "other", 15 * day);
        fs::write(layers.join("cached:file"), "").expect("write");
        symlink(temp.path(), layers.join("cached:link")).expect("symlink");
        assert_eq!(remove(temp.path(), 14 * day), 1);
        assert_eq!(names(&layers), ["cached:file", "cached:link", "cached:new", "other"]);
    }

    #[test]
    fn a_link_in_the_place_of_the_directory_is_not_followed() {
        let temp = tempfile::tempdir().expect("temp dir");
        step(&temp.path().join("elsewhere"), "cached:old", Duration::from_hours(1));
        fs::create_dir(temp.path().join("cache")).expect("mkdir");
        for target in ["../elsewhere", "elsewhere"] {
            let link = temp.path().join("cache/layers");
            let _ = fs::remove_file(&link);
            symlink(target, link).expect("symlink");
            assert_eq!(remove(&temp.path().join("cache"), Duration::ZERO), 0);
        }
        assert_eq!(remove(&temp.path().join("nowhere"), Duration::ZERO), 0);
        assert_eq!(names(&temp.path().join("elsewhere")), ["cached:old"]);
    }
}
