//! What an app image and a cache are to hold, layer by layer, in the order of the image.
//!
//! Here is decided which layers there are and where each comes from; nothing is read but the
//! buildpacks' layer files.

use std::path::Path;
use std::sync::Arc;

use super::{Export, ExportError};
use crate::cache::CacheMetadata;
use crate::digest::DiffId;
use crate::files::group::GroupElement;
use crate::image::{Image, Layer};
use crate::layers::blob::{Job, Want};
use crate::layers::dir::{BuildpackDir, FoundLayer};
use crate::layers::slices;
use crate::layers::tar::LayerSource;
use crate::log::Log;

/// A layer of the app image, or of the cache alone.
#[derive(Debug, Clone)]
pub struct Item {
    /// What messages call it: `<buildpack>:<layer>`, `slice-1`, `buildpacksio/lifecycle:config`.
    pub id: String,
    /// How it was made, for the image's history.
    pub created_by: String,
    /// What it holds.
    pub part: Part,
    /// Where its bytes come from.
    pub content: Content,
    /// Whether it is part of the image.
    pub in_image: bool,
    /// Whether it is part of the cache.
    pub in_cache: bool,
}

/// What a layer holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// What an extension added to the run image.
    Extension,
    /// A buildpack's layer: the buildpack by its place in the group, the layer by its place in the
    /// buildpack's directory.
    Buildpack(usize, usize),
    /// SBOM files of what is in the image.
    LaunchSbom,
    /// A slice of the application, from 0.
    App(usize),
    /// The launcher.
    Launcher,
    /// The launcher's configuration.
    Config,
    /// The names of processes as programs.
    ProcessTypes,
    /// SBOM files of cached layers.
    CacheSbom,
}

/// Where a layer's bytes come from.
#[derive(Debug, Clone)]
pub enum Content {
    /// They are made.
    Made(LayerSource),
    /// The previous image has them.
    Previous(DiffId),
    /// They are a blob already: an extension's.
    Ready(Box<Layer>),
}

/// The buildpacks of the group, each with what it left in its layers directory.
pub type BuildpackDirs<'a> = Vec<(&'a GroupElement, BuildpackDir)>;

/// Reads what each buildpack of the group left in its layers directory.
pub fn read_dirs<'a>(inputs: &Export<'a>) -> Result<BuildpackDirs<'a>, ExportError> {
    let read = |buildpack: &'a GroupElement| {
        let dir = BuildpackDir::read(inputs.layers, &buildpack.id)?;
        Ok((buildpack, dir))
    };
    inputs.group.group.iter().map(read).collect()
}

/// Every layer, in the order of the image; those of the cache alone where they belong among them.
pub fn collect(
    inputs: &Export<'_>,
    dirs: &BuildpackDirs<'_>,
    extension_layers: Vec<Item>,
    log: &Log,
) -> Result<Vec<Item>, ExportError> {
    let mut items = extension_layers;
    for (index, (buildpack, dir)) in dirs.iter().enumerate() {
        for (place, layer) in dir.layers.iter().enumerate() {
            items.extend(buildpack_layer(inputs, buildpack, layer, Part::Buildpack(index, place), log)?);
        }
    }
    if inputs.api.has_sbom() {
        items.extend(sbom(inputs, "launch", Part::LaunchSbom)?);
    }
    items.extend(app(inputs)?);
    items.push(own("launcher", "Buildpacks Application Launcher", Part::Launcher, launcher(inputs)));
    let config = LayerSource::dir(&inputs.layers.join("config"), inputs.owner)?;
    items.push(own("config", "Buildpacks Launcher Config", Part::Config, config));
    if !inputs.build.processes.is_empty() {
        let types = inputs.build.processes.iter().map(|process| process.process_type.clone()).collect();
        let links = LayerSource::ProcessTypes(types);
        items.push(own("process-types", "Buildpacks Process Types", Part::ProcessTypes, links));
    }
    if inputs.api.has_sbom() && inputs.cache.is_some() {
        items.extend(sbom(inputs, "cache", Part::CacheSbom)?);
    }
    Ok(items)
}

/// A launch layer, a cached layer or both; `None` for one that is neither.
///
/// Spec: buildpack.md "Layer Types": a launch layer without contents is taken from the previous image.
fn buildpack_layer(
    inputs: &Export<'_>,
    buildpack: &GroupElement,
    layer: &FoundLayer,
    part: Part,
    log: &Log,
) -> Result<Option<Item>, ExportError> {
    let types = layer.file.types;
    let id = format!("{}:{}", buildpack.id, layer.name);
    let created_by = format!("Layer: '{}', Created by buildpack: {buildpack}", layer.name);
    let content = match (&layer.contents, types.launch, types.cache) {
        (Some(path), _, _) => Content::Made(LayerSource::dir(path, inputs.owner)?),
        (None, true, true) => return Err(ExportError::EmptyCachedLayer(id)),
        (None, true, false) => Content::Previous(previous_layer(inputs, buildpack, &layer.name, &id)?),
        (None, false, true) => {
            if inputs.cache.is_some() {
                log.warn(format!("Failed to cache layer '{id}' because it has no contents"));
            }
            return Ok(None);
        }
        (None, false, false) => return Ok(None),
    };
    let in_cache = types.cache && inputs.cache.is_some();
    let wanted = types.launch || in_cache;
    Ok(wanted.then_some(Item { id, created_by, part, content, in_image: types.launch, in_cache }))
}

