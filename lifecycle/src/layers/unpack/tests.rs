//! Tars that come back, and those that try to write elsewhere.

use std::os::unix::fs::{MetadataExt as _, symlink};

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::digest::Digest;
use crate::layers::header::{END, Header, Kind, padding};
use crate::layers::tar::{LayerSource, Owner, Parent, Tree};

/// A place with a layers directory in it, and a file outside of that.
struct Place {
    temp: TempDir,
    layer: PathBuf,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a temporary directory");
        fs::write(temp.path().join("outside"), "outside").expect("write");
        fs::create_dir_all(temp.path().join("layers/bp")).expect("create");
        let layer = temp.path().join("layers/bp/rt");
        Self { temp, layer }
    }

    fn restore(&self, tar: &[u8]) -> Result<(), UnpackError> {
        let diff_id = DiffId::new(Digest::of(tar));
        restore(&Restore { diff_id, dir: self.layer.clone() }, tar, TWO)
    }

    /// The name of an entry of the layer.
    fn name(&self, path: &str) -> Vec<u8> {
        [self.layer.as_os_str().as_bytes(), path.as_bytes()].concat()
    }

    /// All paths in the place, but for what is in the layer.
    fn others(&self) -> Vec<PathBuf> {
        let entries = walkdir::WalkDir::new(self.temp.path()).sort_by_file_name().into_iter();
        let paths = entries.map(|entry| entry.expect("an entry").into_path());
        paths.filter(|path| !path.starts_with(&self.layer)).collect()
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.layer.join(path)).expect("read")
    }
}

