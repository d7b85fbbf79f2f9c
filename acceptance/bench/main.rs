//! `cargo bench-phases [MB]`: export and restore of a large layer beside `tar`, `gzip` and `igzip` on the same
//! tree, in one table. Times are the best of several runs taken in turn; machines are noisy, so
//! look at the ratios.

mod measure;
mod tree;

use std::path::Path;
use std::process::Command;

use acceptance::run_image::RunImage;
use acceptance::sandbox::{Sandbox, as_cnb_user};
use measure::{Measured, best_of};

/// The image that is exported.
const APP: &str = "registry.example/bench/app";
const ROUNDS: usize = 3;

fn main() {
    let megabytes = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1024);
    let bench = Bench::new(megabytes);
    println!("{} files, {} MB, {ROUNDS} rounds, the best of each\n", bench.files, bench.bytes / 1_000_000);
    bench.export();
    println!();
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
        let mut rows = vec![
            ("tar c | cat", best_of(ROUNDS, &|| {}, &|| pipe("cat > /dev/null"))),
            (
                "tar c | gzip -1",
                best_of(ROUNDS, &|| {}, &|| pipe(&format!("gzip -1 > {}", gzip_file.display()))),
            ),
        ];
        let gzip_bytes = std::fs::metadata(&gzip_file).map_or(1, |metadata| metadata.len());
        if Command::new("igzip").arg("-h").output().is_ok() {
            rows.push(("tar c | igzip -1", best_of(ROUNDS, &|| {}, &|| pipe("igzip -1 > /dev/null"))));
        }
        rows.push(("exporter", best_of(ROUNDS, &forget, &|| self.exporter(false))));
        let image =
            acceptance::oci::LayoutImage::read(&self.sandbox.path("layouts").join(APP).join("latest"));
        let blob = image.layers.iter().map(|layer| layer.size).max().unwrap_or(0);
        drop(image);
        rows.push(("exporter, nothing changed", best_of(ROUNDS, &unchanged, &|| self.exporter(false))));
        rows.push(("exporter with cache", best_of(ROUNDS, &forget, &|| self.exporter(true))));
        let gzip = rows[1].1.clone();
        print_table(&rows, &gzip, self.bytes);
        println!(
            "\ncompressed: gzip -1 {gzip_bytes} bytes, exporter {blob} bytes ({:.3})",
            ratio(blob, gzip_bytes)
        );
    }

    /// The table of restores.
    fn restore(&self) {
        let tars = self.sandbox.path("cache/committed");
        let target = self.sandbox.path("untar");
        let fresh = || {
            let _ = std::fs::remove_dir_all(&target);
            std::fs::create_dir_all(&target).expect("the sandbox is ours");
        };
        let untar = || {
            shell(&format!(
                "for t in {}/*.tar; do tar x -P -C {} -f $t --transform 's,^/,,'; done",
                tars.display(),
                target.display()
            ))
        };
        let emptied = || {
            self.sandbox.clear("layers/bench_big");
        };
        let restorer = || {
            let mut command = self.phase("restorer", &["-log-level", "warn"]);
            command.arg("-cache-dir").arg(self.sandbox.path("cache"));
            command
        };
        let rows =
            [("tar x", best_of(ROUNDS, &fresh, &untar)), ("restorer", best_of(ROUNDS, &emptied, &restorer))];
        print_table(&rows, &rows[0].1, self.bytes);
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

fn print_table(rows: &[(&str, Measured)], baseline: &Measured, bytes: u64) {
    println!("| what | s | MB/s | x {:.2} s | peak MB | read / source | written MB |", baseline.seconds);
    println!("|---|---|---|---|---|---|---|");
    for (name, measured) in rows {
        let speed = ratio(bytes, 1) / 1e6 / measured.seconds;
        println!(
            "| {name} | {:.2} | {speed:.0} | {:.2} | {} | {:.2} | {} |",
            measured.seconds,
            baseline.seconds / measured.seconds,
            measured.peak_bytes / 1_000_000,
            ratio(measured.read_bytes, bytes),
            measured.written_bytes / 1_000_000,
        );
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(a: u64, b: u64) -> f64 {
    a as f64 / b as f64
}
