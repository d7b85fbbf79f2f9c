//! A token server: issues opaque tokens for basic credentials or a refresh token, and knows for how
//! long each is good.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::registry::{PASSWORD, USER};

/// The refresh token that is accepted beside user and password.
pub const REFRESH_TOKEN: &str = "refresh-secret-word";

/// A bearer token that is good for everything, for ever.
pub const BEARER_TOKEN: &str = "bearer-secret-word";

/// The tokens given out so far.
#[derive(Debug)]
pub struct Tokens {
    life: Duration,
    given: Mutex<BTreeMap<String, (Instant, String)>>,
}

impl Tokens {
    /// A server whose tokens are good for `life`.
    pub fn new(life: Duration) -> Self {
        Self { life, given: Mutex::default() }
    }

    /// Answers a request for a token: status and body.
    pub fn answer(&self, target: &str, authorization: Option<&str>, body: &str) -> (u16, String) {
        let basic = format!("Basic {}", base64(&format!("{USER}:{PASSWORD}")));
        let by_refresh = body.split('&').any(|pair| pair == format!("refresh_token={REFRESH_TOKEN}"));
        if authorization != Some(basic.as_str()) && !by_refresh {
            return (
                401,
                format!("{{\"errors\":[{{\"code\":\"UNAUTHORIZED\",\"message\":\"{authorization:?}\"}}]}}"),
            );
        }
        let scopes = decode(if by_refresh { body } else { target });
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let token = format!("token-{}", given.len());
        given.insert(token.clone(), (Instant::now(), scopes));
        let life = self.life.as_secs();
        (200, format!("{{\"token\":\"{token}\",\"access_token\":\"{token}\",\"expires_in\":{life}}}"))
    }

    /// Whether `authorization` allows `method` on `repository` now.
    pub fn allow(&self, authorization: Option<&str>, method: &str, repository: &str) -> bool {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        let token = authorization.and_then(|header| header.strip_prefix("Bearer "));
        if token == Some(BEARER_TOKEN) {
            return true;
        }
        let token = token.and_then(|token| given.get(token));
        let action = if method == "GET" || method == "HEAD" { "pull" } else { "push" };
        token.is_some_and(|(since, scopes)| {
            let scoped =
                scopes.split(['&', ' ', '=', '?']).filter_map(|part| part.strip_prefix("repository:"));
            let fits = scoped
                .filter_map(|scope| scope.rsplit_once(':'))
                .any(|(name, actions)| name == repository && actions.split(',').any(|each| each == action));
            since.elapsed() < self.life && (repository.is_empty() || fits)
        })
    }

    /// How many tokens were given out.
    pub fn count(&self) -> usize {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Percent-decoding, with `+` as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let hex: Vec<u8> = rest.by_ref().take(2).collect();
            let hex = String::from_utf8_lossy(&hex).into_owned();
            bytes.push(u8::from_str_radix(&hex, 16).unwrap_or(b'?'));
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Base64 as basic authorization has it.
pub fn base64(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = usize::try_from(bits >> (18 - 6 * digit) & 63).expect("six bits");
            encoded.push(if digit <= chunk.len() { char::from(ALPHABET[index]) } else { '=' });
        }
    }
    encoded
}
