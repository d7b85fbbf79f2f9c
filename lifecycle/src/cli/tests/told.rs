//! Tests of what becomes of inputs: images, stores, the user, times, experimental features.

use std::path::PathBuf;

use crate::api::PlatformApi;
use crate::cli::exit::Failure;
use crate::cli::experimental::{Feature, guard};
use crate::cli::inputs::{self, Phase};
use crate::cli::values::Inputs;
use crate::cli::{flags, images, phases, setup, stores};
use crate::files::run::Extensions;
use crate::log::{Level, Log};
use crate::phase::analyze::RunImageChoice;
use crate::reference::StoreKind;

struct Told {
    phase: Phase,
    api: PlatformApi,
    args: String,
    variables: Vec<(&'static str, String)>,
}

fn told(phase: Phase, args: &str) -> Told {
    Told { phase, api: PlatformApi::V0_15, args: args.to_owned(), variables: Vec::new() }
}

impl Told {
    fn at(mut self, api: PlatformApi) -> Self {
        self.api = api;
        self
    }

    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    #[track_caller]
    fn inputs(self) -> Inputs {
        let args: Vec<String> = self.args.split_whitespace().map(str::to_owned).collect();
        let parsed =
            flags::parse(&args, &inputs::flags(self.phase, self.api)).expect("the line is well-formed");
        let variables = self.variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Inputs::new(self.phase, self.api, parsed, variables, PathBuf::from("/here"))
    }
}

#[track_caller]
fn refused<T>(result: Result<T, Failure>, code: u8, text: &str) {
    let failure = result.err().expect("it is refused");
    assert_eq!(failure.exit.code(), code, "{}", failure.text());
    assert!(failure.text().contains(text), "{}", failure.text());
}

#[test]
fn app_image_has_one_registry_unless_a_daemon_keeps_it() {
    let names = |args, kind| images::destinations(&told(Phase::Creator, args).inputs(), kind);
    let found = names("-tag r.io/app:2 -tag r.io/app -tag= r.io/app", StoreKind::Registry).expect("valid");
    assert_eq!(
        found.iter().map(|name| name.written.as_str()).collect::<Vec<_>>(),
        ["r.io/app", "r.io/app:2"]
    );
    let several = "writing to multiple registries is unsupported";
    refused(names("-tag other.io/app r.io/app", StoreKind::Registry), 3, several);
    refused(names("-tag other.io/app r.io/app", StoreKind::Layout), 3, several);
    assert!(names("-tag other.io/app r.io/app", StoreKind::Daemon).is_ok());
    refused(names("r.io/APP", StoreKind::Registry), 3, "could not parse reference `r.io/APP`");
}

#[test]
fn previous_image_is_the_app_image_unless_named() {
    let name = |args| {
        let inputs = told(Phase::Analyzer, args).inputs();
        images::previous_image(&inputs, StoreKind::Registry).ok().map(|name| name.to_string())
    };
    assert_eq!(name("r.io/app").as_deref(), Some("r.io/app"));
    assert_eq!(name("-previous-image r.io/old r.io/app").as_deref(), Some("r.io/old"));
    assert_eq!(name("-previous-image r.io/: r.io/app"), None);
}

#[test]
fn run_image_is_named_or_listed_in_the_file_of_the_platform_api() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let (run, stack) = (dir.path().join("run.toml"), dir.path().join("stack.toml"));
    std::fs::write(&run, "[[images]]\nimage = 'r.io/run'\nmirrors = ['m.io/run']\n").expect("writable");
    std::fs::write(&stack, "[run-image]\nimage = 'r.io/stack'\n").expect("writable");
    let choice = |args: &str, api| {
        let inputs = told(Phase::Creator, args).at(api).with("CNB_RUN_PATH", &run.to_string_lossy());
        let inputs = inputs.with("CNB_STACK_PATH", &stack.to_string_lossy()).inputs();
        let app = images::destinations(&inputs, StoreKind::Registry).expect("valid").remove(0);
        images::run_image(&inputs, &app)
    };
    let listed = |api| match choice("r.io/app", api).expect("listed") {
        RunImageChoice::OneOf { images, registry } => (images.image, registry),
        RunImageChoice::Named(name) => panic!("{name}"),
    };
    assert_eq!(listed(PlatformApi::V0_12), ("r.io/run".to_owned(), "r.io".to_owned()));
    assert_eq!(listed(PlatformApi::V0_11), ("r.io/stack".to_owned(), "r.io".to_owned()));
    let named = choice("-run-image r.io/other r.io/app", PlatformApi::V0_12).ok();
    assert_eq!(named, Some(RunImageChoice::Named("r.io/other".to_owned())));
    std::fs::remove_file(&run).expect("there");
    refused(
        choice("r.io/app", PlatformApi::V0_12),
        3,
        "-run-image is required when there is no run metadata",
    );
    std::fs::write(&run, "images = 1").expect("writable");
    refused(choice("r.io/app", PlatformApi::V0_12), 3, "run.toml");
}

