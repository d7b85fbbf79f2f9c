//! One logical line to a typed instruction.

use super::ast::{
    Add, CommandLine, Copy, Declaration, From, Healthcheck, Heredoc, Kind, Network, Pair, Recorded, Run,
    Security, Span, Transfer,
};
use super::error::{SyntaxError, nearest};
use super::flags::{FlagKind, Flags, Known};
use super::heredoc;
use super::mount::MountFlag;
use super::values::parse_duration_ns;
use super::words::{json_array, quoted_words, split_blank, split_blanks, split_line};

const NAMES: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

const ADD: &Known = &[
    ("chown", FlagKind::Value),
    ("chmod", FlagKind::Value),
    ("link", FlagKind::Switch),
    ("keep-git-dir", FlagKind::Switch),
    ("checksum", FlagKind::Value),
    ("unpack", FlagKind::Switch),
    ("exclude", FlagKind::Values),
];
const COPY: &Known = &[
    ("chown", FlagKind::Value),
    ("chmod", FlagKind::Value),
    ("link", FlagKind::Switch),
    ("from", FlagKind::Value),
    ("parents", FlagKind::Switch),
    ("exclude", FlagKind::Values),
];
const RUN: &Known = &[
    ("mount", FlagKind::Values),
    ("network", FlagKind::Value),
    ("security", FlagKind::Value),
    ("device", FlagKind::Values),
];
const HEALTHCHECK: &Known = &[
    ("interval", FlagKind::Value),
    ("timeout", FlagKind::Value),
    ("start-period", FlagKind::Value),
    ("start-interval", FlagKind::Value),
    ("retries", FlagKind::Value),
];
const FROM: &Known = &[("platform", FlagKind::Value)];

/// A logical line, taken apart but not yet understood.
#[derive(Debug)]
pub(super) struct Raw<'a> {
    /// The whole line.
    line: &'a str,
    /// The instruction's name in upper case.
    name: String,
    flags: Vec<String>,
    rest: &'a str,
    /// The rest as a JSON array of strings, if it is one.
    json: Option<Vec<String>>,
    escape: char,
}

/// What a line turns out to be.
pub(super) enum Parsed {
    Stage(From),
    Instruction(Kind),
}

impl<'a> Raw<'a> {
    pub fn new(line: &'a str, escape: char) -> Result<Self, SyntaxError> {
        let (name, flags, rest) = split_line(line, escape);
        let upper = name.to_ascii_uppercase();
        if !NAMES.contains(&upper.as_str()) {
            return Err(SyntaxError::UnknownInstruction {
                name: name.to_owned(),
                suggestion: nearest(&upper, NAMES),
            });
        }
        let json = match upper.as_str() {
            "ADD" | "COPY" | "RUN" | "CMD" | "ENTRYPOINT" | "SHELL" | "VOLUME" => json_array(rest)?,
            _ => None,
        };
        Ok(Self { line, name: upper, flags, rest, json, escape })
    }

    /// Finds the heredocs that the line starts.
    pub fn heredocs(&self) -> Result<Vec<heredoc::Start>, SyntaxError> {
        let takes_heredocs = match self.name.as_str() {
            "ADD" | "COPY" | "RUN" => self.json.is_none(),
            "ONBUILD" => Raw::new(self.rest, self.escape).is_ok_and(|inner| {
                matches!(inner.name.as_str(), "ADD" | "COPY" | "RUN") && inner.json.is_none()
            }),
            _ => false,
        };
        if takes_heredocs { heredoc::starts(self.line) } else { Ok(Vec::new()) }
    }

    pub fn typed(&self, heredocs: Vec<Heredoc>, span: Span) -> Result<Parsed, SyntaxError> {
        let flags = self.flags()?;
        let kind = match self.name.as_str() {
            "FROM" => return self.from(&flags, span).map(Parsed::Stage),
            "ADD" => Kind::Add(self.add(&flags, &heredocs)?),
            "ARG" => Kind::Arg(self.declarations()?),
            "COPY" => Kind::Copy(self.copy(&flags, &heredocs)?),
            "ENV" => Kind::Env(self.pairs()?),
            "LABEL" => Kind::Label(self.pairs()?),
            "RUN" => Kind::Run(self.run(&flags, heredocs)?),
            "SHELL" => Kind::Shell(self.shell()?),
            "USER" => Kind::User(self.argument()?),
            "WORKDIR" => Kind::Workdir(self.argument()?),
            _ => Kind::Recorded(self.recorded(&flags, &heredocs)?),
        };
        Ok(Parsed::Instruction(kind))
    }

