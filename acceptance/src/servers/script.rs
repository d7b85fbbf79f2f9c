//! A server on loopback that answers as a test says: for answers that no registry gives.

use std::io::{self, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::wire::{Head, copy_body};

/// What is sent back, and what then happens.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The whole answer, head and body.
    pub bytes: Vec<u8>,
    /// How long the connection stays open after it.
    pub silence: Duration,
}

impl Answer {
    /// An answer of `status` with headers (each ending in `\r\n`) and a body of the length it has.
    pub fn new(status: u16, headers: &str, body: &[u8]) -> Self {
        let length = body.len();
        let head =
            format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n");
        Self { bytes: [head.as_bytes(), body].concat(), silence: Duration::ZERO }
    }

    /// An answer that promises more than comes.
    pub fn unfinished(status: u16, promised: u64, body: &[u8], silence: Duration) -> Self {
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {promised}\r\n\r\n");
        Self { bytes: [head.as_bytes(), body].concat(), silence }
    }
}

/// The server; it ends with this value.
#[derive(Debug)]
pub struct Script {
    /// Where it listens: `127.0.0.1:port`.
    pub host: String,
    ended: Arc<AtomicBool>,
}

impl Script {
    /// Starts a server that answers each request (its first line: `GET /v2/ HTTP/1.1`) by `answer`, once
    /// its body has arrived.
    ///
    /// # Panics
    ///
    /// When loopback has no free port.
    pub fn start(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        Self::start_with(move |_, line| answer(line))
    }

    /// The same, for answers that say where the server is: its host comes first.
    ///
    /// # Panics
    ///
    /// When loopback has no free port.
    pub fn start_with(answer: impl Fn(&str, &str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let host = listener.local_addr().expect("a bound listener has an address").to_string();
        let ended = Arc::new(AtomicBool::new(false));
        let (answer, over) = (Arc::new(answer), ended.clone());
        let name: Arc<str> = host.as_str().into();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let (answer, name) = (answer.clone(), name.clone());
                std::thread::spawn(move || serve(&stream, &|line| answer(&name, line)));
            }
        });
        Self { host, ended }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the listener up.
        drop(TcpStream::connect(&self.host));
    }
}

fn serve(stream: &TcpStream, answer: &dyn Fn(&str) -> Answer) -> io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let Some(head) = Head::read(&mut reader)? else { return Ok(()) };
    copy_body(&mut reader, &mut io::sink(), head.request_framing(), u64::MAX, &|| {})?;
    let answer = answer(&head.line);
    let mut out = stream;
    out.write_all(&answer.bytes)?;
    std::thread::sleep(answer.silence);
    Ok(())
}
