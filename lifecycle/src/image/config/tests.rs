//! Tests of the config of an image.

use super::*;
use crate::digest::Digest;
use crate::files::damage::damaged;

/// Key order, number spelling and unknown keys are such as no writer of ours would choose.
const CONFIG: &str = concat!(
    r#"{"x.future":{"b":1.0,"a":[1e3,123456789012345678901234567890]},"os":"linux","architecture":"arm64","variant":"v8","#,
    r#""container":"c0ffee","created":"2020-01-01T00:00:00Z","config":{"Healthcheck":{"Interval":30000000000},"#,
    r#""Env":["PATH=/bin","A=b=c"],"Cmd":["sh"],"Labels":{"z":"1","a":"<2>"},"User":"1000:1000"},"#,
    r#""rootfs":{"type":"layers","diff_ids":["sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]},"#,
    r#""history":[{"created_by":"base","comment":"c"},{"created_by":"ENV","empty_layer":true}]}"#,
);

fn config() -> ImageConfig {
    ImageConfig::parse(CONFIG).expect("a config")
}

fn diff_id(text: &str) -> DiffId {
    DiffId::new(Digest::of(text.as_bytes()))
}

fn texts(history: &[JsonObject]) -> Vec<String> {
    history.iter().map(go_json).collect()
}

#[test]
fn a_config_that_is_not_edited_is_written_as_it_was_read() {
    assert_eq!(config().to_json(), CONFIG);
    assert_eq!(
        ImageConfig::parse("{ }").expect("a config").to_json(),
        r#"{"rootfs":{"type":"layers","diff_ids":[]},"history":[]}"#
    );
}

