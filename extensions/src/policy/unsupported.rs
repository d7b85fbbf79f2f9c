//! What is parsed but cannot be carried out, each with the text to point at.

use super::Violation;
use crate::dockerfile::{Add, Copy, Instruction, Kind, Mount, MountFlag, MountKind, Run, Security};

/// A violation and the text it is about.
type Refused = (String, Violation);

const ONE_STAGE: &str = ": there is one stage, and no other image is at hand";

/// What a source of ADD or COPY is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A path or a pattern in the build context.
    Context,
    /// A file to download by http or https.
    Url,
    /// A git repository.
    Git,
}

/// Decides what a source is, from its expanded text.
pub fn source_kind(source: &str) -> SourceKind {
    let Some((scheme, rest)) = source.split_once("://") else {
        return if is_ssh(source) { SourceKind::Git } else { SourceKind::Context };
    };
    let path = rest.split(['#', '?']).next().unwrap_or(rest);
    let repository = path.rsplit_once('.').is_some_and(|(_, extension)| extension == "git");
    match scheme {
        "http" | "https" if repository => SourceKind::Git,
        "http" | "https" => SourceKind::Url,
        "git" | "ssh" => SourceKind::Git,
        _ => SourceKind::Context,
    }
}

/// Tells whether a source is `user@host:path`.
fn is_ssh(source: &str) -> bool {
    let parts = source.split_once('@').and_then(|(user, rest)| Some((user, rest.split_once(':')?)));
    let Some((user, (host, path))) = parts else { return false };
    let made_of = |text: &str, others: &str| {
        let allowed = |ch: char| ch.is_ascii_alphanumeric() || others.contains(ch);
        !text.is_empty() && text.chars().all(allowed)
    };
    made_of(user, "-_") && made_of(host, "-.") && !path.is_empty()
}

/// Refuses what an instruction asks for and we do not do. What a variable decides is refused later, by
/// the same rules, when it is known.
pub(super) fn check(instruction: &Instruction) -> Result<(), Refused> {
    match &instruction.kind {
        Kind::Run(run) => self::run(run),
        Kind::Copy(copy) => self::copy(copy),
        Kind::Add(add) => self::add(add),
        _ => Ok(()),
    }
}

fn refuse<T>(needle: &str, feature: impl Into<String>, reason: &'static str) -> Result<T, Refused> {
    let feature = feature.into();
    Err((needle.to_owned(), Violation::Unsupported { feature, reason }))
}

fn run(run: &Run) -> Result<(), Refused> {
    if run.security == Security::Insecure {
        return refuse("--security", "`--security=insecure` of RUN", "");
    }
    if !run.devices.is_empty() {
        return refuse("--device", "`--device` of RUN", "");
    }
    run.mounts.iter().try_for_each(self::mount)
}

fn mount(flag: &MountFlag) -> Result<(), Refused> {
    let given = |key: &str| flag.fields.iter().any(|(field, _)| field == key);
    if given("from") {
        return refuse("--mount", "`from` of `--mount`", ONE_STAGE);
    }
    // Without a variable the flag was checked when it was parsed, so that this cannot fail.
    let literal = |word: &str| Ok(word.to_owned());
    let Ok(Mount { kind, .. }) = flag.resolve(&literal) else {
        return Ok(());
    };
    match kind {
        MountKind::Secret { required: true, .. } => {
            refuse("--mount", "a required secret of `--mount`", ": there are no secrets to give")
        }
        MountKind::Ssh { required: true, .. } => {
            refuse("--mount", "a required ssh agent of `--mount`", ": there is none to give")
        }
        _ => Ok(()),
    }
}

fn copy(copy: &Copy) -> Result<(), Refused> {
    if copy.from.is_some() {
        return refuse("--from", "`--from` of COPY", ONE_STAGE);
    }
    for source in &copy.transfer.sources {
        if source_kind(source) != SourceKind::Context {
            return refuse(source, format!("the source `{source}` of COPY"), ": use ADD for downloads");
        }
    }
    Ok(())
}

fn add(add: &Add) -> Result<(), Refused> {
    if add.keep_git_dir.is_some() {
        return refuse("--keep-git-dir", "`--keep-git-dir` of ADD", "");
    }
    let sources = &add.transfer.sources;
    for source in sources {
        if source_kind(source) == SourceKind::Git {
            return refuse(source, format!("the git source `{source}` of ADD"), "");
        }
    }
    let downloads =
        sources.iter().all(|source| source_kind(source) == SourceKind::Url || source.contains('$'));
    if add.checksum.is_some() && !(sources.len() == 1 && downloads && add.transfer.heredocs.is_empty()) {
        return refuse("--checksum", "`--checksum` of ADD", " for anything but one download");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        for (source, expected) in [
            ("a", SourceKind::Context),
            ("/a/b*", SourceKind::Context),
            ("http://h/a.tar", SourceKind::Url),
            ("https://h/a", SourceKind::Url),
            ("https://github.com/o/r.git#main:dir", SourceKind::Git),
            ("http://h/x.git?a=b", SourceKind::Git),
            ("https://h/x?y=.git", SourceKind::Url),
            ("git://h/r", SourceKind::Git),
            ("ssh://git@h/r", SourceKind::Git),
            ("git@github.com:o/r", SourceKind::Git),
            ("github.com/o/r", SourceKind::Context),
            ("a@b", SourceKind::Context),
            ("a/b@c:d", SourceKind::Context),
            ("ftp://h/a", SourceKind::Context),
            ("x.git", SourceKind::Context),
        ] {
            assert_eq!(source_kind(source), expected, "{source}");
        }
    }
}
