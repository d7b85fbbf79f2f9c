//! How fast cached layers come back: `restore_speed DIR OUT [THREADS]`.
//!
//! Each entry of DIR becomes a tar in OUT, made first and not counted. Those are restored into OUT as
//! well. Prints the time, and the tars' names for a comparison with `tar x`.

use std::fs::{self, File};
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lifecycle::digest::{DiffId, Hashing};
use lifecycle::layers::tar::{LayerSource, Owner, Tree};
use lifecycle::layers::unpack::{Restore, restore_all};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let (Some(dir), Some(out)) = (args.get(1), args.get(2)) else {
        return Err("usage: restore_speed DIR OUT [THREADS]".into());
    };
    let out = fs::canonicalize(out)?;
    let threads: NonZeroUsize = args.get(3).map_or("2", String::as_str).parse()?;
    let mut layers = Vec::new();
    for entry in fs::read_dir(dir)? {
        layers.push(make(&fs::canonicalize(entry?.path())?, &out)?);
    }
    let (begin, before) = (Instant::now(), ticks()?);
    let open = |layer: &Restore| {
        Ok::<_, io::Error>(Box::new(File::open(tar_of(&layer.dir))?) as Box<dyn Read + Send>)
    };
    for result in restore_all(&layers, threads, open) {
        result??;
    }
    let millis = begin.elapsed().as_millis().max(1);
    let bytes =
        layers.iter().map(|layer| Ok(fs::metadata(tar_of(&layer.dir))?.len())).sum::<io::Result<u64>>()?;
    println!("{} layers, {} MB of tar in {millis} ms", layers.len(), bytes / 1_000_000);
    let status = fs::read_to_string("/proc/self/status")?;
    println!("processor time in ticks of 10 ms: {}", ticks()? - before);
    status.lines().filter(|line| line.starts_with("VmHWM")).for_each(|line| println!("{line}"));
    Ok(())
}

/// Processor time so far, of user and system.
fn ticks() -> Result<u64, Failure> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    Ok(stat.split(' ').skip(13).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?)
}

fn tar_of(dir: &Path) -> PathBuf {
    dir.with_extension("tar")
}

/// Makes the tar of `dir`, named as what will be restored into `out`.
fn make(dir: &Path, out: &Path) -> Result<Restore, Failure> {
    let name = out.join("layers").join(dir.file_name().ok_or("a directory has a name")?);
    fs::create_dir_all(out.join("layers"))?;
    let tree = Tree { name: name.clone(), ..Tree::on_disk(dir, Owner { uid: 0, gid: 0 })? };
    let tree = Tree { parents: Tree::on_disk(&name, Owner { uid: 0, gid: 0 })?.parents, ..tree };
    let mut hash = Hashing::new(File::create(tar_of(&name))?);
    io::copy(&mut LayerSource::Dir(tree).open()?, &mut hash)?;
    Ok(Restore { diff_id: DiffId::new(hash.finish().0), dir: name })
}
