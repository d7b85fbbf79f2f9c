//! Images made on the spot: busybox as operating system, our own binaries as lifecycle.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::sandbox::CNB_ID;
use crate::{binaries, fixtures};

/// The run image's version: a rebase puts the app on another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// The first.
    One,
    /// The next one.
    Two,
}

/// What a builder image has beside buildpacks and lifecycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Builder {
    /// `run.toml` and `stack.toml`, as pack makes it.
    Plain,
    /// `stack.toml` alone, as kpack makes it.
    WithoutRunToml,
    /// As pack makes it, with an extension.
    WithExtension,
}

/// A builder image for apps on `run_image`, which nobody else uses.
pub fn builder(kind: Builder, run_image: &str) -> String {
    let base = builder_base();
    let mut root = Root::default();
    let mut order = "[[order]]\n[[order.group]]\nid = \"test/web\"\nversion = \"1.0.0\"\n".to_owned();
    if kind == Builder::WithExtension {
        root.tree(&fixtures().join("platforms/extensions"), "/cnb/extensions");
        order +=
            "[[order-extensions]]\n[[order-extensions.group]]\nid = \"test/greeting\"\nversion = \"1.0.0\"\n";
    }
    root.file("/cnb/order.toml", order.as_bytes(), 0o644);
    let stack = format!("[run-image]\nimage = \"{run_image}\"\n");
    root.file("/cnb/stack.toml", stack.as_bytes(), 0o644);
    if kind != Builder::WithoutRunToml {
        let run = format!("[[images]]\nimage = \"{run_image}\"\n");
        root.file("/cnb/run.toml", run.as_bytes(), 0o644);
    }
    root.on(base)
}

/// What all builder images are on.
fn builder_base() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let mut root = busybox();
        add_lifecycle(&mut root);
        for directory in ["/layers", "/workspace"] {
            root.directory(directory, 0o755, CNB_ID);
        }
        for directory in ["/cnb/build-config/env", "/platform/env"] {
            root.directory(directory, 0o755, 0);
        }
        root.file("/platform/env/SPEAKER", b"the builder", 0o644);
        root.tree(&fixtures().join("platforms/buildpacks"), "/cnb/buildpacks");
        let user = format!("USER {CNB_ID}:{CNB_ID}");
        let ids = format!("ENV CNB_USER_ID={CNB_ID} CNB_GROUP_ID={CNB_ID} CNB_STACK_ID=test.stack");
        root.import("builder", &[PATH, &ids, &user, STACK, "WORKDIR /layers"])
    })
}

/// The lifecycle image: nothing but the lifecycle on a base that knows root, as it ships, and the directory that pack adds to it for a build.
pub fn lifecycle() -> &'static str {
    static NAME: OnceLock<String> = OnceLock::new();
    NAME.get_or_init(|| {
        let base = lifecycle_base().import("lifecycle", &[PATH, "WORKDIR /layers"]);
        let mut root = Root::default();
        root.directory("/workspace", 0o755, CNB_ID);
        root.on(&with_lifecycle(&base))
    })
}

fn lifecycle_base() -> Root {
    let mut root = Root::default();
    root.directory("/etc", 0o755, 0);
    root.file("/etc/passwd", b"root:x:0:0:root:/root:/sbin/nologin\n", 0o644);
    root.directory("/tmp", 0o1777, 0);
    root
}

/// The layers of the lifecycle image as tars, base first.
pub fn lifecycle_layers() -> [Vec<u8>; 2] {
    let mut root = Root::default();
    add_lifecycle(&mut root);
    [lifecycle_base(), root].map(Root::into_tar)
}

/// A release of the lifecycle as a tar: what `builder.toml` names, unzipped.
pub fn release() -> Vec<u8> {
    let mut root = Root::default();
    add_release(&mut root, "/");
    root.into_tar()
}

/// The run image of that version, with the lifecycle in it where an extender is to run there.
pub fn run(version: Version) -> String {
    let mut root = busybox();
    let text: &[u8] = if version == Version::One { b"1\n" } else { b"2\n" };
    root.file("/base-version", text, 0o644);
    root.import("run", &[PATH, &format!("USER {CNB_ID}:{CNB_ID}"), STACK, DISTRO])
}

/// The image `base` with the lifecycle's layer on top, as pack extends run images in.
pub fn with_lifecycle(base: &str) -> String {
    let mut root = Root::default();
    add_lifecycle(&mut root);
    root.on(base)
}

