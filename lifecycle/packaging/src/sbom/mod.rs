//! Bills of materials of our own programs: what is really in them, in the three formats that platforms read.

mod cyclonedx;
mod spdx;
mod syft;

use std::collections::{BTreeMap, BTreeSet};

use lifecycle::cli::VERSION;
use lifecycle::digest::Digest;
use lifecycle::time;

use crate::compile::Program;
use crate::graph::{Graph, split_version};

/// Our own license.
const LICENSE: &str = "Apache-2.0";

/// A bill of materials, not yet in any format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bom {
    /// What it is about: `lifecycle`, `launcher`.
    pub subject: &'static str,
    /// The programs, with the SHA-256 of their files in hexadecimal.
    pub programs: Vec<(&'static str, String)>,
    /// What they are made of, by reference.
    pub parts: BTreeMap<String, Part>,
    /// Who uses what, by reference: programs and parts, each with parts.
    pub uses: BTreeMap<String, BTreeSet<String>>,
}

/// A library in a program. Its reference is its package URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its license expression, if it declares one.
    pub license: Option<String>,
    /// The SHA-256 of its archive in hexadecimal, if it comes as one.
    pub checksum: Option<String>,
    /// What it is.
    pub kind: PartKind,
}

/// What a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartKind {
    /// A crate from the registry.
    Crate,
    /// A crate of this repository.
    Own,
    /// Linked, but not built by cargo: the standard library, the C library.
    Foreign,
}

impl Bom {
    /// The bill of `programs`.
    pub fn of(subject: &'static str, programs: &[&Program], graph: &Graph, rust_version: &str) -> Self {
        let mut bom = Self { subject, programs: Vec::new(), parts: BTreeMap::new(), uses: BTreeMap::new() };
        for program in programs {
            bom.programs.push((program.name, Digest::of(&program.bytes).hex()));
            bom.add(program, graph, rust_version);
        }
        bom
    }

    fn add(&mut self, program: &Program, graph: &Graph, rust_version: &str) {
        let crates = &program.linked.crates;
        let mut all = BTreeSet::new();
        for place in crates {
            let it = &graph.crates[*place];
            let kind = if it.checksum.is_some() { PartKind::Crate } else { PartKind::Own };
            let (license, checksum) = (it.license.clone(), it.checksum.clone());
            let part = Part { name: it.name.clone(), version: it.version.clone(), license, checksum, kind };
            let uses = graph.uses_of(*place, crates);
            let uses =
                uses.iter().map(|used| crate_url(&graph.crates[*used].name, &graph.crates[*used].version));
            let reference = crate_url(&it.name, &it.version);
            self.uses.entry(reference.clone()).or_default().extend(uses);
            self.parts.insert(reference.clone(), part);
            all.insert(reference);
        }
        let std = self.add_foreign("rust-std", rust_version, Some("MIT OR Apache-2.0"));
        for name in &program.linked.std {
            let Some((name, version)) = split_version(name) else { continue };
            let reference = crate_url(name, version);
            let (name, version) = (name.to_owned(), version.to_owned());
            let part = Part { name, version, license: None, checksum: None, kind: PartKind::Crate };
            self.parts.entry(reference.clone()).or_insert(part);
            self.uses.entry(std.clone()).or_default().insert(reference);
        }
        all.insert(std);
        if let Some(version) = &program.linked.c_library {
            all.insert(self.add_foreign("glibc", version, Some("LGPL-2.1-or-later")));
        }
        self.uses.insert(program.name.to_owned(), all);
    }

    fn add_foreign(&mut self, name: &str, version: &str, license: Option<&str>) -> String {
        let reference = format!("pkg:generic/{name}@{}", escape(version));
        let (name, version) = (name.to_owned(), version.to_owned());
        let license = license.map(str::to_owned);
        let part = Part { name, version, license, checksum: None, kind: PartKind::Foreign };
        self.parts.insert(reference.clone(), part);
        reference
    }

    /// A UUID that is another one whenever the programs are.
    fn uuid(&self) -> String {
        let hashes: Vec<String> = self.programs.iter().map(|(name, hash)| format!("{name} {hash}")).collect();
        let hex = Digest::of(hashes.join("\n").as_bytes()).hex();
        format!("{}-{}-8{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32])
    }
}

/// The files of one subject: names and texts.
pub fn files(bom: &Bom) -> Vec<(String, Vec<u8>)> {
    let text = |value: serde_json::Value| {
        let mut text = serde_json::to_vec_pretty(&value).expect("a value is JSON");
        text.push(b'\n');
        text
    };
    let subject = bom.subject;
    vec![
        (format!("{subject}.sbom.cdx.json"), text(cyclonedx::document(bom))),
        (format!("{subject}.sbom.spdx.json"), text(spdx::document(bom))),
        (format!("{subject}.sbom.syft.json"), text(syft::document(bom))),
    ]
}

fn crate_url(name: &str, version: &str) -> String {
    format!("pkg:cargo/{name}@{}", escape(version))
}

/// Package URLs take no bare `+`.
fn escape(version: &str) -> String {
    version.replace('+', "%2B")
}

/// When the documents were made: never, or there would be no two that are alike.
fn created() -> String {
    time::rfc3339(time::CONSTANT).expect("the constant is in 1980")
}

/// The version of everything that is ours.
fn version() -> &'static str {
    VERSION
}

#[cfg(test)]
mod tests;
