//! How a registry is reached: plainly or by TLS, whom it must prove to be, through which proxy.
//!
//! Values come from `cli`, which reads the environment; this module turns them into an agent per
//! registry host.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use ureq::Agent;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig, TlsProvider};

use crate::image::store::StoreError;

/// A connection that gets nothing sent or received for this long is given up.
const STALL: Duration = Duration::from_mins(1);
/// A registry may need long to store a large blob before it answers.
const ANSWER: Duration = Duration::from_mins(10);
const CONNECT: Duration = Duration::from_secs(30);
const MAX_PEM_BYTES: u64 = 4 << 20;

/// Proxies as the usual variables name them; empty texts mean none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http` URLs.
    pub http: String,
    /// For `https` URLs.
    pub https: String,
    /// Hosts that are reached directly: a list separated by commas.
    pub none: String,
}

/// Whom we trust and how we connect.
#[derive(Debug, Default)]
pub struct Trust {
    /// Prefixes of image names that may be reached without TLS or without a valid certificate.
    pub insecure: Vec<String>,
    /// Directories that hold `<host>/*.crt`, `<host>/*.cert` and `<host>/*.key`.
    pub certs_dirs: Vec<PathBuf>,
    /// Proxies.
    pub proxies: Proxies,
    roots: OnceLock<Vec<Certificate<'static>>>,
}

impl Trust {
    /// Trust in the system's roots, `insecure` name prefixes, and certificates by host.
    pub fn new(insecure: Vec<String>, certs_dirs: Vec<PathBuf>, proxies: Proxies) -> Self {
        let insecure = insecure.into_iter().filter(|prefix| !prefix.is_empty()).collect();
        Self { insecure, certs_dirs, proxies, roots: OnceLock::new() }
    }

    /// Whether images named `registry/repository` were declared insecure.
    pub fn is_insecure(&self, registry: &str, repository: &str) -> bool {
        let name = format!("{registry}/{repository}");
        self.insecure.iter().any(|prefix| name.starts_with(prefix.as_str()))
    }

    /// An agent for `host` (with port). Without `verified`, any certificate will do and no proxy is
    /// used, as platforms expect of insecure registries.
    pub fn agent(&self, host: &str, scheme: &str, verified: bool) -> Result<Agent, StoreError> {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .timeout_per_write(Some(STALL))
            .max_idle_connections(16)
            .max_idle_connections_per_host(16)
            .user_agent(concat!("lifecycle/", env!("CARGO_PKG_VERSION")))
            .proxy(if verified { self.proxy(host, scheme)? } else { None })
            .tls_config(self.tls(host, verified)?)
            .build();
        Ok(config.new_agent())
    }

    fn tls(&self, host: &str, verified: bool) -> Result<TlsConfig, StoreError> {
        let mut roots = self.system_roots().to_vec();
        let mut client = None;
        for directory in self.certs_dirs.iter().map(|dir| dir.join(host)) {
            roots.extend(certificates(&directory, "crt")?);
            client = client.or(client_certificate(&directory)?);
        }
        Ok(TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .root_certs(RootCerts::new_with_certs(&roots))
            .client_cert(client)
            .disable_verification(!verified)
            .build())
    }

    /// The system's roots (`SSL_CERT_FILE` and `SSL_CERT_DIR` honoured), or Mozilla's where an image
    /// has none.
    fn system_roots(&self) -> &[Certificate<'static>] {
        self.roots.get_or_init(|| {
            let native = rustls_native_certs::load_native_certs().certs;
            native.iter().map(|der| Certificate::from_der(der).to_owned()).collect()
        })
    }

    fn proxy(&self, host: &str, scheme: &str) -> Result<Option<ureq::Proxy>, StoreError> {
        let url = if scheme == "https" { &self.proxies.https } else { &self.proxies.http };
        if url.is_empty() || is_direct(host, &self.proxies.none) {
            return Ok(None);
        }
        let url = if url.contains("://") { url.clone() } else { format!("http://{url}") };
        let wrong = |_| StoreError::Refused(format!("the proxy for {scheme} is not a URL with a host"));
        ureq::Proxy::new(&url).map(Some).map_err(wrong)
    }
}

/// Whether `host` may be reached by plain http without being declared insecure: loopback and
/// private networks, as registry clients of all platforms have it.
pub fn is_local(host: &str) -> bool {
    let name = host_name(host);
    if name == "localhost" || name.ends_with(".localhost") {
        return true;
    }
    match name.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private(),
        Ok(std::net::IpAddr::V6(ip)) => ip.is_loopback(),
        Err(_) => false,
    }
}

/// Whether `host` is reached without a proxy: loopback always, else by the rules of `NO_PROXY`
/// (`*`, names with all below them, `.name`, addresses, networks, each with an optional port).
pub fn is_direct(host: &str, no_proxy: &str) -> bool {
    let name = host_name(host);
    let address = name.parse::<std::net::IpAddr>().ok();
    if name == "localhost" || address.is_some_and(|ip| ip.is_loopback()) {
        return true;
    }
    no_proxy.split(',').map(str::trim).filter(|rule| !rule.is_empty()).any(|rule| {
        let rule = if rule.contains(':') && rule == host { return true } else { rule };
        let plain = rule.trim_start_matches('*').trim_start_matches('.').to_ascii_lowercase();
        let below = name.strip_suffix(&plain).is_some_and(|rest| rest.ends_with('.'));
        rule == "*"
            || (name == plain && !rule.starts_with(['.', '*']))
            || (below && !plain.is_empty())
            || address.is_some_and(|ip| in_network(ip, rule))
    })
}

