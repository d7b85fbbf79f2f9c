//! A run.Dockerfile applied to a large image: by the extender, and by what builds the same file.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::docker::docker;
use crate::run_image::{arch, digest, write_layout};
use crate::tree::Tree;
use serde_json::json;

use super::container::{Taken, run};
use super::tree;

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

/// The image, and what platforms give an extender.
pub struct Dockerfile {
    work: tempfile::TempDir,
    image: String,
    /// How many files the image has.
    pub files: usize,
    /// How many bytes they have.
    pub bytes: u64,
}

impl Dockerfile {
    /// Makes the image, of about `megabytes`.
    pub fn new(megabytes: u64) -> Self {
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
        let made = Self { work, image, files, bytes };
        made.prepare();
        made
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
        let base = crate::oci::LayoutImage::read(&layout).digest;
        let to = self.path("kaniko/cache/base").join(&base);
        crate::sandbox::copy_tree(&layout, &to);
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

    /// Has the extender make it all again.
    pub fn forget(&self) {
        let _ = std::fs::remove_dir_all(self.path("layers/extended"));
        let kept = std::fs::read_dir(self.path("kaniko")).into_iter().flatten().flatten();
        for entry in kept.filter(|entry| entry.file_name() != "cache") {
            let path = entry.path();
            let _ = std::fs::remove_dir_all(&path).or_else(|_| std::fs::remove_file(&path));
        }
        let kept = std::fs::read_dir(self.path("kaniko/cache")).into_iter().flatten().flatten();
        for entry in kept.filter(|entry| entry.file_name() != "base") {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }

    /// Applies it with the extender at that path.
    pub fn extender(&self, program: &Path) -> Taken {
        let mount = |from: PathBuf, to: &str| format!("--volume={}:{to}", from.display());
        let mounts = [
            mount(self.path("layers"), "/layers"),
            mount(self.path("kaniko"), "/kaniko"),
            mount(self.path("workspace"), "/workspace"),
            mount(program.to_owned(), "/cnb/lifecycle/extender:ro"),
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

    /// The files that the extender's layers hold, one a line.
    pub fn extended(&self) -> String {
        let mut tree = Tree::default();
        let dirs = std::fs::read_dir(self.path("layers/extended/run")).into_iter().flatten().flatten();
        for dir in dirs.map(|entry| entry.path()).filter(|path| path.is_dir()) {
            // The base is not among the blobs.
            let text = |path: PathBuf| std::fs::read_to_string(&path).unwrap_or_default();
            let json = |text: String| serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default();
            let blob = |digest: &serde_json::Value| {
                let digest = digest.as_str().unwrap_or_default().trim_start_matches("sha256:").to_owned();
                dir.join("blobs/sha256").join(digest)
            };
            let index = json(text(dir.join("index.json")));
            let manifest = json(text(blob(&index["manifests"][0]["digest"])));
            for layer in manifest["layers"].as_array().into_iter().flatten().skip(1) {
                let file = std::fs::File::open(blob(&layer["digest"])).expect("a new layer is there");
                tree.apply(std::io::BufReader::new(flate2::read::MultiGzDecoder::new(file)));
            }
        }
        let mut lines = tree.changes_since(&Tree::default());
        // Which directories stand beside their files is not the same.
        lines.retain(|line| !line.split(' ').next().is_some_and(|path| path.ends_with('/')));
        assert!(!lines.is_empty(), "the extender made layers");
        lines.join("\n")
    }

    /// Only the commands of RUN.
    pub fn only_the_steps(&self) -> Taken {
        run(&[&self.image, "/bin/sh", "-c", &format!("{INSTALL} && echo done > /opt/done")])
    }

    /// `docker build` of it, with BuildKit.
    pub fn docker_build(&self) -> Command {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut programs = std::env::split_paths(&path).map(|dir| dir.join("docker"));
        let build = |program: &Path| {
            let mut command = Command::new(program);
            command.env("DOCKER_BUILDKIT", "1").arg("build");
            command
        };
        let is_able = |program: &PathBuf| {
            let output = build(program).arg("--help").output();
            program.exists() && output.is_ok_and(|output| output.status.success())
        };
        let program = programs.find(is_able);
        let mut command =
            build(&program.expect("a `docker build` with BuildKit (./acceptance/run installs it)"));
        command.args(["--no-cache", "-q", "-t", &format!("{}-built", self.image)]);
        command.arg(format!("--build-arg=base_image={}", self.image)).arg(self.path("build"));
        command.stdout(std::process::Stdio::null());
        command
    }

    /// `buildah bud` of it; `None` where there is no buildah.
    pub fn buildah(&self) -> Option<Command> {
        Command::new("buildah").arg("--version").output().ok()?;
        let storage = self.path("storage");
        let buildah = format!("buildah --root {0}/root --runroot {0}/run", storage.display());
        if !storage.exists() {
            shell(&format!("{buildah} pull -q docker-daemon:{} > /dev/null", self.image), self.work.path());
        }
        let script = format!(
            "{buildah} bud -q --no-cache --isolation=chroot --build-arg=base_image=docker-daemon:{} build > bud.log 2>&1 \
             || {{ cat bud.log >&2; exit 1; }}",
            self.image
        );
        let mut command = Command::new("bash");
        command.args(["-c", &script]).current_dir(self.work.path());
        Some(command)
    }
}

impl Drop for Dockerfile {
    fn drop(&mut self) {
        docker(&["rmi", "-f", &format!("{}-built", self.image)]);
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
