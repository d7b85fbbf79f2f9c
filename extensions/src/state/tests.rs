//! The scope of ARG and ENV, and what each instruction asks to be done.

use std::collections::BTreeMap;

use super::*;
use crate::dockerfile::{MountKind, parse};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn supply(pairs: &[(&str, &str)]) -> Arguments {
    Arguments { supplied: map(pairs), ..Arguments::default() }
}

/// Runs every instruction of a file; returns the state and the steps.
#[track_caller]
fn build(text: &str, config: ConfigState, arguments: Arguments) -> (BuildState, Vec<Step>) {
    let dockerfile = parse("Dockerfile", text.as_bytes()).unwrap();
    let scope = Scope::new(&dockerfile.directives, &dockerfile.meta_args, arguments).unwrap();
    let mut state = BuildState::new(config, scope);
    let instructions = &dockerfile.stages[0].instructions;
    let steps = instructions.iter().map(|instruction| state.step(instruction).unwrap()).collect();
    (state, steps)
}

fn fails(text: &str) -> StepError {
    let dockerfile = parse("Dockerfile", text.as_bytes()).unwrap();
    let scope = Scope::new(&dockerfile.directives, &dockerfile.meta_args, Arguments::default()).unwrap();
    let mut state = BuildState::new(ConfigState::default(), scope);
    let mut steps = dockerfile.stages[0].instructions.iter().map(|instruction| state.step(instruction));
    steps.find_map(Result::err).unwrap()
}

/// Expands `$x` where a file ends, through a label.
#[track_caller]
fn check_x(lines: &str, arguments: Arguments, expected: &str) {
    let text = format!("{lines}\nLABEL x=\"${{x-unset}}\"");
    let (state, _) = build(&text, ConfigState::default(), arguments);
    assert_eq!(state.config().labels["x"], expected, "{lines}");
}

fn run(text: &str, arguments: Arguments) -> (RunAction, bool) {
    let (_, steps) = build(text, ConfigState::default(), arguments);
    let last = steps.into_iter().next_back().unwrap();
    match last.action {
        Action::Run(run) => (run, last.depends_on_build_id),
        other => panic!("{other:?}"),
    }
}

fn argv(text: &str) -> Vec<String> {
    match run(text, Arguments::default()).0.invocation {
        Invocation::Argv(argv) => argv,
        Invocation::Script { .. } => panic!("a script"),
    }
}

#[test]
fn an_argument_above_from_is_seen_by_from_only() {
    check_x("ARG x=1\nFROM a", supply(&[]), "unset");
    let dockerfile = parse("f", b"ARG x=1\nARG y=a:$x\nFROM ${y}-b").unwrap();
    let scope = Scope::new(&dockerfile.directives, &dockerfile.meta_args, supply(&[])).unwrap();
    assert_eq!(scope.image(&dockerfile.stages[0].from).unwrap(), "a:1-b");
}

#[test]
fn an_argument_declared_again_has_the_value_from_above_from() {
    check_x("ARG x=1\nFROM a\nARG x", supply(&[]), "1");
    check_x("ARG x\nFROM a\nARG x", supply(&[]), "unset");
    check_x("ARG x=1\nFROM a\nARG x=2", supply(&[]), "2");
}

#[test]
fn a_supplied_argument_wins_over_every_default() {
    check_x("ARG x=1\nFROM a\nARG x", supply(&[("x", "s")]), "s");
    check_x("FROM a\nARG x=2", supply(&[("x", "s")]), "s");
    check_x("FROM a\nARG x=2", supply(&[("x", "")]), "");
    check_x("FROM a\nARG x", supply(&[("x", "s")]), "s");
}

#[test]
fn a_supplied_argument_that_nothing_declares_has_no_effect() {
    check_x("FROM a", supply(&[("x", "s")]), "unset");
}

#[test]
fn of_arg_and_env_the_later_wins() {
    check_x("FROM a\nENV x=e\nARG x=a", supply(&[]), "a");
    check_x("FROM a\nARG x=a\nENV x=e", supply(&[]), "e");
    check_x("FROM a\nENV x=e\nARG x", supply(&[]), "e");
    check_x("FROM a\nENV x=e\nARG x", supply(&[("x", "s")]), "s");
}

#[test]
fn an_argument_is_environment_but_not_configuration() {
    let (run, _) = run("FROM a\nENV e=1\nARG x=2\nRUN y", supply(&[]));
    assert_eq!(run.environment["x"], "2");
    let (state, _) = build("FROM a\nENV e=1\nARG x=2 e=3", ConfigState::default(), supply(&[]));
    assert_eq!(state.config().env.last().unwrap(), &("e".to_owned(), "1".to_owned()));
}