#[test]
fn label_names_the_entry_that_has_the_run_image() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let run = dir.path().join("run.toml");
    std::fs::write(&run, "[[images]]\nimage = 'r.io/one'\n[[images]]\nimage = 'r.io/two'\n")
        .expect("writable");
    let inputs = told(Phase::Exporter, "i").with("CNB_RUN_PATH", &run.to_string_lossy()).inputs();
    let names = |name, extensions| {
        let found = images::run_image_for_label(&inputs, name, extensions).expect("readable");
        found.map(|entry| entry.image)
    };
    assert_eq!(names("r.io/two", Extensions::None).as_deref(), Some("r.io/two"));
    assert_eq!(names("r.io/other", Extensions::None).as_deref(), Some("r.io/one"));
    assert_eq!(names("r.io/other", Extensions::TookPart).as_deref(), Some("r.io/other"));
}

#[test]
fn store_is_a_registry_unless_told_otherwise() {
    let kind = |args| stores::kind(&told(Phase::Exporter, args).inputs());
    assert_eq!(kind("i").ok(), Some(StoreKind::Registry));
    assert_eq!(kind("-layout i").ok(), Some(StoreKind::Layout));
    assert_eq!(kind("-daemon i").ok(), Some(StoreKind::Daemon));
    refused(kind("-daemon -layout i"), 3, "-daemon is not supported together with -layout");
}

#[test]
fn layouts_need_a_directory_and_the_platforms_consent() {
    let (log, _) = Log::buffer(Level::Info);
    let open = |args, mode| {
        let inputs = told(Phase::Exporter, args).with("CNB_EXPERIMENTAL_MODE", mode).inputs();
        stores::open(&inputs, StoreKind::Layout, &log).map(drop)
    };
    refused(open("-layout i", "silent"), 3, "-layout-dir is required with -layout");
    refused(open("-layout -layout-dir /l i", ""), 1, "disabled by CNB_EXPERIMENTAL_MODE=error");
    assert!(open("-layout -layout-dir /l i", "silent").is_ok());
    let wrong = told(Phase::Exporter, "-layout -layout-dir /l i").with("CNB_EXPERIMENTAL_MODE", "silent");
    let wrong = wrong.with("CNB_LAYER_COMPRESSION", "brotli").inputs();
    refused(stores::open(&wrong, StoreKind::Layout, &log).map(drop), 3, "`brotli`");
}

#[test]
fn experimental_features_are_off_unless_asked_for() {
    let check = |mode| {
        let (log, buffer) = Log::buffer(Level::Info);
        let inputs = told(Phase::Exporter, "i").with("CNB_EXPERIMENTAL_MODE", mode).inputs();
        (guard(&inputs, Feature::Layout, &log).is_ok(), buffer.text())
    };
    for (mode, expected) in
        [("", false), ("error", false), ("loud", false), ("silent", true), ("quiet", true)]
    {
        assert_eq!(check(mode), (expected, String::new()), "{mode}");
    }
    let warning = "Warning: Platform requested experimental feature 'export to OCI layout format'\n";
    assert_eq!(check("warn"), (true, warning.to_owned()));
}

