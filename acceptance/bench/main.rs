//! `cargo bench-phases [MB [restore]]`: export and restore of a large layer beside `tar`, `gzip` and `igzip` on the same
//! tree, in one table. Rows are run in turn, several times; a row shows its best run, and the median of its
//! ratios to the first row's, or to `gzip -1`'s, run of the same round. Machines are noisy, so look at the ratios.

mod stages;

use std::path::Path;
use std::process::Command;

use acceptance::bench::measure::{Measured, Row, in_turn};
use acceptance::bench::tree;
use acceptance::run_image::RunImage;
use acceptance::sandbox::{Sandbox, as_cnb_user};

/// The image that is exported.
const APP: &str = "registry.example/bench/app";
const ROUNDS: usize = 3;

fn main() {
    let megabytes = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1024);
    let bench = Bench::new(megabytes);
    println!("{} files, {} MB, {ROUNDS} rounds\n", bench.files, bench.bytes / 1_000_000);
    if std::env::args().nth(2).as_deref() != Some("restore") {
        bench.export();
        println!();
    }
    bench.restore();
}

struct Bench {
    sandbox: Sandbox,
    files: usize,
    bytes: u64,
}

impl Bench {
    fn new(megabytes: u64) -> Self {
        let sandbox = Sandbox::new();
        let (files, bytes) = tree::write(&sandbox.path("layers/bench_big/big"), megabytes);
        sandbox.write("layers/bench_big/big.toml", "[types]\nlaunch = true\ncache = true\n");
        sandbox
            .write("layers/group.toml", "[[group]]\nid = \"bench/big\"\nversion = \"1\"\napi = \"0.10\"\n");
        sandbox
            .write("layers/config/metadata.toml", "buildpacks = [{ id = \"bench/big\", version = \"1\" }]\n");
        sandbox.write("workspace/readme", "bench\n");
        RunImage::version(1).write(&sandbox.path("layouts/registry.example/bench/run/latest"));
        sandbox.write("cnb/run.toml", "[[images]]\nimage = \"registry.example/bench/run\"\n");
        Self { sandbox, files, bytes }
    }

