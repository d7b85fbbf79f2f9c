//! Tests of processes: who they are, what they see, and that none survives.

use std::io::{Read as _, Seek as _};
use std::time::{Duration, Instant};

use super::*;
use crate::testing::{is_root, skipped};

fn process(script: &str) -> Process {
    Process {
        argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        environment: BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]),
        cwd: "/".to_owned(),
        credentials: Credentials {
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
            groups: vec![rustix::process::getegid().as_raw()],
            home: "/".to_owned(),
        },
        network: Network::Default,
        script: None,
    }
}

fn host() -> Root {
    Root::open(Path::new("/")).expect("open root")
}

fn output_of(root: &Root, process: &Process) -> (Result<(), RunError>, String) {
    let mut file = tempfile::tempfile().expect("temp file");
    let clone = || Some(file.try_clone().expect("clone"));
    let output = Output { stdout: clone(), stderr: clone() };
    let ignore = IgnoreSet::default();
    let surroundings = Surroundings { ignore: &ignore, furnished: None, mounts: None };
    let done = run(root, process, surroundings, &output);
    let mut text = String::new();
    file.rewind().expect("rewind");
    file.read_to_string(&mut text).expect("read");
    (done, text)
}

#[track_caller]
fn check(process: &Process, expected: &str) {
    let (done, text) = output_of(&host(), process);
    done.expect("run");
    assert_eq!(text, expected);
}

#[test]
fn a_process_has_only_the_environment_given() {
    let mut process = process("/usr/bin/env | sort | grep -v '^_='");
    process.environment.insert("GREETING".to_owned(), "a=b c".to_owned());
    check(&process, "GREETING=a=b c\nPATH=/usr/bin:/bin\nPWD=/\n");
}

#[test]
fn the_exit_code_is_told_and_a_signal_as_shells_do() {
    for (script, expected) in [("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        let (done, _) = output_of(&host(), &process(script));
        assert!(matches!(done, Err(RunError::Failed { code, .. }) if code == expected), "{script}: {done:?}");
    }
}

#[test]
fn a_missing_program_is_named() {
    let mut missing = process("");
    missing.argv = vec!["no-such-program".to_owned()];
    let (done, _) = output_of(&host(), &missing);
    let error = done.expect_err("an error").to_string();
    assert!(error.starts_with("failed to start `no-such-program`: No such file"), "{error}");
}

#[test]
fn a_program_is_found_by_the_path_of_its_environment() {
    let temp = tempfile::tempdir().expect("temp dir");
    let tool = temp.path().join("only-here");
    std::fs::write(&tool, "#!/bin/sh\necho found").expect("write");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&tool, mode).expect("chmod");
    let mut process = process("");
    process.argv = vec!["only-here".to_owned()];
    process.environment.insert("PATH".to_owned(), temp.path().display().to_string());
    check(&process, "found\n");
}

#[test]
fn umask_input_and_session_are_its_own() {
    check(&process("umask; cat; [ $$ = $(ps -o sid= -p $$) ] && echo session"), "0022\nsession\n");
}

#[test]
fn descriptors_of_the_extender_are_closed() {
    let (_reader, _writer) = nix::unistd::pipe().expect("pipe");
    check(&process("ls /proc/self/fd | sort -n | tr '\\n' ' '"), "0 1 2 3 ");
}

#[test]
fn ignored_signals_are_not_inherited() {
    check(&process("grep SigIgn /proc/self/status"), "SigIgn:\t0000000000000000\n");
}

#[test]
fn the_user_has_exactly_its_groups() {
    if !is_root("the_user_has_exactly_its_groups") {
        return;
    }
    let mut process = process("id -u; id -g; id -G");
    process.credentials = Credentials { uid: 1234, gid: 55, groups: vec![55, 77], home: String::new() };
    check(&process, "1234\n55\n55 77\n");
}

#[test]
fn the_working_directory_is_entered_by_its_handle() {
    let temp = tempfile::tempdir().expect("temp dir");
    let mut inside = process("pwd -P");
    inside.cwd = temp.path().display().to_string();
    check(&inside, &format!("{}\n", temp.path().canonicalize().expect("path").display()));
    for cwd in ["/proc/self/fd", "/dev", "/sys"] {
        inside.cwd = cwd.to_owned();
        let (done, _) = output_of(&host(), &inside);
        assert!(matches!(done, Err(RunError::KernelDirectory(_))), "{cwd}: {done:?}");
    }
    inside.cwd = temp.path().join("made").display().to_string();
    check(&inside, &format!("{}/made\n", temp.path().canonicalize().expect("path").display()));
    std::fs::write(temp.path().join("file"), "").expect("write");
    inside.cwd = temp.path().join("file").display().to_string();
    assert!(matches!(output_of(&host(), &inside).0, Err(RunError::Directory(_))));
}

