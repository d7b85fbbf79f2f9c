//! Which store a phase's images are in: chosen here and nowhere else.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use super::exit::{Exit, Failure};
use super::experimental::{self, Feature};
use super::values::{InputError, Inputs};
use super::{inputs, keychain, registries};
use crate::cache::{LaunchCache, VolumeCache};
use crate::image::manifest::{Encoding, Platform};
use crate::image::store::ImageStore;
use crate::image::store::daemon::DaemonStore;
use crate::image::store::daemon::engine::{Address, Engine};
use crate::image::store::layout::LayoutStore;
use crate::image::store::registry::RegistryStore;
use crate::image::store::registry::client::Client;
use crate::image::store::registry::trust::{Proxies, Trust};
use crate::log::{Log, chain};
use crate::reference::StoreKind;

/// How long a connection may be idle.
const KEEP_ALIVE: Duration = Duration::from_millis(500);

/// Which kind of store the platform asks for: a registry, unless told otherwise.
///
/// # Errors
/// When it asks for two at once.
pub fn kind(inputs: &Inputs) -> Result<StoreKind, Failure> {
    match (inputs.switch(inputs::LAYOUT), inputs.switch(inputs::DAEMON)) {
        (false, false) => Ok(StoreKind::Registry),
        (true, false) => Ok(StoreKind::Layout),
        (false, true) => Ok(StoreKind::Daemon),
        (true, true) => {
            let error = InputError::Unsupported(inputs::DAEMON.name(), " together with -layout");
            Err(Failure::new(Exit::Arguments, "resolve inputs", error))
        }
    }
}

/// Opens the store of that kind.
///
/// # Errors
/// When a layout is asked for without a directory, or where experimental features are off.
pub fn open(inputs: &Inputs, kind: StoreKind, log: &Log) -> Result<Box<dyn ImageStore>, Failure> {
    match kind {
        StoreKind::Layout => {
            let dir = inputs.path(inputs::LAYOUT_DIR).ok_or_else(|| {
                let error = InputError::Missing(inputs::LAYOUT_DIR.name(), " with -layout");
                Failure::new(Exit::Arguments, "resolve inputs", error)
            })?;
            experimental::guard(inputs, Feature::Layout, log)?;
            Ok(Box::new(LayoutStore::new(dir, Platform::host(), encoding(inputs)?)))
        }
        StoreKind::Registry => Ok(Box::new(registry(inputs, log)?)),
        StoreKind::Daemon => Ok(Box::new(daemon(inputs)?)),
    }
}

/// The store with a launch cache around it, where the platform gives one and images are in a daemon.
/// Opened by the user who owns what is in it.
pub fn with_launch_cache(
    store: Box<dyn ImageStore>,
    inputs: &Inputs,
    kind: StoreKind,
    log: &Log,
) -> Box<dyn ImageStore> {
    let Some(dir) = inputs.path(inputs::LAUNCH_CACHE).filter(|_| kind == StoreKind::Daemon) else {
        return store;
    };
    match VolumeCache::open(&dir, log) {
        Ok(cache) => Box::new(LaunchCache::new(store, cache, log.clone())),
        Err(error) => {
            log.warn(format!("No launch cache will be used: {}", chain(&error)));
            store
        }
    }
}

/// Does `work` while `store` keeps its connections: an engine closes those that are idle, and the user
/// that this process has become may not open new ones.
pub fn keeping_alive<T>(store: &dyn ImageStore, work: impl FnOnce() -> T) -> T {
    let (done, ended) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while ended.recv_timeout(KEEP_ALIVE) == Err(mpsc::RecvTimeoutError::Timeout) {
                store.keep_alive();
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// How new layers are compressed.
pub fn encoding(inputs: &Inputs) -> Result<Encoding, Failure> {
    let text = inputs.text(inputs::LAYER_COMPRESSION).unwrap_or_default();
    match text.as_str() {
        "" | "gzip" => Ok(Encoding::Gzip),
        "zstd" => Ok(Encoding::Zstd),
        _ => {
            let name = inputs::LAYER_COMPRESSION.name();
            let error = InputError::Value { name, value: text, wanted: "gzip or zstd" };
            Err(Failure::new(Exit::Arguments, "resolve inputs", error))
        }
    }
}

/// A store of registries, with every credential that this phase may need.
pub fn registry(inputs: &Inputs, log: &Log) -> Result<RegistryStore, Failure> {
    let registries = registries::named(inputs);
    let keychain = keychain::load(&inputs.variables, &registries, &|text| log.warn(text))
        .map_err(|error| Failure::new(Exit::Arguments, "resolve keychain", error))?;
    let client = Client::new(trust(inputs), keychain, log.clone());
    Ok(RegistryStore::new(client, Platform::host(), encoding(inputs)?))
}

/// Whom this phase trusts, and which proxies it uses.
pub fn trust(inputs: &Inputs) -> Trust {
    let variable = |names: [&str; 2]| {
        let values = names.iter().filter_map(|name| inputs.other_variable(name)?.to_str());
        values.into_iter().find(|value| !value.is_empty()).unwrap_or_default().to_owned()
    };
    let proxies = Proxies {
        http: variable(["HTTP_PROXY", "http_proxy"]),
        https: variable(["HTTPS_PROXY", "https_proxy"]),
        none: variable(["NO_PROXY", "no_proxy"]),
    };
    let home = inputs.other_variable("HOME").map(|home| Path::new(home).join(".docker/certs.d"));
    let certs = ["/etc/docker/certs.d", "/etc/containers/certs.d"].map(PathBuf::from);
    Trust::new(inputs.list(inputs::INSECURE_REGISTRY), certs.into_iter().chain(home).collect(), proxies)
}

fn daemon(inputs: &Inputs) -> Result<DaemonStore, Failure> {
    let failed = |error| Failure::new(inputs.phase.into(), inputs.phase.verb(), error);
    let host = inputs.other_variable("DOCKER_HOST").and_then(|host| host.to_str()).unwrap_or_default();
    let address = Address::parse(host).map_err(failed)?;
    let engine = Engine::connect(&address).map_err(|error| {
        failed(error).hint("Mount the engine's socket, set DOCKER_HOST, or leave -daemon out.")
    })?;
    DaemonStore::new(engine).map_err(failed)
}
