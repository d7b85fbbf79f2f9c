//! What an extension would do, as a value that can be written down, read and refused before it is done.

use serde::{Deserialize, Serialize};

use crate::policy::{Base, Claim, LABEL, Permitted, RunDockerfile, Survey, Target, Verdict, verdict};

/// The layout of the file; a reader refuses another.
pub const PLAN_VERSION: u32 = 1;

/// Everything that the extend phase would do: the contents of `<generated>/extend-plan.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtendPlan {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// The Dockerfiles in the order they are applied, superseded ones included.
    pub dockerfiles: Vec<PlannedDockerfile>,
    /// What would become of the app image's label.
    pub rebasable: PlannedVerdict,
}

/// One Dockerfile of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedDockerfile {
    /// The extension's id.
    pub extension: String,
    /// `build` or `run`.
    pub target: PlannedTarget,
    /// Whether a later Dockerfile switches the base, so that this one is left out.
    pub superseded: bool,
    /// The image it would be applied to, with the changes of those before it; empty if not known yet.
    pub base_before: String,
    /// The image it builds on: the same, or the one that FROM names.
    pub base_after: String,
    /// Whether FROM pins its image by digest, so that a rebase will not move it.
    pub pinned: bool,
    /// Its instructions below FROM.
    pub instructions: Vec<PlannedInstruction>,
    /// Build arguments supplied to it, by name.
    pub arguments: Vec<String>,
    /// The digest of its build context, as `sha256:…`; absent if it takes nothing from it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// The values of USER, in order.
    pub users: Vec<String>,
    /// The user in the end; absent if it is the base image's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub final_user: Option<String>,
    /// What it says of itself: `true`, `false` or `unset`.
    pub rebasable_claim: PlannedClaim,
}

/// Which image a planned Dockerfile is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlannedTarget {
    /// The build image.
    Build,
    /// The run image.
    Run,
}

/// What a planned Dockerfile says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlannedClaim {
    /// `io.buildpacks.rebasable` is true.
    #[serde(rename = "true")]
    True,
    /// It is false, or no boolean.
    #[serde(rename = "false")]
    False,
    /// It is not set.
    #[serde(rename = "unset")]
    Unset,
}

/// One instruction of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedInstruction {
    /// Its line, from 1.
    pub line: usize,
    /// Its name in upper case.
    pub name: String,
    /// Its text.
    pub text: String,
    /// Whether it downloads, or runs something that may.
    pub network: bool,
    /// Whether it is done anew with each build.
    pub volatile: bool,
}

/// What would become of the app image's label.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "label", rename_all = "lowercase")]
pub enum PlannedVerdict {
    /// The run image's label stays.
    Inherited,
    /// It becomes `true`.
    True {
        /// What would make it `false` and is not known yet.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unless: Option<String>,
    },
    /// It becomes `false`.
    False {
        /// Why.
        reason: String,
    },
}

/// A Dockerfile to plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToPlan<'a> {
    /// The extension's id.
    pub extension: &'a str,
    /// The checked Dockerfile.
    pub permitted: &'a Permitted,
    /// Whether a later Dockerfile switches the base.
    pub superseded: bool,
    /// The names of the build arguments supplied to it.
    pub arguments: Vec<String>,
    /// The digest of its build context, if known.
    pub context: Option<String>,
}

/// The images that are extended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bases<'a> {
    /// The build image.
    pub build: &'a str,
    /// The run image before any switch.
    pub run: &'a str,
    /// The label `io.buildpacks.rebasable` of the run image that is extended, if it is set and known.
    pub run_label: Option<&'a str>,
}

impl ExtendPlan {
    /// Plans Dockerfiles, given in the order they are applied.
    pub fn new(bases: Bases<'_>, dockerfiles: &[ToPlan<'_>]) -> Self {
        let (mut build, mut run) = (bases.build.to_owned(), bases.run.to_owned());
        let planned = dockerfiles.iter().map(|to_plan| {
            let base = match to_plan.permitted.target() {
                Target::Build => &mut build,
                Target::Run => &mut run,
            };
            let planned = PlannedDockerfile::new(to_plan, base);
            base.clone_from(&planned.base_after);
            planned
        });
        Self {
            version: PLAN_VERSION,
            dockerfiles: planned.collect(),
            rebasable: rebasable(bases.run_label, dockerfiles),
        }
    }
}

impl PlannedDockerfile {
    fn new(to_plan: &ToPlan<'_>, base_before: &str) -> Self {
        let permitted = to_plan.permitted;
        let base_after = match permitted.base() {
            Base::Given => base_before,
            Base::Switched { image } => image,
        };
        let Survey { instructions, users, claim, context: _ } = permitted.survey();
        Self {
            extension: to_plan.extension.to_owned(),
            target: match permitted.target() {
                Target::Build => PlannedTarget::Build,
                Target::Run => PlannedTarget::Run,
            },
            superseded: to_plan.superseded,
            base_before: base_before.to_owned(),
            base_after: base_after.to_owned(),
            pinned: *permitted.base() != Base::Given && base_after.contains("@sha256:"),
            instructions: instructions
                .iter()
                .map(|surveyed| PlannedInstruction {
                    line: surveyed.line,
                    name: surveyed.name.to_owned(),
                    text: surveyed.text.clone(),
                    network: surveyed.network,
                    volatile: surveyed.volatile,
                })
                .collect(),
            arguments: to_plan.arguments.clone(),
            context: to_plan.context.clone(),
            users: users.clone(),
            final_user: permitted.survey().final_user().map(str::to_owned),
            rebasable_claim: match claim {
                Claim::Rebasable => PlannedClaim::True,
                Claim::NotRebasable => PlannedClaim::False,
                Claim::Unset => PlannedClaim::Unset,
            },
        }
    }
}