const PATH: &str = "ENV PATH=/usr/local/bin:/usr/bin:/bin";
const STACK: &str = "LABEL io.buildpacks.stack.id=test.stack";
const DISTRO: &str = "LABEL io.buildpacks.base.distro.name=test io.buildpacks.base.distro.version=1";

fn busybox() -> Root {
    let mut root = Root::default();
    for directory in ["/bin", "/etc", "/root", "/usr/bin", "/usr/local/bin", "/var", "/home/cnb"] {
        root.directory(directory, 0o755, 0);
    }
    root.directory("/tmp", 0o1777, 0);
    root.file("/etc/os-release", b"ID=test\nVERSION_ID=1\n", 0o644);
    let passwd = format!("root:x:0:0:root:/root:/bin/sh\ncnb:x:{CNB_ID}:{CNB_ID}:cnb:/home/cnb:/bin/sh\n");
    root.file("/etc/passwd", passwd.as_bytes(), 0o644);
    root.file("/etc/group", format!("root:x:0:\ncnb:x:{CNB_ID}:\n").as_bytes(), 0o644);
    let busybox = fs::read(busybox_path()).expect("busybox can be read");
    root.file("/bin/busybox", &busybox, 0o755);
    let listed = Command::new(busybox_path()).arg("--list").output().expect("busybox runs");
    for applet in String::from_utf8_lossy(&listed.stdout).lines().filter(|name| *name != "busybox") {
        root.link(&format!("/bin/{applet}"), "/bin/busybox");
    }
    root.link("/usr/bin/env", "/bin/busybox");
    root
}

fn busybox_path() -> PathBuf {
    let found =
        ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from).into_iter().find(|path| path.exists());
    found.expect("busybox-static is installed (./acceptance/run installs it)")
}

/// The layer that every lifecycle is: `/cnb` first.
fn add_lifecycle(root: &mut Root) {
    root.directory("/cnb", 0o755, 0);
    add_release(root, "/cnb/");
}

/// Programs and links as they ship.
fn add_release(root: &mut Root, to: &str) {
    root.file(&format!("{to}lifecycle.toml"), descriptor().as_bytes(), 0o644);
    root.directory(&format!("{to}lifecycle"), 0o755, 0);
    for program in PROGRAMS {
        root.file(&format!("{to}lifecycle/{program}"), stripped(program), 0o755);
    }
    for phase in binaries::PHASES.iter().filter(|phase| !PROGRAMS.contains(phase)) {
        root.link(&format!("{to}lifecycle/{phase}"), PROGRAMS[0]);
    }
    for name in ["lifecycle", "launcher"] {
        for kind in ["cdx", "spdx", "syft"] {
            root.file(&format!("{to}lifecycle/{name}.sbom.{kind}.json"), b"{}\n", 0o644);
        }
    }
}

/// The programs that ship; the other phases are links to the first.
const PROGRAMS: [&str; 4] = ["lifecycle", "builder", "detector", "launcher"];

/// The label and the part of `lifecycle.toml` that tell the versions.
pub const APIS: &str = concat!(
    r#"{"buildpack":{"deprecated":[],"supported":["0.7","0.8","0.9","0.10","0.11","0.12"]},"#,
    r#""platform":{"deprecated":[],"supported":["0.7","0.8","0.9","0.10","0.11","0.12","0.13","0.14","0.15"]}}"#
);

fn descriptor() -> String {
    let apis: serde_json::Value = serde_json::from_str(APIS).expect("the constant is JSON");
    let oldest = serde_json::json!({ "buildpack": "0.7", "platform": "0.7" });
    let lifecycle = serde_json::json!({ "version": lifecycle_version() });
    let file = serde_json::json!({ "api": oldest, "apis": apis, "lifecycle": lifecycle });
    toml::to_string(&file).expect("texts are TOML")
}

/// What our phases answer to `-version`.
pub fn lifecycle_version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let output = Command::new(binaries::directory().join("detector")).arg("-version").output();
        let output = output.expect("the detector runs");
        let text = String::from_utf8_lossy(&output.stdout);
        text.split(['+', '\n']).next().unwrap_or_default().trim().to_owned()
    })
}

/// A program without symbols: of the debug profile, most of a binary is symbols.
fn stripped(program: &str) -> &'static [u8] {
    static ALL: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let work = tempfile::tempdir().expect("a temporary directory can be made");
        let each = |program: &str| {
            let (from, to) = (binaries::directory().join(program), work.path().join(program));
            let stripped = Command::new("strip").arg("-o").arg(&to).arg(&from).status();
            let done = stripped.is_ok_and(|status| status.success());
            let path = if done { &to } else { &from };
            (program.to_owned(), fs::read(path).expect("a binary can be read"))
        };
        PROGRAMS.iter().map(|program| each(program)).collect()
    });
    all.iter().find(|(name, _)| name == program).map(|(_, bytes)| bytes.as_slice()).expect("a program")
}

