//! Images that an export takes layers from, and that are not where the app image goes.
//!
//! Spec: buildpack.md "Export", Process: the user is to be told that it takes longer.

use crate::reference::ImageName;

/// One text for each of `sources` (what it is, and its name) that is on another registry than `target`.
/// Images of a layout or an engine are always where the app image is.
pub fn tell(target: &ImageName, sources: &[(&str, &ImageName)]) -> Vec<String> {
    let ImageName::Reference(target) = target else { return Vec::new() };
    let is_elsewhere = |(what, source): &(&str, &ImageName)| match source {
        ImageName::Reference(source) if source.registry != target.registry => Some(format!(
            "The {what} is on {}, not on {}: layers that are not there yet are copied",
            source.registry, target.registry
        )),
        _ => None,
    };
    sources.iter().filter_map(is_elsewhere).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::StoreKind;

    #[track_caller]
    fn check(target: &str, run_image: &str, kind: StoreKind, expected: &[&str]) {
        let name = |text| ImageName::given(kind, text).expect("a name");
        assert_eq!(tell(&name(target), &[("run image", &name(run_image))]), expected);
    }

    #[test]
    fn an_image_on_another_registry_is_told() {
        let told =
            "The run image is on index.docker.io, not on r.example: layers that are not there yet are copied";
        check("r.example/app", "run", StoreKind::Registry, &[told]);
        check("r.example/app", "r.example/run", StoreKind::Registry, &[]);
        check("r.example:5000/app", "r.example:5000/team/run:1", StoreKind::Registry, &[]);
    }

    #[test]
    fn images_of_an_engine_and_of_a_layout_are_where_the_app_image_is() {
        let id = format!("sha256:{}", "a".repeat(64));
        let target = ImageName::given(StoreKind::Daemon, "app").expect("a name");
        let run_image = ImageName::recorded(StoreKind::Daemon, &id).expect("a name");
        let layout = ImageName::recorded(StoreKind::Layout, "/layouts/run").expect("a name");
        assert!(tell(&target, &[("run image", &run_image), ("previous image", &layout)]).is_empty());
    }
}
