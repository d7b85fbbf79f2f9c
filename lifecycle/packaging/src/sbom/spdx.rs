//! The bill as SPDX 2.3 JSON.

use serde_json::{Value, json};

use super::{Bom, LICENSE, Part, PartKind, created, version};

/// The document.
pub fn document(bom: &Bom) -> Value {
    let mut packages = vec![own(&subject(bom), bom.subject, None)];
    packages.extend(bom.programs.iter().map(|(name, hash)| own(&id(name), name, Some(hash))));
    packages.extend(bom.parts.iter().map(|(reference, it)| part(reference, it)));
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", &subject(bom))];
    relationships
        .extend(bom.programs.iter().map(|(name, _)| relationship(&subject(bom), "CONTAINS", &id(name))));
    for (user, used) in &bom.uses {
        relationships.extend(used.iter().map(|used| relationship(&id(user), "DEPENDS_ON", &id(used))));
    }
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{}-{}", bom.subject, version()),
        "documentNamespace": format!("https://spdx.org/spdxdocs/{}-{}-{}", bom.subject, version(), bom.uuid()),
        "creationInfo": { "created": created(), "creators": ["Tool: package-lifecycle"] },
        "packages": packages,
        "relationships": relationships,
    })
}

/// The ID of the document's subject, which is no program of the same name.
fn subject(bom: &Bom) -> String {
    format!("SPDXRef-Subject-{}", bom.subject)
}

/// An ID of a reference: letters, digits, `.` and `-`.
fn id(reference: &str) -> String {
    let allowed = |byte: char| if byte.is_ascii_alphanumeric() || byte == '.' { byte } else { '-' };
    format!("SPDXRef-{}", reference.replace("%2B", "-").chars().map(allowed).collect::<String>())
}

fn relationship(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

fn own(id: &str, name: &str, hash: Option<&String>) -> Value {
    let mut value = package(id, name, version(), Some(LICENSE), "APPLICATION");
    if let Some(hash) = hash {
        value["checksums"] = json!([{ "algorithm": "SHA256", "checksumValue": hash }]);
    }
    value
}

fn part(reference: &str, part: &Part) -> Value {
    let mut value = package(&id(reference), &part.name, &part.version, part.license.as_deref(), "LIBRARY");
    if let Some(checksum) = &part.checksum {
        value["checksums"] = json!([{ "algorithm": "SHA256", "checksumValue": checksum }]);
    }
    if part.kind != PartKind::Own {
        value["externalRefs"] = json!([{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": reference,
        }]);
    }
    value
}

fn package(id: &str, name: &str, version: &str, license: Option<&str>, purpose: &str) -> Value {
    json!({
        "SPDXID": id,
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": license.unwrap_or("NOASSERTION"),
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": purpose,
    })
}
