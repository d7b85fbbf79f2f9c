//! What an image runs on: operating system, architecture, distribution; and when two match.
//!
//! Spec: platform.md "analyzed.toml", buildpack.md "Targets".

use serde::{Deserialize, Serialize};

/// A Linux distribution, as `/etc/os-release` names it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Distro {
    /// `ID` of os-release, for example `ubuntu`; empty when unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `VERSION_ID` of os-release, for example `24.04`; empty when unknown.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub version: String,
}

/// The target of an image: empty texts are unknown. Serialised as messages show it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Target {
    /// Legacy stack or base image identifier (`io.buildpacks.base.id`), if any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Operating system, for example `linux`.
    pub os: String,
    /// Architecture as Go names it, for example `amd64`.
    pub arch: String,
    /// Architecture variant, for example `v8`.
    #[serde(rename = "arch-variant", skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// Distribution, when known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distro: Option<Distro>,
}

impl Target {
    /// Whether an app image built for this target can be put on a base of target `base`: what the base
    /// says must hold for the app; what the base leaves open, or a variant the app leaves open, matches.
    ///
    /// Spec: platform.md "rebaser", Outputs.
    pub fn accepts_base(&self, base: &Self) -> bool {
        let open_or_equal = |one: &str, other: &str| one.is_empty() || other.is_empty() || one == other;
        if self.os != base.os || self.arch != base.arch || !open_or_equal(&self.variant, &base.variant) {
            return false;
        }
        let Some(wanted) = &base.distro else { return true };
        self.distro.as_ref().is_some_and(|known| {
            (wanted.name.is_empty() || wanted.name == known.name)
                && (wanted.version.is_empty() || wanted.version == known.version)
        })
    }

    /// The target with what is missing filled in: the distribution from the build image's
    /// `/etc/os-release`, Linux, and our own architecture.
    ///
    /// Spec: platform.md "analyzed.toml"; Linux and architecture as the reference implementation.
    #[must_use]
    pub fn completed(mut self, os_release: &str) -> Self {
        let distro = self.distro.take().or_else(|| Distro::from_os_release(os_release));
        let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { text };
        Self { os: or(self.os, "linux"), arch: or(self.arch, host_arch()), distro, ..self }
    }

    /// Whether an image of this target satisfies what a component declares. What either side
    /// leaves open matches; a distribution that is asked for must be known.
    ///
    /// Spec: buildpack.md "Targets".
    pub fn satisfies(&self, declared: &DeclaredTarget) -> bool {
        let same = |image: &str, declared: &str| image.is_empty() || declared.is_empty() || image == declared;
        let same_distro = |declared: &Distro| {
            let image = self.distro.as_ref();
            image.is_some_and(|image| {
                same(&image.name, &declared.name) && same(&image.version, &declared.version)
            })
        };
        same(&self.os, &declared.os)
            && same(&self.arch, &declared.arch)
            && same(&self.variant, declared.variant())
            && (declared.distros.is_empty() || declared.distros.iter().any(same_distro))
    }

    /// The variables that tell a component about this target, those that are known.
    ///
    /// Spec: buildpack.md "Targets", platform.md "Target data".
    pub fn variables(&self) -> Vec<(&'static str, &str)> {
        let (name, version) =
            self.distro.as_ref().map_or(("", ""), |distro| (distro.name.as_str(), distro.version.as_str()));
        let optional = [
            ("CNB_TARGET_ARCH_VARIANT", self.variant.as_str()),
            ("CNB_TARGET_DISTRO_NAME", name),
            ("CNB_TARGET_DISTRO_VERSION", version),
        ];
        let known = optional.into_iter().filter(|(_, value)| !value.is_empty());
        [("CNB_TARGET_OS", self.os.as_str()), ("CNB_TARGET_ARCH", &self.arch)]
            .into_iter()
            .chain(known)
            .collect()
    }
}

impl Distro {
    /// The distribution that an os-release file names; `None` if it names none.
    pub fn from_os_release(text: &str) -> Option<Self> {
        let value = |key: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            value.unwrap_or_default().trim_matches(['"', '\'', ' ']).to_owned()
        };
        let distro = Self { name: value("ID"), version: value("VERSION_ID") };
        (distro != Self::default()).then_some(distro)
    }
}

/// What a component declares that it runs on: empty texts match anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct DeclaredTarget {
    /// Operating system.
    pub os: String,
    /// Architecture.
    pub arch: String,
    /// The specification's key.
    #[serde(skip_serializing_if = "String::is_empty")]
    variant: String,
    /// The reference implementation's key.
    #[serde(skip_serializing_if = "String::is_empty")]
    arch_variant: String,
    /// Distributions, any of which will do; empty matches any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub distros: Vec<Distro>,
}

impl DeclaredTarget {
    /// What matches images of `os`, whatever else they are.
    pub fn any_of(os: &str) -> Self {
        Self { os: os.to_owned(), ..Self::default() }
    }

