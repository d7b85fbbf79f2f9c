//! `cargo demo`: builds a sample application to an OCI layout, builds it again, rebases it and
//! runs it, telling what happened. Needs no root, no Docker and no network.

use std::process::ExitCode;
use std::time::Duration;

use acceptance::greeter::{APP, Greeter, RUN};
use acceptance::oci::LayoutImage;
use acceptance::sandbox::Outcome;

fn main() -> ExitCode {
    match tell() {
        Ok(()) => ExitCode::SUCCESS,
        Err(outcome) => {
            println!("\n`{}` ended with {}:\n{}", outcome.command, outcome.code, outcome.text());
            ExitCode::FAILURE
        }
    }
}

fn tell() -> Result<(), Outcome> {
    println!("A directory of source code becomes a container image, in five phases and no daemon.\n");
    let greeter = Greeter::new();
    println!("application   fixtures/apps/greeter");
    println!("buildpacks    demo/greeter, a composite of demo/toolchain, demo/assets and demo/server");
    println!("run image     {RUN}, version 1, an OCI layout\n");

    println!("1. Build");
    report(&greeter.build())?;
    let first = greeter.image();
    describe(&first);

    println!("\n2. Build again: what did not change is neither compressed nor written again");
    greeter.sandbox.clear("layers");
    let outcomes = greeter.build();
    report(&outcomes)?;
    quote(&outcomes, &["Reusing layer", "kept from the cache"]);
    let second = greeter.image();
    println!("   same image: {}", yes(first.digest == second.digest));

    println!("\n3. Rebase: version 2 of the run image appears, and only its layers are swapped");
    greeter.publish_run_image(2);
    report(&[greeter.rebase()])?;
    let rebased = greeter.image();
    compare(&second, &rebased);

    println!("\n4. Run the process `web` through the image's launcher");
    let launched = greeter.launch("web", &["--port", "9090"]);
    for line in launched.stdout.lines() {
        println!("   | {line}");
    }
    report(&[launched])?;
    println!(
        "\nThe image was {APP} below a temporary directory, now removed. Next: README.md, \"Find your way\"."
    );
    Ok(())
}

/// Prints a line per phase; the first failure ends the story.
fn report(outcomes: &[Outcome]) -> Result<(), Outcome> {
    for outcome in outcomes {
        if outcome.code != 0 {
            return Err(outcome.clone());
        }
        let name = outcome.command.split(' ').next().unwrap_or_default();
        println!("   {name:<18} {:>8}", time(outcome.took));
    }
    Ok(())
}

/// Prints the lines of the phases' output that hold one of `marks`.
fn quote(outcomes: &[Outcome], marks: &[&str]) {
    let texts: Vec<String> = outcomes.iter().map(Outcome::text).collect();
    for line in
        texts.iter().flat_map(|text| text.lines()).filter(|line| marks.iter().any(|mark| line.contains(mark)))
    {
        println!("   | {line}");
    }
}

fn describe(image: &LayoutImage) {
    println!("   image {}", &image.digest[..19]);
    let history = image.config["history"].as_array().cloned().unwrap_or_default();
    for (layer, entry) in image.layers.iter().zip(history) {
        let tar = layer.tar.len();
        println!(
            "   {:>10} -> {:>9}  {}",
            size(tar),
            size(usize::try_from(layer.size).unwrap_or(0)),
            entry["created_by"].as_str().unwrap_or("-")
        );
    }
}

fn compare(before: &LayoutImage, after: &LayoutImage) {
    let same = before.diff_ids().iter().zip(after.diff_ids()).filter(|(a, b)| *a == b).count();
    println!(
        "   layers kept {same} of {}, image {} -> {}",
        before.layers.len(),
        &before.digest[..19],
        &after.digest[..19]
    );
    let base = |image: &LayoutImage| image.env("BASE").unwrap_or_default();
    println!(
        "   base label {} -> {}, variable BASE still {}",
        before.label("org.example.base").unwrap_or("-"),
        after.label("org.example.base").unwrap_or("-"),
        base(after)
    );
}

fn yes(condition: bool) -> &'static str {
    if condition { "yes" } else { "NO" }
}

fn time(took: Duration) -> String {
    format!("{:.0} ms", took.as_secs_f64() * 1000.0)
}

fn size(bytes: usize) -> String {
    let kib = bytes as u64 / 1024;
    if kib < 10 { format!("{bytes} B") } else { format!("{kib} KiB") }
}
