//! Credentials for registries, gathered before privileges are dropped: `CNB_REGISTRY_AUTH` first,
//! then the docker config with its helpers.
//!
//! Spec: platform.md "Registry Authentication"; docker's `config.json` and its credential helper
//! protocol.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::values::Variables;
use crate::image::store::registry::credential::{Credential, Entry, Keychain};

const MAX_CONFIG_BYTES: u64 = 4 << 20;
const HELPER_PATIENCE: Duration = Duration::from_secs(30);

/// Why no keychain could be put together. No message holds a credential.
#[derive(Debug, thiserror::Error)]
pub enum KeychainError {
    /// `CNB_REGISTRY_AUTH` is not an object of texts.
    #[error(
        "failed to parse CNB_REGISTRY_AUTH value as JSON: it must be an object of header values by registry"
    )]
    NotJson,
    /// A header value is of no known form.
    #[error(
        "failed to parse CNB_REGISTRY_AUTH: the value for `{0}` is not `Basic …`, `Bearer …` or `X-Identity …`"
    )]
    Form(String),
}

/// Everything that is known about credentials for `registries`. A docker config that is broken or
/// a helper that fails is passed over with a warning, as docker's own tools do.
pub fn load(
    variables: &Variables,
    registries: &[String],
    warn: &dyn Fn(String),
) -> Result<Keychain, KeychainError> {
    let text = |name: &str| {
        let value = variables.get(std::ffi::OsStr::new(name))?.to_str()?;
        (!value.is_empty()).then_some(value)
    };
    let mut keychain = Keychain::new(text("CNB_REGISTRY_AUTH").map_or(Ok(Vec::new()), registry_auth)?);
    if let Some(path) = config_path(text("DOCKER_CONFIG"), text("HOME")) {
        match read(&path) {
            Ok(Some(json)) => match serde_json::from_str::<DockerConfig>(&json) {
                Ok(config) => keychain.extend(config.entries(&path, registries, &|helper, registry| {
                    ask(helper, registry, variables).unwrap_or_else(|why| {
                        warn(format!("credential helper `{helper}` gives nothing for `{registry}`: {why}"));
                        None
                    })
                })),
                Err(_) => warn(format!("`{}` is not a docker config and is passed over", path.display())),
            },
            Ok(None) => {}
            Err(error) => warn(format!("failed to read `{}`: {error}", path.display())),
        }
    }
    Ok(keychain)
}

/// Parses `{"registry": "Basic …"}`.
pub fn registry_auth(json: &str) -> Result<Vec<Entry>, KeychainError> {
    let values: BTreeMap<String, String> = serde_json::from_str(json).map_err(|_| KeychainError::NotJson)?;
    values
        .into_iter()
        .map(|(scope, header)| {
            let credential = header_credential(&header).ok_or_else(|| KeychainError::Form(scope.clone()))?;
            Ok(Entry { scope, source: "CNB_REGISTRY_AUTH".to_owned(), credential })
        })
        .collect()
}

fn header_credential(header: &str) -> Option<Credential> {
    let (scheme, value) = header.trim().split_once(' ')?;
    let value = value.trim();
    if value.is_empty() || value.chars().any(char::is_control) {
        return None;
    }
    match scheme.to_ascii_lowercase().as_str() {
        "basic" => basic(value),
        "bearer" => Some(Credential::Bearer(value.to_owned())),
        "x-identity" => Some(Credential::Identity(value.to_owned())),
        _ => None,
    }
}

/// `user:password` in base64.
fn basic(encoded: &str) -> Option<Credential> {
    let bytes = STANDARD.decode(encoded.trim_end_matches('\0')).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.trim_end_matches('\0').split_once(':')?;
    Some(Credential::Basic { user: user.to_owned(), password: password.to_owned() })
}

/// What matters of docker's `config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct DockerConfig {
    auths: BTreeMap<String, Auth>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "lowercase")]
struct Auth {
    #[serde(rename = "auth")]
    encoded: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth(…)")
    }
}

impl Auth {
    fn credential(self) -> Option<Credential> {
        if !self.registrytoken.is_empty() {
            return Some(Credential::Bearer(self.registrytoken));
        }
        if !self.identitytoken.is_empty() {
            return Some(Credential::Identity(self.identitytoken));
        }
        if !self.encoded.is_empty() {
            return basic(&self.encoded);
        }
        let given = !self.username.is_empty();
        given.then_some(Credential::Basic { user: self.username, password: self.password })
    }
}

impl DockerConfig {
    /// The config's own credentials, and what `helper` gives for each of `registries` that has one:
    /// a helper of its own goes before `auths`, the common store comes last.
    fn entries(
        self,
        path: &Path,
        registries: &[String],
        helper: &dyn Fn(&str, &str) -> Option<Credential>,
    ) -> Vec<Entry> {
        let source = path.display().to_string();
        let entry = |scope: &str, source: &str, credential: Credential| Entry {
            scope: scope.to_owned(),
            source: source.to_owned(),
            credential,
        };
        let mut entries = Vec::new();
        for registry in registries {
            let key = [registry.as_str(), "docker.io", "https://index.docker.io/v1/"];
            let aliases = if registry == "index.docker.io" { &key[..] } else { &key[..1] };
            let own = aliases.iter().find_map(|alias| self.helpers.get(*alias));
            entries.extend(own.and_then(|name| {
                let from = format!("credential helper {name}");
                Some(entry(registry, &from, helper(name, hub_url(registry))?))
            }));
        }
        for (scope, auth) in self.auths {
            entries.extend(auth.credential().map(|credential| entry(&scope, &source, credential)));
        }
        for registry in registries.iter().filter(|_| !self.store.is_empty()) {
            let from = format!("credential store {}", self.store);
            entries.extend(helper(&self.store, hub_url(registry)).map(|found| entry(registry, &from, found)));
        }
        entries
    }
}

