//! A server for ADD: one text, and nothing else.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

/// What is served at `/dir/file.txt`.
const TEXT: &str = "served";

/// A server on loopback, for as long as the process lives.
pub struct Server {
    /// `http://…`
    pub address: String,
}

impl Server {
    /// Starts it.
    ///
    /// # Panics
    ///
    /// When loopback has no port.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = format!("http://{}", listener.local_addr().expect("a listener has an address"));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away is none of ours.
                drop(answer(&stream));
            }
        });
        Self { address }
    }
}

fn answer(mut stream: &TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let is_there = request.split(' ').nth(1).is_some_and(|path| path.starts_with("/dir/"));
    let (status, body) = if is_there { ("200 OK", TEXT) } else { ("404 Not Found", "") };
    let body = if request.starts_with("HEAD") { "" } else { body };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nLast-Modified: Sun, 09 Sep 2001 01:46:40 GMT\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}
