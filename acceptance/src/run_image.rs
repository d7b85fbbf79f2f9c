//! Base images for tests, written as OCI layouts by code that is not the lifecycle's.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// What a base image is to hold.
#[derive(Debug, Clone)]
pub struct RunImage {
    /// Its version: in `/etc/base-version`, a label and the variable `BASE`.
    pub version: u32,
    /// Labels beside those of the target.
    pub labels: Vec<(String, String)>,
    /// `User` of the config.
    pub user: String,
    /// Further files: name without leading slash, content.
    pub files: Vec<(String, Vec<u8>)>,
    /// Whether processes can run in it: with a shell, its tools, and the phases' user.
    pub has_shell: bool,
}

impl RunImage {
    /// A small distribution of that version.
    pub fn version(version: u32) -> Self {
        Self {
            version,
            labels: Vec::new(),
            user: format!("{0}:{0}", crate::sandbox::CNB_ID),
            files: Vec::new(),
            has_shell: false,
        }
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Adds a shell with the usual tools, and the phases' user.
    #[must_use]
    pub fn with_shell(mut self) -> Self {
        self.has_shell = true;
        self
    }

    /// Writes the image as the layout at `directory`.
    ///
    /// # Panics
    ///
    /// When the directory cannot be written.
    pub fn write(&self, directory: &Path) {
        let tars = [self.system_tar(), self.version_tar()];
        write_layout(directory, &tars, &self.config(&tars));
    }

    fn config(&self, tars: &[Vec<u8>]) -> Value {
        let version = self.version.to_string();
        let mut labels = serde_json::Map::from_iter([
            ("io.buildpacks.base.distro.name".to_owned(), json!("fixture")),
            ("io.buildpacks.base.distro.version".to_owned(), json!("1")),
            ("io.buildpacks.stack.id".to_owned(), json!("fixture.stack")),
            ("org.example.base".to_owned(), json!(version)),
        ]);
        labels.extend(self.labels.iter().map(|(key, value)| (key.clone(), json!(value))));
        json!({
            "architecture": arch(),
            "os": "linux",
            "created": "2020-01-01T00:00:00Z",
            "config": {
                "User": self.user,
                "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", format!("BASE={version}")],
                "Labels": labels,
            },
            "rootfs": { "type": "layers", "diff_ids": tars.iter().map(|tar| digest(tar)).collect::<Vec<_>>() },
            "history": [
                { "created": "2020-01-01T00:00:00Z", "created_by": "system" },
                { "created": "2020-01-01T00:00:00Z", "created_by": format!("base {version}") },
            ],
        })
    }

    fn system_tar(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        add(&mut tar, "etc/os-release", b"ID=fixture\nVERSION_ID=1\n");
        for (name, content) in &self.files {
            add(&mut tar, name, content);
        }
        if self.has_shell {
            add_shell(&mut tar);
        }
        tar.into_inner().expect("a Vec takes any bytes")
    }

    fn version_tar(&self) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        add(&mut tar, "etc/base-version", format!("{}\n", self.version).as_bytes());
        tar.into_inner().expect("a Vec takes any bytes")
    }
}

/// Writes an image of those layers, base first, and that config as the layout at `directory`.
///
/// # Panics
///
/// When the directory cannot be written.
pub fn write_layout(directory: &Path, tars: &[Vec<u8>], config: &Value) {
    let blobs = directory.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("the layout's directory can be made");
    let layers: Vec<Value> = tars.iter().map(|tar| put(&blobs, &gzip(tar), "layer.v1.tar+gzip")).collect();
    let config = put(&blobs, &serde_json::to_vec(config).expect("a value is JSON"), "config.v1+json");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": layers,
    });
    let manifest = put(&blobs, &serde_json::to_vec(&manifest).expect("a value is JSON"), "manifest.v1+json");
    let index = json!({ "schemaVersion": 2, "manifests": [manifest] });
    fs::write(directory.join("index.json"), index.to_string()).expect("the layout can be written");
    fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)
        .expect("the layout can be written");
}

/// This machine's architecture as OCI names it.
pub fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// `sha256:…` of some bytes.
pub fn digest(bytes: &[u8]) -> String {
    let hex: Vec<String> = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{}", hex.concat())
}

/// Adds what it takes to run scripts: busybox, the files of users, and the usual directories.
fn add_shell(tar: &mut tar::Builder<Vec<u8>>) {
    let paths = ["/bin/busybox", "/usr/bin/busybox"];
    let busybox = paths.iter().find_map(|path| fs::read(path).ok());
    let busybox = busybox.expect("busybox is installed (./acceptance/run installs it)");
    let mut dir = |name: &str, mode: u32, owner: u32| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(mode);
        header.set_uid(owner.into());
        header.set_gid(owner.into());
        header.set_size(0);
        tar.append_data(&mut header, name, std::io::empty()).expect("a Vec takes any bytes");
    };
    let user = crate::sandbox::CNB_ID;
    for (name, mode, owner) in [
        ("bin", 0o755, 0),
        ("tmp", 0o1777, 0),
        ("opt", 0o755, 0),
        ("var", 0o755, 0),
        ("var/lib", 0o755, 0),
        ("root", 0o700, 0),
        ("home", 0o755, 0),
        ("home/cnb", 0o755, user),
    ] {
        dir(name, mode, owner);
    }
    let mut header = tar::Header::new_ustar();
    header.set_size(busybox.len() as u64);
    header.set_mode(0o755);
    tar.append_data(&mut header, "bin/busybox", busybox.as_slice()).expect("a Vec takes any bytes");
    for tool in SHELL_TOOLS {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_mode(0o777);
        header.set_size(0);
        tar.append_link(&mut header, format!("bin/{tool}"), "busybox").expect("a Vec takes any bytes");
    }
    let passwd = format!("root:x:0:0::/root:/bin/sh\ncnb:x:{user}:{user}:CNB:/home/cnb:/bin/sh\n");
    add(tar, "etc/passwd", passwd.as_bytes());
    add(tar, "etc/group", format!("root:x:0:\nwheel:x:10:root\ncnb:x:{user}:\n").as_bytes());
}

/// The tools beside the shell.
const SHELL_TOOLS: [&str; 17] = [
    "sh", "cat", "chmod", "chown", "cp", "date", "echo", "env", "id", "ln", "ls", "mkdir", "mv", "printf",
    "rm", "sed", "touch",
];

fn add(tar: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, content).expect("a Vec takes any bytes");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("a Vec takes any bytes")
}

fn put(blobs: &Path, bytes: &[u8], kind: &str) -> Value {
    let digest = digest(bytes);
    fs::write(blobs.join(&digest[7..]), bytes).expect("a blob can be written");
    json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "size": bytes.len(), "digest": digest })
}
