//! Reads a tar's entries one by one: USTAR, PAX and GNU, with limits on what one entry may claim.
//!
//! What is read is hostile until its digest is known. The contents of an entry are left to the
//! caller, who reads them from the same reader.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::Range;

use super::header::{BLOCK, Format, padding};

/// The most that an extension of an entry (PAX records, a long name) may take, as in Go.
const EXTENSION_MAX: u64 = 1 << 20;

/// An entry as the tar says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its type flag; an old directory (a name with a final slash) has `5`.
    pub flag: u8,
    /// Its name.
    pub name: Vec<u8>,
    /// Where a link points.
    pub link: Vec<u8>,
    /// Its mode bits.
    pub mode: u32,
    /// Its user ID.
    pub uid: u64,
    /// Its group ID.
    pub gid: u64,
    /// How many bytes of contents follow, and then zeros to a multiple of 512.
    pub size: u64,
    /// Major and minor number of a device.
    pub device: (u32, u32),
    /// Its PAX records.
    pub records: BTreeMap<Vec<u8>, Vec<u8>>,
    /// How it is written.
    pub format: Format,
}

/// The next entry; `None` at the tar's end. Contents of the entry before must have been read.
///
/// Fails with `InvalidData` for what is no tar, and with the errors of `reader`.
pub fn next_entry(reader: &mut impl Read) -> io::Result<Option<Entry>> {
    let mut extensions = Extensions::default();
    loop {
        let Some(header) = next_header(reader)? else {
            return if extensions == Extensions::default() {
                Ok(None)
            } else {
                Err(damaged("an extension without an entry"))
            };
        };
        let size = header.entry_size().map_err(|_| damaged("a size that is no number"))?;
        match header.as_bytes()[156] {
            b'x' => extensions.records = Some(pax_records(&extension(reader, size)?)?),
            b'g' => drop(extension(reader, size)?),
            b'L' => extensions.name = Some(until_nul(extension(reader, size)?)),
            b'K' => extensions.link = Some(until_nul(extension(reader, size)?)),
            flag => return entry(&header, flag, size, extensions).map(Some),
        }
    }
}

