//! One pass over a layer: what it makes, how far it has come, and what follows from it.
//!
//! ```text
//! Stream ─► blocks ─┬─► RawSide: diffID, the cache's tar or a comparison with it
//!                   └─► compressed, in any order ─► BlobSide: digest, the store's sink
//! ```
//!
//! A layer that may be the same as before is only hashed at first, and made in a second pass if it is
//! not.

use std::io::{self, Read, Write as _};
use std::path::PathBuf;

use super::blob::{CacheOutcome, Job, LayerError, Outcome, Outputs, Want, Written};
use super::pack::{Frame, Packed};
use super::stream::Stream;
use super::tar::{LayerSource, TarError};
use crate::cache::{Cache, CacheError, CacheSink};
use crate::digest::{DiffId, Hashing};
use crate::image::Layer;
use crate::image::store::{Encoding, LayerSink, StoreError};
use crate::image::{Descriptor, MediaFamily};

/// What a pass makes.
#[derive(Debug, Default)]
pub struct Plan {
    blob: bool,
    tee: bool,
    /// The cache's entry that the tar is compared with.
    compare: Option<DiffId>,
    /// What the pass before found.
    settled: Option<Settled>,
}

/// What is known of a layer after its first pass.
#[derive(Debug)]
struct Settled {
    diff_id: DiffId,
    image: Option<Outcome>,
    cache: Option<Result<CacheOutcome, CacheError>>,
}

/// What follows from a pass.
#[derive(Debug)]
pub enum Finished {
    /// Nothing: the layer is made.
    Done(Box<Written>),
    /// Another pass.
    Again(Plan),
}

/// What a pass works with, all open.
pub struct Opened<'a> {
    /// The layer's tar.
    pub stream: Stream<'a>,
    /// Takes the tar as it is.
    pub raw: RawSide<'a>,
    /// Takes the compressed blocks, if the image needs them.
    pub blob: Option<BlobSide<'a>>,
}

impl Plan {
    /// The first pass over a layer.
    pub fn first(job: &Job, outputs: &Outputs<'_>) -> Self {
        let compare = match job.cache {
            Want::UnlessStill(diff_id) => outputs.cache.filter(|cache| cache.compares()).and(Some(diff_id)),
            Want::No | Want::Yes => None,
        };
        let blob = job.image == Want::Yes && outputs.image.is_some();
        Self { blob, tee: job.cache == Want::Yes && is_teed(outputs, blob), compare, settled: None }
    }

    /// The whole layer again, because it was found to have changed before it was read to its end.
    pub fn changed(job: &Job, outputs: &Outputs<'_>) -> Self {
        let blob = job.image != Want::No && outputs.image.is_some();
        Self { blob, tee: is_teed(outputs, blob), compare: None, settled: None }
    }

    /// Whether a difference from the cache's entry says all: the image needs the layer then, too.
    pub fn ends_at_difference(&self, job: &Job) -> bool {
        !self.blob
            && self.compare.is_some_and(|diff_id| {
                matches!(job.image, Want::No) || job.image == Want::UnlessStill(diff_id)
            })
    }

    /// Opens all that the pass needs.
    pub fn open<'a>(&self, job: &'a Job, outputs: &Outputs<'a>) -> Result<Opened<'a>, LayerError> {
        let stream = job.source.open()?;
        let blob = if self.blob { BlobSide::open(outputs)? } else { None };
        Ok(Opened { stream, raw: RawSide::open(self, outputs), blob })
    }

    /// Ends a pass whose tar was read to its end.
    pub fn finish(
        mut self,
        job: &Job,
        outputs: &Outputs<'_>,
        raw: RawSide<'_>,
        blob: Option<BlobSide<'_>>,
    ) -> Result<Finished, LayerError> {
        let (diff_id, tar_bytes, taken) = raw.finish();
        let settled = self.settled.take();
        if settled.as_ref().is_some_and(|settled| settled.diff_id != diff_id) {
            return Err(TarError::Changed(path(&job.source)).into());
        }
        let (image, cache) = settled.map_or((None, None), |settled| (settled.image, settled.cache));
        let image = match image {
            Some(image) => Some(image),
            None => settle_image(job, outputs, blob, diff_id)?,
        };
        let cache = cache.or_else(|| settle_cache(job, outputs, taken, diff_id, image.as_ref()));
        match (image, cache) {
            (Some(image), Some(cache)) => {
                Ok(Finished::Done(Box::new(Written { diff_id, tar_bytes, image, cache })))
            }
            (image, cache) => Ok(Finished::Again(Self {
                blob: image.is_none(),
                tee: cache.is_none() && is_teed(outputs, image.is_none()),
                compare: None,
                settled: Some(Settled { diff_id, image, cache }),
            })),
        }
    }
}

