//! The Docker daemon as an image store.
//!
//! It has no blobs: layers go in and come out as plain tars, nothing is compressed, and an image is
//! known by its ID. What is new is kept in files of a temporary directory until the image is saved.

mod content;
pub mod engine;
mod fetch;
mod inspect;
mod load;
mod socket;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::{Encoding, ImageStore, LayerSink, StoreError};
use crate::digest::{DiffId, Digest};
use crate::image::{Descriptor, Image, Layer, Origin, Saved};
use crate::reference::{ImageName, Reference};
use content::Partial;
use engine::Engine;
use inspect::{Inspected, Step};
use load::Archive;

/// The images of one engine.
#[derive(Debug)]
pub struct DaemonStore {
    engine: Engine,
    containerd: bool,
    /// Made when first needed: by then this process is the user who writes to it.
    directory: OnceLock<tempfile::TempDir>,
    fetched: Mutex<BTreeMap<DiffId, PathBuf>>,
    /// What was learnt of images' blobs; an ID's content never changes.
    blobs: Mutex<BTreeMap<Digest, Blobs>>,
}

/// The layer blobs of an image in a containerd image store; `None` where they are not known.
type Blobs = Option<BTreeMap<DiffId, Descriptor>>;

impl DaemonStore {
    /// The images of `engine`.
    pub fn new(engine: Engine) -> Result<Self, StoreError> {
        let info: Option<Box<serde_json::value::RawValue>> = engine.get("/info")?;
        let containerd = info.is_some_and(|info| inspect::has_containerd_store(&info));
        let (directory, fetched, blobs) = (OnceLock::new(), Mutex::default(), Mutex::default());
        Ok(Self { engine, containerd, directory, fetched, blobs })
    }

    fn directory(&self) -> Result<&Path, StoreError> {
        if let Some(directory) = self.directory.get() {
            return Ok(directory.path());
        }
        let made = tempfile::tempdir().map_err(|source| StoreError::Io {
            action: "make a directory in",
            what: "the directory for temporary files".to_owned(),
            source,
        })?;
        // Another thread may have been faster: then this one is removed again.
        Ok(self.directory.get_or_init(|| made).path())
    }

    fn inspect(&self, name: &str) -> Result<Option<Inspected>, StoreError> {
        self.engine.get(&format!("/images/{name}/json"))
    }

    /// Files with the layers of the engine's image `id`; asks for each of them only once.
    fn fetch(&self, id: Digest, wanted: &[DiffId]) -> Result<Vec<PathBuf>, StoreError> {
        let mut fetched = self.fetched.lock().unwrap_or_else(PoisonError::into_inner);
        let missing: Vec<DiffId> =
            wanted.iter().copied().filter(|diff_id| !fetched.contains_key(diff_id)).collect();
        if !missing.is_empty() {
            let stream = self.engine.stream(&format!("/images/get?names={id}"))?;
            fetched.extend(fetch::keep_layers(stream, &missing, self.directory()?)?);
        }
        Ok(wanted.iter().filter_map(|diff_id| fetched.get(diff_id).cloned()).collect())
    }

    /// How many of the image's layers, from the base on, the engine has as a chain.
    fn known(&self, image: &Image) -> Result<usize, StoreError> {
        if self.containerd {
            return Ok(0);
        }
        let mut sources: Vec<Digest> = image.layers.iter().filter_map(source).collect();
        sources.dedup();
        let mut longest = 0;
        for id in sources {
            if let Some(inspected) = self.inspect(&id.to_string())? {
                let same = inspected
                    .diff_ids()
                    .iter()
                    .zip(image.config.diff_ids())
                    .take_while(|(a, b)| a == b)
                    .count();
                longest = longest.max(same);
            }
        }
        Ok(longest)
    }

    /// The files of the layers that the engine lacks.
    fn files(&self, image: &Image) -> Result<Vec<Option<PathBuf>>, StoreError> {
        let known = self.known(image)?;
        let mut wanted: BTreeMap<Digest, Vec<DiffId>> = BTreeMap::new();
        for layer in &image.layers[known..] {
            if let Some(id) = source(layer) {
                wanted.entry(id).or_default().push(layer.diff_id);
            }
        }
        let mut from_engine = BTreeMap::new();
        for (id, diff_ids) in wanted {
            from_engine.extend(diff_ids.iter().copied().zip(self.fetch(id, &diff_ids)?));
        }
        let file = |(index, layer): (usize, &Layer)| match &layer.origin {
            _ if index < known => Ok(None),
            Origin::File(path) => Ok(Some(path.clone())),
            _ => from_engine.get(&layer.diff_id).cloned().map(Some).ok_or_else(|| {
                StoreError::NotFound(format!("layer {} for the Docker engine", layer.diff_id))
            }),
        };
        image.layers.iter().enumerate().map(file).collect()
    }

