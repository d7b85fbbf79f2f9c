//! Layers compared with those of the reference implementation: see fixtures/golden/layers.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::header::{END, Format, Header, Kind, padding};
use super::slices::{Slice, divide};
use super::tar::{LayerSource, Owner, Parent, TarError, Tree};
use crate::digest::Hashing;

const CNB: Owner = Owner { uid: 1000, gid: 1000 };

/// A layer of `reference.json`.
#[derive(Deserialize)]
struct Reference {
    name: PathBuf,
    diff_ids: Vec<String>,
    slices: Option<Vec<Vec<String>>>,
    parents: Vec<ReferenceParent>,
    entries: Vec<ReferenceEntry>,
}

#[derive(Deserialize)]
struct ReferenceParent {
    name: PathBuf,
    mode: u32,
    uid: u32,
    gid: u32,
}

#[derive(Deserialize)]
struct ReferenceEntry {
    path: String,
    mode: Option<u32>,
    content: Option<String>,
    link: Option<String>,
}

impl Reference {
    fn make(&self, root: &Path) {
        for entry in &self.entries {
            let path = if entry.path.is_empty() { root.to_owned() } else { root.join(&entry.path) };
            match (&entry.link, &entry.content) {
                (Some(link), _) => symlink(link, &path).expect("link"),
                (None, Some(content)) => fs::write(&path, content).expect("write"),
                (None, None) => fs::create_dir(&path).expect("create"),
            }
            if let Some(mode) = entry.mode {
                fs::set_permissions(&path, Permissions::from_mode(mode)).expect("chmod");
            }
        }
    }

    fn tree(&self, path: PathBuf) -> Tree {
        let owner = |parent: &ReferenceParent| Owner { uid: parent.uid, gid: parent.gid };
        let parents = self.parents.iter().map(|parent| Parent {
            name: parent.name.clone(),
            mode: parent.mode,
            owner: owner(parent),
        });
        Tree { path, name: self.name.clone(), parents: parents.collect(), owner: CNB }
    }
}

fn hash(source: &LayerSource) -> Result<String, TarError> {
    let mut stream = source.open()?;
    let mut hash = Hashing::new(io::sink());
    let mut buffer = vec![0; 1 << 20];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(hash.finish().0.to_string()),
            Ok(read) => hash.write_all(&buffer[..read]).expect("a sink takes all"),
            Err(error) => return Err(error.downcast().expect("a TarError")),
        }
    }
}

fn diff_id(source: &LayerSource) -> String {
    hash(source).expect("the layer can be read")
}

fn divided(tree: Tree, slices: &[Vec<String>]) -> Vec<String> {
    let parts: Vec<Slice> = divide(&Arc::new(tree), slices).expect("the patterns are valid");
    parts.into_iter().map(|part| diff_id(&LayerSource::Slice(Arc::new(part)))).collect()
}

#[test]
fn every_layer_of_the_reference_builds_is_made_again() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/golden/layers/reference.json");
    let text = fs::read_to_string(golden).expect("the fixture is there");
    let layers: Vec<Reference> = serde_json::from_str(&text).expect("the fixture is JSON");
    assert_eq!(layers.len(), 10);
    for layer in &layers {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let root = temp.path().join("root");
        layer.make(&root);
        let found = match &layer.slices {
            None => vec![diff_id(&LayerSource::Dir(layer.tree(root)))],
            Some(slices) => divided(layer.tree(root), slices),
        };
        assert_eq!(found, layer.diff_ids, "{}", layer.name.display());
    }
}

#[test]
fn process_types_of_the_reference_builds_are_made_again() {
    let types = |names: &[&str]| LayerSource::ProcessTypes(names.iter().map(ToString::to_string).collect());
    let check = |names: &[&str], expected: &str| {
        assert_eq!(diff_id(&types(names)), format!("sha256:{expected}"), "{names:?}");
    };
    check(&["shell", "web", "worker"], "d73c1657189f21b791642951b74431f75909eae941bd6528b99ba470d4d575c6");
    check(&["web"], "83d85471d9f8a3834b4e27cf701e3f0aef220cc816d9c173c7d32cd73909a590");
    for name in ["", "a/b", "a|b", "a\\b"] {
        assert!(matches!(types(&[name]).open(), Err(TarError::ProcessType(_))), "{name}");
    }
}

