//! Bearer tokens: fetched from the server that a challenge names, kept while they are valid.
//!
//! Spec: distribution "Token Authentication Specification", "OAuth2 Token Authentication".

use std::time::{Duration, Instant};

use serde::Deserialize;
use ureq::Agent;
use ureq::http::Method;

use super::credential::{Credential, redact};
use super::http::{Request, Response, exchange};
use super::retry::{self, Failure};
use super::url;
use crate::image::store::StoreError;

const MAX_TOKEN_BYTES: u64 = 1 << 20;
/// A token server that moved its path is followed so often.
const MAX_REDIRECTS: usize = 3;
/// What a token is worth when its server does not say, as the specification has it.
const DEFAULT_LIFE: u64 = 60;

/// A token and until when it may be used.
#[derive(Clone)]
pub struct Token {
    value: String,
    until: Instant,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("until", &self.until).finish_non_exhaustive()
    }
}

impl Token {
    /// The value of the authorization header, or `None` when the token has (almost) expired.
    pub fn header(&self) -> Option<String> {
        (Instant::now() < self.until).then(|| format!("Bearer {}", self.value))
    }
}

/// What a token is asked for.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The token server's URL.
    pub realm: &'a str,
    /// The registry's name there.
    pub service: &'a str,
    /// For example `repository:team/app:pull,push`.
    pub scopes: &'a [String],
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// Asks the token server, with retries.
pub fn fetch(
    agent: &Agent,
    wanted: &Wanted<'_>,
    credential: Option<&Credential>,
) -> Result<Token, StoreError> {
    let hidden = secrets(credential);
    let mut tried = 0;
    loop {
        tried += 1;
        let asked = Instant::now();
        let answer = ask(agent, wanted, credential);
        let failure = match &answer {
            Ok(response) if response.is_success() => return read(answer?, asked),
            Ok(response) => Failure::Status(response.status, response.retry_after()),
            Err(error) => Failure::of(error),
        };
        match retry::wait(failure, tried, retry::jitter()) {
            Some(wait) => std::thread::sleep(wait),
            None => return Err(answer?.refused(|text| redact(text, hidden.clone()))),
        }
    }
}

fn ask(agent: &Agent, wanted: &Wanted<'_>, credential: Option<&Credential>) -> Result<Response, StoreError> {
    if let Some(Credential::Identity(token)) = credential {
        let form = [
            ("grant_type", "refresh_token"),
            ("service", wanted.service),
            ("client_id", "lifecycle"),
            ("scope", &wanted.scopes.join(" ")),
            ("refresh_token", token),
        ];
        let form: Vec<String> =
            form.iter().map(|(name, value)| format!("{name}={}", url::escape(value))).collect();
        let form = form.join("&");
        let request = Request::new(Method::POST, wanted.realm)
            .body("application/x-www-form-urlencoded", form.as_bytes());
        return exchange(agent, &request, None, None);
    }
    let mut target = wanted.realm.to_owned();
    if !wanted.service.is_empty() {
        target = url::with_parameter(&target, "service", wanted.service);
    }
    for scope in wanted.scopes {
        target = url::with_parameter(&target, "scope", scope);
    }
    let header = credential.and_then(Credential::basic_header);
    follow(agent, target, header.as_deref())
}

/// Asks, also where the server has moved to. Credentials go to nobody but the one that the registry
/// named, by the way that it named: another host or scheme is not followed.
fn follow(agent: &Agent, mut target: String, authorization: Option<&str>) -> Result<Response, StoreError> {
    let mut hops = 0;
    loop {
        let response = exchange(agent, &Request::new(Method::GET, target.clone()), authorization, None)?;
        let next = response.header("location").and_then(|location| url::join(&target, location));
        match next {
            Some(next)
                if is_redirect(response.status)
                    && hops < MAX_REDIRECTS
                    && url::origin(&next) == url::origin(&target) =>
            {
                (target, hops) = (next, hops + 1);
            }
            _ => return Ok(response),
        }
    }
}

fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

fn read(response: Response, asked: Instant) -> Result<Token, StoreError> {
    let what = response.asked.clone();
    let damaged = |why: &str| StoreError::Damaged { what: what.clone(), why: why.to_owned() };
    let bytes = response.bytes(MAX_TOKEN_BYTES)?;
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| damaged("the answer is no token"))?;
    let value = if answer.token.is_empty() { answer.access_token } else { answer.token };
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err(damaged("the answer holds no token"));
    }
    let life = answer.expires_in.unwrap_or(DEFAULT_LIFE).min(86_400);
    // Not to its last moment: the request that carries it has a way to go.
    Ok(Token { value, until: asked + Duration::from_secs(life) * 4 / 5 })
}

fn secrets(credential: Option<&Credential>) -> Vec<String> {
    match credential {
        Some(Credential::Basic { password, .. }) => vec![password.clone()],
        Some(Credential::Bearer(token) | Credential::Identity(token)) => vec![token.clone()],
        None => Vec::new(),
    }
}
