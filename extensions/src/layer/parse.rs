//! The fields of a tar header block, and the records of a PAX one.

use super::EntryKind;

pub(super) const BLOCK: usize = 512;

/// The fields of one header block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) path: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) flag: u8,
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) size: u64,
    pub(super) mtime: i64,
    pub(super) device: (u32, u32),
}

/// Reads a header block. `None` if its checksum or a number in it is wrong.
pub(super) fn fields(block: &[u8; BLOCK]) -> Option<Fields> {
    let (unsigned, signed) = checksums(block);
    let sum = number(&block[148..156])?;
    if sum != unsigned && sum != signed {
        return None;
    }
    let magic = &block[257..263];
    let mut path = text(&block[..100]).to_vec();
    // GNU's magic has a space there, and times where the prefix would be.
    if magic == b"ustar\0" {
        let star = &block[508..512] == b"tar\0";
        let prefix = text(&block[345..if star { 476 } else { 500 }]);
        if !prefix.is_empty() {
            path = [prefix, &path].join(&b'/');
        }
    }
    let device = if magic.starts_with(b"ustar") {
        let part = |range| u32::try_from(number(&block[range])?).ok();
        (part(329..337)?, part(337..345)?)
    } else {
        (0, 0)
    };
    Some(Fields {
        path,
        link: text(&block[157..257]).to_vec(),
        flag: block[156],
        mode: u32::try_from(number(&block[100..108])? & 0o7777).ok()?,
        uid: number(&block[108..116])?.try_into().ok()?,
        gid: number(&block[116..124])?.try_into().ok()?,
        size: number(&block[124..136])?.try_into().ok()?,
        mtime: number(&block[136..148])?,
        device,
    })
}

/// What kind of file a type flag stands for. `None` if it is not supported.
pub(super) fn kind(flag: u8, path: &[u8]) -> Option<EntryKind> {
    Some(match flag {
        // Before USTAR a directory was a file whose name ends in a slash.
        0 | b'0' if path.ends_with(b"/") => EntryKind::Directory,
        0 | b'0' | b'7' | b'S' => EntryKind::File,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'3' => EntryKind::CharDevice,
        b'4' => EntryKind::BlockDevice,
        b'5' => EntryKind::Directory,
        b'6' => EntryKind::Fifo,
        _ => return None,
    })
}

/// One PAX record: its key and value.
pub(super) type Record<'b> = (&'b str, &'b [u8]);

/// Reads PAX records: `length key=value`, the length counting itself and a final newline. `None` if
/// one is broken.
pub(super) fn records(mut bytes: &[u8]) -> Option<Vec<Record<'_>>> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ')?;
        let len: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
        let record = bytes.get(space + 1..len)?.strip_suffix(b"\n")?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        let key = std::str::from_utf8(&record[..equals]).ok()?;
        records.push((key, &record[equals + 1..]));
        bytes = &bytes[len..];
    }
    Some(records)
}

/// Reads a PAX time: decimal seconds. Digits beyond nanoseconds are cut.
pub(super) fn time(value: &[u8]) -> Option<(i64, u32)> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.chars().chain(std::iter::repeat('0')).take(9);
    let nanoseconds: u32 = digits.collect::<String>().parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some((seconds.checked_sub(1)?, 1_000_000_000 - nanoseconds));
    }
    Some((seconds, nanoseconds))
}

/// Reads a field of octal digits, or GNU's binary form. Blank is 0.
pub(super) fn number(field: &[u8]) -> Option<i64> {
    let first = *field.first()?;
    if first & 0x80 != 0 {
        return binary(field);
    }
    let blank = |byte: &u8| matches!(byte, 0 | b' ');
    let Some(start) = field.iter().position(|byte| !blank(byte)) else {
        return Some(0);
    };
    let digits = &field[start..];
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    i64::from_str_radix(std::str::from_utf8(&digits[..end]).ok()?, 8).ok().filter(|number| *number >= 0)
}

/// Two's complement, but for the first bit, which marks the form.
fn binary(field: &[u8]) -> Option<i64> {
    let negative = field[0] & 0x40 != 0;
    let first = if negative { field[0] } else { field[0] & 0x7f };
    let mut value: i128 = if negative { -1 } else { 0 };
    for byte in std::iter::once(&first).chain(&field[1..]) {
        value = value << 8 | i128::from(*byte);
    }
    value.try_into().ok()
}

/// The sum of the block's bytes with the field itself as spaces, of bytes without and with a sign:
/// old writers took them as they came.
fn checksums(block: &[u8; BLOCK]) -> (i64, i64) {
    let mut sums = (0, 0);
    for (index, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&index) { b' ' } else { *byte };
        sums.0 += i64::from(byte);
        sums.1 += i64::from(byte.cast_signed());
    }
    sums
}

fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0);
    &field[..end.unwrap_or(field.len())]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary_and_blank_is_zero() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"    644 "), Some(0o644));
        assert_eq!(number(&[0; 8]), Some(0));
        assert_eq!(number(b"77777777"), Some(0o7777_7777));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0x2d, 0xc6, 0xc0]), Some(3_000_000));
        assert_eq!(number(&[0xff; 12]), Some(-1));
        assert_eq!(number(b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), None);
        assert_eq!(number(b"12x4567\0"), None);
        assert_eq!(number(b"-000001\0"), None);
    }

    #[test]
    fn record_values_may_hold_newlines() {
        let bytes = b"13 a=b\nc=\n d\n6 e=f\n";
        assert_eq!(records(bytes), Some(vec![("a", &b"b\nc=\n d"[..]), ("e", b"f")]));
        for broken in [&b"5 a=b\n"[..], b"60 a=b\n", b"6 a=b ", b"x a=b\n", b"0 a=b\n", b"2 a=b\n"] {
            assert_eq!(records(broken), None, "{broken:?}");
        }
    }

    #[test]
    fn times_before_1970_have_nanoseconds_that_count_up() {
        assert_eq!(time(b"1"), Some((1, 0)));
        assert_eq!(time(b"1.5"), Some((1, 500_000_000)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"-0.5"), Some((-1, 500_000_000)));
        assert_eq!(time(b"1.1234567899"), Some((1, 123_456_789)));
        assert_eq!(time(b"1.x"), None);
        assert_eq!(time(b"-9223372036854775808.5"), None);
    }
}
