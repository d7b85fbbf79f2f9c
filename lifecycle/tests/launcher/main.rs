//! The launcher, run as the entrypoint of an app image whose directories lie in a temporary one.
//!
//! `LAUNCHER=/path/of/another` runs the same cases against another launcher.

mod image;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use image::{Image, METADATA, copy};

#[test]
fn name_selects_the_process_and_arguments_follow_its_buildpacks_rules() {
    Image::new()
        .with("X", "value")
        .check("/cnb/process/web", "web 0\n")
        .check("echo", "default args\n")
        .check("/cnb/process/echo", "default args\n")
        .check("echo user", "user\n")
        .check("echo $X", "$X\n")
        .check("fixed", "always default\n")
        .check("fixed user", "always user\n")
        .check("old", "one value\n")
        .check("old|two  $X", "one value two  value\n")
        .check("old-direct", "one $X\n")
        .check("old-direct two", "one $X two\n")
        .check("script", "VALUE\nbash 0\n");
}

#[test]
fn before_platform_0_10_arguments_are_appended() {
    let image = Image::new().with("CNB_PLATFORM_API", "0.9");
    image.check("echo user", "default args user\n").check("fixed user", "always default user\n");
}

#[test]
fn commands_of_the_user_are_direct_after_two_dashes_and_scripts_otherwise() {
    let image = Image::new().with("X", "a  b");
    image
        .check("launcher -- echo $X", "$X\n")
        .check("launcher|--|echo|$X|  y", "$X   y\n")
        .check("launcher|echo $X", "a b\n")
        .check("launcher|echo|$X", "a  b\n")
        .check("launcher|echo|'$X'", "'a  b'\n")
        .check("launcher|printf|<%s>|-n|-e|-x", "<-n><-e><-x>")
        .check("launcher|echo|$(echo c)|`echo d`|\\$X", "c d $X\n")
        .check("launcher|echo|\"|x", " x\n")
        .check("launcher|printf|<%s>|1|2|3|4|5|6|7|8|9|10|11", "<1><2><3><4><5><6><7><8><9><10><11>")
        .check("unknown-name -- echo x", "x\n");
}

#[test]
fn nothing_to_start_is_an_error_that_names_the_processes() {
    let image = Image::new();
    image
        .check_fails("launcher", 82, "when there is no default process a command is required")
        .check_fails("launcher --", 82, "process types are web, echo")
        .check_fails("empty", 82, "no command provided for process type \"empty\"")
        .check_fails("lost", 82, "path lookup: exec: \"no-such-program\": executable file not found in $PATH")
        .check_fails("launcher -- /no/such/program", 82, "`/no/such/program` does not exist")
        .check_fails("launcher -- ./app", 82, "app/./app` does not exist");
}

#[test]
fn process_runs_in_its_working_directory() {
    let image = Image::new();
    let app = image.path("app").display().to_string();
    image.check("in-dir", &format!("{app}/sub\n")).check("launcher -- pwd", &format!("{app}\n"));
    image.check("shell-in-dir", &format!("{app}/it's\n")).check("launcher pwd", &format!("{app}\n"));
    fs::remove_dir(image.path("app/sub")).expect("removed");
    fs::remove_dir(image.path("app/it's")).expect("removed");
    image.check_fails("in-dir", 82, "sub` cannot be entered");
    let ended = image.launch("shell-in-dir", &[]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(82), ""), "{ended:?}");
    assert!(ended.err.contains("it's"), "{ended:?}");
}

#[test]
fn path_with_a_slash_is_relative_to_the_working_directory_and_a_name_is_looked_up_before() {
    let image = Image::new();
    image.script("app/sub/run", "echo sub");
    image.script("app/bin/tool", "pwd");
    let text = "[[buildpacks]]\nid = 'a'\napi = '0.10'\n[[processes]]\ntype = 'p'\ncommand = ['./run']\n\
                direct = true\nworking-dir = 'sub'\n[[processes]]\ntype = 'q'\ncommand = ['tool']\n\
                direct = true\nworking-dir = 'sub'\n";
    image.file("layers/config/metadata.toml", text);
    let sub = image.path("app/sub").display().to_string();
    image.with("PATH", "bin:/bin").check("p", "sub\n").check("q", &format!("{sub}\n"));
}

