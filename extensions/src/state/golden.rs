//! The state after a whole Dockerfile against BuildKit's: configuration, processes, directories.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;
use crate::dockerfile::parse;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    input: String,
    #[serde(default)]
    args: BTreeMap<String, String>,
    #[serde(default)]
    error: bool,
    #[serde(flatten)]
    outcome: Outcome,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
struct Outcome {
    env: Vec<String>,
    user: String,
    workdir: String,
    shell: Vec<String>,
    labels: BTreeMap<String, String>,
    cmd: Vec<String>,
    entrypoint: Vec<String>,
    ports: Vec<String>,
    volumes: Vec<String>,
    stop: String,
    author: String,
    onbuild: Vec<String>,
    runs: Vec<Process>,
    mkdirs: Vec<String>,
    destinations: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Process {
    args: Vec<String>,
    env: Vec<String>,
    cwd: String,
    user: String,
}

fn outcome(case: &Case) -> Result<Outcome, String> {
    let dockerfile = parse("Dockerfile", case.input.as_bytes()).map_err(|error| error.to_string())?;
    let platform = [("TARGETARCH", "amd64"), ("TARGETOS", "linux"), ("TARGETVARIANT", "")];
    let platform = platform.into_iter().chain([("TARGETPLATFORM", "linux/amd64")]);
    let arguments = Arguments {
        supplied: case.args.clone(),
        platform: platform.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
        ..Arguments::default()
    };
    let config = ConfigState { workdir: "/".to_owned(), ..ConfigState::default() };
    let scope = Scope::new(&dockerfile.directives, &dockerfile.meta_args, arguments);
    let mut state = BuildState::new(config, scope.map_err(|error| error.to_string())?);
    let mut outcome = Outcome::default();
    for instruction in &dockerfile.stages[0].instructions {
        let step = state.step(instruction).map_err(|error| error.to_string())?;
        match step.action {
            Action::Metadata => {}
            Action::Run(run) => outcome.runs.push(process(run, state.config())),
            Action::Copy(Copy { transfer, .. }) | Action::Add(Add { transfer, .. }) => {
                let copies = transfer.sources.len() + transfer.heredocs.len();
                outcome.destinations.extend(std::iter::repeat_n(transfer.destination, copies));
            }
            Action::MakeWorkdir(path) => outcome.mkdirs.push(path),
        }
    }
    let config = state.into_config();
    outcome.env = config.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    outcome.user = config.user;
    outcome.workdir = config.workdir;
    outcome.shell = config.shell;
    outcome.labels = config.labels;
    outcome.cmd = config.cmd.unwrap_or_default();
    outcome.entrypoint = config.entrypoint.unwrap_or_default();
    outcome.ports = config.exposed_ports.into_iter().collect();
    outcome.volumes = config.volumes.into_iter().collect();
    outcome.stop = config.stop_signal.unwrap_or_default();
    outcome.author = config.author.unwrap_or_default();
    outcome.onbuild = config.on_build;
    Ok(outcome)
}

fn process(run: RunAction, config: &ConfigState) -> Process {
    let Invocation::Argv(args) = run.invocation else { panic!("no case has a script") };
    let env = run.key_environment.iter().map(|(name, value)| format!("{name}={value}")).collect();
    Process { args, env, cwd: config.workdir.clone(), user: config.user.clone() }
}

#[test]
fn every_case_ends_as_buildkits() {
    let golden = include_str!("../../../fixtures/golden/dockerfile/states.json");
    let golden: Golden = serde_json::from_str(golden).unwrap();
    let mut wrong = Vec::new();
    for case in &golden.cases {
        match outcome(case) {
            Ok(outcome) if !case.error && outcome == case.outcome => {}
            Err(_) if case.error => {}
            result => wrong.push(format!("{:?}\n  got  {result:?}\n  want {:?}", case.input, case.outcome)),
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), golden.cases.len(), wrong.join("\n"));
}
