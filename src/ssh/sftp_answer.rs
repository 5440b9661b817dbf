//! What an sftp client is told: why a request is refused, and what a file is.
//!
//! Must not know: where the files are.

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag};

use super::jail::PathRefused;
use super::sftp_wire::{Attributes, Code, Name};
use crate::sys::beneath::kind;

/// Open files and folders of one channel.
pub(super) const HANDLES_MAX: usize = 64;

/// Why a request fails, as the client is told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("{0}")]
    Path(#[from] PathRefused),
    #[error("access denied: {0}")]
    Access(String),
    #[error("{}", os_text(*.0))]
    Os(#[from] Errno),
    #[error("no such handle")]
    Handle,
    #[error("{HANDLES_MAX} files are open; close one first")]
    TooManyHandles,
    #[error("the request makes no sense: {0}")]
    Senseless(&'static str),
    #[error("not served: links and this extension have no place on this disk")]
    Unsupported,
    #[error("end of file")]
    End,
}

impl Refused {
    pub(super) fn code(&self) -> Code {
        match self {
            Self::End => Code::EndOfFile,
            Self::Os(Errno::ENOENT | Errno::ENOTDIR) => Code::NoSuchFile,
            Self::Path(PathRefused::LeadsOut) | Self::Access(_) => Code::PermissionDenied,
            Self::Os(Errno::EACCES | Errno::EPERM | Errno::ELOOP | Errno::EXDEV) => Code::PermissionDenied,
            Self::Senseless(_) => Code::BadMessage,
            Self::Unsupported => Code::Unsupported,
            _ => Code::Failure,
        }
    }
}

fn os_text(error: Errno) -> String {
    match error {
        Errno::ELOOP => "a symbolic link is in the way, and none is followed here".to_owned(),
        Errno::EXDEV => "the path leads out of the disk".to_owned(),
        Errno::EINVAL => "not a regular file, or not possible with it".to_owned(),
        Errno::EBUSY => "the disk itself cannot be renamed or removed".to_owned(),
        other => other.desc().to_lowercase(),
    }
}

pub(super) fn attributes_of(stat: &FileStat) -> Attributes {
    // Version 3 has 32 bits for a time; later ones show as the last it can say.
    let time = |seconds: i64| u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
    Attributes {
        size: u64::try_from(stat.st_size).ok(),
        owner: Some((stat.st_uid, stat.st_gid)),
        mode: Some(stat.st_mode),
        times: Some((time(stat.st_atime), time(stat.st_mtime))),
    }
}

pub(super) fn name_of(name: Vec<u8>, stat: &FileStat) -> Name {
    let letter = match kind(stat) {
        SFlag::S_IFDIR => 'd',
        SFlag::S_IFLNK => 'l',
        SFlag::S_IFREG => '-',
        _ => '?',
    };
    let rights: String = (0..9)
        .rev()
        .zip("rwxrwxrwx".chars())
        .map(|(bit, right)| if stat.st_mode & (1 << bit) == 0 { '-' } else { right })
        .collect();
    let changed = jiff::Timestamp::from_second(stat.st_mtime).unwrap_or_default();
    let mut line = format!(
        "{letter}{rights} {:>3} {:<8} {:<8} {:>10} {} ",
        stat.st_nlink,
        stat.st_uid,
        stat.st_gid,
        stat.st_size,
        changed.strftime("%Y-%m-%d %H:%M"),
    )
    .into_bytes();
    line.extend_from_slice(&name);
    Name { name, line, attributes: attributes_of(stat) }
}
