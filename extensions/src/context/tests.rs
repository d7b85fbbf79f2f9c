//! What is selected, what is not, and that nothing outside the context is.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

/// Makes a tree: `a/` is a directory, `a -> b` a link, `a = text` a file, `a` an empty file.
fn tree(lines: &[&str]) -> tempfile::TempDir {
    let temp = tempfile::tempdir().unwrap();
    for line in lines {
        if let Some((link, target)) = line.split_once(" -> ") {
            symlink(target, prepared(&temp, link)).unwrap();
        } else if line.ends_with('/') {
            fs::create_dir_all(temp.path().join(line)).unwrap();
        } else {
            let (path, text) = line.split_once(" = ").unwrap_or((line, ""));
            fs::write(prepared(&temp, path), text).unwrap();
        }
    }
    temp
}

fn prepared(temp: &tempfile::TempDir, path: &str) -> PathBuf {
    let path = temp.path().join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    path
}

fn context(temp: &tempfile::TempDir, ignore: &str) -> Context {
    Context::new(temp.path(), Ignore::parse(ignore).unwrap()).unwrap()
}

fn options(exclude: &[&str], parents: Parents) -> SelectOptions {
    let exclude = Ignore::of(exclude.iter().map(|pattern| (*pattern).to_owned())).unwrap();
    SelectOptions { exclude, parents }
}

/// Writes what is selected: `name:` and the paths below, directories with a final slash.
fn shown(selection: &[Selected]) -> Vec<String> {
    let path = |entry: &Entry| {
        let slash = if entry.kind == EntryKind::Directory { "/" } else { "" };
        format!("{}{slash}", entry.path.display())
    };
    let one = |selected: &Selected| {
        let paths: Vec<String> = selected.entries.iter().map(path).collect();
        format!("{}: {}", selected.name.display(), paths.join(" "))
    };
    selection.iter().map(one).collect()
}

#[track_caller]
fn selects(temp: &tempfile::TempDir, ignore: &str, source: &str, expected: &[&str]) {
    let selection = context(temp, ignore).select(source, &SelectOptions::default()).unwrap();
    assert_eq!(shown(&selection), expected, "{source}");
}

#[track_caller]
fn fails(temp: &tempfile::TempDir, ignore: &str, source: &str, expected: &str) {
    let error = context(temp, ignore).select(source, &SelectOptions::default()).unwrap_err();
    assert_eq!(error.to_string(), expected, "{source}");
}

#[test]
fn files_and_directories_are_selected_by_name() {
    let temp = tree(&["a = 1", "d/x", "d/e/y", "d/empty/"]);
    selects(&temp, "", "a", &["a: "]);
    selects(&temp, "", "/a", &["a: "]);
    selects(&temp, "", "d", &["d: / e/ e/y empty/ x"]);
    selects(&temp, "", "d/", &["d: / e/ e/y empty/ x"]);
    selects(&temp, "", ".", &[": / a d/ d/e/ d/e/y d/empty/ d/x"]);
    selects(&temp, "", "d/../a", &["a: "]);
    selects(&temp, "", "d/e", &["e: / y"]);
}

#[test]
fn what_is_missing_is_an_error_unless_a_pattern_names_it() {
    let temp = tree(&["a", "d/x"]);
    fails(&temp, "", "b", "`b` is not in the build context");
    fails(&temp, "", "a/b", "`a/b` is not in the build context");
    fails(&temp, "", "no/*", "`no/*` is not in the build context");
    selects(&temp, "", "b*", &[]);
    selects(&temp, "", "d/*.txt", &[]);
    selects(&temp, "", "optional.t[x]t", &[]);
    fails(&temp, "", "[a", "`[a`: syntax error in pattern");
}

#[test]
fn wildcards_match_names_in_order() {
    let temp = tree(&["b.txt", "a.txt", "c.md", "d/x.txt", "d/y", "e/x.txt"]);
    selects(&temp, "", "*.txt", &["a.txt: ", "b.txt: "]);
    selects(&temp, "", "?.md", &["c.md: "]);
    selects(&temp, "", "[ab].txt", &["a.txt: ", "b.txt: "]);
    selects(&temp, "", "*/x.txt", &["x.txt: ", "x.txt: "]);
    selects(&temp, "", "d*", &["d: / x.txt y"]);
    selects(&temp, "", "**/x.txt", &["x.txt: ", "x.txt: "]);
    selects(&temp, "", "*", &["a.txt: ", "b.txt: ", "c.md: ", "d: / x.txt y", "e: / x.txt"]);
}

