//! Tests of sessions: Dockerfiles applied to a root directory.

mod cached;
mod copies;
mod mounts;
mod runs;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Seek as _, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::*;
use crate::cache::Cache;
use crate::context::Context;
use crate::dockerfile::parse;
use crate::layer::Compression;
use crate::policy::{Target, permit};
use crate::root::Root;
use crate::state::{Arguments, ConfigState};

/// gzip, at the fastest level.
pub(super) struct Gzip;

impl Compress for Gzip {
    fn compression(&self) -> Compression {
        Compression::Gzip
    }

    fn compress(&self, tar: &mut dyn Read, blob: &mut dyn Write) -> io::Result<()> {
        let mut encoder = flate2::write::GzEncoder::new(blob, flate2::Compression::fast());
        io::copy(tar, &mut encoder)?;
        encoder.finish().map(drop)
    }
}

/// Downloads from a table.
#[derive(Default)]
pub(super) struct Table(pub(super) BTreeMap<String, Vec<u8>>);

impl Fetch for Table {
    fn fetch(
        &self,
        url: &str,
        to: &mut dyn Write,
    ) -> Result<Fetched, Box<dyn std::error::Error + Send + Sync>> {
        let content = self.0.get(url).ok_or("status 404")?;
        to.write_all(content)?;
        Ok(Fetched { last_modified: Some(1_000_000_000) })
    }
}

/// A root, a context, a work directory, and a cache beside each other.
pub(super) struct Scene {
    temp: tempfile::TempDir,
    pub(super) table: Table,
    pub(super) config: ConfigState,
    pub(super) arguments: Arguments,
    pub(super) ignore: Vec<PathBuf>,
    pub(super) purpose: Purpose,
    pub(super) mounting: Mounting,
    pub(super) ttl: Option<Duration>,
    /// Whether the root is not made ready when it is asked for.
    pub(super) is_closed: bool,
}

/// What a session did.
pub(super) struct Done {
    pub(super) steps: Vec<StepResult>,
    pub(super) config: ConfigState,
    pub(super) output: String,
    pub(super) log: Vec<String>,
}

impl Scene {
    pub(super) fn new() -> Self {
        let temp = tempfile::tempdir().expect("temp dir");
        for dir in ["root/etc", "context", "work", "cache", "outside"] {
            fs::create_dir_all(temp.path().join(dir)).expect("mkdir");
        }
        fs::write(
            temp.path().join("root/etc/passwd"),
            "root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:\n",
        )
        .expect("write");
        fs::write(temp.path().join("root/etc/group"), "root:x:0:\napp:x:1001:\nextra:x:77:app\n")
            .expect("write");
        fs::write(temp.path().join("outside/secret"), "secret").expect("write");
        Self {
            temp,
            table: Table::default(),
            config: ConfigState::default(),
            arguments: Arguments::default(),
            ignore: Vec::new(),
            purpose: Purpose::Layers,
            mounting: Mounting::Try,
            ttl: None,
            is_closed: false,
        }
    }

