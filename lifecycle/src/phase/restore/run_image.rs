//! The run image of a build, made exact where an extension chose another one after the analysis.
//!
//! Spec: platform.md "restorer", Outputs; reading: spec-notes/decisions.md, "Run image at the restorer".

use crate::api::PlatformApi;
use crate::files::analyzed::RunImage;
use crate::files::run::Run;
use crate::image::Image;
use crate::image::store::{ImageStore, StoreError};
use crate::log::Log;
use crate::reference::{ImageName, Reference, ReferenceError, StoreKind};

/// Where run images are, and which ones there are.
#[derive(Clone, Copy)]
pub struct Resolve<'a> {
    /// The Platform API.
    pub api: PlatformApi,
    /// Where images are found.
    pub store: &'a dyn ImageStore,
    /// Which kind of store that is.
    pub kind: StoreKind,
    /// The run images that the platform offers.
    pub run: &'a Run,
}

/// Why a run image cannot be made exact.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Its name is none.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The store failed.
    #[error("get run image `{name}`")]
    Store {
        /// Its name.
        name: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// Neither it nor a mirror of it can be read.
    #[error("selected run image '{0}' is not accessible")]
    NotAccessible(String),
}

/// Whether `image` has to be looked at: it is not exact, or nobody knows what it runs on.
pub fn is_open(image: &RunImage, kind: StoreKind, api: PlatformApi) -> bool {
    let exact = match ImageName::recorded(kind, &image.reference) {
        Ok(ImageName::Reference(reference)) => reference.digest.is_some(),
        Ok(ImageName::Layout { digest, .. }) => digest.is_some(),
        Ok(ImageName::ImageId(_)) => true,
        Err(_) => false,
    };
    let known = image.target.as_ref().is_some_and(|target| !target.os.is_empty());
    api.has_targets() && !(exact && known)
}

/// The run image with its exact name and its target. From Platform API 0.14 on a mirror is taken where
/// it cannot be read itself.
///
/// # Errors
/// When no name leads to an image.
pub fn resolve(inputs: &Resolve<'_>, image: &RunImage, log: &Log) -> Result<RunImage, ResolveError> {
    let name = if image.image.is_empty() { &image.reference } else { &image.image };
    log.debug(format!("Updating run image info in analyzed metadata for {name}..."));
    let listed = inputs.run.images.iter().find(|entry| entry.contains(name));
    let (name, found) = match listed.filter(|_| inputs.api.restorer_resolves_run_image()) {
        None => (name.clone(), find(inputs, name)?),
        Some(entry) => {
            let registry = Reference::parse(name).map(|reference| reference.registry).unwrap_or_default();
            let mut names = vec![name.as_str()];
            names.extend(entry.names().filter(|other| other != name));
            let near = |name: &&str| Reference::parse(name).is_ok_and(|other| other.registry == registry);
            names.sort_by_key(|name| !near(name));
            let read = |name: &str| find(inputs, name).ok().flatten().map(|image| (name.to_owned(), image));
            let found = names.into_iter().find_map(read);
            found.map_or_else(|| (name.clone(), None), |(name, image)| (name, Some(image)))
        }
    };
    let found = found.ok_or_else(|| ResolveError::NotAccessible(name.clone()))?;
    let reference = found.name.as_ref().map(ToString::to_string).unwrap_or_default();
    Ok(RunImage { reference, image: name, extend: image.extend, target: Some(found.config.target()) })
}

fn find(inputs: &Resolve<'_>, name: &str) -> Result<Option<Image>, ResolveError> {
    let image = inputs.store.find(&ImageName::given(inputs.kind, name)?);
    image.map_err(|source| ResolveError::Store { name: name.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::SpecFile;
    use crate::log::Level;
    use crate::phase::world::World;
    use crate::target::Target;

    fn switched(name: &str) -> RunImage {
        RunImage { image: name.to_owned(), extend: true, ..RunImage::default() }
    }

    #[track_caller]
    fn check(world: &World, api: PlatformApi, name: &str, expected: Option<&str>) {
        let run = "[[images]]\nimage = 'r.io/gone'\nmirrors = ['m.io/run', 'r.io/run']\n";
        let run = Run::parse(run).expect("valid");
        let (log, _) = Log::buffer(Level::Info);
        let inputs = Resolve { api, store: &world.store, kind: StoreKind::Layout, run: &run };
        let found = resolve(&inputs, &switched(name), &log).ok();
        assert_eq!(found.as_ref().map(|image| image.image.as_str()), expected);
        if let Some(image) = found {
            assert!(image.extend && !is_open(&image, StoreKind::Layout, api), "{image:?}");
        }
    }

    #[test]
    fn switched_run_image_becomes_exact() {
        let world = World::new();
        check(&world, PlatformApi::V0_12, "r.io/run", Some("r.io/run"));
        check(&world, PlatformApi::V0_12, "r.io/gone", None);
    }

    #[test]
    fn mirror_on_the_same_registry_is_taken_where_the_image_is_gone() {
        let world = World::new();
        world.save_image("m.io/run", |_| {});
        check(&world, PlatformApi::V0_14, "r.io/gone", Some("r.io/run"));
        check(&world, PlatformApi::V0_14, "m.io/run", Some("m.io/run"));
        check(&world, PlatformApi::V0_14, "x.io/unlisted", None);
    }

    #[test]
    fn exact_run_image_is_left_alone() {
        let target = Some(Target { os: "linux".into(), ..Target::default() });
        let digest = format!("sha256:{}", "0".repeat(64));
        let exact = |reference: String| RunImage { reference, target: target.clone(), ..RunImage::default() };
        let api = PlatformApi::V0_15;
        assert!(!is_open(&exact(format!("r.io/run@{digest}")), StoreKind::Registry, api));
        assert!(!is_open(&exact(format!("/layouts/run@{digest}")), StoreKind::Layout, api));
        assert!(!is_open(&exact(digest[7..].to_owned()), StoreKind::Daemon, api));
        assert!(is_open(&exact("r.io/run".to_owned()), StoreKind::Registry, api));
        let unknown = RunImage { target: None, ..exact(format!("r.io/run@{digest}")) };
        assert!(is_open(&unknown, StoreKind::Registry, api));
        assert!(!is_open(&unknown, StoreKind::Registry, PlatformApi::V0_11));
    }
}
