//! What phases say of themselves where a platform asks for more than lines: JSON logs, telemetry, the report.

use acceptance::greeter::{APP, Greeter, RUN};
use acceptance::sandbox::Outcome;
use serde_json::Value;

fn objects(text: &str) -> Vec<Value> {
    let object = |line| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(value["time"].is_string() && value["level"].is_string(), "{line}");
        value
    };
    text.lines().map(object).collect()
}

fn build(greeter: &Greeter) -> Vec<Outcome> {
    let outcomes: Vec<Outcome> = greeter.build().into_iter().map(Outcome::ok).collect();
    assert_eq!(outcomes.len(), 5);
    outcomes
}

#[test]
fn json_logs_are_one_object_a_line_from_first_to_last() {
    let mut greeter = Greeter::new();
    greeter.sandbox.variables = vec![("CNB_LOG_FORMAT", "json"), ("CNB_LOG_LEVEL", "debug")];
    let verbs = ["analyze", "detect", "restore", "build", "export"];
    for (outcome, verb) in build(&greeter).iter().zip(verbs) {
        let lines = objects(&outcome.stdout);
        objects(&outcome.stderr);
        let span = lines.iter().find(|line| line["span"] == verb).expect("a phase says how long it took");
        assert!(span["duration_ms"].is_u64() && span["outcome"] == "success", "{span}");
        if verb == "build" {
            let wrote = lines.iter().find(|line| line["stream"] == "stdout").expect("buildpacks write");
            assert!(wrote["message"].is_string());
            assert!(lines.iter().any(|line| line["attributes"]["buildpack-id"] == "demo/server"));
        }
    }
}

#[test]
fn a_failure_names_itself_its_reason_its_cause_and_a_hint() {
    let mut greeter = Greeter::new();
    greeter.sandbox.variables = vec![("CNB_LOG_FORMAT", "json")];
    let outcome = greeter.phase("restorer", &[]).expect_code(42);
    let lines = objects(&outcome.stderr);
    let line = lines.last().expect("a failure is told");
    let error = &line["error"];
    assert_eq!((&error["id"], &error["reason"]), (&"restore-failed".into(), &"file-missing".into()));
    assert_eq!(error["exit_code"], 42);
    assert!(error["hint"].as_str().is_some_and(|hint| hint.contains("-group")), "{error}");
    assert!(error["causes"][0].as_str().is_some_and(|cause| cause.contains("group.toml")), "{error}");
    let usage = greeter.phase("restorer", &["-nonsense"]).expect_code(2);
    assert_eq!(objects(&usage.stderr)[0]["error"]["id"], "usage");
    greeter.sandbox.variables = vec![("CNB_LOG_FORMAT", "xml")];
    greeter.phase("restorer", &[]).expect_code(1).says("CNB_LOG_FORMAT is text or json");
}

#[test]
fn telemetry_has_a_file_for_each_phase_in_the_platforms_trace() {
    let mut greeter = Greeter::new();
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    greeter.sandbox.variables = vec![("CNB_TELEMETRY", "true"), ("CNB_OTEL_TRACEPARENT", parent)];
    build(&greeter);
    let diff_ids: Vec<String> = greeter.image().layers.iter().map(|layer| layer.diff_id.clone()).collect();
    for (verb, spans) in [("analyze", 1), ("detect", 4), ("restore", 1), ("build", 4), ("export", 1)] {
        let text = greeter.sandbox.read(&format!("layers/tracing/lifecycle/{verb}.jsonl"));
        let found: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
            .map(|line| line["resourceSpans"][0]["scopeSpans"][0]["spans"][0].clone())
            .collect();
        assert_eq!(found.len(), spans, "{verb}: {text}");
        assert!(found.iter().all(|span| span["traceId"] == "0af7651916cd43dd8448eb211c80319c"));
        let last = found.last().expect("there is one");
        assert_eq!((&last["name"], &last["parentSpanId"]), (&verb.into(), &"b7ad6b7169203331".into()));
        assert!(!text.contains(APP), "no image is named: {text}");
    }
    // The same image as without: nothing of it gets into one.
    greeter.sandbox.variables.clear();
    greeter.sandbox.clear("layers");
    build(&greeter);
    let again: Vec<String> = greeter.image().layers.iter().map(|layer| layer.diff_id.clone()).collect();
    assert_eq!(diff_ids, again);
}

#[test]
fn report_names_the_run_image_if_it_is_asked_to() {
    let mut greeter = Greeter::new();
    build(&greeter);
    assert!(!greeter.sandbox.read("layers/report.toml").contains("run-image"));
    greeter.sandbox.variables = vec![("CNB_REPORT_RUN_IMAGE", "true")];
    greeter.publish_run_image(2);
    greeter.rebase().ok();
    let report: toml::Table = toml::from_str(&greeter.sandbox.read("layers/report.toml")).expect("TOML");
    let run_image = &report["image"]["run-image"];
    assert_eq!(run_image["image"].as_str(), Some(RUN));
    let base_layers = acceptance::oci::LayoutImage::read(&greeter.layout(RUN)).layers;
    assert_eq!(run_image["top-layer"].as_str(), base_layers.last().map(|layer| layer.diff_id.as_str()));
    assert!(run_image["reference"].as_str().is_some_and(|text| text.contains("@sha256:")), "{report}");
}

#[test]
fn sbom_of_the_previous_image_stays_there_if_it_is_asked_to() {
    let mut greeter = Greeter::new();
    build(&greeter);
    let analyzed = |greeter: &Greeter| {
        greeter.sandbox.clear("layers");
        build(greeter)[0].clone()
    };
    analyzed(&greeter).says("Restoring data for SBOM from previous image");
    greeter.sandbox.variables = vec![("CNB_SKIP_SBOM", "true")];
    let skipped = analyzed(&greeter);
    assert!(!skipped.text().contains("SBOM"), "{}", skipped.text());
}
