//! What a root directory lacks that is no container: devices, name resolution, process table.
//!
//! A container engine mounts them. Where mounting is allowed we do, for the step's processes only and
//! from copies; where it is not, devices are made and files replaced, and no layer holds them.

use std::collections::BTreeMap;
use std::ffi::CStr;
use std::io;
use std::path::Path;

use nix::mount::MsFlags;
use rustix::fs::{FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use tempfile::TempDir;

use super::namespace::{NONE, bind, handle, mount_at};

use crate::root::{Attributes, Guard, NewDir, PathError, Place, Root, at};
use crate::snapshot::IgnoreSet;

/// What a furnished root holds that is not the image's.
pub(in crate::apply) const FURNISHED: [&str; 6] =
    ["proc", "sys", "dev", "etc/resolv.conf", "etc/hosts", "etc/hostname"];

const FILES: [&str; 3] = ["etc/resolv.conf", "etc/hosts", "etc/hostname"];

const DEVICES: [(&str, u32, u32); 6] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// A root that processes can be run in, until this is dropped.
#[derive(Debug)]
pub(in crate::apply) struct Furnished {
    root: Root,
    /// What stood at the files' places; `None` if nothing did.
    saved: Vec<(&'static str, Option<Vec<u8>>)>,
    /// Copies of the machine's files, where they are mounted.
    copies: Option<TempDir>,
}

impl Furnished {
    /// Furnishes a root: by mounts that are yet to be made where processes see them, from copies in the
    /// directory `work`; without it, as far as it goes.
    pub(in crate::apply) fn new(root: &Root, work: Option<&Path>) -> Result<Self, PathError> {
        let root = Root::open(root.path())?;
        let mut furnished = Self { root, saved: Vec::new(), copies: None };
        furnished.make_dirs()?;
        if let Some(work) = work {
            let copies = tempfile::Builder::new().prefix("machine-").tempdir_in(work);
            furnished.copies = Some(copies.map_err(at("create directory in", work))?);
        } else {
            furnished.make_devices()?;
        }
        for name in FILES {
            furnished.supply(name)?;
        }
        Ok(furnished)
    }

    /// Tells whether processes see a process table.
    pub(in crate::apply) fn has_mounts(&self) -> bool {
        self.copies.is_some()
    }

    fn make_dirs(&self) -> Result<(), PathError> {
        for dir in ["proc", "sys", "dev", "etc"] {
            let ignore = IgnoreSet::default();
            self.root.make_dir(Path::new(dir), NewDir::of_process(0o755), Guard::new(&ignore))?;
        }
        Ok(())
    }

    /// Has the machine's file in the place of the image's: a copy that can be mounted there, or that
    /// takes it.
    fn supply(&mut self, name: &'static str) -> Result<(), PathError> {
        let Ok(ours) = std::fs::read(Path::new("/").join(name)) else {
            return Ok(());
        };
        if let Some(copies) = &self.copies {
            let copy = copies.path().join(file_name(name));
            std::fs::write(&copy, &ours).map_err(at("write", &copy))?;
            if self.root.target(Path::new(name)).is_ok_and(|place| place.is_some_and(|it| is_there(&it))) {
                return Ok(());
            }
            self.saved.push((name, None));
            return self.write(name, Some(&[]));
        }
        let old = match self.root.open_file(Path::new(name)) {
            Ok(mut file) => {
                let mut bytes = Vec::new();
                io::Read::read_to_end(&mut file, &mut bytes).map_err(at("read", Path::new(name)))?;
                Some(bytes)
            }
            Err(error) if error.is_missing() => None,
            Err(error) => return Err(error),
        };
        self.saved.push((name, old));
        self.write(name, Some(&ours))
    }

    /// Writes through whatever link stands there; `None` removes the file.
    fn write(&self, name: &str, content: Option<&[u8]>) -> Result<(), PathError> {
        let path = Path::new(name);
        let ignore = IgnoreSet::default();
        let made = self.root.make_target(path, NewDir::of_process(0o755), Guard::new(&ignore))?;
        let Some((place, _)) = made else {
            return Ok(());
        };
        match rustix::fs::unlinkat(&place.dir, &place.name, rustix::fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(error) => return Err(at("replace", path)(error)),
        }
        let Some(content) = content else {
            return Ok(());
        };
        let xattrs = BTreeMap::new();
        place.make_file::<PathError>(&attributes(0o644, &xattrs), |file| {
            io::Write::write_all(file, content).map_err(at("write", path))
        })
    }

    fn make_devices(&self) -> Result<(), PathError> {
        let xattrs = BTreeMap::new();
        for (name, major, minor) in DEVICES {
            let place = Place { dir: self.root.dir(Path::new("dev"))?, name: name.into() };
            if crate::apply::copy::stat_of(&place)?.is_none() {
                let attributes = attributes(0o666, &xattrs);
                place.make_node(FileType::CharacterDevice, (major, minor), &attributes)?;
            }
        }
        Ok(())
    }
}

impl Drop for Furnished {
    fn drop(&mut self) {
        for (name, old) in std::mem::take(&mut self.saved) {
            // No layer holds these files. The one who removes the root removes them, too.
            drop(self.write(name, old.as_deref()));
        }
    }
}

fn attributes(mode: u32, xattrs: &BTreeMap<std::ffi::CString, Vec<u8>>) -> Attributes<'_> {
    let NewDir { uid, gid, .. } = NewDir::of_process(mode);
    Attributes { owner: (uid, gid), mode, mtime: (0, 0), xattrs }
}

impl Furnished {
    /// Mounts what processes need in this thread's namespace, of which `root` is the one. What is not
    /// allowed is left out.
    pub(super) fn enter(&self, root: &Root) -> Result<(), PathError> {
        let Some(copies) = &self.copies else { return Ok(()) };
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        drop(mount_on(root, "proc", Path::new("proc"), Some(c"proc"), flags | MsFlags::MS_NODEV));
        drop(mount_on(root, "sys", Path::new("/sys"), NONE, MsFlags::MS_BIND));
        drop(mount_on(root, "sys", Path::new("/sys"), NONE, MsFlags::MS_BIND | READ_ONLY | flags));
        if mount_on(root, "dev", Path::new("tmpfs"), Some(c"tmpfs"), MsFlags::MS_NOSUID).is_ok() {
            furnish_dev(root)?;
        }
        for name in FILES {
            drop(mount_copy(root, name, &copies.path().join(file_name(name))));
        }
        Ok(())
    }
}

/// Mounts a copy of the machine's file where the path leads to.
fn mount_copy(root: &Root, name: &str, copy: &Path) -> Result<(), PathError> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let copy = openat(rustix::fs::CWD, copy, flags, Mode::empty()).map_err(at("open", copy))?;
    let place = root.target(Path::new(name))?.ok_or_else(|| at("mount", Path::new(name))(Errno::BUSY))?;
    bind(copy, handle(&place)?).map_err(at("mount", &place.path()))
}

