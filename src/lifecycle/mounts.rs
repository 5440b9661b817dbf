//! Which paths lie on file systems that may keep whoever looks at them waiting: read from `/proc/self/mountinfo`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// Those whose answers come from elsewhere, by the kernel's names; `autofs` mounts such ones when it is looked at.
const OF_NETWORK: [&str; 12] =
    ["9p", "afs", "autofs", "ceph", "cifs", "fuse", "glusterfs", "lustre", "nfs", "nfs4", "smb3", "smbfs"];

/// Where something is mounted, and whether it is of the network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Mounts(BTreeMap<PathBuf, bool>);

impl Mounts {
    /// Lines that are not understood are left out.
    pub fn parse(mountinfo: &[u8]) -> Self {
        // What was mounted later stands later, and covers what is at the same place.
        Self(mountinfo.split(|byte| *byte == b'\n').filter_map(mount).collect())
    }

    /// The mount that the path lies on, if that is of the network.
    pub fn network_mount_of(&self, path: &Path) -> Option<&Path> {
        let nearest = path.ancestors().find_map(|above| self.0.get_key_value(above));
        nearest.filter(|(_, is_of_network)| **is_of_network).map(|(point, _)| point.as_path())
    }
}

/// `36 35 98:0 / /mnt rw,noatime shared:1 - nfs4 host:/x rw`, with any number of words before the `-`.
fn mount(line: &[u8]) -> Option<(PathBuf, bool)> {
    let mut words = line.split(|byte| *byte == b' ');
    let point = unescaped(words.nth(4)?);
    let kind = words.skip_while(|word| *word != b"-").nth(1)?;
    let kind = std::str::from_utf8(kind).ok()?;
    // `fuse.sshfs` and its like name who answers.
    let family = kind.split('.').next().unwrap_or(kind);
    Some((PathBuf::from(OsString::from_vec(point)), OF_NETWORK.contains(&family)))
}

/// Blanks and backslashes in names are written in octal: `\040`.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let (mut plain, mut rest) = (Vec::with_capacity(word.len()), word);
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                plain.push(byte);
                rest = &after[3..];
            }
            _ => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &[u8] = b"22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
30 22 0:25 / /srv rw - nfs4 host:/srv rw,vers=4.2
31 30 0:26 / /srv/local rw shared:7 master:2 - tmpfs tmpfs rw
32 22 0:27 / /a\\040b\\134c rw - fuse.sshfs host: rw
33 22 0:28 / /twice rw - cifs //host/x rw
34 33 0:29 / /twice rw - tmpfs tmpfs rw
not a mount
35 22 0:30 / /net rw - fuseblk /dev/sda1 rw
";

    #[test]
    fn the_nearest_mount_says_whether_a_path_is_of_the_network() {
        let mounts = Mounts::parse(MOUNTINFO);
        let of = |path: &str| mounts.network_mount_of(Path::new(path)).map(|mount| mount.display().to_string());
        assert_eq!(of("/srv/x/y"), Some("/srv".to_owned()));
        assert_eq!(of("/a b\\c/x"), Some("/a b\\c".to_owned()));
        for local in ["/", "/etc/x", "/srv/local/x", "/srvx", "/twice/x", "/net/x", "relative"] {
            assert_eq!(of(local), None, "{local}");
        }
        assert_eq!(Mounts::parse(b"").network_mount_of(Path::new("/srv")), None);
    }
}
