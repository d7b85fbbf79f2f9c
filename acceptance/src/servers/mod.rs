//! Servers on loopback for tests: the distribution's registry, and a proxy of our own before it that
//! counts, asks for tokens and breaks things on purpose.

pub mod faults;
pub mod proxy;
pub mod registry;
pub mod relay;
pub mod script;
pub mod tokens;
mod wire;

use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// A port of 127.0.0.1 that nobody listens on now.
///
/// # Panics
///
/// When loopback has none.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a listener has an address").port()
}

/// Waits until something accepts connections at `address`.
///
/// # Panics
///
/// When nothing does within 30 seconds.
pub fn wait_for(address: &str) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        if TcpStream::connect(address).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("nothing answers at {address}");
}
