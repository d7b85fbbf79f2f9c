//! The parser against BuildKit's, and against whatever text there is.

use proptest::prelude::*;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    input: String,
    #[serde(default)]
    error: bool,
    #[serde(default)]
    result: Vec<Says>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct Says {
    name: String,
    original: String,
    lines: (usize, usize),
    words: Vec<String>,
}

/// Inputs that we refuse and BuildKit takes, with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("FROM a\nCOPY [\"a\",\"<<x\"]", "BuildKit makes an empty file of a heredoc that has no body"),
    ("FROM a\nRUN", "BuildKit starts the shell without a command, which fails"),
    ("FROM a\nRUN --network=none", "BuildKit starts the shell without a command, which fails"),
    ("FROM a\nRUN --mount=a\"b x", "BuildKit starts the shell without a command, which fails"),
    ("FROM a\nRUN --mount=type=foo y", "BuildKit looks at the type only when it builds"),
];

fn says(dockerfile: &Dockerfile) -> Vec<Says> {
    let instruction = |instruction: &Instruction| Says {
        name: instruction.kind.name().to_owned(),
        original: instruction.original.clone(),
        lines: (instruction.span.line, instruction.span.last_line),
        words: words(&instruction.kind),
    };
    let mut all: Vec<Says> = dockerfile.meta_args.iter().map(instruction).collect();
    for stage in &dockerfile.stages {
        let from = &stage.from;
        let platform = from.platform.clone().unwrap_or_default();
        all.push(Says {
            name: "FROM".to_owned(),
            original: from.original.clone(),
            lines: (from.span.line, from.span.last_line),
            words: vec![from.image.clone(), platform, from.alias.clone().unwrap_or_default()],
        });
        all.extend(stage.instructions.iter().map(instruction));
    }
    all
}

fn words(kind: &Kind) -> Vec<String> {
    match kind {
        Kind::Env(pairs) | Kind::Label(pairs) => {
            pairs.iter().map(|pair| format!("{}={}", pair.key, pair.value)).collect()
        }
        Kind::Arg(declarations) => declarations.iter().map(declaration).collect(),
        Kind::Run(run) => run_words(run),
        Kind::Shell(argv) => argv.clone(),
        Kind::User(text) | Kind::Workdir(text) => vec![text.clone()],
        Kind::Copy(copy) => {
            let mut words = transfer(&copy.transfer);
            words.extend(option("from", copy.from.as_ref()));
            words.extend(copy.transfer.exclude.iter().map(|pattern| format!("exclude={pattern}")));
            words.push(format!("link={} parents={}", copy.transfer.link, copy.parents));
            words
        }
        Kind::Add(add) => {
            let mut words = transfer(&add.transfer);
            words.extend(option("checksum", add.checksum.as_ref()));
            words.extend(add.transfer.exclude.iter().map(|pattern| format!("exclude={pattern}")));
            let switch = |value: Option<bool>| value.map_or("-".to_owned(), |value| value.to_string());
            let (unpack, keep) = (switch(add.unpack), switch(add.keep_git_dir));
            words.push(format!("link={} unpack={unpack} keep-git-dir={keep}", add.transfer.link));
            words
        }
        Kind::Recorded(recorded) => recorded_words(recorded),
    }
}

fn recorded_words(recorded: &Recorded) -> Vec<String> {
    match recorded {
        Recorded::Cmd(command) | Recorded::Entrypoint(command) => command_line(command),
        Recorded::Expose(words) => {
            let mut words = words.clone();
            words.sort();
            words
        }
        Recorded::Volume(words) => words.clone(),
        Recorded::Maintainer(text) | Recorded::Onbuild(text) | Recorded::StopSignal(text) => {
            vec![text.clone()]
        }
        Recorded::Healthcheck(check) => {
            let mut words = match &check.command {
                None => vec!["NONE".to_owned()],
                Some(CommandLine::Shell(text)) => vec!["CMD-SHELL".to_owned(), text.clone()],
                Some(CommandLine::Exec(argv)) => [&["CMD".to_owned()], argv.as_slice()].concat(),
            };
            words.push(format!(
                "interval={} timeout={} start-period={} start-interval={} retries={}",
                check.interval_ns,
                check.timeout_ns,
                check.start_period_ns,
                check.start_interval_ns,
                check.retries
            ));
            words
        }
    }
}

fn declaration(declaration: &Declaration) -> String {
    match &declaration.default {
        Some(default) => format!("{}={default}", declaration.name),
        None => declaration.name.clone(),
    }
}

fn command_line(command: &CommandLine) -> Vec<String> {
    match command {
        CommandLine::Shell(text) => vec!["shell".to_owned(), text.clone()],
        CommandLine::Exec(argv) => [&["exec".to_owned()], argv.as_slice()].concat(),
    }
}

fn run_words(run: &Run) -> Vec<String> {
    let mut words = command_line(&run.command);
    for heredoc in &run.heredocs {
        words.push(format!("heredoc {} chomp={} {}", heredoc.name, heredoc.strip_tabs, heredoc.body));
    }
    words.push(format!("mounts={}", run.mounts.len()));
    words.push(format!("network={:?}", run.network).to_lowercase());
    words.push(format!("security={:?}", run.security).to_lowercase());
    words
}

fn transfer(transfer: &Transfer) -> Vec<String> {
    let mut words: Vec<String> = transfer.sources.iter().map(|path| format!("source {path}")).collect();
    for heredoc in &transfer.heredocs {
        words.push(format!("inline {} expand={} {}", heredoc.name, heredoc.expand, heredoc.body));
    }
    words.push(format!("destination {}", transfer.destination));
    words.extend(option("chown", transfer.chown.as_ref()));
    words.extend(option("chmod", transfer.chmod.as_ref()));
    words
}

