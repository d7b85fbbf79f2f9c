//! Small things that several phases are told: the user, the execution environment, the cache, times.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::exit::{Exit, Failure};
use super::inputs::{self, Input};
use super::values::{InputError, Inputs};
use super::{privileges, stores};
use crate::cache::{Cache, ImageCache, VolumeCache};
use crate::exec_env::ExecEnv;
use crate::files::analyzed::Analyzed;
use crate::files::component_id::Kind;
use crate::files::group::GroupElement;
use crate::files::report::Report;
use crate::files::{self, FileError, SpecFile};
use crate::image::store::{Encoding, ImageStore};
use crate::layers::tar::Owner;
use crate::log::{Log, chain};
use crate::phase::analyze::CacheImage;
use crate::reference::{ImageName, Reference, StoreKind};
use crate::time;

/// The build image's user: `-uid` and `-gid`, else whoever this process is.
pub fn owner(inputs: &Inputs) -> Result<Owner, Failure> {
    let current = privileges::current_user();
    let number = |input, current| match inputs.number(input) {
        Ok(number) => Ok(number.unwrap_or(current)),
        Err(error) => Err(invalid(error)),
    };
    Ok(Owner { uid: number(inputs::UID, current.uid)?, gid: number(inputs::GID, current.gid)? })
}

/// Gives the directories of `inputs` to `user` where they must be, and becomes that user.
pub fn give_up_privileges(inputs: &Inputs, user: Owner, dirs: &[&Input], log: &Log) -> Result<(), Failure> {
    give_up_privileges_and(inputs, user, dirs, None, log)
}

/// The same, and gives `further`, a directory that no input names.
pub fn give_up_privileges_and(
    inputs: &Inputs,
    user: Owner,
    dirs: &[&Input],
    further: Option<PathBuf>,
    log: &Log,
) -> Result<(), Failure> {
    log.debug("Ensuring privileges...");
    let dirs: Vec<_> = dirs.iter().filter_map(|input| inputs.path(input)).chain(further).collect();
    let result = privileges::give_up(user, &dirs);
    log.debug("Executing command...");
    result.map_err(|error| Failure::new(Exit::Failed, "drop privileges", error))
}

/// Fails when this process is root: what it runs would be too.
pub fn refuse_root(inputs: &Inputs, log: &Log) -> Result<(), Failure> {
    log.debug("Ensuring privileges...");
    let result = privileges::refuse_root();
    log.debug("Executing command...");
    result.map_err(|error| {
        Failure::new(Exit::Failed, inputs.phase.verb(), error)
            .hint(format!("Run the {} as the build image's user, CNB_USER_ID.", inputs.phase.name()))
    })
}

/// Fails when `user`, whom this process is to become, is root: what it runs would be too.
pub fn refuse_root_as(user: Owner, inputs: &Inputs) -> Result<(), Failure> {
    if user.uid != 0 {
        return Ok(());
    }
    let failure = Failure::new(Exit::Failed, inputs.phase.verb(), privileges::PrivilegeError::Root);
    Err(failure.hint("-uid and -gid, CNB_USER_ID and CNB_GROUP_ID name the build image's user."))
}

/// The execution environment of the build, from Platform API 0.15.
pub fn exec_env(inputs: &Inputs) -> Result<ExecEnv, Failure> {
    if !inputs.api.has_exec_env() {
        return Ok(ExecEnv::default());
    }
    ExecEnv::new(&inputs.text(inputs::EXEC_ENV).unwrap_or_default())
        .map_err(|error| Failure::new(Exit::Arguments, "resolve inputs", error))
}

/// Warns of inputs that are given but have no effect here.
pub fn warn_of_unused(inputs: &Inputs, kind: StoreKind, log: &Log) {
    if kind != StoreKind::Daemon && inputs.path(inputs::LAUNCH_CACHE).is_some() {
        log.warn("Ignoring -launch-cache, only intended for use with -daemon");
    }
    let is_cached = inputs.text(inputs::CACHE_IMAGE).or(inputs.text(inputs::CACHE_DIR)).is_some();
    if inputs.switch(inputs::PARALLEL) && !is_cached {
        let why = "but it has not taken effect because no cache has been specified.";
        log.warn(format!("Parallel export has been enabled, {why}"));
    }
}

/// When the app image was created: `SOURCE_DATE_EPOCH`, else a constant.
///
/// Spec: platform.md "exporter", Outputs.
pub fn created(inputs: &Inputs, log: &Log) -> String {
    let constant = || time::rfc3339(time::CONSTANT).expect("the constant is in 1980");
    let Some(text) = inputs.text(inputs::SOURCE_DATE_EPOCH) else { return constant() };
    if !inputs.api.honours_source_date_epoch() {
        return constant();
    }
    text.parse().ok().and_then(time::rfc3339).unwrap_or_else(|| {
        log.warn("Ignoring invalid SOURCE_DATE_EPOCH");
        constant()
    })
}

/// Where the cache is. Found out while this process still may read credentials; opened when it has
/// become the user who owns what is cached.
pub enum CachePlace {
    /// The platform gives none.
    Nowhere,
    /// A directory.
    Directory(PathBuf),
    /// An image of a registry.
    Image(Box<ImagePlace>),
}

/// Where a cache image is.
pub struct ImagePlace {
    /// Its registry.
    store: Box<dyn ImageStore>,
    /// Its name.
    name: ImageName,
    /// Where the app image is, if the cache image may take over its layers.
    app: Option<ImageName>,
}

