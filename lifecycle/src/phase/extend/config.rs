//! Between the config of an image and the state that instructions change.

use std::collections::BTreeMap;

use extensions::dockerfile::{CommandLine, Healthcheck};
use extensions::state::ConfigState;
use serde::Serialize;

use crate::image::ImageConfig;
use crate::json::JsonObject;

/// The state that the first instruction finds.
pub fn state(config: &ImageConfig) -> ConfigState {
    ConfigState {
        env: env(config),
        user: config.user(),
        workdir: config.working_dir(),
        shell: config.process_value("Shell").unwrap_or_default(),
        labels: config.labels().clone(),
        ..ConfigState::default()
    }
}

/// `Env` as names and values: what stands before the first `=`, and what stands after it.
fn env(config: &ImageConfig) -> Vec<(String, String)> {
    let split = |entry: String| match entry.split_once('=') {
        Some((name, value)) => (name.to_owned(), value.to_owned()),
        None => (entry, String::new()),
    };
    config.env().into_iter().map(split).collect()
}

/// Writes what instructions changed into the config that they began with; the rest stays as it was.
pub fn write(state: &ConfigState, config: &mut ImageConfig) {
    if state.env != env(config) {
        let env: Vec<String> = state.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        config.set_process_value("Env", &env);
    }
    if state.user != config.user() {
        config.set_process_text("User", &state.user);
    }
    if state.workdir != config.working_dir() {
        config.set_process_text("WorkingDir", &state.workdir);
    }
    if state.shell != config.process_value::<Vec<String>>("Shell").unwrap_or_default() {
        config.set_process_value("Shell", &state.shell);
    }
    let gone: Vec<String> =
        config.labels().keys().filter(|name| !state.labels.contains_key(*name)).cloned().collect();
    for name in &gone {
        config.remove_label(name);
    }
    for (name, value) in &state.labels {
        if config.label(name) != Some(value) {
            config.set_label(name, value);
        }
    }
    write_recorded(state, config);
}

/// Writes what instructions set that only change the config.
fn write_recorded(state: &ConfigState, config: &mut ImageConfig) {
    if let Some(words) = &state.cmd {
        config.set_process_value("Cmd", words);
    }
    if let Some(words) = &state.entrypoint {
        config.set_process_value("Entrypoint", words);
    }
    add(config, "ExposedPorts", state.exposed_ports.iter());
    add(config, "Volumes", state.volumes.iter());
    if let Some(signal) = &state.stop_signal {
        config.set_process_text("StopSignal", signal);
    }
    if let Some(check) = &state.healthcheck {
        config.set_process_value("Healthcheck", &HealthcheckObject::from(check));
    }
    if let Some(author) = &state.author {
        config.set_text("author", author);
    }
    if !state.on_build.is_empty() {
        let mut triggers: Vec<String> = config.process_value("OnBuild").unwrap_or_default();
        triggers.extend(state.on_build.iter().cloned());
        config.set_process_value("OnBuild", &triggers);
    }
}

/// Adds names to an object whose values say nothing.
fn add<'a>(config: &mut ImageConfig, key: &str, names: impl Iterator<Item = &'a String>) {
    let mut names = names.peekable();
    if names.peek().is_none() {
        return;
    }
    let mut all: BTreeMap<String, JsonObject> = config.process_value(key).unwrap_or_default();
    all.extend(names.map(|name| (name.clone(), JsonObject::default())));
    config.set_process_value(key, &all);
}

/// A health check as configs write it: durations in nanoseconds, 0 left out.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct HealthcheckObject {
    test: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    timeout: i64,
    #[serde(skip_serializing_if = "is_zero")]
    start_period: i64,
    #[serde(skip_serializing_if = "is_zero")]
    start_interval: i64,
    #[serde(skip_serializing_if = "is_zero")]
    retries: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl From<&Healthcheck> for HealthcheckObject {
    fn from(check: &Healthcheck) -> Self {
        let test = match &check.command {
            None => vec!["NONE".to_owned()],
            Some(CommandLine::Shell(text)) => vec!["CMD-SHELL".to_owned(), text.clone()],
            Some(CommandLine::Exec(words)) => [&["CMD".to_owned()], words.as_slice()].concat(),
        };
        Self {
            test,
            interval: check.interval_ns,
            timeout: check.timeout_ns,
            start_period: check.start_period_ns,
            start_interval: check.start_interval_ns,
            retries: check.retries.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = r#"{"os":"linux","x":1.0,"config":{"Env":["A=b=c","B"],"User":"u","Y":2.0,"ExposedPorts":{"1/tcp":{}},"Cmd":["sh"],"Labels":{"l":"1"}},"rootfs":{"type":"layers","diff_ids":[]},"history":[]}"#;

    fn config() -> ImageConfig {
        ImageConfig::parse(CONFIG).expect("a config")
    }

    #[test]
    fn what_no_instruction_changed_stays_as_it_was() {
        let mut config = config();
        let state = state(&config);
        assert_eq!(state.env, [("A".to_owned(), "b=c".to_owned()), ("B".to_owned(), String::new())]);
        write(&state, &mut config);
        assert_eq!(config.to_json(), CONFIG);
    }

    #[test]
    fn what_instructions_changed_is_written_and_the_rest_kept() {
        let mut config = config();
        let mut state = state(&config);
        state.env.push(("C".to_owned(), "=".to_owned()));
        state.user = "7:8".to_owned();
        state.labels = BTreeMap::from([("m".to_owned(), "2".to_owned())]);
        state.exposed_ports.insert("80/tcp".to_owned());
        state.healthcheck = Some(Healthcheck {
            command: Some(CommandLine::Shell("true".to_owned())),
            interval_ns: 5,
            timeout_ns: 0,
            start_period_ns: 0,
            start_interval_ns: 0,
            retries: 3,
        });
        write(&state, &mut config);
        let expected = r#"{"os":"linux","x":1.0,"config":{"Env":["A=b=c","B=","C=="],"User":"7:8","Y":2.0,"ExposedPorts":{"1/tcp":{},"80/tcp":{}},"Cmd":["sh"],"Labels":{"m":"2"},"Healthcheck":{"Test":["CMD-SHELL","true"],"Interval":5,"Retries":3}},"rootfs":{"type":"layers","diff_ids":[]},"history":[]}"#;
        assert_eq!(config.to_json(), expected);
    }
}
