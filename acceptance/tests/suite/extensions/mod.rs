//! Image extensions: built by phases and by the creator, in each store, run, and rebased.
//!
//! ```text
//! {phases, creator} × {registry, daemon, layout} × {build, run, both, switch}
//! ```
//!
//! Every phase runs in a container of the image that it is for, put together as platforms do.

mod cached;
mod cell;
mod golden;
mod installs;
mod limits;

use acceptance::run_image::RunImage;
use acceptance::sandbox::Sandbox;
use acceptance::servers::registry::Registry;

use cell::{Cell, Flow};

/// What extensions do in a cell of the matrix.
struct Case {
    name: &'static str,
    /// The extensions, by what is required of them.
    requires: &'static str,
    /// What the app image prints, but for the version of the base and the user.
    lines: [&'static str; 2],
    /// The label `io.buildpacks.rebasable`.
    rebasable: Option<&'static str>,
    /// The name of the run image that the app image is based on.
    base: &'static str,
}

const COMPILED: &str = "compiled by demo-cc 12 with /opt/compiler/include=fast\n";
const GREETED: &str = "greeted with color=never,mode=plain by tool 1.0\n";

const CASES: [Case; 4] = [
    Case { name: "build", requires: "compiler", lines: [COMPILED, ""], rebasable: None, base: "run" },
    Case { name: "run", requires: "tool", lines: ["", GREETED], rebasable: Some("true"), base: "run" },
    Case {
        name: "both",
        requires: "compiler tool notes",
        lines: [COMPILED, "noted\ngreeted with color=never,mode=plain by tool 1.0\n"],
        rebasable: Some("false"),
        base: "run",
    },
    Case { name: "switch", requires: "other-base", lines: ["", ""], rebasable: None, base: "other" },
];

fn check(flow: Flow, store: &str) {
    let sandbox = Sandbox::new();
    let registry = Registry::plain();
    let cell = Cell::new(&sandbox, &registry, flow, store);
    for case in &CASES {
        cell.reset(case.requires);
        for image in ["run", "other"] {
            cell.world.publish(image, &RunImage::version(1).with_shell());
        }
        cell.build().ok();
        let image = cell.world.image("app");
        let shown = format!("{} by {flow:?} in {store}", case.name);
        assert_eq!(image.label("io.buildpacks.rebasable"), case.rebasable, "{shown}");
        let expected = |version: u32| {
            let [compiled, rest] = case.lines;
            format!("{compiled}built as 1000 in groups 1000 at /home/cnb\n{version}\n{rest}1000\n")
        };
        assert_eq!(cell.run_app().stdout, expected(1), "{shown}");

        cell.world.publish(case.base, &RunImage::version(2).with_shell());
        let rebased = cell.world.rebase();
        if case.rebasable == Some("false") {
            rebased.expect_code(72).says("is not marked as rebasable");
            cell.world.phase("rebaser", &["-force", "-report", "REPORT", "APP"]).ok();
        } else {
            rebased.ok();
        }
        assert_eq!(cell.run_app().stdout, expected(2), "{shown}, rebased");
    }
}

#[test]
fn phases_extend_images_of_a_registry() {
    check(Flow::Phases, "registry");
}

#[test]
fn phases_extend_images_of_the_engine() {
    check(Flow::Phases, "daemon");
}

#[test]
fn phases_extend_images_in_layouts() {
    check(Flow::Phases, "layout");
}

#[test]
fn the_creator_extends_images_of_a_registry() {
    check(Flow::Creator, "registry");
}

#[test]
fn the_creator_extends_images_of_the_engine() {
    check(Flow::Creator, "daemon");
}

#[test]
fn the_creator_extends_images_in_layouts() {
    check(Flow::Creator, "layout");
}
