//! Who runs the processes of an extended run image: not root.
//!
//! Names are looked up in the image's own `/etc/passwd`: that of the uppermost new layer that has one,
//! else that of the root.
//!
//! Spec: platform.md "extender"; readings: spec-notes/decisions.md, "Final user of the run image".

use std::fs::File;
use std::io::Read;
use std::path::{Component, Path};

use extensions::apply::NotReady;
use extensions::layer::LayerFile;
use extensions::state::ConfigState;

use super::{Applied, Extend, ExtendError};
use crate::layers::decode::decompress;
use crate::log::Log;

/// The most bytes of a file of users.
const MAX_BYTES: u64 = 10 << 20;

/// Fails if the final user is root. Who was root before, because the run image names no user, may stay
/// it.
pub fn check(
    inputs: &Extend<'_>,
    state: &ConfigState,
    applied: &[Applied],
    log: &Log,
) -> Result<(), ExtendError> {
    let user = state.user.as_str();
    if user.is_empty() && inputs.base.config.user().is_empty() {
        log.warn("The extended run image names no user, so its processes run as root");
        return Ok(());
    }
    let name = user.split(':').next().unwrap_or_default();
    let is_root = match number(name) {
        Some(uid) => uid == 0,
        None => {
            name == "root" || is_named_root(inputs, applied, name).map_err(|source| unknown(user, source))?
        }
    };
    if is_root { Err(ExtendError::RootUser { user: user.to_owned() }) } else { Ok(()) }
}

fn unknown(user: &str, source: NotReady) -> ExtendError {
    ExtendError::User { user: user.to_owned(), source }
}

/// The number that a user is given as; none means root.
fn number(name: &str) -> Option<u64> {
    if name.is_empty() {
        return Some(0);
    }
    // One too large for a number of a user is not root's either.
    name.bytes().all(|byte| byte.is_ascii_digit()).then(|| name.parse().unwrap_or(u64::MAX))
}

fn is_named_root(inputs: &Extend<'_>, applied: &[Applied], name: &str) -> Result<bool, NotReady> {
    let steps = applied.iter().flat_map(|applied| &applied.steps).rev();
    for layer in steps.filter_map(|step| step.layer.as_ref()) {
        if let Some(passwd) = passwd_of_layer(layer)? {
            return Ok(uid(&passwd, name) == Some(0));
        }
    }
    (inputs.place.make_ready)()?;
    let file = match inputs.place.root.open_file(Path::new("etc/passwd")) {
        Ok(file) => file,
        Err(error) if error.is_missing() => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let mut bytes = Vec::new();
    file.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(uid(&String::from_utf8_lossy(&bytes), name) == Some(0))
}

/// `/etc/passwd` of a layer, if it has one.
fn passwd_of_layer(layer: &LayerFile) -> Result<Option<String>, NotReady> {
    let mut archive = tar::Archive::new(decompress(File::open(&layer.path)?)?);
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path()?;
        let names = path.components().filter(|part| matches!(part, Component::Normal(_)));
        if names.map(Component::as_os_str).eq(["etc", "passwd"]) {
            let mut bytes = Vec::new();
            entry.take(MAX_BYTES).read_to_end(&mut bytes)?;
            return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    Ok(None)
}

/// The number of the user of that name.
fn uid(passwd: &str, name: &str) -> Option<u64> {
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let entry =
        passwd.lines().map(fields).find(|fields| fields.first().is_some_and(|first| first == name))?;
    entry.get(2)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_whatever_their_form() {
        for (name, expected) in [
            ("0", Some(0)),
            ("00", Some(0)),
            ("", Some(0)),
            ("1000", Some(1000)),
            ("app", None),
            ("0x", None),
        ] {
            assert_eq!(number(name), expected, "{name}");
        }
        assert_ne!(number("99999999999999999999999"), Some(0));
    }

    #[test]
    fn names_are_looked_up() {
        let passwd = "root:x:0:0::/root:/bin/sh\nbroken\ntoor:x:0:0::/:\napp:x:7:7::/:\n";
        assert_eq!(uid(passwd, "toor"), Some(0));
        assert_eq!(uid(passwd, "app"), Some(7));
        assert_eq!(uid(passwd, "broken"), None);
        assert_eq!(uid(passwd, "nobody"), None);
    }
}
