//! Many layers on few threads. Every thread takes whatever can be done next, the last steps of a layer
//! first, so that all are busy while there is work, and little waits in memory between two steps.
//!
//! Only so many blocks are on their way at once, of all layers together; a block gives its place free
//! when it was hashed and, compressed, written.
//!
//! Only as many threads hash and compress as there are processors to use. A few more wait for disks and
//! registries meanwhile.

use std::collections::{BTreeMap, VecDeque};
use std::io::Read as _;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::blob::{Job, LayerError, Outputs, Written};
use super::pack::{BLOCK, Packed, Packer};
use super::pass::{BlobSide, Finished, Opened, Plan, RawSide};
use super::stream::Stream;
use super::tar::TarError;
use crate::image::store::Encoding;

/// The most threads that compress at once: more would take too much memory.
const MAX_THREADS: usize = 12;

/// How many threads are there to wait.
const WAITING_THREADS: usize = 4;

/// See [`super::blob::write_layers`].
pub fn run(jobs: &[Job], outputs: &Outputs<'_>) -> Result<Vec<Written>, LayerError> {
    let threads = outputs.threads.get().min(MAX_THREADS);
    let encoding = outputs.image.map_or(Encoding::Gzip, |(store, _)| store.encoding());
    let shop = Shop {
        jobs,
        outputs,
        board: Mutex::new(Board::new(jobs.len(), threads, encoding)),
        changed: Condvar::new(),
    };
    thread::scope(|scope| {
        for _ in 0..threads + WAITING_THREADS {
            scope.spawn(|| shop.work());
        }
    });
    shop.board.into_inner().unwrap_or_else(PoisonError::into_inner).results()
}

/// What the threads share.
struct Shop<'a> {
    jobs: &'a [Job],
    outputs: &'a Outputs<'a>,
    board: Mutex<Board<'a>>,
    changed: Condvar,
}

/// Who waits for what.
struct Board<'a> {
    /// The passes under way, by the number of their job.
    passes: BTreeMap<usize, Pass<'a>>,
    /// Second passes to begin.
    again: Vec<(usize, Plan)>,
    /// The next job to begin, and how many there are.
    next: usize,
    jobs: usize,
    /// How many passes may be under way at once.
    max_passes: usize,
    /// How many more blocks may be on their way.
    places: usize,
    /// Memory of blocks that are done with.
    buffers: Vec<Vec<u8>>,
    packed_buffers: Vec<Vec<u8>>,
    /// How the image's layers are compressed, and what does it now and then.
    encoding: Encoding,
    packers: Vec<Packer>,
    /// How many threads may hash or compress at once, and how many do.
    threads: usize,
    busy: usize,
    written: Vec<Option<Written>>,
    /// The failed job of the lowest number.
    failure: Option<(usize, LayerError)>,
    /// A thread ended in a panic.
    abandoned: bool,
}

/// A part of a tar.
struct Block {
    bytes: Vec<u8>,
    length: usize,
}

/// A pass under way. What is `None` is in the hands of a thread.
struct Pass<'a> {
    plan: Option<Plan>,
    stream: Option<Stream<'a>>,
    raw: Option<RawSide<'a>>,
    blob: Option<BlobSide<'a>>,
    has_blob: bool,
    to_hash: VecDeque<Arc<Block>>,
    to_pack: VecDeque<(u64, Arc<Block>)>,
    packed: BTreeMap<u64, (Packed, usize)>,
    /// How many blocks were read, hashed and written.
    filled: u64,
    hashed: u64,
    emitted: u64,
    /// How many of them gave their places free.
    released: u64,
    ended: bool,
    /// How many threads are at work on it.
    running: usize,
    /// It is not worth going on with.
    void: bool,
}

/// What a block is compressed with, and where to.
struct Tools {
    packer: Packer,
    buffer: Vec<u8>,
}

