//! `cargo package-lifecycle`: makes what ships, for this machine's architecture.
//!
//! ```text
//! sources ─► compile ─► programs ─► strip ─┬─► archive ─► lifecycle-v<version>+linux.<arch>.tgz, .sha256
//!               │ line tables              └─► image ───► …image (OCI layout), …image.tar (docker load)
//!               └─► graph: what is in them ─► sbom ─► in both
//! ```
//!
//! The same sources and compiler give the same bytes, wherever they lie.

mod archive;
mod compile;
mod descriptor;
mod error;
mod graph;
mod image;
mod lines;
mod sbom;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use lifecycle::cli::VERSION;
use lifecycle::digest::Digest;

use compile::Program;
use error::Error;
use graph::Graph;
use sbom::Bom;

/// What is to be done.
#[derive(Debug, Default)]
struct Options {
    /// Where unstripped programs are already.
    from: Option<PathBuf>,
    /// Where the results go, instead of `target/package`.
    out: Option<PathBuf>,
}

fn main() -> ExitCode {
    let result = options(std::env::args().skip(1)).and_then(|options| package(&options));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ERROR: failed to {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, Error> {
    let mut options = Options::default();
    while let Some(arg) = args.next() {
        let place = match arg.as_str() {
            "--from" => &mut options.from,
            "--out" => &mut options.out,
            _ => return Err(Error::Usage(format!("understand `{arg}`"))),
        };
        let value = args.next().ok_or_else(|| Error::Usage(format!("find a value after `{arg}`")))?;
        *place = Some(PathBuf::from(value));
    }
    Ok(options)
}

fn package(options: &Options) -> Result<(), Error> {
    // Of the running cargo where there is one, so that one program packages any checkout.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let above = |dir| Path::new(dir).parent().and_then(Path::parent);
    let repository = above(&here).expect("the crate is in the repository, two levels below");
    let graph = Graph::of(repository, &compile::triple())?;
    let dir = match &options.from {
        Some(dir) => dir.clone(),
        None => compile::compile(repository, &graph)?,
    };
    let programs = compile::read(&dir, &graph)?;
    let out = options.out.clone().unwrap_or_else(|| repository.join("target/package"));
    let contents = archive::contents(&programs, sboms(&programs, &graph)?);
    write(&out, &contents)
}

/// The bills of all programs but the launcher together, and of the launcher, which is in every app image.
fn sboms(programs: &[Program], graph: &Graph) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let rust = compile::output(Command::new("rustc").arg("--version"))?;
    let rust = rust.split(' ').nth(1).unwrap_or("unknown");
    let (launcher, others): (Vec<&Program>, Vec<&Program>) =
        programs.iter().partition(|program| program.name == "launcher");
    let boms = [Bom::of("lifecycle", &others, graph, rust), Bom::of("launcher", &launcher, graph, rust)];
    Ok(boms.iter().flat_map(sbom::files).collect())
}

fn write(out: &Path, contents: &[archive::Entry]) -> Result<(), Error> {
    let descriptor = descriptor::toml();
    let name = format!("lifecycle-v{VERSION}+linux.{}", architecture());
    let _ = fs::remove_dir_all(out);
    let tgz = archive::gzip(&archive::tar(&archive::release(&descriptor, contents)));
    let sum = format!("{}  {name}.tgz\n", Digest::of(&tgz).hex());
    put(&out.join(format!("{name}.tgz")), &tgz)?;
    put(&out.join(format!("{name}.tgz.sha256")), sum.as_bytes())?;
    let files = image::layout(&[archive::base(), archive::layer(&descriptor, contents)]);
    for (file, bytes) in &files {
        put(&out.join(format!("{name}.image")).join(file), bytes)?;
    }
    put(&out.join(format!("{name}.image.tar")), &image::archive(&files))?;
    println!("{sum}{}", out.display());
    Ok(())
}

/// This machine's architecture as names of release files have it.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "x86-64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn put(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io("make directory", parent))?;
    }
    fs::write(path, bytes).map_err(Error::io("write", path))
}
