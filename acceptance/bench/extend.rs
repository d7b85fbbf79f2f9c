//! `cargo bench-extend [MB]`: a run.Dockerfile applied to a large image by the extender, beside `docker build` and
//! `buildah bud` of the same file, in one table. Needs root, for the memory and processor time of containers.
//!
//! The limits at the end are for 2048 MB, which are more than 100,000 files, on a machine with nothing else to do.

#[path = "container.rs"]
mod container;
#[path = "tree.rs"]
mod tree;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use acceptance::binaries;
use acceptance::docker::docker;
use acceptance::run_image::{arch, digest, write_layout};
use container::{Taken, run};
use serde_json::json;

/// What installs something: about as many files and bytes as twenty packages.
const INSTALL: &str = "mkdir -p /opt/tool && cp -r /data/modules/000 /data/modules/001 /data/modules/002 /data/modules/003 \
    /data/modules/004 /data/modules/005 /data/modules/006 /data/modules/007 /data/modules/008 /data/modules/009 /data/lib/lib0.so \
    /data/lib/lib1.so /opt/tool/ && rm -r /data/modules/010";

/// The Dockerfile below FROM.
fn instructions() -> String {
    format!(
        "USER root\nRUN {INSTALL}\nCOPY app.txt /opt/tool/\nENV TOOL=/opt/tool\nLABEL io.buildpacks.rebasable=true\n\
         RUN echo done > /opt/done\nUSER 1000\n"
    )
}

fn main() {
    let megabytes = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2048);
    let bench = Bench::new(megabytes);
    println!("{} files, {} MB\n", bench.files, bench.bytes / 1_000_000);
    let steps = bench.only_the_steps();
    let first = bench.extender();
    let again = bench.extender();
    let scans = scans(&first.output);
    println!("| what | s | CPU s | peak MB |\n|---|---|---|---|");
    show("only the commands of RUN", &steps);
    show("extender -kind run", &first);
    show("the same, every step cached", &again);
    println!("| docker build (BuildKit) | {:.2} | | |", bench.docker_build());
    match bench.buildah() {
        Some((seconds, cpu)) => println!("| buildah bud | {seconds:.2} | {cpu:.2} | |"),
        None => println!("| buildah bud | not installed | | |"),
    }
    println!();
    limit("a warm scan", scans.last().copied().unwrap_or(f64::MAX), 0.5, "s");
    limit("CPU beyond RUN", first.cpu_seconds - steps.cpu_seconds, 3.0, "s");
    limit("every step cached", again.seconds, 0.2, "s");
    limit(
        "peak memory",
        f64::from(u32::try_from(first.peak_bytes / 1000).unwrap_or(u32::MAX)) / 1e3,
        80.0,
        "MB",
    );
}

