//! The engine's API: the handful of calls that an image store needs, at the newest version that both
//! sides speak.
//!
//! Source: Docker Engine API 1.40 and later.

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::http::{self, Method};
use ureq::{Agent, AsSendBody, SendBody};

use super::socket::{NoResolver, SocketConnector};
use crate::image::store::StoreError;

/// The oldest API that has all we need.
const OLDEST: Version = Version(1, 40);
/// The newest API that this was written for.
const NEWEST: Version = Version(1, 51);
/// The first API that lists the manifests of an image and says whether all of their blobs are there.
const TELLS_CONTENTS: Version = Version(1, 48);
/// Connections opened before privileges are dropped: one at work, one in reserve.
const CONNECTIONS: usize = 2;
/// The largest answer that is kept in memory.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Version(u32, u32);

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('.')?;
        Some(Self(major.parse().ok()?, minor.parse().ok()?))
    }
}

/// Where an engine listens, as `DOCKER_HOST` says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A Unix socket.
    Socket(String),
    /// Host and port, reached without TLS.
    Tcp(String),
}

impl Address {
    /// Parses `DOCKER_HOST`; empty means the usual socket.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        match text.split_once("://") {
            None if text.is_empty() => Ok(Self::Socket("/var/run/docker.sock".to_owned())),
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Socket(path.to_owned())),
            Some(("tcp" | "http", host)) if !host.is_empty() => {
                Ok(Self::Tcp(host.trim_end_matches('/').to_owned()))
            }
            _ => Err(StoreError::Refused(format!(
                "DOCKER_HOST is `{text}`; it must be `unix:///path` or `tcp://host:port`"
            ))),
        }
    }
}

/// A connected engine.
#[derive(Debug)]
pub struct Engine {
    agent: Agent,
    base: String,
    shown: String,
    version: Version,
}

/// What the engine says of itself.
#[derive(Debug, Deserialize)]
struct About {
    #[serde(rename = "ApiVersion")]
    newest: String,
    #[serde(rename = "MinAPIVersion", default)]
    oldest: String,
}

