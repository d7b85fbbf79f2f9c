//! One exchange with a server: a request goes out, an answer comes back. No retries, no redirects,
//! no credentials of its own.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use ureq::http::{self, HeaderMap, Method};
use ureq::{Agent, AsSendBody, SendBody};

use super::{retry, trust, url};
use crate::image::store::StoreError;

/// The largest error body that is read.
const MAX_ERROR_BYTES: u64 = 16 << 10;
/// How long its server's words are waited for.
const ERROR_PATIENCE: Duration = Duration::from_secs(10);
/// How long a document may take to arrive; one that comes byte by byte would never end.
const DOCUMENT_PATIENCE: Duration = Duration::from_mins(5);
/// The longest part of a server's message that is shown.
const MAX_MESSAGE: usize = 400;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    /// The method.
    pub method: Method,
    /// The absolute URL.
    pub url: String,
    /// Headers, without authorization.
    pub headers: Vec<(&'static str, String)>,
    /// The body; empty for most.
    pub body: &'a [u8],
    /// How long the whole exchange may take, where it must be short.
    pub patience: Option<Duration>,
}

impl<'a> Request<'a> {
    /// A request without headers and body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: &[], patience: None }
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Sets the body and its media type.
    pub fn body(mut self, media_type: &str, body: &'a [u8]) -> Self {
        self.body = body;
        self.header("content-type", media_type)
    }
}

/// What came back. The body is read by whoever wants it.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The request as `GET https://…`, without secrets.
    pub asked: String,
    /// The URL that answered.
    pub url: String,
    body: ureq::Body,
}

impl Response {
    /// A header's text; `None` when absent or not text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// `Retry-After` in seconds; a date there is taken as no wish.
    pub fn retry_after(&self) -> Option<u64> {
        self.header("retry-after")?.trim().parse().ok()
    }

    /// The whole body, at most `limit` bytes, within five minutes.
    pub fn bytes(self, limit: u64) -> Result<Vec<u8>, StoreError> {
        let asked = self.asked.clone();
        let mut bytes = Vec::new();
        let read = read_within(DOCUMENT_PATIENCE, self.reader().take(limit + 1), &mut bytes);
        read.map_err(|source| StoreError::Io { action: "read the answer to", what: asked.clone(), source })?;
        if bytes.len() as u64 > limit {
            return Err(StoreError::Damaged {
                what: asked,
                why: format!("the answer is larger than {limit} bytes"),
            });
        }
        Ok(bytes)
    }

    /// The body as a stream without limit.
    pub fn reader(self) -> impl Read + Send + 'static {
        self.body.into_with_config().limit(u64::MAX).reader()
    }

    /// The answer as an error: method, URL, status, and the registry's own words.
    pub fn refused(self, redact: impl Fn(&str) -> String) -> StoreError {
        let (asked, status) = (self.asked.clone(), self.status);
        let reason =
            http::StatusCode::from_u16(status).ok().and_then(|code| code.canonical_reason()).unwrap_or("");
        let mut body = Vec::new();
        // What arrived until then is better than nothing.
        let _ = read_within(ERROR_PATIENCE, self.reader().take(MAX_ERROR_BYTES), &mut body);
        let message = redact(&message(&body));
        let end = if message.is_empty() { String::new() } else { format!(": {message}") };
        StoreError::Refused(format!("{asked}: {status} {reason}{end}"))
    }
}

/// Reads to the end. Fails when that takes longer than `patience`; what was read by then is in `bytes`.
fn read_within(patience: Duration, mut reader: impl Read, bytes: &mut Vec<u8>) -> io::Result<()> {
    let begun = Instant::now();
    let mut buffer = [0; 16 << 10];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if begun.elapsed() > patience {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it takes too long to arrive"));
        }
    }
}

