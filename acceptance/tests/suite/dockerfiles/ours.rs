//! Our side: the case applied to a root directory, layers captured, and done again out of the cache.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use acceptance::tree::Tree;
use extensions::apply::{
    Application, BaseImage, Compress, Fetch, Fetched, Mounting, Output, Purpose, Session, Settings,
    StepResult,
};
use extensions::cache::Cache;
use extensions::context::Context;
use extensions::dockerfile::parse;
use extensions::layer::Compression;
use extensions::policy::{Target, permit};
use extensions::root::Root;
use extensions::state::{Arguments, ConfigState};
use serde_json::{Value, json};

use super::Outcome;
use super::bases;
use super::case::Prepared;

/// Layers as they are.
struct Plain;

impl Compress for Plain {
    fn compression(&self) -> Compression {
        Compression::None
    }

    fn compress(&self, tar: &mut dyn Read, blob: &mut dyn Write) -> io::Result<()> {
        io::copy(tar, blob).map(drop)
    }
}

/// Downloads from the test's server.
struct Download<'s>(&'s str);

impl Fetch for Download<'_> {
    fn fetch(&self, url: &str, to: &mut dyn Write) -> Result<Fetched, Box<dyn Error + Send + Sync>> {
        let path = url.strip_prefix(self.0).ok_or("only the test's server is reached")?;
        let mut stream = TcpStream::connect(self.0.trim_start_matches("http://"))?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        if !head.contains(" 200 ") {
            return Err("not found".into());
        }
        to.write_all(body.as_bytes())?;
        Ok(Fetched { last_modified: Some(1_000_000_000) })
    }
}

/// Applies a case to a fresh root, and to another one out of the cache.
///
/// # Panics
///
/// When the layers, the root, and the root made from the cache are not the same.
pub fn apply(prepared: &Prepared) -> Outcome {
    let first = match once(prepared, Purpose::Layers) {
        Ok(done) => done,
        Err(error) => return vec![format!("fails: {error}")],
    };
    let base = prepared.base();
    let mut tree = prepared.base_tree().clone();
    for layer in first.steps.iter().filter_map(|step| step.layer.as_ref()) {
        tree.apply(std::fs::File::open(&layer.path).expect("a layer was written"));
    }
    let base_config = &base.image.config["config"];
    let found = super::changes(&tree, prepared.base_tree(), &first.config, base_config);
    let mut wrong = vec![];
    if first.disk != found {
        wrong.push(("the root itself", first.disk));
    }
    match once(prepared, Purpose::Root) {
        Ok(second) if second.disk == found => {}
        Ok(second) => wrong.push(("the root made from the cache", second.disk)),
        Err(error) => wrong.push(("out of the cache", vec![error])),
    }
    match wrong.pop() {
        None => found,
        Some((which, lines)) => {
            let lines = lines.into_iter().map(|line| format!("{which}: {line}"));
            found.into_iter().map(|line| format!("layers: {line}")).chain(lines).collect()
        }
    }
}

struct Done {
    steps: Vec<StepResult>,
    config: Value,
    disk: Outcome,
}

