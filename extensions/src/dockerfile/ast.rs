//! The typed form of a Dockerfile: what was written, before any variable is expanded.
//!
//! The types say what BuildKit's frontend understands, not what an extension may use: that is
//! [`policy`](crate::policy)'s to decide.

use super::MountFlag;

/// A parsed Dockerfile; only [`parse`](super::parse) makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dockerfile {
    /// The name used in messages, for example `run.Dockerfile`.
    pub name: String,
    /// The parser directives of the first lines.
    pub directives: Directives,
    /// The ARG instructions that stand before the first FROM; only FROM sees their values.
    pub meta_args: Vec<Instruction>,
    /// Each FROM and what follows it, in order of the file; never empty.
    pub stages: Vec<Stage>,
    /// What is legal today and will not stay so.
    pub warnings: Vec<SyntaxWarning>,
    /// The file's text, for messages that point into it.
    pub text: String,
}

/// Parser directives: `# escape=`, `# syntax=`, `# check=`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directives {
    /// The character that escapes and, at the end of a line, continues it: a backslash or a backtick.
    pub escape: char,
    /// The frontend asked for; recorded, never fetched.
    pub syntax: Option<String>,
    /// The linter's options; recorded, never obeyed.
    pub check: Option<String>,
}

impl Default for Directives {
    fn default() -> Self {
        Self { escape: '\\', syntax: None, check: None }
    }
}

/// A FROM instruction and what follows it, up to the next FROM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The FROM instruction.
    pub from: From,
    /// The instructions below it, in order.
    pub instructions: Vec<Instruction>,
}

/// A FROM instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// The image as written, variables unexpanded.
    pub image: String,
    /// The value of `--platform`.
    pub platform: Option<String>,
    /// The stage's name in lower case, if it has one.
    pub alias: Option<String>,
    /// The instruction's text.
    pub original: String,
    /// Where it stands.
    pub span: Span,
}

/// An instruction below FROM, or an ARG above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// What it says.
    pub kind: Kind,
    /// The text as BuildKit renders it: continuations joined, comments left out, outer white space
    /// trimmed, heredoc bodies left out.
    pub original: String,
    /// Where it stands.
    pub span: Span,
}

/// The lines of a file that an instruction spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The line of its name, from 1.
    pub line: usize,
    /// The column of its name in characters, from 1.
    pub column: usize,
    /// The last line, heredoc bodies included.
    pub last_line: usize,
}

/// Something BuildKit accepts with a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxWarning {
    /// The line it is about, from 1.
    pub line: usize,
    /// The message.
    pub message: String,
}

/// What an instruction says. Words are unexpanded and still quoted where expansion removes quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// ADD.
    Add(Add),
    /// ARG: one or more declarations.
    Arg(Vec<Declaration>),
    /// COPY.
    Copy(Copy),
    /// ENV: pairs in order.
    Env(Vec<Pair>),
    /// LABEL: pairs in order.
    Label(Vec<Pair>),
    /// RUN.
    Run(Run),
    /// SHELL: the shell's argv, never empty.
    Shell(Vec<String>),
    /// USER: `user`, `user:group`, names or numbers.
    User(String),
    /// WORKDIR.
    Workdir(String),
    /// An instruction that changes the configuration only and that an extension should not use.
    Recorded(Recorded),
}

impl Kind {
    /// Returns the instruction's name in upper case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Copy(_) => "COPY",
            Self::Env(_) => "ENV",
            Self::Label(_) => "LABEL",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::User(_) => "USER",
            Self::Workdir(_) => "WORKDIR",
            Self::Recorded(recorded) => recorded.name(),
        }
    }
}

/// An instruction outside those the specification lists for extensions.
///
/// Spec: buildpack.md, "build.Dockerfile": others than the listed ten SHOULD NOT be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// CMD.
    Cmd(CommandLine),
    /// ENTRYPOINT.
    Entrypoint(CommandLine),
    /// EXPOSE: `port[/protocol]` words.
    Expose(Vec<String>),
    /// HEALTHCHECK.
    Healthcheck(Healthcheck),
    /// MAINTAINER.
    Maintainer(String),
    /// ONBUILD: the instruction to trigger, as text.
    Onbuild(String),
    /// STOPSIGNAL.
    StopSignal(String),
    /// VOLUME.
    Volume(Vec<String>),
}

