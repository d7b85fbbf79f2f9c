//! Paths as bytes, without looking at any disk.

/// The shortest path that means the same, as Go's `path.Clean` finds it: no empty and no `.` parts,
/// `..` taken back where something stands before it, `.` for nothing.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            b".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&clean(path.as_bytes())), expected, "{path}");
    }

    #[test]
    fn empty_and_dot_parts_vanish() {
        check("", ".");
        check("a//b/./c/", "a/b/c");
        check("/", "/");
        check("///a/", "/a");
        check("./", ".");
    }

    #[test]
    fn parents_are_taken_back_where_they_can_be() {
        check("a/../b", "b");
        check("a/..", ".");
        check("../a", "../a");
        check("../../a/..", "../..");
        check("/../a", "/a");
        check("/a/../..", "/");
    }
}
