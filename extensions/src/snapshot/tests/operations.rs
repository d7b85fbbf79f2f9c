//! File system operations at random: everything that can change a tree, sly ways included.

use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{
    AtFlags, CWD, FallocateFlags, FileType, Mode, OFlags, RenameFlags, XattrFlags, makedev, mknodat,
    renameat_with, setxattr,
};

use crate::testing::{Dice, write_mapped};

/// Does one operation somewhere below the directory. That it fails is as good as another one.
pub(super) fn operate(top: &Path, dice: &mut Dice) {
    // What an operation cannot do on this file system or to this file, it leaves undone.
    drop(attempt(top, dice));
}

/// Makes a tree to start with.
pub(super) fn grow(top: &Path, dice: &mut Dice) -> io::Result<()> {
    for number in 0..60 {
        let dir = dir(top, dice).join(format!("d{number}"));
        fs::create_dir(&dir)?;
        for name in 0..dice.below(8) {
            fs::write(dir.join(format!("f{name}")), content(dice))?;
        }
        if dice.below(4) == 0 {
            symlink("../anywhere", dir.join("link"))?;
        }
        if dice.below(4) == 0 {
            fs::write(dir.join("one"), content(dice))?;
            fs::hard_link(dir.join("one"), dir.join("two"))?;
        }
    }
    Ok(())
}

fn attempt(top: &Path, dice: &mut Dice) -> io::Result<()> {
    match dice.below(26) {
        0 => File::create_new(fresh(top, dice))?.write_all_at(&content(dice), 0),
        1 => rewrite_and_hide(&file(top, dice)?),
        2 => write_mapped(&open(&file(top, dice)?)?, letter(dice)),
        3 => unnamed(&fresh(top, dice)),
        4 => exchange(top, dice),
        5 => punch(&file(top, dice)?),
        6 => chmod(&any(top, dice)?, dice),
        7 => chown(&any(top, dice)?, dice),
        8 => attribute(&any(top, dice)?, dice),
        9 => fs::hard_link(file(top, dice)?, fresh(top, dice)),
        10 | 11 => remove(&any(top, dice)?),
        12 => replace(&any(top, dice)?, dice),
        13 => recreate(&any(top, dice)?, dice),
        14 => fs::rename(any(top, dice)?, fresh(top, dice)),
        15 => fs::rename(file(top, dice)?, file(top, dice)?),
        16 => fs::create_dir_all(fresh(top, dice).join("a/b")),
        17 => node(&fresh(top, dice), dice),
        18 => symlink("elsewhere", fresh(top, dice)),
        19 => touch(&file(top, dice)?, dice),
        20 => open(&file(top, dice)?)?.set_len(dice.below(9) as u64),
        21 => append(&file(top, dice)?, dice),
        22 => copy_over(top, dice),
        23 => fs::write(file(top, dice)?, content(dice)),
        24 => move_away_and_back(&any(top, dice)?),
        _ => fs::create_dir(fresh(top, dice)),
    }
}

fn rewrite_and_hide(path: &Path) -> io::Result<()> {
    let meta = fs::metadata(path)?;
    let file = open(path)?;
    let mut bytes = vec![0; usize::try_from(meta.size()).unwrap_or(0)];
    file.read_exact_at(&mut bytes, 0)?;
    for byte in &mut bytes {
        *byte = byte.wrapping_add(1);
    }
    file.write_all_at(&bytes, 0)?;
    file.set_times(FileTimes::new().set_modified(meta.modified()?))
}

fn unnamed(to: &Path) -> io::Result<()> {
    let dir = to.parent().unwrap_or(to);
    let flags = OFlags::TMPFILE | OFlags::WRONLY;
    let file = File::from(rustix::fs::openat(CWD, dir, flags, Mode::RUSR)?);
    file.write_all_at(b"unnamed", 0)?;
    let from = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    Ok(rustix::fs::linkat(CWD, from, CWD, to, AtFlags::SYMLINK_FOLLOW)?)
}

fn exchange(top: &Path, dice: &mut Dice) -> io::Result<()> {
    let (a, b) = (any(top, dice)?, any(top, dice)?);
    Ok(renameat_with(CWD, a, CWD, b, RenameFlags::EXCHANGE)?)
}

fn punch(path: &Path) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    Ok(rustix::fs::fallocate(open(path)?, flags, 0, 4)?)
}