/// An entry of a tar: kind, name, where it links to, contents.
struct Item(Kind, Vec<u8>, Vec<u8>, &'static str);

fn tar(items: &[Item]) -> Vec<u8> {
    let mut tar = Vec::new();
    for Item(kind, name, link, content) in items {
        let mode = if *kind == Kind::Dir { 0o755 } else { 0o644 };
        let size = content.len() as u64;
        Header { link, size, ..Header::new(*kind, name, mode) }.encode(&mut tar);
        tar.extend_from_slice(content.as_bytes());
        tar.resize(tar.len() + padding(size), 0);
    }
    tar.extend_from_slice(&END);
    tar
}

fn dir(name: Vec<u8>) -> Item {
    Item(Kind::Dir, name, Vec::new(), "")
}

fn file(name: Vec<u8>, content: &'static str) -> Item {
    Item(Kind::File, name, Vec::new(), content)
}

fn link(name: Vec<u8>, target: impl Into<Vec<u8>>) -> Item {
    Item(Kind::Symlink, name, target.into(), "")
}

fn hard_link(name: Vec<u8>, target: impl Into<Vec<u8>>) -> Item {
    Item(Kind::HardLink, name, target.into(), "")
}

/// The layer's tar as it would be exported again.
fn exported(place: &Place) -> Vec<u8> {
    let parent = |path: &Path| Parent { name: path.to_owned(), mode: 0o755, owner: Owner { uid: 1, gid: 2 } };
    let mut parents: Vec<Parent> =
        place.layer.ancestors().skip(1).filter(|above| above.parent().is_some()).map(parent).collect();
    parents.reverse();
    let owner = Owner { uid: 1000, gid: 1000 };
    let tree = Tree { path: place.layer.clone(), name: place.layer.clone(), parents, owner };
    let mut tar = Vec::new();
    LayerSource::Dir(tree).open().expect("open").read_to_end(&mut tar).expect("read");
    tar
}

#[test]
fn a_restored_layer_is_the_layer_that_was_exported() {
    let place = Place::new();
    fs::create_dir(&place.layer).expect("create");
    crate::layers::tests::own_tree(&place.layer);
    for special in ["pipe", "socket"] {
        fs::remove_file(place.layer.join(special)).expect("remove");
    }
    for (name, mode) in [("closed", 0o000), ("read-only", 0o555), ("all", 0o777), ("group", 0o2775)] {
        fs::create_dir_all(place.layer.join(name).join("below")).expect("create");
        fs::write(place.layer.join(name).join("file"), name).expect("write");
        fs::set_permissions(place.layer.join(name), Permissions::from_mode(mode)).expect("chmod");
    }
    // As a user the closed directory could not be read again.
    fs::set_permissions(place.layer.join("closed"), Permissions::from_mode(0o500)).expect("chmod");
    let tar = exported(&place);
    remove(&place.layer).expect("remove");
    let above = place.layer.parent().expect("a parent");
    fs::set_permissions(above, Permissions::from_mode(0o2755)).expect("chmod");
    place.restore(&tar).expect("restore");
    assert!(exported(&place) == tar, "the restored layer differs");
    place.restore(&tar).expect("restore in the place of the same");
    assert!(exported(&place) == tar, "the layer restored again differs");
}

#[test]
fn names_may_be_absolute_relative_or_begin_with_a_dot() {
    for prefix in ["", "/", "./", "//", ".//./"] {
        let place = Place::new();
        let name = |path: &str| {
            let name = String::from_utf8(place.name(path)).expect("a temporary directory's name is text");
            [prefix, name.trim_start_matches('/')].concat().into_bytes()
        };
        let items = [dir(name("")), dir(name("/d/")), file(name("/d/f"), "f"), link(name("/l"), "/etc")];
        place.restore(&tar(&items)).expect("restore");
        assert_eq!(place.text("d/f"), "f", "{prefix}");
        assert_eq!(fs::read_link(place.layer.join("l")).expect("a link"), Path::new("/etc"));
    }
}

#[test]
fn missing_parents_get_the_modes_of_the_tar() {
    let place = Place::new();
    fs::remove_dir(place.temp.path().join("layers/bp")).expect("remove");
    let above = place.layer.parent().expect("a parent").as_os_str().as_bytes().to_vec();
    let mut tar_bytes = Vec::new();
    Header::new(Kind::Dir, &above, 0o750).encode(&mut tar_bytes);
    tar_bytes.extend(tar(&[dir(place.name("")), file(place.name("/f"), "f")]));
    place.restore(&tar_bytes).expect("restore");
    assert_eq!(fs::metadata(place.layer.parent().expect("a parent")).expect("stat").mode() & 0o7777, 0o750);
    assert_eq!(fs::metadata(&place.layer).expect("stat").mode() & 0o7777, 0o755);
}

#[test]
fn hard_links_inside_the_layer_are_links() {
    let place = Place::new();
    let items = [
        dir(place.name("")),
        file(place.name("/d/one"), "same"),
        hard_link(place.name("/two"), place.name("/d/one")),
        hard_link(place.name("/d/one"), place.name("/two")),
    ];
    place.restore(&tar(&items)).expect("restore");
    let inode = |path: &str| fs::metadata(place.layer.join(path)).expect("stat").ino();
    assert_eq!(inode("d/one"), inode("two"));
}

#[test]
fn later_entries_replace_earlier_ones() {
    let place = Place::new();
    let outside = place.temp.path().join("outside").as_os_str().as_bytes().to_vec();
    let items = [
        dir(place.name("")),
        file(place.name("/f"), "one"),
        file(place.name("/f"), "two"),
        link(place.name("/l"), outside.clone()),
        file(place.name("/l"), "no longer a link"),
        dir(place.name("/d")),
        dir(place.name("/d")),
    ];
    place.restore(&tar(&items)).expect("restore");
    assert_eq!((place.text("f"), place.text("l")), ("two".to_owned(), "no longer a link".to_owned()));
    assert_eq!(fs::read(place.temp.path().join("outside")).expect("read"), b"outside");
}

#[test]
fn hostile_entries_are_refused_and_leave_nothing() {
    let place = Place::new();
    let others = place.others();
    let outside = place.temp.path().join("outside").as_os_str().as_bytes().to_vec();
    let bp = place.layer.parent().expect("a parent").as_os_str().as_bytes().to_vec();
    let cases = [
        vec![file(place.name("/../x"), "x")],
        vec![file(place.name("/d/../../../x"), "x")],
        vec![file(b"/etc/x".to_vec(), "x")],
        vec![file(b"x".to_vec(), "x")],
        vec![file(place.name("2/x"), "x")],
        vec![file(bp.clone(), "x")],
        vec![link(bp, "/")],
        vec![link(place.name(""), "/")],
        vec![file(place.name(""), "x")],
        vec![link(place.name("/l"), "/"), file(place.name("/l/x"), "x")],
        vec![link(place.name("/l"), ".."), file(place.name("/l/x"), "x")],
        vec![link(place.name("/l"), "."), dir(place.name("/l"))],
        vec![file(place.name("/f"), "x"), file(place.name("/f/x"), "x")],
        vec![hard_link(place.name("/h"), outside.clone())],
        vec![hard_link(place.name("/h"), "../../outside")],
        vec![hard_link(place.name("/h"), place.name(""))],
        vec![hard_link(place.name("/h"), place.name("/missing"))],
        vec![link(place.name("/l"), outside), hard_link(place.name("/h"), place.name("/l/x"))],
        vec![Item(Kind::CharDevice, place.name("/c"), Vec::new(), "")],
        vec![Item(Kind::BlockDevice, place.name("/b"), Vec::new(), "")],
        vec![Item(Kind::Fifo, place.name("/p"), Vec::new(), "")],
        vec![file(place.name(&"/d".repeat(2002)), "x")],
        vec![file(place.name(&format!("/{}", "n".repeat(100_000))), "x")],
    ];
    for (number, items) in cases.iter().enumerate() {
        let result = place.restore(&tar(items));
        assert!(matches!(result, Err(UnpackError::Entry { .. })), "{number}: {result:?}");
        assert!(!place.layer.exists(), "{number}");
        assert_eq!(place.others(), others, "{number}");
    }
}

#[test]
fn other_bytes_leave_what_was_there() {
    let place = Place::new();
    fs::create_dir(&place.layer).expect("create");
    fs::write(place.layer.join("f"), "before").expect("write");
    let others = place.others();
    let whole = tar(&[dir(place.name("")), file(place.name("/f"), "after"), file(place.name("/g"), "g")]);
    let diff_id = DiffId::new(Digest::of(&whole));
    let layer = Restore { diff_id, dir: place.layer.clone() };
    let mut changed = whole.clone();
    changed[1024] ^= 1;
    for damaged in [&whole[..whole.len() - 1], &whole[..700], &[], &changed] {
        let result = restore(&layer, damaged, TWO);
        assert!(matches!(result, Err(UnpackError::Digest { expected, .. }) if expected == diff_id));
        assert_eq!(place.text("f"), "before");
        assert_eq!(place.others(), others);
    }
    let half = io::Read::chain(&whole[..600], Broken);
    assert!(matches!(restore(&layer, half, TWO), Err(UnpackError::Read(_))));
    assert_eq!(place.others(), others);
    restore(&layer, whole.as_slice(), TWO).expect("restore");
    assert_eq!(place.text("f"), "after");
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is on fire"))
    }
}