#[test]
fn exec_env_decides_from_platform_0_15_on() {
    let image = Image::new();
    image.check("everywhere", "all\n").check_fails(
        "test-only",
        82,
        "`test-only` is for the execution environments test, ci only, not for `production`",
    );
    let image = image.with("CNB_EXEC_ENV", "ci");
    image.check("test-only", "test\n").check("everywhere", "all\n").check("echo", "default args\n");
    let image = image.with("CNB_EXEC_ENV", "a/b");
    image.check_fails("echo", 82, "`a/b` contains `/`");
    image.with("CNB_PLATFORM_API", "0.14").check("test-only", "test\n");
}

#[test]
fn lifecycle_variables_and_directories_are_hidden_from_the_process() {
    let image =
        Image::new().with("KEPT", "1").with("CNB_EXEC_ENV", "test").with("CNB_DEPRECATION_MODE", "quiet");
    let ended = image.launch("launcher", &["--", "env"]);
    let mut lines: Vec<&str> = ended.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["CNB_EXEC_ENV=test", "CNB_NO_COLOR=true", "KEPT=1", "PATH=/usr/bin:/bin"]);
}

#[test]
fn layers_set_the_environment() {
    let image = Image::new();
    image
        .file("layers/new_one/a/bin/x", "")
        .file("layers/new_one/a/lib/x", "")
        .file("layers/new_one/a/include/x", "")
        .file("layers/new_one/b/bin/x", "")
        .file("layers/old/c/bin/x", "")
        .file("layers/new_one/a/env/E", "env")
        .file("layers/new_one/a/env.build/B", "build")
        .file("layers/new_one/a/env.launch/L.append", "launch")
        .file("layers/new_one/b/env.launch/L.append", "+")
        .file("layers/new_one/a/env.launch/echo/L.default", "no")
        .file("layers/new_one/a/env.launch/web/P", "of web")
        .file("layers/absent/z/env/Z", "not of a buildpack");
    let layers = image.path("layers").display().to_string();
    image
        .check("launcher|--|sh|-c|echo $E-$B-$L-$P-$Z-$CPATH", "env--launch+---\n")
        .check(
            "launcher|--|sh|-c|echo $PATH $LD_LIBRARY_PATH",
            &format!(
                "{layers}/old/c/bin:{layers}/new_one/b/bin:{layers}/new_one/a/bin:/usr/bin:/bin {layers}/new_one/a/lib\n"
            ),
        );
    image.file("layers/config/metadata.toml", &METADATA.replace("echo web $#", "echo $P"));
    image.check("web", "of web\n");
}

#[test]
fn executables_of_layers_are_found_and_replaced_in_place() {
    let image = Image::new();
    image.script("layers/new_one/a/bin/no-such-program", "echo found $$ $0");
    let child = image.command("lost", &[]).stdout(Stdio::piped()).spawn().expect("runs");
    let pid = child.id();
    let out = child.wait_with_output().expect("ends").stdout;
    let path = image.path("layers/new_one/a/bin/no-such-program").display().to_string();
    assert_eq!(String::from_utf8_lossy(&out), format!("found {pid} {path}\n"));
}

#[test]
fn bash_is_replaced_too() {
    let image = Image::new();
    image.script("app/tool", "echo $$").file("app/.profile", "export A=1");
    for args in [&["exec ./tool"][..], &["./tool"], &["./tool", "x"]] {
        let child = image.command("launcher", args).stdout(Stdio::piped()).spawn().expect("runs");
        let pid = child.id();
        let out = child.wait_with_output().expect("ends").stdout;
        assert_eq!(String::from_utf8_lossy(&out), format!("{pid}\n"), "{args:?}");
    }
}