fn show(what: &str, taken: &Taken) {
    let Taken { seconds, cpu_seconds, peak_bytes, .. } = taken;
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

struct Bench {
    work: tempfile::TempDir,
    image: String,
    files: usize,
    bytes: u64,
}

impl Bench {
    /// Makes the image, and what platforms give an extender.
    fn new(megabytes: u64) -> Self {
        let work = tempfile::tempdir().expect("a temporary directory can be made");
        let root = work.path().join("root");
        let (_, bytes) = tree::write(&root.join("data"), megabytes);
        let script = "mkdir -p bin etc opt proc sys dev && mkdir -m 1777 tmp && cp $(command -v busybox) bin/busybox && \
            for name in $(./bin/busybox --list); do [ $name = busybox ] || ln -s busybox bin/$name; done && \
            echo root:x:0:0::/root:/bin/sh > etc/passwd && echo root:x:0: > etc/group";
        shell(script, &root);
        let files = tree::count(&root);
        let image = format!("lifecycle-acceptance/bench-extend:{}", std::process::id());
        shell(
            &format!("tar -c --numeric-owner --owner=0 --group=0 . | docker import - {image} > /dev/null"),
            &root,
        );
        std::fs::remove_dir_all(&root).expect("the directory is ours");
        let bench = Self { work, image, files, bytes };
        bench.prepare();
        bench
    }

    fn path(&self, below: &str) -> PathBuf {
        self.work.path().join(below)
    }

    fn write(&self, below: &str, text: &str) {
        let path = self.path(below);
        std::fs::create_dir_all(path.parent().expect("a file has a parent")).expect("the directory is ours");
        std::fs::write(path, text).expect("the directory is ours");
    }

    fn prepare(&self) {
        let tar = tar::Builder::new(Vec::new()).into_inner().expect("a Vec takes any bytes");
        let config = json!({
            "architecture": arch(), "os": "linux",
            "config": { "Env": ["PATH=/bin"] },
            "rootfs": { "type": "layers", "diff_ids": [digest(&tar)] },
            "history": [{ "created_by": "bench" }],
        });
        let layout = self.path("layout");
        write_layout(&layout, &[tar], &config);
        let base = acceptance::oci::LayoutImage::read(&layout).digest;
        let to = self.path("kaniko/cache/base").join(&base);
        acceptance::sandbox::copy_tree(&layout, &to);
        self.write(
            "layers/analyzed.toml",
            &format!("[run-image]\nreference = \"registry.example/base@{base}\"\nimage = \"registry.example/base\"\nextend = true\n"),
        );
        let element = "id = \"bench/tool\"\nversion = \"1\"\napi = \"0.10\"\n";
        self.write("layers/group.toml", &format!("[[group-extensions]]\n{element}"));
        let text = format!("ARG base_image\nFROM ${{base_image}}\n{}", instructions());
        self.write("layers/generated/bench_tool/run.Dockerfile", &text);
        self.write("build/Dockerfile", &text);
        for context in ["workspace", "build"] {
            self.write(&format!("{context}/app.txt"), "an application\n");
        }
    }

    fn extender(&self) -> Taken {
        let mount = |from: PathBuf, to: &str| format!("--volume={}:{to}", from.display());
        let mounts = [
            mount(self.path("layers"), "/layers"),
            mount(self.path("kaniko"), "/kaniko"),
            mount(self.path("workspace"), "/workspace"),
            mount(binaries::directory().join("extender"), "/cnb/lifecycle/extender:ro"),
        ];
        let mut arguments: Vec<&str> = mounts.iter().map(String::as_str).collect();
        arguments.extend([
            "--user=0:0",
            "--security-opt=no-new-privileges=true",
            "--env=CNB_PLATFORM_API=0.15",
        ]);
        let command =
            ["/cnb/lifecycle/extender", "-app", "/workspace", "-kind", "run", "-log-level", "debug"];
        run(&[&arguments[..], &[&self.image], &command].concat())
    }

    fn only_the_steps(&self) -> Taken {
        run(&[&self.image, "/bin/sh", "-c", &format!("{INSTALL} && echo done > /opt/done")])
    }

    fn docker_build(&self) -> f64 {
        let name = format!("{}-built", self.image);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut programs = std::env::split_paths(&path).map(|dir| dir.join("docker"));
        let build = |program: &Path, arguments: &[&str]| {
            let mut command = Command::new(program);
            command.env("DOCKER_BUILDKIT", "1").arg("build").args(arguments);
            command.output().expect("docker can be started")
        };
        let able = programs.find(|program| program.exists() && build(program, &["--help"]).status.success());
        let program = able.expect("a `docker build` with BuildKit (./acceptance/run installs it)");
        let argument = format!("--build-arg=base_image={}", self.image);
        let directory = self.path("build");
        let start = Instant::now();
        let done =
            build(&program, &["--no-cache", "-q", "-t", &name, &argument, &directory.to_string_lossy()]);
        let seconds = start.elapsed().as_secs_f64();
        assert!(done.status.success(), "docker build: {}", String::from_utf8_lossy(&done.stderr));
        docker(&["rmi", "-f", &name]);
        seconds
    }

    /// Wall and processor time; `None` where there is no buildah.
    fn buildah(&self) -> Option<(f64, f64)> {
        Command::new("buildah").arg("--version").output().ok()?;
        let storage = self.path("storage");
        let buildah = format!("buildah --root {0}/root --runroot {0}/run", storage.display());
        let pull = format!("{buildah} pull -q docker-daemon:{} > /dev/null", self.image);
        shell(&pull, self.work.path());
        let script = format!(
            "{buildah} bud -q --no-cache --isolation=chroot --build-arg=base_image=docker-daemon:{} build > /dev/null 2> bud.log; \
             echo $? > code; times > times",
            self.image
        );
        let start = Instant::now();
        shell(&script, self.work.path());
        let seconds = start.elapsed().as_secs_f64();
        let read = |name: &str| std::fs::read_to_string(self.path(name)).unwrap_or_default();
        assert_eq!(read("code").trim(), "0", "{}", read("bud.log"));
        // The second line is that of the children: `0m1.234s 0m0.567s`.
        let times = read("times");
        let words = times.lines().nth(1).unwrap_or_default().split_whitespace();
        let minutes = |word: &str| {
            word.trim_end_matches('s')
                .split('m')
                .fold(0.0, |sum, part| sum * 60.0 + part.parse::<f64>().unwrap_or(0.0))
        };
        Some((seconds, words.map(minutes).sum()))
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        docker(&["rmi", "-f", &self.image]);
        // What buildah mounted goes with its storage.
        let _ = Command::new("buildah")
            .arg("--root")
            .arg(self.path("storage/root"))
            .arg("--runroot")
            .arg(self.path("storage/run"))
            .args(["rm", "--all"])
            .output();
    }
}

fn shell(script: &str, directory: &Path) {
    let status = Command::new("bash").args(["-c", script]).current_dir(directory).status();
    assert!(status.is_ok_and(|status| status.success()), "{script}");
}
