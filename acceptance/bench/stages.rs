//! What an export's time goes into: each stage of a layer's way, alone, on one thread.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use lifecycle::layers::deflate::Encoder;
use lifecycle::layers::deflate::point::BLOCK;
use lifecycle::layers::tar::{LayerSource, Owner};
use sha2::{Digest as _, Sha256};

/// The stages, in order, with the time that each took.
pub type Stages = [(&'static str, Duration); 5];

/// Takes the layer of `tree` through all stages, and its blob into `out`.
///
/// # Panics
///
/// When the tree cannot be read or the file cannot be written.
pub fn measure(tree: &Path, out: &Path) -> Stages {
    let mut stages =
        ["read and make the tar", "hash it: diffID", "compress", "hash the blob: digest", "write the blob"]
            .map(|name| (name, Duration::ZERO));
    let source = LayerSource::dir(tree, Owner { uid: 0, gid: 0 }).expect("the tree can be read");
    let mut tar = source.open().expect("the tree can be read");
    let mut file = File::create(out).expect("the blob can be written");
    let (mut encoder, mut diff_id, mut digest) = (Encoder::default(), Sha256::new(), Sha256::new());
    let (mut block, mut blob) = (vec![0; BLOCK], Vec::new());
    loop {
        let mut length = 0;
        timed(&mut stages[0].1, || {
            while length < BLOCK {
                match tar.read(&mut block[length..]).expect("the tree can be read") {
                    0 => break,
                    read => length += read,
                }
            }
        });
        if length == 0 {
            return stages;
        }
        let bytes = &block[..length];
        blob.clear();
        timed(&mut stages[1].1, || diff_id.update(bytes));
        timed(&mut stages[2].1, || encoder.compress(bytes, &mut blob));
        timed(&mut stages[3].1, || digest.update(&blob));
        timed(&mut stages[4].1, || file.write_all(&blob).expect("the blob can be written"));
    }
}

/// Prints the stages and their shares.
pub fn print(stages: &Stages) {
    let all: Duration = stages.iter().map(|(_, time)| *time).sum();
    println!("| stage, on one thread | s | share |\n|---|---|---|");
    for (name, time) in stages {
        let share = 100.0 * time.as_secs_f64() / all.as_secs_f64();
        println!("| {name} | {:.2} | {share:.0} % |", time.as_secs_f64());
    }
}

/// Adds the time of `work` to `total`.
fn timed(total: &mut Duration, work: impl FnOnce()) {
    let begin = Instant::now();
    work();
    *total += begin.elapsed();
}