#[test]
fn dots_stop_at_the_context() {
    let temp = tree(&["etc/passwd = inside", "d/x"]);
    for source in ["../../etc/passwd", "/../etc/passwd", "d/../../../etc/passwd"] {
        selects(&temp, "", source, &["passwd: "]);
    }
}

#[test]
fn links_stay_inside_the_context() {
    let temp = tree(&[
        "root -> /",
        "up -> ../../../..",
        "etc/hostname = inside",
        "abs -> /etc/hostname",
        "out -> /proc/self/environ",
    ]);
    let context = context(&temp, "");
    for source in ["root/etc/hostname", "up/etc/hostname", "abs", "root/up/etc/host*"] {
        let selection = context.select(source, &SelectOptions::default()).unwrap();
        let mut text = String::new();
        let mut file = context.open_file(&selection[0], &selection[0].entries[0]).unwrap();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "inside", "{source}");
        assert_eq!(selection[0].path, Path::new("etc/hostname"));
    }
    fails(&temp, "", "out", "`out` is not in the build context");
    fails(&temp, "", "root/proc/self/environ", "`root/proc/self/environ` is not in the build context");
}

#[test]
fn a_named_link_is_followed_and_a_link_inside_a_tree_is_kept() {
    let temp =
        tree(&["real/f = x", "dir -> real", "file -> real/f", "tree/in -> ../real", "tree/bad -> nowhere"]);
    selects(&temp, "", "dir", &["dir: / f"]);
    selects(&temp, "", "file", &["file: "]);
    let selection = context(&temp, "").select("tree", &SelectOptions::default()).unwrap();
    let target = |path: &str| {
        let entry = selection[0].entries.iter().find(|entry| entry.path == Path::new(path)).unwrap();
        entry.kind.clone()
    };
    assert_eq!(target("in"), EntryKind::Symlink { target: "../real".into() });
    assert_eq!(target("bad"), EntryKind::Symlink { target: "nowhere".into() });
    fails(&temp, "", "tree/bad", "`tree/bad` is not in the build context");
}

#[test]
fn wildcards_do_not_look_through_links() {
    let temp = tree(&["real/f", "link -> real"]);
    selects(&temp, "", "*/f", &["f: "]);
    selects(&temp, "", "l*", &["link: / f"]);
}

#[test]
fn loops_of_links_are_errors() {
    let temp = tree(&["a -> b", "b -> a"]);
    assert!(context(&temp, "").select("a", &SelectOptions::default()).is_err());
}

#[test]
fn ignored_files_are_not_there() {
    let temp = tree(&["a.log", "b", "d/x.log", "d/y", "logs/z.log", ".dockerignore"]);
    let ignore = "**/*.log\n.dockerignore\n";
    selects(&temp, ignore, ".", &[": / b d/ d/y logs/"]);
    selects(&temp, ignore, "*", &["b: ", "d: / y", "logs: /"]);
    fails(&temp, ignore, "a.log", "`a.log` is not in the build context: .dockerignore leaves it out");
    fails(&temp, "d", "d/y", "`d/y` is not in the build context: .dockerignore leaves it out");
    fails(&temp, "d", "d", "`d` is not in the build context: .dockerignore leaves it out");
}

#[test]
fn what_is_kept_below_an_ignored_directory_brings_its_directories() {
    let temp = tree(&["d/a", "d/e/b", "d/f/c", "x"]);
    let ignore = "*\n!d/e";
    selects(&temp, ignore, ".", &[": / d/ d/e/ d/e/b"]);
    selects(&temp, ignore, "d", &["d: / e/ e/b"]);
    selects(&temp, ignore, "d*", &["d: / e/ e/b"]);
    fails(&temp, ignore, "d/f", "`d/f` is not in the build context: .dockerignore leaves it out");
    fails(&temp, ignore, "x", "`x` is not in the build context: .dockerignore leaves it out");
}

