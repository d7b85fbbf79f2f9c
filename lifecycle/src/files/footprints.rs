//! What image extensions do to the files of the run image they extend: evidence for later rebases.
//!
//! A file that an extension's layer overwrites or deletes hides the file of every later base. The
//! extender writes the paths to a label of the extended image, the exporter keeps it on the app image,
//! and the rebaser compares what both bases have there.
//!
//! Readings: spec-notes/decisions.md#footprints.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::json::{JsonError, go_json};

/// The label.
pub const LABEL: &str = "lifecycle.extension.footprints";

/// The file beside an extended run image in which the extender says what each new layer does.
pub const FILE: &str = "footprints.json";

/// The most bytes of paths that the label holds.
const MAX_PATH_BYTES: usize = 64 << 10;

/// The footprints of all extensions of an image: what the label holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Footprints {
    /// The OCI `ChainID` of the base whose files `stale` is about: the one that was extended or, after a
    /// rebase that compared files, the one put in its place. Another base means that nobody compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Digest>,
    /// What each extension did, in their order.
    pub extensions: Vec<Footprint>,
    /// How many paths are left out, because they are too many or not UTF-8.
    #[serde(skip_serializing_if = "is_zero")]
    pub truncated: u64,
    /// Paths at which an earlier rebase found that the base's file had changed.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub stale: BTreeSet<String>,
}

/// What the layers of one extension do to files that were there before. Paths are relative to the root.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Footprint {
    /// The extension's ID.
    pub extension: String,
    /// How many paths they add.
    pub added: u64,
    /// The files that they overwrite.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub overwrites: BTreeSet<String>,
    /// The paths that they delete, each with everything below it.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub whiteouts: BTreeSet<String>,
    /// The directories whose modes and owners they have, besides those above a path of these three sets.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub dirs: BTreeSet<String>,
}

/// One layer, as [`FILE`] has it.
#[derive(Deserialize)]
struct LayerFootprint {
    extension: String,
    footprint: Effect,
}

#[derive(Deserialize)]
struct Effect {
    added: u64,
    /// With digests of what was there, where the extender knows them. It may not have been the base's.
    overwrites: BTreeMap<String, Option<String>>,
    whiteouts: BTreeSet<String>,
    #[serde(default)]
    dirs: BTreeSet<String>,
}

impl From<LayerFootprint> for Footprint {
    fn from(LayerFootprint { extension, footprint }: LayerFootprint) -> Self {
        let Effect { added, overwrites, whiteouts, dirs } = footprint;
        Self { extension, added, overwrites: overwrites.into_keys().collect(), whiteouts, dirs }
    }
}

impl Footprint {
    /// The paths at which it hides files of the base.
    pub fn shadowed(&self) -> impl Iterator<Item = &str> {
        self.overwrites.union(&self.whiteouts).map(String::as_str)
    }

    /// The directories whose own modes and owners it hides.
    pub fn directories(&self) -> impl Iterator<Item = &str> {
        let dirs = self.dirs.iter().map(String::as_str);
        dirs.chain(self.shadowed().chain(self.dirs.iter().map(String::as_str)).flat_map(above))
    }
}

impl Footprints {
    /// Puts together the footprints of layers, base first. Of more paths than the label may hold the
    /// shortest are kept, for that leaves out the fewest.
    pub fn new(layers: impl IntoIterator<Item = Footprint>) -> Self {
        let mut footprints = Self::default();
        for layer in layers {
            let known = footprints.extensions.iter_mut().find(|known| known.extension == layer.extension);
            match known {
                None => footprints.extensions.push(layer),
                Some(known) => {
                    known.added += layer.added;
                    known.overwrites.extend(layer.overwrites);
                    known.whiteouts.extend(layer.whiteouts);
                    known.dirs.extend(layer.dirs);
                }
            }
        }
        footprints.truncate(MAX_PATH_BYTES);
        footprints
    }

    /// Reads what the extender wrote, layers base first. Fails when it is not that.
    pub fn of_layers(text: &str) -> Result<Self, JsonError> {
        let layers: Vec<LayerFootprint> = serde_json::from_str(text)?;
        Ok(Self::new(layers.into_iter().map(Footprint::from)))
    }

    fn truncate(&mut self, max_bytes: usize) {
        let order = |path: &String| (path.len(), path.clone());
        let mut paths: Vec<_> = self.sets().flat_map(|set| set.iter().map(order)).collect();
        paths.sort_unstable();
        let mut size = 0;
        let mut is_too_much = |(length, _): &(usize, String)| {
            size += length;
            size > max_bytes
        };
        let end = paths.into_iter().find(|path| is_too_much(path));
        let is_kept = |path: &String| is_exact(path) && end.as_ref().is_none_or(|end| order(path) < *end);
        let mut truncated = 0;
        for set in self.sets() {
            let count = set.len();
            set.retain(is_kept);
            truncated += (count - set.len()) as u64;
        }
        self.truncated += truncated;
    }

    fn sets(&mut self) -> impl Iterator<Item = &mut BTreeSet<String>> {
        self.extensions.iter_mut().flat_map(|one| [&mut one.overwrites, &mut one.whiteouts, &mut one.dirs])
    }

    /// Reads the label's value. Fails when it is not what [`Self::to_label`] writes.
    pub fn parse(text: &str) -> Result<Self, JsonError> {
        serde_json::from_str(text)
    }

    /// The label's value.
    pub fn to_label(&self) -> String {
        go_json(self)
    }

    /// All paths at which a file of the base is hidden.
    pub fn shadowed(&self) -> BTreeSet<&str> {
        self.extensions.iter().flat_map(Footprint::shadowed).collect()
    }

