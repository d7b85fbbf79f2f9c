//! All phases that speak to registries in one program, which its name tells apart.
//!
//! Most of what each of them is made of is the same, so that together they are as large as one. What ships
//! has this file once and a link to it for each phase. `detector`, `builder` and `launcher` run or stand
//! beside foreign code and stay programs of their own, without any code for networks.

use std::process::ExitCode;

use lifecycle::cli;

#[path = "analyzer.rs"]
mod analyzer;
#[path = "creator.rs"]
mod creator;
#[path = "exporter.rs"]
mod exporter;
#[path = "extender.rs"]
mod extender;
#[path = "rebaser.rs"]
mod rebaser;
#[path = "restorer.rs"]
mod restorer;

fn main() -> ExitCode {
    let name = cli::program_name();
    match name.as_str() {
        "analyzer" => analyzer::main(),
        "creator" => creator::main(),
        "exporter" => exporter::main(),
        "extender" => extender::main(),
        "rebaser" => rebaser::main(),
        "restorer" => restorer::main(),
        _ => cli::unknown_phase(&name),
    }
}
