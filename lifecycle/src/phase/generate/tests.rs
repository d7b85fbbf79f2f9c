//! Generating with shell-script extensions in a temporary place.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::output::CONFIG;
use super::*;
use crate::files::SpecFile;
use crate::files::analyzed::RunImage;
use crate::log::Level;
use crate::phase::detect::tests::golden;
use crate::phase::detect::tests::place::Place;
use crate::target::Target as ImageTarget;

/// Extensions in a place, and what the phases before made.
struct Given {
    place: Place,
    group: Vec<GroupElement>,
    plan: String,
    run: String,
    guard: AppDirGuard,
    policy: Option<Policy>,
    level: Level,
}

const EXTEND: &str = "ARG base_image\nFROM ${base_image}\nRUN true\n";

/// A script that writes files to the output directory: names and contents.
fn writes(files: &[(&str, &str)]) -> String {
    files.iter().fold(String::new(), |script, (name, text)| {
        format!("{script}mkdir -p \"$(dirname \"$CNB_OUTPUT_DIR/{name}\")\"\nprintf '%s' '{text}' > \"$CNB_OUTPUT_DIR/{name}\"\n")
    })
}

impl Given {
    fn new(api: &str) -> Self {
        let mut place = Place::new();
        place.api = api.parse().unwrap();
        let (plan, run) = (String::new(), "[[images]]\nimage = \"known\"\n".to_owned());
        Self {
            place,
            group: Vec::new(),
            plan,
            run,
            guard: AppDirGuard::Enforce,
            policy: None,
            level: Level::Info,
        }
    }

    fn extension(&mut self, id: &str, script: &str) {
        self.extension_at("0.12", id);
        self.place.write(
            &format!("extensions/{id}/1/bin/generate"),
            &format!("#!/bin/sh\nset -e\n{script}\n"),
            0o755,
        );
    }

    /// An extension that brings its output along.
    fn fixed(&mut self, id: &str, files: &[(&str, &str)]) {
        self.extension_at("0.12", id);
        for (name, text) in files {
            self.place.write(&format!("extensions/{id}/1/generate/{name}"), text, 0o644);
        }
    }

    fn extension_at(&mut self, api: &str, id: &str) {
        self.place.write(&format!("extensions/{id}/1/extension.toml"), &format!("api = '{api}'\n"), 0o644);
        let (id, version) = (id.parse().unwrap(), "1".parse().unwrap());
        self.group.push(GroupElement { id, version, api: api.into(), homepage: String::new() });
    }

    fn generate(&self) -> (Result<Generated, GenerateError>, String) {
        let run_image = RunImage {
            reference: "original@sha256:1".into(),
            image: "original".into(),
            extend: false,
            target: Some(ImageTarget::default()),
        };
        let analyzed = Analyzed { run_image: Some(run_image), ..Analyzed::default() };
        let (log, buffer) = Log::buffer(self.level);
        let result = self.place.with_surroundings(|surroundings, env| {
            let inputs = GenerateInputs {
                platform_api: self.place.api,
                extensions: &self.group,
                plan: &Plan::parse(&self.plan).unwrap(),
                analyzed: &analyzed,
                run: &Run::parse(&self.run).unwrap(),
                catalog: &self.place.catalog(),
                surroundings,
                env,
                generated_dir: &self.place.path("generated"),
                app_dir_guard: self.guard,
                policy: self.policy.as_ref(),
            };
            generate(&inputs, &log)
        });
        (result, buffer.text())
    }

    #[track_caller]
    fn generated(&self) -> Generated {
        let (result, log) = self.generate();
        result.unwrap_or_else(|error| panic!("{error:?}\n{log}"))
    }

    #[track_caller]
    fn fails(&self, text: &str) -> GenerateError {
        let error = self.generate().0.expect_err("an error");
        let causes = std::iter::successors(std::error::Error::source(&error), |error| error.source());
        let shown = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
        assert!(shown.contains(text), "{shown}");
        assert_eq!(self.files(), [""; 0], "nothing is left behind");
        error
    }

