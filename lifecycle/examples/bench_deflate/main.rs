//! The encoder beside others, on one core: speed and ratio.
//!
//! ```text
//! cargo run --release -p lifecycle --example bench_deflate -- [megabytes of each corpus, 128]
//! ```
//!
//! Speed is input over processor time (of the thread, or of the tool's process), the best of some runs;
//! on a busy machine all figures are lower, so the load is printed with them. Then the gzip writer with
//! one and two threads, by the clock, with both hashes of a layer, the share of each stage.

#![expect(clippy::cast_precision_loss, reason = "figures for people")]

mod corpora;
mod pipeline;
mod tools;
mod tree;

use corpora::Corpus;

fn main() {
    let megabytes = std::env::args().nth(1).map_or(128, |text| text.parse().expect("megabytes are a number"));
    let corpora = corpora::all(megabytes * 1_000_000);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load {}", load.trim());
    print!("{:<22}", "MB/s a core, ratio");
    for Corpus { name, bytes } in &corpora {
        print!("{:>18}", format!("{name} {}", bytes.len() / 1_000_000));
    }
    println!();
    for (name, compress) in tools::ALL {
        print!("{name:<22}");
        for corpus in &corpora {
            let cell = tools::measure(compress, &corpus.bytes);
            print!(
                "{:>18}",
                cell.map_or_else(
                    || "not installed".to_owned(),
                    |(speed, ratio)| format!("{speed:.0} {ratio:.3}")
                )
            );
        }
        println!();
    }
    println!("\n{}", pipeline::HEADING);
    for corpus in &corpora {
        for threads in [1, 2] {
            println!("{}", pipeline::measure(corpus, threads));
        }
    }
}