fn rebasable(run_label: Option<&str>, dockerfiles: &[ToPlan<'_>]) -> PlannedVerdict {
    let applied =
        dockerfiles.iter().filter(|to_plan| !to_plan.superseded && to_plan.permitted.target() == Target::Run);
    let applied: Vec<RunDockerfile> = applied
        .map(|to_plan| RunDockerfile {
            extension: to_plan.extension.to_owned(),
            extends: to_plan.permitted.extends(),
            claim: to_plan.permitted.survey().claim,
            shadowed: Vec::new(),
        })
        .collect();
    match verdict(run_label, &applied) {
        Verdict::Inherited => PlannedVerdict::Inherited,
        Verdict::Rebasable { .. } => {
            let unless = run_label.is_none().then(|| format!("the run image has {LABEL}=false"));
            PlannedVerdict::True { unless }
        }
        Verdict::NotRebasable { reason } => PlannedVerdict::False { reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;
    use crate::policy::permit;
    use crate::state::Arguments;

    fn permitted(text: &str, target: Target) -> Permitted {
        permit(parse("f", text.as_bytes()).unwrap(), target, &Arguments::default()).unwrap()
    }

    fn to_plan<'a>(extension: &'a str, permitted: &'a Permitted) -> ToPlan<'a> {
        ToPlan { extension, permitted, superseded: false, arguments: Vec::new(), context: None }
    }

    const BASES: Bases<'_> = Bases { build: "b", run: "r", run_label: Some("true") };

    #[test]
    fn bases_are_followed_through_switches() {
        let build = permitted("ARG base_image\nFROM ${base_image}\nRUN x", Target::Build);
        let switch = permitted("FROM other@sha256:1", Target::Run);
        let extend = permitted("ARG base_image\nFROM ${base_image}\nRUN x", Target::Run);
        let plan =
            ExtendPlan::new(BASES, &[to_plan("a", &build), to_plan("a", &switch), to_plan("c", &extend)]);
        let bases: Vec<(&str, &str, bool)> = plan
            .dockerfiles
            .iter()
            .map(|file| (file.base_before.as_str(), file.base_after.as_str(), file.pinned))
            .collect();
        assert_eq!(
            bases,
            [("b", "b", false), ("r", "other@sha256:1", true), ("other@sha256:1", "other@sha256:1", false)]
        );
        let reason = "the run.Dockerfile of `c` leaves io.buildpacks.rebasable unset".to_owned();
        assert_eq!(plan.rebasable, PlannedVerdict::False { reason });
    }

    #[test]
    fn superseded_dockerfiles_do_not_count_for_the_verdict() {
        let extend = permitted("FROM a\nRUN x", Target::Run);
        let superseded = ToPlan { superseded: true, ..to_plan("a", &extend) };
        assert_eq!(ExtendPlan::new(BASES, &[superseded]).rebasable, PlannedVerdict::Inherited);
    }

    #[test]
    fn the_plan_says_what_would_be_done() {
        let text = "ARG base_image\nFROM ${base_image}\nUSER root\nRUN --network=none a\nADD http://h/f /f\n\
                    ARG build_id\nRUN echo $build_id\nLABEL io.buildpacks.rebasable=true\nARG user_id\nUSER $user_id\n";
        let file = permitted(text, Target::Run);
        let plan = ExtendPlan::new(BASES, &[to_plan("e", &file)]);
        let planned = &plan.dockerfiles[0];
        let lines = |which: fn(&PlannedInstruction) -> bool| -> Vec<usize> {
            let chosen = planned.instructions.iter().filter(|instruction| which(instruction));
            chosen.map(|instruction| instruction.line).collect()
        };
        assert_eq!(lines(|instruction| instruction.network), [5, 7]);
        assert_eq!(lines(|instruction| instruction.volatile), [7]);
        assert_eq!(planned.users, ["root", "${user_id}"]);
        assert_eq!(planned.final_user.as_deref(), Some("${user_id}"));
        assert_eq!(planned.rebasable_claim, PlannedClaim::True);
        assert_eq!(plan.rebasable, PlannedVerdict::True { unless: None });
        let plan = ExtendPlan::new(Bases { run_label: None, ..BASES }, &[to_plan("e", &file)]);
        let unless = Some("the run image has io.buildpacks.rebasable=false".to_owned());
        assert_eq!(plan.rebasable, PlannedVerdict::True { unless });
    }

    #[test]
    fn the_plan_survives_being_written() {
        let file = permitted("FROM a\nUSER 0\nRUN x", Target::Run);
        let plan = ExtendPlan::new(BASES, &[to_plan("e", &file)]);
        let text = serde_json::to_string_pretty(&plan).unwrap();
        assert!(text.contains("\"target\": \"run\"") && text.contains("\"label\": \"false\""), "{text}");
        assert_eq!(serde_json::from_str::<ExtendPlan>(&text).unwrap(), plan);
    }
}
