//! The bill as CycloneDX 1.5 JSON.

use serde_json::{Value, json};

use super::{Bom, LICENSE, Part, PartKind, created, version};

/// The document.
pub fn document(bom: &Bom) -> Value {
    let programs: Vec<Value> = bom.programs.iter().map(|(name, hash)| program(name, hash)).collect();
    let parts: Vec<Value> = bom.parts.iter().map(|(reference, it)| part(reference, it)).collect();
    let own = json!({ "ref": reference(bom), "dependsOn": bom.programs.iter().map(|(name, _)| name).collect::<Vec<_>>() });
    let uses = bom.uses.iter().map(|(user, used)| json!({ "ref": user, "dependsOn": used }));
    let uses: Vec<Value> = std::iter::once(own).chain(uses).collect();
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": format!("urn:uuid:{}", bom.uuid()),
        "version": 1,
        "metadata": {
            "timestamp": created(),
            "component": {
                "bom-ref": reference(bom),
                "type": "application",
                "name": bom.subject,
                "version": version(),
                "licenses": [{ "license": { "id": LICENSE } }],
                "components": programs,
            },
        },
        "components": parts,
        "dependencies": uses,
    })
}

/// The subject is no program of the same name.
fn reference(bom: &Bom) -> String {
    format!("{}-{}", bom.subject, version())
}

fn program(name: &str, hash: &str) -> Value {
    json!({
        "bom-ref": name,
        "type": "application",
        "name": name,
        "version": version(),
        "hashes": [{ "alg": "SHA-256", "content": hash }],
        "licenses": [{ "license": { "id": LICENSE } }],
    })
}

fn part(reference: &str, part: &Part) -> Value {
    let mut value = json!({
        "bom-ref": reference,
        "type": "library",
        "name": part.name,
        "version": part.version,
    });
    if part.kind != PartKind::Own {
        value["purl"] = json!(reference);
    }
    if let Some(license) = &part.license {
        value["licenses"] = json!([{ "expression": license }]);
    }
    if let Some(checksum) = &part.checksum {
        value["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    value
}