/// Processes that wait for this many seconds; nobody else does.
fn waiting(seconds: u32) -> usize {
    let argument = format!("sleep\0{seconds}\0");
    let processes = std::fs::read_dir("/proc").expect("list").flatten();
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| line == argument.as_bytes()).count()
}

#[test]
fn no_process_survives_however_it_detached() {
    for (seconds, script) in [
        (71_001, "sleep 71001 &"),
        (71_002, "setsid sleep 71002 &"),
        (71_003, "(setsid sh -c 'setsid sleep 71003 & sleep 71003' &) ; exit 0"),
        (71_004, "nohup setsid sh -c 'trap \"\" TERM HUP; sleep 71004; sleep 71004' >/dev/null 2>&1 &"),
    ] {
        let start = Instant::now();
        let (done, _) = output_of(&host(), &process(&format!("{script}\nsleep 0.1")));
        done.expect("run");
        assert_eq!(waiting(seconds), 0, "{script}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }
    let (done, _) = output_of(&host(), &process("setsid sleep 71005 & exit 3"));
    assert!(matches!(done, Err(RunError::Failed { code: 3, .. })));
    assert_eq!(waiting(71_005), 0);
}

#[test]
fn without_network_nothing_can_be_reached() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("listen");
    let port = listener.local_addr().expect("address").port();
    let connect = format!("exec 3<>/dev/tcp/127.0.0.1/{port}");
    let mut process = process("");
    process.argv = ["/bin/bash", "-c", &connect].map(str::to_owned).to_vec();
    if output_of(&host(), &process).0.is_err() {
        return skipped("without_network_nothing_can_be_reached", "bash cannot connect here");
    }
    process.network = Network::None;
    assert!(output_of(&host(), &process).0.is_err());
}

/// Runs a Python script with the filters asked for; `None` where there is no Python.
fn filtered(script: &str, without_network: bool, without_sync: bool) -> Option<String> {
    let mut command = Command::new("/usr/bin/python3");
    command.args(["-c", script]).env_clear();
    let plan = child::Plan {
        root: None,
        cwd: open_cwd(&host(), "/", &IgnoreSet::default()).expect("open"),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        groups: Vec::new(),
        without_network,
        without_sync,
    };
    child::prepare(&mut command, plan);
    let output = command.output().ok()?;
    assert!(output.status.success(), "{output:?}");
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn the_filter_alone_keeps_a_process_from_the_network() {
    let script = "import socket\nsocket.socket(socket.AF_UNIX)\n\
        try: socket.socket(socket.AF_INET)\nexcept OSError as e: print(e.errno)";
    for without_sync in [false, true] {
        let Some(output) = filtered(script, true, without_sync) else {
            return skipped("the_filter_alone_keeps_a_process_from_the_network", "there is no python3");
        };
        assert_eq!(output, "97\n");
    }
}

#[test]
fn waiting_for_the_disk_is_left_out_only_where_that_changes_nothing_else() {
    let name = "waiting_for_the_disk_is_left_out_only_where_that_changes_nothing_else";
    // A pipe cannot be waited for: the call fails, unless it is never made.
    let script = "import os\nr, w = os.pipe()\n\
        try: os.fsync(w); print('left out')\nexcept OSError: print('made')\n\
        print([line for line in open('/proc/self/status') if line.startswith('NoNewPrivs')][0].split()[1])";
    let Some(with) = filtered(script, false, false) else {
        return skipped(name, "there is no python3");
    };
    let without = filtered(script, false, true).expect("there is python3");
    let privileges = with.strip_prefix("made\n").expect("no filter");
    assert!(without.ends_with(privileges), "{with} {without}");
    let work = tempfile::tempdir().expect("temp dir");
    let may_administer = namespace::is_allowed(work.path());
    assert_eq!(without.starts_with("left out"), may_administer || privileges == "1\n", "{without}");
}
