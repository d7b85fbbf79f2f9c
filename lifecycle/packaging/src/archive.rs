//! The files that ship, as tar: the same bytes wherever and whenever they are packed.

use std::io::Write;

use flate2::{Compression, GzBuilder};
use lifecycle::time;
use tar::{EntryType, Header};

use crate::compile::{LINKS, PROGRAMS, Program};

/// One file, directory or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name; below the lifecycle's directory where it has no slash in front.
    pub name: String,
    /// What it is.
    pub body: Body,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// A directory with a mode.
    Dir(u32),
    /// A file with a mode.
    File(u32, Vec<u8>),
    /// A symbolic link to that path.
    Link(String),
}

/// What is in the directory `lifecycle`, by name: programs, links, bills of materials.
pub fn contents(programs: &[Program], sboms: Vec<(String, Vec<u8>)>) -> Vec<Entry> {
    let files = programs.iter().map(|it| (it.name.to_owned(), Body::File(0o755, it.bytes.clone())));
    let links = LINKS.iter().map(|name| ((*name).to_owned(), Body::Link(PROGRAMS[0].to_owned())));
    let sboms = sboms.into_iter().map(|(name, text)| (name, Body::File(0o644, text)));
    let mut entries: Vec<Entry> =
        files.chain(links).chain(sboms).map(|(name, body)| Entry { name, body }).collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    entries
}

/// The tgz's entries: `lifecycle.toml`, then the directory and what is in it.
pub fn release(descriptor: &str, contents: &[Entry]) -> Vec<Entry> {
    let mut entries = vec![
        Entry { name: "lifecycle.toml".to_owned(), body: Body::File(0o644, descriptor.into()) },
        Entry { name: "lifecycle".to_owned(), body: Body::Dir(0o755) },
    ];
    entries.extend(contents.iter().map(|it| Entry { name: format!("lifecycle/{}", it.name), ..it.clone() }));
    entries
}

/// The image's first layer: what a container needs before anything runs in it. Platforms name the user `root`,
/// which engines look up in `/etc/passwd`, and phases keep temporary files in `/tmp`.
pub fn base() -> Vec<Entry> {
    let file = |text: &str| Body::File(0o644, text.into());
    let entries = [
        ("/etc", Body::Dir(0o755)),
        ("/etc/group", file("root:x:0:\n")),
        ("/etc/passwd", file("root:x:0:0:root:/root:/sbin/nologin\n")),
        ("/tmp", Body::Dir(0o1777)),
    ];
    entries.into_iter().map(|(name, body)| Entry { name: name.to_owned(), body }).collect()
}

/// The image's last layer, which platforms put on other images too: nothing but the lifecycle. `/cnb` comes
/// first: pack cuts the first entry off and takes the rest as a tgz.
pub fn layer(descriptor: &str, contents: &[Entry]) -> Vec<Entry> {
    let entry = |name: &str, body| Entry { name: name.to_owned(), body };
    let mut entries = vec![
        entry("/cnb", Body::Dir(0o755)),
        entry("/cnb/lifecycle.toml", Body::File(0o644, descriptor.into())),
        entry("/cnb/lifecycle", Body::Dir(0o755)),
    ];
    entries.extend(
        contents.iter().map(|it| Entry { name: format!("/cnb/lifecycle/{}", it.name), ..it.clone() }),
    );
    entries
}

/// `entries` as a tar, in their order: owned by root, all of the same time.
pub fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in entries {
        let (kind, mode, content, link): (_, _, &[u8], _) = match &entry.body {
            Body::Dir(mode) => (EntryType::Directory, *mode, &[], None),
            Body::File(mode, content) => (EntryType::Regular, *mode, content, None),
            Body::Link(to) => (EntryType::Symlink, 0o777, &[], Some(to)),
        };
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_mtime(u64::try_from(time::CONSTANT).expect("the constant is after 1970"));
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        if let Some(to) = link {
            header.set_link_name(to).expect("links are short");
        }
        // The crate accepts no absolute names, which the image's layer has.
        header.as_mut_bytes()[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
        header.set_cksum();
        tar.append(&header, content).expect("a Vec takes any bytes");
    }
    tar.into_inner().expect("a Vec takes any bytes")
}

/// `bytes` as small as gzip makes them, without name and time.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(bytes).and_then(|()| gzip.finish()).expect("a Vec takes any bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::Linked;

    fn entries() -> Vec<Entry> {
        let program =
            |name| Program { name, bytes: format!("#{name}").into_bytes(), linked: Linked::default() };
        let programs: Vec<Program> = PROGRAMS.into_iter().map(program).collect();
        contents(&programs, vec![("lifecycle.sbom.cdx.json".to_owned(), b"{}".to_vec())])
    }

    fn names(tar: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(tar);
        let entries = archive.entries().expect("a tar");
        entries
            .map(|entry| {
                let entry = entry.expect("an entry");
                let link = entry.link_name().expect("a path").map(|to| format!(" -> {}", to.display()));
                let header = entry.header();
                assert_eq!(header.mtime().ok(), Some(315_532_801));
                assert_eq!((header.uid().ok(), header.gid().ok()), (Some(0), Some(0)));
                let mode = header.mode().expect("a mode");
                format!(
                    "{mode:o} {}{}",
                    String::from_utf8_lossy(&entry.path_bytes()),
                    link.unwrap_or_default()
                )
            })
            .collect()
    }

    #[test]
    fn release_holds_the_descriptor_and_one_directory() {
        let names = names(&tar(&release("[apis]", &entries())));
        assert_eq!(
            names[..3],
            ["644 lifecycle.toml", "755 lifecycle", "777 lifecycle/analyzer -> lifecycle"]
        );
        assert_eq!(names[3], "755 lifecycle/builder");
        assert_eq!(names.len(), 2 + 4 + 6 + 1);
        assert!(names.iter().all(|name| name.matches('/').count() <= 1), "pack reads no deeper: {names:?}");
    }

    #[test]
    fn layer_begins_with_the_directory_that_platforms_cut_off() {
        let names = names(&tar(&layer("[apis]", &entries())));
        assert_eq!(names[..3], ["755 /cnb", "644 /cnb/lifecycle.toml", "755 /cnb/lifecycle"]);
        assert!(names.iter().all(|name| name.contains(" /cnb")), "it is put on run images: {names:?}");
    }

    #[test]
    fn base_knows_root_and_has_a_place_for_temporary_files() {
        let names = names(&tar(&base()));
        assert_eq!(names, ["755 /etc", "644 /etc/group", "644 /etc/passwd", "1777 /tmp"]);
    }

    #[test]
    fn gzip_tells_no_time() {
        assert_eq!(gzip(b"x")[..9], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2]);
    }
}