    /// With a shell and a few tools in the root, for RUN.
    pub(super) fn with_shell() -> Option<Self> {
        let scene = Self::new();
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].iter().find(|path| Path::new(path).exists())?;
        fs::create_dir_all(scene.path("root/bin")).expect("mkdir");
        fs::copy(busybox, scene.path("root/bin/busybox")).expect("copy");
        let status = std::process::Command::new(busybox)
            .args(["--install", "-s"])
            .arg(scene.path("root/bin"))
            .status()
            .expect("busybox");
        assert!(status.success());
        for entry in fs::read_dir(scene.path("root/bin")).expect("list").flatten() {
            if entry.file_name() != "busybox" {
                fs::remove_file(entry.path()).expect("remove");
                std::os::unix::fs::symlink("busybox", entry.path()).expect("symlink");
            }
        }
        Some(scene)
    }

    pub(super) fn path(&self, below: &str) -> PathBuf {
        self.temp.path().join(below)
    }

    pub(super) fn write(&self, below: &str, content: &str) {
        let path = self.path(below);
        fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        fs::write(path, content).expect("write");
    }

    pub(super) fn read(&self, below: &str) -> String {
        fs::read_to_string(self.path("root").join(below)).expect(below)
    }

    /// Applies the lines below FROM.
    pub(super) fn apply(&self, lines: &str) -> Result<Done, ApplyError> {
        self.apply_all(&[lines])
    }

    /// Applies several Dockerfiles in one session.
    pub(super) fn apply_all(&self, files: &[&str]) -> Result<Done, ApplyError> {
        let root = Root::open(&self.path("root")).expect("open root");
        let cache = self.ttl.map(|ttl| Cache::open(&self.path("cache/steps"), ttl).expect("open cache"));
        let context = Context::of(&self.path("context"), Path::new("/no/Dockerfile")).expect("open context");
        let work = tempfile::tempdir_in(self.path("work")).expect("temp dir").keep();
        let mut file = tempfile::tempfile().expect("temp file");
        let clone = || Some(file.try_clone().expect("clone"));
        let log = RefCell::new(Vec::new());
        let tell = |event: Event<'_>| log.borrow_mut().push(format!("{event:?}"));
        let settings = Settings {
            root: &root,
            ignore: self.ignore.clone(),
            method: None,
            purpose: self.purpose,
            mounting: self.mounting,
            cache: cache.as_ref(),
            work: &work,
            compress: &Gzip,
            fetch: &self.table,
            output: Output { stdout: clone(), stderr: clone() },
            platform: "linux/amd64".to_owned(),
            log: &tell,
            make_ready: &|| if self.is_closed { Err("closed".into()) } else { Ok(()) },
        };
        let base = BaseImage { config: self.config.clone(), diff_ids: vec!["base".to_owned()] };
        let mut session = Session::new(settings, base);
        let mut steps = Vec::new();
        for (index, lines) in files.iter().enumerate() {
            let text = format!("ARG base_image\nFROM ${{base_image}}\n{lines}\n");
            let dockerfile = parse("run.Dockerfile", text.as_bytes()).expect("parse");
            let permitted = permit(dockerfile, Target::Run, &self.arguments).expect("permit");
            let application = Application {
                permitted: &permitted,
                arguments: self.arguments.clone(),
                context: Some(&context),
                is_last: index + 1 == files.len(),
            };
            steps.extend(session.apply(&application)?);
        }
        let config = session.finish()?;
        let mut output = String::new();
        file.rewind().expect("rewind");
        file.read_to_string(&mut output).expect("read");
        Ok(Done { steps, config, output, log: log.into_inner() })
    }

    /// Lists what is below a path of the root: path, mode, owner, and content or target.
    pub(super) fn list(&self, below: &str) -> Vec<String> {
        use std::os::unix::fs::MetadataExt as _;
        let root = self.path("root");
        let mut lines = Vec::new();
        for path in crate::testing::state(&root).keys().filter(|path| path.starts_with(below)) {
            let meta = fs::symlink_metadata(root.join(path)).expect("stat");
            let content = if meta.is_dir() {
                "/".to_owned()
            } else if meta.is_symlink() {
                format!("-> {}", fs::read_link(root.join(path)).expect("read link").display())
            } else {
                fs::read_to_string(root.join(path)).unwrap_or_default()
            };
            let (mode, owner) = (meta.mode() & 0o7777, format!("{}:{}", meta.uid(), meta.gid()));
            lines.push(format!("{} {mode:o} {owner} {content}", path.display()));
        }
        lines
    }

    /// Applies, and returns the error.
    #[track_caller]
    pub(super) fn fails(&self, lines: &str) -> String {
        match self.apply(lines) {
            Ok(done) => panic!("no error: {:?}", done.steps),
            Err(error) => error.to_string(),
        }
    }
}

impl Done {
    /// The entries of the layer of a step.
    pub(super) fn entries(&self, step: usize) -> Vec<String> {
        let Some(layer) = &self.steps[step].layer else {
            return Vec::new();
        };
        let file = fs::File::open(&layer.path).expect("open layer");
        let tar = flate2::read::MultiGzDecoder::new(file);
        let mut reader = crate::layer::TarReader::new(tar);
        let mut paths = Vec::new();
        while let Some(entry) = reader.next_entry().expect("read layer") {
            paths.push(entry.path.to_string_lossy().into_owned());
        }
        paths
    }
}
