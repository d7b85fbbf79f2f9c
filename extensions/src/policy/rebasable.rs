//! Whether an app image may be rebased once its run image was extended.
//!
//! A claim is what a Dockerfile says by its own LABEL, never what it inherits.

use std::collections::BTreeMap;

use crate::dockerfile::parse_bool;

/// The label that an image is rebasable.
pub const LABEL: &str = "io.buildpacks.rebasable";

/// What a Dockerfile says of the layers it adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// They may be put on top of a newer run image.
    Rebasable,
    /// They may not; also for a value that is no boolean.
    NotRebasable,
    /// It says nothing, which counts as no.
    Unset,
}

/// Reads the claim from the labels that a Dockerfile itself sets.
pub fn claim(labels: &BTreeMap<String, String>) -> Claim {
    match labels.get(LABEL).map(|value| parse_bool(value)) {
        None => Claim::Unset,
        Some(Some(true)) => Claim::Rebasable,
        Some(_) => Claim::NotRebasable,
    }
}

/// A run.Dockerfile that was applied to the run image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDockerfile {
    /// The extension's id.
    pub extension: String,
    /// Whether it has instructions below FROM.
    pub extends: bool,
    /// What it says.
    pub claim: Claim,
    /// The paths of base files that its layers overwrite or remove, as far as they are known.
    pub shadowed: Vec<String>,
}

/// What to do with the label of the app image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The run image's label stays as it is, unset or not: nothing was extended.
    Inherited,
    /// The label is `true`.
    Rebasable {
        /// Per extension, paths of base files that its layers shadow: after a rebase they are stale.
        shadowed: Vec<(String, Vec<String>)>,
    },
    /// The label is `false`.
    NotRebasable {
        /// Why.
        reason: String,
    },
}

/// Judges the Dockerfiles applied to a run image whose label is `run_image`.
///
/// Spec: platform.md, "Extender (optional)": false if any run.Dockerfile sets false or leaves the label
/// unset. Differs from the peer, which lets a Dockerfile inherit the claim of the one before.
pub fn verdict(run_image: Option<&str>, dockerfiles: &[RunDockerfile]) -> Verdict {
    let mut extending = dockerfiles.iter().filter(|dockerfile| dockerfile.extends).peekable();
    if extending.peek().is_none() {
        return Verdict::Inherited;
    }
    let mut shadowed = Vec::new();
    for RunDockerfile { extension, claim, shadowed: paths, .. } in extending {
        let reason = match claim {
            Claim::Rebasable => {
                if !paths.is_empty() {
                    shadowed.push((extension.clone(), paths.clone()));
                }
                continue;
            }
            Claim::NotRebasable => format!("the run.Dockerfile of `{extension}` does not set {LABEL}=true"),
            Claim::Unset => format!("the run.Dockerfile of `{extension}` leaves {LABEL} unset"),
        };
        return Verdict::NotRebasable { reason };
    }
    match run_image {
        Some(label) if parse_bool(label) != Some(true) && !label.is_empty() => {
            Verdict::NotRebasable { reason: format!("the run image has {LABEL}={label}") }
        }
        _ => Verdict::Rebasable { shadowed },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dockerfile(claim: Claim) -> RunDockerfile {
        RunDockerfile { extension: "e".to_owned(), extends: true, claim, shadowed: Vec::new() }
    }

    fn switch() -> RunDockerfile {
        RunDockerfile { extends: false, ..dockerfile(Claim::Unset) }
    }

    fn rebasable() -> Verdict {
        Verdict::Rebasable { shadowed: Vec::new() }
    }

    #[track_caller]
    fn refused(run_image: Option<&str>, dockerfiles: &[RunDockerfile], reason: &str) {
        assert_eq!(verdict(run_image, dockerfiles), Verdict::NotRebasable { reason: reason.to_owned() });
    }

    #[test]
    fn row_1_without_extending_the_label_is_inherited() {
        for label in [Some("true"), None, Some("false"), Some("x")] {
            assert_eq!(verdict(label, &[]), Verdict::Inherited);
            assert_eq!(verdict(label, &[switch(), switch()]), Verdict::Inherited);
        }
    }

    #[test]
    fn row_2_all_claims_on_a_rebasable_run_image_are_believed() {
        let all = [dockerfile(Claim::Rebasable), switch(), dockerfile(Claim::Rebasable)];
        for label in [Some("true"), Some("1"), None, Some("")] {
            assert_eq!(verdict(label, &all), rebasable());
        }
    }

    #[test]
    fn row_3_an_explicit_false_of_the_run_image_stays() {
        for label in ["false", "0", "no"] {
            refused(
                Some(label),
                &[dockerfile(Claim::Rebasable)],
                &format!("the run image has io.buildpacks.rebasable={label}"),
            );
        }
    }

    #[test]
    fn row_4_one_silent_or_false_claim_is_enough() {
        for label in [Some("true"), None, Some("false")] {
            let silent = [dockerfile(Claim::Rebasable), dockerfile(Claim::Unset)];
            refused(label, &silent, "the run.Dockerfile of `e` leaves io.buildpacks.rebasable unset");
            let denied = [dockerfile(Claim::NotRebasable), dockerfile(Claim::Rebasable)];
            refused(label, &denied, "the run.Dockerfile of `e` does not set io.buildpacks.rebasable=true");
        }
    }

    #[test]
    fn row_5_shadowed_files_are_named_and_the_claim_stands() {
        let mut shadowing = dockerfile(Claim::Rebasable);
        shadowing.shadowed = vec!["var/lib/dpkg/status".to_owned()];
        let shadowed = vec![("e".to_owned(), shadowing.shadowed.clone())];
        assert_eq!(verdict(Some("true"), &[shadowing]), Verdict::Rebasable { shadowed });
    }

    #[test]
    fn a_claim_is_read_as_go_reads_a_boolean() {
        let claim_of = |value: &str| claim(&BTreeMap::from([(LABEL.to_owned(), value.to_owned())]));
        for value in ["true", "TRUE", "True", "t", "T", "1"] {
            assert_eq!(claim_of(value), Claim::Rebasable, "{value}");
        }
        for value in ["false", "0", "yes", "", "tRUE", " true"] {
            assert_eq!(claim_of(value), Claim::NotRebasable, "{value}");
        }
        assert_eq!(claim(&BTreeMap::new()), Claim::Unset);
    }
}
