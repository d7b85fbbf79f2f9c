//! SBOM files of earlier builds: from the previous image's and the cache's layer into
//! `<layers>/sbom`, and from there to the buildpacks' directories.
//!
//! Nothing that fails here fails a build: a buildpack that misses its SBOM file writes it again.
//!
//! Spec: buildpack.md "Software-Bill-of-Materials", platform.md "restorer".

use std::fs::File;
use std::io::{self, Read};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, openat};

use crate::cache::Cache;
use crate::digest::DiffId;
use crate::files::{self, component_id::ComponentId, labels::LifecycleMetadata};
use crate::image::Image;
use crate::image::store::ImageStore;
use crate::layers::decode::decompress;
use crate::layers::unpack::{self, Restore};
use crate::log::{Log, chain};

/// The formats that SBOM files have, as their names end. Spec: buildpack.md "SBOM".
pub const EXTENSIONS: [&str; 3] = ["sbom.cdx.json", "sbom.spdx.json", "sbom.syft.json"];

/// The most bytes of one SBOM file that comes back.
const MAX_BYTES: u64 = 256 << 20;

/// Brings back `<layers>/sbom/launch` from the layer that `image` has for it.
pub fn restore_from_image(
    store: &dyn ImageStore,
    image: &Image,
    metadata: &LifecycleMetadata,
    layers: &Path,
    log: &Log,
) {
    let Some(sbom) = metadata.sbom.as_ref().filter(|sbom| !sbom.sha.is_empty()) else { return };
    log.info("Restoring data for SBOM from previous image");
    log.debug(format!("Retrieving previous image SBOM layer for \"{}\"", sbom.sha));
    let layer = sbom.diff_id().and_then(|diff_id| Some((diff_id, image.layer(diff_id)?)));
    let result = match layer {
        None => Err("the previous image has no such layer".to_owned()),
        Some((diff_id, layer)) => {
            let opened = store.open_layer(layer).map_err(|error| chain(&error));
            opened.and_then(|blob| put_back(diff_id, blob, &layers.join("sbom/launch")))
        }
    };
    if let Err(why) = result {
        log.warn(format!("Skipping restore of SBOM from previous image: {why}"));
    }
}

/// Brings back `<layers>/sbom/cache` from the layer that the cache has for it.
pub fn restore_from_cache(cache: &dyn Cache, sha: &str, layers: &Path, log: &Log) {
    log.info("Restoring data for SBOM from cache");
    log.debug(format!("Retrieving SBOM layer data for \"{sha}\""));
    let result =
        sha.parse().map_err(|error: crate::digest::DigestError| error.to_string()).and_then(|diff_id| {
            let opened = cache.open_layer(diff_id).map_err(|error| chain(&error));
            opened.and_then(|tar| put_back(diff_id, tar, &layers.join("sbom/cache")))
        });
    if let Err(why) = result {
        log.warn(format!("Skipping restore of SBOM from cache: {why}"));
    }
}

fn put_back(diff_id: DiffId, blob: impl Read + Send, dir: &Path) -> Result<(), String> {
    let tar = decompress(blob).map_err(|error| error.to_string())?;
    unpack::restore(&Restore { diff_id, dir: dir.to_owned() }, tar, NonZeroUsize::MIN)
        .map_err(|error| chain(&error))
}

/// A layer whose SBOM files its buildpack gets back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner<'a> {
    /// The buildpack.
    pub buildpack: &'a ComponentId,
    /// The layer's name.
    pub layer: &'a str,
    /// Where its files are looked for below `<layers>/sbom`, best first: `launch`, `cache`.
    pub kinds: &'a [&'a str],
}

