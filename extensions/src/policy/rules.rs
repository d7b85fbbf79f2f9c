//! The platform's own rules for what extensions may do, decided on the plan alone.

use std::collections::BTreeSet;
use std::fmt;

use serde::Deserialize;

use super::survey::is_root;
use crate::context::IgnorePattern;
use crate::plan::{ExtendPlan, PlannedDockerfile, PlannedTarget};

/// Rules of the platform. An unknown key is an error: a rule that is misspelled must not be passed over.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PolicyRules {
    /// What no Dockerfile may do.
    #[serde(default)]
    pub deny: BTreeSet<Deny>,
    /// The images that FROM may switch to: patterns in which `*` stands for anything within one part
    /// between slashes and `**` for anything. Absent allows any image; empty, none.
    #[serde(default)]
    pub allow_from: Option<Vec<String>>,
}

/// Something that can be denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deny {
    /// Any RUN.
    Run,
    /// An ADD that downloads.
    AddUrl,
    /// A final user that is root.
    Root,
    /// Any instruction that may use the network: a RUN without `--network=none`, an ADD that downloads.
    Network,
}

/// What a rule refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The extension's id.
    pub extension: String,
    /// Which Dockerfile.
    pub target: PlannedTarget,
    /// The line, from 1; `None` for what no one line says.
    pub line: Option<usize>,
    /// What is refused, and by which rule.
    pub reason: String,
}

impl fmt::Display for Refusal {
    /// Writes `run.Dockerfile of extension ``id`` on line 3: reason`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = name(self.target);
        write!(f, "{target}.Dockerfile of extension `{}`", self.extension)?;
        if let Some(line) = self.line {
            write!(f, " on line {line}")?;
        }
        write!(f, ": {}", self.reason)
    }
}

fn name(target: PlannedTarget) -> &'static str {
    match target {
        PlannedTarget::Build => "build",
        PlannedTarget::Run => "run",
    }
}

impl PolicyRules {
    /// Decides what of a plan the rules refuse, in the plan's order; empty if nothing.
    ///
    /// # Errors
    /// A pattern of `allow-from` that is malformed: its text.
    pub fn refusals(&self, plan: &ExtendPlan) -> Result<Vec<Refusal>, String> {
        let mut refusals = Vec::new();
        for dockerfile in plan.dockerfiles.iter().filter(|dockerfile| !dockerfile.superseded) {
            self.check_base(dockerfile, &mut refusals)?;
            self.check_instructions(dockerfile, &mut refusals);
        }
        if self.deny.contains(&Deny::Root) {
            refusals.extend(ending_as_root(plan));
        }
        Ok(refusals)
    }

    fn check_base(&self, dockerfile: &PlannedDockerfile, refusals: &mut Vec<Refusal>) -> Result<(), String> {
        let (Some(patterns), true) = (&self.allow_from, dockerfile.base_after != dockerfile.base_before)
        else {
            return Ok(());
        };
        for pattern in patterns {
            let parsed = IgnorePattern::parse(pattern).map_err(|_| pattern.clone())?;
            if parsed.matches(&dockerfile.base_after) {
                return Ok(());
            }
        }
        let reason = format!("FROM {} is not among the images of `allow-from`", dockerfile.base_after);
        refusals.push(refusal(dockerfile, None, reason));
        Ok(())
    }

    fn check_instructions(&self, dockerfile: &PlannedDockerfile, refusals: &mut Vec<Refusal>) {
        for instruction in &dockerfile.instructions {
            let (run, network) = (instruction.name == "RUN", instruction.network);
            let rule = if run && self.deny.contains(&Deny::Run) {
                "run"
            } else if !run && network && self.deny.contains(&Deny::AddUrl) {
                "add-url"
            } else if network && self.deny.contains(&Deny::Network) {
                "network"
            } else {
                continue;
            };
            let reason = format!("`{}` is denied by `{rule}`", instruction.text);
            refusals.push(refusal(dockerfile, Some(instruction.line), reason));
        }
    }
}

fn refusal(dockerfile: &PlannedDockerfile, line: Option<usize>, reason: String) -> Refusal {
    Refusal { extension: dockerfile.extension.clone(), target: dockerfile.target, line, reason }
}

