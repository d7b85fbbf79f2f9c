//! What a platform can tell a phase: every flag, its environment variable, its default, and the
//! phases and Platform API versions that know it. One row each.
//!
//! Only flags depend on the version: a variable is read wherever its row names the phase, as the
//! reference implementation does. How a row becomes a value is [`super::values`]'s matter.
//!
//! Spec: platform.md "Usage".

use super::flags::Kind;
use crate::api::PlatformApi;

/// A program of this lifecycle that has flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Finds the previous image and the run image.
    Analyzer,
    /// Chooses the buildpacks.
    Detector,
    /// Brings back what earlier builds made.
    Restorer,
    /// Applies Dockerfiles to a base image.
    Extender,
    /// Runs the buildpacks.
    Builder,
    /// Makes the app image.
    Exporter,
    /// All phases in one.
    Creator,
    /// Puts an app image on a newer run image.
    Rebaser,
}

/// How many images a phase takes after its flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Images {
    /// None.
    None,
    /// Exactly one; more names come with `-tag`.
    One,
    /// One or more.
    Some,
}

/// What stands where neither flag nor variable is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Default {
    /// Nothing.
    None,
    /// This text.
    Text(&'static str),
    /// A path below the layers directory, wherever that is.
    Layers(&'static str),
    /// `order.toml` in the layers directory if there is one, else `/cnb/order.toml`.
    Order,
}

/// That a phase knows an input, and from which version to which its flag exists.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The phase.
    pub phase: Phase,
    /// First and last Platform API of the flag; `None` where only the variable counts.
    flag: Option<(&'static str, &'static str)>,
}

/// One input: a row of [`TABLE`].
#[derive(Debug)]
pub struct Input {
    /// The flag without its dash; empty where there is only a variable.
    pub flag: &'static str,
    /// The environment variable; empty where there is only a flag.
    pub variable: &'static str,
    /// What values it takes.
    pub kind: Kind,
    /// Its value when not given.
    pub default: Default,
    /// Who knows it.
    pub known: &'static [Known],
    /// What it means, in one sentence for the user.
    pub help: &'static str,
}

const FIRST: &str = "0.7";
const LAST: &str = "0.15";

const fn flag(phase: Phase) -> Known {
    Known { phase, flag: Some((FIRST, LAST)) }
}

const fn since(first: &'static str, phase: Phase) -> Known {
    Known { phase, flag: Some((first, LAST)) }
}

const fn until(last: &'static str, phase: Phase) -> Known {
    Known { phase, flag: Some((FIRST, last)) }
}

const fn variable(phase: Phase) -> Known {
    Known { phase, flag: None }
}

/// Makes a constant of each row, so that a row is named and never looked up by text, and the table.
macro_rules! inputs {
    ($($name:ident = $flag:literal, $variable:literal, $kind:ident, $default:expr, [$($known:expr),+ $(,)?], $help:literal;)+) => {
        $(
            #[doc = concat!("`-", $flag, "`, `", $variable, "`.\n\n```text\n", $help, "\n```")]
            pub const $name: &Input = &Input {
                flag: $flag,
                variable: $variable,
                kind: Kind::$kind,
                default: $default,
                known: &[$($known),+],
                help: $help,
            };
        )+

        /// Every input there is, in the order of the help text.
        pub const TABLE: &[&Input] = &[$($name),+];
    };
}

use self::Default::{Layers, None as Nothing, Order, Text};
use Phase::{Analyzer, Builder, Creator, Detector, Exporter, Extender, Rebaser, Restorer};

