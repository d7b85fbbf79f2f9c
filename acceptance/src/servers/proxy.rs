//! A proxy before a registry: counts what passes, asks for tokens if told to, and breaks requests
//! by [`faults`](super::faults).

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::faults::{Dice, Fault, Rates};
use super::tokens::Tokens;
use super::wire::{Framing, Head, copy_body};

/// What a registry that is not quite like the specification's does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quirks {
    /// `HEAD` is answered with 405.
    pub no_head: bool,
    /// A mount is taken for the start of an upload.
    pub no_mounts: bool,
    /// Nothing may be written: 403.
    pub read_only: bool,
    /// Blobs are given by that other host.
    pub blobs_at: Option<String>,
}

/// One request that came by.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// What the client was answered; 0 when it was cut off before.
    pub status: u16,
    /// Bytes of the request's body that reached the server.
    pub sent: u64,
    /// Bytes of the answer's body.
    pub received: u64,
    /// Whether it carried credentials.
    pub authorized: bool,
    /// What was done to it.
    pub fault: Fault,
}

/// A running proxy; it ends with the process or when dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Host and port.
    pub host: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    host: String,
    upstream: String,
    dice: Mutex<Dice>,
    tokens: Option<Tokens>,
    seen: Mutex<Vec<Seen>>,
    ended: AtomicBool,
    /// Connections that are being served; each is noted only at its end.
    busy: AtomicUsize,
    quirks: Quirks,
}

impl Proxy {
    /// Starts a proxy before `upstream` that only counts.
    pub fn counting(upstream: &str) -> Self {
        Self::start(upstream, Rates::default(), 1, None)
    }

    /// Starts a proxy before `upstream` that breaks requests by `rates`, drawn by `seed`, and asks for
    /// tokens that live for `token_life`, if given.
    ///
    /// # Panics
    ///
    /// When loopback has no free port.
    pub fn start(upstream: &str, rates: Rates, seed: u64, token_life: Option<Duration>) -> Self {
        Self::serve(upstream, Dice::new(seed, rates), token_life, Quirks::default())
    }

    /// Starts a proxy before `upstream` with `quirks`; one that asks for tokens if they live for a while.
    pub fn odd(upstream: &str, quirks: Quirks, token_life: Option<Duration>) -> Self {
        Self::serve(upstream, Dice::new(1, Rates::default()), token_life, quirks)
    }

