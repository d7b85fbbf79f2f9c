//! Stale shadows: files that extensions replaced or removed, and that are different in the new base.
//!
//! ```text
//!  app image          new base
//!  ┌────────────┐
//!  │ app layers │
//!  ├────────────┤
//!  │ extensions │  hide paths of the base: the label says which
//!  ├────────────┤     ┌──────────┐
//!  │ old base   │  ?= │ new base │  compared at these paths, where their layers differ
//!  └────────────┘     └──────────┘
//! ```
//!
//! Nothing is read where an image has no such paths. Readings: spec-notes/decisions.md#footprints.

use std::collections::BTreeSet;
use std::io;

use crate::digest::chain_id;
use crate::files::footprints::{self, Footprints};
use crate::image::rebase::Rebased;
use crate::image::store::ImageStore;
use crate::image::{Image, Layer};
use crate::layers::decode::decompress;
use crate::layers::find::{ITSELF, Scan, View, scan};
use crate::log::chain;

/// So many paths are named.
const MAX_NAMED: usize = 10;

/// What happens when extensions hide files that the new run image has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ShadowCheck {
    /// The user is told.
    #[default]
    Warn,
    /// The image is not rebased, unless that is forced.
    Fail,
    /// Nobody looks.
    Off,
}

/// Paths relative to the root, as tars have them.
type Paths = BTreeSet<Vec<u8>>;

/// Compares what both bases have where extensions hide it, and keeps the outcome on the rebased image.
/// Returns what the user should know; empty if nothing is stale.
pub fn check(store: &dyn ImageStore, app: &Image, base: &Image, rebased: &mut Rebased) -> Vec<String> {
    let Some(label) = app.config.label(footprints::LABEL) else { return Vec::new() };
    let mut found = Vec::new();
    let unknown = |reason: String| {
        format!("cannot tell whether extensions hide files that the new run image has changed: {reason}")
    };
    let mut footprints = match Footprints::parse(label) {
        Ok(footprints) => footprints,
        Err(error) => return vec![unknown(format!("label `{}`: {error}", footprints::LABEL))],
    };
    if footprints.truncated > 0 {
        let count = footprints.truncated;
        found.push(unknown(format!("{count} of their paths are not in the label `{}`", footprints::LABEL)));
    }
    let old = &app.layers[..rebased.old_base];
    let was_compared = footprints.base == chain_id(&app.config.diff_ids()[..rebased.old_base]);
    if !was_compared {
        found.push(unknown("an earlier rebase did not compare them".to_owned()));
    }
    let mut wanted: Paths = footprints.shadowed().into_iter().map(|path| path.as_bytes().to_vec()).collect();
    wanted.extend(footprints.directories().into_iter().map(|dir| [dir.as_bytes(), ITSELF].concat()));
    match changed(store, old, &base.layers, &wanted) {
        Ok(changed) => {
            footprints.stale.extend(changed.iter().map(|path| String::from_utf8_lossy(path).into_owned()));
            if was_compared {
                footprints.base = chain_id(base.config.diff_ids());
            }
        }
        Err(error) => found.push(unknown(format!("reading the layers of both: {}", chain(&error)))),
    }
    if !footprints.stale.is_empty() {
        found.push(tell(&footprints));
    }
    rebased.image.config.set_label(footprints::LABEL, &footprints.to_label());
    found
}

fn tell(footprints: &Footprints) -> String {
    let name = |path: &String| {
        let extensions = footprints.extensions_at(path).join("`, `");
        match path.strip_suffix("/.") {
            Some(dir) => format!("mode or owner of `/{dir}` (extension `{extensions}`)"),
            None => format!("`/{path}` (extension `{extensions}`)"),
        }
    };
    let mut named: Vec<String> = footprints.stale.iter().take(MAX_NAMED).map(name).collect();
    let more = footprints.stale.len().saturating_sub(MAX_NAMED);
    if more > 0 {
        named.push(format!("and {more} more"));
    }
    format!(
        "the new run image has other files than the old one at {} path(s) that extensions replaced or removed, \
         where the app image stays as it is: {}",
        footprints.stale.len(),
        named.join(", ")
    )
}

/// The paths at which, or below which, two bases differ.
fn changed(store: &dyn ImageStore, old: &[Layer], new: &[Layer], wanted: &Paths) -> io::Result<Paths> {
    let shared = old.iter().zip(new).take_while(|(old, new)| old.diff_id == new.diff_id).count();
    if wanted.is_empty() || old.len().max(new.len()) == shared {
        return Ok(Paths::new());
    }
    let view = |layers: &[Layer]| view(store, layers, wanted);
    let (old_view, new_view) = std::thread::scope(|scope| {
        let old = scope.spawn(|| view(&old[shared..]));
        let new = view(&new[shared..]);
        (old.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), new)
    });
    let (mut old_view, mut new_view) = (old_view?, new_view?);
    let mut touched = wanted.clone();
    touched.retain(|path| old_view.touches(path) || new_view.touches(path));
    for layer in old[..shared].iter().rev() {
        if touched.iter().all(|path| old_view.decides(path) && new_view.decides(path)) {
            break;
        }
        let scan = scan_layer(store, layer, &touched)?;
        old_view.below(&scan);
        new_view.below(&scan);
    }
    touched.retain(|path| !old_view.at(path).eq(new_view.at(path)));
    Ok(touched)
}

/// What layers have at these paths, read from the top until all of them are decided.
fn view(store: &dyn ImageStore, layers: &[Layer], wanted: &Paths) -> io::Result<View> {
    store.fetch_ahead(layers).map_err(io::Error::other)?;
    let mut view = View::default();
    for layer in layers.iter().rev() {
        if wanted.iter().all(|path| view.decides(path)) {
            break;
        }
        view.below(&scan_layer(store, layer, wanted)?);
    }
    Ok(view)
}

fn scan_layer(store: &dyn ImageStore, layer: &Layer, wanted: &Paths) -> io::Result<Scan> {
    let open = || store.open_layer(layer).map_err(io::Error::other).and_then(decompress);
    scan(wanted, open)
        .map_err(|error| io::Error::new(error.kind(), format!("layer {}: {error}", layer.diff_id)))
}

#[cfg(test)]
mod tests;