    /// What the deprecated stack `io.buildpacks.stacks.bionic` stands for.
    pub fn bionic() -> Self {
        let distro = Distro { name: "ubuntu".to_owned(), version: "18.04".to_owned() };
        Self { arch: "amd64".to_owned(), distros: vec![distro], ..Self::any_of("linux") }
    }

    /// Architecture variant, under either of its keys.
    pub fn variant(&self) -> &str {
        if self.variant.is_empty() { &self.arch_variant } else { &self.variant }
    }
}

/// The architecture of this process as Go and OCI name it.
pub const fn host_arch() -> &'static str {
    if cfg!(target_arch = "x86_64") {
        "amd64"
    } else if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        std::env::consts::ARCH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Target {
        let distro = Distro { name: "ubuntu".into(), version: "24.04".into() };
        let (os, arch, variant) = ("linux".into(), "arm64".into(), "v8".into());
        Target { id: String::new(), os, arch, variant, distro: Some(distro) }
    }

    #[track_caller]
    fn check(declared: &str, expected: bool) {
        let declared: DeclaredTarget = toml::from_str(declared).unwrap();
        assert_eq!(image().satisfies(&declared), expected, "{declared:?}");
    }

    #[test]
    fn target_matches_where_nothing_differs() {
        check("", true);
        check("os = 'linux'\narch = 'arm64'", true);
        check("os = 'windows'", false);
        check("arch = 'amd64'", false);
    }

    #[test]
    fn variant_counts_under_both_keys() {
        check("variant = 'v8'", true);
        check("variant = 'v7'", false);
        check("arch-variant = 'v7'", false);
        check("variant = 'v8'\narch-variant = 'v7'", true);
    }

    #[test]
    fn one_distribution_must_match() {
        check("distros = [{ name = 'debian' }, { name = 'ubuntu', version = '24.04' }]", true);
        check("distros = [{ name = 'ubuntu' }]", true);
        check(
            "distros = [{ name = 'ubuntu', version = '22.04' }, { name = 'debian', version = '24.04' }]",
            false,
        );
        let unknown = Target { distro: None, ..image() };
        assert!(!unknown.satisfies(&DeclaredTarget::bionic()));
    }

    #[test]
    fn missing_parts_come_from_the_build_image() {
        let release = "NAME=\"Ubuntu\"\nVERSION_ID=\"18.04\"\nID=ubuntu\nID_LIKE=debian\n";
        let target = Target::default().completed(release);
        assert_eq!((target.os.as_str(), target.arch.as_str()), ("linux", host_arch()));
        assert_eq!(target.distro, Some(Distro { name: "ubuntu".into(), version: "18.04".into() }));
        assert_eq!(image().completed(release), image());
        assert_eq!(Target::default().completed("").distro, None);
    }

    #[test]
    fn known_parts_become_variables() {
        let names = |target: &Target| target.variables().iter().map(|(name, _)| *name).collect::<Vec<_>>();
        assert_eq!(names(&Target::default()), ["CNB_TARGET_OS", "CNB_TARGET_ARCH"]);
        assert_eq!(
            image().variables()[2..],
            [
                ("CNB_TARGET_ARCH_VARIANT", "v8"),
                ("CNB_TARGET_DISTRO_NAME", "ubuntu"),
                ("CNB_TARGET_DISTRO_VERSION", "24.04"),
            ]
        );
    }

    /// `os/arch/variant/distro/version`, empty parts unknown; without distro, no distribution is known.
    fn of(text: &str) -> Target {
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (os, arch, variant) = (next(), next(), next());
        let distro = Distro { name: next(), version: next() };
        let distro = (distro != Distro::default()).then_some(distro);
        Target { id: String::new(), os, arch, variant, distro }
    }

    #[track_caller]
    fn check_base(app: &str, base: &str, expected: bool) {
        assert_eq!(of(app).accepts_base(&of(base)), expected);
    }

    #[test]
    fn a_base_matches_when_all_it_says_holds_for_the_app() {
        check_base("linux/amd64//ubuntu/24.04", "linux/amd64//ubuntu/24.04", true);
        check_base("linux/amd64//ubuntu/24.04", "linux/amd64", true);
        check_base("linux/amd64//ubuntu/24.04", "linux/amd64//ubuntu", true);
        check_base("linux/arm64/v8", "linux/arm64", true);
        check_base("linux/arm64", "linux/arm64/v8", true);
    }

    #[test]
    fn a_base_that_says_something_else_does_not_match() {
        check_base("linux/amd64", "linux/arm64", false);
        check_base("linux/amd64", "windows/amd64", false);
        check_base("linux/arm64/v8", "linux/arm64/v7", false);
        check_base("linux/amd64", "linux/amd64//ubuntu/24.04", false);
        check_base("linux/amd64//ubuntu/22.04", "linux/amd64//ubuntu/24.04", false);
        check_base("linux/amd64//debian/24.04", "linux/amd64//ubuntu/24.04", false);
    }
}
