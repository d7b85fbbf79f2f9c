//! SBOM files that buildpacks write, and their place in `<layers>/sbom`.
//!
//! ```text
//! <layers>/<buildpack>/launch.sbom.<format>    ─► <layers>/sbom/launch/<buildpack>/sbom.<format>
//! <layers>/<buildpack>/build.sbom.<format>     ─► <layers>/sbom/build/<buildpack>/sbom.<format>
//! <layers>/<buildpack>/<layer>.sbom.<format>   ─► <layers>/sbom/<kinds>/<buildpack>/<layer>/sbom.<format>
//! ```
//!
//! Spec: buildpack.md "Software-Bill-of-Materials", platform.md "exporter".

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::dir::BuildpackDir;
use crate::files::component_id::ComponentId;
use crate::files::layer::LayerTypes;

/// The directories are part of a layer, so that their mode must not depend on the umask.
const DIR_MODE: u32 = 0o755;
/// As for directories.
const FILE_MODE: u32 = 0o644;

/// A format of SBOM files: its media type, and how names of its files end.
const FORMATS: [(&str, &str); 3] = [
    ("application/vnd.cyclonedx+json", "cdx.json"),
    ("application/spdx+json", "spdx.json"),
    ("application/vnd.syft+json", "syft.json"),
];

/// An SBOM file of a buildpack.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SbomFile {
    /// Where it is.
    pub path: PathBuf,
    /// The layer it describes; `None` for the image or the build as a whole.
    pub layer: Option<String>,
    /// What it is kept for: `launch`, `build`, `cache`.
    pub kinds: Vec<&'static str>,
    /// Its name in `<layers>/sbom`, for example `sbom.cdx.json`.
    pub name: String,
}

/// Why SBOM files are refused, or not kept.
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// A file of no known format.
    #[error("unsupported SBOM file format: '{}'", .0.display())]
    Format(PathBuf),
    /// A file of a format that the buildpack does not declare.
    #[error("undeclared SBOM media type: '{media_type}' of '{}'; the buildpack must list it in `sbom-formats`", path.display())]
    Undeclared {
        /// The file.
        path: PathBuf,
        /// Its media type.
        media_type: &'static str,
    },
    /// A file or directory cannot be read or written.
    #[error("copy SBOM file `{}`", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The SBOM files in `dir`, sorted by path. Those of layers that it does not have are left out.
///
/// Fails on files of a format that is not known, or not among `declared` (media types, their
/// parameters ignored).
pub fn find(dir: &BuildpackDir, declared: &[String]) -> Result<Vec<SbomFile>, SbomError> {
    let mut found = Vec::new();
    for name in file_names(&dir.path)? {
        let Some((prefix, rest)) = name.rsplit_once(".sbom.") else { continue };
        if rest.rsplit_once('.').is_none_or(|(_, ending)| ending != "json") {
            continue;
        }
        let Some((layer, kinds)) = subject(prefix, dir) else { continue };
        let path = dir.path.join(&name);
        let Some((media_type, _)) = FORMATS.iter().find(|(_, ending)| *ending == rest) else {
            return Err(SbomError::Format(path));
        };
        if !declared.iter().any(|declared| is_media_type(declared, media_type)) {
            return Err(SbomError::Undeclared { path, media_type });
        }
        found.push(SbomFile { path, layer, kinds, name: format!("sbom.{rest}") });
    }
    found.sort();
    Ok(found)
}

/// What a file with this prefix is about, and what it is kept for; `None` when that is nothing.
fn subject(prefix: &str, dir: &BuildpackDir) -> Option<(Option<String>, Vec<&'static str>)> {
    match prefix {
        "launch" => Some((None, vec!["launch"])),
        "build" => Some((None, vec!["build"])),
        name => {
            let layer = dir.layers.iter().find(|layer| layer.name == name)?;
            Some((Some(name.to_owned()), kinds(layer.file.types)))
        }
    }
}

fn kinds(types: LayerTypes) -> Vec<&'static str> {
    let mut kinds = vec![if types.launch { "launch" } else { "build" }];
    kinds.extend(types.cache.then_some("cache"));
    kinds
}

fn is_media_type(declared: &str, media_type: &str) -> bool {
    let plain = declared.split(';').next().unwrap_or(declared);
    plain.trim().eq_ignore_ascii_case(media_type)
}