#[test]
fn an_ignored_target_of_a_link_is_not_there() {
    let temp = tree(&["secret", "link -> secret", "public", "hidden -> public"]);
    fails(&temp, "secret", "link", "`link` is not in the build context: .dockerignore leaves it out");
    fails(&temp, "hidden", "hidden", "`hidden` is not in the build context: .dockerignore leaves it out");
}

#[test]
fn excluded_files_are_left_out() {
    let temp = tree(&["d/a.txt", "d/b.md", "d/e/c.txt", "d/e/d.md", "home.txt", "home.md"]);
    let select = |source: &str, exclude: &[&str]| {
        shown(&context(&temp, "").select(source, &options(exclude, Parents::Drop)).unwrap())
    };
    assert_eq!(select("d", &["*.txt"]), ["d: / b.md e/ e/c.txt e/d.md"]);
    assert_eq!(select("d", &["**/*.txt"]), ["d: / b.md e/ e/d.md"]);
    assert_eq!(select("d", &["e", "a*"]), ["d: / b.md"]);
    assert_eq!(select("d", &["*", "!e/c.txt"]), ["d: / e/ e/c.txt"]);
    assert_eq!(select("d", &["*"]), ["d: /"]);
    assert_eq!(select("hom*", &["*.txt"]), ["home.md: "]);
    assert_eq!(select("home.md", &["*.md"]), Vec::<String>::new());
}

#[test]
fn parents_are_kept_from_the_pivot_on() {
    let temp = tree(&["x/y/a.txt", "x/y/b.md", "x/z/y/c.txt", "w.txt"]);
    let select =
        |source: &str| shown(&context(&temp, "").select(source, &options(&[], Parents::Keep)).unwrap());
    assert_eq!(select("x/y/a.txt"), [": / x/ x/y/ x/y/a.txt"]);
    assert_eq!(select("./x/./y/*.txt"), ["x: / y/ y/a.txt"]);
    assert_eq!(select("x/./y"), ["x: / y/ y/a.txt y/b.md"]);
    assert_eq!(select("x/**/*.txt"), [": / x/ x/y/ x/y/a.txt x/z/ x/z/y/ x/z/y/c.txt"]);
    assert_eq!(select("x/y/."), [": / x/ x/y/ x/y/a.txt x/y/b.md"]);
    assert_eq!(select("no*"), [": /"]);
    let error = context(&temp, "").select("x/no", &options(&[], Parents::Keep)).unwrap_err();
    assert_eq!(error.to_string(), "`x/no` is not in the build context");
    let both = options(&["y/a.txt"], Parents::Keep);
    let selection = context(&temp, "").select("x/./y", &both).unwrap();
    assert_eq!(shown(&selection), ["x: / y/ y/b.md"]);
}

#[test]
fn special_files_are_refused_where_they_are_selected() {
    let temp = tree(&["d/x", "e/y"]);
    nix::unistd::mkfifo(&temp.path().join("d/fifo"), nix::sys::stat::Mode::S_IRUSR).unwrap();
    let message = "`d/fifo` is a FIFO: only files, directories and symbolic links are copied";
    fails(&temp, "", "d", message);
    fails(&temp, "", "d/fifo", message);
    selects(&temp, "", "e", &["e: / y"]);
    selects(&temp, "**/fifo", "d", &["d: / x"]);
}

#[test]
fn a_file_that_changed_is_not_read() {
    let temp = tree(&["a = 1", "b = 2", "d/c = 3"]);
    let context = context(&temp, "");
    let selection = context.select("a", &SelectOptions::default()).unwrap();
    let open = |selection: &[Selected]| context.open_file(&selection[0], &selection[0].entries[0]);
    open(&selection).unwrap();
    fs::rename(temp.path().join("b"), temp.path().join("a")).unwrap();
    let error = open(&selection).unwrap_err();
    assert_eq!(error.to_string(), "`a` changed while it was copied");
    fs::remove_file(temp.path().join("a")).unwrap();
    symlink("d/c", temp.path().join("a")).unwrap();
    assert!(open(&selection).is_err());
    let selection = context.select("d/c", &SelectOptions::default()).unwrap();
    fs::rename(temp.path().join("d"), temp.path().join("real")).unwrap();
    symlink("real", temp.path().join("d")).unwrap();
    let error = open(&selection).unwrap_err();
    assert_eq!(error.to_string(), "`d/c` changed while it was copied");
}

