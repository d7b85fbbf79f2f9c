//! Finds the first trial that fits, without making the trials before it.
//!
//! Whether alternatives fit together is a question of sets of names. An alternative is ruled out
//! when not even everything that may still be chosen before it provides what it requires, or when
//! nothing that may still be chosen after it requires what it provides; that is repeated until
//! nothing changes. When one alternative of each component is left this is the rule of a trial
//! itself. What is left open is tried: the first trial is approached component by component, and
//! whether a beginning can be completed at all is found out in the order that fails fastest.

use std::collections::HashMap;

use super::{Member, option};
use crate::files::component_id::Kind;

/// A set of names, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Names(Vec<u64>);

impl Names {
    fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn add(&mut self, name: usize) {
        self.0[name / 64] |= 1 << (name % 64);
    }

    fn add_all(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    /// Whether every name is in one of the two sets.
    fn is_covered_by(&self, one: &Self, other: &Self) -> bool {
        self.0.iter().zip(one.0.iter().zip(&other.0)).all(|(word, (one, other))| word & !(one | other) == 0)
    }
}

/// One alternative of a component.
struct Alternative {
    optional: bool,
    requires: Names,
    provides: Names,
}

/// The group, names as numbers.
struct Problem {
    members: Vec<(Kind, Vec<Alternative>)>,
    names: usize,
}

/// What may still be chosen.
#[derive(Clone)]
struct State {
    /// For each component, whether each alternative may still be.
    open: Vec<Vec<bool>>,
    /// For each component, whether it is left out in the only alternative in which it may be.
    left_out: Vec<bool>,
}

/// The alternatives of the first trial that fits.
pub(super) fn first_fit(members: &[Member<'_>]) -> Option<Vec<usize>> {
    let problem = Problem::new(members);
    let mut weights = vec![1; members.len()];
    let mut state = problem.start();
    let mut witness = problem.complete(state.clone(), &mut weights)?;
    for member in 0..members.len() {
        for alternative in 0..witness[member] {
            let narrowed = Problem::narrowed(&state, member, alternative);
            if let Some(found) = narrowed.and_then(|state| problem.complete(state, &mut weights)) {
                witness = found;
                break;
            }
        }
        state = Problem::narrowed(&state, member, witness[member]).expect("the witness is one way to go on");
    }
    Some(witness)
}

impl Problem {
    fn new(members: &[Member<'_>]) -> Self {
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        let all = members.iter().flat_map(|member| member.plan.alternatives());
        for sections in all {
            let requires = sections.requires.iter().map(|require| require.name.as_str());
            for name in requires.chain(sections.provides.iter().map(String::as_str)) {
                let next = numbers.len();
                numbers.entry(name).or_insert(next);
            }
        }
        let names = |list: &mut dyn Iterator<Item = &str>| {
            let mut names = Names::none(numbers.len());
            list.for_each(|name| names.add(numbers[name]));
            names
        };
        let alternative = |member: &Member<'_>, at: usize| {
            let chosen = option(member, at);
            let requires = names(&mut chosen.sections.requires.iter().map(|require| require.name.as_str()));
            let provides = names(&mut chosen.sections.provides.iter().map(String::as_str));
            Alternative { optional: chosen.optional, requires, provides }
        };
        let member = |member: &Member<'_>| {
            let count = member.plan.alternatives().len();
            (member.kind, (0..count).map(|at| alternative(member, at)).collect())
        };
        Self { members: members.iter().map(member).collect(), names: numbers.len() }
    }

    fn start(&self) -> State {
        let open = self.members.iter().map(|(_, alternatives)| vec![true; alternatives.len()]).collect();
        State { open, left_out: vec![false; self.members.len()] }
    }

    /// The state with only one alternative of a component, if it is still open.
    fn narrowed(state: &State, member: usize, alternative: usize) -> Option<State> {
        if !state.open[member][alternative] {
            return None;
        }
        let mut narrowed = state.clone();
        narrowed.open[member].fill(false);
        narrowed.open[member][alternative] = true;
        Some(narrowed)
    }

    /// One way to complete a state; `None` if there is none. `weights` remember which components
    /// made earlier attempts fail: those are asked first.
    fn complete(&self, mut state: State, weights: &mut [u64]) -> Option<Vec<usize>> {
        if let Err(member) = self.propagate(&mut state) {
            weights[member] += 1;
            return None;
        }
        let open = |member: &usize| state.open[*member].iter().filter(|open| **open).count();
        let undecided = (0..self.members.len()).filter(|member| open(member) > 1);
        // Fewest ways first, counted the less the more often they led nowhere.
        let next = undecided.min_by(|one, other| {
            let left = open(one) as u64 * weights[*other];
            left.cmp(&(open(other) as u64 * weights[*one]))
        });
        let Some(next) = next else {
            let only =
                |open: &Vec<bool>| open.iter().position(|open| *open).expect("none is ruled out entirely");
            return Some(state.open.iter().map(only).collect());
        };
        let ways = (0..state.open[next].len()).filter(|way| state.open[next][*way]);
        ways.into_iter()
            .find_map(|way| self.complete(Self::narrowed(&state, next, way).expect("it is open"), weights))
    }

    /// Rules out what cannot be. Fails with a component for which nothing is left.
    fn propagate(&self, state: &mut State) -> Result<(), usize> {
        while self.pass_forward(state)? | self.pass_backward(state)? {}
        let is_buildpack = |member: &usize| self.members[*member].0 == Kind::Buildpack;
        let mut buildpacks = (0..self.members.len()).filter(is_buildpack);
        if buildpacks.any(|member| self.chosen(state, member).next().is_some()) { Ok(()) } else { Err(0) }
    }

    /// Rules out alternatives whose requirements nothing before them can provide.
    fn pass_forward(&self, state: &mut State) -> Result<bool, usize> {
        let mut provided = Names::none(self.names);
        let mut changed = false;
        for member in 0..self.members.len() {
            let fits = |one: &Alternative| one.requires.is_covered_by(&provided, &one.provides);
            changed |= self.rule_out(state, member, fits)?;
            self.chosen(state, member).for_each(|one| provided.add_all(&one.provides));
        }
        Ok(changed)
    }

    /// Rules out alternatives whose provisions nothing after them can require.
    fn pass_backward(&self, state: &mut State) -> Result<bool, usize> {
        let mut required = Names::none(self.names);
        let mut changed = false;
        for member in (0..self.members.len()).rev() {
            let fits = |one: &Alternative| one.provides.is_covered_by(&required, &one.requires);
            changed |= self.rule_out(state, member, fits)?;
            self.chosen(state, member).for_each(|one| required.add_all(&one.requires));
        }
        Ok(changed)
    }

    /// Keeps the alternatives of a component that fit; an optional one may stay without effect.
    fn rule_out(
        &self,
        state: &mut State,
        member: usize,
        fits: impl Fn(&Alternative) -> bool,
    ) -> Result<bool, usize> {
        let mut changed = false;
        for (at, one) in self.members[member].1.iter().enumerate() {
            let counts = state.open[member][at] && !(one.optional && state.left_out[member]);
            if counts && !fits(one) {
                changed = true;
                if one.optional {
                    state.left_out[member] = true;
                } else {
                    state.open[member][at] = false;
                }
            }
        }
        if state.open[member].contains(&true) { Ok(changed) } else { Err(member) }
    }

    /// The alternatives of a component that may still have an effect.
    fn chosen<'a>(&'a self, state: &'a State, member: usize) -> impl Iterator<Item = &'a Alternative> {
        let alternatives = self.members[member].1.iter().zip(&state.open[member]);
        let counts = move |one: &Alternative| !(one.optional && state.left_out[member]);
        alternatives.filter(move |(one, open)| **open && counts(one)).map(|(one, _)| one)
    }
}