fn once(prepared: &Prepared, purpose: Purpose) -> Result<Done, String> {
    let temp = tempfile::tempdir_in(prepared.dir.join("work")).expect("the directory is ours");
    let directory = temp.path().join("root");
    unpack(prepared, &directory);
    let root = Root::open(&directory).expect("the root exists");
    let context = Context::of(&prepared.context, &prepared.dockerfile.join("Dockerfile"));
    let context = context.map_err(|error| error.to_string())?;
    let cache = Cache::open(&prepared.dir.join("work/cache"), Duration::from_hours(1)).expect("a cache");
    let settings = Settings {
        root: &root,
        ignore: Vec::new(),
        method: None,
        purpose,
        mounting: Mounting::Try,
        make_ready: &|| Ok(()),
        cache: Some(&cache),
        work: &kept(&prepared.dir.join("work")),
        compress: &Plain,
        fetch: &Download(&prepared.server),
        output: Output { stdout: devnull(), stderr: devnull() },
        platform: "linux/test".to_owned(),
        log: &|_| {},
    };
    let config = &prepared.base().image.config["config"];
    let base = BaseImage { config: state(config), diff_ids: vec![prepared.base().image.digest.clone()] };
    let mut arguments = Arguments::default();
    arguments.supplied.extend(prepared.case.arguments.clone());
    let arch = acceptance::run_image::arch();
    for (name, value) in
        [("TARGETOS", "linux"), ("TARGETARCH", arch), ("TARGETPLATFORM", &format!("linux/{arch}"))]
    {
        arguments.platform.insert(name.to_owned(), value.to_owned());
    }
    let proxies = ["http_proxy", "HTTPS_PROXY"];
    let is_proxy = |name: &String| proxies.contains(&name.as_str());
    arguments.proxies =
        prepared.case.arguments.clone().into_iter().filter(|(name, _)| is_proxy(name)).collect();
    let parsed = parse("run.Dockerfile", prepared.text.as_bytes()).map_err(|error| error.to_string())?;
    let permitted = permit(parsed, Target::Run, &arguments).map_err(|error| error.to_string())?;
    let application =
        Application { permitted: &permitted, arguments, context: Some(&context), is_last: true };
    let mut session = Session::new(settings, base);
    let steps = session.apply(&application).map_err(|error| error.to_string())?;
    let state = session.finish().map_err(|error| error.to_string())?;
    let mut disk = Tree::default();
    disk.apply(bases::pack(&directory).as_slice());
    let config_now = json_of(state, config);
    let disk = super::changes(&disk, prepared.base_tree(), &config_now, config);
    Ok(Done { steps, config: config_now, disk })
}

fn kept(work: &Path) -> PathBuf {
    tempfile::tempdir_in(work).expect("the directory is ours").keep()
}

fn devnull() -> Option<std::fs::File> {
    std::fs::OpenOptions::new().write(true).open("/dev/null").ok()
}

fn unpack(prepared: &Prepared, to: &Path) {
    std::fs::create_dir(to).expect("the directory is ours");
    for layer in &prepared.base().image.layers {
        let mut tar = Command::new("tar")
            .args(["-x", "-p", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C"])
            .arg(to)
            .stdin(Stdio::piped())
            .spawn()
            .expect("tar can be started");
        tar.stdin.take().expect("it is piped").write_all(&layer.tar).expect("tar reads everything");
        assert!(tar.wait().is_ok_and(|status| status.success()), "the base is a tar");
    }
}

/// The part of a config that instructions change.
fn state(config: &Value) -> ConfigState {
    let text = |key: &str| config[key].as_str().unwrap_or_default().to_owned();
    let list = |key: &str| -> Vec<String> {
        config[key].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let pair = |pair: String| {
        let (name, value) = pair.split_once('=').unwrap_or((&pair, ""));
        (name.to_owned(), value.to_owned())
    };
    let labels = config["Labels"].as_object().into_iter().flatten();
    ConfigState {
        env: list("Env").into_iter().map(pair).collect(),
        user: text("User"),
        workdir: text("WorkingDir"),
        shell: list("Shell"),
        labels: labels
            .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().into()))
            .collect(),
        ..ConfigState::default()
    }
}

/// The base's config with what instructions changed.
fn json_of(state: ConfigState, base: &Value) -> Value {
    let mut config = base.clone();
    let env = state.env.iter().map(|(name, value)| format!("{name}={value}"));
    config["Env"] = env.collect();
    config["User"] = state.user.into();
    config["WorkingDir"] = state.workdir.into();
    if !state.shell.is_empty() {
        config["Shell"] = state.shell.into();
    }
    config["Labels"] = json!(state.labels);
    for (key, value) in [("Cmd", state.cmd), ("Entrypoint", state.entrypoint)] {
        if let Some(value) = value {
            config[key] = if value.is_empty() { Value::Null } else { value.into() };
        }
    }
    for (key, names) in [("ExposedPorts", state.exposed_ports), ("Volumes", state.volumes)] {
        for name in names {
            config[key][name] = json!({});
        }
    }
    if let Some(signal) = state.stop_signal {
        config["StopSignal"] = signal.into();
    }
    if !state.on_build.is_empty() {
        config["OnBuild"] = state.on_build.into();
    }
    config
}
