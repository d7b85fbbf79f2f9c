//! Tests of how a phase begins.

use super::*;

mod told;

fn start(phase: Phase, args: &str, variables: &[(&str, &str)]) -> Result<Begun, Failure> {
    let args: Vec<String> = args.split(' ').filter(|arg| !arg.is_empty()).map(str::to_owned).collect();
    begin(phase, &args, variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
}

#[track_caller]
fn refused(args: &str, api: &str, exit: Exit, text: &str) {
    let failure = start(Phase::Detector, args, &[("CNB_PLATFORM_API", api)]).expect_err("it is refused");
    assert_eq!(failure.exit, exit, "{args}");
    assert!(failure.text().contains(text), "{}", failure.text());
}

#[test]
fn platform_api_is_judged_before_the_flags() {
    refused("-no-such-flag", "0.99", Exit::PlatformApi, "platform API version '0.99' is incompatible");
    refused("-no-such-flag", "", Exit::PlatformApi, "please set 'CNB_PLATFORM_API'");
    refused("-no-such-flag", "  ", Exit::PlatformApi, "please set 'CNB_PLATFORM_API'");
    refused("-no-such-flag", "0.x", Exit::PlatformApi, "not of the form `major.minor`");
    refused("-no-such-flag", "0.15", Exit::Usage, "flag provided but not defined: -no-such-flag");
}

#[test]
fn flags_begin_and_end_with_platform_apis() {
    refused("-system /s", "0.14", Exit::Usage, "-system");
    assert!(start(Phase::Detector, "-system /s", &[("CNB_PLATFORM_API", "0.15")]).is_ok());
    for (phase, args, first, last) in [
        (Phase::Analyzer, "-skip-layers", "0.9", "0.15"),
        (Phase::Analyzer, "-stack /s", "0.7", "0.11"),
        (Phase::Analyzer, "-run /r", "0.12", "0.15"),
        (Phase::Detector, "-analyzed /a", "0.10", "0.15"),
        (Phase::Detector, "-build-config /b", "0.11", "0.15"),
        (Phase::Restorer, "-daemon", "0.12", "0.15"),
        (Phase::Restorer, "-run /r", "0.14", "0.15"),
        (Phase::Builder, "-analyzed /a", "0.12", "0.15"),
        (Phase::Exporter, "-launcher-sbom /s", "0.11", "0.15"),
        (Phase::Exporter, "-parallel", "0.7", "0.15"),
        (Phase::Creator, "-insecure-registry r", "0.13", "0.15"),
        (Phase::Rebaser, "-force", "0.12", "0.15"),
        (Phase::Rebaser, "-previous-image i", "0.11", "0.15"),
        (Phase::Extender, "-kind run", "0.12", "0.15"),
    ] {
        for api in PlatformApi::ALL {
            let known = start(phase, args, &[("CNB_PLATFORM_API", api.as_str())]).is_ok();
            assert_eq!(known, api.is_within(first, last), "{} {args} at {api}", phase.name());
        }
    }
}

#[test]
fn every_range_in_the_table_names_supported_versions() {
    for input in inputs::TABLE {
        for known in input.known {
            let has_flag = PlatformApi::ALL.iter().any(|api| input.has_flag(known.phase, *api));
            assert!(has_flag || input.has_variable(known.phase), "{} {:?}", input.name(), known.phase);
        }
    }
}

#[test]
fn version_and_help_need_no_platform_api() {
    let text = |args| match start(Phase::Detector, args, &[]) {
        Ok(Begun::Text(text)) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(text("-version"), format!("{VERSION}\n"));
    assert!(text("-help").contains("Usage: detector [flags]"));
    assert!(text("-app /a -h").contains("-buildpacks"));
    assert!(start(Phase::Detector, "-version=false", &[]).is_err());
}

#[test]
fn version_is_fit_for_a_tag_and_none_of_the_reference_implementation() {
    assert!(!VERSION.contains('+') && !VERSION.starts_with("0."));
}

#[test]
fn log_level_must_exist() {
    let open = |level: &str| match start(
        Phase::Detector,
        &format!("-log-level={level}"),
        &[("CNB_PLATFORM_API", "0.15")],
    ) {
        Ok(Begun::Inputs(inputs)) => open_log(&inputs),
        other => panic!("{other:?}"),
    };
    for level in ["", "debug", "INFO", "warn", "warning", "error", "fatal"] {
        assert!(open(level).is_ok(), "{level}");
    }
    let failure = open("loud").expect_err("there is no such level");
    assert_eq!(
        (failure.exit.code(), failure.text().lines().next()),
        (1, Some("failed to parse log level: invalid level"))
    );
}
