//! The app image as a value: base, layers, labels, config.
//!
//! Spec: platform.md "exporter", Outputs; "Labels".

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::content::{BuildpackDirs, Content, Item, Part};
use super::extended::Extended;
use super::{Export, ExportError, labels as build_label};
use crate::cache::CacheError;
use crate::digest::{DiffId, Digest, chain_id};
use crate::files::build_toml::BuildFile;
use crate::files::data::{self, Json};
use crate::files::footprints::{self, Footprints};
use crate::files::labels::{
    self, BuildpackLayers, LayerMetadata, LayerSha, LifecycleMetadata, RunImageMetadata, StoreMetadata,
};
use crate::files::metadata::BomEntry;
use crate::files::report::BuildReport;
use crate::files::stack::Stack;
use crate::files::{self};
use crate::image::{HistoryRule, Image, ImageConfig, Layer};
use crate::layers::blob::{CacheOutcome, Outcome, Written};
use crate::log::Log;

/// Where the image finds its processes as programs.
const PROCESS_DIR: &str = "/cnb/process";
/// Where the image has the launcher.
const LIFECYCLE_DIR: &str = "/cnb/lifecycle";
/// The launcher in the image.
const LAUNCHER: &str = "/cnb/lifecycle/launcher";

/// Labels that are the lifecycle's alone. Readings: spec-notes/decisions.md, "Labels of buildpacks".
const OWN_LABELS: [&str; 5] = [
    labels::LIFECYCLE_METADATA,
    labels::BUILD_METADATA,
    labels::PROJECT_METADATA,
    labels::EXEC_ENV,
    footprints::LABEL,
];

/// A layer with what became of it.
#[derive(Debug)]
pub struct Made<'a> {
    /// The layer.
    pub item: &'a Item,
    /// The sha256 of its tar.
    pub diff_id: DiffId,
    /// What became of it in the image; `None` where the previous image has it.
    pub outcome: Option<Outcome>,
    /// What became of it in the cache.
    pub cache: Result<CacheOutcome, CacheError>,
}

/// Gives each of `items` its result; `written` has those of the layers that were made, in order.
pub fn pair(items: &[Item], written: Vec<Written>) -> Vec<Made<'_>> {
    let mut written = written.into_iter();
    let mut made = Vec::with_capacity(items.len());
    for item in items {
        let cache = Ok(CacheOutcome::NotWanted);
        made.push(match &item.content {
            Content::Previous(diff_id) => Made { item, diff_id: *diff_id, outcome: None, cache },
            Content::Ready(layer) => {
                Made { item, diff_id: layer.diff_id, outcome: Some(Outcome::New(layer.clone())), cache }
            }
            Content::Made(_) => {
                let Written { diff_id, image, cache, .. } = written.next().expect("every job has a result");
                Made { item, diff_id, outcome: Some(image), cache }
            }
        });
    }
    made
}

/// What an image is put together from.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// What the export was told.
    pub inputs: &'a Export<'a>,
    /// What each buildpack left.
    pub dirs: &'a BuildpackDirs<'a>,
    /// The image of the build before.
    pub previous: Option<&'a Image>,
    /// The run image as extensions changed it.
    pub extended: Option<&'a Extended>,
}

