//! The Dockerfiles that extensions generated for one image, with what each is applied with.
//!
//! ```text
//! before Platform API 0.13            from it on
//! <generated>/<kind>/<id>/Dockerfile  <generated>/<id>/<kind>.Dockerfile
//! context: the application            <generated>/<id>/context.<kind>, context, or the application
//! ```
//!
//! Spec: platform.md "extender", image_extension.md "Contexts".

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use extensions::context::Context;
use extensions::dockerfile::parse;
use extensions::policy::{Permitted, Target, permit};
use extensions::state::Arguments;

use super::ExtendError;
use crate::api::PlatformApi;
use crate::files::component_id::ComponentId;
use crate::files::extend_config::{Arg, ExtendConfig};
use crate::files::group::GroupElement;
use crate::files::{Cause, SpecFile};
use crate::log::Log;

/// The most bytes that a file may have.
const MAX_BYTES: u64 = 1 << 20;

/// Where the files of extensions are.
#[derive(Debug, Clone, Copy)]
pub struct Generated<'a> {
    /// The Platform API, which says where to look.
    pub api: PlatformApi,
    /// The directory.
    pub dir: &'a Path,
    /// The application, which is the context of those that have none of their own.
    pub app: &'a Path,
}

/// A Dockerfile of an extension, checked.
#[derive(Debug)]
pub struct Dockerfile {
    /// The extension.
    pub extension: ComponentId,
    /// The Dockerfile.
    pub permitted: Permitted,
    /// The arguments that the extension gives it, by name.
    pub args: BTreeMap<String, String>,
    /// What COPY, ADD and bind mounts take from.
    pub context: Context,
}

/// Finds the Dockerfiles that are for `target`, in the order of `extensions`; those that have none are
/// left out. `platform` are the arguments that say what the image runs on.
pub fn find(
    generated: Generated<'_>,
    extensions: &[GroupElement],
    target: Target,
    platform: &BTreeMap<String, String>,
    log: &Log,
) -> Result<Vec<Dockerfile>, ExtendError> {
    let read = |element: &GroupElement| read(generated, &element.id, target, platform, log).transpose();
    extensions.iter().filter_map(read).collect()
}

fn read(
    generated: Generated<'_>,
    id: &ComponentId,
    target: Target,
    platform: &BTreeMap<String, String>,
    log: &Log,
) -> Result<Option<Dockerfile>, ExtendError> {
    let (dir, path) = place(generated, id, target);
    let damaged = |cause| ExtendError::File { extension: id.to_string(), cause };
    let Some(bytes) = read_file(&path).map_err(damaged)? else { return Ok(None) };
    log.debug(format!("Found {target} Dockerfile of extension {id}: {}", path.display()));
    let args = args(&dir, target).map_err(damaged)?;
    let refused = |source: Box<dyn std::error::Error + Send + Sync>| ExtendError::Dockerfile {
        extension: id.to_string(),
        source,
    };
    let name = format!("{target}.Dockerfile");
    let dockerfile = parse(&name, &bytes).map_err(|error| refused(error.into()))?;
    let arguments =
        Arguments { supplied: args.clone(), platform: platform.clone(), proxies: BTreeMap::new() };
    let permitted = permit(dockerfile, target, &arguments).map_err(|error| refused(error.into()))?;
    let context = Context::of(&context_dir(generated, &dir, target), &path)
        .map_err(|source| ExtendError::Context { extension: id.to_string(), source })?;
    Ok(Some(Dockerfile { extension: id.clone(), permitted, args, context }))
}

/// The directory of an extension's files, and its Dockerfile.
fn place(generated: Generated<'_>, id: &ComponentId, target: Target) -> (PathBuf, PathBuf) {
    if generated.api.generated_by_extension() {
        let dir = generated.dir.join(id.escaped());
        let path = dir.join(format!("{target}.Dockerfile"));
        (dir, path)
    } else {
        let dir = generated.dir.join(target.to_string()).join(id.escaped());
        let path = dir.join("Dockerfile");
        (dir, path)
    }
}

fn context_dir(generated: Generated<'_>, dir: &Path, target: Target) -> PathBuf {
    let own = [format!("context.{target}"), "context".to_owned()];
    let own = own.into_iter().map(|name| dir.join(name));
    let own = own.filter(|_| generated.api.generated_by_extension());
    own.into_iter().find(|dir| is_dir(dir)).unwrap_or_else(|| generated.app.to_owned())
}

/// Whether a directory is there itself: a link would lead out of what the extension made.
fn is_dir(path: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|found| found.is_dir())
}

fn args(dir: &Path, target: Target) -> Result<BTreeMap<String, String>, Cause> {
    let path = dir.join("extend-config.toml");
    let Some(bytes) = read_file(&path)? else { return Ok(BTreeMap::new()) };
    let text = String::from_utf8(bytes).map_err(|_| Cause::NotText(path.clone()))?;
    let config = ExtendConfig::parse(&text).map_err(|error| Cause::Syntax { path, error })?;
    let args = match target {
        Target::Build => config.build.args,
        Target::Run => config.run.args,
    };
    Ok(args.into_iter().map(|Arg { name, value }| (name, value)).collect())
}

/// Reads a file that another user wrote: no link in its place is followed, and nothing waited for.
fn read_file(path: &Path) -> Result<Option<Vec<u8>>, Cause> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("flags of open are an int");
    let system = |error| Cause::System { operation: "read", path: path.to_owned(), error };
    let file = match File::options().read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(system(error)),
    };
    if !file.metadata().map_err(system)?.is_file() {
        return Err(system(io::Error::other("not a regular file")));
    }
    let mut bytes = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(system)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Cause::TooLarge(path.to_owned()));
    }
    Ok(Some(bytes))
}
