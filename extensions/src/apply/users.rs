//! Users and groups by name: from the plain `/etc/passwd` and `/etc/group` of the root.
//!
//! No other source of names is asked: it would be that of the machine we were built for, or code of
//! the image run by us.

use std::io::Read as _;
use std::path::Path;

use rustix::io::Errno;

use crate::root::{PathError, Root, at};

/// A larger file is refused.
const MAX_FILE_BYTES: u64 = 10 << 20;

/// Who a process runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Numeric user.
    pub uid: u32,
    /// Numeric primary group.
    pub gid: u32,
    /// Supplementary groups; the primary one is among them.
    pub groups: Vec<u32>,
    /// The home directory; `/` if the user has no entry.
    pub home: String,
}

/// A user or group cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is no user of that name.
    #[error("unable to find user `{0}` in /etc/passwd")]
    NoUser(String),
    /// There is no group of that name.
    #[error("unable to find group `{0}` in /etc/group")]
    NoGroup(String),
    /// A number is too large.
    #[error("`{0}` is not a user or group number")]
    Range(String),
    /// A file cannot be read.
    #[error("failed to {0}")]
    Read(#[from] PathError),
}

struct User {
    name: String,
    uid: u32,
    gid: u32,
    home: String,
}

struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

/// Finds who `USER` names: `user`, `user:group`, names or numbers; empty is root.
///
/// Two numbers are exactly those, with no supplementary groups. A user that has an entry brings its
/// primary group and those it is a member of; a number without one has group 0. An explicit group
/// overrides both.
pub fn credentials(root: &Root, spec: &str) -> Result<Credentials, UserError> {
    let (user, group) = spec.split_once(':').unwrap_or((spec, ""));
    let user = if user.is_empty() { "0" } else { user };
    let (uid, gid) = (number(user)?, number(group)?);
    let users = parse_users(&read(root, "etc/passwd")?);
    let home_of = |uid| {
        let entry = users.iter().find(|entry| entry.uid == uid);
        entry.map_or("/", |entry| &entry.home).to_owned()
    };
    if let (Some(uid), Some(gid)) = (if user == "root" { Some(0) } else { uid }, gid) {
        return Ok(Credentials { uid, gid, groups: vec![gid], home: home_of(uid) });
    }
    let entry = users.iter().find(|entry| uid.map_or(entry.name == user, |uid| entry.uid == uid));
    let found = match (entry, uid) {
        (Some(entry), _) => (entry.uid, entry.gid),
        (None, Some(uid)) => (uid, 0),
        (None, None) if user == "root" => (0, 0),
        (None, None) => return Err(UserError::NoUser(user.to_owned())),
    };
    let groups = parse_groups(&read(root, "etc/group")?);
    let home = home_of(found.0);
    if !group.is_empty() {
        let gid = explicit_group(group, gid, &groups)?;
        return Ok(Credentials { uid: found.0, gid, groups: vec![gid], home });
    }
    let mut list = vec![found.1];
    if let Some(entry) = entry {
        let member = |group: &&Group| group.members.contains(&entry.name) && group.gid != found.1;
        list.extend(groups.iter().filter(member).map(|group| group.gid));
    }
    Ok(Credentials { uid: found.0, gid: found.1, groups: list, home })
}

/// Finds the owner that `--chown` names: a name has its primary group, a number the group of the
/// same number; a group after a colon overrides.
///
/// A name that does not exist is an error, where BuildKit takes 0:
/// spec-notes/decisions.md#copy-semantics.
pub(super) fn owner(root: &Root, spec: &str) -> Result<(u32, u32), UserError> {
    let (user, group) = match spec.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (spec, None),
    };
    let (uid, mut gid) = match number(user)? {
        Some(number) => (number, number),
        None if user.is_empty() || user == "root" => (0, 0),
        None => {
            let users = parse_users(&read(root, "etc/passwd")?);
            let entry = users.iter().find(|entry| entry.name == user);
            let entry = entry.ok_or_else(|| UserError::NoUser(user.to_owned()))?;
            (entry.uid, entry.gid)
        }
    };
    match group {
        None | Some("") => {}
        Some("root") => gid = 0,
        Some(group) => {
            gid = match number(group)? {
                Some(number) => number,
                None => explicit_group(group, None, &parse_groups(&read(root, "etc/group")?))?,
            };
        }
    }
    Ok((uid, gid))
}

fn explicit_group(group: &str, gid: Option<u32>, groups: &[Group]) -> Result<u32, UserError> {
    if let Some(gid) = gid {
        return Ok(gid);
    }
    match groups.iter().find(|entry| entry.name == group) {
        Some(entry) => Ok(entry.gid),
        None if group == "root" => Ok(0),
        None => Err(UserError::NoGroup(group.to_owned())),
    }
}

/// Reads a number; `None` for a name.
fn number(text: &str) -> Result<Option<u32>, UserError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(None);
    }
    match text.parse::<u32>() {
        // The last one means "leave it as it is" to the kernel.
        Ok(number) if number < u32::MAX => Ok(Some(number)),
        _ => Err(UserError::Range(text.to_owned())),
    }
}