    fn flags(&self) -> Result<Flags, SyntaxError> {
        let known = match self.name.as_str() {
            "ADD" => ADD,
            "COPY" => COPY,
            "RUN" => RUN,
            "HEALTHCHECK" => HEALTHCHECK,
            "FROM" => FROM,
            _ => &[],
        };
        Flags::parse(&self.flags, &self.name, known)
    }

    fn malformed<T>(&self, message: &str) -> Result<T, SyntaxError> {
        Err(SyntaxError::malformed(format!("{} {message}", self.name), ""))
    }

    /// Returns the rest as one argument.
    fn argument(&self) -> Result<String, SyntaxError> {
        if self.rest.is_empty() {
            return self.malformed("requires exactly one argument");
        }
        Ok(self.rest.to_owned())
    }

    /// Returns the rest as a JSON array or as words.
    fn list(&self) -> Vec<String> {
        self.json.clone().unwrap_or_else(|| split_blanks(self.rest))
    }

    fn command_line(&self) -> Result<CommandLine, SyntaxError> {
        match &self.json {
            // An empty CMD or ENTRYPOINT takes the base image's away; an empty RUN is nothing.
            Some(argv) if argv.is_empty() && self.name == "RUN" => {
                self.malformed("requires at least one argument")
            }
            Some(argv) => Ok(CommandLine::Exec(argv.clone())),
            None if self.rest.is_empty() => self.malformed("requires at least one argument"),
            None => Ok(CommandLine::Shell(self.rest.to_owned())),
        }
    }

    fn from(&self, flags: &Flags, span: Span) -> Result<From, SyntaxError> {
        let words = split_blanks(self.rest);
        let alias = match words.as_slice() {
            [_] => None,
            [_, keyword, alias] if keyword.eq_ignore_ascii_case("as") => Some(stage_name(alias)?),
            _ => return self.malformed("requires either one or three arguments"),
        };
        Ok(From {
            image: words[0].clone(),
            platform: flags.value("platform"),
            alias,
            original: self.line.trim().to_owned(),
            span,
        })
    }

    fn declarations(&self) -> Result<Vec<Declaration>, SyntaxError> {
        let words = quoted_words(self.rest, self.escape);
        if words.is_empty() {
            return self.malformed("requires at least one argument");
        }
        let declaration = |word: String| match word.split_once('=') {
            Some(("", _)) => Err(SyntaxError::malformed("ARG names can not be blank", word)),
            Some((name, default)) => {
                Ok(Declaration { name: name.to_owned(), default: Some(default.to_owned()) })
            }
            None => Ok(Declaration { name: word, default: None }),
        };
        words.into_iter().map(declaration).collect()
    }

    /// Reads `key=value ..`, or the old form `key value`.
    fn pairs(&self) -> Result<Vec<Pair>, SyntaxError> {
        let words = quoted_words(self.rest, self.escape);
        let Some(first) = words.first() else {
            return self.malformed("requires at least one argument");
        };
        if !first.contains('=') {
            let Some((key, value)) = split_blank(self.rest) else {
                return self.malformed("must have two arguments");
            };
            return Ok(vec![Pair { key: key.to_owned(), value: value.to_owned() }]);
        }
        let pair = |word: &String| match word.split_once('=') {
            Some(("", _)) => {
                let message = format!("{} names can not be blank", self.name);
                Err(SyntaxError::malformed(message, word))
            }
            Some((key, value)) => Ok(Pair { key: key.to_owned(), value: value.to_owned() }),
            None => {
                let message = format!("can't find = in `{word}`: must be of the form name=value");
                Err(SyntaxError::malformed(message, word))
            }
        };
        words.iter().map(pair).collect()
    }

