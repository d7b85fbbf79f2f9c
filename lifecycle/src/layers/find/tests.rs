//! Layers are written by another library and looked at as stacks, top first.

use super::*;
use proptest::prelude::*;

/// An entry: its name, what it is, and its mode.
#[derive(Debug, Clone)]
enum Is {
    File(&'static str),
    Dir,
    Symlink(&'static str),
    Link(&'static str),
}

fn tar(entries: &[(&str, Is, u32)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, is, mode) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(*mode);
        header.set_size(0);
        match is {
            Is::File(text) => {
                header.set_size(text.len() as u64);
                header.set_entry_type(tar::EntryType::Regular);
                tar.append_data(&mut header, name, text.as_bytes()).expect("memory");
            }
            Is::Dir => {
                header.set_entry_type(tar::EntryType::Directory);
                tar.append_data(&mut header, name, &[][..]).expect("memory");
            }
            Is::Symlink(to) | Is::Link(to) => {
                let kind =
                    if matches!(is, Is::Link(_)) { tar::EntryType::Link } else { tar::EntryType::Symlink };
                header.set_entry_type(kind);
                tar.append_link(&mut header, name, to).expect("memory");
            }
        }
    }
    tar.into_inner().expect("memory")
}

fn wanted(paths: &[&str]) -> BTreeSet<Path> {
    paths.iter().map(|path| path.as_bytes().to_vec()).collect()
}

/// The view of layers, top first.
fn view(paths: &[&str], layers: &[Vec<u8>]) -> View {
    let mut view = View::default();
    for layer in layers {
        view.below(&scan(&wanted(paths), || Ok(layer.as_slice())).expect("a layer"));
    }
    view
}

fn names(view: &View, path: &str) -> Vec<String> {
    view.at(path.as_bytes()).map(|(path, _)| String::from_utf8_lossy(path).into_owned()).collect()
}

fn states(view: &View, path: &str) -> Vec<(Vec<u8>, State)> {
    view.at(path.as_bytes()).map(|(path, state)| (path.to_vec(), state)).collect()
}

const A: (&str, Is, u32) = ("./etc/a", Is::File("one"), 0o644);

#[test]
fn the_upper_file_counts() {
    let (upper, lower) = (tar(&[("etc/a", Is::File("two"), 0o644)]), tar(&[A]));
    let both = states(&view(&["etc/a"], &[upper.clone(), lower.clone()]), "etc/a");
    assert_eq!(both, states(&view(&["etc/a"], &[upper]), "etc/a"));
    assert_ne!(both, states(&view(&["etc/a"], &[lower]), "etc/a"));
}

#[test]
fn all_but_times_is_compared() {
    let of = |entry: (&str, Is, u32)| states(&view(&["etc/a"], &[tar(&[entry])]), "etc/a");
    let same = of(A);
    assert_eq!(same, of(("./etc//a", Is::File("one"), 0o644)));
    for other in [
        ("etc/a", Is::File("two"), 0o644),
        ("etc/a", Is::File("one"), 0o4755),
        ("etc/a", Is::Symlink("one"), 0o644),
        ("etc/a", Is::Dir, 0o644),
    ] {
        assert_ne!(same, of(other));
    }
    assert_ne!(of(("etc/a", Is::Symlink("one"), 0o644)), of(("etc/a", Is::Symlink("two"), 0o644)));
}

#[test]
fn what_is_deleted_is_not_looked_for_below() {
    for (path, entry) in [
        ("etc/a", "etc/.wh.a"),
        ("etc/a", ".wh.etc"),
        ("etc/a", "etc/.wh..wh..opq"),
        ("etc/a", ".wh..wh..opq"),
    ] {
        let upper = tar(&[(entry, Is::File(""), 0)]);
        let view = view(&[path], &[upper, tar(&[A])]);
        assert!(names(&view, path).is_empty() && view.decides(path.as_bytes()), "{entry}");
    }
    let upper = tar(&[("etc", Is::File(""), 0)]);
    assert!(names(&view(&["etc/a"], &[upper, tar(&[A])]), "etc/a").is_empty());
}

#[test]
fn a_whiteout_leaves_what_its_own_layer_brings() {
    let both = tar(&[("etc/.wh..wh..opq", Is::File(""), 0), ("etc/b", Is::File("x"), 0)]);
    let view = view(&["etc"], &[both, tar(&[A])]);
    assert_eq!(names(&view, "etc"), ["etc/b"]);
}

#[test]
fn directories_are_merged_and_names_that_only_begin_so_are_others() {
    let upper = tar(&[("d", Is::Dir, 0o755), ("d/x", Is::File("1"), 0), ("d-e/x", Is::File("1"), 0)]);
    let lower = tar(&[("d", Is::Dir, 0o700), ("d/x/y", Is::File("2"), 0), ("d/z", Is::File("2"), 0)]);
    let view = view(&["d"], &[upper, lower]);
    assert_eq!(names(&view, "d"), ["d", "d/x", "d/z"]);
    assert!(!view.decides(b"d") && view.decides(b"d/x") && view.touches(b"d"));
}

#[test]
fn a_file_in_between_hides_what_is_below_it() {
    let layers = [
        tar(&[("d", Is::Dir, 0o755)]),
        tar(&[("d", Is::File("file"), 0)]),
        tar(&[("d/x", Is::File("1"), 0)]),
    ];
    assert_eq!(names(&view(&["d"], &layers), "d"), ["d"]);
}

#[test]
fn a_hard_link_is_what_it_points_to() {
    let linked = tar(&[
        ("etc/b", Is::Link("etc/c"), 0),
        ("etc/c", Is::Link("other/a"), 0),
        ("other/a", Is::File("one"), 0o644),
    ]);
    let plain = tar(&[("etc/b", Is::File("one"), 0o644)]);
    assert_eq!(states(&view(&["etc/b"], &[linked]), "etc/b"), states(&view(&["etc/b"], &[plain]), "etc/b"));
    for layer in [&[("a", Is::Link("b"), 0)][..], &[("a", Is::Link("b"), 0), ("b", Is::Link("a"), 0)]] {
        let layer = tar(layer);
        let error = scan(&wanted(&["a"]), || Ok(layer.as_slice())).expect_err("it leads nowhere");
        assert_eq!(error.to_string(), "a hard link to a file of another layer");
    }
}

#[test]
fn what_is_not_wanted_is_not_kept() {
    let layer = tar(&[A, ("etc/b", Is::Link("etc/a"), 0), (".wh.x", Is::File(""), 0)]);
    let scan = scan(&wanted(&["etc/b"]), || Ok(layer.as_slice())).expect("a layer");
    assert_eq!((scan.files.len(), scan.deleted.len()), (1, 0));
    assert!(!view(&["q"], &[layer]).touches(b"q"));
}

#[test]
fn a_broken_layer_is_an_error() {
    let whole = tar(&[("etc/a", Is::File("0123456789"), 0)]);
    for end in [100, 513, 600] {
        assert!(scan(&wanted(&["etc/a"]), || Ok(&whole[..end])).is_err(), "{end}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
        let _ = scan(&wanted(&["a"]), || Ok(bytes.as_slice()));
    }

    /// The view of a stack is what is there once the layers are unpacked in order.
    #[test]
    fn a_view_is_what_unpacking_gives(
        layers in proptest::collection::vec(
            proptest::collection::vec((0..3_usize, 0..3_usize, 0..4_u8), 0..6), 1..5),
    ) {
        let mut tree: BTreeMap<String, String> = BTreeMap::new();
        let mut tars = Vec::new();
        for (number, layer) in layers.iter().enumerate() {
            let mut entries = BTreeMap::new();
            for (dir, file, what) in layer {
                let (dir, file) = (["d", "e", "d-e"][*dir], ["x", "y", "z"][*file]);
                match what {
                    0 => entries.insert(format!("{dir}/.wh.{file}"), None),
                    1 => entries.insert(format!(".wh.{dir}"), None),
                    2 => entries.insert(format!("{dir}/.wh..wh..opq"), None),
                    _ => entries.insert(format!("{dir}/{file}"), Some(number.to_string())),
                };
            }
            for name in entries.keys() {
                let (dir, file) = name.split_once('/').unwrap_or(("", name));
                if let Some(gone) = name.strip_prefix(".wh.") {
                    tree.retain(|path, _| !path.starts_with(&format!("{gone}/")));
                } else if file == ".wh..wh..opq" {
                    tree.retain(|path, _| !path.starts_with(&format!("{dir}/")));
                } else if let Some(gone) = file.strip_prefix(".wh.") {
                    tree.remove(&format!("{dir}/{gone}"));
                }
            }
            let mut tar = tar::Builder::new(Vec::new());
            for (name, content) in &entries {
                let text = content.clone().unwrap_or_default();
                let mut header = tar::Header::new_gnu();
                header.set_size(text.len() as u64);
                tar.append_data(&mut header, name, text.as_bytes()).expect("memory");
                tree.extend(content.clone().map(|content| (name.clone(), content)));
            }
            tars.push(tar.into_inner().expect("memory"));
        }
        tars.reverse();
        let view = view(&["d"], &tars);
        let expected: Vec<String> = tree.into_keys().filter(|path| path.starts_with("d/")).collect();
        prop_assert_eq!(names(&view, "d"), expected);
    }
}
