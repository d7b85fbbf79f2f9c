//! Whether an app image may be rebased after image extensions: its label, and how the rebaser ends, for
//! each row of the table in `spec-notes/decisions.md`, "Rebasable"; and what the rebaser says of files that
//! extensions hide.

use std::sync::{Mutex, PoisonError};

use acceptance::docker::{Container, base_image, docker};
use acceptance::places::{Place, Stored, World, skopeo};
use acceptance::run_image::RunImage;
use acceptance::sandbox::{Outcome, Sandbox};
use acceptance::servers::registry::Registry;

/// The tests' images are the same ones under other names: an engine may lose one that is pulled while its last
/// other name is removed.
static ENGINE: Mutex<()> = Mutex::new(());

const REBASABLE: &str = "io.buildpacks.rebasable";
const FOOTPRINTS: &str = "lifecycle.extension.footprints";
const STATUS: &str = "var/lib/dpkg/status";

/// A run.Dockerfile on the run image: what it does, and what it says of itself.
fn on_base(instructions: &str, claim: &str) -> String {
    let claim = if claim.is_empty() { String::new() } else { format!("LABEL {REBASABLE}={claim}\n") };
    format!("ARG base_image\nFROM ${{base_image}}\n{instructions}\n{claim}")
}

/// A base image that has packages: `foo` in that version.
fn run_image(version: u32, label: Option<&str>) -> RunImage {
    let mut image = RunImage::version(version);
    image.files.push((STATUS.to_owned(), format!("Package: foo\nVersion: 1.{version}\n").into_bytes()));
    match label {
        Some(value) => image.label(REBASABLE, value),
        None => image,
    }
}

/// An application with one buildpack, and extensions.
struct Case {
    sandbox: Sandbox,
    registry: Registry,
}

