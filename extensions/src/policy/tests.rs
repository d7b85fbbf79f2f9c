//! What is permitted, what is refused and with which words, what only warns.

use std::collections::BTreeMap;

use super::*;
use crate::dockerfile::parse;

fn check(text: &str, target: Target) -> Result<Permitted, PolicyError> {
    let name = format!("{target}.Dockerfile");
    permit(parse(&name, text.as_bytes()).unwrap(), target, &Arguments::default())
}

#[track_caller]
fn permitted(text: &str, target: Target) -> Permitted {
    check(text, target).unwrap()
}

#[track_caller]
fn refused(text: &str, target: Target, expected: &str) {
    assert_eq!(check(text, target).unwrap_err().to_string(), expected, "{text}");
}

#[track_caller]
fn base_is(text: &str, expected: &Base) {
    assert_eq!(permitted(text, Target::Run).base(), expected, "{text}");
}

fn switched(image: &str) -> Base {
    Base::Switched { image: image.to_owned() }
}

#[test]
fn a_build_dockerfile_begins_with_its_base() {
    let file = permitted("ARG base_image\nFROM ${base_image}\nRUN x", Target::Build);
    assert_eq!((file.base(), file.extends()), (&Base::Given, true));
    for text in [
        "ARG base_image\nFROM $base_image",
        "ARG base_image=x\nFROM \"${base_image}\"",
        "ARG base_image x\nFROM ${base_image:-y}",
    ] {
        assert_eq!(permitted(text, Target::Build).base(), &Base::Given, "{text}");
    }
}

#[test]
fn a_build_dockerfile_without_its_base_is_refused() {
    let no_argument = "build.Dockerfile did not start with required ARG command";
    refused("FROM ${base_image}", Target::Build, &format!("build.Dockerfile:1:1: {no_argument}"));
    refused("ARG x\nFROM ${base_image}", Target::Build, &format!("build.Dockerfile:1:1: {no_argument}"));
    refused(
        "ARG base_image\nARG x\nFROM ${base_image}",
        Target::Build,
        &format!("build.Dockerfile:1:1: {no_argument}"),
    );
    let not_the_base = "build.Dockerfile did not contain required FROM ${base_image} command";
    refused("ARG base_image\nFROM x", Target::Build, &format!("build.Dockerfile:2:6: {not_the_base}"));
}

#[test]
fn a_second_stage_is_refused() {
    let text = "ARG base_image\nFROM ${base_image}\nRUN x\nFROM y";
    for target in [Target::Build, Target::Run] {
        let expected =
            format!("{target}.Dockerfile:4:1: {target}.Dockerfile is not permitted to use multistage build");
        refused(text, target, &expected);
    }
}

#[test]
fn every_spelling_of_the_base_argument_is_the_base() {
    for from in ["${base_image}", "$base_image", "\"$base_image\"", "${base_image:-x}", "${base_image?}"] {
        base_is(&format!("ARG base_image\nFROM {from}"), &Base::Given);
    }
    base_is("ARG base_image=a\nFROM ${base_image}", &Base::Given);
    base_is("ARG base_image\nARG b=$base_image\nFROM $b", &Base::Given);
    base_is("ARG base_image\nFROM --platform=linux/arm64 ${base_image} AS x", &Base::Given);
}

#[test]
fn another_image_switches_with_its_arguments_expanded() {
    base_is("FROM a:b", &switched("a:b"));
    base_is("ARG v=1\nARG n=x:$v\nFROM $n-y", &switched("x:1-y"));
    base_is("ARG base_image\nFROM other", &switched("other"));
    base_is("FROM ${x:-a}", &switched("a"));
    base_is("FROM base_image", &switched("base_image"));
    let supplied = BTreeMap::from([("v".to_owned(), "2".to_owned())]);
    let arguments = Arguments { supplied, ..Arguments::default() };
    let file = permit(parse("f", b"ARG v=1\nFROM a:$v").unwrap(), Target::Run, &arguments).unwrap();
    assert_eq!(file.base(), &switched("a:2"));
}

