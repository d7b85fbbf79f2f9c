//! A small fake of an engine with the containerd image store, as moby and containerd behave: a
//! content store of blobs, names that point to manifests, snapshots of chains that were unpacked.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lifecycle::digest::Digest;
use serde_json::{Value, json};

/// What the engine has and was asked.
#[derive(Debug, Default)]
pub struct Engine {
    /// The content store.
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// Names and the digests of their manifests.
    pub names: BTreeMap<String, String>,
    /// Chains of diffIDs that lie unpacked.
    snapshots: BTreeSet<String>,
    /// Requests, and the entries of archives that were loaded.
    pub log: Vec<String>,
    /// A blob that goes when an image is loaded, and comes back when one is deleted.
    pub fleeting: Option<String>,
    away: Option<Vec<u8>>,
    /// The newest API version it speaks.
    api: String,
}

/// A running engine.
pub struct Fake {
    /// What `DOCKER_HOST` says.
    pub address: String,
    engine: Arc<Mutex<Engine>>,
}

impl Fake {
    pub fn start(api: &str) -> Self {
        let engine = Arc::new(Mutex::new(Engine { api: api.to_owned(), ..Engine::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
        let address = format!("tcp://{}", listener.local_addr().expect("an address"));
        let serving = engine.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(&serving, stream);
            }
        });
        Self { address, engine }
    }

    pub fn engine(&self) -> MutexGuard<'_, Engine> {
        self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, *content).expect("a Vec takes any bytes");
    }
    tar.into_inner().expect("a Vec takes any bytes")
}

pub fn sha256(bytes: &[u8]) -> String {
    Digest::of(bytes).to_string()
}

const INDEX: &str = "index.json";
const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

impl Engine {
    /// Keeps a blob; gives its descriptor.
    pub fn put(&mut self, media_type: &str, bytes: &[u8]) -> Value {
        self.blobs.insert(sha256(bytes), bytes.to_vec());
        json!({"mediaType": media_type, "size": bytes.len(), "digest": sha256(bytes)})
    }

    fn document(&self, digest: &str) -> Option<Value> {
        serde_json::from_slice(self.blobs.get(digest)?).ok()
    }

    /// Whether the manifest, its config and every layer are in the content store.
    fn is_available(&self, manifest: &str) -> bool {
        let Some(document) = self.document(manifest) else { return false };
        children(&document).iter().all(|digest| self.blobs.contains_key(digest))
    }

    fn resolve(&self, name: &str) -> Option<String> {
        let there = self.names.values().any(|digest| digest == name);
        self.names.get(name).cloned().or_else(|| there.then(|| name.to_owned()))
    }

    pub fn inspect(&self, name: &str, with_manifests: bool) -> Option<Value> {
        let id = self.resolve(name)?;
        let config =
            self.document(&id).and_then(|manifest| self.document(manifest["config"]["digest"].as_str()?));
        let config = config?;
        let mut answer = json!({
            "Id": id, "Os": "linux", "Architecture": "amd64", "Config": config["config"],
            "RootFS": {"Layers": config["rootfs"]["diff_ids"]},
        });
        if with_manifests {
            let platform = json!({"os": "linux", "architecture": "amd64"});
            let image = json!({"ID": id, "Available": self.is_available(&id), "Kind": "image", "ImageData": {"Platform": platform}});
            let attestation = json!({"ID": sha256(b"attestation"), "Available": true, "Kind": "attestation"});
            answer["Manifests"] = json!([image, attestation]);
        }
        Some(answer)
    }