#[test]
fn several_arguments_on_a_line_see_those_before_them() {
    check_x("FROM a\nARG y=1 x=$y", supply(&[]), "1");
    check_x("ARG y=1 x=$y\nFROM a\nARG x", supply(&[]), "1");
}

#[test]
fn the_values_of_a_line_see_the_environment_before_it() {
    check_x("FROM a\nENV y=old\nENV y=new x=$y", supply(&[]), "old");
    let (state, _) = build("FROM a\nENV y=1\nLABEL y=2 z=$y", ConfigState::default(), supply(&[]));
    assert_eq!(state.config().labels["z"], "1");
}

#[test]
fn env_replaces_in_place_and_keeps_order() {
    let env = vec![("PATH".to_owned(), "/p".to_owned()), ("b".to_owned(), "1".to_owned())];
    let config = ConfigState { env, ..ConfigState::default() };
    let (state, _) = build("FROM a\nENV c=3\nENV b=$PATH:$b A=x=y", config, supply(&[]));
    let env: Vec<String> = state.config().env.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(env, ["PATH=/p", "b=/p:1", "c=3", "A=x=y"]);
}

#[test]
fn a_base_without_path_has_the_default_one() {
    let (state, _) = build("FROM a", ConfigState::default(), supply(&[]));
    assert_eq!(state.config().env, [("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
}

#[test]
fn platform_arguments_exist_only_where_declared() {
    let arguments = Arguments { platform: map(&[("TARGETARCH", "arm64")]), ..Arguments::default() };
    let (missing, _) = run("FROM a\nRUN x", arguments.clone());
    assert!(!missing.environment.contains_key("TARGETARCH"));
    let (present, _) = run("FROM a\nARG TARGETARCH\nRUN x", arguments.clone());
    assert_eq!(present.environment["TARGETARCH"], "arm64");
    let (own, _) = run("FROM a\nARG TARGETARCH=amd64\nRUN x", arguments.clone());
    assert_eq!(own.environment["TARGETARCH"], "amd64");
    let dockerfile = parse("f", b"FROM a-$TARGETARCH").unwrap();
    let scope = Scope::new(&dockerfile.directives, &[], arguments).unwrap();
    assert_eq!(scope.image(&dockerfile.stages[0].from).unwrap(), "a-arm64");
}

#[test]
fn undeclared_proxies_are_environment_but_not_key() {
    let arguments = Arguments { proxies: map(&[("http_proxy", "p")]), ..supply(&[("HTTPS_PROXY", "s")]) };
    let (undeclared, _) = run("FROM a\nRUN x", arguments.clone());
    for (name, value) in [("HTTP_PROXY", "p"), ("http_proxy", "p"), ("https_proxy", "s")] {
        assert_eq!(undeclared.environment[name], value);
        assert!(!undeclared.key_environment.contains_key(name), "{name}");
    }
    let (declared, _) = run("FROM a\nARG http_proxy\nRUN x", arguments.clone());
    assert_eq!(declared.key_environment["http_proxy"], "p");
    let (env, _) = run("FROM a\nENV http_proxy=mine\nRUN x", arguments);
    assert_eq!(env.environment["http_proxy"], "mine");
}

#[test]
fn proxies_are_not_expanded_undeclared() {
    let arguments = Arguments { proxies: map(&[("HTTP_PROXY", "p")]), ..Arguments::default() };
    let (state, _) = build("FROM a\nLABEL x=${HTTP_PROXY-no}", ConfigState::default(), arguments);
    assert_eq!(state.config().labels["x"], "no");
}

#[test]
fn build_id_is_in_the_key_only_where_it_is_mentioned() {
    let id = || supply(&[("build_id", "u1")]);
    let (silent, volatile) = run("FROM a\nARG build_id=0\nRUN x", id());
    assert_eq!((silent.environment["build_id"].as_str(), volatile), ("u1", false));
    assert!(!silent.key_environment.contains_key("build_id"));
    for text in [
        "RUN echo ${build_id}",
        "RUN <<EOF\necho $build_id\nEOF",
        "RUN [\"env\", \"build_id\"]",
        "ENV v=$build_id\nRUN x",
        "ARG v=$build_id\nARG w=$v\nRUN x",
        "USER $build_id\nRUN x",
        "RUN --mount=type=cache,target=/$build_id x",
    ] {
        let (_, volatile) = run(&format!("FROM a\nARG build_id\n{text}"), id());
        assert!(volatile, "{text}");
    }
    for text in [
        "ENV v=$build_id\nENV v=1\nRUN x",
        "ENV build_id=1\nENV v=$build_id\nRUN x",
        "LABEL v=$build_id\nRUN x",
    ] {
        let (_, volatile) = run(&format!("FROM a\nARG build_id\n{text}"), id());
        assert!(!volatile, "{text}");
    }
    let (_, volatile) = run("ARG build_id\nARG v=$build_id\nFROM a\nARG v\nRUN x", id());
    assert!(volatile);
}

#[test]
fn a_copy_depends_on_build_id_through_its_words() {
    let text = "FROM a\nARG build_id\nCOPY a /$build_id\nCOPY a /b\nCOPY <<E /c\n$build_id\nE\nWORKDIR /$build_id\nCOPY a b";
    let (_, steps) = build(text, ConfigState::default(), supply(&[("build_id", "u")]));
    let volatile: Vec<bool> = steps.iter().map(|step| step.depends_on_build_id).collect();
    assert_eq!(volatile, [false, true, false, true, true, true]);
}

#[test]
fn the_shell_form_runs_in_the_shell_of_the_state() {
    assert_eq!(argv("FROM a\nRUN echo $x"), ["/bin/sh", "-c", "echo $x"]);
    assert_eq!(argv("FROM a\nSHELL [\"/b\",\"-e\"]\nRUN x  y"), ["/b", "-e", "x  y"]);
    assert_eq!(argv("FROM a\nRUN [\"a\",\"$x\"]"), ["a", "$x"]);
    let config = ConfigState { shell: vec!["/base".to_owned()], ..ConfigState::default() };
    let (_, steps) = build("FROM a\nRUN x", config, supply(&[]));
    let Action::Run(run) = &steps[0].action else { panic!() };
    assert_eq!(run.invocation, Invocation::Argv(vec!["/base".to_owned(), "x".to_owned()]));
}

#[test]
fn a_sole_heredoc_is_the_script() {
    assert_eq!(argv("FROM a\nRUN <<EOF\na\nb\nEOF"), ["/bin/sh", "-c", "a\nb\n"]);
    assert_eq!(argv("FROM a\nRUN <<-EOF\n\ta\n\tEOF"), ["/bin/sh", "-c", "a\n"]);
    let (run, _) = run("FROM a\nRUN <<EOF\n#!/bin/x\na\nEOF", supply(&[]));
    let shell = vec!["/bin/sh".to_owned(), "-c".to_owned()];
    let (name, body) = ("EOF".to_owned(), "#!/bin/x\na\n".to_owned());
    assert_eq!(run.invocation, Invocation::Script { shell, name, body });
}

#[test]
fn other_heredocs_are_left_to_the_shell() {
    let text = "FROM a\nRUN cat <<A <<-B > x\n1\nA\n\t2\n\tB\n";
    assert_eq!(argv(text), ["/bin/sh", "-c", "cat <<A <<-B > x\n1\nA\n\t2\nB"]);
}

#[test]
fn mounts_are_expanded_and_absolute() {
    let text = "FROM a\nWORKDIR /w\nENV t=c\nRUN --mount=type=cache,target=$t --mount=target=/b/../d,source=$t --mount=type=secret,id=s x";
    let (run, _) = run(text, supply(&[]));
    let targets: Vec<&str> = run.mounts.iter().map(|mount| mount.target.as_str()).collect();
    assert_eq!(targets, ["/w/c", "/d", ""]);
    assert!(matches!(&run.mounts[0].kind, MountKind::Cache { id: Some(id), .. } if id == "/w/c"));
    assert!(matches!(&run.mounts[1].kind, MountKind::Bind { source, .. } if source == "c"));
}

#[test]
fn bad_mounts_are_errors_with_their_line() {
    let error = fails("FROM a\n\nRUN --mount=type=$x,target=/y z");
    assert_eq!(
        error.to_string(),
        "RUN on line 3: invalid `--mount=type=$x,target=/y`: unsupported mount type ``"
    );
    let error = fails("FROM a\nRUN --mount=target=/ z");
    assert_eq!(error.to_string(), "RUN on line 2: invalid mount target `/`");
}

#[test]
fn workdir_is_joined_and_made() {
    let text = "FROM a\nENV d=x\nWORKDIR /a\nWORKDIR $d\nWORKDIR ../y\nWORKDIR /";
    let (state, steps) = build(text, ConfigState::default(), supply(&[]));
    let actions: Vec<&Action> = steps[1..].iter().map(|step| &step.action).collect();
    let made = |path: &str| Action::MakeWorkdir(path.to_owned());
    assert_eq!(actions, [&made("/a"), &made("/a/x"), &made("/a/y"), &Action::Metadata]);
    assert_eq!(state.config().workdir, "/");
}

#[test]
fn copy_and_add_are_expanded() {
    let text = "FROM a\nENV s=src o=7:8 d=out\nWORKDIR /w\nCOPY --chown=$o --chmod=$m --exclude=$s $s/a b $d/\nADD --checksum=$s x .";
    let (_, steps) = build(text, ConfigState::default(), supply(&[]));
    let Action::Copy(copy) = &steps[2].action else { panic!() };
    assert_eq!(copy.transfer.sources, ["src/a", "b"]);
    assert_eq!(copy.transfer.destination, "/w/out/");
    assert_eq!(copy.transfer.chown.as_deref(), Some("7:8"));
    assert_eq!(copy.transfer.chmod, None);
    assert_eq!(copy.transfer.exclude, ["$s"]);
    let Action::Add(add) = &steps[3].action else { panic!() };
    assert_eq!(add.checksum.as_deref(), Some("src"));
    assert_eq!((add.transfer.sources[0].as_str(), add.transfer.destination.as_str()), ("x", "/w/"));
}

#[test]
fn inline_files_are_expanded_unless_their_delimiter_is_quoted() {
    let text = "FROM a\nENV v=1\nCOPY <<a <<'b' /d/\n\"$v\" \\$v\na\n$v\nb";
    let (_, steps) = build(text, ConfigState::default(), supply(&[]));
    let Action::Copy(copy) = &steps[1].action else { panic!() };
    let bodies: Vec<&str> = copy.transfer.heredocs.iter().map(|heredoc| heredoc.body.as_str()).collect();
    assert_eq!(bodies, ["\"1\" $v\n", "$v\n"]);
}

#[test]
fn user_is_expanded_and_may_be_empty() {
    let (state, _) = build("FROM a\nENV u=7\nUSER $u:8", ConfigState::default(), supply(&[]));
    assert_eq!(state.config().user, "7:8");
    let (state, _) = build("FROM a\nUSER $nobody", ConfigState::default(), supply(&[]));
    assert_eq!(state.config().user, "");
}

#[test]
fn recorded_instructions_change_the_configuration_only() {
    let text = "FROM a\nENV p=80\nCMD x\nENTRYPOINT [\"e\"]\nEXPOSE $p/udp 1-2\nVOLUME /$p\nSTOPSIGNAL SIGTERM\nMAINTAINER m\nONBUILD RUN $p\nHEALTHCHECK NONE";
    let (state, steps) = build(text, ConfigState::default(), supply(&[]));
    assert!(steps.iter().all(|step| step.action == Action::Metadata));
    let config = state.into_config();
    assert_eq!(config.cmd.unwrap(), ["/bin/sh", "-c", "x"]);
    assert_eq!(config.entrypoint.unwrap(), ["e"]);
    assert_eq!(config.exposed_ports.into_iter().collect::<Vec<_>>(), ["1/tcp", "2/tcp", "80/udp"]);
    assert_eq!(config.volumes.into_iter().collect::<Vec<_>>(), ["/80"]);
    assert_eq!(config.stop_signal.as_deref(), Some("SIGTERM"));
    assert_eq!(config.author.as_deref(), Some("m"));
    assert_eq!(config.on_build, ["RUN $p"]);
    assert_eq!(config.healthcheck.unwrap().command, None);
}

#[test]
fn an_entrypoint_clears_the_command_of_the_base() {
    let (state, _) = build("FROM a\nENTRYPOINT [\"e\"]", ConfigState::default(), supply(&[]));
    assert_eq!(state.config().cmd, Some(vec![]));
}

#[test]
fn a_word_that_cannot_be_expanded_is_an_error_with_its_line() {
    let error = fails("FROM a\nENV x='\nRUN y");
    assert_eq!((error.instruction, error.span.line), ("ENV", 2));
    let error = fails("FROM a\nRUN y\nUSER ${u:?set a user}");
    assert_eq!(error.to_string(), "USER on line 3: failed to process `${u:?set a user}`: u: set a user");
}

#[test]
fn the_escape_directive_holds_for_expansion() {
    let (state, _) =
        build("# escape=`\nFROM a\nENV v=1\nLABEL x=`$v y=\\$v", ConfigState::default(), supply(&[]));
    assert_eq!(state.config().labels["x"], "$v");
    assert_eq!(state.config().labels["y"], "\\1");
}

#[test]
fn variables_that_double_with_each_line_end_in_an_error() {
    let doubling = "ENV x=$x$x\n".repeat(40);
    let error = fails(&format!("FROM a\nENV x=0123456789\n{doubling}"));
    assert!(matches!(error.error, ValueError::Expand(ExpandError::Limit { .. })));
}

#[test]
fn a_few_lines_cannot_ask_for_any_amount_of_memory() {
    let line = |(from, to): (&str, &str)| format!("ENV {to}={}\n", format!("${from}").repeat(16));
    let lines: String = ["ab", "bc", "cd", "de"].iter().map(|pair| line(pair.split_at(1))).collect();
    // A megabyte each, in one line.
    let pairs: Vec<String> = (0..1000).map(|number| format!("x{number}=$e")).collect();
    let text = format!("FROM a\nENV a=0123456789abcdef\n{lines}ENV {}\n", pairs.join(" "));
    let error = fails(&text);
    assert!(matches!(error.error, ValueError::TooLong), "{error}");
}
