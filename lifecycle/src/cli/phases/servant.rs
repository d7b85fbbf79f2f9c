//! The creator's servant: a process that keeps root's rights when the creator gives them up, to extend
//! images and to do nothing else.
//!
//! ```text
//! creator ─► starts itself again ─► servant, as root
//!    │ gives up root's rights          │
//!    ├─► [Request] ──── socket ──────► │ extends
//!    │ ◄──────────────────── [Reply] ──┤
//!    └─► closes the socket ──────────► ends
//! ```
//!
//! Analysis, detection, buildpacks and export run as the build image's user, as without extensions; what
//! they write is never more than a request's text to the servant. It is gone before the first buildpack
//! builds. Where there are no rights to keep, the creator serves itself.

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use extensions::apply::NotReady;
use extensions::policy::Target;
use serde::{Deserialize, Serialize};

use super::extend::{self, ExtendInputs, Spot};
use crate::cli::exit::{Exit, Failure};
use crate::cli::inputs::{self, Phase};
use crate::cli::values::Inputs;
use crate::cli::{privileges, setup, stores};
use crate::files;
use crate::files::analyzed::Analyzed;
use crate::files::group::Group;
use crate::files::order::OrderFile;
use crate::image::store::ImageStore;
use crate::image::{Image, ImageConfig};
use crate::layers::tar::Owner;
use crate::log::Log;
use crate::phase::extend::unpack;
use crate::reference::{ImageName, StoreKind};
use crate::target::host_arch;

/// The variable that makes a creator a servant.
const VARIABLE: &str = "LIFECYCLE_CREATOR_SERVANT";

/// Who extends images for the creator.
pub enum Servant {
    /// A process with root's rights.
    Process {
        /// The process.
        child: Child,
        /// Requests go out, replies come back.
        socket: BufReader<UnixStream>,
    },
    /// The creator itself: it has no rights to give up, or keeps them.
    Creator,
}

/// An image to be extended.
#[derive(Clone, Copy)]
struct Job<'a> {
    target: Target,
    analyzed: &'a Analyzed,
    group: &'a Group,
}

/// What is to be done.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    /// Whether it is the run image that is extended, and not the build image.
    run: bool,
    /// The images, as in `analyzed.toml`.
    analyzed: String,
    /// The group, as in `group.toml`.
    group: String,
}

/// What became of it.
#[derive(Debug, Serialize, Deserialize)]
struct Reply {
    /// The environment that the build image is left with, if extensions have to do with it.
    env: Option<Vec<String>>,
    /// Why it failed.
    error: Option<String>,
}

impl Servant {
    /// Starts one where it will be needed: the platform gave us root's rights, which we will give up for
    /// `user`, and the order has extensions.
    pub fn start(inputs: &Inputs, user: Owner) -> Result<Self, Failure> {
        // Whether the order can be read is told by the detection.
        let order = files::read::<OrderFile>(&inputs.path_of(inputs::ORDER)).unwrap_or_default();
        let has_extensions = inputs.api.has_extensions() && !order.order_extensions.is_empty();
        if !has_extensions || !privileges::is_root() || user.uid == 0 {
            return Ok(Self::Creator);
        }
        let failed =
            |error: io::Error| Failure::new(Exit::Extend, "start a process that extends images", error);
        let (ours, theirs) = UnixStream::pair().map_err(failed)?;
        let mut arguments = std::env::args_os();
        let name = arguments.next().unwrap_or_else(|| Phase::Creator.name().into());
        let child = Command::new("/proc/self/exe")
            .arg0(name)
            .args(arguments)
            .env(VARIABLE, "1")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .map_err(failed)?;
        Ok(Self::Process { child, socket: BufReader::new(ours) })
    }

