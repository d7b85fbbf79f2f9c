//! The crates that a program can be made of, and those that it is made of.
//!
//! Cargo knows the first. The second is read from the program: before it is stripped, its line tables name the
//! source of every instruction, inlined ones included, and those paths name the crate. A crate of which no
//! instruction is left, such as one of macros, is not part of the program. The standard library brings crates of
//! its own along, and the C library is linked statically too.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

use crate::error::Error;

/// Where each crate's directory seems to be for the compiler; its name and version follow. No path of this
/// machine gets into a program.
pub const CRATES: &str = "/crates/";

/// Where this repository seems to be for the compiler.
const REPOSITORY: &str = "/lifecycle";

/// Where the standard library says its own crates were.
const STD_CRATES: &str = "/rust/deps/";

/// What a program is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Linked {
    /// Crates, by their places in [`Graph::crates`].
    pub crates: BTreeSet<usize>,
    /// The standard library's own crates, as `name-version`.
    pub std: BTreeSet<String>,
    /// The C library's version, with the distribution's revision where it names one.
    pub c_library: Option<String>,
}

/// A crate of the graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its license expression, if it declares one.
    pub license: Option<String>,
    /// The SHA-256 of its archive, in hexadecimal; `None` for crates of this repository.
    pub checksum: Option<String>,
    /// Its directory.
    pub dir: PathBuf,
    /// Whether it brings a library of C or assembly along, whose code the line tables may not name.
    pub is_native: bool,
    /// The crates it may use at run time, by their places in [`Graph::crates`].
    pub uses: Vec<usize>,
}

/// All crates that the lifecycle's programs can be made of on this machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Graph {
    /// By name and version.
    pub crates: Vec<Crate>,
}

/// What `cargo metadata` says, as far as it matters.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    manifest_path: PathBuf,
    links: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Debug, Deserialize)]
struct DependencyKind {
    kind: Option<String>,
}

/// `Cargo.lock`, as far as it matters.
#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

impl Graph {
    /// The graph of the workspace at `repository` for the target `triple`.
    pub fn of(repository: &Path, triple: &str) -> Result<Self, Error> {
        let mut command = Command::new(crate::compile::cargo());
        command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", triple]);
        let metadata = crate::compile::output(command.current_dir(repository))?;
        let path = repository.join("Cargo.lock");
        let lock = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        Self::parse(&metadata, &lock)
    }

    fn parse(metadata: &str, lock: &str) -> Result<Self, Error> {
        let bad = |tool, text: String| Error::Output { tool, text };
        let metadata: Metadata =
            serde_json::from_str(metadata).map_err(|error| bad("cargo metadata", error.to_string()))?;
        let lock: Lock = toml::from_str(lock).map_err(|error| bad("Cargo.lock", error.to_string()))?;
        let mut packages = metadata.packages;
        packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        let places: BTreeMap<&str, usize> =
            packages.iter().enumerate().map(|(place, package)| (package.id.as_str(), place)).collect();
        let mut uses = vec![Vec::new(); packages.len()];
        for node in &metadata.resolve.nodes {
            let normal =
                |dependency: &&Dependency| dependency.dep_kinds.iter().any(|kind| kind.kind.is_none());
            let found = node.deps.iter().filter(normal).filter_map(|dependency| places.get(&*dependency.pkg));
            if let Some(place) = places.get(&*node.id) {
                uses[*place] = found.copied().collect();
            }
        }
        let checksum = |package: &Package| {
            let is_it = |locked: &&Locked| locked.name == package.name && locked.version == package.version;
            lock.package.iter().find(is_it).and_then(|locked| locked.checksum.clone())
        };
        let crates = packages.iter().zip(uses).map(|(package, uses)| Crate {
            name: package.name.clone(),
            version: package.version.clone(),
            license: package.license.as_ref().map(|license| license.replace('/', " OR ")),
            checksum: checksum(package),
            dir: package.manifest_path.parent().unwrap_or(Path::new("/")).to_owned(),
            is_native: package.links.is_some(),
            uses,
        });
        Ok(Self { crates: crates.collect() })
    }

    /// The compiler's arguments by which no path of this machine gets into a program: neither that of the
    /// `repository` nor of any crate.
    pub fn remaps(&self, repository: &Path) -> Vec<String> {
        let remap = |it: &Crate| {
            format!("--remap-path-prefix={}={CRATES}{}-{}", it.dir.display(), it.name, it.version)
        };
        let repository = format!("--remap-path-prefix={}={REPOSITORY}", repository.display());
        std::iter::once(repository).chain(self.crates.iter().map(remap)).collect()
    }

    /// What a program with code of these source files, and the C library of that version, is made of;
    /// `None` if there are no files of any crate.
    pub fn linked(&self, sources: &BTreeSet<String>, c_library: Option<String>) -> Option<Linked> {
        let names = names_below(sources, CRATES);
        let has_code = |it: &Crate| match it.checksum {
            Some(_) => names.contains(&format!("{}-{}", it.name, it.version)),
            None => sources.iter().any(|path| path.starts_with(&format!("{REPOSITORY}/{}/src/", it.name))),
        };
        let mut crates: BTreeSet<usize> =
            (0..self.crates.len()).filter(|place| has_code(&self.crates[*place])).collect();
        let used = crates.iter().flat_map(|place| &self.crates[*place].uses).copied();
        let natives: Vec<usize> = used.filter(|place| self.crates[*place].is_native).collect();
        crates.extend(natives);
        let linked = Linked { crates, std: names_below(sources, STD_CRATES), c_library };
        (!linked.crates.is_empty()).then_some(linked)
    }

