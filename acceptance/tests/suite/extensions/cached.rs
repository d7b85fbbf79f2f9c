//! What the second build of the same extensions does: nothing.

use acceptance::run_image::RunImage;
use acceptance::sandbox::Sandbox;
use acceptance::servers::registry::Registry;

use super::cell::{Cell, Flow};

const MISS: &str = "No cached layer found for cmd";

#[test]
fn a_second_run_extension_is_the_first_one_and_writes_nothing() {
    let (sandbox, registry) = (Sandbox::new(), Registry::plain());
    let cell = Cell::new(&sandbox, &registry, Flow::Phases, "registry");
    cell.reset("compiler tool notes");
    cell.world.publish("run", &RunImage::version(1).with_shell());
    cell.build().ok().says("No cached layer found for cmd RUN mkdir -p /var/lib/tool");
    let (first, image) = (cell.extended(), cell.world.image("app"));
    // A file system that cannot be written is the proof.
    let container = cell.container().option("--read-only", "--tmpfs").option("/tmp", "--cap-drop=ALL");
    let stale = sandbox.path(format!("layers/extended/run/sha256:{}/index.json", "0".repeat(64)));
    std::fs::create_dir_all(stale.parent().expect("a directory")).expect("the sandbox is ours");
    std::fs::write(&stale, "stale").expect("the sandbox is ours");
    let again = cell.phase_in(container, "extender", &["-kind", "run"]).ok();
    assert!(!again.text().contains(MISS), "{}", again.text());
    assert_eq!(cell.extended(), first);

    cell.reset_layers();
    let again = cell.build().ok();
    assert!(!again.text().contains(MISS), "{}", again.text());
    assert!(!again.text().contains("Adding layer 'demo"), "{}", again.text());
    assert_eq!((cell.extended(), cell.world.image("app")), (first, image));
}

#[test]
fn a_second_creator_does_not_unpack_the_run_image() {
    let (sandbox, registry) = (Sandbox::new(), Registry::plain());
    let cell = Cell::new(&sandbox, &registry, Flow::Creator, "layout");
    cell.reset("tool notes");
    cell.world.publish("run", &RunImage::version(1).with_shell());
    let debug = |cell: &Cell<'_>| cell.create(&["-log-level", "debug"]).ok();
    debug(&cell).says("Unpacking run image").says(MISS);
    let image = cell.world.image("app");
    cell.reset_layers();
    let again = debug(&cell).text();
    assert!(!again.contains("Unpacking run image") && !again.contains(MISS), "{again}");
    assert_eq!(cell.world.image("app"), image);
}
