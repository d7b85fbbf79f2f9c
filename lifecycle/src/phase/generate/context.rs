//! The digest of the build context of a Dockerfile, for the plan: two builds with the same one are given
//! the same files.

use std::path::{Path, PathBuf};

use extensions::context::{Context, ContextError, SelectOptions};
use extensions::policy::Permitted;

use super::GenerateInputs;
use super::output::file_name;
use crate::digest::Digest;
use crate::log::Log;

/// The digest of what a Dockerfile can copy; `None` if it copies nothing, or what there is cannot be
/// copied. `made` is the extension's output.
pub fn digest(permitted: &Permitted, made: &Path, inputs: &GenerateInputs<'_>, log: &Log) -> Option<String> {
    if !permitted.survey().context {
        return None;
    }
    let target = permitted.target();
    let own = [format!("context.{target}"), "context".to_owned()];
    let dir = own
        .iter()
        .map(|name| made.join(name))
        .find(|dir: &PathBuf| inputs.platform_api.generated_by_extension() && dir.is_dir());
    let dir = dir.unwrap_or_else(|| inputs.surroundings.app_dir.to_owned());
    let digest = |dir: &Path| -> Result<[u8; 32], ContextError> {
        let context = Context::of(dir, &made.join(file_name(target)))?;
        context.digest(&context.select("/", &SelectOptions::default())?)
    };
    match digest(&dir) {
        Ok(hash) => Some(Digest::from_hash(hash).to_string()),
        Err(error) => {
            log.debug(format!("No digest of the build context `{}`: {error}", dir.display()));
            None
        }
    }
}
