//! Corpora: what is compressed, each a tar in memory.

use std::path::Path;

use walkdir::WalkDir;

use super::tree;

/// Bytes with a name.
pub struct Corpus {
    /// What the table calls it.
    pub name: &'static str,
    /// A tar, or plain bytes.
    pub bytes: Vec<u8>,
}

/// All corpora, of about `most` bytes each, or what this machine has.
pub fn all(most: usize) -> Vec<Corpus> {
    let sources = cargo_home().join("registry/src");
    let mut numbers = tree::Numbers(1);
    let random = std::iter::repeat_with(|| numbers.next().to_le_bytes()).flatten();
    vec![
        Corpus { name: "libraries", bytes: directory(Path::new("/usr/lib"), most, is_library) },
        Corpus { name: "sources", bytes: directory(&sources, most, |_| true) },
        Corpus { name: "tree", bytes: made_up(most) },
        Corpus { name: "random", bytes: random.take(most / 4).collect() },
        Corpus { name: "zeros", bytes: vec![0; most] },
    ]
}

fn cargo_home() -> std::path::PathBuf {
    let home = std::env::var_os("HOME").unwrap_or_default();
    std::env::var_os("CARGO_HOME").map_or_else(|| Path::new(&home).join(".cargo"), Into::into)
}

/// Shared libraries by their names, with or without a version at the end.
fn is_library(name: &str) -> bool {
    format!("{name}.").contains(".so.")
}

/// A tar of the files below `root` that `wanted` takes by name, in order, until there are `most` bytes.
fn directory(root: &Path, most: usize, wanted: impl Fn(&str) -> bool) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let files = WalkDir::new(root).sort_by_file_name().into_iter().flatten();
    for file in files.filter(|file| file.file_type().is_file() && wanted(&file.file_name().to_string_lossy()))
    {
        let Ok(bytes) = std::fs::read(file.path()) else { continue };
        let name = file.path().strip_prefix(root).expect("the walk stays below its root");
        append(&mut tar, &name.to_string_lossy(), &bytes);
        if tar.get_ref().len() >= most {
            break;
        }
    }
    tar.into_inner().expect("memory takes all")
}

/// A tar of made-up files.
fn made_up(most: usize) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for number in 0.. {
        let (name, bytes) = tree::file(number);
        append(&mut tar, &name, &bytes);
        if tar.get_ref().len() >= most {
            break;
        }
    }
    tar.into_inner().expect("memory takes all")
}

fn append(tar: &mut tar::Builder<Vec<u8>>, name: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, bytes).expect("memory takes all");
}