    /// The files below the generated directory.
    fn files(&self) -> Vec<String> {
        files(&self.place.path("generated"))
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.place.path("generated").join(name)).unwrap()
    }
}

fn files(dir: &Path) -> Vec<String> {
    let entries = walkdir::WalkDir::new(dir).sort_by_file_name().into_iter().map(Result::unwrap);
    let files = entries.filter(|entry| !entry.file_type().is_dir());
    files.map(|entry| entry.path().strip_prefix(dir).unwrap().display().to_string()).collect()
}

#[test]
fn extensions_receive_what_the_interface_promises() {
    let mut given = Given::new("0.13");
    given.plan = "[[entries]]\n[[entries.providers]]\nid='a'\nversion='1'\nextension=true\n[[entries.requires]]\nname='x'\n\
        [entries.requires.metadata]\nversion='2'\n[[entries]]\n[[entries.providers]]\nid='b'\nversion='1'\n[[entries.requires]]\nname='y'\n"
        .into();
    given.extension("a", "env > \"$CNB_OUTPUT_DIR/env\"; echo \"$1 $2 $3\" > \"$1/args\"; pwd > \"$1/pwd\"; cat \"$3\"; echo err >&2");
    let (result, log) = given.generate();
    assert_eq!(log, "[[entries]]\nname = \"x\"\n\n[entries.metadata]\nversion = \"2\"\nerr\n");
    let names: Vec<&str> =
        result.as_ref().unwrap().plan.entries.iter().map(|e| e.requires[0].name.as_str()).collect();
    assert_eq!(names, ["y"]);
    let env = given.text("a/env");
    for name in [
        "CNB_EXTENSION_DIR",
        "CNB_OUTPUT_DIR",
        "CNB_BP_PLAN_PATH",
        "CNB_PLATFORM_DIR",
        "CNB_TARGET_OS",
        "CNB_EXEC_ENV",
    ] {
        assert!(env.contains(&format!("{name}=")), "{name}");
    }
    for name in ["CNB_LAYERS_DIR", "CNB_BUILDPACK_DIR", "SECRET"] {
        assert!(!env.contains(name), "{name}");
    }
    let args: Vec<PathBuf> = given.text("a/args").split_whitespace().map(PathBuf::from).collect();
    assert!(
        args[0].ends_with("a") && args[1] == given.place.path("platform") && args[2].ends_with("plan.toml")
    );
    assert_eq!(Path::new(given.text("a/pwd").trim()), given.place.path("app").canonicalize().unwrap());
}

#[test]
fn output_lies_by_extension_from_its_platform_api_on() {
    let config = "[[build.args]]\nname = \"a\"\nvalue = \"1\"";
    let output =
        [("build.Dockerfile", EXTEND), ("run.Dockerfile", EXTEND), (CONFIG, config), ("context/f", "x")];
    let mut given = Given::new("0.13");
    given.extension("n/a", "");
    given.group.clear();
    given.extension("ran", &writes(&output));
    given.fixed("brought", &output);
    let generated = given.generated();
    let expected = ["build.Dockerfile", "context/f", CONFIG, "run.Dockerfile"];
    let all =
        ["brought", "ran"].iter().flat_map(|id| expected.iter().map(move |name| format!("{id}/{name}")));
    assert_eq!(given.files(), all.collect::<Vec<_>>());
    assert!(generated.analyzed.build_image.unwrap().extend);
    assert_eq!(generated.extend_plan.dockerfiles.len(), 4);
    given.place.api = "0.12".parse().unwrap();
    fs::remove_dir_all(given.place.path("generated")).unwrap();
    assert_eq!(given.generated().analyzed.build_image, None);
    let mut older = Vec::new();
    for (kind, id) in [("build", "brought"), ("build", "ran"), ("run", "brought"), ("run", "ran")] {
        older.extend([format!("{kind}/{id}/Dockerfile"), format!("{kind}/{id}/{CONFIG}")]);
    }
    assert_eq!(given.files(), older);
}