#[test]
fn exec_d_runs_in_order_and_each_sees_what_came_before() {
    let image = Image::new();
    let note = |name: &str| format!("echo \"ORDER = '$ORDER {name}'\" >&3; echo ran {name} >&2; pwd");
    image
        .script("layers/old/a/exec.d/x", &note("old"))
        .script("layers/new_one/b/exec.d/x", &note("b"))
        .script("layers/new_one/a/exec.d/10", &note("a10"))
        .script("layers/new_one/a/exec.d/9", &note("a9"))
        .script("layers/new_one/a/exec.d/web/x", &note("web"))
        .script("layers/new_one/a/exec.d/echo/x", &note("echo"))
        .file("layers/config/metadata.toml", &METADATA.replace("echo web $#", "echo $ORDER"));
    let app = image.path("app").display().to_string() + "\n";
    let ended = image.launch("web", &[]);
    assert_eq!(ended.out, format!("{}a10 a9 web b old\n", app.repeat(5)), "{ended:?}");
    assert_eq!(ended.err, "ran a10\nran a9\nran web\nran b\nran old\n");
}

#[test]
fn exec_d_that_fails_prevents_the_launch() {
    let cases = [
        ("exit 3", "exec.d/x': exit status 3"),
        ("kill -9 $$", "killed by SIGKILL"),
        ("echo 'A = 1' >&3", "`A` is not a text"),
        ("echo 'A B = 1' >&3", "toml: "),
    ];
    for (script, message) in cases {
        let image = Image::new();
        image.script("layers/old/a/exec.d/x", script);
        image.check_fails("echo", 82, message).check_fails("echo", 82, "exec.d/x");
    }
    let image = Image::new();
    image.file("layers/old/a/exec.d/x", "no script");
    image.check_fails("echo", 82, "is not executable");
}

#[test]
fn profiles_are_sourced_in_order_before_a_shell_process_only() {
    let image = Image::new();
    let note = |name: &str| format!("export ORDER=\"$ORDER {name}\"; CALLER=$0; export CALLER");
    image
        .file("layers/new_one/a $(touch x)/profile.d/it's \"1\".sh", &note("a"))
        .file("layers/new_one/b/profile.d/script/x.sh", &note("b-script"))
        .file("layers/new_one/b/profile.d/web/x.sh", &note("b-web"))
        .file("layers/new_one/b/profile.d/y.sh", &note("b"))
        .file("layers/old/c/profile.d/z.sh", "LOCAL=1; cd /; export ORDER=\"$ORDER c\"")
        .file("app/.profile", &note("app"))
        .file(
            "layers/config/metadata.toml",
            &METADATA.replace("echo $0 $#", "echo $ORDER $CALLER $LOCAL; pwd"),
        );
    let app = image.path("app").display().to_string();
    image
        .check("/cnb/process/script", &format!("\na b b-script c app /cnb/process/script\n{app}\n"))
        .check("launcher|echo $ORDER $LOCAL", "a b c app\n")
        .check("launcher|echo|$ORDER", " a b c app\n")
        .check("launcher|--|sh|-c|echo $ORDER", "\n");
    assert!(!image.path("app/x").exists());
}

#[test]
fn a_profile_that_is_a_directory_is_left_out() {
    let image = Image::new();
    image.file("app/.profile/x", "");
    image.check("launcher|echo ok", "ok\n");
}

#[test]
fn exit_code_and_signals_are_those_of_the_process() {
    let image = Image::new();
    for args in [&["--", "sh", "-c", "exit 7"][..], &["exit 7"], &["sh", "-c", "'exit 7'"]] {
        let expected = if args.len() == 3 { Some(127) } else { Some(7) };
        assert_eq!(image.launch("launcher", args).code, expected, "{args:?}");
    }
    let status = image.command("launcher", &["--", "sh", "-c", "kill -TERM $$"]).status().expect("runs");
    assert_eq!(status.signal(), Some(15));
}

