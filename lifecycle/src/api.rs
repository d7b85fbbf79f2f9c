//! The two API versions a build speaks, and what changed with each.
//!
//! Nobody outside this file compares versions: everyone else asks a question named after the
//! behaviour, so that "since when" stands in one place beside its source.
//!
//! Spec: platform.md "Platform API Version", buildpack.md "Buildpack API Version".

use std::fmt;
use std::str::FromStr;

/// Why a version text was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Not `major` or `major.minor` with unsigned 64-bit numbers.
    #[error("version `{0}` is not of the form `major.minor`")]
    Malformed(String),
    /// Well-formed, but not one of the supported versions.
    #[error("version `{found}` is not supported; supported are {supported}")]
    Unsupported {
        /// The version as given.
        found: String,
        /// The supported versions, ascending, separated by `, `.
        supported: String,
    },
}

macro_rules! api {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $(#[doc = concat!("Version ", $text, ".")] $variant),+
        }

        impl $name {
            /// Every supported version, ascending.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The version as text, for example `0.12`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl FromStr for $name {
            type Err = ApiError;

            fn from_str(text: &str) -> Result<Self, ApiError> {
                let wanted = parse(text)?;
                Self::ALL.iter().copied().find(|api| parse(api.as_str()) == Ok(wanted)).ok_or_else(|| {
                    ApiError::Unsupported {
                        found: text.to_owned(),
                        supported: Self::ALL.iter().map(|api| api.as_str()).collect::<Vec<_>>().join(", "),
                    }
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

api! {
    /// The version of the interface between the platform and the phases.
    PlatformApi {
        V0_7 = "0.7", V0_8 = "0.8", V0_9 = "0.9", V0_10 = "0.10", V0_11 = "0.11",
        V0_12 = "0.12", V0_13 = "0.13", V0_14 = "0.14", V0_15 = "0.15",
    }
}

api! {
    /// The version of the interface between the phases and one buildpack or extension.
    BuildpackApi {
        V0_7 = "0.7", V0_8 = "0.8", V0_9 = "0.9", V0_10 = "0.10", V0_11 = "0.11", V0_12 = "0.12",
    }
}

/// Splits `major[.minor]` into its numbers; a leading `v` is tolerated, as the peer does.
fn parse(text: &str) -> Result<(u64, u64), ApiError> {
    let malformed = || ApiError::Malformed(text.to_owned());
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if digits { part.parse::<u64>().map_err(|_| malformed()) } else { Err(malformed()) }
    };
    let plain = text.strip_prefix('v').unwrap_or(text);
    match plain.split_once('.') {
        None => Ok((number(plain)?, 0)),
        Some((major, minor)) => Ok((number(major)?, number(minor)?)),
    }
}

/// Whether an image that was built by platform API `recorded` (its variable `CNB_PLATFORM_API`, any
/// version there ever was) was built for a target; else it was built for a stack, as was one that
/// records none. Spec: platform.md 0.12.
pub fn image_has_targets(recorded: &str) -> Result<bool, ApiError> {
    Ok(!recorded.is_empty() && parse(recorded)? >= (0, 12))
}

impl PlatformApi {
    /// Whether this version is none before `first` and none after `last`: for tables that name
    /// versions as data, such as that of the flags. Never, if either is no supported version.
    pub fn is_within(self, first: &str, last: &str) -> bool {
        first.parse().is_ok_and(|first| self >= first) && last.parse().is_ok_and(|last| self <= last)
    }

    /// SBOM files are kept: layer, cache and image SBOMs. Spec: platform.md 0.8.
    pub fn has_sbom(self) -> bool {
        self >= Self::V0_8
    }

    /// The legacy `bom` stands in `metadata.toml`, `report.toml` and the build label, instead of
    /// in `sbom.legacy.json` files. Spec: platform.md 0.9.
    pub fn has_inline_bom(self) -> bool {
        self < Self::V0_9
    }

    /// `SOURCE_DATE_EPOCH` sets the image's creation time. Spec: platform.md 0.9.
    pub fn honours_source_date_epoch(self) -> bool {
        self >= Self::V0_9
    }

    /// Image extensions take part in detection and building. Spec: platform.md 0.10.
    pub fn has_extensions(self) -> bool {
        self >= Self::V0_10
    }

    /// Image extensions are an experimental feature. Spec: platform.md 0.10-0.12.
    pub fn extensions_are_experimental(self) -> bool {
        self < Self::V0_13
    }

    /// `command` of a process is written as an array. Spec: platform.md 0.10.
    pub fn writes_command_as_array(self) -> bool {
        self >= Self::V0_10
    }

    /// User arguments replace a process's `args` where its buildpack allows it; before, they
    /// are appended. Spec: platform.md 0.10.
    pub fn has_overridable_args(self) -> bool {
        self >= Self::V0_10
    }

    /// `-skip-restore` still restores `store.toml`. Spec: platform.md 0.10.
    pub fn skip_restore_keeps_store(self) -> bool {
        self >= Self::V0_10
    }

    /// The launcher's and the lifecycle's own SBOM files are copied. Spec: platform.md 0.11.
    pub fn copies_lifecycle_sbom(self) -> bool {
        self >= Self::V0_11
    }

    /// `build.metadata` names the API of each buildpack. Spec: platform.md 0.11.
    pub fn labels_name_buildpack_api(self) -> bool {
        self >= Self::V0_11
    }

    /// Targets (`run.toml`, `[run-image.target]`) instead of stacks. Spec: platform.md 0.12.
    pub fn has_targets(self) -> bool {
        self >= Self::V0_12
    }

    /// Extensions may extend and switch the run image. Spec: platform.md 0.12.
    pub fn extends_run_image(self) -> bool {
        self >= Self::V0_12
    }

    /// History entries of the app image are kept rather than blanked (peer; text silent).
    pub fn keeps_history(self) -> bool {
        self >= Self::V0_12
    }

    /// Generated files lie in `<generated>/<id>/<kind>.Dockerfile` rather than
    /// `<generated>/<kind>/<id>/Dockerfile`. Spec: platform.md 0.13.
    pub fn generated_by_extension(self) -> bool {
        self >= Self::V0_13
    }

    /// `build-image.extend` stands in `analyzed.toml`. Spec: platform.md 0.13.
    pub fn records_build_image_extend(self) -> bool {
        self >= Self::V0_13
    }

    /// The restorer resolves run image mirrors again. Spec: platform.md 0.14.
    pub fn restorer_resolves_run_image(self) -> bool {
        self >= Self::V0_14
    }

    /// A cached launch layer is restored without a previous image (peer, from 0.14;
    /// Spec: buildpack.md 0.12 leaves it to the cache alone).
    pub fn restores_cached_launch_layers_without_image(self) -> bool {
        self >= Self::V0_14
    }

    /// `CNB_EXEC_ENV` and `exec-env` count. Spec: platform.md 0.15.
    pub fn has_exec_env(self) -> bool {
        self >= Self::V0_15
    }

    /// `system.toml` adds buildpacks to every group. Spec: platform.md 0.15.
    pub fn has_system_buildpacks(self) -> bool {
        self >= Self::V0_15
    }
}

impl BuildpackApi {
    /// `bin/detect` and `bin/build` find their paths in variables too
    /// (`CNB_PLATFORM_DIR` and so on). Spec: buildpack.md 0.8.
    pub fn passes_paths_in_env(self) -> bool {
        self >= Self::V0_8
    }

    /// A process may name its `working-dir`. Spec: buildpack.md 0.8.
    pub fn has_working_dir(self) -> bool {
        self >= Self::V0_8
    }

    /// `command` in `launch.toml` is an array and every process is direct; `args` are
    /// overridable. Spec: buildpack.md 0.9.
    pub fn has_command_array(self) -> bool {
        self >= Self::V0_9
    }

    /// `targets` replace `stacks`, and `CNB_TARGET_*` are set. Spec: buildpack.md 0.10.
    pub fn has_targets(self) -> bool {
        self >= Self::V0_10
    }

    /// `run.Dockerfile` may hold more than `FROM`. Spec: image_extension.md 0.10.
    pub fn extends_run_image(self) -> bool {
        self >= Self::V0_10
    }

    /// `exec-env` and `CNB_EXEC_ENV`. Spec: buildpack.md 0.12.
    pub fn has_exec_env(self) -> bool {
        self >= Self::V0_12
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<PlatformApi, &str>) {
        let found = text.parse::<PlatformApi>();
        assert_eq!(found.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn supported_versions_parse() {
        for api in PlatformApi::ALL {
            check(api.as_str(), Ok(*api));
        }
        check("v0.12", Ok(PlatformApi::V0_12));
        check("0.012", Ok(PlatformApi::V0_12));
    }

    #[test]
    fn anything_else_is_malformed() {
        for text in ["", "0.", ".1", "0.x", "0.7.1", "-0.7", "0.99999999999999999999", "+0.7"] {
            assert_eq!(text.parse::<BuildpackApi>(), Err(ApiError::Malformed(text.to_owned())));
        }
    }

    #[test]
    fn unsupported_versions_name_the_supported_ones() {
        let all = "0.7, 0.8, 0.9, 0.10, 0.11, 0.12, 0.13, 0.14, 0.15";
        for text in ["1", "0.6", "99.1", "1.0"] {
            check(text, Err(&format!("version `{text}` is not supported; supported are {all}")));
        }
    }

    #[test]
    fn images_of_any_age_say_whether_they_have_targets() {
        for (recorded, expected) in
            [("", false), ("0.3", false), ("0.11", false), ("0.12", true), ("1.0", true)]
        {
            assert_eq!(image_has_targets(recorded), Ok(expected), "{recorded}");
        }
        assert!(image_has_targets("latest").is_err());
    }

    #[test]
    fn versions_are_ordered_by_number() {
        assert!(PlatformApi::V0_9 < PlatformApi::V0_10);
        assert!(PlatformApi::ALL.is_sorted() && BuildpackApi::ALL.is_sorted());
    }
}
