//! Texts for property tests: valid ones, damaged in a few places.

use proptest::prelude::*;

/// `sample` with up to four pieces cut out, doubled or replaced.
pub fn damaged(sample: &'static str) -> impl Strategy<Value = String> {
    let edit =
        (any::<prop::sample::Index>(), 0..20_usize, "[\\[\\]{}\"=.,:a-z0-9\n\\\\-]{0,8}", any::<bool>());
    prop::collection::vec(edit, 1..5).prop_map(move |edits| {
        let mut text: Vec<char> = sample.chars().collect();
        for (at, length, new, is_doubled) in edits {
            let start = at.index(text.len() + 1);
            let end = (start + length).min(text.len());
            let old: Vec<char> = if is_doubled { text[start..end].repeat(2) } else { Vec::new() };
            text.splice(start..end, new.chars().chain(old));
        }
        text.into_iter().collect()
    })
}
