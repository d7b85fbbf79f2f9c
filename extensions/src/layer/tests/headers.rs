//! Headers against the bytes of Go's writer, and against the reader.

use std::ffi::CString;

use proptest::prelude::*;

use super::*;
use EntryKind::{BlockDevice, CharDevice, Directory, Fifo, File, HardLink, Symlink};

const GOLDEN: &[u8] = include_bytes!("../../../../fixtures/golden/tar/headers.tar");

fn n(count: usize) -> String {
    "n".repeat(count)
}

fn owned(path: &str, uid: u32, gid: u32) -> TarHeader {
    TarHeader { uid, gid, ..plain(path) }
}

fn plain(path: impl Into<Vec<u8>>) -> TarHeader {
    TarHeader::new(path, File, 0)
}

fn linked(path: &str, kind: EntryKind, mode: u32, target: &str) -> TarHeader {
    TarHeader { link: target.into(), ..TarHeader::new(path, kind, mode) }
}

fn device(path: &str, kind: EntryKind, mode: u32, device: (u32, u32)) -> TarHeader {
    TarHeader { device, ..TarHeader::new(path, kind, mode) }
}

fn with(mut header: TarHeader, name: &str, value: &[u8]) -> TarHeader {
    let name = CString::new(name).expect("a name");
    header.xattrs.insert(name, value.to_vec());
    header
}

/// The entries of `fixtures/golden/tar/headers.go`, in its order.
fn golden_entries() -> Vec<TarHeader> {
    let capability = b"\x01\x00\x00\x02 \0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let mut list = vec![
        TarHeader::new("etc/", Directory, 0o755),
        TarHeader { size: 5, mode: 0o4644, ..owned("etc/passwd", 1000, 1001) },
        plain("etc/.wh.gone"),
        linked("link", Symlink, 0o777, "/etc/passwd"),
        linked("hard", HardLink, 0o644, "etc/passwd"),
        device("dev/null", CharDevice, 0o666, (1, 3)),
        device("dev/sda", BlockDevice, 0o660, (8, 2_097_151)),
        TarHeader::new("fifo", Fifo, 0o600),
        plain(n(100)),
        plain(n(101)),
        plain(format!("{}/{}", n(80), n(100))),
        plain(format!("{}/{}", n(155), n(100))),
        plain(format!("{}/{}", n(156), n(100))),
        plain(format!("a/{}/{}/b", n(120), n(120))),
        TarHeader::new(format!("{}/{}/", n(60), n(60)), Directory, 0),
        TarHeader::new(format!("{}/", n(160)), Directory, 0),
        TarHeader::new(format!("{}/x/", n(99)), Directory, 0),
        plain(format!("{}/{}", n(99), n(200))),
        plain("umlaut-\u{e4}/\u{f6}"),
        plain(b"bytes-\xff\xfe/x".to_vec()),
        plain(format!("/absolute/{}/\u{e4}", n(150))),
        linked("l1", Symlink, 0, &n(100)),
        linked("l2", Symlink, 0, &n(101)),
        linked("l3", Symlink, 0, "\u{e4}"),
        linked(&format!("{}/{}", n(60), n(60)), Symlink, 0, "\u{e4}"),
        owned("ids", 2_097_151, 2_097_152),
        owned("ids2", 3_000_000, 4_294_967_294),
        with(
            with(TarHeader::new("x/", Directory, 0o1777), "user.b", b"2\n\0"),
            "security.capability",
            capability,
        ),
    ];
    for (number, len) in [75, 76, 77, 78, 974, 975, 976].into_iter().enumerate() {
        let name = format!("r{}", number + 1);
        list.push(with(plain(name), "user.a", n(len).as_bytes()));
    }
    list.push(plain(format!("./odd/../dots/{}", n(100))));
    for header in &mut list {
        header.mtime = EPOCH_SECONDS;
    }
    for (name, mtime) in [("old", -1), ("future", 8_589_934_592)] {
        list.push(TarHeader { mtime, ..plain(name) });
    }
    list.push(TarHeader { size: 8_589_934_592, mtime: EPOCH_SECONDS, ..plain("huge") });
    list
}

