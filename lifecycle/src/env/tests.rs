//! The rules as tables: what is inherited, what layers hold, what comes out.
//!
//! Layers are written as `<layer>/<env dir>/<file>=<content>` or `<layer>/bin/`; a buildpack is a
//! list of those, space separated; variables likewise as `NAME=value`.

use super::*;
use proptest::prelude::*;

fn vars(text: &str) -> Vec<(OsString, OsString)> {
    let pair = |word: &str| {
        let (name, value) = word.split_once('=').expect("a variable is written NAME=value");
        (name.into(), value.into())
    };
    text.split_whitespace().map(pair).collect()
}

fn files(text: &str) -> EnvDir {
    vars(text).into_iter().collect()
}

fn env(text: &str) -> Env {
    Env(vars(text).into_iter().collect())
}

fn shown(env: &Env) -> String {
    let words = env.iter().map(|(name, value)| format!("{}={}", name.display(), value.display()));
    words.collect::<Vec<_>>().join(" ")
}

fn directory(word: &str) -> Option<(&str, &'static str)> {
    let (layer, name) = word.strip_suffix('/')?.split_once('/')?;
    ["bin", "lib", "include", "pkgconfig"].into_iter().find(|known| *known == name).map(|name| (layer, name))
}

fn buildpack(text: &str) -> Vec<LayerEnv> {
    let mut layers: BTreeMap<&str, LayerEnv> = BTreeMap::new();
    let mut dirs: BTreeMap<(&str, &str), Vec<(OsString, OsString)>> = BTreeMap::new();
    for word in text.split_whitespace() {
        if let Some((layer, name)) = directory(word) {
            layers.entry(layer).or_default().directories.push(name);
            continue;
        }
        let (path, value) = word.split_once('=').expect("a file is written path=content");
        let (dir, file) = path.rsplit_once('/').expect("a file stands in a directory");
        let (layer, dir) = dir.split_once('/').expect("a directory stands in a layer");
        dirs.entry((layer, dir)).or_default().push((file.into(), value.into()));
        layers.entry(layer).or_default();
    }
    for (name, layer) in &mut layers {
        let mut take = |dir| dirs.remove(&(*name, dir)).unwrap_or_default().into_iter().collect();
        layer.path = Path::new("/l").join(name);
        layer.env = take("env");
        layer.env_build = take("env.build");
        layer.env_launch = take("env.launch");
        layer.env_process = take("env.launch/web");
    }
    layers.into_values().collect()
}

#[track_caller]
fn check_build(inherited: &str, buildpacks: &[&str], expected: &str) {
    let mut env = env(inherited);
    for layers in buildpacks {
        env.add_build_layers(&buildpack(layers));
    }
    assert_eq!(shown(&env), expected);
}

#[track_caller]
fn check_launch(inherited: &str, buildpacks: &[&str], expected: &str) {
    let mut env = env(inherited);
    for layers in buildpacks {
        env.add_launch_layers(&buildpack(layers));
    }
    assert_eq!(shown(&env), expected);
}

/// The same at build and at launch.
#[track_caller]
fn check(inherited: &str, buildpacks: &[&str], expected: &str) {
    check_build(inherited, buildpacks, expected);
    check_launch(inherited, buildpacks, expected);
}

#[track_caller]
fn check_component(earlier: &str, user: Option<&str>, operator: &str, expected: &str) {
    let env = env(earlier).for_component(user.map(files).as_ref(), &files(operator));
    assert_eq!(shown(&env), expected);
}

#[test]
fn a_buildpack_inherits_a_short_list_of_variables() {
    let junk = "HOME=/h PATH=/bin CNB_REGISTRY_AUTH={} FOO=1 CNB_APP_DIR=/a http_proxy=p NO_PROXY=n \
                CPATH=c LIBRARY_PATH=l LD_LIBRARY_PATH=d PKG_CONFIG_PATH=k HOSTNAME=x CNB_STACK_ID=s \
                HTTP_PROXY=P DOCKER_CONFIG=/d USER=u";
    let kept = "CNB_STACK_ID=s CPATH=c HOME=/h HOSTNAME=x HTTP_PROXY=P LD_LIBRARY_PATH=d LIBRARY_PATH=l \
                NO_PROXY=n PATH=/bin PKG_CONFIG_PATH=k http_proxy=p";
    assert_eq!(shown(&Env::for_build(vars(junk))), kept);
}

