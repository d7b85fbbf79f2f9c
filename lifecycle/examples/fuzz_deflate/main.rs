//! Compresses many inputs and decompresses them again.
//!
//! ```text
//! cargo run --release -p lifecycle --example fuzz_deflate -- [how many inputs] [first seed] [directory]
//! ```
//!
//! Each seed makes one input. It goes through the block encoder, and every eighth also through the gzip
//! writer, cut into odd writes, with one to four threads. zlib-rs, which shares no code with the
//! encoder, must give it back. A seed that fails is named by the panic. With a directory, inputs
//! and their gzip streams are written there instead, for other decoders: `<seed>` and `<seed>.gz`.

mod inputs;

use std::fs;
use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;

use flate2::bufread::{DeflateDecoder, GzDecoder};
use inputs::Numbers;
use lifecycle::layers::deflate::{END, Encoder};
use lifecycle::layers::gzip::GzipWriter;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(default, |text| text.parse().expect("a number"));
    let (count, first) = (number(10_000), number(0));
    let seeds = first..first + count;
    match arguments.next() {
        Some(directory) => seeds.for_each(|seed| write(Path::new(&directory), seed)),
        None => check(seeds),
    }
}

/// Writes the input of a seed and its stream.
fn write(directory: &Path, seed: u64) {
    let input = inputs::input(seed);
    fs::write(directory.join(format!("{seed}.gz")), stream(&input, seed)).expect("the directory takes files");
    fs::write(directory.join(seed.to_string()), input).expect("the directory takes files");
}

/// Checks the inputs of all seeds.
fn check(seeds: Range<u64>) {
    let started = Instant::now();
    let (mut encoder, mut bytes, mut written) = (Encoder::default(), 0, 0);
    for seed in seeds.clone() {
        let input = inputs::input(seed);
        bytes += input.len();
        written += check_block(&mut encoder, &input, seed);
        if seed % 8 == 0 {
            check_stream(&input, seed);
        }
        if (seed + 1) % 100_000 == 0 {
            println!("up to seed {seed}: {} s", started.elapsed().as_secs());
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    println!("seeds {seeds:?}: {bytes} bytes, {written} compressed, {seconds:.1} s, all well");
}

/// Checks what the encoder makes of one block, and returns its length.
fn check_block(encoder: &mut Encoder, input: &[u8], seed: u64) -> usize {
    let mut output = Vec::new();
    encoder.compress(input, &mut output);
    let length = output.len();
    output.extend_from_slice(&END);
    let mut decoder = DeflateDecoder::new(&output[..]);
    let back = read(&mut decoder, input.len());
    assert!(back == input, "seed {seed}: the block is another");
    assert!(decoder.into_inner().is_empty(), "seed {seed}: something follows the block");
    let most = input.len() + input.len() / 1_000 + 20;
    assert!(length <= most, "seed {seed}: {} bytes became {length}", input.len());
    length
}

/// Checks what the gzip writer makes of an input.
fn check_stream(input: &[u8], seed: u64) {
    let output = stream(input, seed);
    let mut decoder = GzDecoder::new(&output[..]);
    let back = read(&mut decoder, input.len());
    assert!(back == input, "seed {seed}: the stream is another");
    assert!(decoder.into_inner().is_empty(), "seed {seed}: something follows the stream");
}

/// The gzip stream of an input, by some number of threads and in some writes.
fn stream(input: &[u8], seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(!seed);
    let threads = NonZeroUsize::MIN.saturating_add(numbers.below(4));
    let mut writer = GzipWriter::new(Vec::new(), threads);
    let mut rest = input;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(1 + numbers.below(100_000)));
        writer.write_all(now).expect("memory takes all");
        rest = later;
    }
    writer.finish().expect("memory takes all")
}

fn read(decoder: &mut impl Read, length: usize) -> Vec<u8> {
    let mut back = Vec::with_capacity(length + 1);
    decoder.read_to_end(&mut back).expect("the stream is whole");
    back
}