impl CachePlace {
    /// Where the platform says; an image goes before a directory.
    pub fn find(inputs: &Inputs, log: &Log) -> Result<Self, Failure> {
        if let Some(name) = inputs.text(inputs::CACHE_IMAGE) {
            let reference = Reference::parse(&name)
                .map_err(|error| Failure::new(Exit::Arguments, "resolve inputs", error))?;
            let app = shared_app(inputs, &reference);
            let store = Box::new(stores::registry(inputs, log)?);
            let name = ImageName::Reference(reference);
            return Ok(Self::Image(Box::new(ImagePlace { store, name, app })));
        }
        Ok(inputs.path(inputs::CACHE_DIR).map_or(Self::Nowhere, Self::Directory))
    }

    /// The cache image, if the platform names one.
    pub fn find_image(inputs: &Inputs, log: &Log) -> Result<Self, Failure> {
        if inputs.text(inputs::CACHE_IMAGE).is_some() { Self::find(inputs, log) } else { Ok(Self::Nowhere) }
    }

    /// The image, if it is one.
    pub fn image(&self) -> Option<CacheImage<'_>> {
        match self {
            Self::Image(place) => Some(CacheImage { store: place.store.as_ref(), name: &place.name }),
            Self::Nowhere | Self::Directory(_) => None,
        }
    }

    /// The cache. One that cannot be opened is worth a warning.
    pub fn open(self, log: &Log) -> Option<Box<dyn Cache>> {
        let unused = |error: &(dyn std::error::Error + 'static)| {
            log.warn(format!("No cached data will be used: {}", chain(error)));
        };
        match self {
            Self::Nowhere => {
                log.warn("No cached data will be used, no cache specified.");
                None
            }
            Self::Directory(dir) => match VolumeCache::open(&dir, log) {
                Ok(cache) => Some(Box::new(cache)),
                Err(error) => {
                    unused(&error);
                    None
                }
            },
            Self::Image(place) => match ImageCache::open(place.store, &place.name, threads()) {
                Ok(cache) => Some(Box::new(cache.sharing(place.app))),
                Err(error) => {
                    unused(&error);
                    None
                }
            },
        }
    }
}

/// The app image's name, if its layers can be the cache image's too: on the same registry, compressed
/// as every reader of cache images knows.
fn shared_app(inputs: &Inputs, cache: &Reference) -> Option<ImageName> {
    let registry = stores::kind(inputs).ok()? == StoreKind::Registry;
    let gzip = stores::encoding(inputs).ok()? == Encoding::Gzip;
    let app = Reference::parse(inputs.images.first()?).ok()?;
    (registry && gzip && app.registry == cache.registry).then_some(ImageName::Reference(app))
}

/// How many threads work: as many as this process may use processors.
pub fn threads() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Fails when a buildpack of the group speaks a Buildpack API that is not supported.
pub fn check_apis(group: &[GroupElement]) -> Result<(), Failure> {
    for element in group {
        element.api(Kind::Buildpack).map_err(|error| Failure::new(Exit::BuildpackApi, "", error))?;
    }
    Ok(())
}

/// Reads the file that `input` names.
pub fn read<T: SpecFile>(inputs: &Inputs, input: &Input, before: &str) -> Result<T, Failure> {
    let path = inputs.path_of(input);
    files::read(&path).map_err(|error| {
        let missing = error.cause.is_not_found();
        let failure = Failure::new(inputs.phase.into(), inputs.phase.verb(), error);
        if missing {
            failure.hint(format!(
                "The {before} writes it; {} or {} says where it is.",
                input.name(),
                input.variable
            ))
        } else {
            failure
        }
    })
}

/// Reads `analyzed.toml`, if there is one.
pub fn analyzed_if_present(inputs: &Inputs) -> Result<Option<Analyzed>, Failure> {
    files::read_if_present(&inputs.path_of(inputs::ANALYZED)).map_err(|error| file_failure(inputs, error))
}

/// The inputs with the home directory of `user`, which this process has just become.
///
/// Without an entry in `/etc/passwd` the home directory stays what it was.
#[must_use]
pub fn at_home(inputs: &Inputs, user: Owner) -> Inputs {
    let mut inputs = inputs.clone();
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    if let Some(account) = privileges::account(&String::from_utf8_lossy(&passwd), user.uid) {
        inputs.variables.insert("HOME".into(), account.home.into());
        inputs.variables.insert("USER".into(), account.full_name.into());
    }
    inputs
}

/// Writes a file that `input` names.
pub fn write(inputs: &Inputs, input: &Input, file: &'static str, text: &str) -> Result<(), Failure> {
    files::write(file, &inputs.path_of(input), text).map_err(|error| file_failure(inputs, error))
}

/// The text of `report.toml`, with the run image where the platform wants it there.
pub fn report(inputs: &Inputs, mut report: Report) -> String {
    if !inputs.switch(inputs::REPORT_RUN_IMAGE) {
        report.image.run_image = None;
    }
    report.to_toml()
}

/// A failure to read or write a file, in the phase's own range.
pub fn file_failure(inputs: &Inputs, error: FileError) -> Failure {
    Failure::new(inputs.phase.into(), inputs.phase.verb(), error)
}

fn invalid(error: InputError) -> Failure {
    Failure::new(Exit::Arguments, "resolve inputs", error)
}
