//! Plans written as short texts; and the rules of the specification, told once more and naively,
//! against which the search is measured.

use proptest::prelude::*;

use super::*;
use crate::files::SpecFile;

/// One component: `name?` or `ext:name`, then alternatives separated by `|`; in each `+x` is
/// provided and `-x` required.
struct Given {
    kind: Kind,
    optional: bool,
    plan: BuildPlan,
}

fn given(text: &str) -> Given {
    let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
    let mut toml = String::new();
    for (at, alternative) in rest.split('|').enumerate() {
        let prefix = if at == 0 { "" } else { "or." };
        toml += if at == 0 { "" } else { "[[or]]\n" };
        for word in alternative.split_whitespace() {
            let (table, name) = match word.strip_prefix('+') {
                Some(name) => ("provides", name),
                None => ("requires", &word[1..]),
            };
            toml.extend(["[[", prefix, table, "]]\nname = '", name, "'\n"]);
        }
    }
    let kind = if name.starts_with("ext:") { Kind::Extension } else { Kind::Buildpack };
    let optional = name.ends_with('?') || kind == Kind::Extension;
    Given { kind, optional, plan: BuildPlan::parse(&toml).unwrap() }
}

fn members(given: &[Given]) -> Vec<Member<'_>> {
    given.iter().map(|one| Member { kind: one.kind, optional: one.optional, plan: &one.plan }).collect()
}

fn resolved(texts: &[&str]) -> Result<Resolution, Unresolved> {
    let given: Vec<Given> = texts.iter().map(|text| given(text)).collect();
    resolve(&members(&given))
}

#[track_caller]
fn check(texts: &[&str], kept: &[usize], entries: &[(&str, &[usize], usize)]) {
    let found = resolved(texts).unwrap_or_else(|error| panic!("{error:?}"));
    let shown: Vec<(&str, &[usize], usize)> = found
        .entries
        .iter()
        .map(|entry| (entry.requires[0].name.as_str(), entry.providers.as_slice(), entry.requires.len()))
        .collect();
    assert_eq!((found.members.as_slice(), shown.as_slice()), (kept, entries));
}

#[track_caller]
fn check_fails(texts: &[&str], lacks: &[(usize, Lack)]) {
    let error = resolved(texts).expect_err("no plan");
    let found: Vec<(usize, Lack)> =
        error.lacks.into_iter().map(|verdict| (verdict.member, verdict.lack)).collect();
    assert_eq!(found, lacks);
}

fn requires(name: &str) -> Lack {
    Lack::Requires(name.to_owned())
}

fn provides(name: &str) -> Lack {
    Lack::Provides(name.to_owned())
}

#[test]
fn provided_before_required_is_a_plan() {
    check(&["a +x", "b -x"], &[0, 1], &[("x", &[0], 1)]);
    check(&["a", "b"], &[0, 1], &[]);
}

#[test]
fn own_provision_counts() {
    check(&["a +x -x"], &[0], &[("x", &[0], 1)]);
}

#[test]
fn required_components_must_fit() {
    check_fails(&["a -x", "b +x -x"], &[(0, requires("x"))]);
    check_fails(&["a +x"], &[(0, provides("x"))]);
    check_fails(&["a -x", "b +y"], &[(0, requires("x")), (1, provides("y"))]);
}

#[test]
fn what_no_choice_can_give_is_told_first() {
    check_fails(&["a +x|+y", "b -y -zz"], &[(1, requires("zz"))]);
    check_fails(&["a +x -yy|", "b -x"], &[(0, requires("yy"))]);
}

#[test]
fn optional_components_are_left_out_with_their_parts() {
    check(&["a? -x", "b"], &[1], &[]);
    check(&["a? +x", "b"], &[1], &[]);
    check(&["a? +x -zz", "b? +y -x", "c? -y", "d"], &[3], &[]);
}

#[test]
fn leaving_out_may_leave_a_required_one_unused() {
    check_fails(&["a +x", "b? -x -zz"], &[(0, provides("x"))]);
    check_fails(&["a? +x -zz", "b -x"], &[(1, requires("x"))]);
}

#[test]
fn all_providers_before_the_last_requirement_are_recorded() {
    check(&["a +x", "b +x -x", "c -x"], &[0, 1, 2], &[("x", &[0, 1], 2)]);
    check_fails(&["a +x", "b -x", "c +x"], &[(2, provides("x"))]);
    check(&["a +x +x", "b -x -x"], &[0, 1], &[("x", &[0], 2)]);
}

#[test]
fn entries_come_in_the_order_of_the_first_providers() {
    check(&["a +z +y", "b +x -z", "c -x -y"], &[0, 1, 2], &[("z", &[0], 1), ("y", &[0], 1), ("x", &[1], 1)]);
}

#[test]
fn last_alternatives_vary_first() {
    check(&["a +x -x|+y -y", "b -zz|"], &[0, 1], &[("x", &[0], 1)]);
    check(&["a +x|+y", "b -zz|-y"], &[0, 1], &[("y", &[0], 1)]);
}

#[test]
fn optional_component_is_left_out_only_in_its_last_alternative() {
    check(&["a? -zz|", "b"], &[0, 1], &[]);
    check(&["a? |-zz", "b"], &[0, 1], &[]);
    check(&["a? -yy|-zz", "b"], &[1], &[]);
}

#[test]
fn extensions_alone_are_no_group() {
    check(&["ext:e +x", "b -x"], &[0, 1], &[("x", &[0], 1)]);
    check(&["ext:e +x", "b"], &[1], &[]);
    check_fails(&["ext:e", "b? -x"], &[]);
    check_fails(&[], &[]);
}

