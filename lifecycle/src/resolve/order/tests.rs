//! Orders written as short texts, resolved to the groups that they stand for.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::api::BuildpackApi;
use crate::component::catalog::Component;
use crate::exec_env::ExecEnv;
use crate::files::SpecFile;

/// Composites by `id@version`, each with its order.
#[derive(Default)]
struct Place(BTreeMap<String, Vec<OrderGroup>>);

/// Groups separated by `|`, elements by spaces: `id`, `id@2`, `id?` (optional), `id!test` (exec-env).
fn order(text: &str) -> Vec<OrderGroup> {
    let element = |word: &str| {
        let (word, exec_env) =
            word.split_once('!').map_or((word, Vec::new()), |(word, name)| (word, vec![name.to_owned()]));
        let (name, optional) = word.strip_suffix('?').map_or((word, false), |name| (name, true));
        let (id, version) = name.split_once('@').unwrap_or((name, "1"));
        OrderElement { id: id.parse().unwrap(), version: version.parse().unwrap(), optional, exec_env }
    };
    let group = |text: &str| OrderGroup { group: text.split_whitespace().map(element).collect() };
    text.split('|').map(group).collect()
}

impl Place {
    fn with(mut self, name: &str, text: &str) -> Self {
        self.0.insert(name.to_owned(), order(text));
        self
    }

    fn component(
        &self,
        kind: Kind,
        id: &ComponentId,
        version: &ComponentVersion,
    ) -> Result<Component, String> {
        let name = format!("{id}@{version}");
        if id.as_str().starts_with("missing") {
            return Err(name);
        }
        Ok(Component {
            kind,
            id: id.clone(),
            version: version.clone(),
            api: BuildpackApi::ALL[BuildpackApi::ALL.len() - 1],
            dir: "/".into(),
            homepage: String::new(),
            clear_env: false,
            sbom_formats: Vec::new(),
            exec_env: if id.as_str().starts_with("test-only") { vec!["test".to_owned()] } else { Vec::new() },
            targets: Vec::new(),
            order: self.0.get(&name).cloned().unwrap_or_default(),
        })
    }

    fn groups(&self, order: &Order) -> Vec<String> {
        let exec_env = ExecEnv::default();
        let mut candidates = Candidates::new(order, Some(&exec_env), |k, i, v| self.component(k, i, v));
        let mut groups = Vec::new();
        loop {
            match candidates.next_group() {
                Ok(Some(candidate)) => groups.push(show(&candidate)),
                Ok(None) => return groups,
                Err(error) => {
                    groups.push(error.to_string());
                    return groups;
                }
            }
        }
    }
}

