//! What one component says of the app.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use serde::Serialize;

use crate::component::captured::Captured;
use crate::component::catalog::Component;
use crate::component::process::Exit;
use crate::component::run::{Executable, Surroundings};
use crate::env::Env;
use crate::files::build_plan::BuildPlan;
use crate::files::component_id::Kind;
use crate::files::{Cause, FileError, read, read_if_present};
use crate::log::{self, Log, Span};
use crate::resolve::order::Element;
use crate::target::{DeclaredTarget, Distro, Target};

/// The status by which a component says that it has nothing to do with the app.
const FAIL: i32 = 100;

/// The fewest threads that ask components: most of them wait for files more than they compute.
const THREADS: usize = 4;

/// How detection of one component ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It takes part.
    Pass,
    /// It has nothing to do with the app.
    Fail,
    /// It does not run on the run image, and the group can do without it.
    OtherTarget,
    /// It could not say: its exit status, if it had one.
    Error(Option<i32>),
}

/// What one component said.
#[derive(Debug)]
pub struct Run {
    /// How it ended.
    pub outcome: Outcome,
    /// What it wrote to its streams.
    pub output: Captured,
    /// Why it could not say, beside its status.
    pub error: Option<String>,
    /// What it provides and requires; empty unless it passed.
    pub plan: BuildPlan,
    /// When it began and ended; `None` if it was not asked.
    pub times: Option<(SystemTime, SystemTime)>,
}

impl Run {
    fn error(output: Captured, error: impl Into<String>) -> Self {
        Self {
            outcome: Outcome::Error(None),
            output,
            error: Some(error.into()),
            plan: BuildPlan::default(),
            times: None,
        }
    }

    /// Tells how long `component` took to answer.
    pub fn tell(&self, component: &Component, log: &Log) {
        let Some((start, end)) = self.times else { return };
        let name = match component.kind {
            Kind::Buildpack => "buildpack-detect",
            Kind::Extension => "extension-detect",
        };
        let (answer, outcome) = match self.outcome {
            Outcome::Pass => ("pass", log::Outcome::Success),
            Outcome::Fail | Outcome::OtherTarget => ("fail", log::Outcome::Success),
            Outcome::Error(_) => ("error", log::Outcome::Failure),
        };
        let mut attributes = component.attributes();
        attributes.push(("detect-outcome", answer.to_owned()));
        log.span(&Span { name, start, end, outcome, attributes: &attributes });
    }

    /// The answer of a component that declares no target that the run image has.
    pub fn mismatch(image: &Target, declared: &[DeclaredTarget], optional: bool) -> Self {
        let error = format!(
            "unable to satisfy target os/arch constraints; run image: {}, buildpack: {}",
            json(&Shown::from(image)),
            json(&declared)
        );
        let outcome = if optional { Outcome::OtherTarget } else { Outcome::Error(None) };
        Self { outcome, ..Self::error(Captured::default(), error) }
    }
}

/// A target as messages show it.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Shown<'a> {
    os: &'a str,
    arch: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    arch_variant: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    distro: Option<&'a Distro>,
}

impl<'a> From<&'a Target> for Shown<'a> {
    fn from(target: &'a Target) -> Self {
        let Target { os, arch, variant, distro, .. } = target;
        Self { os, arch, arch_variant: variant, distro: distro.as_ref() }
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts are JSON")
}

/// Asks all of `elements`, several at a time. Answers are in the order of the elements.
pub fn all(elements: &[&Element], around: &Surroundings<'_>, env: &Env) -> Vec<Run> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.max(THREADS).min(elements.len());
    let next = AtomicUsize::new(0);
    let work = || {
        let mut runs = Vec::new();
        while let Some((at, element)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|at| Some((at, elements.get(at)?)))
        {
            let start = SystemTime::now();
            let run = ask(&element.component, around, env);
            runs.push((at, Run { times: Some((start, SystemTime::now())), ..run }));
        }
        runs
    };
    let mut runs: Vec<(usize, Run)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("asking does not panic")).collect()
    });
    runs.sort_unstable_by_key(|(at, _)| *at);
    runs.into_iter().map(|(_, run)| run).collect()
}

/// Asks one component.
fn ask(component: &Component, around: &Surroundings<'_>, env: &Env) -> Run {
    let program = component.dir.join("bin/detect");
    let run = match component.kind {
        // Detection is optional for extensions; what they would have written may lie there.
        Kind::Extension if program.symlink_metadata().is_err() => {
            let plan =
                read_if_present(&component.dir.join("detect/plan.toml")).map(Option::unwrap_or_default);
            passed(component, Captured::default(), plan)
        }
        _ => execute(component, around, env).unwrap_or_else(|error| {
            Run::error(Captured::default(), format!("create a directory for the build plan: {error}"))
        }),
    };
    if component.kind == Kind::Extension && run.plan.requires_anything() {
        return Run::error(
            run.output,
            format!("extension {} outputs \"requires\" which is not allowed", component.id),
        );
    }
    run
}

/// Runs `bin/detect` and reads what it wrote. Fails only when there is no place to write.
fn execute(component: &Component, around: &Surroundings<'_>, env: &Env) -> std::io::Result<Run> {
    let dir = tempfile::Builder::new().prefix("plan.").tempdir()?;
    let plan = dir.path().join("plan.toml");
    std::fs::write(&plan, "")?;
    let (exit, output) = match component.child(Executable::Detect { plan: &plan }, around, env).capture() {
        Ok(ended) => ended,
        Err(error) => return Ok(Run::error(Captured::default(), chain(&error))),
    };
    Ok(match exit {
        Exit::Status(0) => {
            passed(component, output, read(&plan).map_err(|error| without_path(&error, &plan)))
        }
        Exit::Status(status) => {
            let outcome = if status == FAIL { Outcome::Fail } else { Outcome::Error(Some(status)) };
            Run { outcome, output, error: None, plan: BuildPlan::default(), times: None }
        }
        Exit::Signal(_) => Run::error(output, format!("`bin/detect` was {exit}")),
    })
}

fn passed<E: std::fmt::Display>(component: &Component, output: Captured, plan: Result<BuildPlan, E>) -> Run {
    match plan {
        Ok(plan) => Run { outcome: Outcome::Pass, output, error: None, plan, times: None },
        Err(error) => Run::error(output, format!("{} {}: {error}", component.kind, component.id)),
    }
}

/// The text of an error without the place of a temporary file, which differs from run to run.
fn without_path(error: &FileError, path: &Path) -> String {
    match &error.cause {
        Cause::Syntax { error, .. } => format!("build plan: {error}"),
        _ => error.to_string().replace(&path.display().to_string(), "the build plan"),
    }
}

/// An error and its causes in one line.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(error.source(), |error| error.source())
        .fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
