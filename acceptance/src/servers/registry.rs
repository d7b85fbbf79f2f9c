//! A `docker-registry` on loopback, for one test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::{free_port, wait_for};

/// The user that a registry with accounts knows.
pub const USER: &str = "user";
/// Its password.
pub const PASSWORD: &str = "secret-word";

/// A name that registries with TLS have beside their address, and that nobody can resolve.
pub const NAME: &str = "registry.example";

/// A running registry; ended when dropped.
#[derive(Debug)]
pub struct Registry {
    /// Host and port.
    pub host: String,
    child: Child,
    directory: tempfile::TempDir,
}

impl Registry {
    /// Starts a registry without TLS and accounts.
    pub fn plain() -> Self {
        Self::start(|_| Settings::default())
    }

    /// Starts a registry that knows [`USER`] with [`PASSWORD`] only.
    pub fn with_basic_auth() -> Self {
        Self::start(|directory| Settings { auth: basic_auth(directory), tls: String::new() })
    }

    /// Starts a registry with TLS, its certificate made by an authority of its own
    /// ([`Registry::authority`]), and accounts.
    pub fn with_tls_and_basic_auth() -> Self {
        Self::start(|directory| Settings { auth: basic_auth(directory), tls: tls(directory) })
    }

    /// Starts a registry with TLS that asks everybody for a certificate of its authority, without accounts.
    /// One is among its files.
    pub fn with_client_certificates() -> Self {
        Self::start(|directory| {
            let authority = directory.join("ca.crt");
            let tls = tls(directory).replace('}', &format!(", clientcas: [{}]}}", authority.display()));
            Settings { auth: String::new(), tls }
        })
    }

    /// A file of its authority: `client.crt` and `client.key` for a client, `old.crt` of an outdated form.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The certificate of the authority that a TLS registry's certificate is from.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("ca.crt")
    }

    /// All blobs' bytes on the registry's disk.
    pub fn stored_bytes(&self) -> u64 {
        size(&self.directory.path().join("data/docker/registry/v2/blobs"))
    }

    fn start(settings: impl Fn(&Path) -> Settings) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let host = format!("127.0.0.1:{}", free_port());
        let Settings { auth, tls } = settings(directory.path());
        let data = directory.path().join("data");
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: \"{host}\"{tls}}}\n{auth}",
            data.display()
        );
        let path = directory.path().join("config.yml");
        std::fs::write(&path, config).expect("a temporary file can be written");
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed (./acceptance/run installs it)");
        wait_for(&host);
        Self { host, child, directory }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Debug, Default)]
struct Settings {
    auth: String,
    tls: String,
}

fn basic_auth(directory: &Path) -> String {
    let output = Command::new("htpasswd").args(["-Bbn", USER, PASSWORD]).output();
    let output = output.expect("htpasswd is installed (./acceptance/run installs it)");
    let path = directory.join("htpasswd");
    std::fs::write(&path, &output.stdout).expect("a temporary file can be written");
    format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path.display())
}

/// Makes an authority, a certificate for 127.0.0.1 and [`NAME`], and one for a client; gives the registry's settings.
fn tls(directory: &Path) -> String {
    let script = "set -e; cd \"$1\"
        openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=test-authority \
          -keyout ca.key -out ca.crt
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=127.0.0.1 -keyout server.key -out server.csr
        printf 'subjectAltName=IP:127.0.0.1,DNS:%s\\nbasicConstraints=CA:FALSE\\n' \"$2\" > extensions
        openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out server.crt
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=client -keyout client.key -out client.csr
        openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out old.crt
        printf 'basicConstraints=CA:FALSE\\nextendedKeyUsage=clientAuth\\n' > extensions
        openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out client.crt";
    let output =
        Command::new("sh").args(["-c", script, "sh"]).arg(directory).arg(NAME).output().expect("sh exists");
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    let file = |name: &str| directory.join(name).display().to_string();
    format!(", tls: {{certificate: {}, key: {}}}", file("server.crt"), file("server.key"))
}

fn size(path: &Path) -> u64 {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .map(|e| if e.path().is_dir() { size(&e.path()) } else { e.metadata().map_or(0, |m| m.len()) })
        .sum()
}