fn show(candidate: &Candidate) -> String {
    let name = |element: &Element| {
        let version = element.component.version.as_str();
        let version = if version == "1" { String::new() } else { format!("@{version}") };
        format!("{}{version}{}", element.component.id, if element.optional { "?" } else { "" })
    };
    candidate.elements.iter().map(name).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(place: &Place, text: &str, expected: &[&str]) {
    let file = OrderFile { order: order(text), ..OrderFile::default() };
    assert_eq!(place.groups(&Order::new(&file, &System::default())), expected);
}

#[test]
fn groups_come_in_order() {
    check(&Place::default(), "a b? | c", &["a b?", "c"]);
    check(&Place::default(), "", &[""]);
}

#[test]
fn composites_expand_in_place() {
    let place = Place::default().with("O@1", "a b | c d").with("P@1", "e f | g h");
    check(&place, "e O f", &["e a b f", "e c d f"]);
    check(&place, "O P", &["a b e f", "a b g h", "c d e f", "c d g h"]);
    let nested = Place::default().with("O@1", "a N | c").with("N@1", "x | y");
    check(&nested, "O z", &["a x z", "a y z", "c z"]);
}

#[test]
fn optional_composite_is_left_out_last() {
    let place = Place::default().with("O@1", "a | b").with("N@1", "O? x");
    check(&place, "O? c", &["a c", "b c", "c"]);
    check(&place, "N", &["a x", "b x", "x"]);
}

#[test]
fn members_keep_their_own_optional_flag() {
    let place = Place::default().with("O@1", "a? b");
    check(&place, "O?", &["a? b", ""]);
}

#[test]
fn first_of_equal_ids_is_kept() {
    check(&Place::default(), "a@1 a@2 c", &["a c"]);
    check(&Place::default(), "a? a", &["a?"]);
    let place = Place::default().with("O@1", "a@2 b");
    check(&place, "a O", &["a b"]);
    check(&place, "O a", &["a@2 b"]);
}

#[track_caller]
fn check_notes(text: &str, expected: &[Note]) {
    let place = Place::default();
    let file = OrderFile { order: order(text), ..OrderFile::default() };
    let order = Order::new(&file, &System::default());
    let exec_env = ExecEnv::default();
    let mut candidates = Candidates::new(&order, Some(&exec_env), |k, i, v| place.component(k, i, v));
    assert_eq!(candidates.next_group().unwrap().unwrap().notes, expected);
}

#[test]
fn duplicates_that_differ_are_noted() {
    let duplicate =
        |left_out: &str, kept: &str| Note::Duplicate { left_out: left_out.into(), kept: kept.into() };
    check_notes("a@1 a@2", &[duplicate("a@2", "a@1")]);
    check_notes("a? a", &[duplicate("a@1", "a@1")]);
    check_notes("a a?", &[Note::Repetition { left_out: "a@1".into() }]);
}

#[test]
fn cycles_are_shown() {
    let place = Place::default().with("a@1", "x b").with("b@1", "c").with("c@1", "a");
    check(
        &place,
        "ok | y a",
        &["ok", "resolve order: composite buildpacks form a cycle: a@1 -> b@1 -> c@1 -> a@1"],
    );
    let own = Place::default().with("a@1", "a?");
    check(&own, "a", &["resolve order: composite buildpacks form a cycle: a@1 -> a@1"]);
    let twice = Place::default().with("a@1", "b b").with("b@1", "x");
    check(&twice, "a", &["x"]);
}

#[test]
fn missing_members_matter_only_when_reached() {
    let place = Place::default().with("O@1", "a | missing");
    check(&place, "O", &["a", "missing@1"]);
}

#[test]
fn other_execution_environments_are_left_out() {
    let place = Place::default().with("O@1", "a!test b").with("test-only-composite@1", "x");
    check(&place, "O!production c!test d!*", &["b d"]);
    check(&place, "O!test", &[""]);
    check(&place, "a test-only test-only-composite", &["a"]);
    check(&place, "a!test a@2", &["a@2"]);
    let supported = vec!["test".to_owned()];
    check_notes("test-only", &[Note::ExecEnv { left_out: "test-only@1".into(), supported }]);
}

#[test]
fn extensions_come_first_and_may_be_left_out() {
    let file = OrderFile { order: order("a | b"), order_extensions: order("e f | g") };
    let expected = ["e? f? a", "g? a", "a", "e? f? b", "g? b", "b"];
    assert_eq!(Place::default().groups(&Order::new(&file, &System::default())), expected);
}

#[test]
fn extension_and_buildpack_of_one_id_stand_together() {
    let file = OrderFile { order: order("a"), order_extensions: order("a") };
    assert_eq!(Place::default().groups(&Order::new(&file, &System::default()))[0], "a? a");
}

#[test]
fn system_buildpacks_stand_around_every_group() {
    let system = crate::files::system::SystemFile::parse(
        "[[system.pre.buildpacks]]\nid='p'\nversion='1'\n[[system.pre.buildpacks]]\nid='a'\nversion='9'\n\
         [[system.post.buildpacks]]\nid='q'\nversion='1'\noptional=true\n",
    );
    let file = OrderFile { order: order("a | q@2 c"), order_extensions: order("e") };
    let order = Order::new(&file, &system.unwrap().system);
    let expected = ["e? p a q?", "p a q?", "e? p a@9 q@2 c", "p a@9 q@2 c"];
    assert_eq!(Place::default().groups(&order), expected);
    assert_eq!(order.named().len(), 7);
}

/// Composites `o0` to `o7` with twelve groups each, one component in a group.
fn matrix() -> Place {
    let group = |at: usize| (0..12).map(|way| format!("m{at}-{way}")).collect::<Vec<_>>().join(" | ");
    (0..8).fold(Place::default(), |place, at| place.with(&format!("o{at}@1"), &group(at)))
}

#[test]
fn multiplied_groups_are_made_only_when_asked_for() {
    let (place, text) = (matrix(), "o0 o1 o2 o3 o4 o5 o6 o7");
    let file = OrderFile { order: order(text), ..OrderFile::default() };
    let order = Order::new(&file, &System::default());
    let mut candidates = Candidates::new(&order, None, |k, i, v| place.component(k, i, v));
    for _ in 0..1000 {
        assert_eq!(candidates.next_group().unwrap().unwrap().elements.len(), 8);
    }
    assert!(candidates.choices.len() <= 9);
}

#[test]
fn rejected_components_take_their_groups_along() {
    let (place, text) = (matrix(), "o0 o1 o2 o3 o4 o5 o6 o7 last | m0-3 | last? | fine");
    let file = OrderFile { order: order(text), ..OrderFile::default() };
    let order = Order::new(&file, &System::default());
    let mut candidates = Candidates::new(&order, None, |k, i, v| place.component(k, i, v));
    let first = candidates.next_group().unwrap().unwrap();
    candidates.reject(&first.elements[8].component);
    let rest: Vec<String> =
        std::iter::from_fn(|| candidates.next_group().unwrap()).map(|group| show(&group)).collect();
    assert_eq!(rest, ["m0-3", "last?", "fine"]);
}

#[test]
fn rejected_prefix_is_not_walked_again() {
    let (place, text) = (matrix(), "o0 o1 o2 o3 o4 o5 o6 o7");
    let file = OrderFile { order: order(text), ..OrderFile::default() };
    let order = Order::new(&file, &System::default());
    let mut candidates = Candidates::new(&order, None, |k, i, v| place.component(k, i, v));
    let mut seen = 0;
    while let Some(group) = candidates.next_group().unwrap() {
        candidates.reject(&group.elements[0].component);
        seen += 1;
    }
    assert_eq!(seen, 12);
}

#[test]
fn earlier_twin_saves_a_group_from_rejection() {
    let place = Place::default().with("O@1", "last@2 | a");
    let file = OrderFile { order: order("O last | O last"), ..OrderFile::default() };
    let order = Order::new(&file, &System::default());
    let mut candidates = Candidates::new(&order, None, |k, i, v| place.component(k, i, v));
    let last = place.component(Kind::Buildpack, &"last".parse().unwrap(), &"1".parse().unwrap()).unwrap();
    candidates.reject(&last);
    let rest: Vec<String> =
        std::iter::from_fn(|| candidates.next_group().unwrap()).map(|group| show(&group)).collect();
    assert_eq!(rest, ["last@2", "last@2"]);
}

/// The specification's matrices, naively: every group of an order, all at once.
fn naive(
    place: &Place,
    order: &[OrderGroup],
    optional: bool,
    rest: &[OrderElement],
) -> Vec<Vec<OrderElement>> {
    let mut groups = Vec::new();
    for group in order {
        groups.extend(naive_group(place, &[group.group.as_slice(), rest].concat()));
    }
    if optional {
        groups.extend(naive_group(place, rest));
    }
    groups
}

fn naive_group(place: &Place, elements: &[OrderElement]) -> Vec<Vec<OrderElement>> {
    let Some((first, rest)) = elements.split_first() else { return vec![Vec::new()] };
    let name = format!("{}@{}", first.id, first.version);
    match place.0.get(&name) {
        Some(order) => naive(place, order, first.optional, rest),
        None => naive_group(place, rest)
            .into_iter()
            .map(|group| [std::slice::from_ref(first), &group].concat())
            .collect(),
    }
}

fn naive_text(group: &[OrderElement]) -> String {
    let mut seen: Vec<&OrderElement> = Vec::new();
    for element in group {
        if seen.iter().all(|kept| kept.id != element.id) {
            seen.push(element);
        }
    }
    let name = |element: &&OrderElement| format!("{}{}", element.id, if element.optional { "?" } else { "" });
    seen.iter().map(name).collect::<Vec<_>>().join(" ")
}

/// An order over components `a` to `d` and composites from `o{level}` on.
fn orders(level: usize) -> impl Strategy<Value = String> {
    let composites = (level..3).map(|at| format!("o{at}"));
    let names: Vec<String> = ["a", "b", "c", "d"].map(str::to_owned).into_iter().chain(composites).collect();
    let element = (prop::sample::select(names), prop::sample::select(vec!["", "?"]));
    let group = prop::collection::vec(element.prop_map(|(name, optional)| name + optional), 1..4);
    prop::collection::vec(group.prop_map(|group| group.join(" ")), 1..4).prop_map(|groups| groups.join(" | "))
}

proptest! {
    #[test]
    fn groups_are_those_of_the_matrices(root in orders(0), nested in (orders(1), orders(2), orders(3))) {
        let place = Place::default().with("o0@1", &nested.0).with("o1@1", &nested.1).with("o2@1", &nested.2);
        let expected: Vec<String> =
            naive(&place, &order(&root), false, &[]).iter().map(|group| naive_text(group)).collect();
        let file = OrderFile { order: order(&root), ..OrderFile::default() };
        prop_assert_eq!(place.groups(&Order::new(&file, &System::default())), expected);
    }
}