impl Case {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        sandbox.write("cnb/buildpacks/b/1/buildpack.toml", "api = '0.12'\n");
        for phase in ["detect", "build"] {
            sandbox.script(&format!("cnb/buildpacks/b/1/bin/{phase}"), "#!/bin/sh\n");
        }
        sandbox.write("workspace/file", "application");
        sandbox.write("kaniko/cache/.keep", "");
        Self { sandbox, registry: Registry::plain() }
    }

    fn world(&self) -> World<'_> {
        World::bare(&self.sandbox, Place::Registry(self.registry.host.clone()))
    }

    /// Publishes an image that is not the run image of `run.toml`.
    fn publish(&self, image: &RunImage, name: &str) -> String {
        let directory = self.sandbox.path("other-image");
        let _ = std::fs::remove_dir_all(&directory);
        image.write(&directory);
        let name = format!("{}/demo/{name}", self.registry.host);
        let (from, to) = (format!("oci:{}", directory.display()), format!("docker://{name}"));
        skopeo(&["copy", "-q", "--dest-tls-verify=false", &from, &to]);
        name
    }

    /// Adds extensions, each with its run.Dockerfile, that take part in this order.
    fn extend(&self, dockerfiles: &[&str]) {
        let group = |id: &str| format!("group]]\nid = '{id}'\nversion = '1'\n");
        let mut order = vec![format!("[[order]]\n[[order.{}", group("b"))];
        for (number, text) in dockerfiles.iter().enumerate() {
            let extension = format!("cnb/extensions/e{number}/1");
            self.sandbox.write(&format!("{extension}/extension.toml"), "api = '0.12'\n");
            self.sandbox.write(&format!("{extension}/generate/run.Dockerfile"), text);
            let status = "Package: foo\nVersion: 1.1\nPackage: bar\nVersion: 2\n";
            self.sandbox.write(&format!("{extension}/generate/context.run/status"), status);
            let head = if number == 0 { "[[order-extensions]]\n" } else { "" };
            order.push(format!("{head}[[order-extensions.{}", group(&format!("e{number}"))));
        }
        self.sandbox.write("cnb/order.toml", order.concat());
    }

    /// Builds on version 1 of the run image. Returns the app image and what was said.
    fn build(&self, label: Option<&str>, dockerfiles: &[&str]) -> (Stored, String) {
        self.world().publish_run_image(&run_image(1, label));
        self.sandbox.clear("layers");
        self.extend(dockerfiles);
        let said = self.run_phases();
        (self.world().image("app"), said)
    }

    /// Runs all phases, and returns what they said.
    fn run_phases(&self) -> String {
        let world = self.world();
        let mut said = world.phase("analyzer", &["-run-image", "RUN", "APP"]).ok().text();
        said += &world.phase("detector", &[]).ok().text();
        said += &self.contained("restorer", &[]).ok().text();
        if self.sandbox.read("layers/analyzed.toml").contains("extend = true") {
            said += &self.contained("extender", &["-kind", "run"]).ok().text();
        }
        self.sandbox.own_all();
        said += &world.phase("builder", &[]).ok().text();
        said + &world.phase("exporter", &["-launcher", "LAUNCHER", "APP"]).ok().text()
    }

    /// Runs a phase as root in a container of the run image, at the paths of the sandbox.
    fn contained(&self, phase: &str, arguments: &[&str]) -> Outcome {
        let root = self.sandbox.path(".");
        let image = format!("{}/demo/run", self.registry.host);
        let mut container = Container::new()
            .option("--pull", "always")
            .option("--user", "0:0")
            .mount(&root, &root.to_string_lossy(), "rw")
            .mount(&self.sandbox.path("kaniko"), "/kaniko", "rw");
        for (name, value) in self.sandbox.environment() {
            container = container.env(name, value.to_string_lossy());
        }
        let program = self.sandbox.phase_path(phase);
        let _alone = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = container.run(&image, &[&[&*program.to_string_lossy()], arguments].concat());
        docker(&["rmi", "-f", &image]);
        outcome
    }

    fn rebase(&self, flags: &[&str], shadow: &str) -> Outcome {
        let all = [&["-report", "REPORT"], flags, &["APP"]].concat();
        self.world().phase_with("rebaser", &all, |command| {
            if !shadow.is_empty() {
                command.env("CNB_REBASE_SHADOW", shadow);
            }
        })
    }
}

#[test]
fn without_extending_the_label_of_the_run_image_is_inherited() {
    let case = Case::new();
    for (label, code) in [(None, 0), (Some("true"), 0), (Some("false"), 72)] {
        let (app, _) = case.build(label, &[]);
        assert_eq!(app.label(REBASABLE), label);
        case.world().publish_run_image(&run_image(2, label));
        case.rebase(&[], "").expect_code(code);
    }
}

#[test]
fn a_run_image_that_is_only_switched_to_gives_its_own_label() {
    let case = Case::new();
    for (label, code) in [(None, 0), (Some("true"), 0), (Some("false"), 72)] {
        let other = case.publish(&run_image(1, label), "other");
        let (app, said) = case.build(Some("true"), &[&format!("FROM {other}\n")]);
        assert_eq!(app.label(REBASABLE), label, "{said}");
        assert_eq!(app.label(FOOTPRINTS), None);
        assert!(!case.sandbox.read("layers/analyzed.toml").contains("extend = true"));
        case.publish(&run_image(2, label), "other");
        case.rebase(&["-run-image", &other], "").expect_code(code);
    }
}

#[test]
fn claims_on_a_rebasable_run_image_are_believed() {
    let case = Case::new();
    let claim = on_base("COPY status /added/status", "true");
    for label in [None, Some("true")] {
        let (app, said) = case.build(label, &[&claim, &claim.replace("/added", "/more")]);
        assert_eq!(app.label(REBASABLE), Some("true"));
        assert!(!said.contains("they replace or remove"), "{said}");
        case.world().publish_run_image(&run_image(2, label));
        let rebased = case.rebase(&[], "fail").ok();
        assert!(!rebased.text().contains("Warning"), "{}", rebased.text());
    }
}