/// The extension layers of the reference implementation's exporter test: GNU headers stay GNU.
#[test]
fn extension_layers_of_the_reference_test_are_made_again() {
    let check = |dir: &str, file: &str, expected: &str| {
        let temp = tempfile::NamedTempFile::new().expect("a temporary file");
        fs::write(temp.path(), extension_layer(dir, file)).expect("write");
        let source = LayerSource::Archive(temp.path().to_owned());
        assert_eq!(diff_id(&source), format!("sha256:{expected}"));
    };
    check("/some-dir", "/some-file", "fb54d2566824d6630d94db0b008d9a544a94d3547a424f52e2fd282b648c0601");
    check(
        "/some-other-dir",
        "/some-other-file",
        "1018c7d3584c4f7fa3ef4486d1a6a11b93956b9d8bfe0898a3e0fbd248c984d8",
    );
}

fn extension_layer(dir: &str, file: &str) -> Vec<u8> {
    let mut tar = Vec::new();
    let (dir, inside) = (&*format!("{dir}/"), &*format!("{dir}/some-file"));
    for (kind, name, mode, content) in [
        (Kind::Dir, dir, 0o755, ""),
        (Kind::File, inside, 0o644, "some-data\n"),
        (Kind::File, file, 0o644, "some-data\n"),
    ] {
        let header = Header::new(kind, name.as_bytes(), mode);
        let size = content.len() as u64;
        Header { uid: 501, gid: 20, size, mtime: 1_707_419_476, format: Format::Gnu, ..header }
            .encode(&mut tar);
        tar.extend_from_slice(content.as_bytes());
        tar.resize(tar.len() + padding(size), 0);
    }
    tar.extend_from_slice(&END);
    tar
}

fn write(path: &Path, content: &str, mode: u32) {
    fs::create_dir_all(path.parent().expect("a parent")).expect("create");
    fs::write(path, content).expect("write");
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
}

/// Entries that the reference builds lack.
pub fn own_tree(root: &Path) {
    write(&root.join("a/x"), "below\n", 0o644);
    write(&root.join("a-b"), "beside\n", 0o644);
    write(&root.join("a.b"), "", 0o600);
    for total in [99, 100, 101, 155, 156, 157, 255, 256, 257, 300, 400] {
        write(&root.join("lengths").join(path_of_length(total)), &total.to_string(), 0o644);
    }
    write(&root.join("l".repeat(101)), "long leaf\n", 0o644);
    write(&root.join("m".repeat(200)), "longer leaf\n", 0o644);
    write(&root.join(OsStr::from_bytes(b"\xe9t\xe9")), "not UTF-8\n", 0o644);
    write(&root.join("été"), "UTF-8\n", 0o644);
    write(&root.join("line\nbreak"), "line break\n", 0o644);
    write(&root.join("é\nbreak=1"), "line break in a record\n", 0o644);
    write(&root.join("modes/suid"), "s", 0o4755);
    write(&root.join("modes/read-only"), "r", 0o444);
    fs::create_dir(root.join("modes/sticky")).expect("create");
    fs::set_permissions(root.join("modes/sticky"), Permissions::from_mode(0o1777)).expect("chmod");
    write(&root.join("links/one"), "same\n", 0o644);
    fs::hard_link(root.join("links/one"), root.join("links/two")).expect("link");
    for (name, target) in
        [("short", "one"), ("hundred", &*"t".repeat(100)), ("long", &*"u/".repeat(70)), ("accent", "é")]
    {
        symlink(target, root.join("links").join(name)).expect("link");
    }
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), rustix::fs::FileType::Fifo, 0o644.into(), 0)
        .expect("make a pipe");
    std::os::unix::net::UnixListener::bind(root.join("socket")).expect("make a socket");
    fs::create_dir(root.join("empty")).expect("create");
    // Below this directory the hundredth byte of a name is a slash.
    let dir = root.join("d".repeat(99 - "/layers/own/tree/".len()));
    write(&dir.join("e".repeat(120)), "cut at a slash\n", 0o644);
    for entry in [root.to_owned(), root.join("pipe")].into_iter().chain(directories(root)) {
        let mode = if entry.ends_with("pipe") { 0o644 } else { 0o755 };
        if !entry.ends_with("sticky") {
            fs::set_permissions(&entry, Permissions::from_mode(mode)).expect("chmod");
        }
    }
}