impl Parts<'_> {
    /// The app image: `made` on top of `base`, with its config and labels.
    pub fn image(
        &self,
        base: Image,
        made: &[Made<'_>],
        entrypoint: Option<&str>,
        log: &Log,
    ) -> Result<Image, ExportError> {
        let mut metadata = self.metadata(&base)?;
        let mut image = base;
        let chain = chain_id(image.config.diff_ids());
        if let Some(extended) = self.extended {
            extended.configure(&mut image);
        }
        let mut app = AppLayers::default();
        for made in made.iter().filter(|made| made.item.in_image) {
            let (layer, kept) = self.layer(made)?;
            self.record(&mut metadata, made)?;
            match made.item.part {
                Part::App(_) => app.count(kept),
                Part::Extension => {}
                _ if kept => log.info(format!("Reusing layer '{}'", made.item.id)),
                _ => log.info(format!("Adding layer '{}'", made.item.id)),
            }
            log.debug(format!("Layer '{}' SHA: {}", made.item.id, made.diff_id));
            image.push_layer(layer, &made.item.created_by);
            if made.item.part == Part::App(self.inputs.build.slices.len()) {
                app.tell(log);
            }
        }
        self.label(&mut image.config, &metadata, log)?;
        self.label_footprints(&mut image.config, chain, log);
        configure(self.inputs, &mut image.config, entrypoint, log);
        image.name = None;
        Ok(image)
    }

    /// The layer as part of the image, and whether the previous image had it.
    fn layer(&self, made: &Made<'_>) -> Result<(Layer, bool), ExportError> {
        let kept = self.previous.and_then(|image| image.layer(made.diff_id));
        match (&made.outcome, kept) {
            (Some(Outcome::New(_)), Some(layer)) if self.was_app(made) => Ok((layer.clone(), true)),
            (Some(Outcome::New(layer)), _) => Ok((layer.as_ref().clone(), false)),
            (_, Some(layer)) => Ok((layer.clone(), true)),
            (_, None) => Err(ExportError::LayerGone(made.item.id.clone())),
        }
    }

    /// Whether it is part of the application and was before, if at another place: slices move.
    fn was_app(&self, made: &Made<'_>) -> bool {
        let before = self.inputs.previous.map_or([].as_slice(), |previous| &previous.metadata.app);
        matches!(made.item.part, Part::App(_)) && before.iter().any(|app| app.diff_id() == Some(made.diff_id))
    }

    /// The label `io.buildpacks.lifecycle.metadata` before any layer is recorded in it.
    fn metadata(&self, base: &Image) -> Result<LifecycleMetadata, ExportError> {
        let inputs = self.inputs;
        let names = inputs.run_image_names.cloned().unwrap_or_default();
        let reference = base.name.as_ref().unwrap_or(inputs.run_image).to_string();
        let top_layer = base.layers.last().map(|layer| layer.diff_id.to_string()).unwrap_or_default();
        let mut run_image = RunImageMetadata { top_layer, reference, ..RunImageMetadata::default() };
        if inputs.api.has_targets() {
            run_image.image.clone_from(&names.image);
            run_image.mirrors.clone_from(&names.mirrors);
        }
        let mut buildpacks = Vec::new();
        for (buildpack, dir) in self.dirs {
            let store = dir.store.as_ref().map(|store| {
                let metadata = store.metadata.as_ref().map(data::table_to_json).transpose();
                metadata.map(|metadata| StoreMetadata { metadata: metadata.map_or(Json::Null, Json::Object) })
            });
            let failed = |error| ExportError::Metadata(format!("{}:store", buildpack.id), error);
            buildpacks.push(BuildpackLayers {
                key: buildpack.id.to_string(),
                version: buildpack.version.to_string(),
                layers: BTreeMap::new(),
                store: store.transpose().map_err(failed)?,
                ..BuildpackLayers::default()
            });
        }
        let exec_env = inputs.api.has_exec_env().then(|| inputs.exec_env.to_string());
        let stack = Some(Stack { run_image: names });
        Ok(LifecycleMetadata { buildpacks, run_image, stack, exec_env, ..LifecycleMetadata::default() })
    }

    /// Records a layer in the label.
    fn record(&self, metadata: &mut LifecycleMetadata, made: &Made<'_>) -> Result<(), ExportError> {
        let sha = LayerSha::new(made.diff_id);
        match made.item.part {
            Part::Extension | Part::CacheSbom => {}
            Part::LaunchSbom => metadata.sbom = Some(sha),
            Part::App(_) => metadata.app.push(sha),
            Part::Launcher => metadata.launcher = sha,
            Part::Config => metadata.config = sha,
            Part::ProcessTypes => metadata.process_types = sha,
            Part::Buildpack(buildpack, place) => {
                let layer = &self.dirs[buildpack].1.layers[place];
                let types = layer.file.types;
                let data = layer.file.metadata.as_ref().map(data::to_json).transpose();
                let data = data.map_err(|error| ExportError::Metadata(made.item.id.clone(), error))?;
                let entry = LayerMetadata {
                    sha: sha.sha,
                    data: data.unwrap_or_default(),
                    build: types.build,
                    launch: types.launch,
                    cache: types.cache,
                    ..LayerMetadata::default()
                };
                metadata.buildpacks[buildpack].layers.insert(layer.name.clone(), entry);
            }
        }
        Ok(())
    }

    /// Sets every label.
    fn label(
        &self,
        config: &mut ImageConfig,
        metadata: &LifecycleMetadata,
        log: &Log,
    ) -> Result<(), ExportError> {
        let inputs = self.inputs;
        let mut add = |name: &str, value: &str| {
            log.info(format!("Adding label '{name}'"));
            config.set_label(name, value);
        };
        add(labels::LIFECYCLE_METADATA, &metadata.to_label());
        let build = build_label::build_metadata(inputs.build, inputs.launcher.version, inputs.api)
            .map_err(|error| ExportError::Metadata("bom".to_owned(), error))?;
        add(labels::BUILD_METADATA, &build);
        add(labels::PROJECT_METADATA, &inputs.project.to_label());
        for label in &inputs.build.labels {
            if OWN_LABELS.contains(&label.key.as_str()) {
                log.warn(format!("Ignoring label '{}' of a buildpack: it is the lifecycle's own", label.key));
            } else {
                add(&label.key, &label.value);
            }
        }
        if inputs.api.has_exec_env() {
            add(labels::EXEC_ENV, inputs.exec_env.as_str());
        }
        if let Some(extended) = self.extended {
            add(labels::REBASABLE, extended.rebasable());
        }
        Ok(())
    }
}

