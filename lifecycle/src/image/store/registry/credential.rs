//! Credentials for registries: what they are, and which one is for a repository.
//!
//! Nothing here reads a file or a variable: `cli::keychain` does, before privileges are dropped.
//! A credential never shows in `Debug` output, and [`Keychain::redact`] takes it out of any text
//! that is about to be shown.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What proves to a registry who we are.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user and password, sent as they are or exchanged for a token where the registry asks for one.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token sent as it is.
    Bearer(String),
    /// An OAuth2 refresh token, exchanged for an access token.
    Identity(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Basic { .. } => "Basic(…)",
            Self::Bearer(_) => "Bearer(…)",
            Self::Identity(_) => "Identity(…)",
        })
    }
}

impl Credential {
    /// The value of a `Basic` authorization header; `None` for tokens.
    pub fn basic_header(&self) -> Option<String> {
        match self {
            Self::Basic { user, password } => {
                Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
            }
            Self::Bearer(_) | Self::Identity(_) => None,
        }
    }

    /// Every text that must not be shown.
    fn secrets(&self) -> Vec<String> {
        match self {
            Self::Basic { user, password } => {
                vec![
                    STANDARD.encode(format!("{user}:{password}")),
                    STANDARD.encode(password),
                    password.clone(),
                ]
            }
            Self::Bearer(token) | Self::Identity(token) => vec![token.clone()],
        }
    }
}

/// A credential and where it was found, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// A registry's host, or `host/path` where it is for repositories below that path only.
    pub scope: String,
    /// For example `CNB_REGISTRY_AUTH` or the path of a docker config.
    pub source: String,
    /// The credential.
    pub credential: Credential,
}

/// Credentials by registry; the first source that knows a registry wins, and in it the longest path.
#[derive(Debug, Clone, Default)]
pub struct Keychain {
    entries: Vec<Entry>,
}

impl Keychain {
    /// Entries in the order of their sources, the most important one first.
    pub fn new(entries: Vec<Entry>) -> Self {
        Self { entries }
    }

    /// Adds entries of a source less important than those before.
    pub fn extend(&mut self, entries: impl IntoIterator<Item = Entry>) {
        self.entries.extend(entries);
    }

    /// The entry for `repository` of `registry`; `None` means anonymous.
    pub fn find(&self, registry: &str, repository: &str) -> Option<&Entry> {
        let wanted = format!("{}/{repository}", canonical(registry));
        let fits = |entry: &&Entry| {
            let scope = canonical(&entry.scope);
            wanted.strip_prefix(&scope).is_some_and(|rest| rest.starts_with('/') || rest.is_empty())
        };
        let first = self.entries.iter().find(fits)?;
        self.entries
            .iter()
            .filter(|entry| entry.source == first.source)
            .filter(fits)
            .max_by_key(|e| e.scope.len())
    }

    /// `text` without any credential of this keychain.
    pub fn redact(&self, text: &str) -> String {
        let secrets = self.entries.iter().flat_map(|entry| entry.credential.secrets());
        redact(text, secrets)
    }
}

/// `text` with every one of `secrets` replaced. Very short ones are left: they occur by chance.
pub fn redact(text: &str, secrets: impl IntoIterator<Item = String>) -> String {
    secrets
        .into_iter()
        .filter(|secret| secret.len() >= 4)
        .fold(text.to_owned(), |text, secret| text.replace(&secret, "[redacted]"))
}

/// Registry names that mean the same: Docker Hub has several, configs may hold URLs.
fn canonical(scope: &str) -> String {
    let plain = scope.trim_start_matches("https://").trim_start_matches("http://").trim_end_matches('/');
    let plain = plain.strip_suffix("/v1").or_else(|| plain.strip_suffix("/v2")).unwrap_or(plain);
    match plain.split_once('/') {
        None if is_docker_hub(plain) => "index.docker.io".to_owned(),
        Some((host, path)) if is_docker_hub(host) => format!("index.docker.io/{path}"),
        _ => plain.to_owned(),
    }
}

fn is_docker_hub(host: &str) -> bool {
    ["docker.io", "index.docker.io", "registry-1.docker.io"].contains(&host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(scope: &str, source: &str, user: &str) -> Entry {
        let credential = Credential::Basic { user: user.to_owned(), password: "secret-word".to_owned() };
        Entry { scope: scope.to_owned(), source: source.to_owned(), credential }
    }

    #[track_caller]
    fn check(keychain: &Keychain, registry: &str, repository: &str, expected: Option<&str>) {
        let found = keychain.find(registry, repository).map(|entry| match &entry.credential {
            Credential::Basic { user, .. } => user.as_str(),
            _ => "token",
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn the_first_source_and_the_longest_path_win() {
        let keychain = Keychain::new(vec![
            entry("r.example", "a", "one"),
            entry("r.example/team", "a", "two"),
            entry("r.example/team/app", "b", "three"),
            entry("https://index.docker.io/v1/", "b", "hub"),
        ]);
        check(&keychain, "r.example", "other/app", Some("one"));
        check(&keychain, "r.example", "team/app", Some("two"));
        check(&keychain, "r.example", "teammate/app", Some("one"));
        check(&keychain, "r.example:5000", "team/app", None);
        check(&keychain, "index.docker.io", "library/ubuntu", Some("hub"));
        check(&keychain, "docker.io", "library/ubuntu", Some("hub"));
        check(&keychain, "else.example", "x", None);
    }

    #[test]
    fn nothing_secret_is_shown() {
        let keychain = Keychain::new(vec![entry("r.example", "a", "one")]);
        assert!(!format!("{keychain:?}").contains("secret-word"));
        let header =
            keychain.find("r.example", "x").and_then(|e| e.credential.basic_header()).expect("basic");
        let shown = keychain.redact(&format!("denied: {header}, secret-word"));
        assert_eq!(shown, "denied: Basic [redacted], [redacted]");
    }
}
