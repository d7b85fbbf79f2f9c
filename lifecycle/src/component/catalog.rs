//! The buildpacks and extensions on disk, found by ID and version.
//!
//! Spec: platform.md "Buildpacks Directory Layout", "Image Extensions Directory Layout".

use std::io;
use std::path::{Path, PathBuf, absolute};

use crate::api::BuildpackApi;
use crate::files::buildpack::{BuildpackFile, StackEntry};
use crate::files::component_id::{ComponentApiError, ComponentId, ComponentVersion, Kind, parse_api};
use crate::files::extension::ExtensionFile;
use crate::files::order::OrderGroup;
use crate::files::{FileError, read};
use crate::target::DeclaredTarget;

/// The stack that was translated into a target.
const BIONIC: &str = "io.buildpacks.stacks.bionic";

/// Why a component is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// There is no such directory, or no descriptor in it.
    #[error("find {kind} '{component}': `{}` does not exist", path.display())]
    Missing {
        /// Buildpack or extension.
        kind: Kind,
        /// `id@version`.
        component: String,
        /// Where its descriptor should be.
        path: PathBuf,
    },
    /// Its descriptor cannot be read.
    #[error("load {kind} '{component}'")]
    Unreadable {
        /// Buildpack or extension.
        kind: Kind,
        /// `id@version`.
        component: String,
        /// What is wrong with it.
        #[source]
        source: Box<FileError>,
    },
    /// It declares an API that is not supported: exit code 12.
    #[error(transparent)]
    Api(#[from] ComponentApiError),
}

/// Where components lie.
#[derive(Debug, Clone)]
pub struct Catalog {
    buildpacks: PathBuf,
    extensions: PathBuf,
}

/// A buildpack or an extension, as its descriptor has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// Which of the two.
    pub kind: Kind,
    /// Its ID.
    pub id: ComponentId,
    /// Its version.
    pub version: ComponentVersion,
    /// The API between it and us.
    pub api: BuildpackApi,
    /// Its root directory, absolute.
    pub dir: PathBuf,
    /// Its homepage; empty when it has none.
    pub homepage: String,
    /// Whether it does without the user's variables in its environment.
    pub clear_env: bool,
    /// Media types of the SBOM files that it writes.
    pub sbom_formats: Vec<String>,
    /// The execution environments that it supports; empty is no limit.
    pub exec_env: Vec<String>,
    /// What it runs on, declared or inferred; empty is anything.
    pub targets: Vec<DeclaredTarget>,
    /// The groups of a composite buildpack; empty for all others.
    pub order: Vec<OrderGroup>,
}

impl Component {
    /// Whether it stands for an order instead of having executables.
    pub fn is_composite(&self) -> bool {
        !self.order.is_empty()
    }

    /// What says in a [`Span`](crate::log::Span) that it was about this one.
    pub fn attributes(&self) -> Vec<(&'static str, String)> {
        let (id, version) = match self.kind {
            Kind::Buildpack => ("buildpack-id", "buildpack-version"),
            Kind::Extension => ("extension-id", "extension-version"),
        };
        vec![(id, self.id.to_string()), (version, self.version.to_string())]
    }
}

impl std::fmt::Display for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.id, self.version)
    }
}

impl Catalog {
    /// The components below two directories, which need not exist as long as nothing in them is
    /// asked for. Fails when a relative path cannot be resolved.
    pub fn new(buildpacks: &Path, extensions: &Path) -> io::Result<Self> {
        Ok(Self { buildpacks: absolute(buildpacks)?, extensions: absolute(extensions)? })
    }