fn chmod(path: &Path, dice: &mut Dice) -> io::Result<()> {
    let mode = *dice.one(&[0o644, 0o755, 0o700, 0o4755, 0o1777, 0o600]);
    let links = fs::symlink_metadata(path)?.is_symlink();
    if links {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn chown(path: &Path, dice: &mut Dice) -> io::Result<()> {
    let id = |dice: &mut Dice| Some(*dice.one(&[0, 1, 1000, 65534, 3_000_000]));
    std::os::unix::fs::lchown(path, id(dice), id(dice))
}

fn attribute(path: &Path, dice: &mut Dice) -> io::Result<()> {
    if !fs::symlink_metadata(path)?.is_symlink() {
        let value = [letter(dice), b'\n', 0];
        setxattr(path, "user.test", &value, XattrFlags::empty())?;
    }
    Ok(())
}

fn remove(path: &Path) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}

fn replace(path: &Path, dice: &mut Dice) -> io::Result<()> {
    remove(path)?;
    match dice.below(4) {
        0 => fs::write(path, content(dice)),
        1 => fs::create_dir(path),
        2 => symlink("replaced", path),
        _ => node(path, dice),
    }
}

/// Makes the same name again, a directory with a few of its old names.
fn recreate(path: &Path, dice: &mut Dice) -> io::Result<()> {
    let was_dir = fs::symlink_metadata(path)?.is_dir();
    remove(path)?;
    if !was_dir {
        return fs::write(path, content(dice));
    }
    fs::create_dir(path)?;
    fs::write(path.join("f1"), content(dice))?;
    fs::create_dir(path.join("d1"))
}

fn move_away_and_back(path: &Path) -> io::Result<()> {
    let aside = path.with_extension("aside");
    fs::rename(path, &aside)?;
    fs::rename(&aside, path)
}

fn copy_over(top: &Path, dice: &mut Dice) -> io::Result<()> {
    let (from, to) = (file(top, dice)?, file(top, dice)?);
    let times = FileTimes::new().set_modified(fs::metadata(&to)?.modified()?);
    fs::copy(from, &to)?;
    open(&to)?.set_times(times)
}

fn touch(path: &Path, dice: &mut Dice) -> io::Result<()> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1 + dice.below(1 << 30) as u64);
    open(path)?.set_times(FileTimes::new().set_modified(time))
}

fn append(path: &Path, dice: &mut Dice) -> io::Result<()> {
    let file = open(path)?;
    file.write_all_at(&content(dice), file.metadata()?.len())
}

fn node(path: &Path, dice: &mut Dice) -> io::Result<()> {
    let (kind, device) =
        if dice.below(2) == 0 { (FileType::Fifo, 0) } else { (FileType::CharacterDevice, makedev(1, 3)) };
    Ok(mknodat(CWD, path, kind, Mode::RUSR, device)?)
}

fn content(dice: &mut Dice) -> Vec<u8> {
    let len = dice.below(700);
    (0..len).map(|_| letter(dice)).collect()
}

fn letter(dice: &mut Dice) -> u8 {
    *dice.one(b"abcdefgh")
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(rustix::fs::openat(CWD, path, flags, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::ErrorKind::InvalidInput.into()) }
}

/// A name that may be taken, in a directory that exists.
fn fresh(top: &Path, dice: &mut Dice) -> PathBuf {
    dir(top, dice).join(format!("n{}", dice.below(400)))
}

fn dir(top: &Path, dice: &mut Dice) -> PathBuf {
    let mut at = top.to_owned();
    for _ in 0..dice.below(4) {
        let dirs: Vec<_> = below(&at).into_iter().filter(|path| is_dir(path)).collect();
        if dirs.is_empty() {
            break;
        }
        at.clone_from(dice.one(&dirs));
    }
    at
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir())
}

fn any(top: &Path, dice: &mut Dice) -> io::Result<PathBuf> {
    let names = below(&dir(top, dice));
    one_of(&names, dice)
}

fn file(top: &Path, dice: &mut Dice) -> io::Result<PathBuf> {
    let mut names = below(&dir(top, dice));
    names.retain(|path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file()));
    one_of(&names, dice)
}

fn one_of(paths: &[PathBuf], dice: &mut Dice) -> io::Result<PathBuf> {
    if paths.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(dice.one(paths).clone())
}

/// The paths in a directory, in an order that is the same in every run.
fn below(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten();
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}
