//! Exporting: the app image of the run image, the buildpacks' layers, the application and the
//! launcher; and the cache for the next build.
//!
//! ```text
//! layers directory ─► content::collect ─► [Item] ─► write_layers ─► [Written]
//! run image ──────────────────────────────────────────────┬──────────────┘
//!                                                         ▼
//!                              compose: layers, labels, config ─► ImageStore::save ─► Report
//!                                                         └─────► Cache::commit
//! ```
//!
//! Each layer is read once, for image and cache alike. The image is saved before the cache is
//! committed, and a cache that fails is worth a warning.
//!
//! Spec: platform.md "exporter", buildpack.md "Phase #4: Export".

mod cache;
mod compose;
mod content;
mod elsewhere;
mod extended;
mod labels;
mod sbom;

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use crate::api::PlatformApi;
use crate::cache::Cache;
use crate::exec_env::ExecEnv;
use crate::files::FileError;
use crate::files::data::NotFinite;
use crate::files::group::Group;
use crate::files::labels::LifecycleMetadata;
use crate::files::metadata::BuildMetadata;
use crate::files::project::ProjectMetadata;
use crate::files::report::Report;
use crate::files::run::MirroredImage;
use crate::image::Image;
use crate::image::store::{ImageStore, StoreError};
use crate::layers::blob::{LayerError, Outputs, write_layers};
use crate::layers::dir::DirError;
use crate::layers::slices::SliceError;
use crate::layers::tar::{Owner, TarError};
use crate::log::Log;
use crate::phase::save::save;
use crate::reference::ImageName;
pub use content::Launcher;

/// What an export is told.
#[derive(Clone, Copy)]
pub struct Export<'a> {
    /// The Platform API.
    pub api: PlatformApi,
    /// Where the run image and the previous image are, and the app image goes.
    pub store: &'a dyn ImageStore,
    /// The names of the app image, at least one.
    pub names: &'a [ImageName],
    /// The run image.
    pub run_image: &'a ImageName,
    /// What the label says about the run image's names.
    pub run_image_names: Option<&'a MirroredImage>,
    /// The directory with the run image as extensions changed it, if they did.
    pub extended: Option<&'a Path>,
    /// The image of the build before, if there was one.
    pub previous: Option<Previous<'a>>,
    /// The group.
    pub group: &'a Group,
    /// What the buildpacks contributed.
    pub build: &'a BuildMetadata,
    /// Where the application's source comes from.
    pub project: &'a ProjectMetadata,
    /// The layers directory.
    pub layers: &'a Path,
    /// The application directory.
    pub app: &'a Path,
    /// The launcher.
    pub launcher: Launcher<'a>,
    /// The process that the image starts, if the platform chose one.
    pub process_type: Option<&'a str>,
    /// The execution environment that the image is for.
    pub exec_env: &'a ExecEnv,
    /// Who owns the files of the layers.
    pub owner: Owner,
    /// When the image was created, as RFC 3339.
    pub created: &'a str,
    /// The cache, if there is one.
    pub cache: Option<&'a dyn Cache>,
    /// Whether the cache waits for the image.
    pub cache_saving: CacheSaving,
    /// How many threads make layers; the bytes do not depend on it.
    pub threads: NonZeroUsize,
}

/// When the cache is saved; its layers are made together with the image's in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CacheSaving {
    /// When the image is saved: a build that fails leaves the cache as it was.
    AfterImage,
    /// At the same time as the image.
    WithImage,
}

/// The image of the build before.
#[derive(Debug, Clone, Copy)]
pub struct Previous<'a> {
    /// What names exactly it.
    pub image: &'a ImageName,
    /// What it says about its layers.
    pub metadata: &'a LifecycleMetadata,
}

