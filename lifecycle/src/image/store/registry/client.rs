//! Requests to registries with everything that makes them succeed: the right scheme, credentials
//! when asked for, redirects without credentials, retries.

use std::collections::BTreeMap;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ureq::Agent;
use ureq::http::Method;

use super::challenge::Challenge;
use super::credential::{Credential, Keychain};
use super::http::{Request, Response, exchange};
use super::retry::{self, Failure};
use super::token::{self, Token, Wanted};
use super::trust::{Trust, is_local};
use super::url;
use crate::image::store::StoreError;
use crate::log::Log;

const MAX_REDIRECTS: usize = 10;
/// A token may expire while a request waits for its next try; more refusals than this are meant.
const MAX_CHALLENGES: usize = 3;

/// A server that speaks no TLS may keep a TLS greeting waiting for ever.
const DISCOVERY: Duration = Duration::from_secs(5);

/// A client of any number of registries, shared by all threads.
#[derive(Debug)]
pub struct Client {
    trust: Trust,
    keychain: Keychain,
    log: Log,
    hosts: Mutex<BTreeMap<(String, bool), Arc<Host>>>,
    agents: Mutex<BTreeMap<(String, bool), Agent>>,
}

/// A registry host as it turned out to be reached.
#[derive(Debug)]
struct Host {
    base: String,
    verified: bool,
    session: Mutex<Session>,
}

#[derive(Debug, Default)]
struct Session {
    challenge: Option<Challenge>,
    tokens: BTreeMap<String, Token>,
}

/// What a request may do, which is what its token is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read.
    Pull,
    /// Read and write.
    Push,
}

/// The repository that a request is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Repository {
    /// Host and port.
    pub registry: String,
    /// Path.
    pub name: String,
}

impl std::fmt::Display for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

/// A repository, the action, and a second repository that is read from (of a mount).
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// The repository.
    pub repository: &'a Repository,
    /// The action.
    pub action: Action,
    /// The source of a mount.
    pub from: Option<&'a str>,
}

impl<'a> Access<'a> {
    /// Access to one repository.
    pub fn new(repository: &'a Repository, action: Action) -> Self {
        Self { repository, action, from: None }
    }

    fn scopes(&self) -> Vec<String> {
        let actions = if self.action == Action::Pull { "pull" } else { "pull,push" };
        let own = format!("repository:{}:{actions}", self.repository.name);
        std::iter::once(own).chain(self.from.map(|name| format!("repository:{name}:pull"))).collect()
    }
}

impl Client {
    /// A client that trusts by `trust`, proves itself by `keychain` and tells `log` (at debug level)
    /// which source of credentials it used for which registry.
    pub fn new(trust: Trust, keychain: Keychain, log: Log) -> Self {
        Self { trust, keychain, log, hosts: Mutex::default(), agents: Mutex::default() }
    }

    /// The URL of `path` (`manifests/latest`) of a repository.
    pub fn url(&self, repository: &Repository, path: &str) -> Result<String, StoreError> {
        Ok(format!("{}/v2/{}/{path}", self.host(repository)?.base, repository.name))
    }

    /// Sends `request` until it is answered for good; the answer may be any status that no retry
    /// would change.
    pub fn send(&self, access: &Access<'_>, mut request: Request<'_>) -> Result<Response, StoreError> {
        let host = self.host(access.repository)?;
        let (mut tried, mut challenges, mut redirects) = (0, 0, 0);
        loop {
            tried += 1;
            let answer = self.once(&host, access, &request, None);
            let failure = match &answer {
                Err(error @ StoreError::Io { .. }) => Failure::of(error),
                Err(_) => return answer,
                Ok(response) if response.status == 401 && challenges < MAX_CHALLENGES => {
                    challenges += 1;
                    if Self::challenged(&host, response) || challenges == 1 {
                        tried -= 1;
                        continue;
                    }
                    return answer;
                }
                Ok(response) if may_follow(&request, response) => {
                    redirects += 1;
                    request.url = Self::redirected(&host, response, redirects)?;
                    tried -= 1;
                    continue;
                }
                Ok(response) => Failure::Status(response.status, response.retry_after()),
            };
            match retry::wait(failure, tried, retry::jitter()) {
                Some(wait) => std::thread::sleep(wait),
                None => return answer,
            }
        }
    }

    /// Sends `request` once with `body` as its content, of `length` bytes where that is known. The
    /// caller decides what a failure means.
    pub fn stream(
        &self,
        access: &Access<'_>,
        request: &Request<'_>,
        body: &mut dyn Read,
        length: Option<u64>,
    ) -> Result<Response, StoreError> {
        let host = self.host(access.repository)?;
        let response = self.once(&host, access, request, Some((body, length)))?;
        if response.status == 401 {
            Self::challenged(&host, &response);
        }
        Ok(response)
    }

    /// The answer as an error that holds no credential.
    pub fn refused(&self, response: Response) -> StoreError {
        response.refused(|text| self.keychain.redact(text))
    }

    fn once(
        &self,
        host: &Host,
        access: &Access<'_>,
        request: &Request<'_>,
        stream: Option<(&mut dyn Read, Option<u64>)>,
    ) -> Result<Response, StoreError> {
        let own = url::origin(&request.url) == Some(host.base.as_str());
        let authorization = if own { self.authorization(host, access)? } else { None };
        let agent = self.agent(&request.url, host.verified)?;
        exchange(&agent, request, authorization.as_deref(), stream)
    }

