//! The whole file: logical lines to stages.

use super::ast::{Dockerfile, Heredoc, Instruction, Kind, Span, Stage};
use super::error::{ParseError, SyntaxError};
use super::instruction::{Parsed, Raw};
use super::lines::{Lines, LogicalLine};
use super::source::{Location, locate};

/// The largest file.
const MAX_FILE_BYTES: usize = 1024 * 1024;
/// The most instructions.
const MAX_INSTRUCTIONS: usize = 10_000;

/// Parses a Dockerfile. `name` is used in messages.
///
/// # Errors
/// The first thing that is wrong, with its place: see [`SyntaxError`].
pub fn parse(name: &str, bytes: &[u8]) -> Result<Dockerfile, ParseError> {
    let text = text(name, bytes)?;
    match stages(text) {
        Ok(mut dockerfile) => {
            name.clone_into(&mut dockerfile.name);
            text.clone_into(&mut dockerfile.text);
            Ok(dockerfile)
        }
        Err((lines, error)) => {
            Err(ParseError { location: Box::new(locate(name, text, lines, error.needle())), error })
        }
    }
}

fn text<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str, ParseError> {
    let refused = |error: SyntaxError, line: usize| ParseError {
        location: Box::new(Location {
            file: name.to_owned(),
            line,
            column: 1,
            length: 1,
            text: String::new(),
        }),
        error,
    };
    if bytes.len() > MAX_FILE_BYTES {
        let error = format!("the file is larger than {MAX_FILE_BYTES} bytes");
        return Err(refused(SyntaxError::Limit(error), 1));
    }
    std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
        refused(SyntaxError::NotText, before.matches('\n').count() + 1)
    })
}

type Failure = ((usize, usize), SyntaxError);

fn stages(text: &str) -> Result<Dockerfile, Failure> {
    let mut lines = Lines::new(text).map_err(|(line, error)| ((line, line), error))?;
    let mut meta_args = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    let mut count = 0;
    loop {
        let line = lines.next_logical();
        let Some(line) = line.map_err(|(line, error)| ((line, line), error))? else {
            break;
        };
        let at = |last: usize, error: SyntaxError| ((line.line, last), error);
        count += 1;
        if count > MAX_INSTRUCTIONS {
            let error = format!("the file has more than {MAX_INSTRUCTIONS} instructions");
            return Err(at(line.line, SyntaxError::Limit(error)));
        }
        let (parsed, span) = instruction(&mut lines, &line).map_err(|error| at(lines.current(), error))?;
        match parsed {
            Parsed::Stage(from) => stages.push(Stage { from, instructions: Vec::new() }),
            Parsed::Instruction(kind) => {
                let instruction = Instruction { kind, original: line.text.trim().to_owned(), span };
                let place = match stages.last_mut() {
                    Some(stage) => &mut stage.instructions,
                    None => {
                        above_from(&mut meta_args, &instruction).map_err(|error| at(span.last_line, error))?
                    }
                };
                place.push(instruction);
            }
        }
    }
    if stages.is_empty() {
        let line = lines.current().max(1);
        return Err(((line, line), SyntaxError::NoStage));
    }
    Ok(Dockerfile {
        name: String::new(),
        directives: lines.directives,
        meta_args,
        stages,
        warnings: lines.warnings,
        text: String::new(),
    })
}

/// Returns where an instruction above the first FROM belongs.
fn above_from<'a>(
    meta_args: &'a mut Vec<Instruction>,
    instruction: &Instruction,
) -> Result<&'a mut Vec<Instruction>, SyntaxError> {
    match &instruction.kind {
        Kind::Arg(_) => Ok(meta_args),
        kind => Err(SyntaxError::malformed(format!("{} stands before the first FROM", kind.name()), "")),
    }
}

fn instruction(lines: &mut Lines<'_>, line: &LogicalLine) -> Result<(Parsed, Span), SyntaxError> {
    let raw = Raw::new(&line.text, lines.directives.escape)?;
    let mut heredocs = Vec::new();
    for start in raw.heredocs()? {
        let body = lines.heredoc(&start.name, start.strip_tabs);
        let Some(body) = body else {
            return Err(SyntaxError::UnterminatedHeredoc { name: start.name });
        };
        heredocs.push(Heredoc { name: start.name, body, expand: start.expand, strip_tabs: start.strip_tabs });
    }
    let span = Span { line: line.line, column: line.column, last_line: lines.current() };
    Ok((raw.typed(heredocs, span)?, span))
}

impl Dockerfile {
    /// Finds the place of a text in an instruction, for a message; its name if the text is not in it.
    pub fn locate(&self, span: Span, text: &str) -> Location {
        locate(&self.name, &self.text, (span.line, span.last_line), text)
    }
}