#[test]
fn several_layers_come_back_at_once_and_in_order() {
    let place = Place::new();
    let layers: Vec<(Restore, Vec<u8>)> = (0..20)
        .map(|number| {
            let dir_path = place.temp.path().join(format!("layers/bp{}/rt{number}", number % 3));
            let name = dir_path.as_os_str().as_bytes().to_vec();
            let tar = tar(&[dir(name.clone()), file([&name[..], b"/f"].concat(), "f")]);
            let diff_id = DiffId::new(Digest::of(if number == 7 { b"another" } else { &tar }));
            (Restore { diff_id, dir: dir_path }, tar)
        })
        .collect();
    let restores: Vec<Restore> = layers.iter().map(|(restore, _)| restore.clone()).collect();
    let open = |wanted: &Restore| {
        let found = layers.iter().find(|(restore, _)| restore.dir == wanted.dir);
        let (_, tar) = found.filter(|_| !wanted.dir.ends_with("rt11")).ok_or("gone")?;
        Ok::<_, &str>(Box::new(tar.as_slice()) as Box<dyn Read + Send>)
    };
    let results = restore_all(&restores, NonZeroUsize::new(4).expect("not 0"), open);
    for (number, result) in results.iter().enumerate() {
        match number {
            7 => assert!(matches!(result, Ok(Err(UnpackError::Digest { .. })))),
            11 => assert!(matches!(result, Err("gone"))),
            _ => assert!(matches!(result, Ok(Ok(()))), "{number}: {result:?}"),
        }
        assert_eq!(restores[number].dir.join("f").exists(), !matches!(number, 7 | 11), "{number}");
    }
}