/// Helpers know Docker Hub by this URL.
fn hub_url(registry: &str) -> &str {
    if registry == "index.docker.io" { "https://index.docker.io/v1/" } else { registry }
}

fn config_path(docker_config: Option<&str>, home: Option<&str>) -> Option<PathBuf> {
    let directory = docker_config.map(PathBuf::from).or_else(|| Some(Path::new(home?).join(".docker")))?;
    Some(directory.join("config.json"))
}

fn read(path: &Path) -> std::io::Result<Option<String>> {
    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    file.take(MAX_CONFIG_BYTES).read_to_string(&mut text)?;
    Ok(Some(text))
}

#[derive(Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username")]
    user: String,
    #[serde(rename = "Secret")]
    secret: String,
}

/// Runs `docker-credential-<helper> get`; `None` when it knows nothing.
fn ask(helper: &str, registry: &str, variables: &Variables) -> Result<Option<Credential>, String> {
    if helper.is_empty() || !helper.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Err("it is not the name of a program".to_owned());
    }
    let path = variables.get(std::ffi::OsStr::new("PATH")).cloned().unwrap_or_default();
    let program = format!("docker-credential-{helper}");
    let found = std::env::split_paths(&path).map(|dir| dir.join(&program)).find(|file| file.is_file());
    let program = found.ok_or_else(|| format!("`{program}` is not in PATH"))?;
    let mut child = Command::new(program)
        .arg("get")
        .env_clear()
        .envs(variables.iter().filter(|(name, _)| name.as_os_str() != "CNB_REGISTRY_AUTH"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| error.to_string())?;
    let (mut input, output) = (child.stdin.take(), child.stdout.take());
    let (sender, answer) = mpsc::channel();
    let asked = registry.to_owned();
    std::thread::spawn(move || {
        let _ = input.as_mut().map(|input| input.write_all(asked.as_bytes()));
        drop(input);
        let mut text = Vec::new();
        let _ = output.map(|output| output.take(MAX_CONFIG_BYTES).read_to_end(&mut text));
        let _ = sender.send(text);
    });
    let Ok(text) = answer.recv_timeout(HELPER_PATIENCE) else {
        let _ = child.kill().and_then(|()| child.wait());
        return Err(format!("no answer within {} s", HELPER_PATIENCE.as_secs()));
    };
    let success = child.wait().is_ok_and(|status| status.success());
    Ok(if success { helper_credential(&text) } else { None })
}

/// `<token>` as the user marks an identity token.
fn helper_credential(json: &[u8]) -> Option<Credential> {
    let answer: HelperAnswer = serde_json::from_slice(json).ok()?;
    match answer.user.as_str() {
        _ if answer.secret.is_empty() => None,
        "<token>" => Some(Credential::Identity(answer.secret)),
        _ => Some(Credential::Basic { user: answer.user, password: answer.secret }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic_of(user: &str, password: &str) -> Credential {
        Credential::Basic { user: user.to_owned(), password: password.to_owned() }
    }

    #[test]
    fn registry_auth_knows_three_schemes() {
        let json = r#"{"a":"Basic dTpw","b":"bearer t","c":"X-Identity i"}"#;
        let found: Vec<Credential> =
            registry_auth(json).expect("valid").into_iter().map(|e| e.credential).collect();
        let expected =
            [basic_of("u", "p"), Credential::Bearer("t".to_owned()), Credential::Identity("i".to_owned())];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_broken_registry_auth_is_an_error_that_shows_no_secret() {
        for json in ["{bad", "[]", r#"{"a":1}"#, r#"{"a":"Digest s3cret"}"#, r#"{"a":"Basic s3cret"}"#] {
            let error = registry_auth(json).expect_err("broken").to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn docker_configs_give_auths_helpers_and_the_store_in_that_order() {
        let json = r#"{"auths":{"r.example":{"auth":"dTpw"},"e.example":{"auth":""},"t.example":{"identitytoken":"i"}},
            "credHelpers":{"h.example":"one","r.example":"two"},"credsStore":"three","other":{}}"#;
        let config: DockerConfig = serde_json::from_str(json).expect("valid");
        let registries = ["r.example".to_owned(), "h.example".to_owned()];
        let helper = |name: &str, registry: &str| Some(basic_of(name, registry));
        let keychain = Keychain::new(config.entries(Path::new("/c"), &registries, &helper));
        let find =
            |registry: &str| keychain.find(registry, "x").map(|e| (e.source.as_str(), e.credential.clone()));
        assert_eq!(find("r.example"), Some(("credential helper two", basic_of("two", "r.example"))));
        assert_eq!(find("h.example"), Some(("credential helper one", basic_of("one", "h.example"))));
        assert_eq!(find("t.example"), Some(("/c", Credential::Identity("i".to_owned()))));
        assert_eq!(find("e.example"), None);
    }

    #[test]
    fn helpers_mark_identity_tokens() {
        let answer = |json: &str| helper_credential(json.as_bytes());
        assert_eq!(
            answer(r#"{"Username":"<token>","Secret":"i"}"#),
            Some(Credential::Identity("i".to_owned()))
        );
        assert_eq!(answer(r#"{"Username":"u","Secret":"p"}"#), Some(basic_of("u", "p")));
        assert_eq!(answer(r#"{"Username":"u","Secret":""}"#), None);
        assert_eq!(answer("credentials not found"), None);
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            let _ = (registry_auth(&text), helper_credential(text.as_bytes()), header_credential(&text));
            let _ = serde_json::from_str::<DockerConfig>(&text);
        }
    }
}
