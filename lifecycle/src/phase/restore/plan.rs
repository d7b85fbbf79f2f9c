//! Which layers of earlier builds come back: decided from what the previous image and the cache
//! say about them. Pure.
//!
//! ```text
//! a layer that was   its metadata comes from   its contents
//! launch             the previous image        not: they stay in the image
//! launch + cache     the previous image        the cache, if it has the same layer
//! cache              the cache                 the cache
//! launch + build     nowhere                   the buildpack makes it anew
//! anything else      nowhere
//! ```
//!
//! Spec: buildpack.md "Layer Types"; readings: spec-notes/decisions.md, "Which layers come back".

use std::collections::BTreeSet;

use serde_json::Value;

use crate::api::PlatformApi;
use crate::cache::CacheMetadata;
use crate::cache::metadata::CachedLayer;
use crate::digest::DiffId;
use crate::files::component_id::ComponentId;
use crate::files::group::GroupElement;
use crate::files::labels::{LayerMetadata, LifecycleMetadata};

/// Names of `<name>.toml` files that are no layer's.
const NOT_LAYERS: [&str; 3] = ["build", "launch", "store"];

/// What is done about one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The buildpack that made it.
    pub buildpack: ComponentId,
    /// Its name.
    pub layer: String,
    /// What is done.
    pub action: Action,
}

/// What is done about a layer.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// It comes back.
    Restore(Restored),
    /// It does not, though the buildpack asked for it: for everyone to read.
    Drop(&'static str),
    /// It does not, as usual: for those who look for a fault.
    Skip(&'static str),
}

/// What comes back of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// Who knows its metadata.
    pub source: Source,
    /// The `metadata` table of its `<layer>.toml`; null when there is none.
    pub metadata: Value,
    /// The cached layer with its contents; `None` when they are not needed.
    pub contents: Option<DiffId>,
}

/// Who knows the metadata of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The previous image.
    PreviousImage,
    /// The cache.
    Cache,
}

impl Step {
    /// What messages call the layer: `<buildpack>:<layer>`.
    pub fn identifier(&self) -> String {
        format!("{}:{}", self.buildpack, self.layer)
    }
}

/// What is done about each layer that the previous image or the cache knows of a buildpack of
/// `group`: in the order of the group, then by name.
pub fn plan(
    group: &[GroupElement],
    previous: &LifecycleMetadata,
    cache: &CacheMetadata,
    api: PlatformApi,
) -> Vec<Step> {
    group.iter().flat_map(|buildpack| plan_buildpack(&buildpack.id, previous, cache, api)).collect()
}

fn plan_buildpack(
    id: &ComponentId,
    previous: &LifecycleMetadata,
    cache: &CacheMetadata,
    api: PlatformApi,
) -> Vec<Step> {
    let in_image = previous.buildpack(id.as_str()).map(|buildpack| &buildpack.layers);
    let in_cache =
        cache.buildpacks.iter().find(|buildpack| buildpack.key == id.as_str()).map(|found| &found.layers);
    let names: BTreeSet<&String> = in_image
        .into_iter()
        .flat_map(|layers| layers.keys())
        .chain(in_cache.into_iter().flat_map(|layers| layers.keys()))
        .collect();
    let decide_on = |name: &String| {
        if !is_layer_name(name) {
            return Action::Drop("its name cannot be a layer's");
        }
        let image = in_image.and_then(|layers| layers.get(name));
        let cached = in_cache.and_then(|layers| layers.get(name)).filter(|layer| layer.cache);
        decide(image, cached, api)
    };
    names
        .into_iter()
        .map(|name| Step { buildpack: id.clone(), layer: name.clone(), action: decide_on(name) })
        .collect()
}

/// Names come from a label and a file that others may have written; they become paths.
pub(super) fn is_layer_name(name: &str) -> bool {
    let is_one_name = !matches!(name, "" | "." | "..") && !name.contains(['/', '\0']);
    is_one_name && !NOT_LAYERS.contains(&name)
}

/// Decides on one layer: `image` is what the previous image says of it, `cached` what the cache does,
/// if it is one of its cached layers.
fn decide(image: Option<&LayerMetadata>, cached: Option<&CachedLayer>, api: PlatformApi) -> Action {
    match (image.filter(|layer| layer.launch), cached) {
        (_, Some(cached)) if !cached.launch => from_cache(cached),
        (Some(image), cached) => from_image(image, cached),
        (None, Some(cached)) if api.restores_cached_launch_layers_without_image() => from_cache(cached),
        (None, Some(_)) => Action::Skip("marked as launch=true, but not found in the previous image"),
        (None, None) => Action::Skip("marked as launch=false and cache=false"),
    }
}

fn from_image(image: &LayerMetadata, cached: Option<&CachedLayer>) -> Action {
    let restored =
        |contents| Restored { source: Source::PreviousImage, metadata: image.data.clone(), contents };
    match (image.build, image.cache, cached) {
        (true, false, _) => Action::Skip("marked as build=true, cache=false"),
        (false, false, _) => Action::Restore(restored(None)),
        (_, true, None) => Action::Skip("marked as cache=true, but not found in cache"),
        (_, true, Some(cached)) => match cached.sha.parse() {
            Ok(diff_id) if image.sha == cached.sha => Action::Restore(restored(Some(diff_id))),
            _ => Action::Drop("wrong sha"),
        },
    }
}