    /// Extends what extensions of `group` have to do with: the build image, and then the run image. Returns
    /// the environment that the build image is left with, if it was among them. The servant is then gone.
    pub fn extend_all(
        mut self,
        inputs: &Inputs,
        analyzed: &Analyzed,
        group: &Group,
        log: &Log,
    ) -> Result<Option<Vec<String>>, Failure> {
        if group.group_extensions.is_empty() {
            return Ok(None);
        }
        log.phase("EXTENDING");
        let job = |target| Job { target, analyzed, group };
        let env = self.extend(inputs, job(Target::Build), log)?;
        let extends_run = analyzed.run_image.as_ref().is_some_and(|image| image.extend);
        if extends_run && inputs.api.extends_run_image() {
            self.extend(inputs, job(Target::Run), log)?;
        }
        Ok(env)
    }

    /// Extends an image. Returns the environment that a build image is left
    /// with, if extensions have to do with it.
    fn extend(&mut self, inputs: &Inputs, job: Job<'_>, log: &Log) -> Result<Option<Vec<String>>, Failure> {
        let socket = match self {
            Self::Creator => return serve(inputs, job, log),
            Self::Process { socket, .. } => socket,
        };
        let run = job.target == Target::Run;
        let request = Request { run, analyzed: job.analyzed.to_toml(), group: job.group.to_toml() };
        let reply = ask(socket, &request)
            .map_err(|error| Failure::new(Exit::Extend, "hear of the process that extends images", error))?;
        match reply.error {
            None => Ok(reply.env),
            Some(text) => Err(Failure::new(Exit::Extend, "", text)),
        }
    }
}

impl Drop for Servant {
    /// Ends the process, and waits until it has cleaned up.
    fn drop(&mut self) {
        if let Self::Process { child, socket } = self {
            let _ = socket.get_ref().shutdown(std::net::Shutdown::Both);
            let _ = child.wait();
        }
    }
}

fn ask(socket: &mut BufReader<UnixStream>, request: &Request) -> io::Result<Reply> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    socket.get_mut().write_all(&line)?;
    let mut reply = String::new();
    if socket.read_line(&mut reply)? == 0 {
        return Err(io::Error::other("it ended"));
    }
    Ok(serde_json::from_str(&reply)?)
}

/// Whether this process was started to serve.
pub fn is_here(inputs: &Inputs) -> bool {
    inputs.other_variable(VARIABLE).is_some()
}

/// Serves the creator that started this process, until it is gone.
pub fn run(inputs: &Inputs, log: &Log) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::new(Exit::Extend, "hear of the creator", error);
    let socket = rustix::io::dup(io::stdin()).map_err(|error| failed(error.into()))?;
    let mut socket = BufReader::new(UnixStream::from(socket));
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).map_err(failed)? == 0 {
            return Ok(());
        }
        let reply = match answer(inputs, &line, log) {
            Ok(env) => Reply { env, error: None },
            Err(failure) => Reply { env: None, error: Some(failure.text()) },
        };
        let mut line = serde_json::to_vec(&reply).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        socket.get_mut().write_all(&line).map_err(failed)?;
    }
}

fn answer(inputs: &Inputs, line: &str, log: &Log) -> Result<Option<Vec<String>>, Failure> {
    let failed = |error: String| Failure::new(Exit::Extend, "read a request", error);
    let request: Request = serde_json::from_str(line).map_err(|error| failed(error.to_string()))?;
    let analyzed = files::SpecFile::parse(&request.analyzed).map_err(|error| failed(error.to_string()))?;
    let group = files::SpecFile::parse(&request.group).map_err(|error| failed(error.to_string()))?;
    let target = if request.run { Target::Run } else { Target::Build };
    serve(inputs, Job { target, analyzed: &analyzed, group: &group }, log)
}

fn serve(inputs: &Inputs, job: Job<'_>, log: &Log) -> Result<Option<Vec<String>>, Failure> {
    let extending = ExtendInputs::new(inputs)?;
    match job.target {
        Target::Build => extend_build(inputs, &extending, job, log),
        Target::Run => extend_run(inputs, &extending, job, log).map(|()| None),
    }
}