    /// The image in the OCI layout form: blobs in the order of their names, missing ones left out.
    fn save(&self, name: &str) -> Option<Vec<u8>> {
        let id = self.resolve(name)?;
        let mut digests = children(&self.document(&id)?);
        digests.push(id);
        digests.sort();
        digests.dedup();
        let there = digests.iter().filter_map(|digest| Some((path(digest), self.blobs.get(digest)?)));
        let files: Vec<(String, &Vec<u8>)> = there.collect();
        let mut files: Vec<(&str, &[u8])> =
            files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        files.push(("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#));
        Some(tar(&files))
    }

    /// Takes an archive as containerd's importer does, blobs that are named but not given included.
    fn load(&mut self, body: &[u8]) -> String {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(body).entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("a whole entry");
            self.log.push(format!("{name} {}", bytes.len()));
            self.blobs.insert(sha256(&bytes), bytes.clone());
            files.insert(name, bytes);
        }
        if let Some(digest) = &self.fleeting {
            self.away = self.blobs.remove(digest);
        }
        let images = if files.contains_key("oci-layout") { layout(&files) } else { self.archive(&files) };
        let Some(images) = images else {
            return json!({"errorDetail": {}, "error": "unrecognized image format"}).to_string();
        };
        let mut told = String::new();
        for (name, manifest) in images {
            self.names.insert(name.unwrap_or_else(|| format!("moby-dangling@{manifest}")), manifest.clone());
            if let Err(why) = self.unpack(&manifest) {
                told += &json!({"stream": format!("Error unpacking image {manifest}: {why}\n")}).to_string();
            }
        }
        told + "\n"
    }

    /// An archive of Docker's own form: a layer that is named and not given is an error.
    fn archive(&mut self, files: &BTreeMap<String, Vec<u8>>) -> Option<Vec<(Option<String>, String)>> {
        let list: Value = serde_json::from_slice(files.get("manifest.json")?).ok()?;
        let entry = &list[0];
        let config = files.get(entry["Config"].as_str()?)?;
        let config = self.put("application/vnd.docker.container.image.v1+json", config);
        let mut layers = Vec::new();
        for name in entry["Layers"].as_array()? {
            let bytes = files.get(name.as_str()?)?;
            layers.push(self.put("application/vnd.docker.image.rootfs.diff.tar", bytes));
        }
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers});
        let digest = self.put(MANIFEST, manifest.to_string().as_bytes())["digest"].as_str()?.to_owned();
        let tags = entry["RepoTags"].as_array()?.iter();
        Some(tags.map(|tag| (tag.as_str().map(str::to_owned), digest.clone())).collect())
    }

    /// Chains that lie unpacked are not unpacked again: their blobs may be missing.
    pub fn unpack(&mut self, manifest: &str) -> Result<(), String> {
        let document = self.document(manifest).ok_or("no manifest")?;
        let config =
            self.document(document["config"]["digest"].as_str().unwrap_or_default()).ok_or("no config")?;
        let mut chain = String::new();
        let diff_ids = config["rootfs"]["diff_ids"].as_array().cloned().unwrap_or_default();
        for (layer, diff_id) in document["layers"].as_array().into_iter().flatten().zip(diff_ids) {
            chain += diff_id.as_str().unwrap_or_default();
            let digest = layer["digest"].as_str().unwrap_or_default();
            if !self.snapshots.contains(&chain) && !self.blobs.contains_key(digest) {
                return Err(format!("content digest {digest}: not found"));
            }
            self.snapshots.insert(chain.clone());
        }
        Ok(())
    }

    fn answer(&mut self, method: &str, target: &str, body: &[u8]) -> Option<Vec<u8>> {
        let version = format!("/v{}", self.api);
        let target = target.strip_prefix(&version).unwrap_or(target);
        self.log.push(format!("{method} {target}"));
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let told = |value: Value| Some(value.to_string().into_bytes());
        match path {
            "/version" => return told(json!({"ApiVersion": self.api, "MinAPIVersion": "1.24"})),
            "/info" => {
                return told(json!({"DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]}));
            }
            "/images/get" => return self.save(query.strip_prefix("names=")?),
            "/images/load" => return Some(self.load(body).into_bytes()),
            _ => {}
        }
        let (name, verb) =
            path.strip_prefix("/images/").map(|rest| rest.rsplit_once('/').unwrap_or((rest, "")))?;
        match (method, verb) {
            ("GET", "json") => {
                let newer = self.api.as_str() >= "1.48";
                self.inspect(name, newer && query == "manifests=1").and_then(told)
            }
            ("GET", "history") => told(json!([])),
            ("POST", "tag") => {
                let (repository, tag) = query.strip_prefix("repo=")?.split_once("&tag=")?;
                let id = self.resolve(name)?;
                self.names.remove(&format!("moby-dangling@{id}"));
                self.names.insert(format!("{repository}:{tag}"), id);
                Some(Vec::new())
            }
            ("DELETE", "") => {
                self.names.retain(|_, digest| digest != name);
                self.blobs.extend(self.fleeting.take().zip(self.away.take()));
                told(json!([]))
            }
            _ => None,
        }
    }
}

/// The images of an OCI layout: with a name or, as ours, without.
fn layout(files: &BTreeMap<String, Vec<u8>>) -> Option<Vec<(Option<String>, String)>> {
    let index: Value = serde_json::from_slice(files.get(INDEX)?).ok()?;
    let image = |entry: &Value| {
        let name = entry["annotations"]["io.containerd.image.name"].as_str().map(str::to_owned);
        Some((name, entry["digest"].as_str()?.to_owned()))
    };
    index["manifests"].as_array()?.iter().map(image).collect()
}

fn children(manifest: &Value) -> Vec<String> {
    let layers = manifest["layers"].as_array().into_iter().flatten();
    let all = std::iter::once(&manifest["config"]).chain(layers);
    all.filter_map(|descriptor| descriptor["digest"].as_str().map(str::to_owned)).collect()
}

fn path(digest: &str) -> String {
    format!("blobs/{}", digest.replace(':', "/"))
}

fn serve(engine: &Mutex<Engine>, mut stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let mut words = head.first()?.split(' ');
    let (method, target) = (words.next()?, words.next()?);
    let mut body = Vec::new();
    while head.iter().any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked")) {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let size = u64::from_str_radix(line.trim(), 16).ok()?;
        reader.by_ref().take(size).read_to_end(&mut body).ok()?;
        reader.read_line(&mut line).ok()?;
        if size == 0 {
            break;
        }
    }
    let answer = engine.lock().unwrap_or_else(PoisonError::into_inner).answer(method, target, &body);
    let status = if answer.is_some() { "200 OK" } else { "404 Not Found" };
    let answer = answer.unwrap_or_else(|| b"{\"message\":\"no such image\"}".to_vec());
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", answer.len())
        .ok()?;
    stream.write_all(&answer).ok()
}