fn digest(temp: &tempfile::TempDir, source: &str) -> [u8; 32] {
    let context = context(temp, "");
    let selection = context.select(source, &SelectOptions::default()).unwrap();
    context.digest(&selection).unwrap()
}

#[test]
fn the_digest_is_of_what_a_copy_would_hold() {
    let (one, two) = (tree(&["d/a = 1", "d/l -> x", "d/e/"]), tree(&["o/a = 1", "o/l -> x", "o/e/"]));
    let past = std::time::SystemTime::UNIX_EPOCH;
    fs::File::open(two.path().join("o/a")).unwrap().set_modified(past).unwrap();
    let first = digest(&one, "d");
    assert_eq!(first, digest(&two, "o"), "names of directories and times are no part of it");
    assert_ne!(digest(&one, "d/a"), first);
    let change = |what: &str, change: &dyn Fn(&Path)| {
        let temp = tree(&["d/a = 1", "d/l -> x", "d/e/"]);
        change(&temp.path().join("d"));
        assert_ne!(digest(&temp, "d"), first, "{what}");
    };
    change("content", &|dir| fs::write(dir.join("a"), "2").unwrap());
    change("mode", &|dir| fs::set_permissions(dir.join("a"), fs::Permissions::from_mode(0o751)).unwrap());
    change("directory's mode", &|dir| {
        fs::set_permissions(dir.join("e"), fs::Permissions::from_mode(0o751)).unwrap();
    });
    change("name", &|dir| fs::rename(dir.join("a"), dir.join("b")).unwrap());
    change("more", &|dir| fs::write(dir.join("e/x"), "").unwrap());
    change("target", &|dir| {
        fs::remove_file(dir.join("l")).unwrap();
        symlink("y", dir.join("l")).unwrap();
    });
    change("type", &|dir| {
        fs::remove_file(dir.join("l")).unwrap();
        fs::write(dir.join("l"), "x").unwrap();
    });
}

#[test]
fn the_digest_of_a_file_has_its_name() {
    let temp = tree(&["a = 1", "b = 1"]);
    assert_ne!(digest(&temp, "a"), digest(&temp, "b"));
}

fn ignores(context: &Context) -> bool {
    context.select("a", &SelectOptions::default()).is_err()
}

#[test]
fn the_dockerfiles_own_ignore_file_comes_first() {
    let temp = tree(&[
        "app/a",
        "app/.dockerignore = a",
        "gen/run.Dockerfile",
        "gen/own.Dockerfile",
        "gen/own.Dockerfile.dockerignore = b",
    ]);
    let of = |name: &str| Context::of(&temp.path().join("app"), &temp.path().join("gen").join(name)).unwrap();
    assert!(ignores(&of("run.Dockerfile")));
    assert!(!ignores(&of("own.Dockerfile")));
}

