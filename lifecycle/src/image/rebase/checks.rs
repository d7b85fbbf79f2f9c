//! Which bases an app image may be put on.
//!
//! Two versions count: that of the platform the app image was built by (targets or stacks), and that
//! of the caller (whether the new base must be listed). Texts are those that platforms know.

use std::collections::BTreeSet;

use super::{BuiltFor, Force, Metadata, Rebase, RebaseError};
use crate::api::image_has_targets;
use crate::files::labels;
use crate::files::run::MirroredImage;
use crate::image::Image;
use crate::json::go_json;

/// Checks the new base against what the app was built for.
pub(super) fn check(request: &Rebase<'_>, warnings: &mut Vec<String>) -> Result<BuiltFor, RebaseError> {
    let api = request.app.config.env_value("CNB_PLATFORM_API").unwrap_or_default();
    let has_targets = image_has_targets(&api).map_err(RebaseError::AppPlatformApi)?;
    if has_targets || request.platform.has_targets() {
        check_rebasable(request, warnings)?;
    }
    if has_targets {
        check_target(request, warnings)?;
        return Ok(BuiltFor::Target);
    }
    check_stack(request)?;
    check_mixins(request)?;
    Ok(BuiltFor::Stack)
}

fn check_rebasable(request: &Rebase<'_>, warnings: &mut Vec<String>) -> Result<(), RebaseError> {
    if request.app.config.label(labels::REBASABLE) == Some("false") {
        refuse(request, warnings, RebaseError::NotRebasable)?;
    }
    Ok(())
}

fn check_target(request: &Rebase<'_>, warnings: &mut Vec<String>) -> Result<(), RebaseError> {
    let (app, base) = (request.app.config.target(), request.base.config.target());
    if app.accepts_base(&base) {
        return Ok(());
    }
    refuse(request, warnings, RebaseError::Target { base: Box::new(base), app: Box::new(app) })
}

/// An error or, when forced, a warning with its text.
fn refuse(request: &Rebase<'_>, warnings: &mut Vec<String>, error: RebaseError) -> Result<(), RebaseError> {
    if request.force == Force::No {
        return Err(error);
    }
    let text = error.to_string();
    let advice = "; please provide -force to override";
    warnings.push(text.strip_suffix(advice).unwrap_or(&text).to_owned());
    Ok(())
}

fn check_stack(request: &Rebase<'_>) -> Result<(), RebaseError> {
    let stack = |image: &Image| image.config.label(labels::STACK_ID).unwrap_or_default().to_owned();
    let (app, base) = (stack(request.app), stack(request.base));
    if app.is_empty() {
        Err(RebaseError::NoStack("app image"))
    } else if base.is_empty() {
        Err(RebaseError::NoStack("new base image"))
    } else if app == base {
        Ok(())
    } else {
        Err(RebaseError::Stack { base, app })
    }
}

fn check_mixins(request: &Rebase<'_>) -> Result<(), RebaseError> {
    let wanted = mixins(request.app, "app image")?;
    let found = mixins(request.base, "run image")?;
    let missing: Vec<String> = wanted.difference(&found).cloned().collect();
    if missing.is_empty() { Ok(()) } else { Err(RebaseError::Mixins(missing)) }
}

/// The mixins of an image without their stage: `build:git` and `run:git` are `git`.
fn mixins(image: &Image, whose: &'static str) -> Result<BTreeSet<String>, RebaseError> {
    let label = labels::STACK_MIXINS;
    let value = image.config.label(label).filter(|value| !value.is_empty()).unwrap_or("[]");
    let mixins: Option<Vec<String>> =
        serde_json::from_str(value).map_err(|error| RebaseError::Label { label, image: whose, error })?;
    let name = |mixin: &String| mixin.split_once(':').map_or(mixin.as_str(), |(_, name)| name).to_owned();
    Ok(mixins.unwrap_or_default().iter().map(name).collect())
}

/// Checks that the app image lists the new base. The names to write where it does not, and that is forced.
pub(super) fn check_listed(
    request: &Rebase<'_>,
    metadata: &Metadata,
    warnings: &mut Vec<String>,
) -> Result<Option<MirroredImage>, RebaseError> {
    if !request.platform.has_targets() {
        return Ok(None);
    }
    let current = metadata.names();
    let legacy = metadata.stack.as_ref().map(|stack| &stack.run_image);
    let is_listed = [Some(&current), legacy].iter().flatten().any(|names| names.contains(request.base_name));
    if is_listed {
        return Ok(None);
    }
    let listed = match legacy {
        _ if !current.image.is_empty() => go_json(&metadata.run_image),
        Some(legacy) => go_json(legacy),
        None => "not found".to_owned(),
    };
    let base = request.base_name.to_owned();
    refuse(request, warnings, RebaseError::NotListed { base: base.clone(), listed })?;
    Ok(Some(MirroredImage { image: base, mirrors: Vec::new() }))
}