    /// Which of `linked` the crate at `place` uses, directly or through crates that left no code.
    pub fn uses_of(&self, place: usize, linked: &BTreeSet<usize>) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut seen = BTreeSet::new();
        let mut open = self.crates[place].uses.clone();
        while let Some(next) = open.pop() {
            if !seen.insert(next) {
                continue;
            }
            if linked.contains(&next) {
                found.insert(next);
            } else {
                open.extend(&self.crates[next].uses);
            }
        }
        found
    }
}

/// The directories directly below `root` that `sources` are in, if their names end in a version.
fn names_below(sources: &BTreeSet<String>, root: &str) -> BTreeSet<String> {
    let name = |path: &String| path.strip_prefix(root)?.split_once('/').map(|(name, _)| name.to_owned());
    sources.iter().filter_map(name).filter(|name| split_version(name).is_some()).collect()
}

/// Splits `name-version`: the version begins at the first dash before a digit.
pub fn split_version(text: &str) -> Option<(&str, &str)> {
    let is_dash = |(at, _): &(usize, &str)| text[at + 1..].starts_with(|next: char| next.is_ascii_digit());
    let (at, _) = text.match_indices('-').find(is_dash)?;
    Some((&text[..at], &text[at + 1..]))
}

/// The version that the banner of the C library in `program` names: `2.36-9+deb12u14` of
/// `Debian GLIBC 2.36-9+deb12u14`.
pub fn c_library(program: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"GNU C Library (";
    let start = program.windows(BANNER.len()).position(|window| window == BANNER)?;
    let rest = &program[start + BANNER.len()..];
    let end = rest.iter().take(100).position(|byte| *byte == b')')?;
    let text = std::str::from_utf8(&rest[..end]).ok()?;
    text.rsplit(' ').next().map(str::to_owned)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// a uses b, which has no code of its own and uses c; c uses the native n; p is for its build.
    pub(crate) fn graph() -> Graph {
        let package = |name: &str, links: &str| {
            format!(
                r#"{{"id":"{name}","name":"{name}","version":"1.0.0","license":"MIT/Apache-2.0",
                "manifest_path":"/reg/{name}-1.0.0/Cargo.toml","links":{links}}}"#
            )
        };
        let node = |name: &str, used: &str, kind: &str| {
            format!(r#"{{"id":"{name}","deps":[{{"pkg":"{used}","dep_kinds":[{{"kind":{kind}}}]}}]}}"#)
        };
        let metadata = format!(
            r#"{{"packages":[{},{},{},{},{}],"resolve":{{"nodes":[{},{},{},{}]}}}}"#,
            package("n", "\"z\""),
            package("c", "null"),
            package("b", "null"),
            package("a", "null"),
            package("p", "null"),
            node("a", "b", "null"),
            node("b", "c", "null"),
            node("c", "n", "null"),
            node("n", "p", "\"build\""),
        );
        let lock = "[[package]]\nname = \"c\"\nversion = \"1.0.0\"\nchecksum = \"0c\"\n";
        Graph::parse(&metadata, lock).expect("both are well-formed")
    }

    #[test]
    fn graph_says_who_uses_whom_at_run_time() {
        let graph = graph();
        let names: Vec<&str> = graph.crates.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c", "n", "p"]);
        let uses: Vec<&[usize]> = graph.crates.iter().map(|it| it.uses.as_slice()).collect();
        assert_eq!(uses, [&[1][..], &[2], &[3], &[], &[]]);
        assert_eq!(graph.crates[2].checksum.as_deref(), Some("0c"));
        assert_eq!(graph.crates[2].license.as_deref(), Some("MIT OR Apache-2.0"));
        assert_eq!(graph.remaps(Path::new("/r"))[1], "--remap-path-prefix=/reg/a-1.0.0=/crates/a-1.0.0");
    }

    #[test]
    fn crates_with_code_and_their_native_libraries_are_linked() {
        let sources =
            ["/lifecycle/a/src/x.rs", "/crates/c-1.0.0/src/x.rs", "/rust/deps/gimli-0.32.3/src/y.rs"];
        let sources = sources.map(str::to_owned).into();
        let graph = graph();
        let linked = graph.linked(&sources, Some("2.36".to_owned())).expect("crates are named");
        assert_eq!(linked.crates, BTreeSet::from([0, 2, 3]));
        assert_eq!(linked.std, BTreeSet::from(["gimli-0.32.3".to_owned()]));
        assert_eq!(graph.uses_of(0, &BTreeSet::from([0, 2])), BTreeSet::from([2]));
    }

    #[test]
    fn banner_of_the_c_library_names_its_version() {
        let version = c_library(b"\0GNU C Library (Debian GLIBC 2.36-9+deb12u14) stable release");
        assert_eq!(version.as_deref(), Some("2.36-9+deb12u14"));
        assert_eq!(c_library(b"musl"), None);
    }

    #[test]
    fn versions_begin_at_a_digit_after_a_dash() {
        assert_eq!(split_version("zstd-sys-2.1.3+zstd.1.5.7"), Some(("zstd-sys", "2.1.3+zstd.1.5.7")));
        assert_eq!(split_version("a-b"), None);
    }

    #[test]
    fn programs_without_line_tables_say_nothing() {
        assert_eq!(graph().linked(&BTreeSet::from(["/crates/other-1.0.0/src".to_owned()]), None), None);
    }
}