#[test]
fn claims_on_a_run_image_that_is_not_rebasable_are_not() {
    let case = Case::new();
    let (app, _) = case.build(Some("false"), &[&on_base("COPY status /added/status", "true")]);
    assert_eq!(app.label(REBASABLE), Some("false"));
    case.world().publish_run_image(&run_image(2, Some("false")));
    case.rebase(&[], "").expect_code(72).says("app image is not marked as rebasable");
    case.rebase(&["-force"], "").ok();
}

#[test]
fn one_extension_that_does_not_claim_it_is_enough() {
    let case = Case::new();
    let claims = on_base("COPY status /added/status", "true");
    for (label, other) in [(Some("true"), ""), (None, "false"), (Some("false"), ""), (Some("true"), "maybe")]
    {
        let (app, _) = case.build(label, &[&claims, &on_base("COPY status /more/status", other)]);
        assert_eq!(app.label(REBASABLE), Some("false"), "{label:?}, {other}");
        case.world().publish_run_image(&run_image(2, label));
        case.rebase(&[], "").expect_code(72);
    }
}

#[test]
fn files_of_the_base_that_are_replaced_are_named_and_found_stale_by_the_rebase() {
    let case = Case::new();
    let (app, said) = case.build(Some("true"), &[&on_base(&format!("COPY status /{STATUS}"), "true")]);
    assert_eq!(app.label(REBASABLE), Some("true"));
    assert!(said.contains("Warning: extension e0") && said.contains(&format!("/{STATUS}")), "{said}");
    let footprints = app.label(FOOTPRINTS).expect("a label").to_owned();
    assert!(footprints.contains(&format!(r#""overwrites":["{STATUS}"]"#)), "{footprints}");

    // The same package database in the new base: nothing is stale.
    let mut same = run_image(2, Some("true"));
    same.files = run_image(1, None).files;
    case.world().publish_run_image(&same);
    case.rebase(&[], "fail").ok();

    case.world().publish_run_image(&run_image(3, Some("true")));
    let stale = format!("`/{STATUS}` (extension `e0`)");
    let before = case.world().image("app");
    case.rebase(&[], "fail").expect_code(72).says(&stale).says("CNB_REBASE_SHADOW=warn");
    assert_eq!(case.world().image("app"), before, "nothing was changed");
    case.rebase(&[], "fail ").expect_code(3).says("is not warn, fail or off");
    let warned = case.rebase(&[], "").ok();
    assert!(warned.stderr.starts_with("Warning: ") && warned.stderr.contains(&stale), "{}", warned.stderr);
    let rebased = case.world().image("app");
    assert_eq!(rebased.label(REBASABLE), Some("true"));
    assert!(
        rebased.label(FOOTPRINTS).is_some_and(|label| label.contains(&format!(r#""stale":["{STATUS}"]"#)))
    );

    case.world().publish_run_image(&run_image(4, Some("true")));
    let silent = case.rebase(&[], "off").ok();
    assert!(!silent.text().contains(STATUS), "{}", silent.text());
    case.rebase(&[], "").ok().says("an earlier rebase did not compare them");
}

#[test]
fn the_extender_does_not_rely_on_the_detectors_check_of_the_policy() {
    let case = Case::new();
    case.build(None, &[&on_base("COPY status /added/status", "true")]);
    let dockerfile = "layers/generated/e0/run.Dockerfile";
    case.sandbox.write("policy.toml", "deny = ['run']\n");
    let policy = case.sandbox.path("policy.toml");
    let told = ["-kind", "run", "-extend-policy", &policy.to_string_lossy()];
    case.contained("extender", &told).ok();
    case.sandbox.write(dockerfile, on_base("RUN [\"/evil\"]", "true"));
    let refused = case.contained("extender", &told).expect_code(102);
    refused.says("run.Dockerfile of extension `e0` on line 3: `RUN [\"/evil\"]` is denied by `run`");
}

#[test]
fn stale_files_are_found_in_each_store() {
    let case = Case::new();
    case.build(None, &[&on_base(&format!("COPY status /{STATUS}"), "true")]);
    let built = format!("docker://{}/demo/app", case.registry.host);
    let daemon = format!("acceptance.example/shadow-{}", std::process::id());
    for place in [Place::Layout, Place::Registry(case.registry.host.clone()), Place::Daemon(daemon)] {
        let world = World::bare(&case.sandbox, place);
        let target = match &world.place {
            Place::Layout => {
                let layout = case.sandbox.path("layouts").join(world.name("app")).join("latest");
                std::fs::create_dir_all(&layout).expect("the sandbox is ours");
                format!("oci:{}", layout.display())
            }
            Place::Registry(_) => built.clone(),
            Place::Daemon(_) => format!("docker-daemon:{}:latest", world.name("app")),
        };
        skopeo(&["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", &built, &target]);
        world.publish_run_image(&run_image(2, None));
        case.sandbox.own_all();
        let rebased =
            world.phase("rebaser", &["-report", "REPORT", "-force", "-run-image", "RUN", "APP"]).ok();
        let stale = format!(
            "at 1 path(s) that extensions replaced or removed, where the app image stays as it is: `/{STATUS}`"
        );
        assert!(rebased.stderr.contains(&stale), "{:?}: {}", world.place, rebased.stderr);
    }
}

/// Makes a Debian package of that version on the spot, and installs it.
fn install(package: &str, version: u32) -> String {
    format!(
        "set -e; d=$(mktemp -d); mkdir -p $d/DEBIAN $d/usr/share/{package}; chmod 755 $d; \
         echo {version} > $d/usr/share/{package}/version; \
         printf 'Package: {package}\\nVersion: {version}\\nArchitecture: all\\nMaintainer: x <x@example>\\nDescription: x\\n' \
         > $d/DEBIAN/control; dpkg-deb -b $d /tmp/p.deb; dpkg -i /tmp/p.deb; rm -r $d /tmp/p.deb"
    )
}

/// A Debian with version `version` of the package `foo`, as the run image in the case's registry.
fn publish_debian(case: &Case, version: u32) {
    let (name, container) = (case.world().name("run"), format!("foo-{}-{version}", std::process::id()));
    let script = install("foo", version);
    docker(&["run", "--name", &container, base_image(), "sh", "-c", &script]).ok();
    docker(&[
        "commit",
        "-c",
        "USER 1000:1000",
        "-c",
        "LABEL io.buildpacks.rebasable=true",
        &container,
        &name,
    ])
    .ok();
    docker(&["push", "-q", &name]).ok();
    docker(&["rm", &container]).ok();
    docker(&["rmi", "-f", &name]).ok();
    case.sandbox.write("cnb/run.toml", format!("[[images]]\nimage = \"{name}\"\n"));
}

#[test]
fn an_update_that_the_package_database_of_an_extension_denies_is_told() {
    let case = Case::new();
    publish_debian(&case, 1);
    let lines = format!("ARG user_id\nUSER root\nRUN {}\nUSER ${{user_id}}", install("bar", 7));
    case.extend(&[&on_base(&lines, "true")]);
    let said = case.run_phases();
    assert!(said.contains("they replace or remove files of the run image"), "{said}");
    publish_debian(&case, 2);
    let rebased = case.rebase(&[], "").ok();
    assert!(rebased.stderr.contains(&format!("`/{STATUS}` (extension `e0`)")), "{}", rebased.stderr);
    // What the warning is about: the new base's file, and another version of its package.
    let app = case.world().name("app");
    let look = ["sh", "-c", "cat /usr/share/foo/version; dpkg-query -W foo bar"];
    let found = Container::new().option("--pull", "always").run(&app, &look).ok();
    docker(&["rmi", "-f", &app]);
    assert_eq!(found.stdout, "2\nbar\t7\nfoo\t1\n");
}
