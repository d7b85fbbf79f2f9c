//! What extending is told: for the extender, which is started in the image that it extends, and for the
//! creator.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use extensions::apply::NotReady;
use extensions::cache::{Cache, CacheError};
use extensions::plan::{Bases, ExtendPlan, ToPlan};
use extensions::policy::Target;
use extensions::root::Root;
use tempfile::TempDir;

use crate::api::PlatformApi;
use crate::cli::exit::{Exit, Failure};
use crate::cli::phases::generate;
use crate::cli::values::{InputError, Inputs};
use crate::cli::{container, inputs, privileges, setup, stores};
use crate::files::analyzed::Analyzed;
use crate::files::group::Group;
use crate::image::Image;
use crate::log::{Log, chain};
use crate::phase::extend::fetch::Download;
use crate::phase::extend::{
    Dockerfile, Extend, ExtendError, Extended, Generated, Place, base, extend, find, former, platform, save,
};
use crate::phase::generate::Policy;
use crate::target::{Target as ImageTarget, host_arch};

/// The directory that phases share for extending. Spec: platform.md "extender", `<kaniko-dir>`.
pub const KANIKO: &str = "/kaniko";

/// Where steps are kept below the directory of a cache.
const STEPS: &str = "cnb-extend";
/// Their layout.
const VERSION: &str = "v1";

/// What to do about rights that are missing.
const AS_ROOT: &str =
    "Run this phase as root in a container, as platforms do where extensions have instructions.";

/// The variables that reach RUN and ADD without being declared.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];

/// What extending is told, owned.
pub struct ExtendInputs {
    api: PlatformApi,
    generated: PathBuf,
    app: PathBuf,
    extended: PathBuf,
    ignore: Vec<PathBuf>,
    proxies: BTreeMap<String, String>,
    download: Download,
    ttl: Duration,
    threads: NonZeroUsize,
    policy: Option<Policy>,
    refused_hint: String,
    /// What is made on the way; removed in the end.
    work: TempDir,
}

/// Where an image is extended, and by whose leave.
pub struct Spot<'a> {
    /// The directory that stands for `/`.
    pub root: &'a Root,
    /// Called once before anything is done to it.
    pub make_ready: &'a dyn Fn() -> Result<(), NotReady>,
    /// The directory that steps are kept in, if any.
    pub cache: Option<&'a Path>,
}

/// Which image the extender is to extend.
pub fn kind(inputs: &Inputs) -> Result<Target, Failure> {
    let text = inputs.text(inputs::KIND).unwrap_or_default();
    match text.as_str() {
        "build" => Ok(Target::Build),
        "run" if inputs.api.extends_run_image() => Ok(Target::Run),
        _ => {
            let error = InputError::Value { name: inputs::KIND.name(), value: text, wanted: "build or run" };
            Err(Failure::new(Exit::Arguments, "resolve inputs", error))
        }
    }
}

impl ExtendInputs {
    /// Checks and gathers it.
    pub fn new(inputs: &Inputs) -> Result<Self, Failure> {
        let invalid = |error: InputError| Failure::new(Exit::Arguments, "resolve inputs", error);
        let ttl = inputs.duration(inputs::KANIKO_CACHE_TTL).map_err(invalid)?.unwrap_or_default();
        let failed = |error: std::io::Error| Failure::new(Exit::Extend, "make a temporary directory", error);
        let made = |dir: &Path| tempfile::Builder::new().prefix("cnb-extend-").tempdir_in(dir);
        let work = made(Path::new(KANIKO)).or_else(|_| made(&std::env::temp_dir())).map_err(failed)?;
        let mut ignore = vec![PathBuf::from(KANIKO), work.path().to_owned()];
        let dirs = [
            inputs::APP,
            inputs::LAYERS,
            inputs::PLATFORM,
            inputs::GENERATED,
            inputs::EXTENDED,
            inputs::BUILD_CONFIG,
            inputs::CACHE_DIR,
            inputs::LAUNCH_CACHE,
        ];
        ignore.extend(dirs.iter().filter_map(|input| inputs.path(input)));
        let program = std::env::current_exe().ok();
        ignore.extend(program.as_deref().and_then(Path::parent).map(Path::to_owned));
        Ok(Self {
            api: inputs.api,
            generated: inputs.path_of(inputs::GENERATED),
            app: inputs.path_of(inputs::APP),
            extended: inputs.path_of(inputs::EXTENDED),
            ignore,
            proxies: proxies(inputs),
            download: Download { trust: stores::trust(inputs) },
            ttl,
            threads: setup::threads(),
            policy: generate::policy(inputs, Exit::Extend)?,
            refused_hint: generate::refused_hint(inputs),
            work,
        })
    }