#[test]
fn an_argument_without_a_value_is_no_part_of_an_image() {
    for (from, name) in [("a:$v", "v"), ("${v}", "v"), ("a:${user_id}", "user_id")] {
        let text = format!("ARG v\nFROM {from}");
        let expected = format!("run.Dockerfile:2:6: FROM `{from}`: the argument `{name}` has no value");
        refused(&text, Target::Run, &expected);
    }
}

#[test]
fn what_is_no_image_is_refused() {
    refused("FROM scratch", Target::Run, "run.Dockerfile:1:6: FROM `scratch`: it is not an image");
    refused("ARG x=\nFROM ${x}", Target::Run, "run.Dockerfile:2:6: FROM `${x}`: invalid base image `${x}`");
    let text = "ARG base_image\nFROM ${base_image}:x";
    let expected = "run.Dockerfile:2:6: FROM `${base_image}:x`: the base image can only be used as a whole";
    refused(text, Target::Run, expected);
}

#[test]
fn a_base_that_no_argument_declares_warns() {
    let file = permitted("FROM ${base_image}\nRUN x", Target::Run);
    assert_eq!(file.base(), &Base::Given);
    let message = "run.Dockerfile uses base_image without declaring it by ARG above FROM";
    assert_eq!(file.warnings(), [Warning { line: 1, message: message.to_owned() }]);
}

#[test]
fn extending_is_having_any_instruction() {
    assert!(!permitted("FROM a", Target::Run).extends());
    assert!(permitted("FROM a\nARG x", Target::Run).extends());
    assert!(permitted("FROM a\nCMD x", Target::Run).extends());
}