#[test]
fn extension_directory_is_never_touched() {
    let mut given = Given::new("0.13");
    given.fixed("first", &[("run.Dockerfile", EXTEND), ("context/deep/f", "x")]);
    given.fixed("second", &[("run.Dockerfile", "FROM other\n")]);
    symlink("../file", given.place.path("extensions/first/1/generate/context/link")).unwrap();
    let before = files(&given.place.path("extensions"));
    given.generated();
    assert_eq!(files(&given.place.path("extensions")), before);
    let expected = [
        "first/context/deep/f",
        "first/context/link",
        "first/run.Dockerfile.ignore",
        "second/run.Dockerfile",
    ];
    assert_eq!(given.files(), expected);
    assert_eq!(
        fs::read_link(given.place.path("generated/first/context/link")).unwrap(),
        Path::new("../file")
    );
}

#[test]
fn linked_dockerfiles_become_files() {
    let mut given = Given::new("0.13");
    given.extension("ran", "printf '%s' \"$DF\" > \"$CNB_OUTPUT_DIR/real\"; ln -s \"$CNB_OUTPUT_DIR/real\" \"$CNB_OUTPUT_DIR/run.Dockerfile\"");
    given.place.write("platform/env/DF", EXTEND, 0o644);
    given.fixed("brought", &[]);
    given.place.write("extensions/brought/1/shared", EXTEND, 0o644);
    fs::create_dir_all(given.place.path("extensions/brought/1/generate")).unwrap();
    symlink("../shared", given.place.path("extensions/brought/1/generate/build.Dockerfile")).unwrap();
    given.generated();
    for name in ["ran/run.Dockerfile", "brought/build.Dockerfile"] {
        let path = given.place.path("generated").join(name);
        assert!(path.symlink_metadata().unwrap().is_file(), "{name}");
        assert_eq!(given.text(name), EXTEND);
    }
}

#[test]
fn switching_replaces_the_run_image() {
    let mut given = Given::new("0.12");
    given.fixed("a", &[("run.Dockerfile", EXTEND)]);
    given.fixed("b", &[("run.Dockerfile", "FROM other")]);
    let (result, log) = given.generate();
    let expected = RunImage { image: "other".into(), ..RunImage::default() };
    assert_eq!(result.unwrap().analyzed.run_image, Some(expected.clone()));
    assert_eq!(log, "Warning: new runtime base image 'other' not found in run metadata\n");
    assert_eq!(given.files(), ["run/a/Dockerfile.ignore", "run/b/Dockerfile"]);
    given.fixed("c", &[("run.Dockerfile", EXTEND)]);
    given.run = "[[images]]\nimage = 'x'\nmirrors = ['other']".into();
    let (result, log) = given.generate();
    assert_eq!(result.unwrap().analyzed.run_image, Some(RunImage { extend: true, ..expected }));
    assert_eq!(log, "");
    given.place.api = "0.11".parse().unwrap();
    let run_image = given.generated().analyzed.run_image.unwrap();
    assert_eq!((run_image.reference.as_str(), run_image.image.as_str()), ("other", "other"));
}

#[test]
fn switching_to_the_same_image_changes_nothing() {
    let mut given = Given::new("0.13");
    given.fixed("a", &[("run.Dockerfile", "FROM original")]);
    let run_image = given.generated().analyzed.run_image.unwrap();
    assert_eq!((run_image.reference.as_str(), run_image.extend), ("original@sha256:1", false));
    given.fixed("b", &[("run.Dockerfile", EXTEND)]);
    let run_image = given.generated().analyzed.run_image.unwrap();
    assert_eq!((run_image.reference.as_str(), run_image.extend), ("original@sha256:1", true));
}

#[test]
fn arguments_of_the_extension_count_in_from() {
    let mut given = Given::new("0.13");
    let config = "[[run.args]]\nname = 'tag'\nvalue = 'jammy'\n";
    given.fixed("a", &[("run.Dockerfile", "ARG tag\nFROM base-$TARGETARCH:${tag}"), (CONFIG, config)]);
    assert_eq!(given.generated().analyzed.run_image.unwrap().image, "base-amd64:jammy");
}

