//! Applies a Dockerfile to a root directory, and prints what each step did and what it cost.
//!
//! ```text
//! apply ROOT DOCKERFILE CONTEXT WORK [CACHE]
//! ```
//!
//! ROOT `/` is the machine itself: only for a container made for it.

use std::error::Error;
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use extensions::apply::{
    Application, BaseImage, Compress, Event, Fetch, Fetched, Mounting, Output, Purpose, Session, Settings,
};
use extensions::cache::Cache;
use extensions::context::Context;
use extensions::dockerfile::parse;
use extensions::layer::Compression;
use extensions::policy::{Target, permit};
use extensions::root::Root;
use extensions::state::Arguments;

struct Gzip;

impl Compress for Gzip {
    fn compression(&self) -> Compression {
        Compression::Gzip
    }

    fn compress(&self, tar: &mut dyn Read, blob: &mut dyn Write) -> io::Result<()> {
        let mut encoder = flate2::write::GzEncoder::new(blob, flate2::Compression::fast());
        io::copy(tar, &mut encoder)?;
        encoder.finish().map(drop)
    }
}

struct NoDownloads;

impl Fetch for NoDownloads {
    fn fetch(&self, _url: &str, _to: &mut dyn Write) -> Result<Fetched, Box<dyn Error + Send + Sync>> {
        Err("this example downloads nothing".into())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, dockerfile, context, work, cache @ ..] = arguments.as_slice() else {
        return Err("apply ROOT DOCKERFILE CONTEXT WORK [CACHE]".into());
    };
    let start = Instant::now();
    let root = Root::open(Path::new(root))?;
    let context = Context::of(Path::new(context), Path::new(dockerfile))?;
    let ttl = Duration::from_hours(14 * 24);
    let cache = cache.first().map(|path| Cache::open(Path::new(path), ttl)).transpose()?;
    let settings = Settings {
        root: &root,
        ignore: vec![work.into()],
        method: None,
        purpose: Purpose::Layers,
        mounting: Mounting::Try,
        cache: cache.as_ref(),
        work: Path::new(work),
        compress: &Gzip,
        fetch: &NoDownloads,
        output: Output::default(),
        platform: format!("linux/{}", std::env::consts::ARCH),
        log: &|event: Event<'_>| drop(writeln!(io::stderr(), "[{:?}] {event:?}", start.elapsed())),
        make_ready: &|| Ok(()),
    };
    let given = Arguments::default();
    let permitted = permit(parse(dockerfile, &std::fs::read(dockerfile)?)?, Target::Run, &given)?;
    let mut session = Session::new(settings, BaseImage::default());
    let application =
        Application { permitted: &permitted, arguments: given, context: Some(&context), is_last: true };
    for step in session.apply(&application)? {
        let layer = step.layer.map_or_else(String::new, |layer| {
            format!(" {} {} -> {} bytes", &layer.diff_id[..12], layer.tar_size, layer.size)
        });
        let Footprint { added, overwritten, deleted } = Footprint::of(&step.footprint);
        let files = format!("+{added} ~{overwritten} -{deleted}");
        writeln!(io::stderr(), "{:?} {} {files}{layer}", step.outcome, step.instruction)?;
    }
    session.finish()?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    writeln!(io::stderr(), "{:?} {peak}", start.elapsed())?;
    Ok(())
}

struct Footprint {
    added: u64,
    overwritten: usize,
    deleted: usize,
}

impl Footprint {
    fn of(footprint: &extensions::cache::Footprint) -> Self {
        Self {
            added: footprint.added,
            overwritten: footprint.overwrites.len(),
            deleted: footprint.whiteouts.len(),
        }
    }
}