#[test]
fn a_tree_200_deep_and_wide_comes_back() {
    let place = Place::new();
    fs::create_dir(&place.layer).expect("create");
    let mut deep = place.layer.clone();
    for level in 0..200 {
        deep.push(format!("d{level}"));
        fs::create_dir(&deep).expect("create");
        for name in ["a", "z"] {
            fs::write(deep.join(name), name).expect("write");
        }
    }
    let tar = exported(&place);
    remove(&place.layer).expect("remove");
    place.restore(&tar).expect("restore");
    assert!(exported(&place) == tar);
}

fn part() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(".."),
        Just("."),
        Just(""),
        Just("a"),
        Just("b"),
        Just("rt"),
        Just("bp"),
        Just("outside")
    ]
    .prop_map(str::to_owned)
}

fn path() -> impl Strategy<Value = String> {
    proptest::collection::vec(part(), 0..5).prop_map(|parts| parts.join("/"))
}

/// Kind, whether the name is in the layer, name, whether the link is absolute, link.
fn hostile() -> impl Strategy<Value = (u8, bool, String, u8, String)> {
    (0_u8..8, prop::bool::weighted(0.8), path(), 0_u8..3, path())
}

fn item(place: &Place, (kind, inside, name, absolute, target): &(u8, bool, String, u8, String)) -> Item {
    let kinds = [
        Kind::Dir,
        Kind::File,
        Kind::Symlink,
        Kind::Symlink,
        Kind::HardLink,
        Kind::Dir,
        Kind::File,
        Kind::Fifo,
    ];
    let kind = kinds[usize::from(*kind)];
    let name = if *inside { place.name(&format!("/{name}")) } else { name.clone().into_bytes() };
    let target = match absolute {
        0 => target.clone().into_bytes(),
        1 => place.name(&format!("/{target}")),
        _ => [place.temp.path().as_os_str().as_bytes(), b"/", target.as_bytes()].concat(),
    };
    Item(kind, name, target, if kind == Kind::File { "content" } else { "" })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_tar_writes_outside_of_its_layer(items in proptest::collection::vec(hostile(), 1..12)) {
        let place = Place::new();
        symlink(place.temp.path(), place.temp.path().join("way-out")).expect("link");
        let others = place.others();
        let items: Vec<Item> = items.iter().map(|parts| item(&place, parts)).collect();
        let result = place.restore(&tar(&items));
        prop_assert_eq!(place.others(), others);
        prop_assert_eq!(fs::read(place.temp.path().join("outside")).expect("read"), b"outside");
        if result.is_err() {
            prop_assert!(!place.layer.exists());
        }
    }

    #[test]
    fn any_bytes_are_unpacked_or_refused(
        changes in proptest::collection::vec((0_usize..4096, any::<u8>()), 0..8),
        sum_is_right in any::<bool>(),
    ) {
        let place = Place::new();
        let long = place.name(&format!("/{}", "long".repeat(60)));
        let mut bytes = tar(&[dir(place.name("")), file(long, "f"), link(place.name("/l"), "f")]);
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
            if sum_is_right {
                let block = at / 512 * 512;
                let header = &mut bytes[block..block + 512];
                header[148..156].fill(b' ');
                let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
                header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
            }
        }
        let others = place.others();
        let _ = place.restore(&bytes);
        prop_assert_eq!(place.others(), others);
    }
}