inputs! {
    ANALYZED = "analyzed", "CNB_ANALYZED_PATH", Text, Layers("analyzed.toml"),
        [flag(Analyzer), since("0.10", Detector), flag(Restorer), since("0.12", Builder), flag(Extender),
         flag(Exporter), variable(Creator)],
        "File that describes the previous image and the run image.";
    APP = "app", "CNB_APP_DIR", Text, Text("/workspace"),
        [flag(Detector), flag(Builder), flag(Extender), flag(Exporter), flag(Creator)],
        "Directory with the application.";
    BUILD_CONFIG = "build-config", "CNB_BUILD_CONFIG_DIR", Text, Text("/cnb/build-config"),
        [since("0.11", Detector), since("0.11", Builder), since("0.11", Extender), since("0.11", Creator)],
        "Directory with the operator's configuration; its env directory holds variables.";
    BUILD_IMAGE = "build-image", "CNB_BUILD_IMAGE", Text, Nothing,
        [since("0.10", Restorer), variable(Creator)],
        "Image that the build runs in, where extensions are to extend it.";
    BUILDPACKS = "buildpacks", "CNB_BUILDPACKS_DIR", Text, Text("/cnb/buildpacks"),
        [flag(Detector), flag(Builder), flag(Extender), flag(Creator)],
        "Directory with the buildpacks.";
    CACHE_DIR = "cache-dir", "CNB_CACHE_DIR", Text, Nothing,
        [flag(Restorer), flag(Exporter), flag(Creator)],
        "Directory that keeps cached layers between builds.";
    CACHE_IMAGE = "cache-image", "CNB_CACHE_IMAGE", Text, Nothing,
        [flag(Analyzer), flag(Restorer), flag(Exporter), flag(Creator)],
        "Image in a registry that keeps cached layers between builds; goes before -cache-dir.";
    DAEMON = "daemon", "CNB_USE_DAEMON", Switch, Nothing,
        [flag(Analyzer), since("0.12", Restorer), flag(Exporter), flag(Creator), flag(Rebaser)],
        "Read and write images in the Docker daemon rather than in a registry.";
    EXTENDED = "extended", "CNB_EXTENDED_DIR", Text, Layers("extended"),
        [since("0.12", Extender), since("0.12", Exporter), variable(Creator)],
        "Directory with the layers that extensions added to the run image.";
    EXTENSIONS = "extensions", "CNB_EXTENSIONS_DIR", Text, Text("/cnb/extensions"),
        [since("0.10", Detector), variable(Creator)],
        "Directory with the image extensions.";
    EXTEND_POLICY = "extend-policy", "CNB_EXTEND_POLICY", Text, Nothing,
        [since("0.10", Detector), since("0.10", Extender), since("0.10", Creator)],
        "File with rules for what image extensions may do; without it they may do anything.";
    FORCE = "force", "CNB_FORCE_REBASE", Switch, Nothing,
        [since("0.12", Rebaser)],
        "Rebase even where the result may not run.";
    GENERATED = "generated", "CNB_GENERATED_DIR", Text, Layers("generated"),
        [since("0.10", Detector), since("0.12", Restorer), flag(Extender), variable(Creator)],
        "Directory with the Dockerfiles that extensions generated.";
    GID = "gid", "CNB_GROUP_ID", Number, Nothing,
        [flag(Analyzer), flag(Restorer), flag(Extender), flag(Exporter), flag(Creator), flag(Rebaser)],
        "Primary group ID of the build image's user.";
    GROUP = "group", "CNB_GROUP_PATH", Text, Layers("group.toml"),
        [flag(Detector), flag(Restorer), flag(Builder), flag(Extender), flag(Exporter), variable(Creator)],
        "File with the detected buildpacks.";
    IMAGE = "image", "", Text, Nothing,
        [flag(Exporter), flag(Rebaser)],
        "Deprecated name of -run-image.";
    INSECURE_REGISTRY = "insecure-registry", "CNB_INSECURE_REGISTRIES", List, Nothing,
        [since("0.13", Analyzer), since("0.13", Restorer), since("0.13", Exporter), since("0.13", Creator),
         since("0.13", Rebaser)],
        "Registry to speak plain HTTP with, or HTTPS without verification; may be given again.";
    KANIKO_CACHE_TTL = "kaniko-cache-ttl", "CNB_KANIKO_CACHE_TTL", Duration, Text("336h"),
        [flag(Extender), variable(Creator)],
        "How long the results of Dockerfile instructions are kept.";
    KIND = "kind", "CNB_EXTEND_KIND", Text, Text("build"),
        [since("0.12", Extender)],
        "Which image to extend: build or run.";
    LAUNCH_CACHE = "launch-cache", "CNB_LAUNCH_CACHE_DIR", Text, Nothing,
        [since("0.9", Analyzer), flag(Exporter), flag(Creator)],
        "Directory that keeps launch layers between builds; with -daemon only.";
    LAUNCHER = "launcher", "", Text, Text("/cnb/lifecycle/launcher"),
        [flag(Exporter), flag(Creator)],
        "The launcher to put into the app image.";
    LAUNCHER_SBOM = "launcher-sbom", "", Text, Text("/cnb/lifecycle"),
        [since("0.11", Exporter), since("0.11", Creator)],
        "Directory with the bills of materials of the launcher.";
    LAYERS = "layers", "CNB_LAYERS_DIR", Text, Text("/layers"),
        [flag(Analyzer), flag(Detector), flag(Restorer), flag(Builder), flag(Extender), flag(Exporter),
         flag(Creator), variable(Rebaser)],
        "Directory in which the phases work; many files are below it unless told otherwise.";
    LAYOUT = "layout", "CNB_USE_LAYOUT", Switch, Nothing,
        [since("0.12", Analyzer), since("0.12", Restorer), since("0.12", Exporter), since("0.12", Creator),
         since("0.12", Rebaser)],
        "Read and write images as OCI layout directories (experimental).";
    LAYOUT_DIR = "layout-dir", "CNB_LAYOUT_DIR", Text, Nothing,
        [since("0.12", Analyzer), since("0.12", Restorer), since("0.12", Exporter), since("0.12", Creator),
         since("0.12", Rebaser)],
        "Directory with the OCI layouts: <layout-dir>/<registry>/<repository>/<tag> (experimental).";
    LOG_LEVEL = "log-level", "CNB_LOG_LEVEL", Text, Text("info"),
        [flag(Analyzer), flag(Detector), flag(Restorer), flag(Builder), flag(Extender), flag(Exporter),
         flag(Creator), flag(Rebaser)],
        "How much to show: debug, info, warn or error.";
    NO_COLOR = "no-color", "CNB_NO_COLOR", Switch, Nothing,
        [flag(Analyzer), flag(Detector), flag(Restorer), flag(Builder), flag(Extender), flag(Exporter),
         flag(Creator), flag(Rebaser)],
        "Show text without colours.";
    ORDER = "order", "CNB_ORDER_PATH", Text, Order,
        [flag(Detector), flag(Creator)],
        "File with the groups of buildpacks to try.";
    PARALLEL = "parallel", "CNB_PARALLEL_EXPORT", Switch, Nothing,
        [flag(Exporter), flag(Creator)],
        "Export the app image and the cache at the same time.";
    PLAN = "plan", "CNB_PLAN_PATH", Text, Layers("plan.toml"),
        [flag(Detector), flag(Builder), flag(Extender), variable(Creator)],
        "File with what the detected buildpacks require of each other.";
    PLATFORM = "platform", "CNB_PLATFORM_DIR", Text, Text("/platform"),
        [flag(Detector), flag(Builder), flag(Extender), flag(Creator)],
        "Directory with the platform's gifts to buildpacks; its env directory holds the user's variables.";
    PREVIOUS_IMAGE = "previous-image", "CNB_PREVIOUS_IMAGE", Text, Nothing,
        [flag(Analyzer), flag(Creator), since("0.11", Rebaser)],
        "Image of the previous build, or to rebase; <image> unless given.";
    PROCESS_TYPE = "process-type", "CNB_PROCESS_TYPE", Text, Nothing,
        [flag(Exporter), flag(Creator)],
        "Process that the app image starts unless told otherwise.";
    PROJECT_METADATA = "project-metadata", "CNB_PROJECT_METADATA_PATH", Text, Layers("project-metadata.toml"),
        [flag(Exporter), flag(Creator)],
        "File that describes where the application's source comes from.";
    REPORT = "report", "CNB_REPORT_PATH", Text, Layers("report.toml"),
        [flag(Exporter), flag(Creator), flag(Rebaser)],
        "File to write about the image made.";
    RUN = "run", "CNB_RUN_PATH", Text, Text("/cnb/run.toml"),
        [since("0.12", Analyzer), since("0.12", Detector), since("0.14", Restorer), since("0.12", Exporter),
         since("0.12", Creator)],
        "File with the run images to choose from and their mirrors.";
    RUN_IMAGE = "run-image", "CNB_RUN_IMAGE", Text, Nothing,
        [flag(Analyzer), flag(Exporter), flag(Creator), flag(Rebaser)],
        "Image that the app image is based on; the exporter reads it from analyzed.toml instead.";
    SKIP_LAYERS = "skip-layers", "CNB_SKIP_LAYERS", Switch, Nothing,
        [since("0.9", Analyzer), flag(Restorer), variable(Creator)],
        "Bring nothing back from earlier builds.";
    SKIP_RESTORE = "skip-restore", "CNB_SKIP_RESTORE", Switch, Nothing,
        [variable(Analyzer), variable(Restorer), flag(Creator)],
        "Bring nothing back from earlier builds but store.toml.";
    STACK = "stack", "CNB_STACK_PATH", Text, Text("/cnb/stack.toml"),
        [until("0.11", Analyzer), until("0.11", Exporter), flag(Creator)],
        "File with the run image and its mirrors; before Platform API 0.12.";
    SYSTEM = "system", "CNB_SYSTEM_PATH", Text, Text("/cnb/system.toml"),
        [since("0.15", Detector), since("0.15", Creator)],
        "File with the buildpacks to add to every group.";
    TAG = "tag", "", List, Nothing,
        [flag(Analyzer), flag(Creator)],
        "One more name for the app image; may be given again.";
    UID = "uid", "CNB_USER_ID", Number, Nothing,
        [flag(Analyzer), flag(Restorer), flag(Extender), flag(Exporter), flag(Creator), flag(Rebaser)],
        "User ID of the build image's user.";
    VERSION = "version", "", Switch, Nothing,
        [flag(Analyzer), flag(Detector), flag(Restorer), flag(Builder), flag(Extender), flag(Exporter),
         flag(Creator), flag(Rebaser)],
        "Show the version and exit.";
    APP_DIR_GUARD = "", "CNB_APP_DIR_GUARD", Text, Text("warn"),
        [variable(Detector), variable(Creator)],
        "What to do when an extension writes to the application directory: warn, enforce or off.";
    EXEC_ENV = "", "CNB_EXEC_ENV", Text, Text("production"),
        [variable(Detector), variable(Restorer), variable(Builder), variable(Extender), variable(Exporter),
         variable(Creator)],
        "Execution environment that the app image is for.";
    EXPERIMENTAL_MODE = "", "CNB_EXPERIMENTAL_MODE", Text, Text("error"),
        [variable(Analyzer), variable(Detector), variable(Restorer), variable(Extender), variable(Exporter),
         variable(Creator), variable(Rebaser)],
        "What to do about experimental features: error, warn or silent.";
    LAYER_COMPRESSION = "", "CNB_LAYER_COMPRESSION", Text, Text("gzip"),
        [variable(Exporter), variable(Creator)],
        "How the layers of the app image are compressed: gzip or zstd.";
    REBASE_SHADOW = "", "CNB_REBASE_SHADOW", Text, Text("warn"),
        [variable(Rebaser)],
        "What to do when extensions hide files that the new run image has changed: warn, fail or off.";
    LOG_FORMAT = "", "CNB_LOG_FORMAT", Text, Text("text"),
        [variable(Analyzer), variable(Detector), variable(Restorer), variable(Builder), variable(Extender),
         variable(Exporter), variable(Creator), variable(Rebaser)],
        "Form of what is shown: text, or json for one object a line.";
    OTEL_TRACEPARENT = "", "CNB_OTEL_TRACEPARENT", Text, Nothing,
        [variable(Analyzer), variable(Detector), variable(Restorer), variable(Builder), variable(Extender),
         variable(Exporter), variable(Creator)],
        "Trace of the platform that the phases' spans belong to, as a W3C traceparent.";
    PROGRESS = "", "CNB_PROGRESS", Duration, Nothing,
        [variable(Analyzer), variable(Restorer), variable(Exporter), variable(Creator),
         variable(Rebaser)],
        "How often to say how far a long phase is, such as 10s; never unless given.";
    REPORT_RUN_IMAGE = "", "CNB_REPORT_RUN_IMAGE", Switch, Nothing,
        [variable(Exporter), variable(Creator), variable(Rebaser)],
        "Say in report.toml which run image the app image is on.";
    SKIP_SBOM = "", "CNB_SKIP_SBOM", Switch, Nothing,
        [variable(Analyzer), variable(Creator)],
        "Leave the SBOM files of the previous image where they are.";
    SOURCE_DATE_EPOCH = "", "SOURCE_DATE_EPOCH", Text, Nothing,
        [variable(Exporter), variable(Creator)],
        "Creation time of the app image, in seconds since 1970; from Platform API 0.9.";
    TELEMETRY = "", "CNB_TELEMETRY", Switch, Nothing,
        [variable(Analyzer), variable(Detector), variable(Restorer), variable(Builder), variable(Extender),
         variable(Exporter), variable(Creator)],
        "Write how long everything took to <layers>/tracing/lifecycle, as OpenTelemetry files.";
}