    /// All directories whose own mode and owner in the base are hidden.
    pub fn directories(&self) -> BTreeSet<&str> {
        self.extensions.iter().flat_map(Footprint::directories).collect()
    }

    /// The extensions that hide the file at `path`, or the directory itself if `/.` follows its path.
    pub fn extensions_at(&self, path: &str) -> Vec<&str> {
        let hides = |one: &&Footprint| match path.strip_suffix("/.") {
            Some(dir) => one.directories().any(|hidden| hidden == dir),
            None => one.overwrites.contains(path) || one.whiteouts.contains(path),
        };
        self.extensions.iter().filter(hides).map(|one| one.extension.as_str()).collect()
    }
}

/// The directories above a path, but not the root.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}

/// Whether a path is the file's very name: bytes that are not UTF-8 were replaced by this character.
fn is_exact(path: &str) -> bool {
    !path.contains(char::REPLACEMENT_CHARACTER)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn footprint(extension: &str, overwrites: &[&str], whiteouts: &[&str]) -> Footprint {
        let set = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        let (overwrites, whiteouts) = (set(overwrites), set(whiteouts));
        Footprint { extension: extension.to_owned(), added: 1, overwrites, whiteouts, ..Footprint::default() }
    }

    #[test]
    fn layers_of_one_extension_are_one_footprint() {
        let layers =
            [footprint("a", &["x"], &[]), footprint("b", &["x"], &["y"]), footprint("a", &["z"], &["x"])];
        let all = Footprints::new(layers);
        let mut first = footprint("a", &["x", "z"], &["x"]);
        first.added = 2;
        assert_eq!(all.extensions, [first, footprint("b", &["x"], &["y"])]);
        assert_eq!(all.shadowed().into_iter().collect::<Vec<_>>(), ["x", "y", "z"]);
        assert_eq!((all.extensions_at("x"), all.extensions_at("y")), (vec!["a", "b"], vec!["b"]));
        assert_eq!((all.extensions_at("none"), all.truncated), (vec![], 0));
    }

    #[test]
    fn directories_above_a_path_are_understood() {
        let mut one = footprint("a", &["etc/x/y"], &["z"]);
        one.dirs.insert("usr/lib".to_owned());
        let all = Footprints::new([one, footprint("b", &["usr/bin/x"], &[])]);
        let dirs: Vec<&str> = all.directories().into_iter().collect();
        assert_eq!(dirs, ["etc", "etc/x", "usr", "usr/bin", "usr/lib"]);
        assert_eq!((all.extensions_at("usr/."), all.extensions_at("etc/.")), (vec!["a", "b"], vec!["a"]));
        assert_eq!(Footprints::parse(&all.to_label()).expect("our own"), all);
    }

    #[test]
    fn what_the_extender_wrote_is_read() {
        let text = r#"[{"diff_id":"sha256:1","extension":"a","instruction":"RUN x","footprint":
            {"added":1,"overwrites":{"x":null,"y":"00"},"whiteouts":["z"]}}]"#;
        let all = Footprints::of_layers(text).expect("the extender's");
        assert_eq!(all.extensions, [footprint("a", &["x", "y"], &["z"])]);
        assert!(Footprints::of_layers("{}").is_err() && Footprints::of_layers("[{}]").is_err());
    }

    #[test]
    fn the_label_has_only_what_there_is() {
        let all = Footprints::new([footprint("a", &["etc/passwd"], &[])]);
        assert_eq!(
            all.to_label(),
            r#"{"extensions":[{"extension":"a","added":1,"overwrites":["etc/passwd"]}]}"#
        );
        assert_eq!(Footprints::parse(r#"{"later":1}"#).expect("JSON"), Footprints::default());
        assert!(Footprints::parse("7").is_err() && Footprints::parse(r#"{"truncated":-1}"#).is_err());
    }

    #[test]
    fn names_that_are_not_exact_are_counted_and_left_out() {
        let all = Footprints::new([footprint("a", &["a\u{fffd}", "b"], &[])]);
        assert_eq!((all.truncated, all.shadowed().len()), (1, 1));
    }

    #[test]
    fn too_many_paths_lose_their_longest() {
        let long: Vec<String> = (0..3000).map(|at| format!("usr/share/doc/some-package/{at:04}")).collect();
        let mut paths: Vec<&str> = long.iter().map(String::as_str).collect();
        paths.extend(["etc/passwd", "var/lib/dpkg/status"]);
        let all = Footprints::new([footprint("a", &paths, &[])]);
        let kept = all.shadowed();
        assert!(kept.contains("etc/passwd") && kept.contains("var/lib/dpkg/status"));
        assert!(kept.contains(paths[0]) && !kept.contains(paths[2999]));
        assert_eq!(kept.len() as u64 + all.truncated, 3002);
        assert!(all.to_label().len() < 100_000);
    }

    proptest! {
        #[test]
        fn a_label_is_small_honest_and_read_as_it_was_written(
            paths in proptest::collection::btree_set("[a-z]{1,40}", 0..60), max in 1_usize..900,
        ) {
            let count = paths.len() as u64;
            let mut all = Footprints::default();
            all.extensions.push(Footprint { overwrites: paths, ..Footprint::default() });
            all.truncate(max);
            let kept = all.shadowed();
            prop_assert_eq!(kept.len() as u64 + all.truncated, count);
            prop_assert!(kept.iter().map(|path| path.len()).sum::<usize>() <= max);
            prop_assert_eq!(Footprints::parse(&all.to_label()).expect("our own"), all);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = (Footprints::parse(&text), Footprints::of_layers(&text));
        }
    }
}
