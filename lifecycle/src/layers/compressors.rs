//! Compressors: the threads that compress blocks, shared by all layers that are written at once.
//!
//! However many [`GzipWriter`](super::gzip::GzipWriter)s share them, there are no more threads than
//! asked for, and no more blocks in memory: two for each thread, whose buffers go round. A writer
//! hands over a block when one is free. When none is, it compresses a block itself, on the thread it is
//! called on; so nobody waits while there is work, and no writer ever waits for another one.
//!
//! Threads start with the first block handed over: a layer of one block needs none.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::deflate::Encoder;

/// Threads that compress, and the memory they do it in. Dropped with the last writer that has them.
pub struct Compressors {
    shared: Arc<Shared>,
    /// How many threads are started at most; the caller's own comes on top.
    most_workers: usize,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

/// What callers and workers share.
struct Shared {
    state: Mutex<State>,
    /// Signalled for each job, and when all ends.
    more: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    /// Blocks that nobody uses. Their number never exceeds that of the beginning.
    free: Vec<Buffers>,
    /// The same of encoders; as many are made as compress at the same time.
    encoders: Vec<Encoder>,
    closed: bool,
}

struct Job {
    block: Block,
    done: SyncSender<Block>,
}

/// The two sides of a block.
#[derive(Default)]
struct Buffers {
    input: Vec<u8>,
    output: Vec<u8>,
}

/// A block on its way. Its memory returns to its compressors when it is dropped, wherever that is.
pub(super) struct Block {
    buffers: Buffers,
    home: Arc<Shared>,
}

impl Compressors {
    /// Compressors that use up to `threads` threads, the one of a caller among them.
    pub fn new(threads: NonZeroUsize) -> Arc<Self> {
        let blocks = if threads.get() == 1 { 0 } else { threads.get() * 2 };
        let free = std::iter::repeat_with(Buffers::default).take(blocks).collect();
        let state = State { jobs: VecDeque::new(), free, encoders: Vec::new(), closed: false };
        let shared = Shared { state: Mutex::new(state), more: Condvar::new() };
        let workers = Mutex::default();
        Arc::new(Self { shared: Arc::new(shared), most_workers: threads.get() - 1, workers })
    }

    /// Hands over a block to be compressed, if one is free: what is in `input`, which becomes empty.
    /// The receiver gets the block when it is done, or an error should its compressor panic.
    pub(super) fn hand_over(&self, input: &mut Vec<u8>) -> Option<Receiver<Block>> {
        let mut state = self.shared.lock();
        let mut buffers = state.free.pop()?;
        std::mem::swap(&mut buffers.input, input);
        input.clear();
        let (done, receiver) = sync_channel(1);
        state.jobs.push_back(Job { block: Block { buffers, home: Arc::clone(&self.shared) }, done });
        drop(state);
        self.shared.more.notify_one();
        self.start_worker();
        Some(receiver)
    }

    /// Compresses the block that waits for the longest time, of whichever writer, on this thread.
    /// Returns whether there was one.
    pub(super) fn help(&self) -> bool {
        let job = self.shared.lock().jobs.pop_front();
        job.map(|job| self.shared.run(job)).is_some()
    }

    /// Appends `input`, compressed on this thread, to `output`.
    pub(super) fn compress(&self, input: &[u8], output: &mut Vec<u8>) {
        self.shared.compress(input, output);
    }

    /// How many threads were started.
    #[cfg(test)]
    pub(super) fn started(&self) -> usize {
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Starts one more thread, until there are all. Where the system has no more, callers do the work.
    fn start_worker(&self) {
        let mut workers = self.workers.lock().unwrap_or_else(PoisonError::into_inner);
        if workers.len() < self.most_workers {
            let shared = Arc::clone(&self.shared);
            let worker = thread::Builder::new().name("compressor".to_owned());
            workers.extend(worker.spawn(move || shared.work()));
        }
    }
}

impl Drop for Compressors {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.closed = true;
        // Nobody waits for these any more. They are dropped without the lock, as they return home.
        let abandoned = std::mem::take(&mut state.jobs);
        drop(state);
        drop(abandoned);
        self.shared.more.notify_all();
        let workers = self.workers.get_mut().unwrap_or_else(PoisonError::into_inner);
        for worker in workers.drain(..) {
            // A panic was already told to whoever waited for the block.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// The state. Nothing panics while it is locked, and it is whole at all times.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs jobs until all ends.
    fn work(&self) {
        loop {
            let state = self.lock();
            let waiting = |state: &mut State| state.jobs.is_empty() && !state.closed;
            let state = self.more.wait_while(state, waiting);
            let Some(job) = state.unwrap_or_else(PoisonError::into_inner).jobs.pop_front() else { return };
            self.run(job);
        }
    }

    fn run(&self, job: Job) {
        let Job { mut block, done } = job;
        let Buffers { input, output } = &mut block.buffers;
        self.compress(input, output);
        // Without a receiver the writer was given up; the block goes home.
        let _ = done.send(block);
    }

    fn compress(&self, input: &[u8], output: &mut Vec<u8>) {
        let idle = self.lock().encoders.pop();
        let mut encoder = idle.unwrap_or_default();
        encoder.compress(input, output);
        self.lock().encoders.push(encoder);
    }
}

impl Block {
    /// What it is, compressed.
    pub(super) fn output(&self) -> &[u8] {
        &self.buffers.output
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut buffers = std::mem::take(&mut self.buffers);
        buffers.input.clear();
        buffers.output.clear();
        self.home.lock().free.push(buffers);
    }
}