#[test]
fn headers_are_the_bytes_that_go_writes() {
    let mut rest = GOLDEN;
    for header in golden_entries() {
        let mut bytes = Vec::new();
        header.encode(&mut bytes).expect("encode");
        if header.size == 5 {
            bytes.extend_from_slice(b"12345");
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        let (expected, next) = rest.split_at(bytes.len().min(rest.len()));
        let path = String::from_utf8_lossy(&header.path).into_owned();
        assert!(bytes == expected, "{path}:\n{}\n{}", shown(&bytes), shown(expected));
        rest = next;
    }
    assert!(rest.is_empty());
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', ".")
}

#[test]
fn headers_that_go_writes_are_read() {
    let mut reader = TarReader::new(GOLDEN);
    for header in golden_entries() {
        let entry = reader.next_entry().expect("read").expect("an entry");
        check_read(&header, &entry);
    }
}

fn check_read(header: &TarHeader, entry: &TarEntry) {
    use std::os::unix::ffi::OsStrExt as _;
    assert_eq!(entry.path.as_os_str().as_bytes(), header.path);
    assert_eq!(entry.link.as_os_str().as_bytes(), header.link);
    assert_eq!(entry.kind, header.kind);
    assert_eq!(entry.mode, header.mode);
    assert_eq!((entry.uid, entry.gid), (header.uid, header.gid));
    assert_eq!((entry.size, entry.mtime), (header.size, (header.mtime, 0)));
    assert_eq!((entry.device, &entry.xattrs), (header.device, &header.xattrs));
}

#[test]
fn what_no_header_can_hold_is_an_error() {
    let fails = |header: TarHeader| header.encode(&mut Vec::new()).expect_err("an error");
    assert!(matches!(fails(plain("a\0b")), HeaderError::ZeroByte(_)));
    let big = device("dev/x", CharDevice, 0, (1, 2_097_152));
    assert_eq!(fails(big), HeaderError::Device(1, 2_097_152));
    let odd = with(plain("a"), "user.a=b", b"");
    assert!(matches!(fails(odd), HeaderError::Attribute(_)));
}

#[test]
fn archives_of_other_tools_are_read() {
    // What `tar --format=v7`, `--format=oldgnu` and `--format=posix` say of a long name.
    let temp = tempfile::tempdir().expect("temp dir");
    let long = n(120);
    std::fs::write(temp.path().join(&long), "content").expect("write");
    std::fs::write(temp.path().join("short"), "x").expect("write");
    for (format, name) in [("v7", "short"), ("oldgnu", &long), ("gnu", &long), ("posix", &long)] {
        let output = std::process::Command::new("tar")
            .arg("-C")
            .arg(temp.path())
            .args(["-c", "--format", format, name])
            .output();
        let Ok(output) = output.map(|output| output.stdout) else {
            return crate::testing::skipped("archives_of_other_tools_are_read", "there is no tar");
        };
        let read = entries(&output);
        assert_eq!(read.len(), 1, "{format}");
        assert_eq!(read[0].path, Path::new(name));
    }
}

#[test]
fn a_header_that_claims_too_much_is_refused() {
    let mut header = TarHeader::new("x", File, 0);
    header.size = 8 << 20;
    let mut tar = Vec::new();
    header.encode(&mut tar).expect("encode");
    for flag in [b'x', b'g', b'L', b'K'] {
        let mut tar = tar.clone();
        tar[156] = flag;
        fix_checksum(&mut tar);
        let found = TarReader::new(&tar[..]).next_entry();
        assert!(matches!(found, Err(ReadError::TooLong(_))), "{found:?}");
    }
    let mut tar = tar_of(&[(TarHeader::new("x", File, 0), b"")]);
    tar[156] = b'M';
    fix_checksum(&mut tar);
    let found = TarReader::new(&tar[..]).next_entry();
    assert!(matches!(found, Err(ReadError::Unsupported { kind: 'M', .. })));
    tar[0] = b'y';
    let found = TarReader::new(&tar[..]).next_entry();
    assert!(matches!(found, Err(ReadError::Broken(0))));
}

#[test]
fn sparse_files_of_other_tools_are_read_with_their_holes() {
    let temp = tempfile::tempdir().expect("temp dir");
    let file = std::fs::File::create(temp.path().join("holes")).expect("create");
    for part in 1..40_u64 {
        let data = format!("part {part}");
        std::os::unix::fs::FileExt::write_all_at(&file, data.as_bytes(), part * 8192 + part).expect("write");
    }
    file.set_len(400_000).expect("grow");
    let content = std::fs::read(temp.path().join("holes")).expect("read");
    for arguments in [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ] {
        let output = std::process::Command::new("tar")
            .arg("-C")
            .arg(temp.path())
            .args(arguments)
            // Twice: what follows a sparse file must be found.
            .args(["-cS", "--hard-dereference", "holes", "./holes"])
            .output();
        let Ok(output) = output.map(|output| output.stdout) else {
            let name = "sparse_files_of_other_tools_are_read_with_their_holes";
            return crate::testing::skipped(name, "there is no tar");
        };
        assert!(output.len() < content.len(), "{arguments:?}: it is sparse");
        let mut reader = TarReader::new(&output[..]);
        for name in ["holes", "./holes"] {
            let entry = reader.next_entry().expect("read").expect("an entry");
            assert_eq!((entry.path.to_str(), entry.size), (Some(name), 400_000), "{arguments:?}");
            let mut read = Vec::new();
            std::io::Read::read_to_end(&mut reader, &mut read).expect("read");
            assert!(read == content, "{arguments:?}");
        }
        assert!(reader.next_entry().expect("read").is_none());
        // Broken maps are errors, not more.
        for at in (0..output.len()).step_by(37) {
            let mut broken = output.clone();
            broken[at] ^= 0x15;
            for block in broken
                .chunks_mut(512)
                .filter(|block| block.len() == 512 && block[257..].starts_with(b"ustar"))
            {
                fix_checksum(block);
            }
            let mut reader = TarReader::new(&broken[..]);
            while let Ok(Some(entry)) = reader.next_entry() {
                let limit = entry.size.min(1 << 20);
                drop(std::io::copy(&mut std::io::Read::take(&mut reader, limit), &mut std::io::sink()));
            }
        }
    }
}

fn fix_checksum(tar: &mut [u8]) {
    tar[148..156].fill(b' ');
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn any_header() -> impl Strategy<Value = TarHeader> {
    let kinds = prop_oneof![Just(File), Just(Symlink), Just(HardLink), Just(Directory), Just(Fifo)];
    let path = proptest::collection::vec(1..=255_u8, 1..300);
    let ids = (any::<u32>(), any::<u32>(), any::<i64>(), 0..0o10000_u32);
    let xattrs = proptest::collection::btree_map("user\\.[a-z]{1,80}", any::<Vec<u8>>(), 0..3);
    (path.clone(), kinds, path, ids, xattrs).prop_map(|(path, kind, link, ids, xattrs)| {
        let (uid, gid, mtime, mode) = ids;
        let mut header = TarHeader::new(path, kind, mode);
        if matches!(kind, Symlink | HardLink) {
            header.link = link;
        } else if kind == File && header.path.ends_with(b"/") {
            // A file's name cannot end so: that means a directory.
            header.path.push(b'x');
        }
        (header.uid, header.gid, header.mtime) = (uid, gid, mtime);
        for (name, value) in xattrs {
            header = with(header, &name, &value);
        }
        header
    })
}

proptest! {
    #[test]
    fn every_header_reads_back(header in any_header()) {
        let mut tar = Vec::new();
        header.encode(&mut tar).expect("encode");
        prop_assert_eq!(tar.len() % 512, 0);
        let entry = TarReader::new(&tar[..]).next_entry().expect("read").expect("an entry");
        check_read(&header, &entry);
    }

    #[test]
    fn no_bytes_make_the_reader_fail_badly(
        mut bytes in proptest::collection::vec(any::<u8>(), 0..2048),
        header in any_header(),
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
    ) {
        let mut tar = Vec::new();
        header.encode(&mut tar).expect("encode");
        for (index, byte) in flips {
            let at = index.index(tar.len());
            tar[at] = byte;
        }
        for block in tar.chunks_mut(512).filter(|block| block.len() == 512) {
            fix_checksum(block);
        }
        tar.append(&mut bytes);
        let mut reader = TarReader::new(&tar[..]);
        while let Ok(Some(_)) = reader.next_entry() {}
    }
}
