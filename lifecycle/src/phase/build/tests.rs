//! Builds with scripts as buildpacks, and the golden build.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tempfile::TempDir;

use super::*;
use crate::env::EnvDir;
use crate::exec_env::ExecEnv;
use crate::files::SpecFile;
use crate::log::Level;
use crate::target::{Distro, Target};

/// The Platform APIs of the golden builds.
const GOLDEN: [PlatformApi; 6] = [
    PlatformApi::V0_7,
    PlatformApi::V0_9,
    PlatformApi::V0_10,
    PlatformApi::V0_12,
    PlatformApi::V0_13,
    PlatformApi::V0_15,
];

/// Buildpacks that print what they are told, and a group of them.
struct Build {
    root: TempDir,
    api: PlatformApi,
    group: String,
    plan: String,
    user: EnvDir,
    operator: EnvDir,
}

impl Build {
    fn new() -> Self {
        let build = Self {
            root: tempfile::tempdir().expect("a directory"),
            api: *PlatformApi::ALL.last().expect("a version"),
            group: String::new(),
            plan: String::new(),
            user: EnvDir::default(),
            operator: EnvDir::default(),
        };
        for dir in ["app", "layers", "platform"] {
            fs::create_dir(build.path(dir)).expect("made");
        }
        build
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Adds a buildpack with this descriptor and the body of its `bin/build`.
    fn buildpack(mut self, id: &str, descriptor: &str, script: &str) -> Self {
        let dir = self.path("buildpacks").join(id.replace('/', "_")).join("1");
        fs::create_dir_all(dir.join("bin")).expect("made");
        fs::write(dir.join("buildpack.toml"), descriptor).expect("written");
        let text = format!("#!/bin/sh\nset -e\n{script}\n");
        // Written by a child: see `component::process`, a file just written may still be busy.
        let write = "printf %s \"$1\" > \"$0\" && chmod 755 \"$0\"";
        let status =
            Command::new("/bin/sh").args(["-c", write]).arg(dir.join("bin/build")).arg(text).status();
        assert!(status.expect("a shell runs").success());
        self.group.extend(["[[group]]\nid = '", id, "'\nversion = '1'\n"]);
        self
    }

    fn run(&self) -> (Result<BuildMetadata, BuildError>, String) {
        let (log, buffer) = Log::buffer(Level::Info);
        let catalog = Catalog::new(&self.path("buildpacks"), &self.path("extensions")).expect("absolute");
        let distro = Some(Distro { name: "ubuntu".into(), version: "24.04".into() });
        let target = Target { os: "linux".into(), arch: "amd64".into(), distro, ..Target::default() };
        let env =
            Env::for_build([("PATH", "/usr/bin:/bin"), ("SECRET", "x")].map(|(n, v)| (n.into(), v.into())));
        let inputs = BuildInputs {
            platform_api: self.api,
            catalog: &catalog,
            group: &Group::parse(&self.group).expect("a group"),
            plan: &Plan::parse(&self.plan).expect("a plan"),
            layers_dir: &self.path("layers"),
            around: Surroundings {
                app_dir: &self.path("app"),
                platform_dir: &self.path("platform"),
                user: &self.user,
                operator: &self.operator,
                target: &target,
                exec_env: &ExecEnv::default(),
            },
            env: &env,
        };
        let result = build(&inputs, &log);
        (result, buffer.text())
    }

    /// Runs and expects success with this output.
    #[track_caller]
    fn check(&self, output: &str) -> BuildMetadata {
        let (result, text) = self.run();
        let root = self.root.path().display().to_string();
        assert_eq!(text.replace(&root, ""), output);
        result.expect("the build succeeds")
    }

    /// Runs and expects a failure; returns its messages.
    #[track_caller]
    fn fails(&self) -> String {
        let error = self.run().0.expect_err("the build fails");
        crate::log::chain(&error)
    }

    fn exists(&self, name: &str) -> bool {
        self.path("layers").join(name).exists()
    }
}

#[test]
fn buildpacks_run_in_order_and_get_what_is_theirs() {
    let show =
        "echo $0 $1 $2; cat $3; pwd; echo $CNB_LAYERS_DIR $CNB_TARGET_OS-$CNB_TARGET_DISTRO_VERSION $SECRET";
    let plan =
        "[[entries]]\n[[entries.providers]]\nid = 'b'\nversion = '1'\n[[entries.requires]]\nname = 'x'\n";
    let build = Build { plan: plan.to_owned(), ..Build::new() };
    let build = build.buildpack("a/a", "api = '0.10'", show).buildpack("b", "api = '0.7'", show);
    let metadata = build.check(
        "/buildpacks/a_a/1/bin/build /layers/a_a /platform\n/app\n/layers/a_a linux-24.04\n\
         /buildpacks/b/1/bin/build /layers/b /platform\n[[entries]]\nname = \"x\"\n/app\n-\n",
    );
    let apis: Vec<_> = metadata.buildpacks.iter().map(|buildpack| buildpack.api.as_str()).collect();
    assert_eq!(apis, ["0.10", "0.7"]);
    let mode = fs::metadata(build.path("layers/a_a")).expect("made").permissions().mode();
    assert_eq!(mode & 0o7777, 0o755);
}

#[test]
fn extensions_of_the_group_stand_in_the_metadata() {
    let mut build = Build::new().buildpack("a", "api = '0.10'", "");
    build.group += "[[group-extensions]]\nid = 'e'\nversion = '2'\napi = '0.10'\n";
    let metadata = build.check("");
    let names = |elements: &[GroupElement]| elements.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(names(&metadata.buildpacks), ["a@1"]);
    assert_eq!(names(&metadata.extensions), ["e@2"]);
}

#[test]
fn build_layers_reach_later_buildpacks() {
    let first = "cd $1; mkdir -p l/bin l/env l/env.build l/env.launch x-y/bin x/bin; \
                 printf 1 > l/env/E; printf 2 > l/env.build/B; printf 3 > l/env.launch/L; printf op > l/env/OP; \
                 printf no > l/env/USER_VAR; printf '[types]\nbuild = true\n' | tee l.toml x.toml > x-y.toml; \
                 mkdir -p launch-only/bin; printf '[types]\nlaunch = true\n' > launch-only.toml";
    let second = "echo $E-$B-$L-$USER_VAR-$OP $PATH";
    let build = Build {
        user: [("USER_VAR", "user"), ("PATH", "/user")].into_iter().collect(),
        operator: [("OP.append", "+"), ("NEW", "x")].into_iter().collect(),
        ..Build::new()
    };
    build
        .buildpack("a", "api = '0.8'", first)
        .buildpack("b", "api = '0.8'", second)
        .buildpack("c", "api = '0.8'\n[buildpack]\nclear-env = true", second)
        .check(
            "1-2--user-op+ /user:/layers/a/x/bin:/layers/a/x-y/bin:/layers/a/l/bin:/usr/bin:/bin\n\
             1-2--no-op+ /layers/a/x/bin:/layers/a/x-y/bin:/layers/a/l/bin:/usr/bin:/bin\n",
        );
}

#[test]
fn ignored_layers_are_put_aside_from_later_buildpacks() {
    let script = "cd $1; mkdir -p i/bin i.ignore/old kept launch build store; touch i.toml launch.toml build.toml store.toml; \
                  printf '[types]\ncache = true\n' > kept.toml";
    let build =
        Build::new().buildpack("a", "api = '0.10'", script).buildpack("b", "api = '0.10'", "ls ../layers/a");
    build.check(
        "build\nbuild.toml\ni.ignore\ni.toml\nkept\nkept.toml\nlaunch\nlaunch.toml\nstore\nstore.toml\n",
    );
    assert!(build.exists("a/i.ignore/bin") && !build.exists("a/i.ignore/old"));
}

#[test]
fn unmet_requirements_go_to_the_next_provider() {
    let entry = |name: &str, providers: &[&str]| {
        let provider = |id: &&str| format!("[[entries.providers]]\nid = '{id}'\nversion = '1'\n");
        let providers: Vec<String> = providers.iter().map(provider).collect();
        format!("[[entries]]\n{}[[entries.requires]]\nname = '{name}'\n", providers.concat())
    };
    let plan = entry("x", &["a", "b"]) + &entry("y", &["a", "b", "c"]) + &entry("z", &["c"]);
    let unmet = "grep name $3; printf '[[unmet]]\nname = \"y\"\n' > $1/build.toml";
    Build { plan, ..Build::new() }
        .buildpack("a", "api = '0.10'", unmet)
        .buildpack("b", "api = '0.10'", unmet)
        .buildpack("c", "api = '0.10'", "grep name $3")
        .check("name = \"x\"\nname = \"y\"\nname = \"y\"\nname = \"y\"\nname = \"z\"\n");
    let bogus =
        Build::new().buildpack("a", "api = '0.10'", "printf '[[unmet]]\nname = \"q\"\n' > $1/build.toml");
    assert!(bogus.fails().contains("unmet.name 'q' must match a requested dependency"));
}

#[test]
fn a_failing_buildpack_ends_the_build() {
    for (script, message) in
        [("exit 3", "failed: exit status 3"), ("kill -TERM $$", "failed: killed by SIGTERM")]
    {
        let build =
            Build::new().buildpack("a", "api = '0.10'", script).buildpack("b", "api = '0.10'", "echo no");
        let (result, text) = build.run();
        let error = result.expect_err("fails");
        assert!(error.is_failed_buildpack() && !error.is_buildpack_api());
        assert_eq!(
            (error.to_string(), text.as_str()),
            (format!("bin/build of buildpack 'a@1' {message}"), "")
        );
    }
    let build = Build::new().buildpack("a", "api = '0.10'", "");
    fs::remove_file(build.path("buildpacks/a/1/bin/build")).expect("removed");
    assert!(build.run().0.expect_err("fails").is_failed_buildpack());
}

#[test]
fn buildpacks_are_all_looked_up_before_one_runs() {
    let build =
        Build::new().buildpack("a", "api = '0.10'", "echo no").buildpack("b", "api = '0.99'", "echo no");
    let (result, text) = build.run();
    assert!(result.expect_err("fails").is_buildpack_api() && text.is_empty(), "{text}");
    let mut build = Build::new().buildpack("a", "api = '0.10'", "echo no");
    build.group += "[[group]]\nid = 'missing'\nversion = '1'\n";
    let (result, text) = build.run();
    assert!(result.expect_err("fails").to_string().contains("missing@1") && text.is_empty(), "{text}");
}

#[test]
fn output_that_is_wrong_is_named() {
    let cases = [
        ("printf 'x' > $1/launch.toml", "failed to read launch file: toml: line 1"),
        (
            "printf '[[processes]]\ntype = \"a b\"\n' > $1/launch.toml",
            "launch.toml: `a b` is not a process type",
        ),
        ("mkfifo $1/launch.toml", "launch.toml` is not a file"),
        ("mkdir $1/build.toml", "build.toml` is not a file"),
        ("printf 'launch = true' > $1/l.toml", "[a:l]"),
        (
            "printf '{}' > $1/launch.sbom.cdx.json",
            "undeclared SBOM media type: 'application/vnd.cyclonedx+json'",
        ),
        ("mkdir -p $1/l/env; ln -s none $1/l/env/X; printf '[types]\nbuild = true' > $1/l.toml", "l/env/X"),
    ];
    for (script, message) in cases {
        let text = Build::new().buildpack("a", "api = '0.10'", script).fails();
        assert!(
            text.starts_with("read what buildpack 'a@1' contributes: ") && text.contains(message),
            "{text}"
        );
    }
}

#[test]
fn working_dir_is_ignored_with_a_warning_at_0_7() {
    let script =
        "printf '[[processes]]\ntype = \"w\"\ncommand = \"x\"\nworking-dir = \"/w\"\n' > $1/launch.toml";
    let metadata =
        Build::new().buildpack("a", "api = '0.7'", script).buildpack("b", "api = '0.8'", "").check(
            "Warning: process working directory isn't supported in this buildpack api version. \
         Ignoring working directory for process 'w'\n",
        );
    assert_eq!(metadata.processes[0].working_dir, None);
    let metadata = Build::new().buildpack("a", "api = '0.8'", script).check("");
    assert_eq!(metadata.processes[0].working_dir.as_deref(), Some("/w"));
}

#[test]
fn a_type_that_a_buildpack_defines_twice_is_warned_of() {
    let process = "[[processes]]\ntype = \"w\"\ncommand = [\"%s\"]\n";
    let script = format!("printf '{process}{process}' 1 2 > $1/launch.toml");
    let (result, text) = Build::new().buildpack("a", "api = '0.9'", &script).run();
    assert_eq!(result.expect("succeeds").processes[0].command, ["2"]);
    assert!(text.contains("'a@1' defines process type 'w' more than once"), "{text}");
}

/// The deprecated bill of materials by Platform API: inline, then in files.
#[test]
fn legacy_bom_is_inline_before_0_9_and_in_files_from_then_on() {
    let script = "printf '[[bom]]\nname = \"l\"\n' > $1/launch.toml; printf '[[bom]]\nname = \"b\"\n[bom.metadata]\nv = 1\n' > $1/build.toml";
    for api in PlatformApi::ALL {
        let build = Build { api: *api, ..Build::new() }.buildpack("a", "api = '0.7'", script);
        let (result, text) = build.run();
        let metadata = result.expect("succeeds");
        assert!(text.contains("BOM table is deprecated"), "{text}");
        assert_eq!(metadata.bom.len(), 1);
        write_metadata(&metadata, &build.path("layers"), *api).expect("written");
        let written = fs::read_to_string(build.path("layers/config/metadata.toml")).expect("there");
        assert_eq!(written.contains("[[bom]]"), api.has_inline_bom());
        assert_eq!(build.exists("sbom/launch/sbom.legacy.json"), !api.has_inline_bom());
        if !api.has_inline_bom() {
            let json = fs::read_to_string(build.path("layers/sbom/build/sbom.legacy.json")).expect("there");
            assert_eq!(
                json,
                "[{\"name\":\"b\",\"metadata\":{\"v\":1},\"buildpack\":{\"id\":\"a\",\"version\":\"1\"}}]\n"
            );
        }
    }
}

#[test]
fn sbom_files_are_kept_from_platform_0_8_on_and_old_ones_removed() {
    let descriptor = "api = '0.8'\n[buildpack]\nsbom-formats = ['application/spdx+json']";
    let script = "printf '{}' > $1/launch.sbom.spdx.json";
    for api in PlatformApi::ALL {
        let build = Build { api: *api, ..Build::new() }.buildpack("a", descriptor, script);
        fs::create_dir_all(build.path("layers/sbom/launch/old")).expect("made");
        build.check("");
        assert_eq!(build.exists("sbom/launch/a/sbom.spdx.json"), api.has_sbom());
        assert!(!build.exists("sbom/launch/old"));
    }
}

/// Runs the golden build's `bin/build`s and expects what the reference implementation left.
#[test]
fn golden_build_leaves_the_same_files() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden/builds");
    for api in GOLDEN {
        let expected = golden.join("expected").join(api.as_str());
        let text =
            |name: &str| fs::read_to_string(expected.join("1-2-detector").join(name)).expect("a golden file");
        let build = Build { api, group: text("group.toml"), plan: text("plan.toml"), ..Build::new() };
        std::os::unix::fs::symlink(golden.join("inputs/buildpacks"), build.path("buildpacks"))
            .expect("linked");
        let metadata = build.check("");
        write_metadata(&metadata, &build.path("layers"), api).expect("written");
        let expected = expected.join("1-4-builder/layers");
        for entry in
            walkdir::WalkDir::new(&expected).into_iter().flatten().filter(|entry| entry.path().is_file())
        {
            let name = entry.path().strip_prefix(&expected).expect("below");
            let [found, wanted] = [&build.path("layers").join(name), entry.path()].map(fs::read_to_string);
            assert_eq!(found.expect("written"), wanted.expect("a golden file"), "{api} {}", name.display());
        }
        assert!(build.exists("golden_deps/scratch.ignore") && !build.exists("golden_deps/scratch"));
    }
}

#[test]
fn streams_stay_apart_and_a_flood_passes_through() {
    let script = "head -c 3000000 /dev/zero | tr '\\0' x; echo err >&2";
    let (result, text) = Build::new().buildpack("a", "api = '0.10'", script).run();
    result.expect("succeeds");
    assert_eq!((text.len(), text.matches("err\n").count()), (3_000_004, 1));
}