    fn load(&self, write: impl FnOnce(LoadPipe) -> io::Result<()> + Send) -> Result<(), StoreError> {
        let failed = |source| StoreError::Io {
            action: "send an image to",
            what: "the Docker engine".to_owned(),
            source,
        };
        let (mut reader, writer) = io::pipe().map_err(failed)?;
        let (answer, written) = std::thread::scope(|scope| {
            let writing = scope.spawn(|| write(io::BufWriter::with_capacity(128 << 10, writer)));
            let answer = self.engine.upload("/images/load?quiet=1", &mut reader);
            drop(reader); // a writer that nobody reads must end
            (answer, writing.join())
        });
        let answer = answer?;
        written.unwrap_or_else(|_| Err(io::Error::other("its writer panicked"))).map_err(failed)?;
        match load::failure(&answer) {
            None => Ok(()),
            Some(why) => Err(StoreError::Refused(format!("the Docker engine did not load the image: {why}"))),
        }
    }

    /// The blobs of `image` that a containerd image store has; none where it does not say.
    fn blobs(&self, image: &Image) -> Result<BTreeMap<DiffId, Descriptor>, StoreError> {
        let mut there = BTreeMap::new();
        if !self.containerd || !self.engine.tells_contents() {
            return Ok(there);
        }
        let mut known = self.blobs.lock().unwrap_or_else(PoisonError::into_inner);
        for id in image.layers.iter().filter_map(source).collect::<BTreeSet<_>>() {
            let blobs = match known.entry(id) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(content::blobs(&self.engine, id)?),
            };
            there.extend(blobs.iter().flatten().map(|(diff_id, blob)| (*diff_id, blob.clone())));
        }
        Ok(there)
    }

    /// Gives a containerd image store only what it lacks of `image`, under no name yet; its ID there.
    /// `None` where it must be given everything: it has nothing of it, does not say what it has, or
    /// lost a blob meanwhile.
    fn load_partial(&self, image: &Image) -> Option<Digest> {
        let partial = Partial::of(image, &self.blobs(image).ok()?).ok()??;
        let loaded = self.load(|out| partial.write(out));
        let complete = loaded.and_then(|()| content::is_complete(&self.engine, partial.id()));
        if matches!(complete, Ok(true)) {
            return Some(partial.id());
        }
        // Under another ID than the whole image will have; if it stays, the engine prunes it.
        let _ = self.engine.delete(&format!("/images/{}", partial.id()));
        None
    }

    fn tag(&self, id: Digest, names: &[ImageName]) -> Result<(), StoreError> {
        for name in names {
            let ImageName::Reference(reference) = name else { continue };
            let tag = reference.tag.as_deref().unwrap_or("latest");
            let repository = format!("{}/{}", reference.registry, reference.repository);
            self.engine.post(&format!("/images/{id}/tag?repo={repository}&tag={tag}"))?;
        }
        Ok(())
    }
}

/// Where an archive is written while the engine reads it.
type LoadPipe = io::BufWriter<io::PipeWriter>;

impl ImageStore for DaemonStore {
    fn find(&self, name: &ImageName) -> Result<Option<Image>, StoreError> {
        let name = locate(name)?;
        let Some(inspected) = self.inspect(&name)? else { return Ok(None) };
        let history: Option<Vec<Step>> = self.engine.get(&format!("/images/{name}/history"))?;
        inspected.into_image(&history.unwrap_or_default()).map(Some)
    }

