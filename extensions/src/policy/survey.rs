//! What can be known of a Dockerfile before it is applied: the state is run over its instructions with
//! the arguments at hand, and nothing is done.

use super::rebasable::{self, Claim};
use super::unsupported::{SourceKind, source_kind};
use crate::dockerfile::{Declaration, Dockerfile, Instruction, Kind, MountFlag, Network};
use crate::state::{Action, Arguments, BUILD_ID, BuildState, ConfigState, Scope};

/// The arguments that the extender supplies, with what stands for their values here.
const LATER: [(&str, &str); 4] = [
    (super::BASE_IMAGE, "${base_image}"),
    (BUILD_ID, "${build_id}"),
    ("user_id", "${user_id}"),
    ("group_id", "${group_id}"),
];

/// What can be known of a Dockerfile before it is applied. Variables of the base image are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Its instructions below FROM, in order.
    pub instructions: Vec<Surveyed>,
    /// The values of USER, in order, `${user_id}` and `${group_id}` left as they are.
    pub users: Vec<String>,
    /// What it says of itself by `LABEL io.buildpacks.rebasable`.
    pub claim: Claim,
    /// Whether it takes something from the build context.
    pub context: bool,
}

/// What can be known of one instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Surveyed {
    /// Its line, from 1.
    pub line: usize,
    /// Its name in upper case.
    pub name: &'static str,
    /// Its text.
    pub text: String,
    /// Whether it downloads, or runs something that may, or does what cannot be known yet.
    pub network: bool,
    /// Whether it is done anew with each build.
    pub volatile: bool,
}

impl Survey {
    pub(super) fn of(dockerfile: &Dockerfile, arguments: &Arguments) -> Self {
        let mut state = state(dockerfile, arguments);
        let (instructions, users) = (Vec::new(), Vec::new());
        let mut survey = Self { instructions, users, claim: Claim::Unset, context: false };
        // Whether a variable may be something else than what is known of it.
        let mut is_guessed = state.is_none();
        for instruction in &dockerfile.stages[0].instructions {
            is_guessed |= !state.as_ref().is_some_and(|state| sets_known(instruction, state));
            survey.context |= reads_context(instruction);
            // What cannot be expanded yet may be with the base image's variables.
            let step = state.as_mut().and_then(|state| state.step(instruction).ok());
            let action = step.as_ref().map(|step| &step.action);
            survey.instructions.push(Surveyed {
                line: instruction.span.line,
                name: instruction.kind.name(),
                text: instruction.original.clone(),
                network: needs_network(instruction, action)
                    || adds_unknown(instruction, state.as_ref().filter(|_| !is_guessed)),
                volatile: step.as_ref().is_some_and(|step| step.depends_on_build_id),
            });
            if let Kind::User(written) = &instruction.kind {
                let expanded = state.as_ref().filter(|_| step.is_some());
                let user = expanded.map_or(written, |state| &state.config().user);
                // An unknown variable is not an empty one.
                let known = user.is_empty() && written.contains('$');
                survey.users.push(if known { written.clone() } else { user.clone() });
            }
        }
        if let Some(state) = state {
            survey.claim = rebasable::claim(&state.config().labels);
        }
        survey
    }

    /// Returns the user that the image has in the end; `None` if it is the base image's.
    pub fn final_user(&self) -> Option<&str> {
        self.users.last().map(String::as_str)
    }
}

/// Returns whether a user is root by its text: no name and no number, `root`, or 0.
///
/// Names that an image gives the number 0 are not known here.
pub fn is_root(user: &str) -> bool {
    let name = user.split(':').next().unwrap_or(user).trim();
    name == "root" || name.chars().all(|ch| ch == '0')
}

fn state(dockerfile: &Dockerfile, arguments: &Arguments) -> Option<BuildState> {
    let mut arguments = arguments.clone();
    for (name, value) in LATER {
        arguments.supplied.insert(name.to_owned(), value.to_owned());
    }
    let scope = Scope::new(&dockerfile.directives, &dockerfile.meta_args, arguments).ok()?;
    Some(BuildState::new(ConfigState::default(), scope))
}

fn needs_network(instruction: &Instruction, action: Option<&Action>) -> bool {
    match (&instruction.kind, action) {
        (Kind::Run(run), _) => run.network != Network::None,
        (_, Some(Action::Add(add))) | (Kind::Add(add), _) => {
            add.transfer.sources.iter().any(|source| source_kind(source) != SourceKind::Context)
        }
        _ => false,
    }
}

/// Tells whether an ADD has a source that may be an address once the base image's variables are known.
fn adds_unknown(instruction: &Instruction, state: Option<&BuildState>) -> bool {
    let Kind::Add(add) = &instruction.kind else { return false };
    let is_unknown =
        |source: &String| source.contains('$') && !state.is_some_and(|state| state.knows(source));
    add.transfer.sources.iter().any(is_unknown)
}

/// Tells whether all values that an instruction gives to variables are known.
fn sets_known(instruction: &Instruction, state: &BuildState) -> bool {
    match &instruction.kind {
        Kind::Env(pairs) => pairs.iter().all(|pair| state.knows(&pair.key) && state.knows(&pair.value)),
        Kind::Arg(declarations) => {
            let defaults = declarations.iter().filter_map(|Declaration { default, .. }| default.as_ref());
            defaults.into_iter().all(|default| state.knows(default))
        }
        _ => true,
    }
}

fn reads_context(instruction: &Instruction) -> bool {
    let is_bind = |mount: &MountFlag| {
        let kind = mount.fields.iter().rev().find(|(key, _)| key == "type");
        kind.is_none_or(|(_, value)| value.as_deref() == Some("bind"))
    };
    match &instruction.kind {
        Kind::Copy(copy) => !copy.transfer.sources.is_empty(),
        Kind::Add(add) => {
            add.transfer.sources.iter().any(|source| source_kind(source) == SourceKind::Context)
        }
        Kind::Run(run) => run.mounts.iter().any(is_bind),
        _ => false,
    }
}
