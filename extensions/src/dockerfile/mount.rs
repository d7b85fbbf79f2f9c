//! `RUN --mount`: the flag as written, and the mount it asks for once its values are expanded.

use super::values::{parse_bool, parse_size_bytes};
use crate::expand::ExpandError;

/// A `--mount` flag as written: comma-separated `key=value` fields, values unexpanded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountFlag {
    /// The flag's value.
    pub text: String,
    /// Its fields: key in lower case, value if there is a `=`.
    pub fields: Vec<(String, Option<String>)>,
}

/// A mount for the time of one RUN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted.
    pub kind: MountKind,
    /// Where; may be relative to WORKDIR. Empty for a secret or a socket at its default place.
    pub target: String,
    /// Whether the process must not write to it.
    pub read_only: bool,
}

/// What a mount holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A path of the build context. Writes are discarded.
    Bind {
        /// The path in the context; empty for its root.
        source: String,
        /// A stage or image to take it from instead.
        from: Option<String>,
    },
    /// A directory that outlives the build.
    Cache {
        /// What names it; the target path when not given.
        id: Option<String>,
        /// Who may use it at the same time.
        sharing: Sharing,
        /// A stage or image for its first contents.
        from: Option<String>,
        /// The path in `from`; empty for its root.
        source: String,
        /// Owner and mode of a new one.
        attributes: Attributes,
    },
    /// A scratch directory.
    Tmpfs {
        /// Its limit; 0 for none.
        size_bytes: u64,
    },
    /// A secret of the platform's.
    Secret {
        /// What names it.
        id: Option<String>,
        /// An environment variable to give it in; empty for the one its name gives.
        env: Option<String>,
        /// Whether its absence fails the step.
        required: bool,
        /// Owner and mode of the file.
        attributes: Attributes,
    },
    /// An SSH agent's socket.
    Ssh {
        /// What names it.
        id: Option<String>,
        /// Whether its absence fails the step.
        required: bool,
        /// Owner and mode of the socket.
        attributes: Attributes,
    },
}

/// Owner and mode of what a mount makes; `None` takes the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Numeric user.
    pub uid: Option<u32>,
    /// Numeric group.
    pub gid: Option<u32>,
    /// Permission bits.
    pub mode: Option<u32>,
}

/// How a cache mount is shared among concurrent steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sharing {
    /// By all at once.
    #[default]
    Shared,
    /// Each has its own.
    Private,
    /// One after another.
    Locked,
}

impl MountFlag {
    /// Splits the flag's value into fields.
    pub(super) fn parse(text: &str) -> Result<Self, MountError> {
        let fields = csv(text)?
            .into_iter()
            .map(|field| match field.split_once('=') {
                Some((key, value)) => (key.to_lowercase(), Some(value.to_owned())),
                None => (field.to_lowercase(), None),
            })
            .collect();
        let flag = Self { text: text.to_owned(), fields };
        flag.check_from()?;
        Ok(flag)
    }

    /// Returns whether a variable takes part in it.
    pub fn has_variable(&self) -> bool {
        self.text.contains('$')
    }

    /// A stage cannot be chosen by a variable.
    fn check_from(&self) -> Result<(), MountError> {
        for (key, value) in &self.fields {
            let value = value.as_deref().unwrap_or("");
            if key == "from" && value.find('$').is_some_and(|at| at + 1 != value.len()) {
                return Err(MountError(format!("`{key}` cannot hold a variable")));
            }
        }
        Ok(())
    }

    /// Expands the values and decides which mount the flag asks for.
    ///
    /// # Errors
    /// A value that cannot be expanded, an unknown type, key or value, a key that the type does not
    /// have.
    pub fn resolve(&self, expand: &dyn Fn(&str) -> Result<String, ExpandError>) -> Result<Mount, MountError> {
        let mut options = MountOptions::default();
        for (key, value) in &self.fields {
            match value {
                Some(value) => options.set(key, expand(value)?)?,
                None => options.set_bare(key)?,
            }
        }
        options.mount()
    }
}

/// Why a `--mount` is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct MountError(String);

impl From<ExpandError> for MountError {
    fn from(error: ExpandError) -> Self {
        Self(error.to_string())
    }
}

fn invalid<T>(key: &str, value: &str) -> Result<T, MountError> {
    Err(MountError(format!("invalid value `{value}` for `{key}`")))
}

/// The keys of a mount, before its type says which of them it may have.
#[derive(Debug, Default)]
struct MountOptions {
    kind: Option<String>,
    from: Option<String>,
    source: String,
    target: String,
    read_only: Option<bool>,
    required: bool,
    size_bytes: Option<u64>,
    id: Option<String>,
    sharing: Option<Sharing>,
    env: Option<String>,
    attributes: Attributes,
}

impl MountOptions {
    fn kind(&self) -> &str {
        self.kind.as_deref().unwrap_or("bind")
    }