    fn transfer(&self, flags: &Flags, heredocs: &[Heredoc]) -> Result<Transfer, SyntaxError> {
        let mut words = self.list();
        let destination = words.pop().unwrap_or_default();
        if words.is_empty() {
            return self.malformed("requires at least two arguments: sources and a destination");
        }
        if matches!(heredoc::start(&destination), Ok(Some(_))) {
            let message = format!("{} cannot accept a heredoc as its destination", self.name);
            return Err(SyntaxError::malformed(message, destination));
        }
        let mut transfer = Transfer {
            sources: Vec::new(),
            heredocs: Vec::new(),
            destination,
            chown: flags.value("chown").filter(|value| !value.is_empty()),
            chmod: flags.value("chmod").filter(|value| !value.is_empty()),
            link: flags.switch("link") == Some(true),
            exclude: flags.values("exclude"),
        };
        for word in words {
            match heredoc::start(&word) {
                Ok(Some(start)) => transfer.heredocs.push(self.inline_file(&start, heredocs)?),
                _ => transfer.sources.push(word),
            }
        }
        Ok(transfer)
    }

    fn inline_file(&self, start: &heredoc::Start, heredocs: &[Heredoc]) -> Result<Heredoc, SyntaxError> {
        // Of two of the same name the later one's body is taken for both.
        let found = heredocs.iter().rev().find(|heredoc| heredoc.name == start.name);
        let Some(found) = found else {
            return self.malformed("cannot hold a heredoc in JSON array syntax");
        };
        let body = if start.strip_tabs { heredoc::strip_tabs(&found.body) } else { found.body.clone() };
        Ok(Heredoc { name: start.name.clone(), body, expand: start.expand, strip_tabs: start.strip_tabs })
    }

    fn add(&self, flags: &Flags, heredocs: &[Heredoc]) -> Result<Add, SyntaxError> {
        Ok(Add {
            transfer: self.transfer(flags, heredocs)?,
            checksum: flags.value("checksum").filter(|value| !value.is_empty()),
            unpack: flags.switch("unpack"),
            keep_git_dir: flags.switch("keep-git-dir"),
        })
    }

    fn copy(&self, flags: &Flags, heredocs: &[Heredoc]) -> Result<Copy, SyntaxError> {
        Ok(Copy {
            transfer: self.transfer(flags, heredocs)?,
            from: flags.value("from").filter(|value| !value.is_empty()),
            parents: flags.switch("parents") == Some(true),
        })
    }

    fn run(&self, flags: &Flags, heredocs: Vec<Heredoc>) -> Result<Run, SyntaxError> {
        let network = match flags.value("network").as_deref() {
            None | Some("default") => Network::Default,
            Some("none") => Network::None,
            Some("host") => Network::Host,
            Some(other) => return Err(invalid_value("--network", other)),
        };
        let security = match flags.value("security").as_deref() {
            None | Some("sandbox") => Security::Sandbox,
            Some("insecure") => Security::Insecure,
            Some(other) => return Err(invalid_value("--security", other)),
        };
        let mounts = flags.values("mount");
        Ok(Run {
            command: self.command_line()?,
            heredocs,
            mounts: mounts.iter().map(|text| self.mount(text)).collect::<Result<_, _>>()?,
            network,
            security,
            devices: flags.values("device"),
        })
    }

    /// Reads a mount, and checks it wholly unless a variable decides a part of it.
    fn mount(&self, text: &str) -> Result<MountFlag, SyntaxError> {
        let literal = |word: &str| Ok(crate::expand::word(word, self.escape, &|_| None)?.text);
        let flag = MountFlag::parse(text);
        let checked = flag.and_then(|flag| {
            if !flag.has_variable() {
                flag.resolve(&literal)?;
            }
            Ok(flag)
        });
        checked
            .map_err(|error| SyntaxError::malformed(format!("invalid `--mount={text}`: {error}"), "--mount"))
    }

    fn shell(&self) -> Result<Vec<String>, SyntaxError> {
        match &self.json {
            Some(argv) if !argv.is_empty() => Ok(argv.clone()),
            Some(_) => self.malformed("requires at least one argument"),
            None => self.malformed("requires the arguments to be in JSON form"),
        }
    }

    fn recorded(&self, flags: &Flags, heredocs: &[Heredoc]) -> Result<Recorded, SyntaxError> {
        Ok(match self.name.as_str() {
            "CMD" => Recorded::Cmd(self.command_line()?),
            "ENTRYPOINT" => Recorded::Entrypoint(self.command_line()?),
            "EXPOSE" => Recorded::Expose(self.some(self.list())?),
            "HEALTHCHECK" => Recorded::Healthcheck(self.healthcheck(flags)?),
            "MAINTAINER" => Recorded::Maintainer(self.argument()?),
            "ONBUILD" => Recorded::Onbuild(self.onbuild(heredocs)?),
            "STOPSIGNAL" => Recorded::StopSignal(self.argument()?),
            _ => Recorded::Volume(self.volumes()?),
        })
    }