/// Whether `ip` is in the network `address/bits`.
fn in_network(ip: std::net::IpAddr, network: &str) -> bool {
    let Some((base, bits)) = network.split_once('/') else { return false };
    let (Ok(base), Ok(bits)) = (base.parse::<std::net::IpAddr>(), bits.parse::<u32>()) else { return false };
    match (ip, base) {
        (std::net::IpAddr::V4(a), std::net::IpAddr::V4(b)) => {
            bits <= 32 && (a.to_bits() ^ b.to_bits()).checked_shr(32 - bits).unwrap_or(0) == 0
        }
        (std::net::IpAddr::V6(a), std::net::IpAddr::V6(b)) => {
            bits <= 128 && (a.to_bits() ^ b.to_bits()).checked_shr(128 - bits).unwrap_or(0) == 0
        }
        _ => false,
    }
}

/// The host without its port, lower case, without the brackets of an IPv6 address.
fn host_name(host: &str) -> String {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or(v6),
        None => host.split(':').next().unwrap_or(host),
    };
    name.to_ascii_lowercase()
}

/// Every certificate of the files in `directory` that end in `.extension`; none when there is no
/// such directory.
fn certificates(directory: &Path, extension: &str) -> Result<Vec<Certificate<'static>>, StoreError> {
    let mut found = Vec::new();
    for path in files(directory, extension) {
        let pem = read(&path)?;
        for der in CertificateDer::pem_slice_iter(&pem) {
            let der = der.map_err(|error| damaged(&path, &error))?;
            found.push(Certificate::from_der(&der).to_owned());
        }
    }
    Ok(found)
}

/// The first `*.cert` with the `*.key` of the same name, by which we prove who we are.
fn client_certificate(directory: &Path) -> Result<Option<ClientCert>, StoreError> {
    let Some(path) = files(directory, "cert").into_iter().next() else { return Ok(None) };
    let pem = read(&path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|error| damaged(&path, &error))?;
    let chain: Vec<Certificate<'static>> =
        chain.iter().map(|der| Certificate::from_der(der).to_owned()).collect();
    let key_path = path.with_extension("key");
    let key_pem = read(&key_path)?;
    let der = PrivateKeyDer::from_pem_slice(&key_pem).map_err(|error| damaged(&key_path, &error))?;
    usable(&chain, der).map_err(|why| StoreError::Damaged { what: path.display().to_string(), why })?;
    let key = PrivateKey::from_pem(&key_pem).map_err(|_| StoreError::Damaged {
        what: key_path.display().to_string(),
        why: "it holds no private key".to_owned(),
    })?;
    Ok(Some(ClientCert::new_with_certs(&chain, key)))
}

/// Why a certificate and its key cannot be used together; what makes connections takes that for granted.
fn usable(chain: &[Certificate<'static>], key: PrivateKeyDer<'static>) -> Result<(), String> {
    let chain = chain.iter().map(|certificate| CertificateDer::from(certificate.der().to_vec())).collect();
    let provider = rustls::crypto::ring::default_provider();
    match rustls::sign::CertifiedKey::from_der(chain, key, &provider) {
        Ok(_) => Ok(()),
        Err(error) if error.to_string().contains("UnsupportedCertVersion") => {
            Err("it is an X.509 certificate of a version before 3".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut found: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|e| e == extension)).collect();
    found.sort();
    found
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    let file = fs::File::open(path).and_then(|file| file.take(MAX_PEM_BYTES).read_to_end(&mut bytes));
    match file {
        Ok(_) => Ok(bytes),
        Err(source) => Err(StoreError::Io { action: "read", what: path.display().to_string(), source }),
    }
}

fn damaged(path: &Path, error: &rustls::pki_types::pem::Error) -> StoreError {
    StoreError::Damaged { what: path.display().to_string(), why: error.to_string() }
}

/// How long a response body may give nothing.
pub const fn stall() -> Duration {
    STALL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_private_hosts_are_local() {
        for host in
            ["localhost:5000", "127.0.0.1", "x.localhost", "[::1]:5000", "10.1.2.3", "192.168.0.1:5000"]
        {
            assert!(is_local(host), "{host}");
        }
        for host in ["example.com", "8.8.8.8", "localhost.example.com", "[2001:db8::1]"] {
            assert!(!is_local(host), "{host}");
        }
    }

    #[test]
    fn no_proxy_is_read_as_other_tools_read_it() {
        let list = "internal.example, .sub.example,*.star.example,10.0.0.0/8,one.example:5000";
        for host in [
            "internal.example",
            "a.internal.example:443",
            "a.sub.example",
            "a.star.example",
            "10.9.9.9:1",
            "one.example:5000",
            "127.0.0.1:5000",
            "localhost",
        ] {
            assert!(is_direct(host, list), "{host}");
        }
        for host in ["sub.example", "notinternal.example", "11.0.0.1", "one.example:5001", "example"] {
            assert!(!is_direct(host, list), "{host}");
        }
        assert!(is_direct("any.example", "*"));
    }

    #[test]
    fn insecure_names_are_prefixes_and_never_empty() {
        let trust =
            Trust::new(vec![String::new(), "r.example:5000".to_owned()], Vec::new(), Proxies::default());
        assert!(trust.is_insecure("r.example:5000", "a/b"));
        assert!(!trust.is_insecure("r.example", "a/b"));
    }
}