fn from_cache(cached: &CachedLayer) -> Action {
    match cached.sha.parse() {
        Ok(diff_id) => Action::Restore(Restored {
            source: Source::Cache,
            metadata: cached.data.clone(),
            contents: Some(diff_id),
        }),
        Err(_) => Action::Drop("wrong sha"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::metadata::CachedBuildpack;
    use crate::digest::Digest;
    use crate::files::labels::BuildpackLayers;
    use serde_json::json;
    use std::collections::BTreeMap;

    fn sha(text: &str) -> DiffId {
        DiffId::new(Digest::of(text.as_bytes()))
    }

    /// `lbc`: launch, build, cache; the digit is the contents' version.
    fn image(kinds: &str, version: &str) -> LayerMetadata {
        let is = |kind| kinds.contains(kind);
        let data = json!({ "from": "image" });
        let (launch, build, cache) = (is('l'), is('b'), is('c'));
        LayerMetadata {
            sha: sha(version).to_string(),
            data,
            launch,
            build,
            cache,
            ..LayerMetadata::default()
        }
    }

    fn cached(kinds: &str, version: &str) -> CachedLayer {
        let is = |kind| kinds.contains(kind);
        let data = json!({ "from": "cache" });
        CachedLayer { sha: sha(version).to_string(), data, launch: is('l'), build: is('b'), cache: is('c') }
    }

    /// The action as text: where metadata comes from, `+` if contents come too, `-` if nothing does.
    fn action(image: Option<&LayerMetadata>, cached: Option<&CachedLayer>, api: PlatformApi) -> String {
        match decide(image, cached.filter(|layer| layer.cache), api) {
            Action::Restore(restored) => {
                let from = restored.metadata["from"].as_str().expect("tests say where it is from").to_owned();
                from + if restored.contents.is_some() { "+" } else { "" }
            }
            Action::Drop(_) => "drop".to_owned(),
            Action::Skip(_) => "-".to_owned(),
        }
    }

    #[track_caller]
    fn check(in_image: &str, in_cache: &str, expected: &str) {
        let image = (!in_image.is_empty()).then(|| image(in_image, "1"));
        let cached = (!in_cache.is_empty()).then(|| cached(in_cache, "1"));
        for api in [PlatformApi::V0_7, PlatformApi::V0_13, PlatformApi::V0_15] {
            assert_eq!(action(image.as_ref(), cached.as_ref(), api), expected, "{in_image} {in_cache} {api}");
        }
    }

    #[test]
    fn eight_combinations_of_types_come_back_as_the_table_says() {
        check("l", "", "image");
        check("lb", "", "-");
        check("lc", "lc", "image+");
        check("lbc", "lbc", "image+");
        check("", "c", "cache+");
        check("", "bc", "cache+");
        check("", "b", "-");
        check("", "", "-");
    }

    #[test]
    fn launch_layers_need_their_cached_contents() {
        check("lc", "", "-");
        check("lbc", "", "-");
        check("lb", "lbc", "-");
    }

    #[test]
    fn cached_layer_of_another_build_than_the_image_is_dropped() {
        let (old, new) = (cached("lc", "1"), image("lc", "2"));
        assert_eq!(action(Some(&new), Some(&old), PlatformApi::V0_15), "drop");
    }

    #[test]
    fn cached_launch_layer_comes_back_without_an_image_from_0_14_on() {
        let found = |api| action(None, Some(&cached("lc", "1")), api);
        assert_eq!((found(PlatformApi::V0_13), found(PlatformApi::V0_14)), ("-".into(), "cache+".into()));
    }

    #[test]
    fn broken_digest_in_the_cache_is_dropped() {
        let broken = CachedLayer { sha: "sha256:../..".to_owned(), ..cached("c", "1") };
        assert_eq!(action(None, Some(&broken), PlatformApi::V0_15), "drop");
    }

    #[test]
    fn hostile_names_and_other_buildpacks_do_not_come_back() {
        let layers = ["a", "../b", "store", ".", "", "c/d", "z"];
        let layers = layers.map(|name| (name.to_owned(), image("l", "1"))).into_iter().collect();
        let buildpack =
            |key: &str, layers| BuildpackLayers { key: key.to_owned(), layers, ..Default::default() };
        let previous = LifecycleMetadata {
            buildpacks: vec![buildpack("bp/x", layers), buildpack("other", BTreeMap::default())],
            ..Default::default()
        };
        let cache = CacheMetadata {
            buildpacks: vec![CachedBuildpack {
                key: "bp/x".to_owned(),
                layers: [("b".to_owned(), cached("c", "2"))].into_iter().collect(),
                ..Default::default()
            }],
            ..Default::default()
        };
        let group = [GroupElement {
            id: "bp/x".parse().expect("an ID"),
            version: "1".parse().expect("a version"),
            api: String::new(),
            homepage: String::new(),
        }];
        let steps = plan(&group, &previous, &cache, PlatformApi::V0_15);
        let restored: Vec<String> = steps
            .iter()
            .filter(|step| matches!(step.action, Action::Restore(_)))
            .map(Step::identifier)
            .collect();
        assert_eq!(restored, ["bp/x:a", "bp/x:b", "bp/x:z"]);
        assert_eq!(steps.iter().filter(|step| matches!(step.action, Action::Drop(_))).count(), 5);
    }
}