/// Extends the image that this process is in.
fn extend_build(
    inputs: &Inputs,
    extending: &ExtendInputs,
    job: Job<'_>,
    log: &Log,
) -> Result<Option<Vec<String>>, Failure> {
    let dockerfiles = extending.dockerfiles(job.group, Target::Build, job.analyzed.target(), log)?;
    if dockerfiles.is_empty() {
        return Ok(None);
    }
    extend::may_build(&dockerfiles)?;
    let named = named_build_image(inputs, log)?;
    if named.is_none() {
        log.debug("CNB_BUILD_IMAGE does not name the build image, so steps of its extensions are not kept");
    }
    let cache = extend::step_cache(inputs).filter(|_| named.is_some());
    let base = match named {
        Some(image) => image,
        None => image_here(inputs)?,
    };
    let name = base.name.as_ref().map(ToString::to_string).unwrap_or_default();
    let root = extend::host()?;
    let spot = Spot { root: &root, make_ready: &extend::may_change_root, cache: cache.as_deref() };
    let extended = extending.apply(&dockerfiles, Target::Build, (&base, &name), &spot, log)?;
    Ok(Some(extended.image.config.env()))
}

/// The image that the platform says we are in.
fn named_build_image(inputs: &Inputs, log: &Log) -> Result<Option<Image>, Failure> {
    let Some(text) = inputs.text(inputs::BUILD_IMAGE) else { return Ok(None) };
    let name = ImageName::given(StoreKind::Registry, &text)
        .map_err(|error| Failure::new(Exit::Arguments, "resolve inputs", error))?;
    let failed = |error| Failure::new(Exit::Extend, format!("get build image `{text}`"), error);
    stores::registry(inputs, log)?.find(&name).map_err(failed)
}

/// What can be told of the image that we are in from within. Of our environment only what no platform
/// gives is taken to be the image's.
fn image_here(inputs: &Inputs) -> Result<Image, Failure> {
    let mut config = ImageConfig::new("linux", host_arch());
    for name in ["PATH", "CNB_USER_ID", "CNB_GROUP_ID", "CNB_STACK_ID"] {
        if let Some(value) = inputs.other_variable(name).and_then(|value| value.to_str()) {
            config.set_env(name, value);
        }
    }
    let Owner { uid, gid } = setup::owner(inputs)?;
    config.set_process_text("User", &format!("{uid}:{gid}"));
    Ok(Image::new(config))
}

/// Extends the run image, in a directory of its own, in which it is unpacked if a step has to be carried
/// out.
fn extend_run(inputs: &Inputs, extending: &ExtendInputs, job: Job<'_>, log: &Log) -> Result<(), Failure> {
    let Job { analyzed, group, .. } = job;
    let dockerfiles = extending.dockerfiles(group, Target::Run, analyzed.target(), log)?;
    let kind = stores::kind(inputs)?;
    let store = stores::open(inputs, kind, log)?;
    let name = analyzed.run_image.as_ref().map(|image| image.reference.as_str()).unwrap_or_default();
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        Failure::new(Exit::Extend, format!("get run image `{name}`"), error)
    };
    let recorded = ImageName::recorded(kind, name).map_err(|error| failed(error.into()))?;
    let found = store.find(&recorded).map_err(|error| failed(error.into()))?;
    let base = found.ok_or_else(|| failed("it was not found".into()))?;
    let root = extending.new_root()?;
    let unpacked = RefCell::new(false);
    let make_ready = || -> Result<(), NotReady> {
        if !unpacked.replace(true) {
            if !privileges::is_root() {
                return Err("that takes root's rights, which this process does not have".into());
            }
            log.debug(format!("Unpacking run image {name}"));
            unpack::unpack(store.as_ref(), &base, &root, log)?;
        }
        Ok(())
    };
    let cache = extend::step_cache(inputs);
    let spot = Spot { root: &root, make_ready: &make_ready, cache: cache.as_deref() };
    let extended = extending.apply(&dockerfiles, Target::Run, (&base, name), &spot, log)?;
    extending.save(&extended, log)
}