#[test]
fn a_process_inherits_all_but_the_launchers_own_variables() {
    for (inherited, expected) in [
        ("A=1 CNB_APP_DIR=x CNB_LAYERS_DIR=x CNB_PROCESS_TYPE=x", "A=1"),
        ("CNB_PLATFORM_API=0.12 CNB_DEPRECATION_MODE=quiet CNB_EXEC_ENV=test", "CNB_EXEC_ENV=test"),
        ("PATH=/cnb/process:/cnb/lifecycle:/usr/bin:/bin", "PATH=/usr/bin:/bin"),
        ("PATH=/usr/bin:/cnb/process:/bin", "PATH=/usr/bin:/bin"),
        ("PATH=/cnb/process/x:/bin", "PATH=/cnb/process/x:/bin"),
        ("PATH=/cnb/process", "PATH="),
        ("PATH=::/bin", "PATH=::/bin"),
    ] {
        assert_eq!(shown(&Env::for_launch(vars(inherited))), expected);
    }
}

#[test]
fn directories_of_layers_come_first_in_path_variables() {
    check_build("", &["a/bin/ a/lib/"], "LD_LIBRARY_PATH=/l/a/lib LIBRARY_PATH=/l/a/lib PATH=/l/a/bin");
    check_build("", &["a/include/ a/pkgconfig/"], "CPATH=/l/a/include PKG_CONFIG_PATH=/l/a/pkgconfig");
    check_launch("", &["a/bin/ a/lib/ a/include/ a/pkgconfig/"], "LD_LIBRARY_PATH=/l/a/lib PATH=/l/a/bin");
    check("PATH=/bin", &["a/bin/"], "PATH=/l/a/bin:/bin");
    check("PATH=", &["a/bin/"], "PATH=/l/a/bin");
    check("PATH=/bin", &["a/env/X=1"], "PATH=/bin X=1");
}

#[test]
fn later_buildpacks_and_later_layers_come_first_in_path_variables() {
    check("PATH=/bin", &["a/bin/", "b/bin/"], "PATH=/l/b/bin:/l/a/bin:/bin");
    check("PATH=/bin", &["b/bin/", "a/bin/"], "PATH=/l/a/bin:/l/b/bin:/bin");
    check("PATH=/bin", &["a/bin/ b/bin/"], "PATH=/l/b/bin:/l/a/bin:/bin");
}

#[test]
fn which_directories_count_depends_on_the_phase() {
    let all = "a/env/E=1 a/env.build/B=2 a/env.launch/L=3 a/env.launch/web/W=4";
    check_build("", &[all], "B=2 E=1");
    check_launch("", &[all], "E=1 L=3 W=4");
}

#[test]
fn a_bare_name_and_override_replace_and_the_last_one_wins() {
    check("X=0", &["a/env/X=1"], "X=1");
    check("X=0", &["a/env/X.override=1"], "X=1");
    check("", &["a/env/X=1 a/env/X.override=2"], "X=2");
    check("", &["a/env/X=1 b/env/X=2"], "X=2");
    check("", &["b/env/X=1", "a/env/X=2"], "X=2");
    check("X=0", &["a/env/X="], "X=");
    check_launch("", &["a/env/X=1 a/env.launch/X=2"], "X=2");
    check_launch("", &["a/env.launch/web/X=3 a/env.launch/X=2"], "X=3");
    check_build("", &["a/env/X=1 a/env.build/X=2"], "X=2");
    check_launch("", &["a/env.launch/web/X=3 b/env/X=4"], "X=4");
}