impl Phase {
    /// The name of the program.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Analyzer => "analyzer",
            Self::Detector => "detector",
            Self::Restorer => "restorer",
            Self::Extender => "extender",
            Self::Builder => "builder",
            Self::Exporter => "exporter",
            Self::Creator => "creator",
            Self::Rebaser => "rebaser",
        }
    }

    /// What the program does, as a verb: what it failed to do, when it fails.
    pub const fn verb(self) -> &'static str {
        match self {
            Self::Analyzer => "analyze",
            Self::Detector => "detect",
            Self::Restorer => "restore",
            Self::Extender => "extend",
            Self::Builder => "build",
            Self::Exporter => "export",
            Self::Creator => "create",
            Self::Rebaser => "rebase",
        }
    }

    /// What the program is for, as one sentence.
    pub const fn purpose(self) -> &'static str {
        match self {
            Self::Analyzer => "Finds the previous image and the run image, and writes analyzed.toml.",
            Self::Detector => {
                "Chooses the buildpacks for an application, and writes group.toml and plan.toml."
            }
            Self::Restorer => "Brings back layers and metadata of earlier builds.",
            Self::Extender => "Applies the Dockerfiles of image extensions to the build or run image.",
            Self::Builder => "Runs the buildpacks, and writes their layers and metadata.toml.",
            Self::Exporter => "Makes the app image of the run image, the layers and the application.",
            Self::Creator => "Analyzes, detects, restores, builds and exports in one process.",
            Self::Rebaser => "Puts an app image on a newer run image.",
        }
    }

    /// How many images stand after the flags.
    pub const fn images(self) -> Images {
        match self {
            Self::Detector | Self::Restorer | Self::Extender | Self::Builder => Images::None,
            Self::Analyzer | Self::Creator => Images::One,
            Self::Exporter | Self::Rebaser => Images::Some,
        }
    }
}