    fn phase(&self, phase: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.sandbox.phase_path(phase));
        command.env_clear().envs(self.sandbox.environment()).current_dir(self.sandbox.path("."));
        command.args(arguments).arg("-layout").arg("-layout-dir").arg(self.sandbox.path("layouts"));
        as_cnb_user(&mut command);
        command
    }

    fn analyze(&self) {
        let mut command = self.phase("analyzer", &["-run-image", "registry.example/bench/run"]);
        let output = command.arg(APP).output().expect("the analyzer can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    fn exporter(&self, with_cache: bool) -> Command {
        let mut command = self.phase("exporter", &["-log-level", "warn"]);
        command.arg("-launcher").arg(self.sandbox.phase_path("launcher"));
        if with_cache {
            command.arg("-cache-dir").arg(self.sandbox.path("cache"));
        }
        command.arg(APP);
        command
    }

    /// The table of exports.
    fn export(&self) {
        let tree = self.sandbox.path("layers/bench_big/big");
        let gzip_file = self.sandbox.path("tree.tar.gz");
        let pipe = |tail: &str| shell(&format!("tar c -C {} . | {tail}", tree.display()));
        let forget = || {
            let _ = std::fs::remove_dir_all(self.sandbox.path("layouts").join(APP));
            self.sandbox.clear("cache");
            self.analyze();
        };
        let unchanged = || self.analyze();
        let gzip = || pipe(&format!("gzip -1 > {}", gzip_file.display()));
        let mut rows = vec![
            Row::new("tar c | gzip -1", || {}, gzip),
            Row::new("tar c | cat", || {}, || pipe("cat > /dev/null")),
            Row::new("tar c | igzip -1", || {}, || pipe("igzip -1 > /dev/null")),
            Row::new("exporter with cache", forget, || self.exporter(true)),
            Row::new("exporter", forget, || self.exporter(false)),
            Row::new("exporter, nothing changed", unchanged, || self.exporter(false)),
        ];
        let has_igzip = Command::new("igzip").arg("-h").output().is_ok();
        rows.retain(|row| has_igzip || row.name != "tar c | igzip -1");
        print_table(&rows, &in_turn(ROUNDS, &rows), self.bytes);
        let gzip_bytes = std::fs::metadata(&gzip_file).map_or(1, |metadata| metadata.len());
        let image =
            acceptance::oci::LayoutImage::read(&self.sandbox.path("layouts").join(APP).join("latest"));
        let blob = image.layers.iter().map(|layer| layer.size).max().unwrap_or(0);
        println!(
            "\ncompressed: gzip -1 {gzip_bytes} bytes, exporter {blob} bytes ({:.3})",
            ratio(blob, gzip_bytes)
        );
        println!();
        stages::print(&stages::measure(&tree, &self.sandbox.path("blob")));
    }

    /// The table of restores.
    fn restore(&self) {
        self.analyze();
        let status = self.exporter(true).status().expect("the exporter can be started");
        assert!(status.success(), "the exporter ended with {status}");
        let tars = self.sandbox.path("cache/committed");
        let (target, round) = (self.sandbox.path("untar"), std::cell::Cell::new(0));
        // What was written is moved away, not removed: ext4 is slow to make files for minutes after it has
        // removed as many, as it keeps off the inodes of those.
        let aside = |path: &Path| {
            round.set(round.get() + 1);
            let _ = std::fs::rename(path, self.sandbox.path(format!("aside-{}", round.get())));
        };
        let fresh = || {
            aside(&target);
            std::fs::create_dir_all(&target).expect("the sandbox is ours");
        };
        let untar = || {
            shell(&format!(
                "for t in {}/*.tar; do tar x -P -C {} -f $t --transform 's,^/,,'; done",
                tars.display(),
                target.display()
            ))
        };
        let emptied = || aside(&self.sandbox.path("layers/bench_big/big"));
        let restorer = || {
            let mut command = self.phase("restorer", &["-log-level", "warn"]);
            command.arg("-cache-dir").arg(self.sandbox.path("cache"));
            command
        };
        let rows = [Row::new("tar x", fresh, untar), Row::new("restorer", emptied, restorer)];
        print_table(&rows, &in_turn(2 * ROUNDS, &rows), self.bytes);
        check_restored(&self.sandbox.path("layers/bench_big/big"), self.files);
    }
}

fn check_restored(path: &Path, files: usize) {
    let found = tree::count(path);
    assert_eq!(found, files, "files restored to {}", path.display());
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

/// Prints a row for each, beside the first.
fn print_table(rows: &[Row<'_>], runs: &[Vec<Measured>], bytes: u64) {
    println!("| what | s | CPU s | MB/s | times as fast | time | peak MB | read / source | written MB |");
    println!("|---|---|---|---|---|---|---|---|---|");
    for (row, own) in rows.iter().zip(runs) {
        let best = own.iter().min_by(|a, b| a.seconds.total_cmp(&b.seconds)).expect("at least one round");
        let mut ratios: Vec<f64> =
            own.iter().zip(&runs[0]).map(|(own, first)| own.seconds / first.seconds).collect();
        ratios.sort_by(f64::total_cmp);
        let median = ratios[ratios.len() / 2];
        println!(
            "| {} | {:.2} | {:.2} | {:.0} | {:.2} | {median:.2} | {} | {:.2} | {} |",
            row.name,
            best.seconds,
            best.cpu_seconds,
            ratio(bytes, 1) / 1e6 / best.seconds,
            1.0 / median,
            own.iter().map(|run| run.peak_bytes).max().unwrap_or(0) / 1_000_000,
            ratio(best.read_bytes, bytes),
            best.written_bytes / 1_000_000,
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b as f64
}
