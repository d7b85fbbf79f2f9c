//! The directories of generating: staging, the output that an extension brings along, and the places
//! where the extender looks.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use extensions::policy::Target;
use tempfile::TempDir;
use walkdir::{DirEntry, WalkDir};

use super::GenerateError;
use super::output::{CONFIG, Output, file_name};
use crate::api::PlatformApi;
use crate::files::component_id::ComponentId;

/// Directories that other phases read as other users.
const DIR_MODE: u32 = 0o755;

/// A directory inside `<generated>`, so that what is made there only has to be renamed. It is
/// removed with what is left in it.
#[derive(Debug)]
pub struct Staging(TempDir);

impl Staging {
    /// Makes it.
    pub fn new(generated: &Path) -> Result<Self, GenerateError> {
        fs::create_dir_all(generated).map_err(GenerateError::io("create", generated))?;
        let made = tempfile::Builder::new().prefix(".staging-").tempdir_in(generated);
        let staging = Self(made.map_err(GenerateError::io("create a directory in", generated))?);
        let outputs = staging.0.path().join("outputs");
        fs::create_dir(&outputs).map_err(GenerateError::io("create", &outputs))?;
        Ok(staging)
    }

    /// Where an extension's output is made.
    pub fn output(&self, extension: &ComponentId) -> PathBuf {
        self.0.path().join("outputs").join(extension.escaped())
    }

    /// Where the plan of the extension that runs is.
    pub fn plan(&self) -> PathBuf {
        self.0.path().join("plan.toml")
    }
}

/// Copies the tree `from`, if it is there, into the directory `to`: files with modes and times,
/// directories, and symbolic links as they are.
pub fn copy(from: &Path, to: &Path) -> Result<(), GenerateError> {
    if !from.is_dir() {
        return Ok(());
    }
    let mut dirs = Vec::new();
    // A link in the place of the tree itself is followed, links in it are not.
    let root = fs::canonicalize(from).map_err(GenerateError::io("copy", from))?;
    for entry in WalkDir::new(&root).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| GenerateError::io("copy", from)(error.into()))?;
        let relative = entry.path().strip_prefix(&root).expect("it was found below");
        copy_entry(&entry, &to.join(relative)).map_err(GenerateError::io("copy", entry.path()))?;
        if entry.file_type().is_dir() {
            dirs.push((entry.path().to_owned(), to.join(relative)));
        }
    }
    // The innermost first: what is added to a directory changes its time.
    for (source, copy) in dirs.iter().rev() {
        set_time(source, copy).map_err(GenerateError::io("copy", source))?;
    }
    Ok(())
}

fn copy_entry(entry: &DirEntry, copy: &Path) -> io::Result<()> {
    let kind = entry.file_type();
    if kind.is_dir() {
        fs::create_dir(copy)?;
        let mode = entry.metadata()?.permissions().mode();
        // We must be able to fill it, and to remove it one day.
        return fs::set_permissions(copy, Permissions::from_mode(mode & 0o7777 | 0o700));
    }
    if kind.is_symlink() {
        return symlink(fs::read_link(entry.path())?, copy);
    }
    if !kind.is_file() {
        return Err(io::Error::other("neither file, directory nor symbolic link"));
    }
    fs::copy(entry.path(), copy)?;
    set_time(entry.path(), copy)
}

fn set_time(source: &Path, copy: &Path) -> io::Result<()> {
    let modified = fs::metadata(source)?.modified()?;
    // A file that may not be written, or not even read, keeps the time of copying.
    File::open(copy).map_or(Ok(()), |file| file.set_modified(modified))
}

/// Moves what was made in `staging` to where the extender looks for it.
pub fn publish(
    api: PlatformApi,
    staging: &Staging,
    generated: &Path,
    outputs: &[Output],
    superseded: &[bool],
) -> Result<(), GenerateError> {
    for (output, superseded) in outputs.iter().zip(superseded) {
        let name = output.extension.id.escaped();
        let made = staging.output(&output.extension.id);
        if api.generated_by_extension() {
            let dockerfile = made.join(file_name(Target::Run));
            if *superseded {
                rename(&dockerfile, &made.join(format!("{}.ignore", file_name(Target::Run))))?;
            }
            fs::set_permissions(&made, Permissions::from_mode(DIR_MODE))
                .map_err(GenerateError::io("make readable", &made))?;
            replace(&made, &generated.join(&name))?;
        } else {
            publish_by_kind(&made, generated, output, *superseded)?;
        }
    }
    Ok(())
}

/// The older places: `<kind>/<id>/Dockerfile`.
fn publish_by_kind(
    made: &Path,
    generated: &Path,
    output: &Output,
    superseded: bool,
) -> Result<(), GenerateError> {
    for target in [Target::Run, Target::Build] {
        let is_there = match target {
            Target::Run => output.run.is_some(),
            Target::Build => output.build.is_some(),
        };
        let place = generated.join(target.to_string()).join(output.extension.id.escaped());
        remove(&place)?;
        if !is_there {
            continue;
        }
        fs::create_dir_all(&place).map_err(GenerateError::io("create", &place))?;
        let ignore = if target == Target::Run && superseded { ".ignore" } else { "" };
        rename(&made.join(file_name(target)), &place.join(format!("Dockerfile{ignore}")))?;
        let config = made.join(CONFIG);
        if config.exists() {
            fs::copy(&config, place.join(CONFIG)).map_err(GenerateError::io("copy", &config))?;
        }
    }
    Ok(())
}

fn replace(from: &Path, to: &Path) -> Result<(), GenerateError> {
    remove(to)?;
    rename(from, to)
}

fn rename(from: &Path, to: &Path) -> Result<(), GenerateError> {
    fs::rename(from, to).map_err(GenerateError::io("put in its place", to))
}

/// Removes what an earlier build left there.
fn remove(path: &Path) -> Result<(), GenerateError> {
    let removed = match path.symlink_metadata() {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => Ok(()),
    };
    removed.map_err(GenerateError::io("remove", path))
}