/// Copies the SBOM files of each of `owners` to `<layers>/<buildpack>/<layer>.sbom.<format>` and
/// removes `<layers>/sbom`.
pub fn hand_out(layers: &Path, owners: &[Owner<'_>], log: &Log) {
    for owner in owners {
        for extension in EXTENSIONS {
            if let Err((path, error)) = copy(layers, owner, extension) {
                log.warn(format!("Skipping restore of SBOM file `{}`: {error}", path.display()));
            }
        }
    }
    match std::fs::remove_dir_all(layers.join("sbom")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log.warn(format!("Failed to remove `{}`: {error}", layers.join("sbom").display()));
        }
        _ => {}
    }
}

fn copy(layers: &Path, owner: &Owner<'_>, extension: &str) -> Result<(), (PathBuf, io::Error)> {
    let buildpack = owner.buildpack.escaped();
    for kind in owner.kinds {
        let parts = ["sbom", kind, &buildpack, owner.layer, extension];
        let from = parts.iter().fold(layers.to_owned(), |path, part| path.join(part));
        let Some(file) = open_below(layers, &parts).map_err(|error| (from.clone(), error))? else { continue };
        let mut text = String::new();
        file.take(MAX_BYTES).read_to_string(&mut text).map_err(|error| (from.clone(), error))?;
        let to = layers.join(&buildpack).join(format!("{}.{extension}", owner.layer));
        return files::write("SBOM", &to, &text).map_err(|error| (to, io::Error::other(error)));
    }
    Ok(())
}

/// Opens the regular file at `parts` below `dir`, or nothing if there is none. What lies there came
/// out of an image: links are not followed.
fn open_below(dir: &Path, parts: &[&str]) -> io::Result<Option<File>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut opened = File::from(openat(CWD, dir, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?);
    for part in parts {
        opened = match openat(&opened, *part, flags, Mode::empty()) {
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
                return Ok(None);
            }
            result => File::from(result?),
        };
    }
    Ok(opened.metadata()?.is_file().then_some(opened))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Level;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn layers() -> tempfile::TempDir {
        let dir = tempfile::tempdir().expect("a temporary directory");
        for (kind, text) in [("launch", "{\"from\":\"image\"}"), ("cache", "{\"from\":\"cache\"}")] {
            let layer = dir.path().join("sbom").join(kind).join("a_b/x");
            fs::create_dir_all(&layer).expect("writable");
            fs::write(layer.join("sbom.cdx.json"), text).expect("writable");
        }
        dir
    }

    #[track_caller]
    fn check(layers: &Path, layer: &str, kinds: &[&str], expected: Option<&str>) {
        let id = "a/b".parse().expect("an ID");
        let (log, buffer) = Log::buffer(Level::Info);
        hand_out(layers, &[Owner { buildpack: &id, layer, kinds }], &log);
        let found = fs::read_to_string(layers.join("a_b").join(format!("{layer}.sbom.cdx.json"))).ok();
        assert_eq!((found.as_deref(), buffer.text().as_str()), (expected, ""));
        assert!(!layers.join("sbom").exists());
    }

    #[test]
    fn buildpacks_get_the_files_of_their_layers() {
        check(layers().path(), "x", &["launch", "cache"], Some("{\"from\":\"image\"}"));
        check(layers().path(), "x", &["cache"], Some("{\"from\":\"cache\"}"));
        check(layers().path(), "other", &["launch", "cache"], None);
    }

    #[test]
    fn links_lead_nowhere() {
        let dir = layers();
        let secret = dir.path().join("secret");
        fs::write(&secret, "secret").expect("writable");
        let link = dir.path().join("sbom/launch/a_b/y");
        fs::create_dir(&link).expect("writable");
        symlink(&secret, link.join("sbom.cdx.json")).expect("writable");
        symlink(dir.path().join("sbom/launch/a_b/x"), dir.path().join("sbom/launch/a_b/z"))
            .expect("writable");
        check(dir.path(), "y", &["launch"], None);
        fs::create_dir_all(dir.path().join("sbom/launch/a_b")).expect("writable");
        check(dir.path(), "z", &["launch"], None);
    }

    #[test]
    fn nothing_to_hand_out_is_fine() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        check(dir.path(), "x", &["launch", "cache"], None);
    }
}