/// Reads a file of the root; a missing one is empty.
fn read(root: &Root, path: &str) -> Result<String, PathError> {
    let path = Path::new(path);
    let mut bytes = Vec::new();
    match root.open_file(path) {
        Ok(file) => file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(at("read", path))?,
        Err(error) if error.is_missing() => return Ok(String::new()),
        Err(error) => return Err(error),
    };
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(at("read", path)(Errno::FBIG));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn parse_users(text: &str) -> Vec<User> {
    fields(text)
        .filter_map(|fields| {
            Some(User {
                name: (*fields.first()?).to_owned(),
                uid: fields.get(2)?.parse().ok()?,
                gid: fields.get(3)?.parse().ok()?,
                home: fields.get(5).copied().filter(|home| !home.is_empty()).unwrap_or("/").to_owned(),
            })
        })
        .collect()
}

fn parse_groups(text: &str) -> Vec<Group> {
    fields(text)
        .filter_map(|fields| {
            Some(Group {
                name: (*fields.first()?).to_owned(),
                gid: fields.get(2)?.parse().ok()?,
                members: fields.get(3).map_or("", |members| members).split(',').map(str::to_owned).collect(),
            })
        })
        .collect()
}

fn fields(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split(':').collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n# a comment\nbroken\n\
        app:x:1000:1001:An App:/home/app:/bin/sh\nnohome:x:7:8::\n";
    const GROUP: &str = "root:x:0:\nwheel:x:10:root,app\napp:x:1001:\ndocker:x:998:other,app\n";

    fn root() -> (tempfile::TempDir, Root) {
        let temp = tempfile::tempdir().expect("temp dir");
        std::fs::create_dir(temp.path().join("etc")).expect("mkdir");
        std::fs::write(temp.path().join("etc/passwd"), PASSWD).expect("write");
        std::fs::write(temp.path().join("etc/group"), GROUP).expect("write");
        let root = Root::open(temp.path()).expect("open root");
        (temp, root)
    }

    #[track_caller]
    fn check(spec: &str, uid: u32, gid: u32, groups: &[u32], home: &str) {
        let (_temp, root) = root();
        let expected = Credentials { uid, gid, groups: groups.to_vec(), home: home.to_owned() };
        assert_eq!(credentials(&root, spec).expect(spec), expected, "{spec}");
    }

    #[test]
    fn users_bring_their_groups_unless_one_is_named() {
        check("", 0, 0, &[0, 10], "/root");
        check("root", 0, 0, &[0, 10], "/root");
        check("app", 1000, 1001, &[1001, 10, 998], "/home/app");
        check("1000", 1000, 1001, &[1001, 10, 998], "/home/app");
        check("app:wheel", 1000, 10, &[10], "/home/app");
        check("app:77", 1000, 77, &[77], "/home/app");
        check("1000:0", 1000, 0, &[0], "/home/app");
        check("4321", 4321, 0, &[0], "/");
        check("4321:wheel", 4321, 10, &[10], "/");
        check(":wheel", 0, 10, &[10], "/root");
        check("nohome", 7, 8, &[8], "/");
    }

    #[test]
    fn names_that_are_not_there_are_errors() {
        let (_temp, root) = root();
        let fails = |spec: &str| credentials(&root, spec).expect_err(spec);
        assert!(matches!(fails("nobody"), UserError::NoUser(_)));
        assert!(matches!(fails("broken"), UserError::NoUser(_)));
        assert!(matches!(fails("app:nobody"), UserError::NoGroup(_)));
        assert!(matches!(fails("4294967295"), UserError::Range(_)));
        assert!(matches!(fails("app:99999999999"), UserError::Range(_)));
        assert!(matches!(owner(&root, "nobody"), Err(UserError::NoUser(_))));
    }

    #[test]
    fn owners_of_copies_have_their_own_rules() {
        let (_temp, root) = root();
        let owner = |spec: &str| owner(&root, spec).expect(spec);
        assert_eq!(owner("app"), (1000, 1001));
        assert_eq!(owner("1000"), (1000, 1000));
        assert_eq!(owner("1000:"), (1000, 1000));
        assert_eq!(owner(":10"), (0, 10));
        assert_eq!(owner("app:wheel"), (1000, 10));
        assert_eq!(owner("4321:wheel"), (4321, 10));
        assert_eq!(owner("root:root"), (0, 0));
    }

    #[test]
    fn files_are_those_of_the_root() {
        let (temp, root) = root();
        let passwd = temp.path().join("etc/passwd");
        std::fs::remove_file(&passwd).expect("remove");
        assert!(matches!(credentials(&root, "app"), Err(UserError::NoUser(_))));
        assert_eq!(credentials(&root, "root").expect("root").uid, 0);
        std::os::unix::fs::symlink("/proc/self/environ", &passwd).expect("symlink");
        assert!(matches!(credentials(&root, "app"), Err(UserError::NoUser(_))));
        std::fs::write(temp.path().join("users"), PASSWD).expect("write");
        std::fs::remove_file(&passwd).expect("remove");
        std::os::unix::fs::symlink("/users", &passwd).expect("symlink");
        assert_eq!(credentials(&root, "app").expect("app").uid, 1000);
    }
}
