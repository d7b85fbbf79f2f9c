//! One session: every Dockerfile in turn, each on what those before it left.

use std::collections::BTreeMap;
use std::path::Path;

use extensions::apply::{Application, BaseImage, Event, Mounting, Output, Purpose, Session, Settings};
use extensions::policy::{self, BASE_IMAGE};
use extensions::state::{Arguments, BUILD_ID, ConfigState};

use super::compress::Compressor;
use super::{Applied, Dockerfile, Extend, ExtendError, build_id, config, image};
use crate::log::Log;
use crate::target::Target;

/// Applies the Dockerfiles; returns the config's state, and what each did.
pub fn apply(inputs: &Extend<'_>, log: &Log) -> Result<(ConfigState, Vec<Applied>), ExtendError> {
    let mut state = config::state(&inputs.base.config);
    let dockerfiles: Vec<&Dockerfile> =
        inputs.dockerfiles.iter().filter(|dockerfile| dockerfile.permitted.extends()).collect();
    let mut applied = Vec::new();
    if dockerfiles.is_empty() {
        return Ok((state, applied));
    }
    let compress = Compressor { target: inputs.target, threads: inputs.threads };
    let tell = |event: Event<'_>| tell(&event, log);
    let mut session = Session::new(settings(inputs, &compress, &tell), base(inputs, &state));
    for (index, dockerfile) in dockerfiles.iter().enumerate() {
        // What a Dockerfile claims is what it says itself, not what it finds.
        session.config_mut().labels.remove(policy::LABEL);
        let base_name = match applied.as_slice() {
            [] => inputs.base_name.to_owned(),
            before => image::name(inputs.base, session.config(), before),
        };
        let arguments = arguments(inputs, dockerfile, session.config(), base_name)?;
        log.debug(format!("Applying {} Dockerfile of extension {}", inputs.target, dockerfile.extension));
        let application = Application {
            permitted: &dockerfile.permitted,
            arguments,
            context: Some(&dockerfile.context),
            is_last: index + 1 == dockerfiles.len(),
        };
        let failed = |source| failed(dockerfile, inputs.target, source);
        let steps = session.apply(&application).map_err(failed)?;
        applied.push(Applied {
            extension: dockerfile.extension.clone(),
            target: inputs.target,
            extends: dockerfile.permitted.extends(),
            claim: policy::claim(&session.config().labels),
            steps,
        });
    }
    let last = dockerfiles[dockerfiles.len() - 1];
    state = session.finish().map_err(|source| failed(last, inputs.target, source))?;
    Ok((state, applied))
}

fn failed(
    dockerfile: &Dockerfile,
    target: policy::Target,
    source: extensions::apply::ApplyError,
) -> ExtendError {
    ExtendError::Apply { extension: dockerfile.extension.to_string(), target, source: Box::new(source) }
}

fn settings<'a>(
    inputs: &'a Extend<'_>,
    compress: &'a Compressor,
    log: &'a dyn Fn(Event<'_>),
) -> Settings<'a> {
    let config = &inputs.base.config;
    Settings {
        root: inputs.place.root,
        ignore: inputs.place.ignore.clone(),
        method: None,
        purpose: match inputs.target {
            policy::Target::Build => Purpose::Root,
            policy::Target::Run => Purpose::Layers,
        },
        mounting: Mounting::Try,
        cache: inputs.cache,
        work: inputs.place.work,
        compress,
        fetch: inputs.fetch,
        output: Output::default(),
        platform: format!("{}/{}", config.os(), config.architecture()),
        log,
        make_ready: inputs.place.make_ready,
    }
}

fn base(inputs: &Extend<'_>, state: &ConfigState) -> BaseImage {
    let diff_ids = inputs.base.config.diff_ids().iter().map(ToString::to_string).collect();
    BaseImage { config: state.clone(), diff_ids }
}

/// What a Dockerfile is told: the extension's arguments, and the lifecycle's own before all others.
///
/// Spec: image_extension.md "Build Args".
fn arguments(
    inputs: &Extend<'_>,
    dockerfile: &Dockerfile,
    state: &ConfigState,
    base_name: String,
) -> Result<Arguments, ExtendError> {
    let build_id =
        build_id::new().map_err(ExtendError::io("read random bytes of", Path::new("/dev/urandom")))?;
    let (user, group) = state.user.split_once(':').unwrap_or((&state.user, ""));
    let own = [
        (BUILD_ID, build_id),
        ("user_id", user.to_owned()),
        ("group_id", group.to_owned()),
        (BASE_IMAGE, base_name),
    ];
    let mut supplied = dockerfile.args.clone();
    supplied.extend(own.map(|(name, value)| (name.to_owned(), value)));
    Ok(Arguments {
        supplied,
        platform: platform(&inputs.base.config.target()),
        proxies: inputs.proxies.clone(),
    })
}

/// The arguments that say what an image runs on.
pub fn platform(target: &Target) -> BTreeMap<String, String> {
    let all = [target.os.as_str(), &target.arch, &target.variant];
    let whole = all.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join("/");
    let names = ["TARGETOS", "TARGETARCH", "TARGETVARIANT"];
    let parts = names.into_iter().zip(all).map(|(name, part)| (name.to_owned(), part.to_owned()));
    parts.chain([("TARGETPLATFORM".to_owned(), whole)]).collect()
}

fn tell(event: &Event<'_>, log: &Log) {
    match event {
        Event::Hit(text) => log.debug(format!("Using cached layer for cmd {text}")),
        Event::Miss(text) => log.info(format!("No cached layer found for cmd {text}")),
        Event::Replaying(text) => log.debug(format!("Applying cached layer of cmd {text}")),
        Event::Scanned { entries, took, method } => {
            log.debug(format!("Scanned {entries} files in {took:.1?} by {method:?}"));
        }
        Event::Furnished { has_mounts: true } => {
            log.debug("Instructions run in a root of their own, with /proc, /sys and /dev mounted");
        }
        Event::Furnished { has_mounts: false } => {
            log.warn(
                "Instructions run in a root of their own without /proc: this container may not mount it",
            );
        }
        Event::Mounted { in_place: false } => log.debug("Mounts are for the instruction's processes alone"),
        Event::Mounted { in_place: true } => {
            log.debug("Mounts are put in place: this container may not mount");
        }
        Event::DeviceLeftOut(path) => {
            log.warn(format!(
                "Device `{}` of a cached layer is left out: it may not be made here",
                path.display()
            ));
        }
        Event::CacheFailed(why) => log.warn(format!("A step is not kept for the next build: {why}")),
    }
}
