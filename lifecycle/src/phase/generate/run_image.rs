//! Which run image the extensions' Dockerfiles lead to.
//!
//! Spec: platform.md "detector". A switching Dockerfile that does more than switch extends, too:
//! spec-notes/decisions.md, "Switching the run image".

use extensions::policy::{Base, Permitted};

use crate::api::PlatformApi;
use crate::files::analyzed::RunImage;

/// What run.Dockerfiles ask for together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Choice {
    /// The image to which the last of the switching Dockerfiles switches, and its place.
    pub image: Option<(usize, String)>,
    /// Whether there is something to do on top of the run image.
    pub extend: bool,
    /// For each place, whether a later Dockerfile switches, so that this one has no effect.
    pub superseded: Vec<bool>,
}

/// Looks at the run.Dockerfiles of the extensions in order; `None` where there is none.
pub fn choose(dockerfiles: &[Option<&Permitted>]) -> Choice {
    let switches = |dockerfile: Option<&Permitted>| match dockerfile.map(Permitted::base) {
        Some(Base::Switched { image }) => Some(image.clone()),
        Some(Base::Given) | None => None,
    };
    let last = dockerfiles.iter().rposition(|dockerfile| switches(*dockerfile).is_some());
    let first = last.unwrap_or(0);
    Choice {
        image: last.and_then(|at| Some((at, switches(dockerfiles[at])?))),
        extend: dockerfiles.iter().skip(first).flatten().any(|dockerfile| dockerfile.extends()),
        superseded: (0..dockerfiles.len()).map(|at| at < first && dockerfiles[at].is_some()).collect(),
    }
}

/// The run image after a switch. What names exactly it, and what it runs on, is not known any more;
/// before there were image names the reference holds the name.
pub fn switched(api: PlatformApi, image: &str) -> RunImage {
    let reference = if api.has_targets() { String::new() } else { image.to_owned() };
    RunImage { reference, image: image.to_owned(), extend: false, target: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use extensions::dockerfile::parse;
    use extensions::policy::{Target, permit};
    use extensions::state::Arguments;

    #[track_caller]
    fn check(texts: &[&str], image: Option<(usize, &str)>, extend: bool, superseded: &[bool]) {
        let permitted = |text: &&str| {
            let parsed = parse("run.Dockerfile", text.as_bytes()).unwrap();
            permit(parsed, Target::Run, &Arguments::default()).unwrap()
        };
        let permitted: Vec<Option<Permitted>> =
            texts.iter().map(|text| (!text.is_empty()).then(|| permitted(text))).collect();
        let dockerfiles: Vec<Option<&Permitted>> = permitted.iter().map(Option::as_ref).collect();
        let image = image.map(|(at, image)| (at, image.to_owned()));
        assert_eq!(choose(&dockerfiles), Choice { image, extend, superseded: superseded.to_vec() });
    }

    const EXTEND: &str = "ARG base_image\nFROM ${base_image}\nRUN true\n";
    const KEEP: &str = "ARG base_image\nFROM ${base_image}\n";
    const SWITCH: &str = "FROM other\n";

    #[test]
    fn run_image_stays_unless_switched() {
        check(&[], None, false, &[]);
        check(&["", KEEP], None, false, &[false, false]);
        check(&[EXTEND, ""], None, true, &[false, false]);
    }

    #[test]
    fn last_switch_counts_and_what_comes_before_it_does_not() {
        check(&[SWITCH], Some((0, "other")), false, &[false]);
        check(&[EXTEND, "", "FROM first", SWITCH], Some((3, "other")), false, &[true, false, true, false]);
        check(&[SWITCH, EXTEND], Some((0, "other")), true, &[false, false]);
        check(&[SWITCH, KEEP], Some((0, "other")), false, &[false, false]);
    }

    #[test]
    fn switch_with_further_instructions_extends() {
        check(&["FROM other\nRUN true"], Some((0, "other")), true, &[false]);
        check(&["ARG v=1\nFROM other:$v"], Some((0, "other:1")), false, &[false]);
        check(&["ARG base_image\nFROM $base_image\nRUN true"], None, true, &[false]);
    }
}
