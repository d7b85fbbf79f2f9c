//! How fast a directory becomes layers: `layer_speed DIR OUT [THREADS] [gzip|zstd|tar|hash]`.
//!
//! Each entry of DIR becomes one layer, written to a file in OUT. Prints what was read and written,
//! throughput and the most memory used. `hash` makes diffIDs only.

use std::fs;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lifecycle::image::store::{Encoding, ImageStore, LayerSink, StoreError};
use lifecycle::image::{Descriptor, Image, Layer, MediaFamily, Origin, Saved};
use lifecycle::layers::blob::{Job, Outputs, Want, write_layers};
use lifecycle::layers::tar::{LayerSource, Owner};
use lifecycle::reference::ImageName;

/// Files in a directory.
struct Files(PathBuf, Encoding);

struct FileSink(tempfile::NamedTempFile);

impl Write for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl LayerSink for FileSink {
    fn commit(self: Box<Self>, blob: &Descriptor) -> Result<Origin, StoreError> {
        let path = self.0.path().with_file_name(blob.digest.hex());
        self.0.persist(&path).map_err(|error| StoreError::Refused(error.to_string()))?;
        Ok(Origin::File(path))
    }
}

impl ImageStore for Files {
    fn find(&self, _name: &ImageName) -> Result<Option<Image>, StoreError> {
        Ok(None)
    }

    fn open_layer(&self, _layer: &Layer) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        Err(StoreError::Refused("nothing is read".to_owned()))
    }

    fn encoding(&self) -> Encoding {
        self.1
    }

    fn layer_sink(&self, _target: &ImageName) -> Result<Box<dyn LayerSink + '_>, StoreError> {
        let file = tempfile::NamedTempFile::new_in(&self.0);
        file.map(|file| Box::new(FileSink(file)) as _).map_err(|error| StoreError::Refused(error.to_string()))
    }

    fn save(&self, _image: &Image, _names: &[ImageName]) -> Result<Saved, StoreError> {
        Err(StoreError::Refused("nothing is saved".to_owned()))
    }
}

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().collect();
    let (Some(dir), Some(out)) = (args.get(1), args.get(2)) else {
        return Err("usage: layer_speed DIR OUT [THREADS] [gzip|zstd|tar|hash]".into());
    };
    let threads: NonZeroUsize = args.get(3).map_or("2", String::as_str).parse()?;
    let mode = args.get(4).map_or("gzip", String::as_str);
    let encoding = match mode {
        "zstd" => Encoding::Zstd,
        "tar" => Encoding::Tar,
        _ => Encoding::Gzip,
    };
    let store = Files(out.into(), encoding);
    let target = ImageName::Layout { path: out.into(), digest: None };
    let image = (mode != "hash").then_some((&store as &dyn ImageStore, &target));
    let outputs = Outputs { image, family: MediaFamily::Oci, cache: None, threads };
    let jobs = jobs(Path::new(dir))?;
    let begin = Instant::now();
    let written = write_layers(&jobs, &outputs)?;
    let millis = begin.elapsed().as_millis().max(1);
    let bytes: u64 = written.iter().map(|made| made.tar_bytes).sum();
    let rate = u128::from(bytes) / millis / 1000;
    println!("{} layers, {} MB of tar in {millis} ms: {rate} MB/s", written.len(), bytes / 1_000_000);
    print_usage()
}

fn jobs(dir: &Path) -> Result<Vec<Job>, Failure> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    let owner = Owner { uid: 1000, gid: 1000 };
    let job = |path: &PathBuf| {
        Ok(Job { source: LayerSource::dir(path, owner)?, image: Want::Yes, cache: Want::No })
    };
    paths.iter().map(job).collect()
}

/// What the kernel counted: most memory, bytes read and written, processor time.
fn print_usage() -> Result<(), Failure> {
    let status = fs::read_to_string("/proc/self/status")?;
    let io = fs::read_to_string("/proc/self/io")?;
    for line in status.lines().chain(io.lines()) {
        if ["VmHWM", "rchar", "wchar"].iter().any(|key| line.starts_with(key)) {
            println!("{line}");
        }
    }
    let stat = fs::read_to_string("/proc/self/stat")?;
    let ticks: Vec<&str> = stat.split(' ').skip(13).take(2).collect();
    println!("processor time in ticks of 10 ms, user and system: {}", ticks.join(" "));
    Ok(())
}