impl Recorded {
    /// Returns the instruction's name in upper case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cmd(_) => "CMD",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::Volume(_) => "VOLUME",
        }
    }
}

/// A name with a value: of ENV or LABEL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The name.
    pub key: String,
    /// The value.
    pub value: String,
}

/// A declaration of a build argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declaration {
    /// The argument's name.
    pub name: String,
    /// Its default value, if it has one; `ARG a=` has the empty one.
    pub default: Option<String>,
}

/// What a command instruction runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CommandLine {
    /// The shell form: text for the shell.
    Shell(String),
    /// The exec form: argv.
    Exec(Vec<String>),
}

/// A HEALTHCHECK. Durations in nanoseconds, as the image configuration writes them; 0 inherits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Healthcheck {
    /// What to run; `None` is `HEALTHCHECK NONE`.
    pub command: Option<CommandLine>,
    /// `--interval`.
    pub interval_ns: i64,
    /// `--timeout`.
    pub timeout_ns: i64,
    /// `--start-period`.
    pub start_period_ns: i64,
    /// `--start-interval`.
    pub start_interval_ns: i64,
    /// `--retries`; 0 inherits.
    pub retries: u32,
}

/// A heredoc of RUN, COPY or ADD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The delimiter, unquoted; the file name for COPY and ADD.
    pub name: String,
    /// The lines between; for COPY and ADD with leading tabs already stripped where `<<-` asks for it.
    pub body: String,
    /// Whether variables in the body are expanded: true unless the delimiter is quoted. RUN leaves
    /// expansion to the shell.
    pub expand: bool,
    /// Whether it was written `<<-`.
    pub strip_tabs: bool,
}

/// What COPY and ADD have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// Source paths, or for ADD also URLs, in order. They are copied before the heredocs.
    pub sources: Vec<String>,
    /// Inline files, in order.
    pub heredocs: Vec<Heredoc>,
    /// The destination as written.
    pub destination: String,
    /// The value of `--chown`.
    pub chown: Option<String>,
    /// The value of `--chmod`.
    pub chmod: Option<String>,
    /// Whether `--link` was given.
    pub link: bool,
    /// The values of `--exclude`, in `.dockerignore` syntax, never expanded.
    pub exclude: Vec<String>,
}

/// A COPY instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// Sources, destination and common flags.
    pub transfer: Transfer,
    /// The value of `--from`: a stage or an image.
    pub from: Option<String>,
    /// Whether `--parents` was given.
    pub parents: bool,
}

/// An ADD instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Add {
    /// Sources, destination and common flags.
    pub transfer: Transfer,
    /// The value of `--checksum`.
    pub checksum: Option<String>,
    /// `--unpack`; `None` unpacks local archives and leaves downloads as they are.
    pub unpack: Option<bool>,
    /// `--keep-git-dir`; only git sources look at it.
    pub keep_git_dir: Option<bool>,
}

/// A RUN instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What is run, without the bodies of heredocs.
    pub command: CommandLine,
    /// Heredocs of the shell form, in order, bodies untouched.
    pub heredocs: Vec<Heredoc>,
    /// `--mount` flags, in order.
    pub mounts: Vec<MountFlag>,
    /// `--network`.
    pub network: Network,
    /// `--security`.
    pub security: Security,
    /// `--device` flags, as written.
    pub devices: Vec<String>,
}

/// A value of `RUN --network`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Network {
    /// What the platform gives.
    #[default]
    Default,
    /// No network.
    None,
    /// The host's network.
    Host,
}

/// A value of `RUN --security`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Security {
    /// As the platform confines it.
    #[default]
    Sandbox,
    /// With every privilege.
    Insecure,
}
