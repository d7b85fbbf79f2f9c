//! Applications divided by patterns, beside the reference implementation's steps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::layers::read::next_entry;
use crate::layers::tar::LayerSource;

/// An application with these files; a name with a final slash is an empty directory.
fn app(files: &[&str]) -> TempDir {
    let temp = tempfile::tempdir().expect("a temporary directory");
    for file in files {
        let path = temp.path().join(file);
        fs::create_dir_all(path.parent().expect("a parent")).expect("create");
        if file.ends_with('/') {
            fs::create_dir_all(&path).expect("create");
        } else {
            fs::write(&path, file).expect("write");
        }
    }
    temp
}

fn tree(path: PathBuf) -> Arc<Tree> {
    let owner = Owner { uid: 1, gid: 1 };
    Arc::new(Tree { path, name: "/workspace".into(), parents: Vec::new(), owner })
}

/// The names in a slice's tar, relative to the application, `.` for itself.
fn names(slice: Slice) -> Vec<String> {
    let source = LayerSource::Slice(Arc::new(slice));
    let mut stream = source.open().expect("open");
    let mut names = Vec::new();
    while let Some(entry) = next_entry(&mut stream).expect("a tar") {
        let name = String::from_utf8(entry.name).expect("text");
        names.push(match name.strip_prefix("/workspace/") {
            Some(name) => name.to_owned(),
            None => ".".to_owned(),
        });
        let padded = entry.size.next_multiple_of(512);
        std::io::copy(&mut stream.by_ref().take(padded), &mut std::io::sink()).expect("contents");
    }
    names
}

fn sliced(app: &TempDir, slices: &[&[&str]]) -> Vec<Vec<String>> {
    let slices: Vec<Vec<String>> =
        slices.iter().map(|globs| globs.iter().map(ToString::to_string).collect()).collect();
    let parts = divide(&tree(app.path().to_owned()), &slices).expect("the patterns are valid");
    parts.into_iter().map(names).collect()
}

#[track_caller]
fn check(files: &[&str], slices: &[&[&str]], expected: &[&[&str]]) {
    assert_eq!(sliced(&app(files), slices), expected, "{slices:?}");
}

#[test]
fn each_slice_is_a_part_and_the_rest_is_the_last() {
    check(&["a", "b", "c/d"], &[], &[&[".", "a", "b", "c", "c/d"]]);
    check(&["a", "b", "c/d"], &[&["a"], &["b"]], &[&[".", "a"], &[".", "b"], &[".", "c", "c/d"]]);
    check(&["a", "b"], &[&["*"]], &[&[".", "a", "b"], &[]]);
    check(&[], &[&["*"]], &[&[], &["."]]);
}

#[test]
fn a_directory_is_taken_with_all_below_it_and_gone_for_later_slices() {
    let files = ["d/e/f", "d/e/g", "d/h", "i"];
    check(
        &files,
        &[&["d/e"], &["d/*"]],
        &[&[".", "d", "d/e", "d/e/f", "d/e/g"], &[".", "d", "d/h"], &[".", "i"]],
    );
    check(
        &files,
        &[&["d/e/f"], &["d"]],
        &[&[".", "d", "d/e", "d/e/f"], &[".", "d", "d/e", "d/e/g", "d/h"], &[".", "i"]],
    );
    check(&files, &[&["d/e", "d/e/f", "d"]], &[&[".", "d", "d/e", "d/e/f", "d/e/g", "d/h"], &[".", "i"]]);
}

#[test]
fn patterns_that_match_nothing_make_empty_parts() {
    for pattern in ["x", "../a", "..", ".", "", "/", "/workspace", "/workspace2/a", "/etc/*", "a/b", "**/f"] {
        check(&["a", "d/e/f"], &[&[pattern]], &[&[], &[".", "a", "d", "d/e", "d/e/f"]]);
    }
}

#[test]
fn patterns_are_relative_or_absolute_and_cleaned() {
    let rest = [".", "d", "d/e", "d/e/f"];
    for pattern in ["a", "./a", "a/", "d/../a", "/workspace/a", "/workspace//d/../a", "/work*/a", "[a]", "?"]
    {
        let expected: &[&[&str]] =
            if pattern == "?" { &[&[".", "a", "d", "d/e", "d/e/f"], &[]] } else { &[&[".", "a"], &rest] };
        check(&["a", "d/e/f"], &[&[pattern]], expected);
    }
    check(&["a", "d/e/f"], &[&["/workspace/d/*/f"]], &[&[".", "d", "d/e", "d/e/f"], &[".", "a"]]);
    check(&["a", "d/e/f"], &[&["d[^x]e"]], &[&[".", "d", "d/e", "d/e/f"], &[".", "a"]]);
    check(&["a*", "ab"], &[&["a\\*"]], &[&[".", "a*"], &[".", "ab"]]);
}

#[test]
fn a_wrong_pattern_is_an_error() {
    for pattern in ["[", "a[", "[]", "a\\", "/workspace/[a"] {
        let error = divide(&tree(app(&[]).path().to_owned()), &[vec![pattern.to_owned()]]);
        assert!(matches!(error, Err(SliceError::Pattern(text)) if text == pattern));
    }
}

