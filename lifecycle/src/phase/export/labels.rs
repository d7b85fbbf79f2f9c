//! The label `io.buildpacks.build.metadata`: which buildpacks ran, what the image can start, and
//! which launcher starts it.
//!
//! Spec: platform.md "io.buildpacks.build.metadata". Platforms compare it as text, so its keys have
//! the order that the reference implementation gives them.

use serde::Serialize;

use crate::api::PlatformApi;
use crate::files::data::{NotFinite, table_to_json};
use crate::files::group::GroupElement;
use crate::files::metadata::{BuildMetadata, Process};
use crate::json::{JsonObject, go_json};

/// Where the launcher's source is, if the build of this program was told.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// The commit of the launcher's source, if the build of this program was told.
const COMMIT: Option<&str> = option_env!("LIFECYCLE_COMMIT");

/// The label's value. Fails when a bill of materials holds a number that JSON has not.
pub fn build_metadata(
    build: &BuildMetadata,
    launcher_version: &str,
    api: PlatformApi,
) -> Result<String, NotFinite> {
    let mut label = JsonObject::default();
    if api.has_inline_bom() {
        let entries: Result<Vec<_>, _> =
            build.bom.iter().map(|entry| table_to_json(&entry.to_table())).collect();
        label.set("bom", &Some(entries?).filter(|entries| !entries.is_empty()));
    }
    let components = |all: &[GroupElement]| all.iter().map(|one| component(one, api)).collect::<Vec<_>>();
    label.set("buildpacks", &components(&build.buildpacks));
    if !build.extensions.is_empty() {
        label.set("extensions", &components(&build.extensions));
    }
    label.set("launcher", &launcher(launcher_version));
    label.set("processes", &build.processes.iter().map(|one| process(one, api)).collect::<Vec<_>>());
    if let Some(default) = &build.buildpack_default_process_type {
        label.set("buildpack-default-process-type", default);
    }
    Ok(go_json(&label))
}

fn component(element: &GroupElement, api: PlatformApi) -> JsonObject {
    let mut object = JsonObject::default();
    object.set("id", &element.id);
    object.set("version", &element.version);
    if !element.homepage.is_empty() {
        object.set("homepage", &element.homepage);
    }
    if api.labels_name_buildpack_api() && !element.api.is_empty() {
        object.set("api", &element.api);
    }
    object
}

fn launcher(version: &str) -> JsonObject {
    let mut git = JsonObject::default();
    git.set("repository", REPOSITORY);
    git.set("commit", COMMIT.unwrap_or_default());
    let mut source = JsonObject::default();
    source.set("git", &git);
    let mut launcher = JsonObject::default();
    launcher.set("version", version);
    launcher.set("source", &source);
    launcher
}

fn process(process: &Process, api: PlatformApi) -> JsonObject {
    let process = process.for_platform(api);
    let mut object = JsonObject::default();
    object.set("type", &process.process_type);
    if api.writes_command_as_array() {
        object.set("command", &process.command);
    } else {
        object.set("command", process.command.first().map_or("", String::as_str));
    }
    object.set("args", &process.args);
    object.set("direct", &process.direct);
    object.set("buildpackID", &process.buildpack_id);
    set_if(&mut object, "working-dir", process.working_dir.as_ref());
    set_if(&mut object, "exec-env", Some(&process.exec_env).filter(|names| !names.is_empty()));
    object
}

fn set_if<T: Serialize>(object: &mut JsonObject, key: &str, value: Option<&T>) {
    if let Some(value) = value {
        object.set(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::SpecFile;
    use serde_json::{Value, json};

    fn label(api: PlatformApi) -> Value {
        let text = "[[buildpacks]]\nid = 'a'\nversion = '1'\napi = '0.10'\nhomepage = 'https://a.example'\n\
                    [[extensions]]\nid = 'e'\nversion = '2'\napi = '0.9'\n\
                    [[processes]]\ntype = 'web'\ncommand = ['run', 'it']\nargs = ['x']\ndirect = true\n\
                    buildpack-id = 'a'\nworking-dir = '/w'\nexec-env = ['test']\n";
        let build = BuildMetadata::parse(text).expect("valid");
        let text = build_metadata(&build, "1.2.3", api).expect("no bill of materials");
        serde_json::from_str(&text).expect("JSON")
    }

    #[test]
    fn components_name_their_api_from_0_11_on_and_processes_have_every_key() {
        for api in PlatformApi::ALL.iter().filter(|api| api.writes_command_as_array()) {
            let label = label(*api);
            let mut buildpack = json!({ "id": "a", "version": "1", "homepage": "https://a.example" });
            let mut extension = json!({ "id": "e", "version": "2" });
            if api.labels_name_buildpack_api() {
                (buildpack["api"], extension["api"]) = ("0.10".into(), "0.9".into());
            }
            assert_eq!(
                (&label["buildpacks"], &label["extensions"]),
                (&json!([buildpack]), &json!([extension]))
            );
            assert_eq!(label["launcher"]["version"], "1.2.3");
            assert_eq!(label["launcher"]["source"]["git"]["repository"], REPOSITORY);
            assert_eq!(label.get("bom"), None);
            let process = &label["processes"][0];
            assert_eq!((&process["type"], &process["command"]), (&json!("web"), &json!(["run", "it"])));
            assert_eq!((&process["args"], &process["direct"]), (&json!(["x"]), &json!(true)));
            assert_eq!((&process["buildpackID"], &process["working-dir"]), (&json!("a"), &json!("/w")));
        }
        let newest = PlatformApi::ALL.last().expect("a version");
        assert_eq!(label(*newest)["processes"][0]["exec-env"], json!(["test"]));
    }
}