/// Whether a cache is given the tar: not where it takes over the blob that the pass makes anyway.
fn is_teed(outputs: &Outputs<'_>, blob: bool) -> bool {
    outputs.cache.is_some_and(|cache| !(blob && cache.adopts()))
}

/// What becomes of the layer in the image; `None` if only another pass can tell.
fn settle_image(
    job: &Job,
    outputs: &Outputs<'_>,
    blob: Option<BlobSide<'_>>,
    diff_id: DiffId,
) -> Result<Option<Outcome>, LayerError> {
    match job.image {
        _ if outputs.image.is_none() => Ok(Some(Outcome::NotWanted)),
        Want::No => Ok(Some(Outcome::NotWanted)),
        Want::UnlessStill(before) if before == diff_id => Ok(Some(Outcome::Same)),
        Want::Yes | Want::UnlessStill(_) => match blob {
            Some(blob) => Ok(Some(Outcome::New(Box::new(blob.commit(outputs.family, diff_id)?)))),
            None => Ok(None),
        },
    }
}

/// What becomes of the layer in the cache; `None` if only another pass can tell.
fn settle_cache(
    job: &Job,
    outputs: &Outputs<'_>,
    taken: Taken,
    diff_id: DiffId,
    image: Option<&Outcome>,
) -> Option<Result<CacheOutcome, CacheError>> {
    let before = match job.cache {
        Want::UnlessStill(before) => Some(before),
        Want::No | Want::Yes => None,
    };
    match (outputs.cache, taken) {
        (None, _) => Some(Ok(CacheOutcome::NotWanted)),
        (_, Taken::Nothing) if job.cache == Want::No => Some(Ok(CacheOutcome::NotWanted)),
        (_, Taken::Written(result)) => {
            Some(
                result.map(|()| {
                    if before == Some(diff_id) { CacheOutcome::Replaced } else { CacheOutcome::Added }
                }),
            )
        }
        (Some(cache), taken) if before == Some(diff_id) && (taken.is_same() || !cache.compares()) => {
            match cache.reuse_layer(diff_id) {
                Ok(()) => Some(Ok(CacheOutcome::Reused)),
                Err(_) => adopt(cache, image),
            }
        }
        (Some(cache), Taken::Nothing) => adopt(cache, image),
        (Some(_), Taken::Same) => None,
    }
}

/// Lets a cache take over the layer that the image was just given; `None` if there is none.
fn adopt(cache: &dyn Cache, image: Option<&Outcome>) -> Option<Result<CacheOutcome, CacheError>> {
    let Some(Outcome::New(layer)) = image else { return None };
    cache.adopts().then(|| {
        cache.adopt(layer);
        Ok(CacheOutcome::Added)
    })
}

/// Where a source is on disk, for messages.
fn path(source: &LayerSource) -> PathBuf {
    match source {
        LayerSource::Dir(tree) => tree.path.clone(),
        LayerSource::Slice(slice) => slice.tree.path.clone(),
        LayerSource::Launcher(path) | LayerSource::Archive(path) => path.clone(),
        LayerSource::ProcessTypes(_) => PathBuf::from("/cnb/process"),
    }
}

/// Takes a tar as it is: hashes it, and writes it to the cache or compares it with what is there.
pub struct RawSide<'a> {
    hash: Hashing<io::Sink>,
    cache: CacheSide<'a>,
}