/// What entries in front of an entry say about it.
#[derive(Debug, Default, PartialEq)]
struct Extensions {
    records: Option<BTreeMap<Vec<u8>, Vec<u8>>>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

/// The next block that is a header; `None` at two blocks of zeros or the reader's end.
fn next_header(reader: &mut impl Read) -> io::Result<Option<tar::Header>> {
    let mut header = tar::Header::new_old();
    if !read_block(reader, header.as_mut_bytes())? {
        return Ok(None);
    }
    if header.as_bytes() == &[0; BLOCK] {
        let more = read_block(reader, header.as_mut_bytes())?;
        return if more && header.as_bytes() != &[0; BLOCK] {
            Err(damaged("a single block of zeros"))
        } else {
            Ok(None)
        };
    }
    let bytes = header.as_bytes();
    let sum: u32 = bytes[..148].iter().chain(b"        ").chain(&bytes[156..]).map(|&b| u32::from(b)).sum();
    match header.cksum() {
        Ok(expected) if expected == sum => Ok(Some(header)),
        _ => Err(damaged("a header with a wrong checksum")),
    }
}

/// Fills `block`; `false` if there is not a single byte left.
fn read_block(reader: &mut impl Read, block: &mut [u8; BLOCK]) -> io::Result<bool> {
    let mut filled = 0;
    while filled < BLOCK {
        match reader.read(&mut block[filled..]) {
            Ok(0) if filled == 0 => return Ok(false),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

fn extension(reader: &mut impl Read, size: u64) -> io::Result<Vec<u8>> {
    if size > EXTENSION_MAX {
        return Err(damaged("an extension of more than 1 MiB"));
    }
    let size = usize::try_from(size).expect("1 MiB fits");
    let mut bytes = vec![0; size + padding(size as u64)];
    reader.read_exact(&mut bytes)?;
    bytes.truncate(size);
    Ok(bytes)
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    bytes.truncate(end);
    bytes
}

/// Records of the form `length key=value\n`, where values may hold any byte.
fn pax_records(mut bytes: &[u8]) -> io::Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    let wrong = || damaged("a PAX record with a wrong form");
    let mut records = BTreeMap::new();
    while !bytes.is_empty() {
        let space = bytes.iter().take(20).position(|&byte| byte == b' ').ok_or_else(wrong)?;
        let length: usize = number(&bytes[..space]).ok_or_else(wrong)?;
        let record = bytes.get(space + 1..length).ok_or_else(wrong)?;
        let record = record.strip_suffix(b"\n").ok_or_else(wrong)?;
        let equals = record.iter().position(|&byte| byte == b'=').ok_or_else(wrong)?;
        let (key, value) = (&record[..equals], &record[equals + 1..]);
        let text = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname");
        if key.is_empty() || key.contains(&0) || (text && value.contains(&0)) {
            return Err(wrong());
        }
        records.insert(key.to_vec(), value.to_vec());
        bytes = &bytes[length..];
    }
    Ok(records)
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    let plain = digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| plain)?.parse().ok()
}

fn entry(header: &tar::Header, flag: u8, size: u64, extensions: Extensions) -> io::Result<Entry> {
    let format = match (&extensions.records, header.as_gnu()) {
        (Some(_), _) => Format::Pax,
        (None, Some(_)) => Format::Gnu,
        (None, None) => Format::Any,
    };
    let records = extensions.records.unwrap_or_default();
    let record = |key: &[u8]| records.get(key).filter(|value| !value.is_empty());
    let numeric = |key: &[u8], field: io::Result<u64>| match record(key) {
        Some(value) => number(value).ok_or_else(|| damaged("a PAX record that is no number")),
        None => field.map_err(|_| damaged("a field that is no number")),
    };
    // As in Go, nothing is zero: some tools leave out what they do not know.
    let is_blank = |field: Range<usize>| header.as_bytes()[field].iter().all(|byte| matches!(byte, 0 | b' '));
    let or_zero = |field: Range<usize>, value: io::Result<u64>| if is_blank(field) { Ok(0) } else { value };
    let mode = if is_blank(100..108) { Ok(0) } else { header.mode() };
    let name = record(b"path").cloned().or(extensions.name);
    let link = record(b"linkpath").cloned().or(extensions.link);
    let name = name.unwrap_or_else(|| header.path_bytes().into_owned());
    let flag = match flag {
        0 if name.ends_with(b"/") => b'5',
        0 => b'0',
        flag => flag,
    };
    let size = numeric(b"size", Ok(size))?;
    let device = |number: io::Result<Option<u32>>| number.ok().flatten().unwrap_or(0);
    Ok(Entry {
        flag,
        name,
        link: link.unwrap_or_else(|| header.link_name_bytes().map_or_else(Vec::new, Into::into)),
        mode: mode.map_err(|_| damaged("a mode that is no number"))?,
        uid: numeric(b"uid", or_zero(108..116, header.uid()))?,
        gid: numeric(b"gid", or_zero(116..124, header.gid()))?,
        size: if (b'1'..=b'6').contains(&flag) { 0 } else { size },
        device: (device(header.device_major()), device(header.device_minor())),
        records,
        format,
    })
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::header::{END, Header, Kind, MTIME};
    use proptest::prelude::*;

    const KINDS: [Kind; 7] = [
        Kind::File,
        Kind::HardLink,
        Kind::Symlink,
        Kind::CharDevice,
        Kind::BlockDevice,
        Kind::Dir,
        Kind::Fifo,
    ];

    fn name() -> impl Strategy<Value = Vec<u8>> {
        let bytes = prop_oneof![Just(b'/'), Just(b'\n'), Just(b'='), 1..=255_u8, b'a'..=b'z'];
        prop_oneof![
            proptest::collection::vec(bytes, 1..300),
            "[a-z/]{90,110}|[a-z]{1,4}(/[a-z]{1,60}){1,6}".prop_map(String::into_bytes),
        ]
    }

    fn format() -> impl Strategy<Value = Format> {
        prop_oneof![Just(Format::Any), Just(Format::Pax), Just(Format::Gnu)]
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            (name, link) in (name(), name()),
            (kind, mode, format) in (0..KINDS.len(), 0..0o10000_u32, format()),
            (uid, gid, size) in (0..1_u64 << 40, 0..1_u64 << 22, 0..1_u64 << 40),
            records in proptest::collection::btree_map("[a-z.]{1,9}X".prop_map(String::into_bytes), name(), 0..3),
        ) {
            let kind = KINDS[kind];
            let size = if kind == Kind::File { size } else { 0 };
            let records = if format == Format::Pax { records } else { BTreeMap::new() };
            let header = Header { link: &link, uid, gid, size, format, records, ..Header::new(kind, &name, mode) };
            let mut tar = Vec::new();
            header.encode(&mut tar);
            let length = tar.len();
            tar.extend_from_slice(&END);
            let mut reader = tar.as_slice();
            let entry = next_entry(&mut reader).expect("a tar").expect("an entry");
            prop_assert_eq!(reader.len(), END.len());
            prop_assert_eq!((&entry.name, &entry.link), (&name, &link));
            prop_assert_eq!((entry.flag, entry.mode, entry.uid, entry.gid, entry.size), (kind as u8, mode, uid, gid, size));
            for (key, value) in &header.records {
                prop_assert_eq!(entry.records.get(key), Some(value));
            }
            // What was read is written again with the same bytes.
            let again = Header { format: entry.format, records: entry.records, ..header.clone() };
            let mut tar_again = Vec::new();
            again.encode(&mut tar_again);
            prop_assert!(tar_again == tar[..length]);
            // An independent reader, which does not know line breaks in records.
            if !name.contains(&b'\n') && !link.contains(&b'\n') && header.records.is_empty() {
                let mut archive = tar::Archive::new(tar.as_slice());
                let entry = archive.entries().expect("a tar").next().expect("an entry").expect("readable");
                prop_assert_eq!(entry.path_bytes().into_owned(), name.clone());
                prop_assert_eq!(entry.link_name_bytes().expect("a link").into_owned(), link.clone());
                prop_assert_eq!((entry.header().uid().ok(), entry.header().gid().ok()), (Some(uid), Some(gid)));
                prop_assert_eq!((entry.size(), entry.header().mtime().ok()), (size, Some(MTIME)));
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let mut reader = bytes.as_slice();
            while let Ok(Some(_)) = next_entry(&mut reader) {}
        }

        #[test]
        fn any_header_with_a_right_checksum_is_read_or_refused(
            changes in proptest::collection::vec((0_usize..1600, any::<u8>()), 0..12),
        ) {
            let mut tar = Vec::new();
            Header::new(Kind::File, &[b'n'; 200], 0o644).encode(&mut tar);
            for (at, byte) in changes {
                let at = at % tar.len();
                tar[at] = byte;
            }
            for block in tar.chunks_mut(BLOCK) {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
                block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            }
            let mut reader = tar.as_slice();
            while let Ok(Some(_)) = next_entry(&mut reader) {}
        }
    }

    #[test]
    fn an_extension_may_not_be_long_nor_stand_alone() {
        let mut tar = Vec::new();
        Header::new(Kind::File, &vec![b'n'; (1 << 20) + 1], 0o644).encode(&mut tar);
        let error = next_entry(&mut tar.as_slice()).expect_err("it is too long");
        assert_eq!(error.to_string(), "an extension of more than 1 MiB");
        let mut tar = Vec::new();
        Header::new(Kind::File, &[b'n'; 300], 0o644).encode(&mut tar);
        let header = tar.len() - BLOCK;
        let error = next_entry(&mut &tar[..header]).expect_err("there is no entry");
        assert_eq!(error.to_string(), "an extension without an entry");
    }

    #[test]
    fn numbers_that_are_left_out_are_zero() {
        for blank in [0, b' '] {
            let mut header = tar::Header::new_ustar();
            header.set_path("name").expect("short");
            header.set_size(0);
            header.as_mut_bytes()[100..124].fill(blank);
            header.set_cksum();
            let entry = next_entry(&mut header.as_bytes().as_slice()).expect("a tar").expect("an entry");
            assert_eq!((entry.mode, entry.uid, entry.gid), (0, 0, 0));
        }
    }

    #[test]
    fn a_tar_ends_with_two_blocks_of_zeros_or_with_its_file() {
        assert_eq!(next_entry(&mut [0; 1024].as_slice()).expect("a tar"), None);
        assert_eq!(next_entry(&mut [0; 512].as_slice()).expect("a tar"), None);
        assert_eq!(next_entry(&mut [].as_slice()).expect("a tar"), None);
        let one = [[0; 512], [1; 512]].concat();
        assert!(next_entry(&mut one.as_slice()).is_err());
        assert!(next_entry(&mut [0; 100].as_slice()).is_err());
    }
}
