//! What the gzip writer writes, before other decoders: Python's zlib, gzip and igzip. The streams are those
//! of the lifecycle's fuzz target, which asks zlib-rs itself.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use acceptance::repository;

/// How many inputs are made.
const SEEDS: usize = 1_000;

/// Every `<name>.gz` of a directory holds one member, and in it `<name>`.
const PYTHON: &str = r"
import pathlib, sys, zlib
for stream in pathlib.Path(sys.argv[1]).glob('*.gz'):
    decoder = zlib.decompressobj(31)
    back = decoder.decompress(stream.read_bytes())
    assert decoder.eof and not decoder.unused_data, stream
    assert back == stream.with_suffix('').read_bytes(), stream
";

#[test]
fn other_decoders_read_what_the_gzip_writer_writes() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    write_streams(directory.path());
    run(Command::new("python3").args(["-c", PYTHON]).arg(directory.path()));
    let streams: Vec<_> = (0..SEEDS).map(|seed| directory.path().join(format!("{seed}.gz"))).collect();
    run(Command::new("gzip").arg("-t").args(&streams));
    let inputs =
        streams.iter().map(|stream| fs::read(stream.with_extension("")).expect("an input of each stream"));
    let inputs = inputs.collect::<Vec<_>>().concat();
    for program in ["gzip", "igzip"] {
        let back = run(Command::new(program).arg("-dc").args(&streams)).stdout;
        assert!(back == inputs, "{program} reads other bytes");
    }
}

fn write_streams(directory: &Path) {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    run(Command::new(cargo)
        .args(["run", "--quiet", "--package", "lifecycle", "--example", "fuzz_deflate", "--"])
        .args([&SEEDS.to_string(), "0"])
        .arg(directory)
        .current_dir(repository()));
}

#[track_caller]
fn run(command: &mut Command) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{name} is needed (./acceptance/run installs it): {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
