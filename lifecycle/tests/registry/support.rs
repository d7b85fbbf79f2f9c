//! Clients for tests.

use std::sync::Arc;

use acceptance::servers::registry::USER;
use lifecycle::image::store::registry::client::{Client, Repository};
use lifecycle::image::store::registry::credential::{Credential, Entry, Keychain};
use lifecycle::image::store::registry::trust::Trust;
use lifecycle::image::store::registry::upload::Uploads;
use lifecycle::log::{Level, Log};

/// Uploads to a repository at `host`.
pub fn uploads(host: &str, name: &str, keychain: Keychain) -> Uploads {
    let (log, _) = Log::buffer(Level::Debug);
    let client = Arc::new(Client::new(Trust::default(), keychain, log));
    Uploads { client, repository: Repository { registry: host.to_owned(), name: name.to_owned() } }
}

/// The test user's account with `password`.
pub fn account(host: &str, password: &str) -> Keychain {
    credential(host, Credential::Basic { user: USER.to_owned(), password: password.to_owned() })
}

/// A keychain of one credential.
pub fn credential(host: &str, credential: Credential) -> Keychain {
    Keychain::new(vec![Entry { scope: host.to_owned(), source: "test".to_owned(), credential }])
}

/// Bytes that do not compress, the same each time.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