    fn some(&self, words: Vec<String>) -> Result<Vec<String>, SyntaxError> {
        if words.is_empty() {
            return self.malformed("requires at least one argument");
        }
        Ok(words)
    }

    fn volumes(&self) -> Result<Vec<String>, SyntaxError> {
        let volumes = self.some(self.list())?;
        let volumes: Vec<String> = volumes.iter().map(|path| path.trim().to_owned()).collect();
        if volumes.iter().any(String::is_empty) {
            return self.malformed("can not hold an empty path");
        }
        Ok(volumes)
    }

    fn onbuild(&self, heredocs: &[Heredoc]) -> Result<String, SyntaxError> {
        let trigger = split_line(self.rest, self.escape).0.to_ascii_uppercase();
        match trigger.as_str() {
            "" => return self.malformed("requires at least one argument"),
            "ONBUILD" | "MAINTAINER" | "FROM" => {
                let message = format!("{trigger} isn't allowed as an ONBUILD trigger");
                return Err(SyntaxError::malformed(message, ""));
            }
            _ => {}
        }
        let mut text = self.line.trim()["ONBUILD".len()..].trim().to_owned();
        for heredoc in heredocs {
            text.push('\n');
            text.push_str(&heredoc.body);
            text.push_str(&heredoc.name);
        }
        Ok(text)
    }

    fn healthcheck(&self, flags: &Flags) -> Result<Healthcheck, SyntaxError> {
        let (kind, rest) = match self.rest.split_once(char::is_whitespace) {
            Some((kind, rest)) => (kind, rest.trim_start()),
            None => (self.rest, ""),
        };
        let command = match kind.to_ascii_uppercase().as_str() {
            "" => return self.malformed("requires at least one argument"),
            "NONE" if rest.is_empty() => None,
            "NONE" => return self.malformed("NONE takes no arguments"),
            "CMD" => match json_array(rest)? {
                Some(argv) if !argv.is_empty() => Some(CommandLine::Exec(argv)),
                None if !rest.is_empty() => Some(CommandLine::Shell(rest.to_owned())),
                _ => return self.malformed("CMD is missing its command"),
            },
            _ => return self.malformed(&format!("has no type `{kind}`: try CMD")),
        };
        let retries = flags.value("retries").unwrap_or_default();
        Ok(Healthcheck {
            command,
            interval_ns: duration(flags, "interval")?,
            timeout_ns: duration(flags, "timeout")?,
            start_period_ns: duration(flags, "start-period")?,
            start_interval_ns: duration(flags, "start-interval")?,
            retries: match retries.as_str() {
                "" => 0,
                text => text.parse().map_err(|_| invalid_value("--retries", text))?,
            },
        })
    }
}

fn invalid_value(flag: &str, value: &str) -> SyntaxError {
    SyntaxError::malformed(format!("invalid value `{value}` of flag `{flag}`"), flag)
}

/// Reads a duration flag of HEALTHCHECK: 0, or at least a millisecond.
fn duration(flags: &Flags, name: &str) -> Result<i64, SyntaxError> {
    let text = flags.value(name).unwrap_or_default();
    if text.is_empty() {
        return Ok(0);
    }
    match parse_duration_ns(&text) {
        Some(ns) if ns == 0 || ns >= 1_000_000 => Ok(ns),
        _ => Err(invalid_value(&format!("--{name}"), &text)),
    }
}

/// Checks a stage's name: a letter, then letters, digits, `-`, `_` or `.`.
fn stage_name(alias: &str) -> Result<String, SyntaxError> {
    let name = alias.to_lowercase();
    let letter = |ch: char| ch.is_ascii_lowercase();
    let other = |ch: char| letter(ch) || ch.is_ascii_digit() || matches!(ch, '-' | '_' | '.');
    if name.starts_with(letter) && name.chars().all(other) {
        Ok(name)
    } else {
        Err(SyntaxError::malformed(format!("invalid name for a build stage: `{alias}`"), alias))
    }
}