impl Parts<'_> {
    /// Says what extensions did to files of `base`. A run image may itself have that label, about layers
    /// that are no extensions here.
    fn label_footprints(&self, config: &mut ImageConfig, base: Option<Digest>, log: &Log) {
        config.remove_label(footprints::LABEL);
        if let Some(found) = self.extended.and_then(Extended::footprints) {
            log.info(format!("Adding label '{}'", footprints::LABEL));
            config.set_label(footprints::LABEL, &Footprints { base, ..found.clone() }.to_label());
        }
    }
}

/// How many layers of the application were kept, and how many made.
#[derive(Debug, Default)]
struct AppLayers {
    kept: usize,
    made: usize,
}

impl AppLayers {
    fn count(&mut self, kept: bool) {
        *(if kept { &mut self.kept } else { &mut self.made }) += 1;
    }

    fn tell(&self, log: &Log) {
        let all = self.kept + self.made;
        for (verb, count) in [("Reused", self.kept), ("Added", self.made)] {
            if count > 0 {
                log.info(format!("{verb} {count}/{all} app layer(s)"));
            }
        }
    }
}

/// Sets environment, working directory, entrypoint and creation times.
fn configure(inputs: &Export<'_>, config: &mut ImageConfig, entrypoint: Option<&str>, log: &Log) {
    let path = config.env_value("PATH").unwrap_or_default();
    let parts: Vec<&str> =
        [PROCESS_DIR, LIFECYCLE_DIR, &path].into_iter().filter(|part| !part.is_empty()).collect();
    let (layers, app) = (inputs.layers.to_string_lossy(), inputs.app.to_string_lossy());
    for (name, value) in [
        ("CNB_LAYERS_DIR", &*layers),
        ("CNB_APP_DIR", &*app),
        ("CNB_PLATFORM_API", inputs.api.as_str()),
        ("CNB_DEPRECATION_MODE", "quiet"),
    ] {
        log.debug(format!("Setting {name}={value}"));
        config.set_env(name, value);
    }
    log.debug(format!("Prepending {PROCESS_DIR} and {LIFECYCLE_DIR} to PATH"));
    config.set_env("PATH", &parts.join(":"));
    log.debug(format!("Setting WORKDIR: '{app}'"));
    config.set_process_text("WorkingDir", &app);
    let entrypoint = entrypoint.map_or_else(|| LAUNCHER.to_owned(), |kind| format!("{PROCESS_DIR}/{kind}"));
    match entrypoint.strip_prefix(PROCESS_DIR) {
        Some(kind) => log.info(format!("Setting default process type '{}'", &kind[1..])),
        None => log.info("no default process type"),
    }
    log.debug(format!("Setting ENTRYPOINT: '{entrypoint}'"));
    config.set_entrypoint(&[&entrypoint]);
    let rule = if inputs.api.keeps_history() { HistoryRule::Keep } else { HistoryRule::Blank };
    config.stamp(inputs.created, rule);
}

/// The type of the process that the image starts: the platform's, else the buildpacks'; `None` where
/// the launcher decides.
///
/// Fails when there is no process of the type that the platform asks for.
pub fn entrypoint(inputs: &Export<'_>) -> Result<Option<String>, ExportError> {
    let Some(wanted) = inputs.process_type else {
        return Ok(inputs.build.buildpack_default_process_type.clone());
    };
    let types = || inputs.build.processes.iter().map(|process| process.process_type.as_str());
    if types().any(|kind| kind == wanted) {
        return Ok(Some(wanted.to_owned()));
    }
    let known = types().map(|kind| format!("'{kind}'")).collect::<Vec<_>>().join(", ");
    let known = if known.is_empty() { "no process at all".to_owned() } else { known };
    Err(ExportError::NoProcess { wanted: wanted.to_owned(), known })
}

/// The bill of materials of the build for the report, before Platform API 0.9.
pub fn legacy_bom(inputs: &Export<'_>) -> Result<Option<BuildReport>, ExportError> {
    if !inputs.api.has_inline_bom() {
        return Ok(None);
    }
    let mut bom = Vec::new();
    for buildpack in &inputs.group.group {
        let path: PathBuf = inputs.layers.join(buildpack.id.escaped()).join("build.toml");
        if let Some(file) = files::read_if_present::<BuildFile>(&path)? {
            bom.extend(file.bom.of(&buildpack.id, &buildpack.version).iter().map(BomEntry::to_table));
        }
    }
    Ok((!bom.is_empty()).then_some(BuildReport { bom }))
}