#[test]
fn bad_ignore_files_are_errors() {
    for (line, message) in [
        (".dockerignore = [a", "`.dockerignore`: syntax error in pattern"),
        (".dockerignore = !", "`.dockerignore`: syntax error in pattern"),
        (".dockerignore/", "failed to read `.dockerignore`"),
    ] {
        let temp = tree(&[line]);
        let error = Context::of(temp.path(), Path::new("/nowhere/Dockerfile")).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    let temp = tree(&["x"]);
    fs::write(temp.path().join(".dockerignore"), "a\n".repeat(600_000)).unwrap();
    let error = Context::of(temp.path(), Path::new("/nowhere/Dockerfile")).unwrap_err();
    assert_eq!(error.to_string(), "`.dockerignore`: larger than 1048576 bytes");
}

#[test]
fn an_ignore_file_may_be_a_link_inside_the_context() {
    let temp = tree(&["a", "conf/ignore = a", ".dockerignore -> /conf/ignore"]);
    assert!(ignores(&Context::of(temp.path(), Path::new("/nowhere/Dockerfile")).unwrap()));
    let temp = tree(&["a", ".dockerignore -> /etc/passwd"]);
    assert!(Context::of(temp.path(), Path::new("/nowhere/Dockerfile")).is_err());
}

#[test]
fn directories_that_nest_too_deeply_are_refused() {
    let deep = "d/".repeat(300);
    let temp = tree(&[&deep]);
    let error = context(&temp, "").select("d", &SelectOptions::default()).unwrap_err();
    assert!(error.to_string().ends_with("directories nest deeper than 256"), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_source_makes_selecting_panic_or_leave(source in "[a-c./*?\\[\\]\\\\^!-]{0,12}", exclude in "[ab*/!\\[]{0,6}") {
        let temp = tree(&["a/b/c", "b -> /", "c -> a/b", "a/b/a -> ../../.."]);
        let Ok(exclude) = Ignore::of([exclude]) else { return Ok(()) };
        for parents in [Parents::Drop, Parents::Keep] {
            let options = SelectOptions { exclude: exclude.clone(), parents };
            for selected in context(&temp, "").select(&source, &options).unwrap_or_default() {
                proptest::prop_assert!(temp.path().join(&selected.path).exists());
                proptest::prop_assert!(selected.path.is_relative());
            }
        }
    }
}

#[derive(serde::Deserialize)]
struct Golden {
    tree: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Debug, serde::Deserialize)]
struct Case {
    #[serde(default)]
    ignore: String,
    source: String,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    parents: bool,
    #[serde(default)]
    error: bool,
    #[serde(default)]
    result: Vec<String>,
}

/// Lists what would stand in a destination directory; `None` if it cannot be.
fn copied(case: &Case, root: &Path) -> Option<Vec<String>> {
    let context = Context::new(root, Ignore::parse(&case.ignore).unwrap()).unwrap();
    let exclude = Ignore::of(case.exclude.clone()).unwrap();
    let parents = if case.parents { Parents::Keep } else { Parents::Drop };
    let mut paths = std::collections::BTreeMap::new();
    for selected in context.select(&case.source, &SelectOptions { exclude, parents }).ok()? {
        for entry in &selected.entries {
            let itself = entry.path.as_os_str().is_empty();
            let (path, suffix) = match &entry.kind {
                EntryKind::Directory if itself => continue,
                EntryKind::Directory => (&entry.path, "/".to_owned()),
                EntryKind::Symlink { target } => (&entry.path, format!(" -> {}", target.display())),
                EntryKind::File { .. } if itself => (&PathBuf::from(&selected.name), String::new()),
                EntryKind::File { .. } => (&entry.path, String::new()),
            };
            let before = paths.insert(path.clone(), suffix.clone());
            if before.is_some_and(|before| (before == "/") != (suffix == "/")) {
                return None;
            }
        }
    }
    let mut paths: Vec<String> =
        paths.into_iter().map(|(path, suffix)| format!("{}{suffix}", path.display())).collect();
    paths.sort();
    Some(paths)
}

/// Says why a case is not as in BuildKit.
fn differs(case: &Case) -> Option<&'static str> {
    if case.source == "d/[" {
        return Some("a malformed pattern is an error, not a pattern that matches nothing");
    }
    if case.source == "*/./y" {
        return Some("below a file there is nothing; BuildKit copies the file itself");
    }
    let files = ["d/*", "*.txt", "b.txt"].contains(&case.source.as_str());
    (files && !case.exclude.is_empty())
        .then_some("--exclude holds for sources that are files, as documented: moby/buildkit#5489")
}

#[test]
fn every_case_selects_what_buildkit_copies() {
    let golden = include_str!("../../../fixtures/golden/dockerfile/contexts.json");
    let golden: Golden = serde_json::from_str(golden).unwrap();
    let tree = tree(&golden.tree.iter().map(String::as_str).collect::<Vec<_>>());
    let mut wrong = Vec::new();
    for case in &golden.cases {
        let result = copied(case, tree.path());
        let expected = (!case.error).then_some(&case.result);
        if result.as_ref() != expected && differs(case).is_none() {
            wrong.push(format!("{case:?}\n  got  {result:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), golden.cases.len(), wrong.join("\n"));
}
