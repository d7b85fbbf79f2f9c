//! One entry's header, byte for byte as Go's `archive/tar` writes it.
//!
//! Layers must have the diffIDs that the reference implementation gives them, so its choices are
//! repeated here: USTAR when every value fits, else PAX; octal numbers end in NUL; the device
//! numbers are zeros in text and not blank. An entry copied from a GNU archive stays GNU.

use std::collections::BTreeMap;

use super::path;

/// A tar's unit: headers are this long, contents are filled up to a multiple of it.
pub const BLOCK: usize = 512;

/// What ends a tar. There is no padding to a longer record.
pub const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The time every entry has: 1980-01-01T00:00:01Z.
pub const MTIME: u64 = 315_532_801;

const NAME: usize = 100;
const PREFIX: usize = 155;

/// The type flag of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A regular file.
    File = b'0',
    /// Another name of an earlier entry.
    HardLink = b'1',
    /// A symbolic link.
    Symlink = b'2',
    /// A character device.
    CharDevice = b'3',
    /// A block device.
    BlockDevice = b'4',
    /// A directory.
    Dir = b'5',
    /// A named pipe.
    Fifo = b'6',
}

/// Which form an entry takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// The first of USTAR and PAX that can hold its values.
    #[default]
    Any,
    /// PAX, because it had records before.
    Pax,
    /// GNU, because it was GNU before.
    Gnu,
}

/// An entry's header.
#[derive(Debug, Clone)]
pub struct Header<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its name, any bytes but NUL.
    pub name: &'a [u8],
    /// Where a link points; else empty.
    pub link: &'a [u8],
    /// Permission bits, setuid, setgid, sticky.
    pub mode: u32,
    /// Its user ID.
    pub uid: u64,
    /// Its group ID.
    pub gid: u64,
    /// The size of its contents in bytes; 0 for all but files.
    pub size: u64,
    /// Major and minor number of a device; else zeros.
    pub device: (u32, u32),
    /// Its time in seconds since 1970.
    pub mtime: u64,
    /// PAX records that it carries beside its values, such as extended attributes.
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The form it takes.
    pub format: Format,
}

impl<'a> Header<'a> {
    /// A header with [`MTIME`], and zero or nothing for the rest.
    pub fn new(kind: Kind, name: &'a [u8], mode: u32) -> Self {
        Self {
            kind,
            name,
            link: b"",
            mode,
            uid: 0,
            gid: 0,
            size: 0,
            device: (0, 0),
            mtime: MTIME,
            records: BTreeMap::new(),
            format: Format::Any,
        }
    }

    /// Appends the header to `out`: one block, after those of a PAX or GNU extension where needed.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self.format {
            Format::Gnu => self.encode_gnu(out),
            Format::Any if self.fits_ustar() => {
                let (prefix, name) = split_name(self.name).unwrap_or((b"", self.name));
                let mut block = self.template(name, self.link, octal);
                text(&mut block[345..500], prefix);
                out.extend_from_slice(&finish(block, USTAR));
            }
            Format::Any | Format::Pax => self.encode_pax(out),
        }
    }

    fn encode_pax(&self, out: &mut Vec<u8>) {
        let records = self.pax_records();
        if !records.is_empty() {
            let body: Vec<u8> = records.iter().flat_map(|(key, value)| pax_record(key, value)).collect();
            encode_extension(out, &pax_name(self.name), b'x', &body, USTAR);
        }
        let block = self.template(&ascii(self.name), &ascii(self.link), octal);
        out.extend_from_slice(&finish(block, USTAR));
    }

    fn encode_gnu(&self, out: &mut Vec<u8>) {
        for (value, flag) in [(self.name, b'L'), (self.link, b'K')] {
            if value.len() > NAME {
                encode_extension(out, b"././@LongLink", flag, &[value, b"\0"].concat(), GNU);
            }
        }
        out.extend_from_slice(&finish(self.template(self.name, self.link, octal_or_binary), GNU));
    }

    /// Whether no value needs a record.
    fn fits_ustar(&self) -> bool {
        (fits_name(self.name) || split_name(self.name).is_some())
            && fits_name(self.link)
            && fits_octal(self.uid, 8)
            && fits_octal(self.gid, 8)
            && fits_octal(self.size, 12)
            && self.records.is_empty()
    }

    /// The values that do not fit, with the records it carries: those that repeat a value, and those
    /// that are about something else.
    fn pax_records(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let number = |value: u64, width| (value.to_string().into_bytes(), fits_octal(value, width));
        let values = [
            ("path", (self.name.to_vec(), fits_name(self.name))),
            ("linkpath", (self.link.to_vec(), fits_name(self.link))),
            ("uid", number(self.uid, 8)),
            ("gid", number(self.gid, 8)),
            ("size", number(self.size, 12)),
        ];
        let mut records: BTreeMap<_, _> = self
            .records
            .iter()
            .filter(|(key, _)| !BASIC_KEYS.contains(&key.as_slice()) && !key.starts_with(b"GNU.sparse."))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        for (key, (value, fits)) in values {
            if !fits || self.records.get(key.as_bytes()) == Some(&value) {
                records.insert(key.into(), value);
            }
        }
        records
    }

    /// The fields that all formats share.
    fn template(&self, name: &[u8], link: &[u8], number: fn(&mut [u8], u64)) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        text(&mut block[0..100], name);
        number(&mut block[100..108], self.mode.into());
        number(&mut block[108..116], self.uid);
        number(&mut block[116..124], self.gid);
        number(&mut block[124..136], self.size);
        number(&mut block[136..148], self.mtime);
        block[156] = self.kind as u8;
        text(&mut block[157..257], link);
        number(&mut block[329..337], self.device.0.into());
        number(&mut block[337..345], self.device.1.into());
        block
    }
}