fn directories(root: &Path) -> Vec<PathBuf> {
    let entries = walkdir::WalkDir::new(root).into_iter().filter_map(Result::ok);
    entries.filter(|entry| entry.file_type().is_dir()).map(walkdir::DirEntry::into_path).collect()
}

/// A path of parts of at most 40 bytes that makes the entry's name `total` bytes long.
fn path_of_length(total: usize) -> String {
    let mut parts = Vec::new();
    let mut rest = total - "/layers/own/tree/lengths/".len();
    loop {
        let part = if rest == 41 { 39 } else { rest.min(40) };
        parts.push(format!("{}{total:03}", "n".repeat(part - 3)));
        match rest.checked_sub(part + 1) {
            Some(left) if left > 0 => rest = left,
            _ => return parts.join("/"),
        }
    }
}

fn own(path: PathBuf, owner: Owner) -> Tree {
    let parent = |name: &str| Parent { name: name.into(), mode: 0o755, owner: CNB };
    let parents = vec![parent("/layers"), parent("/layers/own")];
    Tree { path, name: "/layers/own/tree".into(), parents, owner }
}

#[test]
fn names_links_modes_and_owners_are_written_as_go_writes_them() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let root = temp.path().join("tree");
    own_tree(&root);
    assert_eq!(
        diff_id(&LayerSource::Dir(own(root.clone(), CNB))),
        "sha256:f37473bd5c29561e71ac2acb1bfa563bcd26d986f67d621976565cd9fe0d802a"
    );
    let paths = "sha256:df8fab6fbb1a7ed3448dedefee9ab27e382e87e1d38f266125f40afa85349ec6";
    assert_eq!(divided(own(root.clone(), CNB), &[]), [paths]);
    let empty = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    assert_eq!(divided(own(root.clone(), CNB), &[vec!["*".to_owned()]]), [paths, empty]);
    assert_eq!(divided(own(root.clone(), CNB), &[vec!["no*pe".to_owned()]]), [empty, paths]);
    assert_eq!(
        diff_id(&LayerSource::Dir(own(root, Owner { uid: 3_000_000, gid: 2_097_152 }))),
        "sha256:b821e31912114c4ce4e595777b6fb3db8898b48a7b87d1dbf33f672ec09a12f2"
    );
}

#[test]
fn a_sparse_file_of_nine_gigabytes_is_written_as_plain_data() {
    let temp = tempfile::tempdir().expect("a temporary directory");
    let file = File::create(temp.path().join("nine-gigabytes")).expect("create");
    file.set_len(9_000_000_001).expect("a sparse file");
    file.write_all_at(b"end", 8_999_999_998).expect("write");
    for path in [temp.path(), &temp.path().join("nine-gigabytes")] {
        let mode = if path == temp.path() { 0o755 } else { 0o644 };
        fs::set_permissions(path, Permissions::from_mode(mode)).expect("chmod");
    }
    assert_eq!(
        diff_id(&LayerSource::Dir(own(temp.path().to_owned(), CNB))),
        "sha256:f10dd308acaab6840a95d36cc0932937a127f4c225dd2b706ba0ea584e521dbb"
    );
}