#[test]
fn failing_extensions_are_told_from_invalid_output() {
    let mut given = Given::new("0.13");
    given.fixed("fine", &[("run.Dockerfile", EXTEND)]);
    given.extension("a", "exit 3");
    assert!(given.fails("run `bin/generate` of extension a@1: exit status 3").is_extension_failure());
    given.place.write("extensions/a/1/bin/generate", "#!/no/shell\n", 0o755);
    assert!(given.fails("needs `/no/shell`").is_extension_failure());
    given.group.pop();
    given.extension_at("0.6", "old");
    assert!(given.fails("'0.6' is incompatible").is_api_mismatch());
}

#[track_caller]
fn refuses(files: &[(&str, &str)], text: &str) {
    let mut given = Given::new("0.13");
    given.fixed("a", files);
    assert!(!given.fails(text).is_extension_failure());
}

#[test]
fn invalid_output_is_refused() {
    refuses(
        &[("build.Dockerfile", "FROM x\nRUN true")],
        "build.Dockerfile did not start with required ARG command",
    );
    refuses(&[("run.Dockerfile", "FROM a\nFROM b")], "parse run.Dockerfile for extension a@1");
    refuses(&[("run.Dockerfile", "RUN x")], "parse run.Dockerfile for extension a@1");
    refuses(
        &[(CONFIG, "[[run.args]]\nname = 'user_id'\nvalue = '1'")],
        "arg with name \"user_id\" is not allowed",
    );
    refuses(&[(CONFIG, "[[")], "extension a@1: extend-config.toml: toml: line 1");
    refuses(&[("context/f", ""), ("context.run/f", "")], "together with a shared context");
    refuses(&[("run.Dockerfile/f", "")], "not a regular file");
}

#[test]
fn oldest_extensions_may_only_switch() {
    let mut given = Given::new("0.13");
    given.extension_at("0.9", "old");
    given.place.write("extensions/old/1/generate/run.Dockerfile", "FROM other\nRUN true", 0o644);
    given.fails("run.Dockerfile is not permitted to have instructions other than FROM");
    given.place.write("extensions/old/1/generate/run.Dockerfile", "FROM other", 0o644);
    given.generated();
}

#[test]
fn what_is_advised_against_is_warned_of() {
    let mut given = Given::new("0.11");
    given.fixed("a", &[("run.Dockerfile", &format!("{EXTEND}EXPOSE 80\n"))]);
    let (_, log) = given.generate();
    let first = "Warning: extension a@1: run.Dockerfile command EXPOSE on line 4 is not recommended\n";
    assert!(
        log.starts_with(first) && log.contains("Platform API 0.11 does not extend the run image"),
        "{log}"
    );
}

#[test]
fn application_directory_is_watched() {
    let mut given = Given::new("0.13");
    given.extension("good", "cat file");
    given.place.write("app/file", "x", 0o644);
    given.generated();
    fs::remove_dir_all(given.place.path("generated")).unwrap();
    given.extension("bad", "echo y > file; mkdir dir");
    let error = given
        .fails("extension bad@1 changed the application directory, which extensions must not: `dir`, `file`");
    assert!(!error.is_extension_failure());
    fs::remove_dir(given.place.path("app/dir")).unwrap();
    given.guard = AppDirGuard::Warn;
    let (result, log) = given.generate();
    assert!(result.is_ok() && log.contains("Warning: extension bad@1 changed"), "{log}");
    fs::remove_dir(given.place.path("app/dir")).unwrap();
    given.guard = AppDirGuard::Off;
    let (result, log) = given.generate();
    assert!(result.is_ok() && !log.contains("changed"), "{log}");
}

