//! The deflate encoder and the gzip writer: what they write is what zlib-rs reads, and the bytes are
//! those that were promised.
//!
//! `examples/fuzz_deflate` does the same with as many inputs as one likes; other decoders are asked in
//! `acceptance/tests/suite/gzip.rs`.

#[path = "../examples/fuzz_deflate/inputs.rs"]
mod inputs;

use std::io::{Read, Write};
use std::num::NonZeroUsize;
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use inputs::{EDGES, KINDS, Kind, Numbers};
use lifecycle::digest::Digest;
use lifecycle::layers::deflate::point::{BLOCK, NAME};
use lifecycle::layers::deflate::{END, Encoder};
use lifecycle::layers::gzip::GzipWriter;
use proptest::prelude::*;

fn gzip(input: &[u8], threads: usize) -> Vec<u8> {
    let threads = NonZeroUsize::new(threads).expect("not 0");
    let mut writer = GzipWriter::new(Vec::new(), threads);
    writer.write_all(input).expect("memory takes all");
    writer.finish().expect("memory takes all")
}

fn stretch(kind: Kind, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut numbers = Numbers(length as u64);
    // Something to copy from, for copies.
    inputs::fill(Kind::Random, length.min(1_000), &mut numbers, &mut bytes);
    inputs::fill(kind, length - bytes.len(), &mut numbers, &mut bytes);
    bytes
}

#[track_caller]
fn check(input: &[u8], output: &[u8], what: &str) {
    let mut back = Vec::with_capacity(input.len() + 1);
    MultiGzDecoder::new(output).read_to_end(&mut back).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(back == input, "{what}: other bytes come back");
}

#[test]
fn every_kind_comes_back_at_lengths_around_every_edge() {
    for kind in KINDS {
        for length in EDGES {
            for length in [length.saturating_sub(1), length, length + 1] {
                let input = stretch(kind, length);
                check(&input, &gzip(&input, 1), &format!("{length} bytes, {kind:?}"));
            }
        }
    }
}

#[test]
fn every_short_length_comes_back() {
    let input = stretch(Kind::Words, 2_000);
    for length in (0..20).chain(290..320).chain(550..570) {
        check(&input[..length], &gzip(&input[..length], 2), &format!("{length} bytes"));
        check(&input[2_000 - length..], &gzip(&input[2_000 - length..], 2), &format!("{length} last bytes"));
    }
}

#[test]
fn one_two_and_four_threads_write_the_blocks_that_one_encoder_makes() {
    let mut input = Vec::new();
    let mut numbers = Numbers(7);
    for kind in KINDS {
        inputs::fill(kind, BLOCK / 2 + 1_000, &mut numbers, &mut input);
    }
    let mut blocks = Vec::new();
    input.chunks(BLOCK).for_each(|block| Encoder::default().compress(block, &mut blocks));
    blocks.extend_from_slice(&END);
    for threads in [1, 2, 4] {
        let output = gzip(&input, threads);
        assert!(output[10..output.len() - 8] == blocks, "{threads} threads");
    }
}

#[test]
fn an_encoder_that_was_used_writes_what_a_new_one_does() {
    let mut used = Encoder::default();
    for seed in 0..200 {
        let input = inputs::input(seed);
        let (mut again, mut new) = (Vec::new(), Vec::new());
        used.compress(&input, &mut again);
        Encoder::default().compress(&input, &mut new);
        assert!(again == new, "seed {seed}");
    }
}

#[test]
fn what_cannot_be_compressed_grows_by_no_more_than_a_thousandth() {
    let input = stretch(Kind::Random, 2 * BLOCK);
    let length = gzip(&input, 1).len();
    assert!(length < input.len() + input.len() / 1_000, "{length}");
}

#[test]
fn zeros_nearly_vanish() {
    let length = gzip(&vec![0; BLOCK], 1).len();
    assert!(length < BLOCK / 800, "{length}");
}

#[test]
fn the_fixtures_as_layers_come_back() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a repository").join("fixtures");
    for directory in ["apps", "buildpacks", "."] {
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_dir_all("layers", fixtures.join(directory)).expect("the fixtures can be read");
        let layer = tar.into_inner().expect("memory takes all");
        check(&layer, &gzip(&layer, 2), directory);
    }
}

/// The promise of the point: the sha256 of the gzip stream of each kind.
#[test]
fn the_bytes_are_those_of_the_point_s_name() {
    assert_eq!(NAME, "B");
    let golden = [
        "f3b6cfa683a7b27e77cc972a392370f44b864e6baf5a0e236473a7a70eaf8b6e",
        "10c35e6cbc6f13961cfa6a33bb8ba62ae16e13e43850b924ebfffbd33f11a102",
        "85747abe8fdced758480a687f894bf41f9068b95a1c7ed345dd1672545beee4d",
        "10dbe4f15d2547bc54cda87d1b6d19878efef90e20bb167eb3b2e921a3bf706e",
        "7309c4bbfa47e70ffbbc628123b71f0ebe5c2b1f4772fdcdc91992c3eac587dd",
        "5cd063cb0db0c0de1d68e626553f878b2b80f5e6b997aa7a5c0037ba6650dac0",
        "407ef6744de340a131f03caab838492def492c6473d753d4d4c6cb26e278eade",
    ];
    let found = KINDS.map(|kind| {
        let lengths = [500, 70_000, 300_000, BLOCK + 1_000];
        let streams = lengths.map(|length| gzip(&stretch(kind, length), 2));
        Digest::of(&streams.concat()).hex()
    });
    assert_eq!(found, golden);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn every_input_comes_back(seed in any::<u64>()) {
        let input = inputs::input(seed);
        check(&input, &gzip(&input, 1), &format!("seed {seed}"));
    }

    #[test]
    fn any_bytes_come_back(input in proptest::collection::vec(any::<u8>(), 0..600)) {
        check(&input, &gzip(&input, 1), "any bytes");
    }
}
