//! HTTP/1.1 as far as a proxy needs it: heads, and bodies by length or in chunks.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

const MAX_HEAD_BYTES: usize = 64 << 10;

/// The first line and the headers of a message.
#[derive(Debug, Clone)]
pub struct Head {
    /// The first line, without its end.
    pub line: String,
    /// Headers as they came.
    pub headers: Vec<(String, String)>,
}

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// That many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// Until the connection ends.
    Close,
}

impl Head {
    /// Reads a head; `None` at the end of the connection.
    pub fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let Some(line) = line(stream)? else { return Ok(None) };
        let mut headers = Vec::new();
        while let Some(line) = line_of(stream)?.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(':').unwrap_or((&line, ""));
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
        Ok(Some(Self { line, headers }))
    }

    /// A header's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The framing of a request's body.
    pub fn request_framing(&self) -> Framing {
        match self.framing() {
            Framing::Close => Framing::Length(0),
            framing => framing,
        }
    }

    /// The framing of an answer's body.
    pub fn framing(&self) -> Framing {
        let length = self.get("content-length").and_then(|length| length.parse().ok());
        match (self.get("transfer-encoding").is_some_and(|encoding| encoding.contains("chunked")), length) {
            (true, _) => Framing::Chunked,
            (false, Some(length)) => Framing::Length(length),
            (false, None) => Framing::Close,
        }
    }

    /// Writes the head with `Connection: close`, each message on a connection of its own.
    pub fn write_closing(&self, out: &mut impl Write) -> io::Result<()> {
        let mut text = format!("{}\r\n", self.line);
        for (name, value) in self.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("connection"))
        {
            text.extend([name, ": ", value, "\r\n"]);
        }
        out.write_all((text + "Connection: close\r\n\r\n").as_bytes())
    }
}

/// Copies a body as it is framed, at most `limit` bytes of content; returns how many were copied and
/// whether the limit ended it. `pause` is called after each piece.
pub fn copy_body(
    from: &mut BufReader<TcpStream>,
    to: &mut dyn Write,
    framing: Framing,
    limit: u64,
    pause: &dyn Fn(),
) -> io::Result<(u64, bool)> {
    let mut copied = 0;
    match framing {
        Framing::Length(length) => copied += pieces(from, to, length.min(limit), pause)?,
        Framing::Close => copied += pieces(from, to, limit, pause)?,
        Framing::Chunked => loop {
            let size_line = line(from)?.unwrap_or_default();
            let size = u64::from_str_radix(size_line.split(';').next().unwrap_or("").trim(), 16).unwrap_or(0);
            if copied + size > limit {
                return Ok((copied, true));
            }
            write!(to, "{size_line}\r\n")?;
            copied += pieces(from, to, size, pause)?;
            let end = line(from)?.unwrap_or_default();
            write!(to, "{end}\r\n")?;
            if size == 0 {
                break;
            }
        },
    }
    to.flush()?;
    let cut = match framing {
        Framing::Length(length) => length > limit,
        Framing::Close | Framing::Chunked => copied == limit,
    };
    Ok((copied, cut))
}

fn pieces(
    from: &mut BufReader<TcpStream>,
    to: &mut dyn Write,
    length: u64,
    pause: &dyn Fn(),
) -> io::Result<u64> {
    let mut buffer = [0; 16 << 10];
    let mut done = 0;
    while done < length {
        let wanted = usize::try_from(length - done).unwrap_or(usize::MAX).min(buffer.len());
        let read = from.read(&mut buffer[..wanted])?;
        if read == 0 {
            break;
        }
        to.write_all(&buffer[..read])?;
        done += read as u64;
        pause();
    }
    Ok(done)
}

fn line_of(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    line(stream)
}

fn line(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    let read = stream.by_ref().take(MAX_HEAD_BYTES as u64).read_until(b'\n', &mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
    Ok((read > 0).then_some(text))
}