/// Finds the Dockerfile that has the last word on the user of each image, if it says root.
fn ending_as_root(plan: &ExtendPlan) -> Vec<Refusal> {
    let last = |target: PlannedTarget| {
        let mut files = plan.dockerfiles.iter().rev();
        files.find(|file| !file.superseded && file.target == target && file.final_user.is_some())
    };
    let targets = [PlannedTarget::Build, PlannedTarget::Run].into_iter().filter_map(last);
    targets
        .filter(|file| file.final_user.as_deref().is_some_and(is_root))
        .map(|file| {
            let mut users = file.instructions.iter().filter(|instruction| instruction.name == "USER");
            let line = users.next_back().map(|instruction| instruction.line);
            refusal(file, line, "a final user that is root is denied by `root`".to_owned())
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;
    use crate::plan::{Bases, ToPlan};
    use crate::policy::{Target, permit};
    use crate::state::Arguments;

    #[track_caller]
    fn check(rules: &str, text: &str, expected: &[&str]) {
        let rules: PolicyRules = serde_json::from_str(rules).unwrap();
        let parsed = parse("run.Dockerfile", text.as_bytes()).unwrap();
        let permitted = permit(parsed, Target::Run, &Arguments::default()).unwrap();
        let bases = Bases { build: "b", run: "r", run_label: None };
        let (arguments, context) = (Vec::new(), None);
        let to_plan = ToPlan { extension: "e", permitted: &permitted, superseded: false, arguments, context };
        let refusals = rules.refusals(&ExtendPlan::new(bases, &[to_plan])).unwrap();
        let refusals: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        assert_eq!(refusals, expected);
    }

    const PREFIX: &str = "run.Dockerfile of extension `e`";

    #[test]
    fn nothing_is_refused_without_rules() {
        check("{}", "FROM x\nUSER root\nRUN y\nADD http://h/f /", &[]);
    }

    #[test]
    fn run_can_be_denied() {
        let expected = format!("{PREFIX} on line 2: `RUN y` is denied by `run`");
        check(r#"{"deny": ["run"]}"#, "FROM x\nRUN y\nCOPY a b", &[&expected]);
    }

    #[test]
    fn downloads_can_be_denied() {
        let expected = format!("{PREFIX} on line 3: `ADD http://h/f /` is denied by `add-url`");
        check(r#"{"deny": ["add-url"]}"#, "FROM x\nADD a b\nADD http://h/f /\nRUN y", &[&expected]);
        let expected = format!("{PREFIX} on line 3: `ADD $u /` is denied by `add-url`");
        check(r#"{"deny": ["add-url"]}"#, "FROM x\nENV u=https://h/f\nADD $u /", &[&expected]);
    }

    #[test]
    fn a_download_from_where_only_the_base_image_knows_is_one() {
        for text in [
            "FROM x\nENV a=b\nADD $u /",
            "FROM x\nENV u=${v}/x\nADD $u /",
            "FROM x\nARG u=${v:-f}\nADD a $u/f /",
        ] {
            let line = text.lines().last().unwrap();
            let expected = format!("{PREFIX} on line 3: `{line}` is denied by `add-url`");
            check(r#"{"deny": ["add-url"]}"#, text, &[&expected]);
        }
        let known = "FROM x\nENV d=dir\nARG build_id\nENV u=$d/$build_id\nADD $u/f /\nCOPY $v /";
        check(r#"{"deny": ["add-url"]}"#, known, &[]);
    }

    #[test]
    fn the_network_can_be_denied() {
        let expected = format!("{PREFIX} on line 3: `RUN y` is denied by `network`");
        check(r#"{"deny": ["network"]}"#, "FROM x\nRUN --network=none z\nRUN y", &[&expected]);
    }

    #[test]
    fn ending_as_root_can_be_denied() {
        let expected = format!("{PREFIX} on line 2: a final user that is root is denied by `root`");
        for user in ["root", "0", "0:5", "root:x", "00", "\"\""] {
            check(r#"{"deny": ["root"]}"#, &format!("FROM x\nUSER {user}"), &[&expected]);
        }
        for text in ["FROM x", "FROM x\nUSER root\nUSER ${user_id}", "FROM x\nARG user_id\nUSER ${user_id}"] {
            check(r#"{"deny": ["root"]}"#, text, &[]);
        }
    }

    #[test]
    fn from_can_be_limited_to_some_images() {
        let rules = r#"{"allow-from": ["docker.io/library/*", "ghcr.io/**"]}"#;
        check(rules, "FROM docker.io/library/debian:12", &[]);
        check(rules, "FROM ghcr.io/a/b/c@sha256:1", &[]);
        check(rules, "ARG base_image\nFROM ${base_image}\nRUN x", &[]);
        let expected =
            format!("{PREFIX}: FROM docker.io/library/a/b is not among the images of `allow-from`");
        check(rules, "FROM docker.io/library/a/b", &[&expected]);
        let expected = format!("{PREFIX}: FROM x is not among the images of `allow-from`");
        check(r#"{"allow-from": []}"#, "FROM x", &[&expected]);
    }

    #[test]
    fn a_misspelled_rule_is_an_error() {
        assert!(serde_json::from_str::<PolicyRules>(r#"{"deny": ["runn"]}"#).is_err());
        assert!(serde_json::from_str::<PolicyRules>(r#"{"allow_from": []}"#).is_err());
    }
}