/// A thing to do, with all that is needed for it.
enum Task<'a> {
    Begin(Option<Plan>),
    Fill(Stream<'a>, Vec<u8>),
    Hash(RawSide<'a>, Vec<Arc<Block>>),
    Pack(u64, Arc<Block>, Tools),
    Emit(BlobSide<'a>, Vec<(Packed, usize)>),
    Finish(Plan, RawSide<'a>, Option<BlobSide<'a>>),
}

/// What a thread did.
enum Done<'a> {
    Begun(Plan, Box<Opened<'a>>),
    Filled(Stream<'a>, Block),
    Hashed(RawSide<'a>, Vec<Arc<Block>>),
    Packed(u64, Arc<Block>, Packed, Packer),
    Emitted(BlobSide<'a>, Vec<(Packed, usize)>),
    Finished(Finished),
}

impl<'a> Shop<'a> {
    /// One thread's work, until nothing is left to do.
    fn work(&self) {
        let guard = AbandonOnPanic(self);
        let mut board = self.lock();
        while !board.is_done() {
            let Some((number, task)) = board.take_task() else {
                board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            drop(board);
            let result = self.perform(number, task);
            board = self.lock();
            match result {
                Ok(done) => board.note(number, done, self),
                Err(error) => board.fail(number, error),
            }
            self.changed.notify_all();
        }
        drop(board);
        std::mem::forget(guard);
    }

    fn lock(&self) -> MutexGuard<'_, Board<'a>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn perform(&self, number: usize, task: Task<'a>) -> Result<Done<'a>, LayerError> {
        let (job, outputs) = (&self.jobs[number], self.outputs);
        Ok(match task {
            Task::Begin(plan) => {
                let plan = plan.unwrap_or_else(|| Plan::first(job, outputs));
                let opened = plan.open(job, outputs)?;
                Done::Begun(plan, Box::new(opened))
            }
            Task::Fill(mut stream, buffer) => {
                let block = fill(&mut stream, buffer)?;
                Done::Filled(stream, block)
            }
            Task::Hash(mut raw, blocks) => {
                for block in &blocks {
                    raw.take(block.bytes(), outputs.cache);
                }
                Done::Hashed(raw, blocks)
            }
            Task::Pack(order, block, mut tools) => {
                let packed = tools.packer.pack(block.bytes(), tools.buffer);
                Done::Packed(order, block, packed, tools.packer)
            }
            Task::Emit(mut blob, packed) => {
                for (packed, length) in &packed {
                    blob.take(packed, *length)?;
                }
                Done::Emitted(blob, packed)
            }
            Task::Finish(plan, raw, blob) => Done::Finished(plan.finish(job, outputs, raw, blob)?),
        })
    }
}

/// Lets the other threads end when this one panics: what it held will never come back.
struct AbandonOnPanic<'s, 'a>(&'s Shop<'a>);

impl Drop for AbandonOnPanic<'_, '_> {
    fn drop(&mut self) {
        self.0.lock().abandoned = true;
        self.0.changed.notify_all();
    }
}

/// Reads the next block, which is short only at the tar's end.
fn fill(stream: &mut Stream<'_>, mut bytes: Vec<u8>) -> Result<Block, TarError> {
    let mut length = 0;
    while length < bytes.len() {
        match stream.read(&mut bytes[length..]) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) => return Err(error.downcast().expect("a stream fails with a TarError")),
        }
    }
    Ok(Block { bytes, length })
}

impl Block {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl<'a> Board<'a> {
    fn new(jobs: usize, threads: usize, encoding: Encoding) -> Self {
        Self {
            passes: BTreeMap::new(),
            again: Vec::new(),
            next: 0,
            jobs,
            max_passes: threads + WAITING_THREADS,
            places: threads + threads / 2 + 10,
            buffers: Vec::new(),
            packed_buffers: Vec::new(),
            encoding,
            packers: Vec::new(),
            threads,
            busy: 0,
            written: std::iter::repeat_with(|| None).take(jobs).collect(),
            failure: None,
            abandoned: false,
        }
    }

    fn is_done(&self) -> bool {
        let none_left = self.failure.is_some() || (self.next == self.jobs && self.again.is_empty());
        self.abandoned || (self.passes.is_empty() && none_left)
    }

    /// What can be done now, the last steps first.
    fn take_task(&mut self) -> Option<(usize, Task<'a>)> {
        if self.failure.is_some() {
            return None;
        }
        let may_compute = self.busy < self.threads;
        let last =
            |(number, pass): (&usize, &mut Pass<'a>)| Some((*number, pass.take_last_step(may_compute)?));
        if let Some((number, task)) = self.passes.iter_mut().find_map(last) {
            self.busy += usize::from(matches!(task, Task::Hash(..)));
            return Some((number, task));
        }
        let pack = |(number, pass): (&usize, &mut Pass<'a>)| Some((*number, pass.take_to_pack()?));
        if let Some((number, (order, block))) = self.passes.iter_mut().filter(|_| may_compute).find_map(pack)
        {
            self.busy += 1;
            let packer = self.packers.pop().unwrap_or_else(|| Packer::new(self.encoding));
            let buffer = self.packed_buffers.pop().unwrap_or_default();
            return Some((number, Task::Pack(order, block, Tools { packer, buffer })));
        }
        if self.places == 0 {
            return None;
        }
        let fill = |(number, pass): (&usize, &mut Pass<'a>)| Some((*number, pass.take_stream()?));
        if let Some((number, stream)) = self.passes.iter_mut().find_map(fill) {
            self.places -= 1;
            let buffer = self.buffers.pop().unwrap_or_else(|| vec![0; BLOCK]);
            return Some((number, Task::Fill(stream, buffer)));
        }
        self.take_begin()
    }

    fn take_begin(&mut self) -> Option<(usize, Task<'a>)> {
        if self.passes.len() >= self.max_passes {
            return None;
        }
        let (number, plan) = match self.again.pop() {
            Some((number, plan)) => (number, Some(plan)),
            None if self.next < self.jobs => {
                self.next += 1;
                (self.next - 1, None)
            }
            None => return None,
        };
        self.passes.insert(number, Pass::new());
        Some((number, Task::Begin(plan)))
    }

    fn fail(&mut self, number: usize, error: LayerError) {
        if self.failure.as_ref().is_none_or(|(first, _)| number < *first) {
            self.failure = Some((number, error));
        }
        if let Some(pass) = self.passes.get_mut(&number) {
            pass.running -= 1;
        }
        self.passes.retain(|_, pass| pass.running > 0);
    }

    /// Takes back what a thread had, with what it made of it.
    fn note(&mut self, number: usize, done: Done<'a>, shop: &Shop<'a>) {
        let Some(pass) = self.passes.get_mut(&number) else { return };
        pass.running -= 1;
        let mut used = Vec::new();
        match done {
            Done::Begun(plan, opened) => pass.begun(plan, *opened),
            Done::Filled(stream, block) => {
                let end = pass.filled(stream, block);
                self.places += usize::from(end.is_some());
                used.extend(end);
            }
            Done::Hashed(raw, blocks) => {
                self.busy -= 1;
                pass.hashed(raw, &blocks, &shop.jobs[number]);
                used = blocks;
            }
            Done::Packed(order, block, packed, tool) => {
                self.busy -= 1;
                self.packers.push(tool);
                pass.packed.insert(order, (packed, block.length));
                used.push(block);
            }
            Done::Emitted(blob, packed) => {
                pass.emitted += packed.len() as u64;
                pass.blob = Some(blob);
                self.packed_buffers.extend(packed.into_iter().map(|(packed, _)| packed.bytes));
            }
            Done::Finished(finished) => return self.finished(number, finished),
        }
        self.places += pass.release();
        self.buffers.extend(used.into_iter().filter_map(Arc::into_inner).map(|block| block.bytes));
        self.drop_ended_early(number, shop);
    }

    fn finished(&mut self, number: usize, finished: Finished) {
        self.passes.remove(&number);
        match finished {
            Finished::Done(written) => self.written[number] = Some(*written),
            Finished::Again(plan) => self.again.push((number, plan)),
        }
    }

    /// Ends a pass that is not worth going on with, once no thread is at work on it.
    fn drop_ended_early(&mut self, number: usize, shop: &Shop<'a>) {
        let Some(pass) = self.passes.get_mut(&number).filter(|pass| pass.running == 0) else { return };
        if self.failure.is_some() {
            self.passes.remove(&number);
        } else if pass.void {
            self.places += usize::try_from(pass.filled - pass.released).expect("places are few");
            self.passes.remove(&number);
            self.again.push((number, Plan::changed(&shop.jobs[number], shop.outputs)));
        }
    }

    fn results(self) -> Result<Vec<Written>, LayerError> {
        match self.failure {
            Some((_, error)) => Err(error),
            None => Ok(self.written.into_iter().map(|made| made.expect("no job is left")).collect()),
        }
    }
}

impl<'a> Pass<'a> {
    /// One that a thread is opening.
    fn new() -> Self {
        Self {
            plan: None,
            stream: None,
            raw: None,
            blob: None,
            has_blob: false,
            to_hash: VecDeque::new(),
            to_pack: VecDeque::new(),
            packed: BTreeMap::new(),
            filled: 0,
            hashed: 0,
            emitted: 0,
            released: 0,
            ended: false,
            running: 1,
            void: false,
        }
    }

    fn take_last_step(&mut self, may_hash: bool) -> Option<Task<'a>> {
        let task = if self.void {
            None
        } else if self.blob.is_some() && self.packed.contains_key(&self.emitted) {
            let ready = (self.emitted..).map_while(|order| self.packed.remove(&order)).collect();
            self.blob.take().map(|blob| Task::Emit(blob, ready))
        } else if self.is_complete() {
            let (plan, raw) = (self.plan.take()?, self.raw.take()?);
            Some(Task::Finish(plan, raw, self.blob.take()))
        } else if self.to_hash.is_empty() || !may_hash {
            None
        } else {
            self.raw.take().map(|raw| Task::Hash(raw, self.to_hash.drain(..).collect()))
        };
        self.running += usize::from(task.is_some());
        task
    }

    fn is_complete(&self) -> bool {
        let written = if self.has_blob { self.emitted } else { self.filled };
        self.ended && self.running == 0 && self.hashed == self.filled && written == self.filled
    }

    fn take_to_pack(&mut self) -> Option<(u64, Arc<Block>)> {
        let block = if self.void { None } else { self.to_pack.pop_front() };
        self.running += usize::from(block.is_some());
        block
    }

    fn take_stream(&mut self) -> Option<Stream<'a>> {
        let stream = if self.void { None } else { self.stream.take() };
        self.running += usize::from(stream.is_some());
        stream
    }

    fn begun(&mut self, plan: Plan, opened: Opened<'a>) {
        self.plan = Some(plan);
        self.stream = Some(opened.stream);
        self.raw = Some(opened.raw);
        self.has_blob = opened.blob.is_some();
        self.blob = opened.blob;
    }

    /// Takes in a block that was read; gives it back if it has no bytes.
    fn filled(&mut self, stream: Stream<'a>, block: Block) -> Option<Arc<Block>> {
        self.ended = block.length < block.bytes.len();
        self.stream = Some(stream).filter(|_| !self.ended);
        let block = Arc::new(block);
        if block.length == 0 {
            return Some(block);
        }
        if self.has_blob {
            self.to_pack.push_back((self.filled, block.clone()));
        }
        self.to_hash.push_back(block);
        self.filled += 1;
        None
    }

    fn hashed(&mut self, raw: RawSide<'a>, blocks: &[Arc<Block>], job: &Job) {
        self.hashed += blocks.len() as u64;
        self.void = raw.differs() && self.plan.as_ref().is_some_and(|plan| plan.ends_at_difference(job));
        self.raw = Some(raw);
    }

    /// How many more blocks have given their places free.
    fn release(&mut self) -> usize {
        let through = if self.has_blob { self.hashed.min(self.emitted) } else { self.hashed };
        let more = through - self.released;
        self.released = through;
        usize::try_from(more).expect("places are few")
    }
}
