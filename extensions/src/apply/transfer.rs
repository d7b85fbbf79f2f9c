//! COPY and ADD as steps: sources resolved to what is copied, hashed for the step's key, and written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek as _, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256, Sha512};

use super::archive;
use super::copy::{Copier, CopyError, Source as Content, Written};
use super::mode::Chmod;
use super::users::{self, UserError};
use crate::cache::hex;
use crate::context::{
    ContentDigest, Context, ContextError, Entry, EntryKind, Ignore, Parents, SelectOptions, Selected,
};
use crate::dockerfile::{Add, Copy, Transfer};
use crate::layer::{Limits, Unpack};
use crate::policy::{SourceKind, source_kind};
use crate::root::{Guard, Root, at};
use crate::snapshot::IgnoreSet;

/// How files are downloaded. This crate speaks no HTTP.
pub trait Fetch {
    /// Downloads what the URL names and writes it to `to`.
    ///
    /// # Errors
    /// Whatever keeps it from being there completely, an HTTP status other than success included.
    fn fetch(
        &self,
        url: &str,
        to: &mut dyn Write,
    ) -> Result<Fetched, Box<dyn std::error::Error + Send + Sync>>;
}

/// What is known of a downloaded file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fetched {
    /// The time of its last modification, in seconds since 1970, if the server says it.
    pub last_modified: Option<i64>,
}

