//! `cargo bench-extend [MB]`: a run.Dockerfile applied to a large image by the extender, beside `docker build` and
//! `buildah bud` of the same file, in one table. Needs root, for the memory and processor time of containers.
//!
//! The limits at the end are for 2048 MB, which are more than 100,000 files, on a machine with nothing else to do.

use acceptance::bench::dockerfile::Dockerfile;
use acceptance::bench::measure::{Measured, Row, in_turn};
use acceptance::binaries;

fn main() {
    let megabytes = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2048);
    let image = Dockerfile::new(megabytes);
    println!("{} files, {} MB\n", image.files, image.bytes / 1_000_000);
    let program = binaries::directory().join("extender");
    let steps = image.only_the_steps().measured;
    let first = image.extender(&program);
    let again = image.extender(&program).measured;
    println!("| what | s | CPU s | peak MB |\n|---|---|---|---|");
    show("only the commands of RUN", &steps);
    show("extender -kind run", &first.measured);
    show("the same, every step cached", &again);
    let mut rows = vec![Row::new("docker build (BuildKit)", || {}, || image.docker_build())];
    if image.buildah().is_some() {
        rows.push(Row::new("buildah bud", || {}, || image.buildah().expect("it was there")));
    }
    for (row, runs) in rows.iter().zip(in_turn(1, &rows)) {
        show(&row.name, &runs[0]);
    }
    println!();
    let scans = scans(&first.output);
    limit("a warm scan", scans.last().copied().unwrap_or(f64::MAX), 0.5, "s");
    limit("CPU beyond RUN", first.measured.cpu_seconds - steps.cpu_seconds, 3.0, "s");
    limit("every step cached", again.seconds, 0.2, "s");
    let peak = f64::from(u32::try_from(first.measured.peak_bytes / 1000).unwrap_or(u32::MAX)) / 1e3;
    limit("peak memory", peak, 80.0, "MB");
}

fn show(what: &str, measured: &Measured) {
    let Measured { seconds, cpu_seconds, peak_bytes, .. } = measured;
    println!("| {what} | {seconds:.2} | {cpu_seconds:.2} | {} |", peak_bytes / 1_000_000);
}

fn limit(what: &str, found: f64, limit: f64, unit: &str) {
    let verdict = if found <= limit { "kept" } else { "NOT KEPT" };
    println!("{what}: {found:.2} {unit}, at most {limit} {unit}: {verdict}");
}

/// Seconds of each scan, from the log.
fn scans(log: &str) -> Vec<f64> {
    let duration = |text: &str| -> Option<f64> {
        let (number, factor) = match text.strip_suffix("ms") {
            Some(number) => (number, 1e-3),
            None => (text.strip_suffix('s')?, 1.0),
        };
        Some(number.parse::<f64>().ok()? * factor)
    };
    let scans = log.lines().filter_map(|line| line.split_once("Scanned ")?.1.split_once(" in "));
    scans.filter_map(|(_, rest)| duration(rest.split(' ').next()?)).collect()
}
