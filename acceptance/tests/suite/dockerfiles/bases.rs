//! Base images made on the spot.
//!
//! | name | what it is |
//! |---|---|
//! | `busybox` | a static busybox as every command, users `app` and `root`, and `/old` with one of each kind of file |
//! | `app` | the same with `User app`, `WorkingDir /home/app`, a variable, a label and a `Shell` |
//! | `distroless` | users, and neither shell nor command |
//! | `debian` | Debian's own packages, with dpkg |

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use acceptance::buildkit::Base;
use acceptance::docker;
use acceptance::run_image::{arch, write_layout};
use acceptance::tree::Tree;
use serde_json::{Value, json};

/// Makes the files of `busybox`. Runs in the directory that is to be the root.
const BUSYBOX: &str = r#"
    mkdir -p bin usr/bin home/app root opt var/cache run srv
    mkdir -m 1777 tmp
    busybox=$(command -v busybox)
    cp "$busybox" bin/busybox
    for name in $(./bin/busybox --list); do [ "$name" = busybox ] || ln -s busybox "bin/$name"; done
    chmod 700 root
    chown 1000:1001 home/app
    mkdir -p old/dir/sub old/private
    printf one > old/one; printf two > old/two; printf x > old/dir/x; printf y > old/dir/sub/y
    ln old/one old/one-too
    ln -s dir old/to-dir; ln -s /old/dir old/to-abs; ln -s ../../../etc old/to-up; ln -s nowhere old/dangling
    mkfifo old/fifo
    printf s > old/setuid; chmod 4755 old/setuid
    printf a > old/apps; chown 1000:1001 old/apps
    chmod 700 old/private; printf p > old/private/p; chmod 2770 old/dir/sub
    for name in attr attr2 capable capable2; do printf a > old/$name; done
    python3 - <<'END'
import os
for name in 'attr', 'attr2': os.setxattr('old/' + name, 'user.kept', b'yes')
capability = bytes.fromhex('0100000200040000000000000000000000000000')
for name in 'capable', 'capable2': os.setxattr('old/' + name, 'security.capability', capability)
END
"#;

/// What all of them have.
const COMMON: &str = r"
    mkdir -p etc dev proc sys
    printf 'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\nnohome:x:70:71:::\n' > etc/passwd
    printf 'root:x:0:\napp:x:1001:\nextra:x:77:app,root\nnohome:x:71:\n' > etc/group
    touch etc/hosts etc/resolv.conf etc/hostname
";

/// A base image and its files.
///
/// # Panics
///
/// When there is none of that name, or it cannot be made.
pub fn base(name: &str) -> &'static (Base, Tree) {
    static BUSYBOX_BASE: OnceLock<(Base, Tree)> = OnceLock::new();
    static APP: OnceLock<(Base, Tree)> = OnceLock::new();
    static DISTROLESS: OnceLock<(Base, Tree)> = OnceLock::new();
    static DEBIAN_BASE: OnceLock<(Base, Tree)> = OnceLock::new();
    match name {
        "busybox" => BUSYBOX_BASE.get_or_init(|| made(name, &[COMMON, BUSYBOX], &json!({}))),
        "app" => APP.get_or_init(|| {
            let config = json!({
                "User": "app", "WorkingDir": "/home/app", "Shell": ["/bin/sh", "-ec"],
                "Labels": { "of": "base" }, "Cmd": ["sleep", "1"],
            });
            made(name, &[COMMON, BUSYBOX], &config)
        }),
        "distroless" => DISTROLESS.get_or_init(|| made(name, &[COMMON], &json!({ "User": "1000" }))),
        "debian" => DEBIAN_BASE.get_or_init(|| {
            let script = format!("IMAGE={}\n{DEBIAN}", docker::base_image());
            made(name, &[&script], &json!({}))
        }),
        other => panic!("there is no base {other}"),
    }
}

fn made(name: &str, scripts: &[&str], config: &Value) -> (Base, Tree) {
    let work = tempfile::tempdir().expect("a temporary directory can be made");
    let root = work.path().join("root");
    std::fs::create_dir(&root).expect("the directory is ours");
    let script = format!("set -eu; umask 022\n{}", scripts.concat());
    let made = Command::new("bash").args(["-c", &script]).current_dir(&root).status();
    assert!(made.is_ok_and(|status| status.success()), "the files of {name} can be made");
    let tar = pack(&root);
    let mut config = config.clone();
    config["Env"] = json!(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "BASE=base"]);
    let config = json!({
        "architecture": arch(),
        "os": "linux",
        "created": "2020-01-01T00:00:00Z",
        "config": config,
        "rootfs": { "type": "layers", "diff_ids": [acceptance::run_image::digest(&tar)] },
        "history": [{ "created": "2020-01-01T00:00:00Z", "created_by": name }],
    });
    let layout = layout_of(name);
    write_layout(&layout, &[tar], &config);
    with_tree(Base::new(name, layout))
}

/// The files that Debian's tools are, of the image that other tests run phases in; what they only
/// document is left out.
const DEBIAN: &str = r#"
    container=$(docker create "$IMAGE" true)
    docker export "$container" | tar -x -p --numeric-owner --exclude='usr/share/locale/*' --exclude='usr/share/doc/*' \
        --exclude='usr/share/man/*' --exclude='usr/share/info/*' --exclude='usr/share/zoneinfo/*' --exclude='usr/lib/*/gconv/*' \
        --exclude='usr/lib/locale/*' --exclude='var/lib/apt/lists/*' --exclude='var/cache/apt/*' --exclude='*.dockerenv'
    docker rm "$container" > /dev/null
"#;

fn with_tree(base: Base) -> (Base, Tree) {
    let mut tree = Tree::default();
    base.image.layers.iter().for_each(|layer| tree.apply(layer.tar.as_slice()));
    (base, tree)
}

/// A base's layout, where cargo keeps what tests leave; made anew in each run.
fn layout_of(name: &str) -> PathBuf {
    let layout = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("base-{name}"));
    if layout.exists() {
        std::fs::remove_dir_all(&layout).expect("the directory is ours");
    }
    layout
}

/// The tar of a directory: numeric owners, all attributes.
pub fn pack(root: &std::path::Path) -> Vec<u8> {
    let output = Command::new("tar")
        .args(["-c", "--format=pax", "--numeric-owner", "--sort=name", "--mtime=@1600000000"])
        .args(["--pax-option=delete=atime,delete=ctime", "--xattrs", "--xattrs-include=*"])
        .arg("-C")
        .arg(root)
        .arg(".")
        .output()
        .expect("tar can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