#[test]
fn trials_are_reported_as_they_go() {
    let found = resolved(&["a? -zz", "b +x", "c |-x"]).unwrap();
    let skip = Verdict { member: 0, optional: true, lack: requires("zz") };
    let fail = Verdict { member: 1, optional: false, lack: provides("x") };
    let report = |number, verdicts: &[&Verdict]| {
        let verdicts = verdicts.iter().map(|verdict| (*verdict).clone()).collect();
        Report { number, verdicts, is_empty: false }
    };
    assert_eq!(found.reports, [report(1, &[&skip, &fail]), report(2, &[&skip])]);
}

#[test]
fn trials_far_off_are_found_and_numbered() {
    // Twenty components with two alternatives each; only the very last trial fits.
    let mut texts: Vec<String> = (0..20).map(|at| format!("b{at} +a{at}|+b{at}")).collect();
    texts.push((0..20).fold("last".to_owned(), |text, at| format!("{text} -b{at}")));
    let found = resolved(&texts.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    assert_eq!((found.members.len(), found.entries.len()), (21, 20));
    let numbers: Vec<u128> = found.reports.iter().map(|report| report.number).collect();
    assert_eq!((numbers.len(), numbers[10]), (11, 1 << 20));
}

/// Free alternatives in front of three components that do not fit together two by two: enumeration
/// tells so only after a million trials, for every one of the free choices anew.
#[test]
fn hard_core_behind_free_choices_is_found() {
    let mut texts: Vec<String> = (0..30).map(|at| format!("b{at} +f{at} -f{at}||")).collect();
    texts.extend(["p +a|+b".to_owned(), "q +c -a|+d -b".to_owned(), "r -c -b|-d -a".to_owned()]);
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let error = resolved(&texts).expect_err("no plan");
    assert_eq!(error.trials, 3_u128.pow(30) * 8);
}

#[test]
fn many_components_with_many_alternatives_take_moments() {
    let alternatives = |at: usize| {
        (0..10)
            .map(|way| format!("+v{at}.{way} -v{}.{}", at.max(1) - 1, 9 - way))
            .collect::<Vec<_>>()
            .join("|")
    };
    let mut texts: Vec<String> = vec!["first +v0.0|+v0.4|+v0.9".to_owned()];
    texts.extend((1..200).map(|at| format!("b{at} {}", alternatives(at))));
    texts.push("last -v199.5|-v199.9".to_owned());
    let found = resolved(&texts.iter().map(String::as_str).collect::<Vec<_>>()).expect("a plan");
    assert_eq!(found.members.len(), 201);
}

/// The specification's words on one trial, and the decision on optional alternatives.
fn naive_trial(given: &[Given], choice: &[usize]) -> Option<Vec<usize>> {
    let mut kept: Vec<usize> = (0..given.len()).collect();
    let sections = |member: usize| &given[member].plan.alternatives()[choice[member]];
    let optional = |member: usize| {
        given[member].optional && choice[member] == given[member].plan.alternatives().len() - 1
    };
    loop {
        let provided_by = |kept: &[usize], name: &str, until: usize| {
            kept.iter().any(|m| *m <= until && sections(*m).provides.iter().any(|provide| provide == name))
        };
        let required_by = |kept: &[usize], name: &str, from: usize| {
            kept.iter()
                .any(|m| *m >= from && sections(*m).requires.iter().any(|require| require.name == name))
        };
        let lacking = kept.iter().copied().find(|member| {
            sections(*member).provides.iter().any(|name| !required_by(&kept, name, *member))
                || sections(*member)
                    .requires
                    .iter()
                    .any(|require| !provided_by(&kept, &require.name, *member))
        });
        match lacking {
            None => break,
            Some(member) if !optional(member) => return None,
            Some(member) => kept.retain(|other| *other != member),
        }
    }
    kept.iter().any(|member| given[*member].kind == Kind::Buildpack).then_some(kept)
}

fn naive(given: &[Given], chosen: &mut Vec<usize>) -> Option<(Vec<usize>, Vec<usize>)> {
    let Some(member) = given.get(chosen.len()) else {
        return naive_trial(given, chosen).map(|kept| (chosen.clone(), kept));
    };
    for way in 0..member.plan.alternatives().len() {
        chosen.push(way);
        let found = naive(given, chosen);
        if found.is_some() {
            return found;
        }
        chosen.pop();
    }
    None
}

fn components() -> impl Strategy<Value = Vec<String>> {
    let word = ("[+-]", "[abcd]").prop_map(|(sign, name)| format!("{sign}{name}"));
    let alternative = prop::collection::vec(word, 0..3).prop_map(|words| words.join(" "));
    let alternatives = prop::collection::vec(alternative, 1..4).prop_map(|all| all.join("|"));
    let name = prop_oneof![Just("b"), Just("b"), Just("b?"), Just("ext:e")];
    let component = (name, alternatives).prop_map(|(name, rest)| format!("{name} {rest}"));
    prop::collection::vec(component, 1..7)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn search_finds_what_enumeration_finds(texts in components()) {
        let given: Vec<Given> = texts.iter().map(|text| given(text)).collect();
        let expected = naive(&given, &mut Vec::new());
        let members = members(&given);
        let fit = search::first_fit(&members);
        prop_assert_eq!(fit.as_ref(), expected.as_ref().map(|(choice, _)| choice));
        prop_assert_eq!(resolve(&members).ok().map(|found| found.members), expected.map(|(_, kept)| kept));
    }
}
