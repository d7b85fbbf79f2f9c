//! Gzip (RFC 1952): writes a layer's bytes as one gzip member, compressed on several threads.
//!
//! ```text
//! caller: read, first hash ─► write() ─► block full ─► compressors (all cores)
//!                                                          │ each block alone: see `deflate`
//!         second hash, file ◄─ sink ◄─ in order ◄──────────┘
//! ```
//!
//! The bytes depend on what is written and on nothing else: not on the number of threads, not on how
//! writes are cut or when they come. The header has neither time nor name.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use super::compressors::{Block, Compressors};
use super::deflate::END;
use super::deflate::point::BLOCK;

/// Deflate, no flags, no time, compressed for speed, on an unknown system.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 0xff];

/// Compresses what is written to it and writes that to a sink, on the thread of whoever writes.
///
/// A write fails with the sink's error; the stream is broken then, and every later call fails. Dropped
/// without [`finish`](Self::finish) it writes no more.
pub struct GzipWriter<W: Write> {
    sink: W,
    compressors: Arc<Compressors>,
    /// The block that is being filled.
    filling: Vec<u8>,
    /// Blocks that were handed over, in order.
    handed_over: VecDeque<Receiver<Block>>,
    /// The output of blocks that are compressed here, and before the first block the header.
    output: Vec<u8>,
    crc: crc32fast::Hasher,
    length: u64,
    state: StreamState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StreamState {
    Whole,
    /// Something is missing in the sink.
    Broken,
}

impl<W: Write> GzipWriter<W> {
    /// Writes to `sink`, with up to `threads` threads of its own.
    pub fn new(sink: W, threads: NonZeroUsize) -> Self {
        Self::with(sink, Compressors::new(threads))
    }

    /// Writes to `sink`, with threads that other writers use too.
    pub fn with(sink: W, compressors: Arc<Compressors>) -> Self {
        Self {
            sink,
            compressors,
            filling: Vec::new(),
            handed_over: VecDeque::new(),
            output: HEADER.to_vec(),
            crc: crc32fast::Hasher::new(),
            length: 0,
            state: StreamState::Whole,
        }
    }

    /// Writes what is left, and returns the sink, which is not flushed. Fails with the sink's error.
    pub fn finish(mut self) -> io::Result<W> {
        self.guard(Self::write_rest)?;
        Ok(self.sink)
    }

    /// Does something to a whole stream; when that fails, it is broken.
    fn guard<T>(&mut self, action: impl FnOnce(&mut Self) -> io::Result<T>) -> io::Result<T> {
        if self.state == StreamState::Broken {
            return Err(io::Error::other("the stream is broken by an earlier error"));
        }
        self.state = StreamState::Broken;
        let done = action(self)?;
        self.state = StreamState::Whole;
        Ok(done)
    }

    /// Ends the block that is being filled, with more to come.
    fn end_block(&mut self) -> io::Result<()> {
        self.take_into_account();
        loop {
            while let Some(block) = self.next_if_ready()? {
                self.sink.write_all(block.output())?;
            }
            if let Some(done) = self.compressors.hand_over(&mut self.filling) {
                self.handed_over.push_back(done);
                return self.write_output();
            }
            // All blocks are in use: one of this stream's comes back, or else this thread does the work.
            if self.handed_over.is_empty() {
                return self.compress_here();
            }
            self.write_next()?;
        }
    }

    fn write_rest(&mut self) -> io::Result<()> {
        if self.handed_over.is_empty() {
            // All there is, perhaps: not worth a thread.
            self.take_into_account();
            self.compress_here()?;
        } else {
            self.end_block()?;
        }
        while !self.handed_over.is_empty() {
            self.write_next()?;
        }
        self.output.extend_from_slice(&END);
        self.output.extend_from_slice(&self.crc.clone().finalize().to_le_bytes());
        // The length is written modulo 2^32.
        self.output.extend_from_slice(&self.length.to_le_bytes()[..4]);
        self.write_output()
    }

    fn take_into_account(&mut self) {
        self.crc.update(&self.filling);
        self.length += self.filling.len() as u64;
    }

    /// Writes the next block in order, when it is compressed; compresses others meanwhile.
    fn write_next(&mut self) -> io::Result<()> {
        let block = loop {
            if let Some(block) = self.next_if_ready()? {
                break block;
            }
            if !self.compressors.help() {
                // Somebody is at it.
                let next = self.handed_over.pop_front().expect("a block was handed over");
                break next.recv().map_err(|_| compressor_failed())?;
            }
        };
        self.sink.write_all(block.output())
    }

    /// The next block in order, if it is compressed.
    fn next_if_ready(&mut self) -> io::Result<Option<Block>> {
        let Some(next) = self.handed_over.front() else { return Ok(None) };
        match next.try_recv() {
            Ok(block) => {
                self.handed_over.pop_front();
                Ok(Some(block))
            }
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(compressor_failed()),
        }
    }

    fn compress_here(&mut self) -> io::Result<()> {
        self.compressors.compress(&self.filling, &mut self.output);
        self.filling.clear();
        self.write_output()
    }

    fn write_output(&mut self) -> io::Result<()> {
        self.sink.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.guard(|stream| {
            if stream.filling.len() == BLOCK {
                stream.end_block()?;
            }
            let room = BLOCK - stream.filling.len();
            let taken = &bytes[..room.min(bytes.len())];
            stream.filling.reserve_exact(room);
            stream.filling.extend_from_slice(taken);
            Ok(taken.len())
        })
    }