#[test]
fn a_default_counts_only_while_the_variable_is_empty_and_the_first_one_wins() {
    check("", &["a/env/X.default=1"], "X=1");
    check("X=", &["a/env/X.default=1"], "X=1");
    check("X=0", &["a/env/X.default=1"], "X=0");
    check("", &["a/env/X.default=1 b/env/X.default=2"], "X=1");
    check("", &["b/env/X.default=1", "a/env/X.default=2"], "X=1");
    check_launch("", &["a/env/X.default=1 a/env.launch/X.default=2"], "X=1");
    check_launch("", &["a/env.launch/X.default=2 a/env.launch/web/X.default=3"], "X=2");
    check_build("", &["a/env/X.default=1 a/env.build/X.default=2"], "X=1");
    check("", &["a/env/X.default=1 a/env/X=2"], "X=2");
}

#[test]
fn appended_values_follow_in_order() {
    check("", &["a/env/X.append=1"], "X=1");
    check("X=", &["a/env/X.append=1 a/env/X.delim=,"], "X=1");
    check("X=0", &["a/env/X.append=1"], "X=01");
    check("X=0", &["a/env/X.append=1 a/env/X.delim=,"], "X=0,1");
    check("X=0", &["a/env/X.append=1 a/env/X.delim=,,"], "X=0,,1");
    check("X=0", &["a/env/X.append=1 b/env/X.append=2"], "X=012");
    check("X=0", &["b/env/X.append=1", "a/env/X.append=2"], "X=012");
    check_launch("", &["a/env/X.append=1 a/env.launch/X.append=2 a/env.launch/web/X.append=3"], "X=123");
    check_build("", &["a/env/X.append=1 a/env.build/X.append=2"], "X=12");
    check("PATH=/bin", &["a/env/PATH.append=/x"], "PATH=/bin/x");
}

#[test]
fn prepended_values_precede_in_the_mirrored_order() {
    check("", &["a/env/X.prepend=1"], "X=1");
    check("X=", &["a/env/X.prepend=1 a/env/X.delim=,"], "X=1");
    check("X=0", &["a/env/X.prepend=1"], "X=10");
    check("X=0", &["a/env/X.prepend=1 a/env/X.delim=,"], "X=1,0");
    check("X=0", &["a/env/X.prepend=1 b/env/X.prepend=2"], "X=210");
    check("X=0", &["b/env/X.prepend=1", "a/env/X.prepend=2"], "X=210");
    check_launch("", &["a/env/X.prepend=1 a/env.launch/X.prepend=2 a/env.launch/web/X.prepend=3"], "X=321");
    check_build("", &["a/env/X.prepend=1 a/env.build/X.prepend=2"], "X=21");
}

#[test]
fn the_files_of_one_variable_apply_in_the_order_of_their_names() {
    check("", &["a/env/X=1 a/env/X.append=2"], "X=12");
    check("X=0", &["a/env/X.append=1 a/env/X.override=2 a/env/X.prepend=3"], "X=32");
    check("", &["a/env/X.append=1 a/env/X.default=2"], "X=1");
}

#[test]
fn a_delimiter_serves_its_directory_and_that_of_env_its_whole_layer() {
    check_launch("X=0", &["a/env/X.delim=, a/env.launch/X.append=1"], "X=0,1");
    check_launch("X=0", &["a/env/X.delim=, a/env.launch/web/X.append=1"], "X=0,1");
    check_launch("X=0", &["a/env/X.delim=, a/env.launch/X.delim=; a/env.launch/X.append=1"], "X=0;1");
    check_launch("X=0", &["a/env.launch/X.delim=; a/env/X.append=1"], "X=01");
    check_build("X=0", &["a/env/X.delim=, a/env.build/X.prepend=1"], "X=1,0");
    check("X=0", &["a/env/X.delim=, b/env/X.append=1"], "X=01");
    check("X=0 Y=0", &["a/env/X.delim=, a/env/Y.append=1"], "X=0 Y=01");
    check("X=0", &["a/env/X.delim=,"], "X=0");
}

