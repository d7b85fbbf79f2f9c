//! Paths of WORKDIR and of destinations, as text: nothing is looked up.

/// Makes a path absolute and removes `.`, `..`, doubled and final slashes.
pub(crate) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// Joins a new working directory to the one before; an absolute one is kept as it is written, as
/// BuildKit keeps it.
pub(super) fn workdir(current: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { clean(&format!("{current}/{path}")) }
}

/// Makes a destination absolute and clean. A final `/` or `/.` is kept: it says that the destination is
/// a directory.
pub(super) fn destination(workdir: &str, path: &str) -> String {
    let path = if matches!(path, "" | ".") { "./" } else { path };
    let absolute = if path.starts_with('/') { clean(path) } else { clean(&format!("{workdir}/{path}")) };
    let slash = if absolute == "/" { "" } else { "/" };
    if path.ends_with("/.") {
        format!("{absolute}{slash}.")
    } else if path.ends_with('/') {
        format!("{absolute}{slash}")
    } else {
        absolute
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn working_directories_are_joined() {
        for (current, path, expected) in [
            ("", "test", "/test"),
            ("", "/abs", "/abs"),
            ("/test", "sub", "/test/sub"),
            ("/test", "../sub", "/sub"),
            ("/test", "/current/", "/current/"),
            ("test", "current", "/test/current"),
            ("/test", "", "/test"),
            ("/", "../..", "/"),
        ] {
            assert_eq!(workdir(current, path), expected, "{current} {path}");
        }
    }

    #[test]
    fn destinations_keep_what_says_directory() {
        for (current, path, expected) in [
            ("/w", "a", "/w/a"),
            ("/w", "a/", "/w/a/"),
            ("/w", ".", "/w/"),
            ("/w", "./", "/w/"),
            ("/w", "", "/w/"),
            ("/w", "a/.", "/w/a/."),
            ("/w", "/a/../b//c", "/b/c"),
            ("/w", "../../x/", "/x/"),
            ("/w", "/", "/"),
            ("", ".", "/"),
            ("", "/.", "/."),
            ("", "x", "/x"),
        ] {
            assert_eq!(destination(current, path), expected, "{current} {path}");
        }
    }
}