    fn serve(upstream: &str, dice: Dice, token_life: Option<Duration>, quirks: Quirks) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let host = listener.local_addr().expect("a listener has an address").to_string();
        let shared = Arc::new(Shared {
            host: host.clone(),
            upstream: upstream.to_owned(),
            dice: Mutex::new(dice),
            tokens: token_life.map(Tokens::new),
            seen: Mutex::default(),
            ended: AtomicBool::new(false),
            busy: AtomicUsize::new(0),
            quirks,
        });
        let serving = shared.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.ended.load(Ordering::Relaxed) {
                    return;
                }
                let serving = serving.clone();
                serving.busy.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    drop(serving.serve(stream));
                    serving.busy.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { host, shared }
    }

    /// Every request so far, in the order of their ends.
    pub fn seen(&self) -> Vec<Seen> {
        self.settle();
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets all requests so far.
    pub fn forget(&self) {
        self.settle();
        self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Waits until what was answered is noted too, as long as that can take.
    fn settle(&self) {
        for _ in 0..200 {
            if self.shared.busy.load(Ordering::SeqCst) == 0 {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// How many tokens were given out.
    pub fn tokens(&self) -> usize {
        self.shared.tokens.as_ref().map_or(0, Tokens::count)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.host);
    }
}

impl Shared {
    /// Serves one connection: one request, then it closes.
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut first = [0];
        stream.peek(&mut first)?;
        if !first[0].is_ascii_uppercase() {
            return Ok(()); // a TLS hello: nobody speaks TLS here
        }
        let mut client = BufReader::new(stream.try_clone()?);
        let Some(head) = Head::read(&mut client)? else { return Ok(()) };
        let mut words = head.line.split(' ').map(str::to_owned);
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let authorized = head.get("authorization").is_some();
        let mut seen =
            Seen { method, target, status: 0, sent: 0, received: 0, authorized, fault: Fault::None };
        let result = self.receive(stream, &mut client, &head, &mut seen);
        if !seen.target.starts_with("/token") {
            self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        }
        result
    }

    /// What a registry with quirks answers by itself: status and headers.
    fn quirk(&self, seen: &Seen) -> Option<(u16, String)> {
        let Quirks { no_head, read_only, blobs_at, .. } = &self.quirks;
        let is_blob = seen.target.contains("/blobs/sha256:");
        match (seen.method.as_str(), blobs_at) {
            ("HEAD", _) if *no_head => Some((405, String::new())),
            ("POST" | "PUT" | "PATCH", _) if *read_only => Some((403, String::new())),
            ("GET", Some(host)) if is_blob => {
                Some((307, format!("Location: http://{host}{}\r\n", seen.target)))
            }
            _ => None,
        }
    }

    fn receive(
        &self,
        mut stream: TcpStream,
        client: &mut BufReader<TcpStream>,
        head: &Head,
        seen: &mut Seen,
    ) -> io::Result<()> {
        if let Some(tokens) = &self.tokens {
            if seen.target.starts_with("/token") {
                let mut body = Vec::new();
                copy_body(client, &mut body, head.request_framing(), 1 << 20, &|| ())?;
                let body = String::from_utf8_lossy(&body).into_owned();
                let (status, text) = tokens.answer(&seen.target, head.get("authorization"), &body);
                return respond(&mut stream, status, "", &text);
            }
            if !tokens.allow(head.get("authorization"), &seen.method, repository(&seen.target)) {
                seen.status = 401;
                drain(client, head)?;
                let realm = format!(
                    "WWW-Authenticate: Bearer realm=\"http://{}/token\",service=\"test\"\r\n",
                    self.host
                );
                return respond(&mut stream, 401, &realm, "{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}");
            }
        }
        if let Some((status, headers)) = self.quirk(seen) {
            seen.status = status;
            drain(client, head)?;
            return respond(&mut stream, status, &headers, "");
        }
        seen.fault = self.dice.lock().unwrap_or_else(PoisonError::into_inner).roll();
        match seen.fault {
            Fault::Status(status) => {
                seen.status = status;
                drain(client, head)?;
                respond(&mut stream, status, "", "trouble on purpose")
            }
            Fault::TooMany => {
                seen.status = 429;
                drain(client, head)?;
                respond(&mut stream, 429, "Retry-After: 1\r\n", "")
            }
            _ => self.forward(stream, client, head, seen),
        }
    }

    fn forward(
        &self,
        mut stream: TcpStream,
        client: &mut BufReader<TcpStream>,
        head: &Head,
        seen: &mut Seen,
    ) -> io::Result<()> {
        let upstream = TcpStream::connect(&self.upstream)?;
        let mut server = upstream.try_clone()?;
        let mut head = head.clone();
        if self.tokens.is_some() {
            head.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
        }
        if self.quirks.no_mounts && seen.method == "POST" {
            head.line = format!("POST {} HTTP/1.1", seen.target.split('?').next().unwrap_or_default());
        }
        head.write_closing(&mut server)?;
        let limit = if let Fault::CutRequest(bytes) = seen.fault { bytes } else { u64::MAX };
        let (sent, cut) = copy_body(client, &mut server, head.request_framing(), limit, &|| ())?;
        seen.sent = sent;
        if cut {
            return Ok(()); // both connections end here
        }
        let mut server = BufReader::new(upstream);
        let Some(answer) = Head::read(&mut server)? else { return Ok(()) };
        seen.status = answer.line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        answer.write_closing(&mut stream)?;
        let bodiless = seen.method == "HEAD" || seen.status == 204 || seen.status == 304;
        let framing = if bodiless { Framing::Length(0) } else { answer.framing() };
        let limit = if let Fault::CutAnswer(bytes) = seen.fault { bytes } else { u64::MAX };
        let slow = seen.fault == Fault::Slow;
        let pause = || {
            if slow {
                std::thread::sleep(Duration::from_millis(3));
            }
        };
        seen.received = copy_body(&mut server, &mut stream, framing, limit, &pause)?.0;
        Ok(())
    }
}

/// `team/app` of `/v2/team/app/blobs/…`; empty for `/v2/`.
fn repository(target: &str) -> &str {
    let path = target.split('?').next().unwrap_or(target).strip_prefix("/v2/").unwrap_or("");
    ["/blobs/", "/manifests/", "/tags/", "/referrers/"]
        .iter()
        .find_map(|kind| Some(path.split_once(kind)?.0))
        .unwrap_or("")
}

fn drain(client: &mut BufReader<TcpStream>, head: &Head) -> io::Result<()> {
    copy_body(client, &mut io::sink(), head.request_framing(), u64::MAX, &|| ()).map(drop)
}

fn respond(stream: &mut TcpStream, status: u16, headers: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} On Purpose\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )?;
    stream.flush()?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let _ = stream.read(&mut [0; 1]); // the client closes first
    Ok(())
}
