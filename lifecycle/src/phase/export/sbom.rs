//! The bills of materials of the lifecycle and the launcher themselves, put beside those of the
//! buildpacks.
//!
//! Spec: platform.md "exporter", Outputs.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Export, ExportError};
use crate::files;
use crate::log::Log;
use crate::phase::sbom::EXTENSIONS;

/// The directory name of the lifecycle among the buildpacks'.
const OWN: &str = "buildpacksio_lifecycle";

/// Copies the lifecycle's files to `sbom/build` and the launcher's to `sbom/launch`. Files that are
/// not there are worth a warning.
pub fn copy(inputs: &Export<'_>, log: &Log) -> Result<(), ExportError> {
    let sbom = inputs.layers.join("sbom");
    let (build, launch) = (sbom.join("build").join(OWN), sbom.join("launch").join(OWN).join("launcher"));
    copy_of("lifecycle", inputs.launcher.lifecycle_dir, &build, log)?;
    match inputs.launcher.sbom_dir {
        None => copy_of("launcher", inputs.launcher.lifecycle_dir, &launch, log),
        Some(dir) => copy_all(dir, &launch, log),
    }
}

/// Copies `<component>.sbom.<format>` as `sbom.<format>`.
fn copy_of(component: &str, from: &Path, to: &Path, log: &Log) -> Result<(), ExportError> {
    if !from.is_dir() {
        log.debug(format!("No SBOM of the {component}: there is no directory {}", from.display()));
        return Ok(());
    }
    for extension in EXTENSIONS {
        let name = format!("{component}.{extension}");
        let source = from.join(&name);
        if !source.exists() {
            log.warn(format!("Did not find SBOM {name} in {}", from.display()));
            continue;
        }
        let target = to.join(extension);
        log.debug(format!("Copying SBOM {name} to {}", target.display()));
        copy_file(&source, &target)?;
    }
    Ok(())
}

/// Copies every SBOM file of a directory that the platform named: `launcher.sbom.<format>` and
/// `sbom.<format>` both as `sbom.<format>`, others by their own names.
fn copy_all(from: &Path, to: &Path, log: &Log) -> Result<(), ExportError> {
    let failed = |source| ExportError::Sbom { path: from.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(from).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name());
    }
    names.sort();
    for name in names {
        let text = name.to_string_lossy();
        if let Some(extension) = EXTENSIONS.iter().find(|extension| text.ends_with(*extension)) {
            let target = if text == format!("launcher.{extension}") { extension } else { &*text };
            log.debug(format!("Copying SBOM {text} to {}", to.join(target).display()));
            copy_file(&from.join(&name), &to.join(target))?;
        }
    }
    Ok(())
}

/// Copies with mode 0644 whatever the source's mode and the umask: the mode becomes part of a layer.
fn copy_file(from: &Path, to: &Path) -> Result<(), ExportError> {
    let copied = || -> io::Result<()> {
        if let Some(parent) = to.parent() {
            files::make_dirs(parent)?;
        }
        let mut source = fs::File::open(from)?;
        let mut target = fs::File::create(to)?;
        io::copy(&mut source, &mut target)?;
        target.set_permissions(Permissions::from_mode(0o644))
    };
    copied().map_err(|source| ExportError::Sbom { path: to.to_owned(), source })
}
