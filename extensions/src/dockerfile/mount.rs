//! `RUN --mount`: the flag as written, and the mount it asks for once its values are expanded.

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
