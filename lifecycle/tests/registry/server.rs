//! A `docker-registry` on loopback, for one test.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running registry; ended when dropped.
pub struct Registry {
    /// Host and port.
    pub host: String,
    child: Child,
    _directory: tempfile::TempDir,
}

impl Registry {
    /// Starts a registry without TLS and accounts.
    pub fn plain() -> Self {
        Self::start(&|_| String::new())
    }

    /// Starts a registry for which `user`/`secret-word` must be given.
    pub fn with_basic_auth() -> Self {
        let output = Command::new("htpasswd").args(["-Bbn", "user", "secret-word"]).output();
        let output = output.expect("htpasswd is installed (./acceptance/run installs it)");
        Self::start(&|directory| {
            let path = directory.join("htpasswd");
            std::fs::write(&path, &output.stdout).expect("a temporary file");
            format!("auth: {{htpasswd: {{realm: test, path: {}}}}}\n", path.display())
        })
    }

    fn start(extra: &dyn Fn(&Path) -> String) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let host = format!("127.0.0.1:{port}");
        let config = format!(
            "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\nhttp: {{addr: \"{host}\"}}\n",
            directory.path().join("data").display()
        ) + &extra(directory.path());
        let path = directory.path().join("config.yml");
        std::fs::write(&path, config).expect("a temporary file");
        let child = Command::new("docker-registry")
            .args(["serve"])
            .arg(&path)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("docker-registry is installed (./acceptance/run installs it)");
        let registry = Self { host, child, _directory: directory };
        registry.wait();
        registry
    }

    fn wait(&self) {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if answers(&self.host) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("docker-registry did not answer at {}", self.host);
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a listener has an address").port()
}

fn answers(host: &str) -> bool {
    let Ok(mut stream) = TcpStream::connect(host) else { return false };
    let mut answer = [0; 8];
    let asked = write!(stream, "GET /v2/ HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    asked.is_ok() && stream.read_exact(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.1")
}