/// COPY or ADD failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// There is no build context.
    #[error("there is no build context to copy from")]
    NoContext,
    /// The value of `--chmod` is no mode.
    #[error("`{0}` is not a mode: it must be octal and at most 7777, or symbolic")]
    Chmod(String),
    /// The value of `--chown` names nobody.
    #[error(transparent)]
    Chown(#[from] UserError),
    /// A value of `--exclude`, or a source of `--parents`, is no pattern.
    #[error("`{0}` is not a pattern")]
    Pattern(String),
    /// The value of `--checksum` is no digest.
    #[error("`{0}` is not a checksum: it must be `sha256:` or `sha512:` and hexadecimal digits")]
    Checksum(String),
    /// `--checksum` is given with something else than one URL.
    #[error("`--checksum` requires exactly one source, a URL")]
    ChecksumSource,
    /// A source cannot be used by this instruction.
    #[error("source `{0}` cannot be used here")]
    Source(String),
    /// A download failed.
    #[error("failed to download `{url}`: {error}")]
    Download {
        /// The URL.
        url: String,
        /// Why.
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// What was downloaded is something else.
    #[error("`{url}` has checksum {actual}, not {expected}")]
    Mismatch {
        /// The URL.
        url: String,
        /// The digest asked for.
        expected: String,
        /// The digest found.
        actual: String,
    },
    /// Copying failed.
    #[error(transparent)]
    Copy(#[from] CopyError),
    /// A source cannot be read.
    #[error(transparent)]
    Context(#[from] ContextError),
}

/// What COPY or ADD asks for, sources resolved: ready to be hashed, and to be written.
pub(super) struct Prepared {
    destination: String,
    chown: Option<String>,
    chmod: Option<Chmod>,
    sources: Vec<Source>,
    /// What the step's key depends on.
    pub(super) key: BTreeMap<String, String>,
}

/// One resolved source.
enum Source {
    Context {
        selected: Selected,
        contents: Vec<ContentDigest>,
        unpack: bool,
    },
    /// The file is downloaded later if its digest is known without.
    Download {
        download: Download,
        name: String,
        unpack: bool,
        file: Option<(File, i64)>,
    },
    Inline {
        name: String,
        body: String,
    },
}

/// A file to download.
struct Download {
    url: String,
    checksum: Option<String>,
}

/// Resolves the sources of a COPY.
pub(super) fn prepare_copy(copy: &Copy, context: Option<&Context>) -> Result<Prepared, TransferError> {
    let mut preparing = Preparing::new(&copy.transfer, context)?;
    if copy.parents {
        preparing.parents = Parents::Keep;
    }
    preparing.finish()
}

/// Resolves the sources of an ADD, and downloads.
pub(super) fn prepare_add(
    add: &Add,
    context: Option<&Context>,
    fetch: &dyn Fetch,
) -> Result<Prepared, TransferError> {
    let mut preparing = Preparing::new(&add.transfer, context)?;
    preparing.fetch = Some(fetch);
    preparing.unpack = add.unpack;
    preparing.checksum.clone_from(&add.checksum);
    preparing.finish()
}

struct Preparing<'p> {
    transfer: &'p Transfer,
    context: Option<&'p Context>,
    /// Only ADD has it.
    fetch: Option<&'p dyn Fetch>,
    unpack: Option<bool>,
    checksum: Option<String>,
    parents: Parents,
    done: Prepared,
}

impl<'p> Preparing<'p> {
    fn new(transfer: &'p Transfer, context: Option<&'p Context>) -> Result<Self, TransferError> {
        let chmod = match &transfer.chmod {
            Some(text) => Some(Chmod::parse(text).ok_or_else(|| TransferError::Chmod(text.clone()))?),
            None => None,
        };
        let mut key = BTreeMap::new();
        key.insert("destination".to_owned(), transfer.destination.clone());
        for (name, value) in [("chown", &transfer.chown), ("chmod", &transfer.chmod)] {
            key.insert(name.to_owned(), value.clone().unwrap_or_default());
        }
        let done = Prepared {
            destination: transfer.destination.clone(),
            chown: transfer.chown.clone(),
            chmod,
            sources: Vec::new(),
            key,
        };
        Ok(Self {
            transfer,
            context,
            fetch: None,
            unpack: None,
            checksum: None,
            parents: Parents::Drop,
            done,
        })
    }

    fn finish(mut self) -> Result<Prepared, TransferError> {
        let transfer = self.transfer;
        if self.checksum.is_some() {
            let urls = transfer.sources.iter().filter(|source| source_kind(source) == SourceKind::Url);
            if urls.count() != 1 || transfer.sources.len() != 1 {
                return Err(TransferError::ChecksumSource);
            }
        }
        for source in &transfer.sources {
            match (source_kind(source), self.fetch) {
                (SourceKind::Context, _) => self.context_source(source)?,
                (SourceKind::Url, Some(fetch)) => self.download(source, fetch)?,
                _ => return Err(TransferError::Source(source.clone())),
            }
        }
        for heredoc in &transfer.heredocs {
            let (name, body) = (heredoc.name.clone(), heredoc.body.clone());
            self.note(&name, &Sha256::digest(&body));
            self.done.sources.push(Source::Inline { name, body });
        }
        Ok(self.done)
    }

    fn note(&mut self, name: &str, digest: &[u8]) {
        let number = self.done.sources.len();
        self.done.key.insert(format!("source {number:06} {name}"), hex(digest));
    }

    fn context_source(&mut self, source: &str) -> Result<(), TransferError> {
        let context = self.context.ok_or(TransferError::NoContext)?;
        let exclude = Ignore::of(self.transfer.exclude.iter().cloned());
        let exclude = exclude.map_err(|_| TransferError::Pattern(self.transfer.exclude.join(" ")))?;
        let options = SelectOptions { exclude, parents: self.parents };
        let unpack = self.unpack.unwrap_or(self.fetch.is_some());
        for selected in context.select(source, &options)? {
            let (digest, contents) = context.digest_with_contents(std::slice::from_ref(&selected))?;
            self.note(&format!("unpack={unpack}"), &digest);
            self.done.sources.push(Source::Context { selected, contents, unpack });
        }
        Ok(())
    }

    fn download(&mut self, url: &str, fetch: &dyn Fetch) -> Result<(), TransferError> {
        let download = Download { url: url.to_owned(), checksum: self.checksum.clone() };
        let unpack = self.unpack.unwrap_or(false);
        let name = url_file_name(url);
        let noted = format!("{name} unpack={unpack}");
        let file = if let Some(checksum) = &self.checksum {
            parse_checksum(checksum)?;
            let checksum = checksum.clone();
            self.note(&noted, checksum.as_bytes());
            None
        } else {
            let (mut file, mtime) = download.run(fetch)?;
            let digest = hash::<Sha256>(&mut file).map_err(|error| download.failed(error.into()))?;
            self.note(&noted, &digest);
            Some((file, mtime))
        };
        self.done.sources.push(Source::Download { download, name, unpack, file });
        Ok(())
    }
}

impl Download {
    /// Downloads the file, and compares it with its checksum.
    fn run(&self, fetch: &dyn Fetch) -> Result<(File, i64), TransferError> {
        let mut file = tempfile::tempfile().map_err(|error| self.failed(error.into()))?;
        let fetched = fetch.fetch(&self.url, &mut file).map_err(|error| self.failed(error))?;
        if let Some(checksum) = &self.checksum {
            self.verify(checksum, &mut file)?;
        }
        Ok((file, fetched.last_modified.unwrap_or(0)))
    }

    fn verify(&self, checksum: &str, file: &mut File) -> Result<(), TransferError> {
        let digest = match parse_checksum(checksum)? {
            Algorithm::Sha256 => hash::<Sha256>(file),
            Algorithm::Sha512 => hash::<Sha512>(file),
        };
        let digest = digest.map_err(|error| self.failed(error.into()))?;
        let algorithm = checksum.split(':').next().unwrap_or_default();
        let actual = format!("{algorithm}:{}", hex(&digest));
        if actual == checksum {
            return Ok(());
        }
        Err(TransferError::Mismatch { url: self.url.clone(), expected: checksum.to_owned(), actual })
    }

    fn failed(&self, error: Box<dyn std::error::Error + Send + Sync>) -> TransferError {
        TransferError::Download { url: self.url.clone(), error }
    }
}

enum Algorithm {
    Sha256,
    Sha512,
}

fn parse_checksum(checksum: &str) -> Result<Algorithm, TransferError> {
    let invalid = || TransferError::Checksum(checksum.to_owned());
    let (algorithm, digits) = checksum.split_once(':').ok_or_else(invalid)?;
    let (algorithm, length) = match algorithm {
        "sha256" => (Algorithm::Sha256, 64),
        "sha512" => (Algorithm::Sha512, 128),
        _ => return Err(invalid()),
    };
    let hexadecimal = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let is_digest = digits.len() == length && digits.bytes().all(hexadecimal);
    if is_digest { Ok(algorithm) } else { Err(invalid()) }
}

impl Prepared {
    /// Writes everything below the root. What is there when it fails stays.
    pub(super) fn apply(
        &mut self,
        root: &Root,
        ignore: &IgnoreSet,
        context: Option<&Context>,
        fetch: &dyn Fetch,
    ) -> Result<Written, TransferError> {
        let mut copier = Copier::new(root, ignore, &self.destination);
        copier.owner = self.chown.as_ref().map(|spec| users::owner(root, spec)).transpose()?;
        copier.chmod = self.chmod.take();
        for source in &mut self.sources {
            match source {
                Source::Context { selected, contents, unpack } => {
                    let context = context.ok_or(TransferError::NoContext)?;
                    if *unpack && unpack_from_context(&mut copier, context, selected, contents)? {
                        continue;
                    }
                    let mut from = Content::Context { files: context.files(), selected, contents };
                    copier.copy(&selected.name, &selected.entries, &mut from)?;
                }
                Source::Download { download, name, unpack, file } => {
                    let (mut file, mtime) = match file.take() {
                        Some(downloaded) => downloaded,
                        None => download.run(fetch)?,
                    };
                    if *unpack && unpack_file(&mut copier, &mut file, &download.url)? {
                        continue;
                    }
                    let entry = single(0o600, (mtime, 0));
                    copier.copy(name.as_ref(), &[entry], &mut Content::File(&file))?;
                }
                Source::Inline { name, body } => {
                    let entry = single(0o644, now());
                    copier.copy(name.as_ref(), &[entry], &mut Content::Bytes(body.as_bytes()))?;
                }
            }
        }
        Ok(copier.written)
    }
}

fn unpack_from_context(
    copier: &mut Copier<'_>,
    context: &Context,
    selected: &Selected,
    contents: &[ContentDigest],
) -> Result<bool, TransferError> {
    let [entry @ Entry { kind: EntryKind::File { .. }, .. }] = selected.entries.as_slice() else {
        return Ok(false);
    };
    // Unpacked from a copy: the context may change while it is read.
    let mut copy =
        tempfile::tempfile().map_err(at("create", Path::new("temporary file"))).map_err(CopyError::from)?;
    let mut from = Content::Context { files: context.files(), selected, contents };
    from.copy_file(entry, &mut copy)?;
    unpack_file(copier, &mut copy, &selected.path.display().to_string())
}

/// Unpacks a file at the destination if it is an archive.
fn unpack_file(copier: &mut Copier<'_>, file: &mut File, name: &str) -> Result<bool, TransferError> {
    let failed = |error| CopyError::Unpack { source_name: name.to_owned(), error };
    let opened = archive::open(file).map_err(|error| failed(crate::layer::ReadError::Io(error).into()))?;
    let Some(tar) = opened else {
        return Ok(false);
    };
    let chmod = copier.chmod.take();
    let path = copier.make_dir(Path::new(copier.destination))?;
    copier.chmod = chmod;
    let guard = Guard::new(copier.ignore);
    let rules =
        Unpack { root: copier.root, below: &path, guard, owner: copier.owner, limits: Limits::default() };
    let done = rules.unpack(tar).map_err(failed)?;
    copier.written.changes.extend(done.changes);
    Ok(true)
}

fn single(mode: u32, mtime: (i64, i64)) -> Entry {
    Entry {
        path: PathBuf::new(),
        kind: EntryKind::File { size_bytes: 0 },
        mode,
        mtime,
        inode: (0, 0),
        links: 1,
        is_parent: false,
    }
}

fn now() -> (i64, i64) {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    (now.tv_sec, now.tv_nsec)
}

/// What a download is called where the destination is a directory.
fn url_file_name(url: &str) -> String {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme.split(['?', '#']).next().unwrap_or_default();
    let name = path.split_once('/').map_or("", |(_, path)| path).trim_end_matches('/');
    let name = percent_decoded(name.rsplit('/').next().unwrap_or_default());
    let usable = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    if usable { name } else { "__unnamed__".to_owned() }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).filter(|_| first == b'%');
        let byte = digits.and_then(|digits| std::str::from_utf8(digits).ok());
        let decoded = byte.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(decoded.unwrap_or(first));
        rest = if decoded.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

/// Hashes a whole file and leaves it at its start.
fn hash<D: sha2::digest::Update + sha2::Digest>(file: &mut File) -> std::io::Result<Vec<u8>> {
    file.rewind()?;
    let mut hash = D::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = std::io::Read::read(file, &mut buffer)?;
        if read == 0 {
            break;
        }
        sha2::Digest::update(&mut hash, &buffer[..read]);
    }
    file.rewind()?;
    Ok(hash.finalize().to_vec())
}