#[test]
fn unknown_suffixes_and_impossible_names_are_ignored() {
    for file in ["X.foo", "X.append.bak", "X.APPEND", "X.", ".append", ".x"] {
        check("X=0", &[&format!("a/env/{file}=1")], "X=0");
    }
    let mut env = env("X=0");
    let odd: EnvDir = [("A=B", "1"), ("", "2"), ("=", "3")].into_iter().collect();
    env.modify(&odd, &odd, Bare::Override);
    assert_eq!(shown(&env.for_component(Some(&odd), &odd)), "X=0");
}

#[test]
fn at_build_a_layers_directories_and_files_apply_before_the_next_layers() {
    let layers = "a/bin/ a/env/PATH.prepend=/x a/env/PATH.delim=: b/bin/";
    check_build("PATH=/bin", &[layers], "PATH=/l/b/bin:/x:/l/a/bin:/bin");
    check_launch("PATH=/bin", &[layers], "PATH=/x:/l/b/bin:/l/a/bin:/bin");
    check_launch("PATH=/bin", &[layers, "c/bin/"], "PATH=/l/c/bin:/x:/l/b/bin:/l/a/bin:/bin");
}

#[test]
fn a_user_value_is_put_before_a_path_variable_and_replaces_any_other() {
    check_component("PATH=/bin", Some("PATH=/u"), "", "PATH=/u:/bin");
    check_component("", Some("PATH=/u CPATH=/c"), "", "CPATH=/c PATH=/u");
    check_component("FOO=0 LIBRARY_PATH=/l", Some("FOO=1 LIBRARY_PATH=/u"), "", "FOO=1 LIBRARY_PATH=/u:/l");
    check_component("FOO=0", Some("FOO="), "", "FOO=");
    check_component(
        "FOO=0 PATH=/bin",
        Some("FOO.append=1 PATH.x=2"),
        "",
        "FOO=0 FOO.append=1 PATH=/bin PATH.x=2",
    );
    check_component("FOO=0", None, "", "FOO=0");
}

#[test]
fn an_operators_value_applies_last_and_a_bare_name_is_a_default() {
    check_component("", None, "FOO=op", "FOO=op");
    check_component("FOO=0", None, "FOO=op", "FOO=0");
    check_component("", Some("FOO=user"), "FOO=op", "FOO=user");
    check_component("", Some("FOO=user"), "FOO.override=op", "FOO=op");
    check_component("", Some("FOO=user"), "FOO.append=op FOO.delim=,", "FOO=user,op");
    check_component("PATH=/bin", Some("PATH=/u"), "PATH.prepend=/op PATH.delim=:", "PATH=/op:/u:/bin");
    check_component("FOO=0", Some("FOO=user"), "FOO.default=op", "FOO=user");
    check_component("FOO=0", None, "FOO.unknown=op", "FOO=0");
}

#[test]
fn what_a_component_is_given_does_not_stay_for_the_next() {
    let env = env("A=1");
    assert_eq!(shown(&env.for_component(Some(&files("A=2")), &files("B=3"))), "A=2 B=3");
    assert_eq!(shown(&env), "A=1");
}