    fn set_bare(&mut self, key: &str) -> Result<(), MountError> {
        match key {
            "readonly" | "ro" => self.read_only = Some(true),
            "readwrite" | "rw" => self.read_only = Some(false),
            "required" => self.set_required(true)?,
            _ => {
                let message = format!("invalid field `{key}`: must be a key=value pair");
                return Err(MountError(message));
            }
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), MountError> {
        let flag = |value: &str| parse_bool(value).map_or_else(|| invalid(key, value), Ok);
        let id = |value: &str| value.parse().map_or_else(|_| invalid(key, value), |id| Ok(Some(id)));
        match key {
            "type" => self.set_kind(&value)?,
            "from" => self.from = Some(value).filter(|value| !value.is_empty()),
            "source" | "src" => self.source = value,
            "target" | "dst" | "destination" => self.target = value,
            "readonly" | "ro" => self.read_only = Some(flag(&value)?),
            "readwrite" | "rw" => self.read_only = Some(!flag(&value)?),
            "required" => self.set_required(flag(&value)?)?,
            "size" => self.set_size(&value)?,
            "id" => self.id = Some(value).filter(|value| !value.is_empty()),
            "sharing" => self.set_sharing(&value)?,
            "mode" => match u32::from_str_radix(&value, 8) {
                Ok(mode) => self.attributes.mode = Some(mode),
                Err(_) => return invalid(key, &value),
            },
            "uid" => self.attributes.uid = id(&value)?,
            "gid" => self.attributes.gid = id(&value)?,
            "env" => self.env = Some(value),
            _ => return Err(MountError(format!("unexpected key `{key}`"))),
        }
        Ok(())
    }

    fn set_kind(&mut self, value: &str) -> Result<(), MountError> {
        let kind = value.to_ascii_lowercase();
        if !matches!(kind.as_str(), "bind" | "cache" | "tmpfs" | "secret" | "ssh") {
            return Err(MountError(format!("unsupported mount type `{value}`")));
        }
        self.kind = Some(kind);
        Ok(())
    }

    fn set_required(&mut self, required: bool) -> Result<(), MountError> {
        if !matches!(self.kind(), "secret" | "ssh") {
            return Err(self.unexpected("required"));
        }
        self.required = required;
        Ok(())
    }

    fn set_size(&mut self, value: &str) -> Result<(), MountError> {
        if self.kind() != "tmpfs" {
            return Err(self.unexpected("size"));
        }
        match parse_size_bytes(value) {
            None => invalid("size", value),
            size => {
                self.size_bytes = size;
                Ok(())
            }
        }
    }

    fn set_sharing(&mut self, value: &str) -> Result<(), MountError> {
        self.sharing = Some(match value.to_ascii_lowercase().as_str() {
            "shared" => Sharing::Shared,
            "private" => Sharing::Private,
            "locked" => Sharing::Locked,
            _ => return invalid("sharing", value),
        });
        Ok(())
    }

    fn unexpected(&self, key: &str) -> MountError {
        let kind = self.kind();
        MountError(format!("unexpected key `{key}` for mount type `{kind}`"))
    }

    fn mount(self) -> Result<Mount, MountError> {
        self.check()?;
        let name = self.kind().to_owned();
        let (target, attributes, required) = (self.target, self.attributes, self.required);
        let (kind, writable) = match name.as_str() {
            "cache" => (
                MountKind::Cache {
                    id: self.id,
                    sharing: self.sharing.unwrap_or_default(),
                    from: self.from,
                    source: self.source,
                    attributes,
                },
                true,
            ),
            "tmpfs" => (MountKind::Tmpfs { size_bytes: self.size_bytes.unwrap_or(0) }, true),
            "secret" => (
                MountKind::Secret {
                    id: self.id.or(Some(self.source).filter(|source| !source.is_empty())),
                    env: self.env,
                    required,
                    attributes,
                },
                false,
            ),
            "ssh" => (MountKind::Ssh { id: self.id, required, attributes }, false),
            _ => (MountKind::Bind { source: self.source, from: self.from }, false),
        };
        Ok(Mount { kind, target, read_only: self.read_only.unwrap_or(!writable) })
    }

    /// Refuses keys that the type does not have.
    fn check(&self) -> Result<(), MountError> {
        let kind = self.kind();
        let Attributes { uid, gid, mode } = self.attributes;
        if matches!(kind, "bind" | "tmpfs") {
            for (key, given) in [("mode", mode), ("uid", uid), ("gid", gid)] {
                if given.is_some() {
                    return Err(self.unexpected(key));
                }
            }
        }
        if self.sharing.is_some() && kind != "cache" {
            return Err(self.unexpected("sharing"));
        }
        if kind == "secret" {
            return self.check_secret();
        }
        Ok(())
    }

    fn check_secret(&self) -> Result<(), MountError> {
        if self.from.is_some() {
            return Err(self.unexpected("from"));
        }
        let named = !self.source.is_empty();
        if !named && self.target.is_empty() && self.id.is_none() {
            return Err(MountError("a secret needs an id, a source or a target".to_owned()));
        }
        if named && self.id.is_some() {
            return Err(MountError("a secret cannot have both source and id".to_owned()));
        }
        Ok(())
    }
}

/// Splits at commas; a field may be quoted, with `""` for a quote in it.
fn csv(text: &str) -> Result<Vec<String>, MountError> {
    if text.is_empty() {
        return Err(MountError("the value is empty".to_owned()));
    }
    let stray = || MountError(format!("stray quote in `{text}`"));
    let mut fields = Vec::new();
    let mut rest = Some(text);
    while let Some(start) = rest {
        let Some(mut quoted) = start.strip_prefix('"') else {
            let (field, after) = match start.split_once(',') {
                Some((field, after)) => (field, Some(after)),
                None => (start, None),
            };
            if field.contains('"') {
                return Err(stray());
            }
            fields.push(field.to_owned());
            rest = after;
            continue;
        };
        let mut field = String::new();
        loop {
            let (part, after) = quoted.split_once('"').ok_or_else(stray)?;
            field.push_str(part);
            if let Some(after) = after.strip_prefix('"') {
                field.push('"');
                quoted = after;
                continue;
            }
            rest = after.strip_prefix(',');
            if rest.is_none() && !after.is_empty() {
                return Err(stray());
            }
            break;
        }
        fields.push(field);
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(text: &str) -> Result<Mount, String> {
        let words = |word: &str| crate::expand::word(word, '\\', &|_| Some("v".to_owned()));
        MountFlag::parse(text)
            .and_then(|flag| flag.resolve(&|word| words(word).map(|expansion| expansion.text)))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn each_type_has_its_defaults() {
        let mount = resolve("target=/x,source=$a").unwrap();
        let source = "v".to_owned();
        assert_eq!(mount.kind, MountKind::Bind { source, from: None });
        assert!(mount.read_only);
        let mount = resolve("type=cache,dst=/c,sharing=locked,uid=7,mode=0700,id=z").unwrap();
        assert!(!mount.read_only);
        assert_eq!(
            mount.kind,
            MountKind::Cache {
                id: Some("z".to_owned()),
                sharing: Sharing::Locked,
                from: None,
                source: String::new(),
                attributes: Attributes { uid: Some(7), gid: None, mode: Some(0o700) },
            }
        );
        let mount = resolve("type=tmpfs,target=/t,size=64m").unwrap();
        assert_eq!(mount.kind, MountKind::Tmpfs { size_bytes: 64 << 20 });
        let mount = resolve("type=secret,id=s,required,env=E").unwrap();
        assert!(matches!(mount.kind, MountKind::Secret { required: true, .. }));
        let mount = resolve("type=ssh").unwrap();
        assert!(matches!(mount.kind, MountKind::Ssh { required: false, .. }));
    }

    #[test]
    fn read_only_can_be_chosen() {
        assert!(!resolve("target=/x,rw").unwrap().read_only);
        assert!(!resolve("target=/x,ro=false").unwrap().read_only);
        assert!(resolve("type=cache,target=/x,readonly").unwrap().read_only);
        assert!(!resolve("target=/x,readwrite=1").unwrap().read_only);
    }

    #[test]
    fn what_a_type_does_not_have_is_an_error() {
        for (text, message) in [
            ("type=volume", "unsupported mount type `volume`"),
            ("type=bind,size=1", "unexpected key `size` for mount type `bind`"),
            ("required", "unexpected key `required` for mount type `bind`"),
            ("type=tmpfs,uid=1", "unexpected key `uid` for mount type `tmpfs`"),
            ("type=tmpfs,sharing=shared", "unexpected key `sharing` for mount type `tmpfs`"),
            ("type=cache,sharing=x", "invalid value `x` for `sharing`"),
            ("type=cache,uid=-1", "invalid value `-1` for `uid`"),
            ("type=cache,mode=9", "invalid value `9` for `mode`"),
            ("type=secret", "a secret needs an id, a source or a target"),
            ("type=secret,id=a,src=b", "a secret cannot have both source and id"),
            ("type=secret,id=a,from=b", "unexpected key `from` for mount type `secret`"),
            ("foo=1", "unexpected key `foo`"),
            ("foo", "invalid field `foo`: must be a key=value pair"),
            ("from=$x", "`from` cannot hold a variable"),
            ("ro=maybe", "invalid value `maybe` for `ro`"),
            ("", "the value is empty"),
            ("a\"b", "stray quote in `a\"b`"),
            ("\"a", "stray quote in `\"a`"),
        ] {
            assert_eq!(resolve(text).unwrap_err(), message, "{text}");
        }
    }

    #[test]
    fn fields_may_be_quoted() {
        assert_eq!(csv("a,\"b,c\",\"d\"\"e\"").unwrap(), ["a", "b,c", "d\"e"]);
        assert_eq!(csv("a,").unwrap(), ["a", ""]);
        assert_eq!(csv("\"a\",").unwrap(), ["a", ""]);
    }
}
