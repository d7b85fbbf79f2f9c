//! Expansion against BuildKit's, and against whatever text there is.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Golden {
    env: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    word: String,
    escape: Option<char>,
    mode: Option<String>,
    #[serde(default)]
    error: bool,
    result: String,
}

#[test]
fn every_case_expands_as_buildkit_expands_it() {
    let golden = include_str!("../../../fixtures/golden/dockerfile/words.json");
    let golden: Golden = serde_json::from_str(golden).unwrap();
    let pairs = golden.env.iter().filter_map(|pair| pair.split_once('='));
    let env: BTreeMap<&str, &str> = pairs.collect();
    let lookup = |name: &str| env.get(name).map(|value| (*value).to_owned());
    let mut wrong = Vec::new();
    for case in &golden.cases {
        let escape = case.escape.unwrap_or('\\');
        let result = match case.mode.as_deref() {
            Some("words") => words(&case.word, escape, &lookup).map(|words| words.join("|")),
            Some(_) => body(&case.word, &lookup).map(|expansion| expansion.text),
            None => word(&case.word, escape, &lookup).map(|expansion| expansion.text),
        };
        let expected = (!case.error).then_some(&case.result);
        if result.as_ref().ok() != expected {
            wrong.push(format!("{:?}: got {result:?}, want {expected:?}", case.word));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), golden.cases.len(), wrong.join("\n"));
}

fn fixed(name: &str) -> Option<String> {
    match name {
        "a" => Some("A b".to_owned()),
        "e" => Some(String::new()),
        "p" => Some("/usr/local/foo.tar.gz".to_owned()),
        _ => None,
    }
}

#[test]
fn names_that_were_looked_up_are_reported() {
    let expansion = word("$a${x:-$e}", '\\', &fixed).unwrap();
    assert_eq!(expansion.text, "A b");
    assert_eq!(expansion.used, BTreeSet::from(["a".to_owned(), "e".to_owned()]));
    assert_eq!(expansion.unset, BTreeSet::from(["x".to_owned()]));
}

#[test]
fn a_required_variable_says_so() {
    let error = word("x${n:?set it}", '\\', &fixed).unwrap_err();
    assert_eq!(error.to_string(), "failed to process `x${n:?set it}`: n: set it");
    let error = word("${n?}", '\\', &fixed).unwrap_err();
    assert_eq!(error.to_string(), "failed to process `${n?}`: n: is not allowed to be unset");
}

#[test]
fn a_dollar_in_a_replacement_is_text() {
    // BuildKit reads it as a reference to a group of its regular expression, and drops it.
    let lookup = |name: &str| Some(if name == "y" { "$0" } else { "aba" }.to_owned());
    assert_eq!(word("${x//b/$y}", '\\', &lookup).unwrap().text, "a$0a");
}

#[test]
fn deep_nesting_is_refused() {
    let deep = format!("{}{}", "${x:-".repeat(40), "}".repeat(40));
    assert!(matches!(word(&deep, '\\', &fixed), Err(ExpandError::Limit { .. })));
}

#[test]
fn values_that_grow_without_end_are_refused() {
    let large = "x".repeat(100_000);
    let lookup = |_: &str| Some(large.clone());
    for text in ["$x".repeat(20), format!("\"{}\"", "$x".repeat(20))] {
        assert!(matches!(word(&text, '\\', &lookup), Err(ExpandError::Limit { .. })));
    }
}

#[test]
fn a_pattern_that_takes_too_long_is_refused() {
    let value = "a".repeat(100_000);
    let lookup = |_: &str| Some(value.clone());
    let pattern = format!("${{x##{}b}}", "*a".repeat(100));
    assert!(matches!(word(&pattern, '\\', &lookup), Err(ExpandError::Limit { .. })));
}

proptest! {
    #[test]
    fn no_word_makes_expansion_panic(
        pieces in prop::collection::vec(
            prop_oneof![
                prop::sample::select(vec![
                    "$", "${", "}", "a", "p", "n", "e", ":", "-", "+", "?", "#", "%", "/", "*", "\\", "`", "'", "\"",
                    "<", "<<", " ", "\n", "é",
                ]).prop_map(str::to_owned),
                any::<String>(),
            ],
            0..24,
        ),
    ) {
        let text = pieces.concat();
        for escape in ['\\', '`'] {
            let _ = word(&text, escape, &fixed);
            let _ = words(&text, escape, &fixed);
        }
        let _ = body(&text, &fixed);
        for quotes in [Quotes::Remove, Quotes::Keep, Quotes::KeepWithEscapes] {
            let _ = split(&text, quotes);
        }
    }

    #[test]
    fn text_without_special_characters_expands_to_itself(text in "[a-zA-Z0-9_ ./:=,+-]*") {
        prop_assert_eq!(word(&text, '\\', &fixed).unwrap().text, text);
    }

    #[test]
    fn prefix_and_suffix_trims_agree_with_the_value(value in "[ab/.]{0,12}", pattern in "[ab/.?*]{0,5}") {
        let lookup = |_: &str| Some(value.clone());
        let trim = |operator: &str| word(&format!("${{x{operator}{pattern}}}"), '\\', &lookup).unwrap().text;
        prop_assert!(value.ends_with(&trim("#")) && value.ends_with(&trim("##")));
        prop_assert!(value.starts_with(&trim("%")) && value.starts_with(&trim("%%")));
        if !pattern.starts_with(['#', '%']) {
            prop_assert!(trim("##").len() <= trim("#").len());
            prop_assert!(trim("%%").len() <= trim("%").len());
        }
    }
}