fn file_names(dir: &Path) -> Result<Vec<String>, SbomError> {
    let failed = |source| SbomError::Io { path: dir.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}

/// Copies `files` of the buildpack `id` to their places below `layers`.
pub fn keep(files: &[SbomFile], layers: &Path, id: &ComponentId) -> Result<(), SbomError> {
    for file in files {
        let failed = |source| SbomError::Io { path: file.path.clone(), source };
        for kind in &file.kinds {
            let parts = ["sbom", kind, &id.escaped()].map(str::to_owned);
            let dir = make_dirs(layers, parts.into_iter().chain(file.layer.clone())).map_err(failed)?;
            copy(&file.path, &dir.join(&file.name)).map_err(failed)?;
        }
    }
    Ok(())
}

/// Makes directories below `root`, one in the other, each with the same mode whatever the umask.
pub fn make_dirs(root: &Path, names: impl IntoIterator<Item = String>) -> io::Result<PathBuf> {
    let mut path = root.to_owned();
    for name in names {
        path.push(name);
        match DirBuilder::new().mode(DIR_MODE).create(&path) {
            Ok(()) => fs::set_permissions(&path, Permissions::from_mode(DIR_MODE))?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Ok(path)
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !fs::metadata(from)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a file"));
    }
    let mut source = File::open(from)?;
    let mut copy = OpenOptions::new().write(true).create(true).truncate(true).mode(FILE_MODE).open(to)?;
    io::copy(&mut source, &mut copy)?;
    copy.set_permissions(Permissions::from_mode(FILE_MODE))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 3] = [
        "application/vnd.cyclonedx+json",
        "Application/SPDX+json; charset=utf-8",
        "application/vnd.syft+json",
    ];

    fn found(
        files: &[(&str, &str)],
        declared: &[&str],
    ) -> (tempfile::TempDir, Result<Vec<SbomFile>, SbomError>) {
        let layers = tempfile::tempdir().expect("a directory");
        fs::create_dir(layers.path().join("a_b")).expect("made");
        for (name, text) in files {
            fs::write(layers.path().join("a_b").join(name), text).expect("written");
        }
        let dir = BuildpackDir::read(layers.path(), &"a/b".parse().expect("an ID")).expect("readable");
        let declared: Vec<String> = declared.iter().map(|text| (*text).to_owned()).collect();
        (layers, find(&dir, &declared))
    }

    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let (layers, found) = found(files, &ALL);
        let id = "a/b".parse().expect("an ID");
        keep(&found.expect("accepted"), layers.path(), &id).expect("copied");
        let sbom = layers.path().join("sbom");
        let entries = walkdir::WalkDir::new(&sbom).sort_by_file_name().into_iter().filter_map(Result::ok);
        let mut copied = Vec::new();
        for entry in entries {
            let mode = entry.metadata().expect("there").permissions().mode() & 0o7777;
            assert_eq!(mode, if entry.file_type().is_dir() { DIR_MODE } else { FILE_MODE });
            if entry.file_type().is_file() {
                copied.push(entry.path().strip_prefix(&sbom).expect("below").display().to_string());
            }
        }
        assert_eq!(copied, expected);
    }

    #[test]
    fn files_go_where_their_layer_goes() {
        let launch = ("x.toml", "[types]\nlaunch = true");
        check(&[launch, ("x.sbom.cdx.json", "{}")], &["launch/a_b/x/sbom.cdx.json"]);
        let build = ("x.toml", "[types]\nbuild = true");
        check(&[build, ("x.sbom.spdx.json", "{}")], &["build/a_b/x/sbom.spdx.json"]);
        check(&[("x.toml", ""), ("x.sbom.syft.json", "{}")], &["build/a_b/x/sbom.syft.json"]);
        let cached = ("x.toml", "[types]\nlaunch = true\ncache = true");
        let both = ["cache/a_b/x/sbom.cdx.json", "launch/a_b/x/sbom.cdx.json"];
        check(&[cached, ("x.sbom.cdx.json", "{}")], &both);
        let dotted = ("x.y.toml", "[types]\nlaunch = true");
        check(&[dotted, ("x.y.sbom.cdx.json", "{}")], &["launch/a_b/x.y/sbom.cdx.json"]);
    }

    #[test]
    fn files_of_image_and_build_have_no_layer() {
        let files = [("launch.sbom.cdx.json", "{}"), ("build.sbom.syft.json", "{}")];
        check(&files, &["build/a_b/sbom.syft.json", "launch/a_b/sbom.cdx.json"]);
    }

    #[test]
    fn other_files_are_no_matter_of_ours() {
        let files = [
            ("x.sbom.cdx.json", "{}"),
            ("y.sbom.odd.json", ""),
            ("launch.sbom.cdx", ""),
            ("sbom.cdx.json", ""),
        ];
        check(&files, &[]);
    }

    #[test]
    fn only_known_and_declared_formats_are_accepted() {
        let odd = found(&[("launch.sbom.odd.json", "")], &ALL).1.expect_err("refused").to_string();
        assert!(
            odd.starts_with("unsupported SBOM file format: '") && odd.contains("launch.sbom.odd.json"),
            "{odd}"
        );
        let undeclared =
            found(&[("build.sbom.spdx.json", "")], &ALL[..1]).1.expect_err("refused").to_string();
        assert!(
            undeclared.starts_with("undeclared SBOM media type: 'application/spdx+json'"),
            "{undeclared}"
        );
    }

    #[test]
    fn what_is_not_a_file_is_refused() {
        let (layers, found) = found(&[("launch.sbom.cdx.json", "{}")], &ALL);
        let path = layers.path().join("a_b/launch.sbom.cdx.json");
        fs::remove_file(&path).expect("removed");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("made");
        let id = "a/b".parse().expect("an ID");
        assert!(keep(&found.expect("accepted"), layers.path(), &id).is_err());
    }
}