enum CacheSide<'a> {
    None,
    Tee(Box<dyn CacheSink + 'a>),
    Compare(Box<dyn Read + Send + 'a>, Vec<u8>),
    Different,
    Failed(CacheError),
}

/// What the cache has of a tar.
#[derive(Debug)]
enum Taken {
    /// Nothing, or not the same bytes.
    Nothing,
    /// The same bytes in the entry that was compared.
    Same,
    /// All of it, or why not.
    Written(Result<(), CacheError>),
}

impl Taken {
    fn is_same(&self) -> bool {
        matches!(self, Self::Same)
    }
}

impl<'a> RawSide<'a> {
    fn open(plan: &Plan, outputs: &Outputs<'a>) -> Self {
        let cache = match (outputs.cache, plan.compare) {
            (Some(cache), None) if plan.tee => CacheSide::tee(cache),
            // An entry that cannot be opened is written anew at once.
            (Some(cache), Some(diff_id)) => {
                cache.open_layer(diff_id).map_or_else(|_| CacheSide::tee(cache), CacheSide::compare)
            }
            _ => CacheSide::None,
        };
        Self { hash: Hashing::new(io::sink()), cache }
    }

    /// Takes the next block.
    pub fn take(&mut self, block: &[u8], cache: Option<&dyn Cache>) {
        self.hash.write_all(block).expect("a sink takes all");
        let failed = |source| CacheError::Io {
            action: "write",
            path: cache.map_or_else(String::new, Cache::name).into(),
            source,
        };
        match &mut self.cache {
            CacheSide::Tee(sink) => {
                if let Err(source) = sink.write_all(block) {
                    self.cache = CacheSide::Failed(failed(source));
                }
            }
            CacheSide::Compare(entry, buffer) => {
                if !begins_with(entry, block, buffer) {
                    self.cache = CacheSide::Different;
                }
            }
            CacheSide::None | CacheSide::Different | CacheSide::Failed(_) => {}
        }
    }

    /// Whether the cache's entry was found to hold something else.
    pub fn differs(&self) -> bool {
        matches!(self.cache, CacheSide::Different)
    }

    fn finish(self) -> (DiffId, u64, Taken) {
        let (digest, size, _) = self.hash.finish();
        let diff_id = DiffId::new(digest);
        let taken = match self.cache {
            CacheSide::None | CacheSide::Different => Taken::Nothing,
            CacheSide::Tee(sink) => Taken::Written(sink.commit(diff_id)),
            CacheSide::Failed(error) => Taken::Written(Err(error)),
            CacheSide::Compare(mut entry, _) => match entry.read(&mut [0]) {
                Ok(0) => Taken::Same,
                _ => Taken::Nothing,
            },
        };
        (diff_id, size, taken)
    }
}

impl<'a> CacheSide<'a> {
    fn tee(cache: &'a dyn Cache) -> Self {
        cache.layer_sink().map_or_else(Self::Failed, Self::Tee)
    }

    fn compare(entry: Box<dyn Read + Send + 'a>) -> Self {
        Self::Compare(entry, vec![0; 1 << 16])
    }
}

/// Whether the next bytes of `entry` are those of `block`. One that cannot be read is another.
fn begins_with(entry: &mut dyn Read, block: &[u8], buffer: &mut [u8]) -> bool {
    block.chunks(buffer.len()).all(|expected| {
        let found = &mut buffer[..expected.len()];
        entry.read_exact(found).is_ok() && found == expected
    })
}

/// Takes compressed blocks in order, and makes a blob of them.
pub struct BlobSide<'a> {
    sink: Hashing<Box<dyn LayerSink + 'a>>,
    frame: Frame,
    encoding: Encoding,
    begun: bool,
}

impl<'a> BlobSide<'a> {
    fn open(outputs: &Outputs<'a>) -> Result<Option<Self>, StoreError> {
        let Some((store, target)) = outputs.image else { return Ok(None) };
        let encoding = store.encoding();
        let sink = Hashing::new(store.layer_sink(target)?);
        Ok(Some(Self { sink, frame: Frame::new(encoding), encoding, begun: false }))
    }

    /// Takes the next block, which had `length` bytes.
    pub fn take(&mut self, packed: &Packed, length: usize) -> Result<(), StoreError> {
        self.begin().and_then(|()| self.sink.write_all(&packed.bytes)).map_err(failed)?;
        self.frame.add(packed, length);
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.sink.write_all(self.frame.header())?;
        }
        Ok(())
    }

    fn commit(mut self, family: MediaFamily, diff_id: DiffId) -> Result<Layer, StoreError> {
        self.begin().and_then(|()| self.sink.write_all(&self.frame.trailer())).map_err(failed)?;
        let (digest, size, sink) = self.sink.finish();
        let blob = Descriptor::new(family.layer(self.encoding), size, digest);
        let origin = sink.commit(&blob)?;
        Ok(Layer { diff_id, blob: Some(blob), origin })
    }
}

fn failed(source: io::Error) -> StoreError {
    StoreError::Io { action: "write", what: "a new layer".to_owned(), source }
}