    /// Flushes the sink. What is in the block that is being filled stays there: where blocks end
    /// depends on nothing but their length.
    fn flush(&mut self) -> io::Result<()> {
        self.guard(|stream| stream.sink.flush())
    }
}

fn compressor_failed() -> io::Error {
    io::Error::other("a thread that compressed a block has panicked")
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::thread;

    use flate2::bufread::MultiGzDecoder;

    use super::*;

    /// Compressible, and no block like another.
    fn text(length: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for line in 0u64.. {
            if bytes.len() >= length {
                break;
            }
            writeln!(bytes, "{line} {:x}", line.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40).expect("memory");
        }
        bytes.truncate(length);
        bytes
    }

    fn threads(number: usize) -> NonZeroUsize {
        NonZeroUsize::new(number).expect("not 0")
    }

    fn gzip(input: &[u8], compressors: Arc<Compressors>) -> Vec<u8> {
        let mut writer = GzipWriter::with(Vec::new(), compressors);
        writer.write_all(input).expect("memory");
        writer.finish().expect("memory")
    }

    /// Fails after so many bytes.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            self.0 = room;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_is_written_is_one_member_with_the_input_in_it() {
        for length in [0, 1, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let input = text(length);
            let output = gzip(&input, Compressors::new(threads(2)));
            let mut decoder = flate2::bufread::GzDecoder::new(&output[..]);
            let mut back = Vec::new();
            decoder.read_to_end(&mut back).expect("a gzip stream");
            assert!(back == input, "{length}");
            assert!(decoder.into_inner().is_empty(), "{length}: nothing follows the member");
        }
    }

    #[test]
    fn an_empty_layer_is_header_and_trailer() {
        let expected = [&HEADER[..], &[0, 0, 0, 0xff, 0xff], &END, &[0; 8]].concat();
        assert_eq!(gzip(&[], Compressors::new(threads(1))), expected);
    }

    #[test]
    fn the_bytes_depend_neither_on_threads_nor_on_writes_nor_on_flushes() {
        let input = text(9 * BLOCK / 2);
        let expected = gzip(&input, Compressors::new(threads(1)));
        for number in [2, 3, 4, 9] {
            assert!(gzip(&input, Compressors::new(threads(number))) == expected, "{number} threads");
        }
        let mut writer = GzipWriter::new(Vec::new(), threads(2));
        for piece in input.chunks(99_991) {
            writer.write_all(piece).expect("memory");
            writer.flush().expect("memory");
        }
        assert!(writer.finish().expect("memory") == expected);
    }

    #[test]
    fn writers_that_share_compressors_do_not_disturb_each_other() {
        let compressors = Compressors::new(threads(2));
        thread::scope(|scope| {
            for writer in 0..5 {
                let compressors = Arc::clone(&compressors);
                scope.spawn(move || {
                    let input = text(BLOCK * writer + 100);
                    let output = gzip(&input, compressors);
                    let mut back = Vec::new();
                    MultiGzDecoder::new(&output[..]).read_to_end(&mut back).expect("a gzip stream");
                    assert!(back == input);
                });
            }
        });
    }

    #[test]
    fn writers_on_one_thread_take_turns_without_waiting_for_each_other() {
        let compressors = Compressors::new(threads(2));
        let input = text(3 * BLOCK);
        let expected = gzip(&input, Arc::clone(&compressors));
        let mut writers: Vec<_> =
            (0..4).map(|_| GzipWriter::with(Vec::new(), Arc::clone(&compressors))).collect();
        for piece in input.chunks(BLOCK / 2) {
            for writer in &mut writers {
                writer.write_all(piece).expect("memory");
            }
        }
        for writer in writers {
            assert!(writer.finish().expect("memory") == expected);
        }
    }

    #[test]
    fn the_sink_s_error_is_told_and_the_stream_is_broken_then() {
        let input = text(6 * BLOCK);
        for number in [1, 2] {
            for room in [0, 5, 100_000, 400_000] {
                let mut writer = GzipWriter::new(Full(room), threads(number));
                let error = writer.write_all(&input).and_then(|()| {
                    // So little is left that only the end finds the sink full.
                    writer.flush()
                });
                let Err(error) = error else {
                    let error = writer.finish().map(|_| ()).expect_err("the sink is full");
                    assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{number} threads, {room} bytes");
                    continue;
                };
                assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{number} threads, {room} bytes");
                let again = writer.write(&input).expect_err("the stream is broken");
                assert_eq!(again.kind(), io::ErrorKind::Other);
                writer.finish().map(|_| ()).expect_err("the stream is broken");
            }
        }
    }

    #[test]
    fn a_writer_that_is_given_up_leaves_its_compressors_to_others() {
        let compressors = Compressors::new(threads(2));
        let input = text(5 * BLOCK);
        let expected = gzip(&input, Arc::clone(&compressors));
        for _ in 0..5 {
            let mut writer = GzipWriter::with(Vec::new(), Arc::clone(&compressors));
            writer.write_all(&input).expect("memory");
        }
        assert!(gzip(&input, Arc::clone(&compressors)) == expected);
        let mut last = GzipWriter::with(Vec::new(), compressors);
        last.write_all(&input).expect("memory");
        drop(last);
    }

    #[test]
    fn a_layer_of_one_block_starts_no_thread() {
        let compressors = Compressors::new(threads(4));
        gzip(&text(BLOCK), Arc::clone(&compressors));
        assert_eq!(compressors.started(), 0);
        gzip(&text(BLOCK + 1), Arc::clone(&compressors));
        assert!((1..=3).contains(&compressors.started()));
    }
}