/// Sends `request`, its own body or `stream` (with its length in bytes, if known).
pub fn exchange(
    agent: &Agent,
    request: &Request<'_>,
    authorization: Option<&str>,
    stream: Option<(&mut dyn Read, Option<u64>)>,
) -> Result<Response, StoreError> {
    let asked = format!("{} {}", request.method, url::shown(&request.url));
    let failed = |error: String| StoreError::Io {
        action: "reach",
        what: asked.clone(),
        source: io::Error::other(error),
    };
    let mut builder = http::Request::builder().method(&request.method).uri(&request.url);
    for (name, value) in &request.headers {
        builder = builder.header(*name, value);
    }
    if let Some(authorization) = authorization {
        builder = builder.header("authorization", authorization);
    }
    let sends = ["POST", "PUT", "PATCH"].contains(&request.method.as_str());
    let length = stream.as_ref().map_or(Some(request.body.len() as u64), |(_, length)| *length);
    if let Some(length) = length.filter(|_| sends) {
        builder = builder.header("content-length", length);
    }
    let wrong = |error: http::Error| failed(error.to_string());
    let answer = if sends {
        let mut bytes = request.body;
        let reader: &mut dyn Read = match stream {
            Some((reader, _)) => reader,
            None => &mut bytes,
        };
        run(agent, builder.body(SendBody::from_reader(reader)).map_err(wrong)?, request.patience)
    } else {
        run(agent, builder.body(()).map_err(wrong)?, request.patience)
    };
    let unanswered = |error: ureq::Error| StoreError::Io {
        action: "reach",
        what: asked.clone(),
        source: io::Error::new(kind(&error), error.to_string()),
    };
    let (parts, body) = answer.map_err(unanswered)?.into_parts();
    Ok(Response {
        status: parts.status.as_u16(),
        headers: parts.headers,
        asked,
        url: request.url.clone(),
        body,
    })
}

/// Which failures are worth another try.
fn kind(error: &ureq::Error) -> io::ErrorKind {
    match error {
        ureq::Error::HostNotFound => retry::UNKNOWN_NAME,
        ureq::Error::Io(error) if error.to_string().contains("failed to lookup address") => {
            retry::UNKNOWN_NAME
        }
        // A certificate that is not accepted, or an alert because ours was not or is missing.
        error if error.to_string().to_lowercase().contains("certificate") => retry::NO_TRUST,
        _ => io::ErrorKind::Other,
    }
}

/// Runs a request; one that reads must make progress, one that sends may wait for its answer, of which
/// only the head matters.
fn run(
    agent: &Agent,
    request: http::Request<impl AsSendBody>,
    patience: Option<Duration>,
) -> Result<http::Response<ureq::Body>, ureq::Error> {
    let reads = request.method() == Method::GET;
    let per_read = reads.then(trust::stall);
    let body = (!reads).then_some(ERROR_PATIENCE);
    let request = agent.configure_request(request).timeout_per_read(per_read).timeout_recv_body(body);
    agent.run(request.timeout_global(patience).build())
}

/// A server's message: of a registry's `errors`, else the text itself, on one line.
fn message(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(json) => json["errors"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|error| {
                let part = |key: &str| error[key].as_str().unwrap_or_default();
                format!("{}: {}", part("code"), part("message")).trim_matches([':', ' ']).to_owned()
            })
            .collect::<Vec<_>>()
            .join("; "),
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_MESSAGE).collect();
    line.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_short_single_lines() {
        let json = br#"{"errors":[{"code":"DENIED","message":"no\u001b[31m way"},{"message":"x"}]}"#;
        assert_eq!(message(json), "DENIED: no [31m way; x");
        assert_eq!(message(b"  plain\ntext "), "plain text");
        assert_eq!(message(&[b'x'; 5000]).len(), MAX_MESSAGE);
        assert_eq!(message(b"{}"), "");
    }

    #[test]
    fn an_answer_that_never_ends_is_given_up() {
        let mut bytes = Vec::new();
        let given_up = read_within(Duration::ZERO, io::repeat(b'x'), &mut bytes).expect_err("given up");
        assert_eq!((given_up.kind(), bytes.is_empty()), (io::ErrorKind::TimedOut, false));
        bytes.clear();
        read_within(Duration::from_mins(1), &b"whole"[..], &mut bytes).expect("an end");
        assert_eq!(bytes, b"whole");
    }
}
