//! Pipeline: a layer's way from memory: first hash, gzip, second hash.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lifecycle::layers::gzip::GzipWriter;
use sha2::{Digest, Sha256};

use super::corpora::Corpus;

/// The columns of [`measure`].
pub const HEADING: &str =
    "gzip writer          threads   MB/s by the clock   first hash   second hash   (share of the time)";

/// Counts and hashes what passes, and the time for it.
struct Hash {
    sha256: Sha256,
    time: Duration,
}

impl Write for Hash {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let started = Instant::now();
        self.sha256.update(bytes);
        self.time += started.elapsed();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A line of the table.
pub fn measure(corpus: &Corpus, threads: usize) -> String {
    let best = (0..3).map(|_| run(&corpus.bytes, threads)).min().expect("there are runs");
    let (all, first, second) = best;
    let speed = corpus.bytes.len() as f64 / 1e6 / all.as_secs_f64();
    let share = |part: Duration| 100.0 * part.as_secs_f64() / all.as_secs_f64();
    format!("{:<21}{threads:>7}{speed:>20.0}{:>11.0} %{:>12.0} %", corpus.name, share(first), share(second))
}

/// The time of all, of the first hash and of the second.
fn run(bytes: &[u8], threads: usize) -> (Duration, Duration, Duration) {
    let started = Instant::now();
    let new = || Hash { sha256: Sha256::new(), time: Duration::ZERO };
    let threads = NonZeroUsize::new(threads).expect("one thread at least");
    let (mut first, mut writer) = (new(), GzipWriter::new(new(), threads));
    for piece in bytes.chunks(64 << 10) {
        first.write_all(piece).expect("hashes take all");
        writer.write_all(piece).expect("hashes take all");
    }
    let second = writer.finish().expect("hashes take all");
    (started.elapsed(), first.time, second.time)
}
