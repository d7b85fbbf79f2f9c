//! The platform's own rules for what extensions may do: nothing of what they forbid is carried out.
//!
//! ```toml
//! deny = ["run", "add-url", "network", "root"]
//! allow-from = ["registry.example/base/*"]
//! ```
//!
//! What is decided is in [`extensions::policy::PolicyRules`]; this is the file.

use extensions::context::IgnorePattern;
use extensions::plan::ExtendPlan;
use extensions::policy::{PolicyRules, Refusal};

use crate::files::{SpecFile, SyntaxError, parse_toml};

/// So many refusals are told.
const MAX_TOLD: usize = 10;

/// What the rules do not allow, in the plan's order; at least one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the platform's policy for image extensions does not allow this: {}", list(.0))]
pub struct Refused(Vec<Refusal>);

/// The rules, all of which can be decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy(PolicyRules);

impl SpecFile for Policy {
    const NAME: &'static str = "extend policy";

    fn parse(text: &str) -> Result<Self, SyntaxError> {
        let rules: PolicyRules = parse_toml(text)?;
        for pattern in rules.allow_from.iter().flatten() {
            IgnorePattern::parse(pattern)
                .map_err(|_| SyntaxError::rule(format!("`{pattern}` of `allow-from` is no pattern")))?;
        }
        Ok(Self(rules))
    }
}

impl Policy {
    /// Checks what extensions would do.
    pub fn check(&self, plan: &ExtendPlan) -> Result<(), Refused> {
        let refusals = self.0.refusals(plan).expect("the patterns were checked when they were read");
        if refusals.is_empty() { Ok(()) } else { Err(Refused(refusals)) }
    }
}

/// The first refusals, and how many more there are.
fn list(refusals: &[Refusal]) -> String {
    let told: Vec<String> = refusals.iter().take(MAX_TOLD).map(ToString::to_string).collect();
    let more = refusals.len().saturating_sub(MAX_TOLD);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    told.join("; ") + &more
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_all_understood_or_the_file_is_refused() {
        let text = "deny = ['run', 'add-url', 'network', 'root']\nallow-from = ['a.example/**', 'b:1']\n";
        assert!(Policy::parse(text).is_ok() && Policy::parse("").is_ok());
        for (text, message) in [
            ("deny = ['runs']", "unknown variant `runs`"),
            ("denny = ['run']", "unknown field `denny`"),
            ("deny = 'run'", "invalid type"),
            ("allow-from = ['a[']", "`a[` of `allow-from` is no pattern"),
        ] {
            let error = Policy::parse(text).expect_err("refused").to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,100}", pattern in "[a-z*?!/\\[\\]\\\\-]{0,9}") {
            let _ = Policy::parse(&text);
            let Ok(policy) = Policy::parse(&format!("allow-from = ['{pattern}']")) else { return Ok(()) };
            let plan = extensions::plan::ExtendPlan::new(
                extensions::plan::Bases { build: "", run: "", run_label: None }, &[]);
            assert_eq!(policy.check(&plan), Ok(()));
        }
    }
}
