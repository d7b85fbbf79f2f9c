//! Tools: the encoders that are compared.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use flate2::Compression;
use flate2::write::DeflateEncoder;
use lifecycle::layers::deflate::Encoder;
use lifecycle::layers::deflate::point::BLOCK;

/// Compresses something: how many bytes became of it, and in how much processor time. Nothing if the
/// tool is not installed.
pub type Compress = fn(&[u8]) -> Option<(usize, Duration)>;

/// The tools, by what the table calls them.
pub const ALL: [(&str, Compress); 5] = [
    ("own, point B", |bytes| Some(own(bytes))),
    ("zlib-rs 1", |bytes| zlib_rs(bytes, 1)),
    ("zlib-rs 2", |bytes| zlib_rs(bytes, 2)),
    ("gzip -1", |bytes| command("gzip", bytes)),
    ("igzip -1", |bytes| command("igzip", bytes)),
];

/// Megabytes each second, and the ratio, of the fastest of some runs.
pub fn measure(compress: Compress, bytes: &[u8]) -> Option<(f64, f64)> {
    let (length, mut best) = compress(bytes)?;
    for _ in 0..3 {
        best = best.min(compress(bytes)?.1);
    }
    let size = bytes.len() as f64;
    Some((size / 1e6 / best.as_secs_f64(), size / length as f64))
}

fn own(bytes: &[u8]) -> (usize, Duration) {
    let mut encoder = Encoder::default();
    let mut output = Vec::new();
    let before = thread_time();
    let mut length = 0;
    for block in bytes.chunks(BLOCK) {
        output.clear();
        encoder.compress(block, &mut output);
        length += output.len();
    }
    (length, thread_time().saturating_sub(before))
}

fn zlib_rs(bytes: &[u8], level: u32) -> Option<(usize, Duration)> {
    let before = thread_time();
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(bytes).ok()?;
    Some((encoder.finish().ok()?.len(), thread_time().saturating_sub(before)))
}

fn command(program: &str, bytes: &[u8]) -> Option<(usize, Duration)> {
    let before = children_time();
    let mut child =
        Command::new(program).arg("-1nc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().ok()?;
    let mut input = child.stdin.take()?;
    let output = std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes));
        child.wait_with_output()
    });
    let output = output.ok().filter(|output| output.status.success())?;
    Some((output.stdout.len(), children_time().saturating_sub(before)))
}

/// The processor time that this thread has used.
fn thread_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells");
    let first = text.split(' ').next().expect("there is a first field");
    Duration::from_nanos(first.parse().expect("nanoseconds are a number"))
}

/// The processor time that ended children have used, by the clock's ticks of 10 ms.
fn children_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").expect("Linux tells");
    let fields = text.rsplit(')').next().expect("fields follow the name").split_whitespace();
    let ticks: u64 =
        fields.skip(13).take(2).map(|field| field.parse::<u64>().expect("ticks are numbers")).sum();
    Duration::from_millis(ticks * 10)
}