impl Input {
    /// Whether `phase` knows this input's flag when it speaks `api`.
    pub fn has_flag(&self, phase: Phase, api: PlatformApi) -> bool {
        let known = self.known.iter().find(|known| known.phase == phase);
        !self.flag.is_empty()
            && known.and_then(|known| known.flag).is_some_and(|(first, last)| api.is_within(first, last))
    }

    /// Whether `phase` reads this input's variable.
    pub fn has_variable(&self, phase: Phase) -> bool {
        !self.variable.is_empty() && self.known.iter().any(|known| known.phase == phase)
    }

    /// The Platform API versions at which `phase` knows this input's flag, first and last; `None` for
    /// all of them, or if it never does.
    pub fn versions(&self, phase: Phase) -> Option<(&'static str, &'static str)> {
        let known = self.known.iter().find(|known| known.phase == phase);
        known.and_then(|known| known.flag).filter(|versions| *versions != (FIRST, LAST))
    }

    /// What a user calls this input: its flag, or its variable where there is none.
    pub fn name(&self) -> String {
        if self.flag.is_empty() { self.variable.to_owned() } else { format!("-{}", self.flag) }
    }
}

/// The flags that `phase` knows when it speaks `api`.
pub fn flags(phase: Phase, api: PlatformApi) -> Vec<(&'static str, Kind)> {
    TABLE.iter().filter(|input| input.has_flag(phase, api)).map(|input| (input.flag, input.kind)).collect()
}