fn option(name: &str, value: Option<&String>) -> Option<String> {
    value.map(|value| format!("{name}={value}"))
}

#[test]
fn every_case_is_read_as_buildkit_reads_it() {
    let golden = include_str!("../../../fixtures/golden/dockerfile/dockerfiles.json");
    let golden: Golden = serde_json::from_str(golden).unwrap();
    let mut wrong = Vec::new();
    for case in &golden.cases {
        let result = parse("Dockerfile", case.input.as_bytes());
        let refused = case.error || REFUSED.iter().any(|(input, _)| *input == case.input);
        match result {
            Err(_) if refused => {}
            Ok(dockerfile) if !refused && says(&dockerfile) == case.result => {}
            Err(error) => wrong.push(format!("{:?}: refused: {error}", case.input)),
            Ok(dockerfile) => {
                let (got, want) = (says(&dockerfile), &case.result);
                wrong.push(format!("{:?}:\n  got  {got:?}\n  want {want:?}", case.input));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), golden.cases.len(), wrong.join("\n"));
}

#[track_caller]
fn refused(text: &str) -> ParseError {
    parse("run.Dockerfile", text.as_bytes()).unwrap_err()
}

#[test]
fn an_error_names_file_line_column_and_draws_the_place() {
    let error = refused("FROM a\nRUN x \\\n  y\nCOPY --link \\\n  --chwon=1 a b\n");
    let message = "run.Dockerfile:5:3: unknown flag `--chwon` of COPY (did you mean `--chown`?)";
    assert_eq!(error.to_string(), message);
    assert_eq!(error.location.drawing(), "5 |   --chwon=1 a b\n  |   ^^^^^^^");
}

#[test]
fn an_unknown_instruction_is_named_with_its_line() {
    let error = refused("FROM a\n\n  RUM x");
    assert_eq!(error.to_string(), "run.Dockerfile:3:3: unknown instruction `RUM` (did you mean `RUN`?)");
    assert_eq!(error.location.drawing(), "3 |   RUM x\n  |   ^^^");
}

#[test]
fn an_unterminated_heredoc_points_at_its_start() {
    let error = refused("FROM a\nRUN <<EOF\nx\n");
    assert_eq!(error.to_string(), "run.Dockerfile:2:7: unterminated heredoc `EOF`");
}

#[test]
fn text_that_is_not_utf8_is_refused_with_its_line() {
    let error = parse("f", b"FROM a\nRUN \xff").unwrap_err();
    assert_eq!(error.to_string(), "f:2:1: the file is not valid UTF-8");
}

#[test]
fn a_file_without_from_is_refused() {
    assert_eq!(refused("ARG a\n").error, SyntaxError::NoStage);
    assert_eq!(refused("").error, SyntaxError::NoStage);
}

#[test]
fn sizes_beyond_the_limits_are_refused() {
    let many = format!("FROM a\n{}", "RUN x\n".repeat(10_000));
    assert!(matches!(refused(&many).error, SyntaxError::Limit(_)));
    let large = format!("FROM a\n{}", "# x\n".repeat(300_000));
    assert!(matches!(refused(&large).error, SyntaxError::Limit(_)));
}

/// Pieces that Dockerfiles are made of, and other text.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        prop::sample::select(vec![
            "FROM a\n",
            "ARG ",
            "RUN ",
            "COPY ",
            "ADD ",
            "ENV ",
            "LABEL ",
            "HEALTHCHECK ",
            "ONBUILD ",
            "\n",
            "\r\n",
            "\\",
            "\\\n",
            "`",
            "#",
            "# escape=`\n",
            "<<EOF",
            "<<-'E'",
            "EOF\n",
            "\t",
            " ",
            "--",
            "--mount=",
            "--chown=",
            "type=cache,",
            "[\"",
            "\"]",
            "\"",
            "'",
            "${",
            "}",
            "$",
            ":-",
            "=",
            ",",
            "\u{feff}",
            "é",
        ])
        .prop_map(str::to_owned),
        any::<String>(),
    ];
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in pieces(), from in any::<bool>()) {
        let text = if from { format!("FROM a\n{text}") } else { text };
        match parse("f", text.as_bytes()) {
            Ok(dockerfile) => {
                let lines = text.split('\n').count();
                for stage in &dockerfile.stages {
                    for Instruction { span, original, .. } in &stage.instructions {
                        prop_assert!(span.line <= span.last_line && span.last_line <= lines);
                        dockerfile.locate(*span, original).drawing();
                    }
                }
            }
            Err(error) => {
                error.location.drawing();
            }
        }
    }

    #[test]
    fn no_bytes_make_the_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse("f", &bytes);
    }

    /// What an instruction says is all in its original text: parsed alone, it says the same.
    #[test]
    fn the_original_text_says_the_same(text in pieces()) {
        let text = format!("FROM a\n{text}");
        let Ok(dockerfile) = parse("f", text.as_bytes()) else { return Ok(()) };
        let escape = dockerfile.directives.escape;
        for instruction in &dockerfile.stages[0].instructions {
            let heredoc = instruction.span.line != instruction.span.last_line;
            if heredoc || instruction.original.ends_with(escape) || instruction.original.contains("<<") {
                continue;
            }
            let alone = format!("FROM a\n{}", instruction.original);
            let again = parse("f", alone.as_bytes());
            prop_assert!(again.is_ok(), "{alone:?}");
            if let Ok(again) = again {
                prop_assert_eq!(&again.stages[0].instructions[0].kind, &instruction.kind);
            }
        }
    }
}