    /// What is known to convince `host`; nothing before it asked, but for tokens given as such.
    fn authorization(&self, host: &Host, access: &Access<'_>) -> Result<Option<String>, StoreError> {
        let entry = self.keychain.find(&access.repository.registry, &access.repository.name);
        let credential = entry.map(|entry| &entry.credential);
        if let Some(Credential::Bearer(token)) = credential {
            return Ok(Some(format!("Bearer {token}")));
        }
        let mut session = host.session.lock().unwrap_or_else(PoisonError::into_inner);
        match session.challenge.clone() {
            None => Ok(None),
            Some(Challenge::Basic) => Ok(credential.and_then(Credential::basic_header)),
            Some(Challenge::Bearer { realm, service, .. }) => {
                let scopes = access.scopes();
                let key = scopes.join(" ");
                if let Some(header) = session.tokens.get(&key).and_then(Token::header) {
                    return Ok(Some(header));
                }
                let wanted = Wanted { realm: &realm, service: &service, scopes: &scopes };
                let token = self.token(host, &wanted, credential)?;
                let header = token.header();
                session.tokens.insert(key, token);
                Ok(header)
            }
        }
    }

    fn token(
        &self,
        host: &Host,
        wanted: &Wanted<'_>,
        credential: Option<&Credential>,
    ) -> Result<Token, StoreError> {
        let plain = wanted.realm.starts_with("http://") && host.verified && host.base.starts_with("https://");
        let local = url::origin(wanted.realm).is_some_and(|o| is_local(o.trim_start_matches("http://")));
        if url::origin(wanted.realm).is_none() || (plain && !local) {
            let realm = url::shown(wanted.realm);
            return Err(StoreError::Refused(format!(
                "{}: its token server `{realm}` is not reached by https",
                host.base
            )));
        }
        token::fetch(&self.agent(wanted.realm, host.verified)?, wanted, credential)
    }

    /// Remembers what a 401 asks for; `false` when there is nothing new to try.
    fn challenged(host: &Host, response: &Response) -> bool {
        if url::origin(&response.url) != Some(host.base.as_str()) {
            return false;
        }
        let headers = response.headers.get_all("www-authenticate");
        let Some(challenge) = Challenge::parse(headers.iter().filter_map(|value| value.to_str().ok())) else {
            return false;
        };
        let mut session = host.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.tokens.clear();
        let known = session.challenge.as_ref() == Some(&challenge);
        let repeated = known && challenge == Challenge::Basic;
        session.challenge = Some(challenge);
        !repeated
    }

    fn redirected(host: &Host, response: &Response, hops: usize) -> Result<String, StoreError> {
        let refused = |why: &str| StoreError::Refused(format!("{}: {why}", response.asked));
        if hops > MAX_REDIRECTS {
            return Err(refused("too many redirects"));
        }
        let target = response.header("location").and_then(|location| url::join(&response.url, location));
        let target = target.ok_or_else(|| refused("a redirect without a usable location"))?;
        if host.verified && response.url.starts_with("https://") && !target.starts_with("https://") {
            return Err(refused("a redirect from https to http"));
        }
        Ok(target)
    }

    /// The host of a repository; the first use finds out how it is reached.
    fn host(&self, repository: &Repository) -> Result<Arc<Host>, StoreError> {
        let insecure = self.trust.is_insecure(&repository.registry, &repository.name);
        let key = (repository.registry.clone(), insecure);
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = hosts.get(&key) {
            return Ok(host.clone());
        }
        let host = Arc::new(self.discover(repository, insecure)?);
        if let Some(entry) = self.keychain.find(&repository.registry, &repository.name) {
            self.log.debug(format!("Using credentials from {} for {}", entry.source, repository.registry));
        } else {
            self.log.debug(format!("Using no credentials for {}", repository.registry));
        }
        hosts.insert(key, host.clone());
        Ok(host)
    }

    /// Registries are reached by https. Only where plain http is allowed too it must be found out
    /// which one answers: https is tried first.
    fn discover(&self, repository: &Repository, insecure: bool) -> Result<Host, StoreError> {
        let https = format!("https://{}", repository.registry);
        let host = |base, session| Host { base, verified: !insecure, session: Mutex::new(session) };
        if !insecure && !is_local(&repository.registry) {
            return Ok(host(https, Session::default()));
        }
        let mut ping = Request::new(Method::GET, format!("{https}/v2/"));
        ping.patience = Some(DISCOVERY);
        match exchange(&self.agent(&https, !insecure)?, &ping, None, None) {
            Ok(response) => {
                let headers = response.headers.get_all("www-authenticate");
                let challenge = Challenge::parse(headers.iter().filter_map(|value| value.to_str().ok()));
                Ok(host(https, Session { challenge, ..Session::default() }))
            }
            // It speaks TLS: whoever goes on without would get past its certificate.
            Err(error) if Failure::of(&error) == Failure::Certificate => Ok(host(https, Session::default())),
            Err(_) => Ok(host(format!("http://{}", repository.registry), Session::default())),
        }
    }

    fn agent(&self, target: &str, verified: bool) -> Result<Agent, StoreError> {
        let origin = url::origin(target)
            .ok_or_else(|| StoreError::Refused(format!("`{}` is no URL", url::shown(target))))?;
        let mut agents = self.agents.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (origin.to_owned(), verified);
        if let Some(agent) = agents.get(&key) {
            return Ok(agent.clone());
        }
        let (scheme, host) = origin.split_once("://").unwrap_or(("https", origin));
        let agent = self.trust.agent(host, scheme, verified)?;
        agents.insert(key, agent.clone());
        Ok(agent)
    }
}

fn may_follow(request: &Request<'_>, response: &Response) -> bool {
    let reads = request.method == Method::GET || request.method == Method::HEAD;
    reads && matches!(response.status, 301 | 302 | 303 | 307 | 308)
}