    /// Finds a component: its descriptor is in `<dir>/<id with / as _>/<version>`.
    pub fn find(
        &self,
        kind: Kind,
        id: &ComponentId,
        version: &ComponentVersion,
    ) -> Result<Component, CatalogError> {
        let (root, file) = match kind {
            Kind::Buildpack => (&self.buildpacks, "buildpack.toml"),
            Kind::Extension => (&self.extensions, "extension.toml"),
        };
        let dir = root.join(id.escaped()).join(version.as_str());
        let path = dir.join(file);
        let component = format!("{id}@{version}");
        let found = match kind {
            Kind::Buildpack => read(&path).map(Descriptor::from_buildpack),
            Kind::Extension => read(&path).map(Descriptor::from_extension),
        };
        match found {
            Ok(descriptor) => Ok(descriptor.load(kind, id, version, dir)?),
            Err(error) if error.cause.is_not_found() => Err(CatalogError::Missing { kind, component, path }),
            Err(error) => Err(CatalogError::Unreadable { kind, component, source: Box::new(error) }),
        }
    }
}

/// What both descriptors have in common.
struct Descriptor {
    api: String,
    buildpack: BuildpackFile,
}

impl Descriptor {
    fn from_buildpack(mut file: BuildpackFile) -> Self {
        Self { api: std::mem::take(&mut file.api), buildpack: file }
    }

    fn from_extension(file: ExtensionFile) -> Self {
        let mut buildpack = BuildpackFile { targets: file.targets, ..BuildpackFile::default() };
        buildpack.buildpack.homepage = file.extension.homepage;
        buildpack.buildpack.clear_env = file.extension.clear_env;
        buildpack.buildpack.exec_env = file.extension.exec_env;
        Self { api: file.api, buildpack }
    }

    fn load(
        self,
        kind: Kind,
        id: &ComponentId,
        version: &ComponentVersion,
        dir: PathBuf,
    ) -> Result<Component, ComponentApiError> {
        let api = parse_api(kind, &format!("{id}@{version}"), &self.api)?;
        let BuildpackFile { buildpack, order, targets, stacks, .. } = self.buildpack;
        let declared = if targets.is_empty() { translate(api, &stacks) } else { targets };
        let targets = if declared.is_empty() { infer(kind, &dir) } else { declared };
        Ok(Component {
            kind,
            id: id.clone(),
            version: version.clone(),
            api,
            dir,
            homepage: buildpack.homepage,
            clear_env: buildpack.clear_env,
            sbom_formats: buildpack.sbom_formats,
            exec_env: if api.has_exec_env() { buildpack.exec_env } else { Vec::new() },
            targets,
            order,
        })
    }
}

/// The targets that deprecated stacks stand for.
///
/// Spec: buildpack.md "buildpack.toml `stacks` Array". Before there were targets bionic counts only
/// alone, as in the reference implementation: its neighbours are stacks that we know nothing of.
fn translate(api: BuildpackApi, stacks: &[StackEntry]) -> Vec<DeclaredTarget> {
    let target = |stack: &StackEntry| match stack.id.as_str() {
        "*" => Some(DeclaredTarget::default()),
        BIONIC if api.has_targets() || stacks.len() == 1 => Some(DeclaredTarget::bionic()),
        _ => None,
    };
    stacks.iter().filter_map(target).collect()
}