#[test]
fn process_gets_signals_as_programs_expect_them() {
    let image = Image::new();
    // One that ignores SIGPIPE would print an error instead of being ended by it.
    let ended = image.launch("launcher", &["--", "sed", "-n", "s/^SigIgn:\\t//p", "/proc/self/status"]);
    let ignored = u64::from_str_radix(ended.out.trim(), 16).expect("a mask");
    assert_eq!(ignored & 0x1000, 0, "{ended:?}");
}

#[test]
fn platform_api_is_judged_first() {
    let image = Image::new();
    fs::remove_file(image.path("layers/config/metadata.toml")).expect("removed");
    let image = image.with("CNB_PLATFORM_API", "0.99");
    image.check_fails("web", 11, "platform API version '0.99' is incompatible with the lifecycle");
    image.without("CNB_PLATFORM_API").check_fails("web", 11, "please set 'CNB_PLATFORM_API'");
}

#[test]
fn metadata_that_is_missing_or_broken_is_an_error_of_the_launch() {
    let image = Image::new();
    let path = image.path("layers/config/metadata.toml").display().to_string();
    image.file("layers/config/metadata.toml", "[[processes]]\ncommand = 1\n");
    image.check_fails("web", 82, &format!("read metadata: {path}: `command` must be a list of texts"));
    image.file("layers/config/metadata.toml", "[[buildpacks]]\nid = 'x'\napi = '0.1'\n");
    image.check_fails("web", 12, "set API for buildpack 'x': version `0.1` is not supported");
    fs::remove_file(&path).expect("removed");
    image.check_fails("web", 82, &format!("read metadata: open {path}: no such file or directory"));
}

#[test]
fn what_is_too_large_for_the_kernel_is_named() {
    let image = Image::new().with("PATH", "/bin");
    image.file("layers/old/a/env/BIG", &"x".repeat(200_000));
    image.check_fails("echo", 82, "arguments and environment are too large");
    image.check_fails("echo", 82, "200005 of them in the variable BIG");
}

#[test]
fn a_reader_that_went_away_does_not_change_the_code() {
    let image = Image::new();
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = image.command("launcher", &[]).stderr(writer).status().expect("runs");
    assert_eq!(status.code(), Some(82), "{status}");
}

#[test]
fn messages_are_coloured_unless_that_is_switched_off() {
    let image = Image::new().without("CNB_NO_COLOR");
    assert!(image.launch("launcher", &[]).err.starts_with("\u{1b}[31;1mERROR: \u{1b}[0mfailed to launch: "));
}

#[test]
fn the_old_way_to_choose_a_process_is_warned_of() {
    let image = Image::new().with("CNB_PROCESS_TYPE", "web");
    let ended = image.launch("launcher", &["--", "sh", "-c", "echo x$CNB_PROCESS_TYPE"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "x\n"));
    assert!(ended.err.contains("Warning: CNB_PROCESS_TYPE is not supported"), "{ended:?}");
}

#[test]
fn links_select_processes_too() {
    let image = Image::new();
    let link = image.path("echo");
    symlink(env!("CARGO_BIN_EXE_launcher"), &link).expect("linked");
    let output = Command::new(&link).env_clear().envs(image.env.iter().cloned()).output().expect("runs");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "default args\n");
}

/// Without bash in the image: the launcher is static, so that an image can be as good as empty.
#[test]
fn missing_bash_is_named() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can change the root directory");
        return;
    }
    let image = Image::new().with("CNB_APP_DIR", "/app").with("CNB_LAYERS_DIR", "/layers");
    copy(Path::new(env!("CARGO_BIN_EXE_launcher")), &image.path("launcher"));
    let root: &Path = image.root.path();
    let mut command = Command::new("chroot");
    command.arg(root).args(["/launcher", "echo x"]).env_clear().envs(image.env.iter().cloned());
    let output = command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").output().expect("chroot runs");
    assert_eq!(output.status.code(), Some(82), "{output:?}");
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(err.contains("needs `/bin/bash`, which this image does not have"), "{err}");
}