mod directories {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[track_caller]
    fn temp() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory can be made")
    }

    #[test]
    fn values_are_the_exact_bytes_of_the_files() {
        let dir = temp();
        fs::write(dir.path().join("A"), b"line\n\xff ").expect("write");
        fs::write(dir.path().join("with.dots"), b"").expect("write");
        fs::create_dir(dir.path().join("sub")).expect("mkdir");
        symlink("A", dir.path().join("LINK")).expect("symlink");
        symlink("sub", dir.path().join("LINKED_DIR")).expect("symlink");
        let read = EnvDir::read(dir.path()).expect("the directory is readable");
        let odd = OsStr::from_bytes(b"line\n\xff ");
        let files: Vec<_> = read.files().collect();
        let name = OsStr::new;
        assert_eq!(files, [(name("A"), odd), (name("LINK"), odd), (name("with.dots"), name(""))]);
    }

    #[test]
    fn a_directory_that_is_missing_or_a_file_holds_nothing() {
        let dir = temp();
        fs::write(dir.path().join("env"), "x").expect("write");
        for name in ["missing", "env", "env/x"] {
            assert_eq!(EnvDir::read(&dir.path().join(name)).expect("no error"), EnvDir::default());
        }
    }

    #[test]
    fn a_dangling_symlink_is_an_error_that_names_it() {
        let dir = temp();
        symlink("nowhere", dir.path().join("X")).expect("symlink");
        let error = EnvDir::read(dir.path()).expect_err("the link leads nowhere");
        assert!(error.to_string().ends_with("/X`"), "{error}");
    }

    #[test]
    fn a_pipe_is_not_read() {
        let dir = temp();
        nix::unistd::mkfifo(&dir.path().join("X"), nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
        assert_eq!(EnvDir::read(dir.path()).expect("pipes are left out"), EnvDir::default());
    }

    #[test]
    fn more_than_any_process_can_be_given_is_refused() {
        let dir = temp();
        let half = vec![b'x'; 5 << 20];
        fs::write(dir.path().join("A"), &half).expect("write");
        fs::write(dir.path().join("B"), &half).expect("write");
        let error = EnvDir::read(dir.path()).expect_err("10 MiB are too much");
        assert!(matches!(error, EnvDirError::TooLarge(_)), "{error}");
    }

    #[test]
    fn a_layer_is_read_for_one_phase() {
        let dir = temp();
        for (file, value) in
            [("env/E", "1"), ("env.build/B", "2"), ("env.launch/L", "3"), ("env.launch/web/W", "4")]
        {
            let path = dir.path().join(file);
            fs::create_dir_all(path.parent().expect("a file has a parent")).expect("mkdir");
            fs::write(path, value).expect("write");
        }
        fs::create_dir(dir.path().join("bin")).expect("mkdir");
        fs::write(dir.path().join("lib"), "a file").expect("write");
        let build = LayerEnv::read_for_build(dir.path()).expect("readable");
        assert_eq!((&build.env, &build.env_build), (&files("E=1"), &files("B=2")));
        assert_eq!((build.directories, build.env_launch), (vec!["bin"], files("")));
        let launch = LayerEnv::read_for_launch(dir.path(), Some("web")).expect("readable");
        assert_eq!((&launch.env_launch, &launch.env_process), (&files("L=3"), &files("W=4")));
        let command = LayerEnv::read_for_launch(dir.path(), None).expect("readable");
        assert_eq!((command.env_launch, command.env_process), (files("L=3"), files("")));
    }
}

proptest! {
    /// Whatever names and bytes files have, variables stay ones that a process can be given.
    #[test]
    fn names_of_variables_are_always_possible(
        dir in proptest::collection::vec((proptest::collection::vec(0x20..0xffu8, 0..12), ".{0,8}"), 0..8),
        suffix in "(|\\.append|\\.prepend|\\.default|\\.override|\\.delim|\\..{0,3})",
    ) {
        let named = dir.into_iter().map(|(mut name, value)| {
            name.extend(suffix.bytes());
            (OsString::from_vec(name), OsString::from(value))
        });
        let dir: EnvDir = named.collect();
        let mut env = Env::default();
        env.modify(&dir, &dir, Bare::Override);
        let env = env.for_component(Some(&dir), &dir);
        for (name, _) in env.iter() {
            prop_assert!(is_variable_name(name.as_bytes()));
        }
    }

    /// Appending in several layers gives all parts in order, prepending the mirror image.
    #[test]
    fn prepend_mirrors_append(parts in proptest::collection::vec("[a-z]{1,3}", 1..6)) {
        let layers = |operation: &str| parts.iter().map(|part| LayerEnv {
            env: [(format!("X.{operation}"), part.clone()), ("X.delim".into(), ",".into())].into_iter().collect(),
            ..LayerEnv::default()
        }).collect::<Vec<_>>();
        let mut env = Env::default();
        env.add_build_layers(&layers("append"));
        prop_assert_eq!(shown(&env), format!("X={}", parts.join(",")));
        let mut env = Env::default();
        env.add_build_layers(&layers("prepend"));
        let mirrored: Vec<_> = parts.iter().rev().cloned().collect();
        prop_assert_eq!(shown(&env), format!("X={}", mirrored.join(",")));
    }
}