#[test]
fn entries_are_in_the_order_of_their_whole_paths() {
    let files = ["a/x", "a-b/y", "a.b", "a/", "a0"];
    let expected: &[&str] = &[".", "a", "a-b", "a-b/y", "a.b", "a/x", "a0"];
    check(&files, &[], &[expected]);
    check(&files, &[&["no"]], &[&[], expected]);
}

#[test]
fn links_are_taken_and_not_followed() {
    let app = app(&["d/f"]);
    symlink("d", app.path().join("l")).expect("link");
    assert_eq!(sliced(&app, &[&["l/*"], &["l"]]), [&[][..], &[".", "l"], &[".", "d", "d/f"]]);
}

#[test]
fn a_file_that_is_gone_or_became_a_link_is_an_error() {
    let app = app(&["d/f", "d/g"]);
    let parts = divide(&tree(app.path().to_owned()), &[vec!["d".to_owned()]]).expect("valid");
    fs::rename(app.path().join("d"), app.path().join("e")).expect("rename");
    symlink("e", app.path().join("d")).expect("link");
    let source = LayerSource::Slice(Arc::new(parts.into_iter().next().expect("a part")));
    let error = std::io::copy(&mut source.open().expect("open"), &mut std::io::sink());
    assert!(error.expect_err("d is a link now").to_string().contains("/d/f"));
}

/// The reference implementation's steps, on sets of paths.
fn reference(paths: &BTreeSet<String>, slices: &[Vec<String>]) -> Vec<BTreeSet<String>> {
    let mut taken: BTreeMap<&str, bool> = paths.iter().map(|path| (path.as_str(), false)).collect();
    let below = |dir: &str, path: &str| {
        dir == "." || path.strip_prefix(dir).is_some_and(|rest| rest.starts_with('/'))
    };
    let children = |dir: &str| -> Vec<&str> {
        let child = |path: &&String| parent(path) == Some(dir);
        paths.iter().filter(child).map(String::as_str).collect()
    };
    let mut parts = Vec::new();
    for globs in slices {
        let mut part = BTreeSet::new();
        for glob in globs {
            let pattern = Pattern::parse(&String::from_utf8(path::clean(glob.as_bytes())).expect("text"));
            let pattern = pattern.expect("the pattern is valid");
            for path in paths.iter().filter(|path| *path != "." && pattern.matches(path.as_bytes())) {
                if !taken[path.as_str()] {
                    let whole = paths.iter().filter(|other| *other == path || below(path, other));
                    for other in whole {
                        if !std::mem::replace(taken.get_mut(other.as_str()).expect("a path"), true) {
                            part.insert(other.clone());
                        }
                    }
                }
            }
        }
        let above: BTreeSet<String> = part
            .iter()
            .flat_map(|path| std::iter::successors(parent(path), |above| parent(above)))
            .filter(|above| !part.contains(*above))
            .map(str::to_owned)
            .collect();
        let mut deepest_first: Vec<&String> = above.iter().collect();
        deepest_first
            .sort_by_key(|dir| std::cmp::Reverse(if *dir == "." { 0 } else { dir.split('/').count() }));
        for dir in deepest_first {
            let all = children(dir).iter().all(|child| taken[child]);
            *taken.get_mut(dir.as_str()).expect("a path") = all;
        }
        part.extend(above);
        parts.push(part);
    }
    parts.push(taken.iter().filter(|(_, taken)| !**taken).map(|(path, _)| (*path).to_owned()).collect());
    parts
}

fn parent(path: &str) -> Option<&str> {
    if path == "." { None } else { Some(path.rsplit_once('/').map_or(".", |(dir, _)| dir)) }
}

proptest! {
    #[test]
    fn any_application_is_divided_as_by_the_reference_implementation(
        files in proptest::collection::vec("[ab-]{1,2}(/[ab-]{1,2}){0,3}/?", 0..12),
        slices in proptest::collection::vec(proptest::collection::vec("[ab*?-]{1,2}(/[ab*?-]{1,2}){0,2}", 1..3), 1..4),
    ) {
        let temp = tempfile::tempdir().expect("a temporary directory");
        for file in &files {
            let path = temp.path().join(file);
            // Where a directory is needed and a file is, the later one is left out.
            if fs::create_dir_all(path.parent().expect("a parent")).is_ok() && !path.exists() {
                let _ = if file.ends_with('/') { fs::create_dir(&path) } else { fs::write(&path, "") };
            }
        }
        let entries = walkdir::WalkDir::new(temp.path()).into_iter().map(|entry| entry.expect("an entry"));
        let paths: BTreeSet<String> = entries
            .map(|entry| entry.path().strip_prefix(temp.path()).expect("below").display().to_string())
            .map(|path| if path.is_empty() { ".".to_owned() } else { path })
            .collect();
        let parts = divide(&tree(temp.path().to_owned()), &slices).expect("the patterns are valid");
        let found: Vec<Vec<String>> = parts.into_iter().map(names).collect();
        let sets: Vec<BTreeSet<String>> = found.iter().map(|names| names.iter().cloned().collect()).collect();
        prop_assert_eq!(&sets, &reference(&paths, &slices));
        for names in found {
            let mut sorted = names.clone();
            sorted.sort_by_key(|name| if name == "." { String::new() } else { name.clone() });
            prop_assert_eq!(names, sorted);
        }
    }
}