#[test]
fn switching_only_can_be_demanded() {
    assert!(permitted("FROM a", Target::Run).only_switches().is_ok());
    let error = permitted("FROM a\nRUN x", Target::Run).only_switches().unwrap_err();
    let expected = "run.Dockerfile:2:1: run.Dockerfile is not permitted to have instructions other than FROM";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn other_instructions_are_not_recommended() {
    let text = "ARG base_image\nFROM ${base_image}\nRUN a\nCMD b\nENTRYPOINT c\nEXPOSE 1\nVOLUME /v\nSTOPSIGNAL 9\nHEALTHCHECK NONE\nMAINTAINER m\nONBUILD RUN x";
    for target in [Target::Build, Target::Run] {
        let file = permitted(text, target);
        let names =
            ["CMD", "ENTRYPOINT", "EXPOSE", "VOLUME", "STOPSIGNAL", "HEALTHCHECK", "MAINTAINER", "ONBUILD"];
        let expected: Vec<String> = (4..)
            .zip(names)
            .map(|(line, name)| {
                format!("{target}.Dockerfile command {name} on line {line} is not recommended")
            })
            .collect();
        let messages: Vec<&String> = file.warnings().iter().map(|warning| &warning.message).collect();
        assert_eq!(messages, expected.iter().collect::<Vec<_>>());
    }
}

#[test]
fn the_ten_instructions_do_not_warn() {
    let text = "ARG base_image\nFROM ${base_image}\nADD a b\nARG c\nCOPY a b\nENV a=b\nLABEL a=b\nRUN x\nSHELL [\"a\"]\nUSER u\nWORKDIR /w";
    assert_eq!(permitted(text, Target::Build).warnings(), []);
}

#[test]
fn a_platform_and_blank_continuations_warn() {
    let file = permitted("FROM --platform=linux/amd64 a\nRUN x \\\n\n y", Target::Run);
    let lines: Vec<usize> = file.warnings().iter().map(|warning| warning.line).collect();
    assert_eq!(lines, [1, 4]);
}

#[test]
fn what_is_not_supported_is_named_with_its_flag_and_line() {
    for (line, column, message) in [
        ("RUN --security=insecure x", 5, "`--security=insecure` of RUN is not supported"),
        ("RUN --device=a x", 5, "`--device` of RUN is not supported"),
        (
            "RUN --mount=type=bind,from=b,target=/x y",
            5,
            "`from` of `--mount` is not supported: there is one stage, and no other image is at hand",
        ),
        (
            "RUN --mount=type=secret,id=s,required x",
            5,
            "a required secret of `--mount` is not supported: there are no secrets to give",
        ),
        (
            "RUN --mount=type=ssh,required=true x",
            5,
            "a required ssh agent of `--mount` is not supported: there is none to give",
        ),
        (
            "COPY --from=b a /x",
            6,
            "`--from` of COPY is not supported: there is one stage, and no other image is at hand",
        ),
        ("COPY http://h/a /x", 6, "the source `http://h/a` of COPY is not supported: use ADD for downloads"),
        ("COPY git@h:o/r /x", 6, "the source `git@h:o/r` of COPY is not supported: use ADD for downloads"),
        ("ADD --keep-git-dir a /x", 5, "`--keep-git-dir` of ADD is not supported"),
        ("ADD https://h/o/r.git /x", 5, "the git source `https://h/o/r.git` of ADD is not supported"),
        (
            "ADD --checksum=sha256:1 a /x",
            5,
            "`--checksum` of ADD is not supported for anything but one download",
        ),
    ] {
        let expected = format!("run.Dockerfile:2:{column}: {message}");
        refused(&format!("FROM a\n{line}"), Target::Run, &expected);
    }
}

#[test]
fn what_is_supported_passes() {
    for line in [
        "RUN --mount=type=cache,target=/c --mount=type=tmpfs,target=/t --mount=target=/b,source=s --network=none x",
        "RUN --mount=type=secret,id=s --mount=type=ssh x",
        "RUN --network=host --security=sandbox x",
        "RUN --mount=type=$t,target=/x y",
        "COPY --chown=a:b --chmod=u+x --link --parents --exclude=x a b",
        "ADD --checksum=sha256:1 --unpack http://h/a /x",
        "ADD --checksum=sha256:1 $url /x",
        "COPY <<EOF /x\nEOF",
    ] {
        permitted(&format!("FROM a\n{line}"), Target::Run);
    }
}

#[test]
fn the_survey_has_the_claim_of_the_file_itself() {
    for (lines, expected) in [
        ("LABEL io.buildpacks.rebasable=true", Claim::Rebasable),
        ("LABEL io.buildpacks.rebasable true", Claim::Rebasable),
        ("LABEL \"io.buildpacks.rebasable\"=\"T\"", Claim::Rebasable),
        ("ARG k=io.buildpacks.rebasable v=1\nLABEL $k=$v", Claim::Rebasable),
        ("LABEL io.buildpacks.rebasable=true\nLABEL io.buildpacks.rebasable=false", Claim::NotRebasable),
        ("LABEL io.buildpacks.rebasable=yes", Claim::NotRebasable),
        ("LABEL other=true", Claim::Unset),
        ("RUN x", Claim::Unset),
    ] {
        let file = permitted(&format!("FROM a\n{lines}"), Target::Run);
        assert_eq!(file.survey().claim, expected, "{lines}");
    }
}

#[test]
fn users_are_known_as_far_as_they_can_be() {
    for (lines, expected) in [
        ("RUN x", None),
        ("USER root\nARG user_id\nARG group_id\nUSER ${user_id}:${group_id}", Some("${user_id}:${group_id}")),
        ("ARG u=7\nUSER $u", Some("7")),
        ("USER $FROM_BASE", Some("$FROM_BASE")),
        ("USER ${x:?from the base}", Some("${x:?from the base}")),
    ] {
        let file = permitted(&format!("FROM a\n{lines}"), Target::Run);
        assert_eq!(file.survey().final_user(), expected, "{lines}");
    }
}

#[test]
fn root_is_known_by_its_text() {
    for root in ["", "0", "00", "root", "0:0", "root:users", ":5"] {
        assert!(is_root(root), "{root}");
    }
    for other in ["1", "cnb", "1000:0", "${user_id}", "rooty", "01"] {
        assert!(!is_root(other), "{other}");
    }
}