#[test]
fn what_the_policy_refuses_is_not_published() {
    let mut given = Given::new("0.13");
    given.fixed("a", &[("run.Dockerfile", &format!("{EXTEND}USER root\n")), ("build.Dockerfile", EXTEND)]);
    given.policy = Some(Policy::parse("deny = ['run', 'root']").unwrap());
    let error = given.fails(
        "build.Dockerfile of extension `a` on line 3: `RUN true` is denied by `run`; run.Dockerfile of extension \
         `a` on line 3: `RUN true` is denied by `run`; run.Dockerfile of extension `a` on line 4",
    );
    assert!(!error.is_extension_failure());
    given.policy = Some(Policy::parse("deny = ['add-url']\nallow-from = []").unwrap());
    given.generated();
}

#[test]
fn the_plan_names_the_context_that_a_dockerfile_takes_from() {
    let copy = format!("{EXTEND}COPY . /\n");
    let digests = |given: &Given| -> Vec<Option<String>> {
        given.generated().extend_plan.dockerfiles.into_iter().map(|file| file.context).collect()
    };
    let mut given = Given::new("0.13");
    given.place.write("app/file", "x", 0o644);
    given.fixed("a", &[("run.Dockerfile", &copy), ("build.Dockerfile", EXTEND), ("context.build/file", "y")]);
    given.fixed("b", &[("run.Dockerfile", &copy), ("build.Dockerfile", &copy), ("context.build/file", "x")]);
    let before = digests(&given);
    assert!(before[0].is_none(), "nothing is taken from it");
    assert!(before[1].as_ref().is_some_and(|digest| digest.starts_with("sha256:")));
    assert_eq!((&before[1], &before[1]), (&before[2], &before[3]), "the same file in all of them");
    given.place.write("app/file", "y", 0o644);
    let after = digests(&given);
    assert_ne!(before[1], after[1]);
    assert_eq!((&before[2], &after[1]), (&after[2], &after[3]));
}

#[test]
fn what_an_earlier_build_left_is_replaced() {
    let mut given = Given::new("0.13");
    given.fixed("a", &[("run.Dockerfile", EXTEND)]);
    given.place.write("generated/a/build.Dockerfile", "old", 0o644);
    given.place.write("generated/other/build.Dockerfile", "other", 0o644);
    given.generated();
    assert_eq!(given.files(), ["a/run.Dockerfile", "other/build.Dockerfile"]);
}

#[test]
fn output_is_the_reference_implementations() {
    for api in ["0.12", "0.13", "0.15"] {
        let expected = format!("expected-ext/{}", if api == "0.15" { "0.13" } else { api });
        let mut given = Given::new(api);
        given.place.copy(&golden::golden("inputs-ext/buildpacks"), "buildpacks");
        given.place.copy(&golden::golden("inputs-ext/extensions"), "extensions");
        given.place.copy(&golden::golden("inputs-ext/app"), "app");
        let (detected, _) = given.place.detect_toml(&golden::text("inputs-ext/order.toml"));
        let detected = detected.unwrap();
        given.group = detected.group.group_extensions;
        given.plan = detected.plan.to_toml();
        let (result, log) = given.generate();
        let generated = result.unwrap();
        assert_eq!(generated.plan, Plan::parse(&golden::text(&format!("{expected}/plan.toml"))).unwrap());
        let analyzed = Analyzed::parse(&golden::text(&format!("{expected}/analyzed.toml"))).unwrap();
        assert_eq!(generated.analyzed.run_image.unwrap().extend, analyzed.run_image.unwrap().extend);
        // Blank lines and indentation of TOML are not the same.
        let plain = |text: String| text.replace("  ", "").replace("plan: \n", "").replace("plan:\n", "");
        assert!(plain(golden::text(&format!("{expected}/log.txt"))).contains(&plain(log)));
        let golden_dir = golden::golden(&format!("{expected}/generated"));
        let mut names = files(&golden_dir);
        for name in &names {
            assert_eq!(given.text(name), fs::read_to_string(golden_dir.join(name)).unwrap(), "{name}");
        }
        // TR-12: what the static extension brings along is copied at every version.
        if api != "0.12" {
            names.insert(0, "golden_static/run.Dockerfile".into());
        }
        assert_eq!(given.files(), names);
    }
}
