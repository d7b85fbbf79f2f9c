//! What the reference implementation's detector makes of the same inputs.

use std::path::{Path, PathBuf};

use super::place::Place;
use crate::api::PlatformApi;
use crate::component::run::base_target;
use crate::files::SpecFile;
use crate::files::analyzed::Analyzed;
use crate::files::group::Group;
use crate::files::plan::Plan;
use crate::log::{Level, Log};

/// A file or directory of the golden detection.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden/detect").join(name)
}

/// The text of a golden file.
pub fn text(name: &str) -> String {
    std::fs::read_to_string(golden(name)).unwrap()
}

/// A golden log, without command and exit code.
pub fn log(name: &str) -> String {
    text(name).split_inclusive('\n').filter(|line| !line.starts_with(['$', '['])).collect()
}

#[test]
fn group_plan_and_log_are_the_reference_implementations() {
    for api in PlatformApi::ALL {
        let mut place = Place::new();
        place.copy(&golden("inputs/buildpacks"), "buildpacks");
        place.api = *api;
        let (log, buffer) = Log::buffer(Level::Info);
        let analyzed = Analyzed::parse(&text("expected-ext/0.12/analyzed.toml")).unwrap();
        let run_image = analyzed.target().filter(|_| api.has_targets());
        place.target = base_target(run_image, Path::new("/none"), &log);
        let (result, told) = place.detect_toml(&text("inputs/order.toml"));
        let detected = result.unwrap();
        assert_eq!(detected.group, Group::parse(&text("expected/group.toml")).unwrap());
        assert_eq!(detected.plan, Plan::parse(&text("expected/plan.toml")).unwrap());
        let expected = if api.has_targets() { "log.txt" } else { "log-without-target.txt" };
        assert_eq!(buffer.text() + &told.text(), self::log(&format!("expected/{expected}")), "{api}");
    }
}

#[test]
fn group_of_extensions_is_the_reference_implementations() {
    for api in ["0.12", "0.13", "0.15"] {
        let mut place = Place::new();
        place.copy(&golden("inputs-ext/buildpacks"), "buildpacks");
        place.copy(&golden("inputs-ext/extensions"), "extensions");
        place.api = api.parse().unwrap();
        let (result, told) = place.detect_toml(&text("inputs-ext/order.toml"));
        let expected = if api == "0.15" { "0.13" } else { api };
        let group = Group::parse(&text(&format!("expected-ext/{expected}/group.toml"))).unwrap();
        assert_eq!(result.unwrap().group, group);
        let all = self::log(&format!("expected-ext/{expected}/log.txt"));
        assert!(all.contains(&told.text()), "{}", told.text());
    }
}
