//! Relays on loopback that pass bytes on: to the Docker engine's socket, or as a proxy that opens
//! tunnels, whatever host it is asked for.

use std::io::{self, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use super::wire::Head;

/// A running relay; it ends with the process.
#[derive(Debug)]
pub struct Relay {
    /// Host and port.
    pub host: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Relay {
    /// Passes every connection on to the engine's socket.
    pub fn to_engine() -> Self {
        Self::serve(|stream, _| {
            let engine = UnixStream::connect(crate::docker::socket())?;
            let (mut from, mut to) = (engine.try_clone()?, engine.try_clone()?);
            both(&stream, &mut from, &mut to, &|| drop(engine.shutdown(Shutdown::Write)))
        })
    }

    /// A proxy that opens a tunnel to `upstream` for whoever asks for one to anywhere.
    pub fn tunnel(upstream: &str) -> Self {
        let upstream = upstream.to_owned();
        Self::serve(move |stream, asked| {
            let mut reader = BufReader::new(stream.try_clone()?);
            let Some(head) = Head::read(&mut reader)? else { return Ok(()) };
            asked.lock().unwrap_or_else(PoisonError::into_inner).push(head.line);
            (&stream).write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
            let server = TcpStream::connect(&upstream)?;
            let (mut from, mut to) = (server.try_clone()?, server.try_clone()?);
            both(&stream, &mut from, &mut to, &|| drop(server.shutdown(Shutdown::Write)))
        })
    }

    /// The first lines of what a tunnel was asked for.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn serve<F>(each: F) -> Self
    where
        F: Fn(TcpStream, &Mutex<Vec<String>>) -> io::Result<()> + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let host = listener.local_addr().expect("a listener has an address").to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (noted, each) = (asked.clone(), Arc::new(each));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (noted, each) = (noted.clone(), each.clone());
                std::thread::spawn(move || each(stream, &noted));
            }
        });
        Self { host, asked }
    }
}

/// Passes bytes on in both directions until both have ended.
fn both(
    client: &TcpStream,
    from: &mut (impl io::Read + Send),
    to: &mut (impl io::Write + Send),
    end: &(impl Fn() + Sync),
) -> io::Result<()> {
    let (mut client_in, mut client_out) = (client.try_clone()?, client.try_clone()?);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let _ = io::copy(&mut client_in, to);
            end();
        });
        let _ = io::copy(from, &mut client_out);
        let _ = client_out.shutdown(Shutdown::Both);
    });
    Ok(())
}