#[test]
fn known_keys_are_read() {
    let config = config();
    assert_eq!(
        (config.os(), config.architecture(), config.variant()),
        ("linux".into(), "arm64".into(), "v8".into())
    );
    assert_eq!(config.env_value("A").as_deref(), Some("b=c"));
    assert_eq!(config.env_value("B"), None);
    assert_eq!((config.user(), config.working_dir()), ("1000:1000".into(), String::new()));
    assert_eq!((config.cmd(), config.entrypoint()), (vec!["sh".to_owned()], Vec::new()));
    assert_eq!(config.label("a"), Some("<2>"));
    assert_eq!(config.diff_ids().len(), 1);
    assert_eq!(texts(config.history()), [r#"{"created_by":"base","comment":"c"}"#]);
}

#[test]
fn an_edit_changes_its_own_key_and_no_other() {
    let mut edited = config();
    edited.set_env("A", "2");
    edited.set_env("N", "3");
    edited.set_entrypoint(&["/cnb/process/web"]);
    edited.set_process_text("WorkingDir", "/workspace");
    edited.set_label("m", "&");
    edited.remove_label("z");
    let expected = CONFIG
        .replace(r#""A=b=c"]"#, r#""A=2","N=3"]"#)
        .replace(r#""Cmd":["sh"],"#, "")
        .replace(r#""Labels":{"z":"1","a":"<2>"}"#, r#""Labels":{"a":"\u003c2\u003e","m":"\u0026"}"#)
        .replace(
            r#""User":"1000:1000"}"#,
            r#""User":"1000:1000","Entrypoint":["/cnb/process/web"],"WorkingDir":"/workspace"}"#,
        );
    assert_eq!(edited.to_json(), expected);
}

#[test]
fn layers_and_history_stay_the_same_in_number() {
    let mut config = config();
    config.push_layer(diff_id("one"), "Layer: 'one'");
    config.push_layer(diff_id("two"), "");
    assert_eq!(config.diff_ids().len(), 3);
    assert_eq!(
        texts(config.history()),
        [r#"{"created_by":"base","comment":"c"}"#, r#"{"created_by":"Layer: 'one'"}"#, "{}"]
    );
    config.stamp("1980-01-01T00:00:01Z", HistoryRule::Keep);
    assert_eq!(
        texts(config.history())[..2],
        [
            r#"{"created":"1980-01-01T00:00:01Z","created_by":"base","comment":"c"}"#,
            r#"{"created":"1980-01-01T00:00:01Z","created_by":"Layer: 'one'"}"#
        ]
    );
    assert!(!config.to_json().contains("c0ffee"));
    config.stamp("1980-01-01T00:00:01Z", HistoryRule::Blank);
    assert!(texts(config.history()).iter().all(|entry| entry == r#"{"created":"1980-01-01T00:00:01Z"}"#));
    let read = ImageConfig::parse(&config.to_json()).expect("a config");
    assert_eq!((read.diff_ids(), read.history()), (config.diff_ids(), config.history()));
}

#[test]
fn a_history_that_does_not_match_the_layers_is_blanked() {
    for history in ["null", "[]", r#"[{"created_by":"a"},{"created_by":"b"}]"#, r#"[{"empty_layer":true}]"#] {
        let at = CONFIG.find(r#""history":"#).expect("a history");
        let config =
            ImageConfig::parse(&format!("{}\"history\":{history}}}", &CONFIG[..at])).expect("a config");
        assert_eq!(texts(config.history()), ["{}"], "{history}");
    }
}

#[test]
fn base_layers_are_replaced_with_their_history() {
    let mut app = config();
    app.push_layer(diff_id("app"), "app");
    let mut base = ImageConfig::new("linux", "arm64");
    base.push_layer(diff_id("b1"), "b1");
    base.push_layer(diff_id("b2"), "b2");
    app.replace_base(1, &base);
    assert_eq!(app.diff_ids(), [diff_id("b1"), diff_id("b2"), diff_id("app")]);
    assert_eq!(
        texts(app.history()),
        [r#"{"created_by":"b1"}"#, r#"{"created_by":"b2"}"#, r#"{"created_by":"app"}"#]
    );
}

#[test]
fn the_target_comes_from_config_and_labels() {
    let mut config = config();
    assert_eq!(config.target().distro, None);
    config.set_label(labels::STACK_ID, "io.buildpacks.stacks.bionic");
    let bionic = Distro { name: "ubuntu".into(), version: "18.04".into() };
    assert_eq!((config.target().arch.as_str(), config.target().distro), ("arm64", Some(bionic)));
    config.set_label(labels::DISTRO_NAME, "debian");
    assert_eq!(config.target().distro, Some(Distro { name: "debian".into(), version: String::new() }));
}

#[track_caller]
fn check_refused(text: &str, message: &str) {
    let error = ImageConfig::parse(text).expect_err("refused").to_string();
    assert!(error.starts_with(message), "{error}");
}

#[test]
fn wrong_types_are_refused_by_name() {
    check_refused("[]", "its config is not a JSON object");
    check_refused(r#"{"os":1}"#, "`os` of its config");
    check_refused(r#"{"config":{"Env":"A=b"}}"#, "`config.Env` of its config");
    check_refused(r#"{"config":{"Labels":{"a":1}}}"#, "`config.Labels` of its config");
    check_refused(r#"{"rootfs":{"diff_ids":["sha256:x"]}}"#, "`rootfs.diff_ids` of its config");
    check_refused(r#"{"history":[{"empty_layer":1}]}"#, "`history.empty_layer` of its config");
}

#[test]
fn nulls_count_as_absent() {
    let config = ImageConfig::parse(
        r#"{"os":null,"config":{"Labels":{"a":null},"Env":null,"Cmd":null},"rootfs":null,"history":null}"#,
    );
    assert_eq!(config.expect("a config").label("a"), Some(""));
    assert!(ImageConfig::parse(r#"{"config":null}"#).is_ok());
}

proptest::proptest! {
    #[test]
    fn any_text_is_a_config_or_an_error(text in damaged(CONFIG)) {
        if let Ok(mut config) = ImageConfig::parse(&text) {
            config.set_env("A", "b");
            config.stamp("1980-01-01T00:00:01Z", HistoryRule::Keep);
            let _ = config.to_json();
        }
    }
}