    /// The Dockerfiles for an image, in order; `runs_on` is what it runs on.
    pub fn dockerfiles(
        &self,
        group: &Group,
        target: Target,
        runs_on: Option<&ImageTarget>,
        log: &Log,
    ) -> Result<Vec<Dockerfile>, Failure> {
        let generated = Generated { api: self.api, dir: &self.generated, app: &self.app };
        let host = ImageTarget { os: "linux".into(), arch: host_arch().into(), ..ImageTarget::default() };
        let arguments = platform(runs_on.unwrap_or(&host));
        let found = find(generated, &group.group_extensions, target, &arguments, log).map_err(failure)?;
        self.check(&found)?;
        Ok(found)
    }

    /// Fails if the platform's rules do not allow what Dockerfiles would do. The detector has checked
    /// those that it left, but it did not run as root.
    fn check(&self, dockerfiles: &[Dockerfile]) -> Result<(), Failure> {
        let Some(policy) = &self.policy else { return Ok(()) };
        let bases = Bases { build: "", run: "", run_label: None };
        let plan = ExtendPlan::new(bases, &dockerfiles.iter().map(to_plan).collect::<Vec<_>>());
        let refused = |error| Failure::new(Exit::Extend, "extend", error).hint(&*self.refused_hint);
        policy.check(&plan).map_err(refused)
    }

    /// Applies them.
    pub fn apply(
        &self,
        dockerfiles: &[Dockerfile],
        target: Target,
        (base, base_name): (&Image, &str),
        spot: &Spot<'_>,
        log: &Log,
    ) -> Result<Extended, Failure> {
        let cache = spot.cache.and_then(|dir| self.open_cache(dir, log));
        let inputs = Extend {
            target,
            dockerfiles,
            base,
            base_name,
            place: Place {
                root: spot.root,
                ignore: self.ignore.clone(),
                work: self.work.path(),
                make_ready: spot.make_ready,
            },
            cache: cache.as_ref(),
            proxies: self.proxies.clone(),
            fetch: &self.download,
            threads: self.threads,
        };
        let extended = extend(&inputs, log);
        let former = spot.cache.map_or(0, |dir| former::remove(dir, self.ttl));
        if former > 0 {
            log.debug(format!("Removed {former} old steps of another extender"));
        }
        if let Some(Err(error)) = cache.as_ref().map(Cache::collect) {
            log.warn(format!("Old steps could not be removed: {}", chain(&error)));
        }
        extended.map_err(failure)
    }

    /// Writes an extended run image to where the exporter finds it.
    pub fn save(&self, extended: &Extended, log: &Log) -> Result<(), Failure> {
        let path = save::save(extended, &self.extended).map_err(failure)?;
        log.debug(format!("Saved the extended run image in {}", path.display()));
        Ok(())
    }

    /// Where an image can be unpacked.
    pub fn new_root(&self) -> Result<Root, Failure> {
        let path = self.work.path().join("root");
        let made = std::fs::create_dir(&path);
        made.map_err(|error| Failure::new(Exit::Extend, format!("make `{}`", path.display()), error))?;
        Root::open(&path).map_err(|error| Failure::new(Exit::Extend, "extend", error))
    }

    /// Opens the cache of steps. One that cannot be used costs time and nothing else; one that another
    /// phase has given away, as the reference implementation's restorer does, is begun anew.
    fn open_cache(&self, dir: &Path, log: &Log) -> Option<Cache> {
        let above = dir.join(STEPS);
        let path = above.join(VERSION);
        let made = std::fs::create_dir_all(&above);
        let made = made.map_err(|error| format!("make `{}`: {error}", above.display()));
        let is_link = || above.symlink_metadata().is_ok_and(|found| found.is_symlink());
        let opened = made.and_then(|()| match Cache::open(&path, self.ttl) {
            Err(CacheError::NotOurs(_)) if !is_link() && std::fs::remove_dir_all(&path).is_ok() => {
                log.debug("The steps of earlier builds belong to someone else, and are removed");
                Cache::open(&path, self.ttl).map_err(|error| chain(&error))
            }
            opened => opened.map_err(|error| chain(&error)),
        });
        let go_on = |why| {
            log.warn(format!("Going on without the steps of earlier builds, and keeping none: {why}"));
        };
        opened.map_err(go_on).ok()
    }
}

fn to_plan(dockerfile: &Dockerfile) -> ToPlan<'_> {
    let (extension, permitted) = (dockerfile.extension.as_str(), &dockerfile.permitted);
    ToPlan { extension, permitted, superseded: false, arguments: Vec::new(), context: None }
}