    fn open_layer(&self, layer: &Layer) -> Result<Box<dyn Read + Send + '_>, StoreError> {
        let path = match (&layer.origin, source(layer)) {
            (Origin::File(path), _) => path.clone(),
            (_, Some(id)) => self.fetch(id, &[layer.diff_id])?.remove(0),
            _ => return Err(StoreError::NotFound(format!("layer {} in the Docker engine", layer.diff_id))),
        };
        Ok(Box::new(fetch::open(&path)?))
    }

    fn fetch_ahead(&self, layers: &[Layer]) -> Result<(), StoreError> {
        let mut wanted: BTreeMap<Digest, Vec<DiffId>> = BTreeMap::new();
        for layer in layers {
            if let Some(id) = source(layer) {
                wanted.entry(id).or_default().push(layer.diff_id);
            }
        }
        wanted.into_iter().try_for_each(|(id, diff_ids)| self.fetch(id, &diff_ids).map(drop))
    }

    fn encoding(&self) -> Encoding {
        Encoding::Tar
    }

    fn keep_alive(&self) {
        // A connection that is gone is noticed, and told, by whoever needs it.
        let _ = self.engine.ping();
    }

    fn layer_sink(&self, _target: &ImageName) -> Result<Box<dyn LayerSink + '_>, StoreError> {
        let directory = self.directory()?;
        let failed =
            |source| StoreError::Io { action: "write", what: directory.display().to_string(), source };
        let file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
        Ok(Box::new(FileSink { file }))
    }

    fn needs(&self, image: &Image) -> Result<Vec<bool>, StoreError> {
        if self.containerd {
            let there = self.blobs(image)?;
            return Ok(image.layers.iter().map(|layer| !there.contains_key(&layer.diff_id)).collect());
        }
        let known = self.known(image)?;
        Ok((0..image.layers.len()).map(|index| index >= known).collect())
    }

    fn prefetch(&self, layers: &[&Layer]) -> Result<(), StoreError> {
        let mut wanted: BTreeMap<Digest, Vec<DiffId>> = BTreeMap::new();
        for layer in layers {
            if let Some(id) = source(layer) {
                wanted.entry(id).or_default().push(layer.diff_id);
            }
        }
        wanted.iter().try_for_each(|(id, diff_ids)| self.fetch(*id, diff_ids).map(drop))
    }

    fn save(&self, image: &Image, names: &[ImageName]) -> Result<Saved, StoreError> {
        let config = image.config.to_json();
        let image_id = Digest::of(config.as_bytes());
        let tags: Vec<String> = names.iter().map(tag).collect::<Result<_, _>>()?;
        if let Some(image_id) = self.load_partial(image) {
            self.tag(image_id, names)?;
            return Ok(Saved { digest: None, manifest_size: None, image_id, unreadable: Vec::new() });
        }
        let layers = self.files(image)?;
        let archive = Archive { config, config_hex: image_id.hex(), layers, tags };
        self.load(|out| archive.write(out))?;
        let first = names
            .first()
            .ok_or_else(|| StoreError::Refused("an image needs a name to be saved".to_owned()))?;
        let found = self.inspect(&locate(first)?)?;
        let found = found.ok_or_else(|| {
            StoreError::NotFound(format!("{first} in the Docker engine that just loaded it"))
        })?;
        Ok(Saved { digest: None, manifest_size: None, image_id: found.id, unreadable: Vec::new() })
    }
}

/// A layer on its way into a file.
#[derive(Debug)]
struct FileSink {
    file: tempfile::NamedTempFile<File>,
}

impl Write for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl LayerSink for FileSink {
    fn commit(self: Box<Self>, _blob: &Descriptor) -> Result<Origin, StoreError> {
        let (_, path) = self.file.keep().map_err(|error| StoreError::Io {
            action: "keep",
            what: error.file.path().display().to_string(),
            source: error.error,
        })?;
        Ok(Origin::File(path))
    }
}

/// The engine's image that a layer is of.
fn source(layer: &Layer) -> Option<Digest> {
    match &layer.origin {
        Origin::Stored(ImageName::ImageId(id)) => Some(*id),
        _ => None,
    }
}

/// How the engine is asked for an image.
fn locate(name: &ImageName) -> Result<String, StoreError> {
    match name {
        ImageName::ImageId(id) => Ok(id.to_string()),
        ImageName::Reference(reference) => Ok(full(reference)),
        ImageName::Layout { .. } => {
            Err(StoreError::Refused(format!("`{name}` does not name an image of a Docker engine")))
        }
    }
}

fn full(reference: &Reference) -> String {
    match (&reference.tag, reference.digest) {
        (_, Some(digest)) => format!("{}/{}@{digest}", reference.registry, reference.repository),
        (tag, None) => {
            let tag = tag.as_deref().unwrap_or("latest");
            format!("{}/{}:{tag}", reference.registry, reference.repository)
        }
    }
}

fn tag(name: &ImageName) -> Result<String, StoreError> {
    match name {
        ImageName::Reference(reference) if reference.digest.is_none() => Ok(full(reference)),
        _ => Err(StoreError::Refused(format!(
            "`{name}` is not a tag that an image of a Docker engine can have"
        ))),
    }
}