/// Keys of records that stand for a header's own values.
const BASIC_KEYS: [&[u8]; 10] =
    [b"path", b"linkpath", b"size", b"uid", b"gid", b"uname", b"gname", b"mtime", b"atime", b"ctime"];

/// How many zeros follow contents of `size` bytes.
pub fn padding(size: u64) -> usize {
    let over = usize::try_from(size % BLOCK as u64).expect("a remainder of 512 fits");
    (BLOCK - over) % BLOCK
}

const USTAR: [u8; 8] = *b"ustar\x0000";
const GNU: [u8; 8] = *b"ustar  \0";

/// Sets the magic and then the checksum, which is that of a block whose own checksum is spaces.
fn finish(mut block: [u8; BLOCK], magic: [u8; 8]) -> [u8; BLOCK] {
    block[257..265].copy_from_slice(&magic);
    block[148..156].fill(b' ');
    let sum = block.iter().map(|&byte| u64::from(byte)).sum();
    octal(&mut block[148..155], sum);
    block
}

/// An extension: a small file, of which only name, size and flag are set, in front of the header.
fn encode_extension(out: &mut Vec<u8>, name: &[u8], flag: u8, body: &[u8], magic: [u8; 8]) {
    let mut block = [0; BLOCK];
    let name = ascii(name);
    let name = &name[..name.len().min(NAME)];
    let end = name.iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
    text(&mut block[0..100], &name[..end]);
    for (from, to) in [(100, 108), (108, 116), (116, 124), (136, 148)] {
        octal(&mut block[from..to], 0);
    }
    octal(&mut block[124..136], body.len() as u64);
    block[156] = flag;
    out.extend_from_slice(&finish(block, magic));
    out.extend_from_slice(body);
    out.resize(out.len() + padding(body.len() as u64), 0);
}

/// Copies what fits. A name that is cut off right after a slash loses the slash: some readers take
/// such an entry for a directory.
fn text(field: &mut [u8], value: &[u8]) {
    let width = field.len();
    let copied = value.len().min(width);
    field[..copied].copy_from_slice(&value[..copied]);
    if value.len() > width && field[width - 1] == b'/' {
        let end = value[..width - 1].iter().rposition(|&byte| byte != b'/').map_or(0, |last| last + 1);
        field[end] = 0;
    }
}

/// Octal digits with leading zeros and a final NUL; zero when the number does not fit.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let mut rest = if fits_octal(value, field.len()) { value } else { 0 };
    for digit in field[..digits].iter_mut().rev() {
        *digit = b'0' + (rest & 7) as u8;
        rest >>= 3;
    }
    field[digits] = 0;
}

/// Octal, or big-endian with the highest bit set.
fn octal_or_binary(field: &mut [u8], value: u64) {
    if fits_octal(value, field.len()) {
        return octal(field, value);
    }
    let mut rest = value;
    for byte in field.iter_mut().rev() {
        *byte = (rest & 0xff) as u8;
        rest >>= 8;
    }
    field[0] |= 0x80;
}

fn fits_octal(value: u64, width: usize) -> bool {
    value < 1 << (3 * (width - 1))
}

fn fits_name(value: &[u8]) -> bool {
    value.is_ascii() && value.len() <= NAME
}

fn ascii(value: &[u8]) -> Vec<u8> {
    value.iter().copied().filter(u8::is_ascii).collect()
}

/// Divides a name of more than 100 bytes at a slash so that USTAR can hold it, if that can be done.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    if name.len() <= NAME || !name.is_ascii() {
        return None;
    }
    let mut within = name.len().min(PREFIX + 1);
    if name.len() <= PREFIX + 1 && name.ends_with(b"/") {
        within -= 1;
    }
    let slash = name[..within].iter().rposition(|&byte| byte == b'/')?;
    let rest = name.len() - slash - 1;
    (slash > 0 && rest > 0 && rest <= NAME && slash <= PREFIX).then(|| (&name[..slash], &name[slash + 1..]))
}

/// The name of the extension of an entry: in a directory `PaxHeaders.0` beside it.
fn pax_name(name: &[u8]) -> Vec<u8> {
    let (dir, file) = name.split_at(name.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1));
    let parts: Vec<&[u8]> =
        [dir, b"PaxHeaders.0", file].into_iter().filter(|part| !part.is_empty()).collect();
    path::clean(&parts.join(&b'/'))
}

/// `length key=value\n`, where the length counts its own digits.
fn pax_record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let digits = |number: usize| number.to_string().len();
    let mut size = rest + digits(rest);
    if rest + digits(size) != size {
        size = rest + digits(size);
    }
    [size.to_string().as_bytes(), b" ", key, b"=", value, b"\n"].concat()
}