fn previous_layer(
    inputs: &Export<'_>,
    buildpack: &GroupElement,
    layer: &str,
    id: &str,
) -> Result<DiffId, ExportError> {
    let known = inputs.previous.and_then(|previous| previous.metadata.buildpack(buildpack.id.as_str()));
    let known = known.and_then(|buildpack| buildpack.layers.get(layer));
    known.and_then(|layer| layer.sha.parse().ok()).ok_or_else(|| ExportError::NothingToReuse(id.to_owned()))
}

/// The SBOM files of one kind, if there are any.
fn sbom(inputs: &Export<'_>, kind: &str, part: Part) -> Result<Option<Item>, ExportError> {
    let dir = inputs.layers.join("sbom").join(kind);
    if !dir.is_dir() {
        return Ok(None);
    }
    let source = LayerSource::dir(&dir, inputs.owner)?;
    let in_cache = part == Part::CacheSbom;
    let item = own(&format!("{kind}.sbom"), "Software Bill-of-Materials", part, source);
    Ok(Some(Item { in_image: !in_cache, in_cache, ..item }))
}

/// The application, in as many layers as it has slices and one for the rest.
fn app(inputs: &Export<'_>) -> Result<Vec<Item>, ExportError> {
    let patterns: Vec<Vec<String>> = inputs.build.slices.iter().map(|slice| slice.paths.clone()).collect();
    let parts = slices::slice(inputs.app, &patterns, inputs.owner)?;
    let created_by = |number| match patterns.len() {
        0 => "Application Layer".to_owned(),
        _ => format!("Application Slice: {number}"),
    };
    let item = |(index, slice)| Item {
        id: format!("slice-{}", index + 1),
        created_by: created_by(index + 1),
        part: Part::App(index),
        content: Content::Made(LayerSource::Slice(Arc::new(slice))),
        in_image: true,
        in_cache: false,
    };
    Ok(parts.into_iter().enumerate().map(item).collect())
}

fn launcher(inputs: &Export<'_>) -> LayerSource {
    LayerSource::Launcher(inputs.launcher.path.to_owned())
}

/// A layer of the lifecycle's own.
fn own(name: &str, created_by: &str, part: Part, source: LayerSource) -> Item {
    Item {
        id: format!("buildpacksio/lifecycle:{name}"),
        created_by: created_by.to_owned(),
        part,
        content: Content::Made(source),
        in_image: true,
        in_cache: false,
    }
}

/// The layers that have to be made, as jobs; `previous` is the image whose layers can be kept, and
/// `cached` what the cache holds.
pub fn jobs(
    inputs: &Export<'_>,
    items: &[Item],
    dirs: &BuildpackDirs<'_>,
    previous: Option<&Image>,
    cached: &CacheMetadata,
) -> Vec<Job> {
    let job = |item: &Item| match &item.content {
        Content::Previous(_) | Content::Ready(_) => None,
        Content::Made(source) => {
            let known = previous_diff_id(inputs, item, dirs);
            let kept = known.filter(|diff_id| previous.is_some_and(|image| image.layer(*diff_id).is_some()));
            Some(Job {
                source: source.clone(),
                image: want(item.in_image, kept),
                cache: want(item.in_cache, cached_diff_id(item, dirs, cached)),
            })
        }
    };
    items.iter().filter_map(job).collect()
}

fn want(wanted: bool, still: Option<DiffId>) -> Want {
    match (wanted, still) {
        (false, _) => Want::No,
        (true, None) => Want::Yes,
        (true, Some(diff_id)) => Want::UnlessStill(diff_id),
    }
}

/// The layer of the previous image that held the same part.
fn previous_diff_id(inputs: &Export<'_>, item: &Item, dirs: &BuildpackDirs<'_>) -> Option<DiffId> {
    let metadata = &inputs.previous?.metadata;
    match item.part {
        Part::Extension | Part::CacheSbom => None,
        Part::Buildpack(buildpack, layer) => {
            let (id, name) = names(dirs, buildpack, layer);
            metadata.buildpack(id)?.layers.get(name)?.sha.parse().ok()
        }
        Part::LaunchSbom => metadata.sbom.as_ref()?.diff_id(),
        Part::App(index) => metadata.app.get(index)?.diff_id(),
        Part::Launcher => metadata.launcher.diff_id(),
        Part::Config => metadata.config.diff_id(),
        Part::ProcessTypes => metadata.process_types.diff_id(),
    }
}

/// The layer of the cache that held the same part.
fn cached_diff_id(item: &Item, dirs: &BuildpackDirs<'_>, cached: &CacheMetadata) -> Option<DiffId> {
    match item.part {
        Part::Buildpack(buildpack, layer) => {
            let (id, name) = names(dirs, buildpack, layer);
            let found = cached.buildpacks.iter().find(|buildpack| buildpack.key == id)?;
            found.layers.get(name)?.sha.parse().ok()
        }
        Part::CacheSbom => cached.sbom.sha.parse().ok(),
        _ => None,
    }
}

fn names<'a>(dirs: &'a BuildpackDirs<'_>, buildpack: usize, layer: usize) -> (&'a str, &'a str) {
    let (element, dir) = &dirs[buildpack];
    (element.id.as_str(), &dir.layers[layer].name)
}

/// Where the launcher is put and how it is described.
#[derive(Debug, Clone, Copy)]
pub struct Launcher<'a> {
    /// The program.
    pub path: &'a Path,
    /// Its version.
    pub version: &'a str,
    /// The directory with its SBOM files, if it is not the lifecycle's own.
    pub sbom_dir: Option<&'a Path>,
    /// The directory of the lifecycle's own files.
    pub lifecycle_dir: &'a Path,
}