#[test]
fn creation_time_is_the_platforms_where_it_is_one() {
    let created = |epoch, api| {
        let (log, buffer) = Log::buffer(Level::Info);
        let inputs = told(Phase::Exporter, "i").at(api).with("SOURCE_DATE_EPOCH", epoch).inputs();
        (setup::created(&inputs, &log), buffer.text())
    };
    let (constant, quiet) = ("1980-01-01T00:00:01Z".to_owned(), String::new());
    assert_eq!(created("", PlatformApi::V0_15), (constant.clone(), quiet.clone()));
    assert_eq!(created("0", PlatformApi::V0_9), ("1970-01-01T00:00:00Z".to_owned(), quiet.clone()));
    assert_eq!(created("0", PlatformApi::V0_8), (constant.clone(), quiet));
    for epoch in ["x", "999999999999", "1.5"] {
        let warning = "Warning: Ignoring invalid SOURCE_DATE_EPOCH\n".to_owned();
        assert_eq!(created(epoch, PlatformApi::V0_15), (constant.clone(), warning), "{epoch}");
    }
}

#[test]
fn execution_environment_counts_from_0_15_and_is_one_word() {
    let exec_env = |name, api| {
        let inputs = told(Phase::Exporter, "i").at(api).with("CNB_EXEC_ENV", name).inputs();
        setup::exec_env(&inputs).map(|exec_env| exec_env.to_string())
    };
    assert_eq!(exec_env("test", PlatformApi::V0_15).ok().as_deref(), Some("test"));
    assert_eq!(exec_env("", PlatformApi::V0_15).ok().as_deref(), Some("production"));
    assert_eq!(exec_env("test", PlatformApi::V0_14).ok().as_deref(), Some("production"));
    refused(exec_env("a/b", PlatformApi::V0_15), 3, "`a/b`");
}

#[test]
fn user_is_the_platforms_else_our_own() {
    let owner = |args| setup::owner(&told(Phase::Exporter, args).inputs());
    let own = crate::cli::privileges::current_user();
    assert_eq!(owner("i").ok(), Some(own));
    let found = owner("-uid 7 -gid 8 i").expect("valid");
    assert_eq!((found.uid, found.gid), (7, 8));
    refused(
        setup::owner(&told(Phase::Exporter, "i").with("CNB_USER_ID", "cnb").inputs()),
        3,
        "`cnb` of -uid",
    );
}

#[test]
fn exporter_takes_the_run_image_of_the_analyzer_only() {
    let check = |args, variable| {
        let inputs = told(Phase::Exporter, args).with("CNB_RUN_IMAGE", variable).inputs();
        phases::export::check_flags(&inputs)
    };
    assert!(check("i", "r.io/run").is_ok());
    assert!(check("-run-image r.io/run i", "r.io/run").is_ok());
    refused(check("-run-image r.io/other i", "r.io/run"), 3, "-run-image is not supported");
    refused(check("-image r.io/other i", ""), 3, "-image is not supported");
}

#[test]
fn inputs_without_effect_are_told() {
    let text = |args, kind| {
        let (log, buffer) = Log::buffer(Level::Info);
        setup::warn_of_unused(&told(Phase::Exporter, args).inputs(), kind, &log);
        buffer.text()
    };
    let ignored = "Warning: Ignoring -launch-cache, only intended for use with -daemon\n";
    assert_eq!(text("-launch-cache /c i", StoreKind::Registry), ignored);
    assert_eq!(text("-launch-cache /c i", StoreKind::Daemon), "");
    assert!(text("-parallel i", StoreKind::Registry).contains("no cache has been specified"));
    assert_eq!(text("-parallel -cache-dir /c i", StoreKind::Registry), "");
}
