//! From the sources to the programs that ship, and what each is made of.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::graph::{self, Graph, Linked};
use crate::lines;

/// A program as it ships.
#[derive(Debug, Clone)]
pub struct Program {
    /// Its file's name.
    pub name: &'static str,
    /// Its bytes, stripped.
    pub bytes: Vec<u8>,
    /// What it is made of.
    pub linked: Linked,
}

/// The files that ship: one for the phases that speak to registries, and those that must not hold such code.
pub const PROGRAMS: [&str; 4] = ["lifecycle", "builder", "detector", "launcher"];

/// The phases that are links to [`PROGRAMS`]`[0]`.
pub const LINKS: [&str; 6] = ["analyzer", "creator", "exporter", "extender", "rebaser", "restorer"];

/// The target that cargo builds for: this machine's own, linked statically.
pub fn triple() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

/// Compiles the programs of the workspace at `repository`, with line tables, and returns the directory they
/// are in. Takes some minutes.
///
/// The profiles are those of `Cargo.toml`; what is added changes no instruction, but lets each program say
/// what it is made of, and none where it was built.
pub fn compile(repository: &Path, graph: &Graph) -> Result<PathBuf, Error> {
    let triple = triple();
    let target = target_dir(repository).join(&triple);
    let (launcher, others): (Vec<&str>, Vec<&str>) = PROGRAMS.iter().partition(|name| **name == "launcher");
    for (profile, names) in [("dist", others), ("launcher", launcher)] {
        let mut command = Command::new(cargo());
        command.args(["build", "--locked", "--package", "lifecycle", "--profile", profile]);
        command.args(["--target", &triple]);
        for name in names {
            command.args(["--bin", name]);
        }
        command.args(["--config", &format!("profile.{profile}.debug = \"line-tables-only\"")]);
        command.args(["--config", &format!("profile.{profile}.strip = \"none\"")]);
        // A build ID is made of the debug information too, and in that of C code paths are what they are.
        let no_id = "-Clink-arg=-Wl,--build-id=none".to_owned();
        let flags = graph.remaps(repository).into_iter().chain([sysroot()?, no_id]);
        let flags = flags.map(|flag| format!("{flag:?}"));
        let flags = flags.collect::<Vec<_>>().join(",");
        command.args(["--config", &format!("target.{triple}.rustflags = [{flags}]")]);
        // Flags of the caller's environment would take the place of these.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").current_dir(repository);
        let status = command.status().map_err(|source| Error::Start { tool: "cargo".to_owned(), source })?;
        if !status.success() {
            return Err(Error::Failed { tool: "cargo build".to_owned(), text: status.to_string() });
        }
        if profile == "launcher" {
            let (from, to) = (target.join("launcher/launcher"), target.join("dist/launcher"));
            fs::copy(&from, &to).map_err(Error::io("copy", &from))?;
        }
    }
    Ok(target.join("dist"))
}

/// The standard library's own sources, where they are installed, are named by their version alone.
fn sysroot() -> Result<String, Error> {
    let path = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    Ok(format!("--remap-path-prefix={}=/rust", path.trim()))
}

fn target_dir(repository: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository.join("target"), PathBuf::from)
}

/// Reads the programs in `dir`, finds out what they are made of, and strips them.
pub fn read(dir: &Path, graph: &Graph) -> Result<Vec<Program>, Error> {
    let work = std::env::temp_dir().join(format!("package-lifecycle-{}", std::process::id()));
    fs::create_dir(&work).map_err(Error::io("make directory", &work))?;
    let programs = PROGRAMS.iter().map(|name| read_one(dir, name, graph, &work)).collect();
    fs::remove_dir_all(&work).map_err(Error::io("remove", &work))?;
    programs
}

fn read_one(dir: &Path, name: &'static str, graph: &Graph, work: &Path) -> Result<Program, Error> {
    let path = dir.join(name);
    let bytes = fs::read(&path).map_err(Error::io("read", &path))?;
    let sources = lines::sources(&bytes).map_err(|text| Error::Output { tool: "rustc", text })?;
    let linked = graph.linked(&sources, graph::c_library(&bytes));
    let linked = linked.ok_or_else(|| Error::NoEvidence(path.display().to_string()))?;
    let stripped = work.join(name);
    output(Command::new("strip").arg("--strip-all").arg("-o").arg(&stripped).arg(&path))?;
    let bytes = fs::read(&stripped).map_err(Error::io("read", &stripped))?;
    Ok(Program { name, bytes, linked })
}

/// The cargo that runs us, or the one on the path.
pub fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// What `command` prints.
pub fn output(command: &mut Command) -> Result<String, Error> {
    let tool = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| Error::Start { tool: tool.clone(), source })?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::Failed { tool, text });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