impl Engine {
    /// Connects while we still may, and agrees on a version.
    pub fn connect(address: &Address) -> Result<Self, StoreError> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections(4)
            .max_idle_connections_per_host(4)
            .max_idle_age(Duration::from_hours(24))
            .proxy(None)
            .build();
        let (agent, base, shown) = match address {
            Address::Socket(path) => {
                let failed = |source| StoreError::Io {
                    action: "connect to the Docker engine at",
                    what: path.clone(),
                    source,
                };
                let connector = SocketConnector::open(Path::new(path), CONNECTIONS).map_err(failed)?;
                let agent = Agent::with_parts(config, connector, NoResolver);
                (agent, "http://docker".to_owned(), format!("unix://{path}"))
            }
            Address::Tcp(host) => (config.new_agent(), format!("http://{host}"), format!("tcp://{host}")),
        };
        let mut engine = Self { agent, base, shown, version: OLDEST };
        let about: About = engine.get("/version")?.ok_or_else(|| engine.odd("it has no /version"))?;
        let theirs =
            Version::parse(&about.newest).ok_or_else(|| engine.odd("its API version is unreadable"))?;
        let floor = Version::parse(&about.oldest).unwrap_or(OLDEST);
        if theirs < OLDEST {
            return Err(engine.odd(&format!("its API {} is older than 1.40", about.newest)));
        }
        engine.version = theirs.min(NEWEST.max(floor));
        let Version(major, minor) = engine.version;
        engine.base = format!("{}/v{major}.{minor}", engine.base);
        Ok(engine)
    }

    /// Whether it says of an image which manifests it has and whether their blobs are there.
    pub fn tells_contents(&self) -> bool {
        self.version >= TELLS_CONTENTS
    }

    /// Keeps idle connections from being closed.
    pub fn ping(&self) -> Result<(), StoreError> {
        let response = self.call(&Method::GET, "/_ping", ())?;
        self.text(response).map(drop)
    }

    /// The JSON under `path`; `None` on 404.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, StoreError> {
        let response = self.call(&Method::GET, path, ())?;
        match response.status().as_u16() {
            404 => self.text(response).map(|_| None),
            200 => {
                let text = self.text(response)?;
                serde_json::from_str(&text)
                    .map(Some)
                    .map_err(|error| self.odd(&format!("GET {path}: {error}")))
            }
            _ => Err(self.refused(&format!("GET {path}"), response)),
        }
    }

    /// A stream, such as `/images/get`.
    pub fn stream(&self, path: &str) -> Result<impl Read + Send + 'static, StoreError> {
        let response = self.call(&Method::GET, path, ())?;
        if response.status() == 200 {
            Ok(response.into_body().into_with_config().limit(u64::MAX).reader())
        } else {
            Err(self.refused(&format!("GET {path}"), response))
        }
    }

    /// Posts nothing to `path`.
    pub fn post(&self, path: &str) -> Result<(), StoreError> {
        self.order(&Method::POST, path)
    }

    /// Deletes what is at `path`.
    pub fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.order(&Method::DELETE, path)
    }

    fn order(&self, method: &Method, path: &str) -> Result<(), StoreError> {
        let response = self.call(method, path, SendBody::none())?;
        if response.status().is_success() {
            return self.text(response).map(drop);
        }
        Err(self.refused(&format!("{method} {path}"), response))
    }

    /// Posts a tar of unknown length to `path`; gives the engine's answer.
    pub fn upload(&self, path: &str, tar: &mut dyn Read) -> Result<String, StoreError> {
        let response = self.call(&Method::POST, path, SendBody::from_reader(tar))?;
        if response.status().is_success() {
            self.text(response)
        } else {
            Err(self.refused(&format!("POST {path}"), response))
        }
    }

    fn call(
        &self,
        method: &Method,
        path: &str,
        body: impl AsSendBody,
    ) -> Result<http::Response<ureq::Body>, StoreError> {
        let what = format!("{} ({method} {path})", self.shown);
        let failed = |error: String| StoreError::Io {
            action: "reach the Docker engine at",
            what: what.clone(),
            source: io::Error::other(error),
        };
        let request = http::Request::builder().method(method).uri(format!("{}{path}", self.base));
        let request = request.header("content-type", "application/x-tar").body(body);
        self.agent.run(request.map_err(|e| failed(e.to_string()))?).map_err(|e| failed(e.to_string()))
    }

    /// Reads an answer to its end, so that its connection can be used again.
    fn text(&self, response: http::Response<ureq::Body>) -> Result<String, StoreError> {
        let body = response.into_body().into_with_config().limit(MAX_ANSWER_BYTES);
        let mut text = Vec::new();
        let read = body.reader().read_to_end(&mut text);
        read.map_err(|source| StoreError::Io {
            action: "read from the Docker engine at",
            what: self.shown.clone(),
            source,
        })?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn refused(&self, asked: &str, response: http::Response<ureq::Body>) -> StoreError {
        #[derive(Deserialize)]
        struct Said {
            message: String,
        }
        let status = response.status().as_u16();
        let text = self.text(response).unwrap_or_default();
        let message = serde_json::from_str::<Said>(&text).map_or(text, |said| said.message);
        let message: String = message.trim().chars().take(400).collect();
        StoreError::Refused(format!(
            "the Docker engine at {} answered {asked} with {status}: {message}",
            self.shown
        ))
    }

    fn odd(&self, why: &str) -> StoreError {
        StoreError::Refused(format!("the Docker engine at {} cannot be used: {why}", self.shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&Address>) {
        assert_eq!(Address::parse(text).ok().as_ref(), expected);
    }

    #[test]
    fn engines_listen_on_sockets_and_ports() {
        check("", Some(&Address::Socket("/var/run/docker.sock".to_owned())));
        check("unix:///run/x.sock", Some(&Address::Socket("/run/x.sock".to_owned())));
        check("tcp://127.0.0.1:2375/", Some(&Address::Tcp("127.0.0.1:2375".to_owned())));
        for text in ["ssh://host", "unix://relative", "tcp://", "nonsense"] {
            check(text, None);
        }
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(Version::parse("1.41") > Some(OLDEST) && Version::parse("1.9") < Some(OLDEST));
        assert_eq!(Version::parse("1"), None);
    }
}
