//! Reading and writing `metadata.toml`.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::launch::metadata::LaunchMetadata;

/// What the reference implementation wrote for `api`.
fn golden(api: PlatformApi) -> String {
    let builds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden/builds/expected");
    let file = builds.join(api.as_str()).join("1-4-builder/layers/config/metadata.toml");
    std::fs::read_to_string(file).expect("a golden file")
}

const GOLDEN: [PlatformApi; 6] = [
    PlatformApi::V0_7,
    PlatformApi::V0_9,
    PlatformApi::V0_10,
    PlatformApi::V0_12,
    PlatformApi::V0_13,
    PlatformApi::V0_15,
];

#[test]
fn golden_files_are_written_as_they_were_read_byte_for_byte() {
    for api in GOLDEN {
        let text = golden(api);
        let metadata = BuildMetadata::parse(&text).expect("valid");
        assert_eq!(metadata.to_toml(api), text, "Platform API {api}");
    }
}

fn process() -> Process {
    Process {
        process_type: "web".into(),
        command: vec!["run".into(), "a<b> & \"c\" \u{7f}".into()],
        args: Some(vec!["x\ty".into()]),
        buildpack_id: "a/b".into(),
        exec_env: vec!["test".into()],
        ..Process::default()
    }
}

#[track_caller]
fn check(metadata: &BuildMetadata, api: PlatformApi, expected: &str) {
    assert_eq!(metadata.to_toml(api), expected);
}

#[test]
fn texts_are_escaped_as_go_does() {
    let metadata = BuildMetadata { processes: vec![process()], ..BuildMetadata::default() };
    let rest = "  direct = false\n  buildpack-id = \"a/b\"\n  exec-env = [\"test\"]\n";
    let list = r#"["run", "a\u003cb\u003e \u0026 \"c\" \u007f"]"#;
    check(
        &metadata,
        PlatformApi::V0_10,
        &format!("[[processes]]\n  type = \"web\"\n  command = {list}\n  args = [\"x\\ty\"]\n{rest}"),
    );
    let args = r#"["a<b> & \"c\" \u007f", "x\ty"]"#;
    check(
        &metadata,
        PlatformApi::V0_9,
        &format!("[[processes]]\n  type = \"web\"\n  command = \"run\"\n  args = {args}\n{rest}"),
    );
}

#[test]
fn a_build_without_processes_says_so() {
    check(&BuildMetadata::default(), PlatformApi::V0_12, "processes = []\n");
}

#[test]
fn the_legacy_bom_is_written_before_platform_0_9_only() {
    let text = "
        [[bom]]
        name = 'dep'
        metadata = { list = [1, 2.5], 'odd key' = 'v', table = { x = true }, tables = [{ y = 1 }, {}] }
        buildpack = { id = 'a/b', version = '1' }
    ";
    let metadata = BuildMetadata::parse(text).expect("valid");
    check(&metadata, PlatformApi::V0_9, "processes = []\n");
    let expected = "processes = []\n\n[[bom]]\n  name = \"dep\"\n  [bom.metadata]\n    list = [1, 2.5]\n    \
        \"odd key\" = \"v\"\n    [bom.metadata.table]\n      x = true\n\n    [[bom.metadata.tables]]\n      \
        y = 1\n\n    [[bom.metadata.tables]]\n  [bom.buildpack]\n    id = \"a/b\"\n    version = \"1\"\n";
    check(&metadata, PlatformApi::V0_8, expected);
    assert_eq!(BuildMetadata::parse(expected).expect("valid").bom, metadata.bom);
}

#[test]
fn a_command_is_read_as_text_and_as_list() {
    for text in ["command = 'run it'", "command = ['run it']"] {
        let metadata = BuildMetadata::parse(&format!("[[processes]]\n{text}")).expect("valid");
        assert_eq!(metadata.processes[0].command, ["run it"]);
    }
    assert!(BuildMetadata::parse("[[processes]]\ncommand = 1").is_err());
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(any::<String>(), 0..3)
}

prop_compose! {
    fn processes()(
        process_type in any::<String>(),
        first in any::<String>(),
        rest in texts(),
        args in prop::option::of(texts()),
        direct in any::<bool>(),
        buildpack_id in any::<String>(),
        working_dir in prop::option::of(".{1,9}"),
        exec_env in texts(),
    ) -> Process {
        let command = std::iter::once(first).chain(rest).collect();
        Process { process_type, command, args, direct, buildpack_id, working_dir, exec_env }
    }
}

prop_compose! {
    fn builds()(
        processes in prop::collection::vec(processes(), 0..3),
        labels in prop::collection::vec((any::<String>(), any::<String>()), 0..3),
        slices in prop::collection::vec(texts(), 0..3),
        ids in prop::collection::vec(("[a-z/]{1,5}[a-z]", "[0-9.]{1,3}[0-9]", "0\\.(7|8|9|10|11|12)"), 0..3),
        buildpack_default_process_type in prop::option::of(any::<String>()),
    ) -> BuildMetadata {
        let component = |(id, version, api): (String, String, String)| {
            let id = id.split('/').filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
            Some(GroupElement { id: id.parse().ok()?, version: version.parse().ok()?, api, homepage: String::new() })
        };
        let label = |(key, value)| Label { key, value };
        BuildMetadata {
            bom: Vec::new(),
            buildpacks: ids.into_iter().filter_map(component).collect(),
            extensions: Vec::new(),
            labels: labels.into_iter().map(label).collect(),
            processes,
            slices: slices.into_iter().map(|paths| Slice { paths }).collect(),
            buildpack_default_process_type,
        }
    }
}

proptest! {
    #[test]
    fn builds_survive_writing_and_reading(build in builds()) {
        let text = build.to_toml(PlatformApi::V0_15);
        prop_assert_eq!(BuildMetadata::parse(&text), Ok(build));
    }

    /// The launcher reads the same processes and buildpacks from the same text.
    #[test]
    fn both_readers_agree(build in builds(), api in prop::sample::select(PlatformApi::ALL)) {
        let text = build.to_toml(api);
        let read = BuildMetadata::parse(&text).expect("valid");
        let launch = LaunchMetadata::parse(&text).expect("valid");
        prop_assert_eq!(&launch.processes, &read.processes);
        let ids = read.buildpacks.iter().map(|buildpack| buildpack.id.as_str());
        prop_assert!(launch.buildpacks.iter().map(|buildpack| buildpack.id.as_str()).eq(ids));
    }

    #[test]
    fn any_text_is_read_or_refused(
        text in "(\\[\\[?(processes|labels|slices|bom|buildpacks)\\]?\\]\n|(type|command|id|paths|metadata) = [\\[\\]\\{\\}'a-z0-9.]{1,9}\n){0,6}",
    ) {
        let _ = BuildMetadata::parse(&text);
    }
}