/// An image's files, being put together.
#[derive(Default)]
struct Root {
    tar: Option<tar::Builder<Vec<u8>>>,
}

impl Root {
    fn tar(&mut self) -> &mut tar::Builder<Vec<u8>> {
        self.tar.get_or_insert_with(|| tar::Builder::new(Vec::new()))
    }

    fn directory(&mut self, path: &str, mode: u32, owner: u32) {
        let mut header = header(tar::EntryType::Directory, mode, owner);
        self.tar().append_data(&mut header, relative(path), &[][..]).expect("memory takes any bytes");
    }

    fn file(&mut self, path: &str, content: &[u8], mode: u32) {
        let mut header = header(tar::EntryType::Regular, mode, 0);
        header.set_size(content.len() as u64);
        self.tar().append_data(&mut header, relative(path), content).expect("memory takes any bytes");
    }

    fn link(&mut self, path: &str, target: &str) {
        let mut header = header(tar::EntryType::Symlink, 0o777, 0);
        self.tar().append_link(&mut header, relative(path), target).expect("memory takes any bytes");
    }

    /// A directory of this machine and what is in it, for root, executables as they are.
    fn tree(&mut self, from: &Path, to: &str) {
        use std::os::unix::fs::PermissionsExt;
        self.directory(to, 0o755, 0);
        let mut entries: Vec<_> = fs::read_dir(from).expect("a fixture").flatten().collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, name) = (entry.path(), entry.file_name());
            let to = format!("{to}/{}", name.to_string_lossy());
            if path.is_dir() {
                self.tree(&path, &to);
            } else {
                let executable = entry.metadata().is_ok_and(|found| found.permissions().mode() & 0o100 != 0);
                let content = fs::read(&path).expect("a fixture can be read");
                self.file(&to, &content, if executable { 0o755 } else { 0o644 });
            }
        }
    }

    fn into_tar(self) -> Vec<u8> {
        self.tar.expect("there are files").into_inner().expect("memory takes any bytes")
    }

    /// The image of these files, under a name that follows from its content; made once.
    fn import(self, kind: &str, changes: &[&str]) -> String {
        let tar = self.into_tar();
        let mut identity = tar.clone();
        identity.extend(changes.concat().bytes());
        let name = name_of(kind, &identity);
        make_once(&name, || {
            let mut command = Command::new("docker");
            command.arg("import");
            for change in changes {
                command.args(["-c", change]);
            }
            feed(command.args(["-", &name]), &tar);
        });
        name
    }

    /// The image `base` with these files on top.
    fn on(self, base: &str) -> String {
        let tar = self.into_tar();
        let mut identity = tar.clone();
        identity.extend(base.bytes());
        let name = name_of("extended", &identity);
        make_once(&name, || {
            let mut context = tar::Builder::new(Vec::new());
            for (path, content) in
                [("Dockerfile", format!("FROM {base}\nADD layer.tar /\n").as_bytes()), ("layer.tar", &tar)]
            {
                let mut header = header(tar::EntryType::Regular, 0o644, 0);
                header.set_size(content.len() as u64);
                context.append_data(&mut header, path, content).expect("memory takes any bytes");
            }
            let context = context.into_inner().expect("memory takes any bytes");
            let mut command = Command::new("docker");
            feed(command.env("DOCKER_BUILDKIT", "0").args(["build", "-q", "-t", &name, "-"]), &context);
        });
        name
    }
}

fn name_of(kind: &str, identity: &[u8]) -> String {
    let digest = crate::run_image::digest(identity);
    format!("lifecycle-acceptance/{kind}:{}", &digest[7..19])
}

/// Tests of one program wait for each other; another program makes the same image.
fn make_once(name: &str, make: impl FnOnce()) {
    static MAKING: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = MAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if crate::docker::docker(&["image", "inspect", name]).code != 0 {
        make();
    }
}

fn header(kind: tar::EntryType, mode: u32, owner: u32) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(owner.into());
    header.set_gid(owner.into());
    header.set_size(0);
    header
}

fn relative(path: &str) -> &str {
    path.trim_start_matches('/')
}

/// Runs a command with `input`.
///
/// # Panics
///
/// When it fails.
pub fn feed(command: &mut Command, input: &[u8]) {
    use std::io::Write;
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("docker is installed (./acceptance/run installs it)");
    let mut stdin = child.stdin.take().expect("it is piped");
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().expect("it was started");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