/// Extends the image that this process was started in, and returns the environment that it is left with;
/// `None` where no extension has to do with it.
pub fn build_here(
    inputs: &Inputs,
    analyzed: &Analyzed,
    group: &Group,
    log: &Log,
) -> Result<Option<Vec<String>>, Failure> {
    let extending = ExtendInputs::new(inputs)?;
    let dockerfiles = extending.dockerfiles(group, Target::Build, analyzed.target(), log)?;
    if dockerfiles.is_empty() {
        return Ok(None);
    }
    may_build(&dockerfiles)?;
    let name = analyzed.build_image.as_ref().map(|image| image.reference.as_str()).unwrap_or_default();
    let base = get_base(name, "build")?;
    let extended = extending.apply(&dockerfiles, Target::Build, (&base, name), &here(&host()?), log)?;
    Ok(Some(extended.image.config.env()))
}

/// Fails if this process has not the rights that extending the build image takes. Other than the run
/// image it is itself what is wanted, so all its instructions are carried out, or applied from a cache.
pub fn may_build(dockerfiles: &[Dockerfile]) -> Result<(), Failure> {
    if privileges::is_root() {
        return Ok(());
    }
    let first = |dockerfile: &Dockerfile| {
        let instruction = dockerfile.permitted.first_of_files()?;
        let (text, line) = (&instruction.original, instruction.span.line);
        Some(format!("`{text}` on line {line} of build.Dockerfile of extension {}", dockerfile.extension))
    };
    match dockerfiles.iter().find_map(first) {
        None => Ok(()),
        Some(first) => {
            let error = format!("{first} takes root's rights, which this process does not have");
            Err(Failure::new(Exit::Extend, "extend the build image", error).hint(AS_ROOT))
        }
    }
}

/// Extends the run image that this process was started in.
pub fn run_here(inputs: &Inputs, analyzed: &Analyzed, group: &Group, log: &Log) -> Result<(), Failure> {
    let extending = ExtendInputs::new(inputs)?;
    let dockerfiles = extending.dockerfiles(group, Target::Run, analyzed.target(), log)?;
    let name = analyzed.run_image.as_ref().map(|image| image.reference.as_str()).unwrap_or_default();
    let base = get_base(name, "run")?;
    let extended = extending.apply(&dockerfiles, Target::Run, (&base, name), &here(&host()?), log)?;
    extending.save(&extended, log)
}

fn get_base(name: &str, kind: &str) -> Result<Image, Failure> {
    let failed = |error: ExtendError| {
        failure(error).hint("The restorer leaves it there; mount the same directory for both at /kaniko.")
    };
    if name.is_empty() {
        let error = format!("{kind} image not found in analyzed metadata");
        let failure = Failure::new(Exit::Extend, "extend", error);
        return Err(failure.hint("The restorer names it there, given -build-image or an extended run image."));
    }
    base::get(name, Path::new(KANIKO)).map_err(failed)
}

/// The root directory of this process.
pub fn host() -> Result<Root, Failure> {
    Root::open(Path::new("/")).map_err(|error| Failure::new(Exit::Extend, "extend", error))
}

/// The directory in which the creator keeps steps: that which the phases share, if there is one, else the
/// platform's cache.
pub fn step_cache(inputs: &Inputs) -> Option<PathBuf> {
    let kaniko = Path::new(KANIKO);
    if kaniko.is_dir() { Some(kaniko.join("cache")) } else { inputs.path(inputs::CACHE_DIR) }
}

/// Here and now, with the cache that the phases share.
fn here(root: &Root) -> Spot<'_> {
    Spot { root, make_ready: &may_change_root, cache: Some(Path::new("/kaniko/cache")) }
}

/// Says why this process may not change its root directory.
pub fn may_change_root() -> Result<(), NotReady> {
    if !privileges::is_root() {
        return Err("that takes root's rights, which this process does not have".into());
    }
    if !container::is_here() {
        return Err("that changes the root directory, and this is no container".into());
    }
    Ok(())
}

/// The proxies that the platform gives.
fn proxies(inputs: &Inputs) -> BTreeMap<String, String> {
    let names = PROXIES.iter().flat_map(|name| [(*name).to_owned(), name.to_lowercase()]);
    names
        .filter_map(|name| {
            let value = inputs.other_variable(&name)?.to_str()?.to_owned();
            Some((name, value))
        })
        .collect()
}

fn failure(error: ExtendError) -> Failure {
    let is_not_ready = error.is_not_ready();
    let is_root = matches!(error, ExtendError::RootUser { .. });
    let failure = Failure::new(Exit::Extend, "extend", error);
    match (is_not_ready, is_root) {
        (true, _) => failure.hint(AS_ROOT),
        (_, true) => {
            failure.hint("End run.Dockerfile with USER ${user_id}:${group_id}, both declared by ARG.")
        }
        _ => failure,
    }
}
