//! Whether this process is in a container: only there may its own root directory be changed.

use std::fs;
use std::path::Path;

/// What container engines leave in their containers.
const MARKS: [&str; 2] = ["/.dockerenv", "/run/.containerenv"];
/// What their control groups are called.
const GROUPS: [&str; 6] = ["docker", "kubepods", "containerd", "lxc", "podman", "garden"];

/// Tells whether this process is in a container.
pub fn is_here() -> bool {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    MARKS.iter().any(|mark| Path::new(mark).exists())
        || has_group(&read("/proc/1/cgroup"))
        || has_overlay(&read("/proc/self/mountinfo"))
}

fn has_group(text: &str) -> bool {
    GROUPS.iter().any(|group| text.contains(group))
}

/// Whether the root is an overlay, as containers have it and machines do not.
fn has_overlay(mountinfo: &str) -> bool {
    mountinfo.lines().any(|line| {
        let root = line.split(' ').nth(4) == Some("/");
        let kind = line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').next());
        root && kind.is_some_and(|kind| kind.contains("overlay"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn containers_are_told_by_control_group_and_root() {
        assert!(has_group("12:cpu:/kubepods/besteffort/pod1\n"));
        assert!(!has_group("0::/init.scope\n"));
        let line = |point: &str, kind: &str| format!("1 0 0:30 / {point} rw,relatime - {kind} x rw\n");
        assert!(has_overlay(&line("/", "overlay")));
        assert!(has_overlay(&line("/", "fuse.fuse-overlayfs")));
        assert!(!has_overlay(&(line("/", "ext4") + &line("/mnt", "overlay"))));
    }
}
