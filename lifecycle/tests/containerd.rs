//! The daemon store against a small fake of an engine with the containerd image store, which newer
//! engines than the distribution's have: it cannot do with the names of layers it has.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use lifecycle::digest::{DiffId, Digest};
use lifecycle::image::store::ImageStore;
use lifecycle::image::store::daemon::DaemonStore;
use lifecycle::image::store::daemon::engine::{Address, Engine};
use lifecycle::reference::{ImageName, Reference};

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *content).expect("a Vec takes any bytes");
    }
    tar.into_inner().expect("a Vec takes any bytes")
}

/// What an engine with one image of one layer answers; what is loaded is noted.
#[derive(Default)]
struct Fake {
    layer: Vec<u8>,
    loaded: Mutex<Vec<String>>,
}

impl Fake {
    fn answer(&self, path: &str, body: &[u8]) -> Vec<u8> {
        let id = Digest::of(b"manifest");
        match path.split_once('?').map_or(path, |(path, _)| path).trim_start_matches("/v1.48") {
            "/version" => br#"{"ApiVersion":"1.48","MinAPIVersion":"1.24"}"#.to_vec(),
            "/info" => br#"{"DriverStatus":[["driver-type","io.containerd.snapshotter.v1"]]}"#.to_vec(),
            "/images/get" => {
                tar(&[(&format!("blobs/sha256/{}", Digest::of(&self.layer).hex()), &self.layer)])
            }
            "/images/load" => {
                let mut archive = tar::Archive::new(body);
                let names = archive.entries().expect("a tar").map(|entry| {
                    let entry = entry.expect("an entry");
                    format!("{} {}", String::from_utf8_lossy(&entry.path_bytes()), entry.size())
                });
                *self.loaded.lock().unwrap_or_else(PoisonError::into_inner) = names.collect();
                b"{}".to_vec()
            }
            path if path.ends_with("/history") => b"[]".to_vec(),
            _ => {
                let layer = DiffId::new(Digest::of(&self.layer));
                let image = r#""Os":"linux","Architecture":"amd64","Config":{}"#;
                format!(r#"{{"Id":"{id}",{image},"RootFS":{{"Layers":["{layer}"]}}}}"#).into_bytes()
            }
        }
    }

    fn serve(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            match line.trim() {
                "" => break,
                line => head.push(line.to_lowercase()),
            }
        }
        let path = head.first()?.split(' ').nth(1)?.to_owned();
        let mut body = Vec::new();
        while head.iter().any(|line| line == "transfer-encoding: chunked") {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = u64::from_str_radix(line.trim(), 16).ok()?;
            reader.by_ref().take(size).read_to_end(&mut body).ok()?;
            reader.read_line(&mut line).ok()?;
            if size == 0 {
                break;
            }
        }
        let answer = self.answer(&path, &body);
        let mut stream = stream;
        write!(stream, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", answer.len())
            .ok()?;
        stream.write_all(&answer).ok()
    }
}

#[test]
fn a_containerd_image_store_is_given_every_layer() {
    let fake = Arc::new(Fake { layer: tar(&[("base", b"base")]), ..Fake::default() });
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let address = format!("tcp://{}", listener.local_addr().expect("an address"));
    let serving = fake.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            serving.serve(stream);
        }
    });
    let engine = Engine::connect(&Address::parse(&address).expect("an address")).expect("an engine");
    let store = DaemonStore::new(engine).expect("an engine");
    let name = ImageName::Reference(Reference::parse("r.example/app").expect("a reference"));
    let image = store.find(&name).expect("the engine answers").expect("it is there");
    store.save(&image, &[name]).expect("it is loaded");
    let loaded = fake.loaded.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let layer = format!("layer_0/layer.tar {}", fake.layer.len());
    assert!(loaded.contains(&layer) && !loaded.iter().any(|name| name.starts_with("blank")), "{loaded:?}");
}
