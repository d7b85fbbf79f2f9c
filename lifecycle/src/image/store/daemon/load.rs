//! The archive that `docker load` takes: config, layers, and a manifest that names them.
//!
//! Layers that the engine has in the same place of the same chain are named but not given. Source:
//! Docker image specification v1.2 "Combined Image JSON + Filesystem Changeset Format".

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::Serialize;

/// What an archive holds.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The config's bytes.
    pub config: String,
    /// The config's sha256 in hexadecimal digits.
    pub config_hex: String,
    /// The layers, base first; `None` where the engine has it.
    pub layers: Vec<Option<PathBuf>>,
    /// `repository:tag`, as many as the image gets.
    pub tags: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    config: String,
    repo_tags: &'a [String],
    layers: Vec<String>,
}

impl Archive {
    /// Writes the archive; the layers' files are read once.
    pub fn write(&self, out: impl Write) -> io::Result<()> {
        let mut tar = tar::Builder::new(out);
        let config = format!("{}.json", self.config_hex);
        add(&mut tar, &config, self.config.len() as u64, self.config.as_bytes())?;
        let mut layers = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            let name =
                if layer.is_some() { format!("layer_{index}/layer.tar") } else { format!("blank_{index}") };
            match layer {
                Some(path) => {
                    let file = File::open(path)?;
                    let size = file.metadata()?.len();
                    add(&mut tar, &name, size, file)?;
                }
                None => add(&mut tar, &name, 0, io::empty())?,
            }
            layers.push(name);
        }
        let manifest = [Entry { config, repo_tags: &self.tags, layers }];
        let manifest = serde_json::to_vec(&manifest).map_err(io::Error::other)?;
        add(&mut tar, "manifest.json", manifest.len() as u64, manifest.as_slice())?;
        tar.into_inner()?.flush()
    }
}

/// Adds a file of that name and size.
pub fn add(tar: &mut tar::Builder<impl Write>, name: &str, size: u64, content: impl Read) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, content)
}

/// What the engine answered to a load that it could not carry out; `None` when it did. A containerd
/// image store that has an image and cannot unpack it says so in passing.
pub fn failure(answer: &str) -> Option<String> {
    let lines = answer.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let why = |line: serde_json::Value| {
        let passing = line["stream"].as_str().filter(|text| text.starts_with("Error unpacking image"));
        line["error"].as_str().or(passing).map(|text| text.trim().to_owned())
    };
    lines.into_iter().find_map(why)
}