fn is_there(place: &Place) -> bool {
    crate::apply::copy::stat_of(place).is_ok_and(|stat| stat.is_some())
}

fn file_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

const READ_ONLY: MsFlags = MsFlags::MS_REMOUNT.union(MsFlags::MS_RDONLY);

/// Fills an empty `/dev` with the machine's devices and what programs expect beside them.
fn furnish_dev(root: &Root) -> Result<(), PathError> {
    let ignore = IgnoreSet::default();
    let xattrs = BTreeMap::new();
    for (name, ..) in DEVICES {
        let place = Place { dir: root.dir(Path::new("dev"))?, name: name.into() };
        place.make_file::<PathError>(&attributes(0o666, &xattrs), |_| Ok(()))?;
        let machines = Path::new("/dev").join(name);
        drop(mount_on(root, &format!("dev/{name}"), &machines, NONE, MsFlags::MS_BIND));
    }
    for (name, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        let place = Place { dir: root.dir(Path::new("dev"))?, name: name.into() };
        place.make_link(target.as_ref(), &attributes(0o777, &xattrs))?;
    }
    for (dir, kind) in [("dev/shm", c"tmpfs"), ("dev/pts", c"devpts")] {
        root.make_dir(Path::new(dir), NewDir::of_process(0o1777), Guard::new(&ignore))?;
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
        drop(mount_on(root, dir, Path::new(kind.to_str().unwrap_or_default()), Some(kind), flags));
    }
    Ok(())
}

/// Mounts on a path of the root through its handle: no link can lead the mount elsewhere.
fn mount_on(
    root: &Root,
    target: &str,
    source: &Path,
    kind: Option<&CStr>,
    flags: MsFlags,
) -> Result<(), PathError> {
    let place = root.place(Path::new(target))?.ok_or_else(|| at("mount", Path::new(target))(Errno::BUSY))?;
    mount_at(handle(&place)?, source, kind, flags, "").map_err(at("mount", &place.path()))
}