/// Why an image cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The store failed.
    #[error("{doing}")]
    Store {
        /// What it was asked.
        doing: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The run image is gone since it was analyzed.
    #[error("run image `{0}` not found")]
    NoRunImage(String),
    /// A buildpack's layers directory cannot be read.
    #[error("reading layers")]
    Layers(#[from] DirError),
    /// The application cannot be divided into slices.
    #[error("exporting app layers")]
    Slices(#[from] SliceError),
    /// A directory of a layer cannot be read.
    #[error("creating layer")]
    Tar(#[from] TarError),
    /// A layer cannot be made or stored.
    #[error("creating layers")]
    Layer(#[from] LayerError),
    /// A cached launch layer without contents: they should have come back from the cache.
    #[error("layer '{0}' is cache=true but has no contents")]
    EmptyCachedLayer(String),
    /// A layer without contents that no earlier build made.
    #[error("cannot reuse '{0}', previous image has no metadata for layer '{0}'")]
    NothingToReuse(String),
    /// A layer without contents whose image is gone, or has no such layer.
    #[error("cannot reuse '{0}', the previous image does not have its layer")]
    LayerGone(String),
    /// The process to start does not exist.
    #[error("tried to set {wanted} to default but it doesn't exist; there is {known}")]
    NoProcess {
        /// What was asked for.
        wanted: String,
        /// The types that exist.
        known: String,
    },
    /// Metadata holds a number that JSON has not.
    #[error("layer '{0}' has metadata that the image cannot hold")]
    Metadata(String, #[source] NotFinite),
    /// A file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The extended run image is not what it must be.
    #[error("extended run image in `{}`: {why}", path.display())]
    Extended {
        /// The directory.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The bills of materials of the lifecycle cannot be copied.
    #[error("failed to copy SBOM to `{}`", path.display())]
    Sbom {
        /// Where to.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Makes the app image, saves it under all its names, and fills the cache.
///
/// # Errors
/// See [`ExportError`]. Until every layer is stored nothing that had a name is changed.
pub fn export(inputs: &Export<'_>, log: &Log) -> Result<Report, ExportError> {
    let entrypoint = compose::entrypoint(inputs)?;
    let base = find(inputs, inputs.run_image, "access run image")?
        .ok_or_else(|| ExportError::NoRunImage(inputs.run_image.to_string()))?;
    let previous = previous_image(inputs, log)?;
    tell_target(inputs, log);
    tell_elsewhere(inputs, log);
    let extended = inputs.extended.map(extended::read).transpose()?;
    if inputs.api.copies_lifecycle_sbom() {
        sbom::copy(inputs, log)?;
    }
    let dirs = content::read_dirs(inputs)?;
    let items_of = |extended: &extended::Extended| extended.items(&base, inputs.store, &inputs.names[0]);
    let extension_layers = extended.as_ref().map_or(Ok(Vec::new()), items_of)?;
    let items = content::collect(inputs, &dirs, extension_layers, log)?;
    let cached = cache::metadata(inputs.cache, log);
    let jobs = content::jobs(inputs, &items, &dirs, previous.as_ref(), &cached);
    let outputs = Outputs {
        image: Some((inputs.store, &inputs.names[0])),
        family: base.family,
        cache: inputs.cache,
        threads: inputs.threads,
    };
    let written = write_layers(&jobs, &outputs)?;
    let made = compose::pair(&items, written);
    let image =
        compose::Parts { inputs, dirs: &dirs, previous: previous.as_ref(), extended: extended.as_ref() }
            .image(base, &made, entrypoint.as_deref(), log)?;
    let build = compose::legacy_bom(inputs)?;
    let next = cache::describe(inputs, &dirs, &made);
    let save_image = || {
        save(inputs.store, &image, inputs.names, log)
            .map_err(|source| ExportError::Store { doing: format!("save `{}`", inputs.names[0]), source })
    };
    let (image, cached) = match inputs.cache_saving {
        CacheSaving::AfterImage => (save_image()?, next.map(cache::Next::commit)),
        CacheSaving::WithImage => std::thread::scope(|scope| {
            let caching = scope.spawn(|| next.map(cache::Next::commit));
            let image = save_image();
            let cached = caching.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            image.map(|image| (image, cached))
        })?,
    };
    cache::tell(cached, &made, log);
    Ok(Report { image, build })
}

fn find(inputs: &Export<'_>, name: &ImageName, doing: &str) -> Result<Option<Image>, ExportError> {
    inputs
        .store
        .find(name)
        .map_err(|source| ExportError::Store { doing: format!("{doing} `{name}`"), source })
}

/// The image of the build before. One that is gone only costs the reuse of its layers.
fn previous_image(inputs: &Export<'_>, log: &Log) -> Result<Option<Image>, ExportError> {
    let Some(previous) = inputs.previous else { return Ok(None) };
    tell_previous(inputs, previous.image, log);
    let found = find(inputs, previous.image, "access previous image")?;
    if found.is_none() {
        log.warn(format!("Previous image '{}' is gone; its layers are made again", previous.image));
    }
    Ok(found)
}

/// Says whose layers are reused. The lines are those that users of platforms know: an engine's image is told
/// of where details are wanted, a layout by its directory.
fn tell_previous(inputs: &Export<'_>, previous: &ImageName, log: &Log) {
    match previous {
        ImageName::ImageId(id) => log.debug(format!("Reusing layers from image with id '{}'", id.hex())),
        name => log.info(format!("Reusing layers from image '{}'", inputs.store.shown(name))),
    }
}

/// Says which images are on another registry than the app image.
fn tell_elsewhere(inputs: &Export<'_>, log: &Log) {
    let previous = inputs.previous.map(|previous| ("previous image", previous.image));
    let sources: Vec<_> = std::iter::once(("run image", inputs.run_image)).chain(previous).collect();
    for text in elsewhere::tell(&inputs.names[0], &sources) {
        log.info(text);
    }
}

/// Says where a layout is written: no other image is found under another name than the one it was given.
fn tell_target(inputs: &Export<'_>, log: &Log) {
    let name = &inputs.names[0];
    let shown = inputs.store.shown(name);
    if shown != name.to_string() {
        log.info(format!("Using app image: {shown}"));
    }
}