/// The targets that the executables tell of. Spec: buildpack.md "Targets".
fn infer(kind: Kind, dir: &Path) -> Vec<DeclaredTarget> {
    let has = |name: &str| dir.join("bin").join(name).symlink_metadata().is_ok();
    let (linux, windows) = match kind {
        Kind::Buildpack => (has("build"), has("build.bat") || has("build.exe")),
        Kind::Extension => (has("detect") || has("generate"), false),
    };
    let found = [(linux, "linux"), (windows, "windows")];
    found.into_iter().filter(|(found, _)| *found).map(|(_, os)| DeclaredTarget::any_of(os)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn add(&self, path: &str, text: &str) -> &Self {
            let path = self.0.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
            self
        }

        fn find(&self, kind: Kind, id: &str) -> Result<Component, CatalogError> {
            let catalog = Catalog::new(&self.0.path().join("b"), &self.0.path().join("e")).unwrap();
            catalog.find(kind, &id.parse().unwrap(), &"1".parse().unwrap())
        }
    }

    #[test]
    fn component_lies_under_its_escaped_id() {
        let place = Place::new();
        place.add("b/a_b/1/buildpack.toml", "api = '0.10'\n[buildpack]\nid = 'other'\nhomepage = 'h'\n");
        place.add("e/a_b/1/extension.toml", "api = '0.9'\n[extension]\nclear-env = true\n");
        let buildpack = place.find(Kind::Buildpack, "a/b").unwrap();
        assert_eq!((buildpack.to_string().as_str(), buildpack.homepage.as_str()), ("a/b@1", "h"));
        assert!(buildpack.dir.is_absolute() && buildpack.dir.ends_with("b/a_b/1"));
        assert!(place.find(Kind::Extension, "a/b").unwrap().clear_env);
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        let place = Place::new();
        place.add("b/old/1/buildpack.toml", "api = '0.6'\n").add("b/none/1/buildpack.toml", "");
        place.add("b/broken/1/buildpack.toml", "api = 0.10\n");
        assert!(matches!(place.find(Kind::Buildpack, "old"), Err(CatalogError::Api(_))));
        assert!(matches!(place.find(Kind::Buildpack, "none"), Err(CatalogError::Api(_))));
        assert!(matches!(place.find(Kind::Buildpack, "broken"), Err(CatalogError::Unreadable { .. })));
        let missing = place.find(Kind::Extension, "x/y").unwrap_err().to_string();
        assert!(
            missing.starts_with("find extension 'x/y@1': `/") && missing.contains("e/x_y/1/extension.toml")
        );
    }

    #[track_caller]
    fn check_targets(descriptor: &str, files: &[&str], expected: &[DeclaredTarget]) {
        let place = Place::new();
        place.add("b/a/1/buildpack.toml", descriptor);
        for file in files {
            place.add(&format!("b/a/1/bin/{file}"), "");
        }
        assert_eq!(place.find(Kind::Buildpack, "a").unwrap().targets, expected);
    }

    #[test]
    fn targets_are_inferred_from_executables() {
        let (linux, windows) = (DeclaredTarget::any_of("linux"), DeclaredTarget::any_of("windows"));
        check_targets("api = '0.10'", &["build"], std::slice::from_ref(&linux));
        check_targets("api = '0.10'", &["build.bat"], std::slice::from_ref(&windows));
        check_targets("api = '0.10'", &["build", "build.exe"], &[linux, windows.clone()]);
        check_targets("api = '0.10'", &["detect"], &[]);
        check_targets("api = '0.10'\n[[targets]]\nos = 'windows'", &["build"], &[windows]);
    }

    #[test]
    fn stacks_are_translated() {
        let (any, linux) = (DeclaredTarget::default(), DeclaredTarget::any_of("linux"));
        let stacks = |api: &str, ids: &[&str]| {
            ids.iter().fold(format!("api = '{api}'\n"), |text, id| format!("{text}[[stacks]]\nid = '{id}'\n"))
        };
        check_targets(&stacks("0.9", &[BIONIC]), &["build"], &[DeclaredTarget::bionic()]);
        check_targets(&stacks("0.9", &[BIONIC, "other"]), &["build"], std::slice::from_ref(&linux));
        check_targets(&stacks("0.10", &[BIONIC, "other"]), &["build"], &[DeclaredTarget::bionic()]);
        check_targets(&stacks("0.9", &["*"]), &["build"], &[any]);
        check_targets(&stacks("0.9", &["other"]), &["build"], &[linux]);
    }

    #[test]
    fn exec_env_counts_from_its_api_on() {
        let place = Place::new();
        place.add("b/new/1/buildpack.toml", "api = '0.12'\n[[buildpack.exec-env]]\nname = 'test'\n");
        place.add("b/old/1/buildpack.toml", "api = '0.11'\n[[buildpack.exec-env]]\nname = 'test'\n");
        assert_eq!(place.find(Kind::Buildpack, "new").unwrap().exec_env, ["test"]);
        assert!(place.find(Kind::Buildpack, "old").unwrap().exec_env.is_empty());
    }
}
