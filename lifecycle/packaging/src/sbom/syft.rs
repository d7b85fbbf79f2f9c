//! The bill as Syft JSON, schema 16.

use lifecycle::digest::Digest;
use serde_json::{Value, json};

use super::{Bom, Part, PartKind, version};

const SCHEMA: &str = "16.0.34";

/// The document.
pub fn document(bom: &Bom) -> Value {
    let artifacts: Vec<Value> =
        bom.parts.iter().map(|(reference, it)| artifact(bom, reference, it)).collect();
    let is_part = |user: &&String| bom.parts.contains_key(*user);
    let relationships: Vec<Value> = bom
        .uses
        .keys()
        .filter(is_part)
        .flat_map(|user| bom.uses[user].iter().map(move |used| (user, used)))
        .map(|(user, used)| json!({ "parent": id(used), "child": id(user), "type": "dependency-of" }))
        .collect();
    json!({
        "artifacts": artifacts,
        "artifactRelationships": relationships,
        "files": [],
        "source": {
            "id": id(bom.subject),
            "name": bom.subject,
            "version": version(),
            "type": "directory",
            "metadata": { "path": "/cnb/lifecycle" },
        },
        "distro": {},
        "descriptor": { "name": "package-lifecycle", "version": version() },
        "schema": {
            "version": SCHEMA,
            "url": format!("https://raw.githubusercontent.com/anchore/syft/main/schema/json/schema-{SCHEMA}.json"),
        },
    })
}

/// An ID as Syft makes them: sixteen hexadecimal digits.
fn id(reference: &str) -> String {
    Digest::of(reference.as_bytes()).hex()[..16].to_owned()
}

fn artifact(bom: &Bom, reference: &str, part: &Part) -> Value {
    let licenses: Vec<Value> = part.license.iter().map(|license| declared(license)).collect();
    let (kind, language) = match part.kind {
        PartKind::Crate | PartKind::Own => ("rust-crate", "rust"),
        PartKind::Foreign => ("binary", ""),
    };
    json!({
        "id": id(reference),
        "name": part.name,
        "version": part.version,
        "type": kind,
        "foundBy": "package-lifecycle",
        "locations": programs(bom, reference),
        "licenses": licenses,
        "language": language,
        "cpes": [],
        "purl": reference,
    })
}

/// The programs that hold a part.
fn programs(bom: &Bom, reference: &str) -> Vec<Value> {
    let holds = |name: &str| bom.uses.get(name).is_some_and(|used| used.contains(reference));
    let path = |name: &str| format!("/cnb/lifecycle/{name}");
    let names = bom.programs.iter().map(|(name, _)| *name).filter(|name| holds(name));
    names.map(|name| json!({ "path": path(name), "accessPath": path(name) })).collect()
}

fn declared(license: &str) -> Value {
    json!({ "value": license, "spdxExpression": license, "type": "declared", "urls": [], "locations": [] })
}
