//! What may run: reading a script once into sealed memory and hashing exactly those bytes; comparing the disk at each
//! start; making ready what a start needs of the file system and the account data base.
//!
//! Everything here may wait for a disk, so it is done on a worker thread.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::sys::statfs::statfs;

use super::footing::Footing;
use super::launch;
use super::refusal::KeeperRefusal;
use crate::checksum::Sha256;
use crate::container::provision::{Folder, WhenMissing};
use crate::container::spec::{ContainerSpec, Program};
use crate::sys::{memfd, spawn};

pub const SCRIPT_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// What the kernel reads of a script to see who runs it, and how many of them it puts behind one another.
const SCRIPT_HEAD_BYTES: usize = 256;
const INTERPRETERS_MAX: usize = 6;

/// Bytes that nobody can change any more, and their checksum.
#[derive(Debug)]
pub struct Frozen {
    pub fd: OwnedFd,
    pub sha256: Sha256,
}

/// What a look at everything before a start says.
#[derive(Debug)]
pub enum Verdict {
    Clear {
        account: Option<spawn::Account>,
        disk: Option<Sha256>,
        /// The program or its folder is on a file system whose server may be away.
        is_far: bool,
        /// While it holds, another look would say the same.
        footing: Option<Footing>,
    },
    /// `expected` is `None` where no checksum is configured.
    Mismatch {
        expected: Option<Sha256>,
        found: Sha256,
    },
    /// The start waits for this.
    Awaits(PathBuf),
    Failed(KeeperRefusal),
}

/// Activation: seals the bytes of a script and refuses any but the committed ones.
pub fn freeze(spec: &ContainerSpec) -> Result<Option<Frozen>, KeeperRefusal> {
    let Program::Script { path, sha256: expected, .. } = &spec.program else { return Ok(None) };
    let unusable =
        |error: std::io::Error| KeeperRefusal::System { what: "sealing the script".into(), reason: error.to_string() };
    let fd = memfd::sealed("procyon-script", &read(path)?).map_err(unusable)?;
    // The sealed bytes are hashed, not those that were read: whatever runs later is what was hashed here.
    let found = Sha256::of(&memfd::content(&fd).map_err(unusable)?);
    if found == *expected {
        Ok(Some(Frozen { fd, sha256: found }))
    } else {
        Err(KeeperRefusal::ChecksumDiffers { path: path.clone(), expected: *expected, found })
    }
}

/// Before each start. A script without a configured checksum does not run.
pub fn check(spec: &Arc<ContainerSpec>, expected: Option<Sha256>) -> Verdict {
    let disk = match &spec.program {
        Program::Script { path, .. } => match read(path).map(|bytes| Sha256::of(&bytes)) {
            Ok(found) if Some(found) != expected => return Verdict::Mismatch { expected, found },
            Ok(found) => Some(found),
            Err(refusal) => return Verdict::Failed(refusal),
        },
        Program::Command { .. } => None,
    };
    if let Some(missing) = spec.provision.required.iter().find(|required| !required.path.exists()) {
        let path = missing.path.clone();
        return match missing.when_missing {
            WhenMissing::Await => Verdict::Awaits(path),
            WhenMissing::Refuse => Verdict::Failed(KeeperRefusal::PathMissing { path }),
        };
    }
    match provide(spec) {
        Ok((account, program)) => {
            let chain = program.map(|program| to_begin(program, &spec.cwd)).unwrap_or_default();
            // Who somebody is, and what a script holds, is asked anew each time.
            let may_last = account.is_none() && disk.is_none();
            let footing = if may_last { Footing::survey(spec, &chain) } else { None };
            // Behind the survey: what it found is what is near.
            let is_far = lies_far(&spec.cwd) || chain.iter().any(|path| lies_far(path));
            let footing = footing.filter(|_| !is_far);
            Verdict::Clear { account, disk, is_far, footing }
        }
        Err(refusal) => Verdict::Failed(refusal),
    }
}

/// Looks up the account, makes the folders, and finds the program.
fn provide(spec: &ContainerSpec) -> Result<(Option<spawn::Account>, Option<PathBuf>), KeeperRefusal> {
    let account = account_of(spec)?;
    make_folder(&spec.logs.dir, None)?;
    let output = spec.logs.output();
    let folder = output.parent().unwrap_or(Path::new("/"));
    make_folder(folder, None)?;
    is_near(folder)?;
    make_folder(&spec.cwd, account.as_ref())?;
    spec.provision.folders.iter().try_for_each(|folder| make_given_folder(folder, account.as_ref()))?;
    Ok((account, find_program(spec)?))
}

/// Logs are written by the loop that serves everybody: a server that is away would stop all of them.
fn is_near(folder: &Path) -> Result<(), KeeperRefusal> {
    if kind_of(folder).is_some_and(|kind| SERVED_ELSEWHERE.contains(&kind)) {
        return Err(KeeperRefusal::LogFarAway { folder: folder.to_owned() });
    }
    Ok(())
}

/// NFS, SMB, CIFS, SMB2, AFS, Coda, Ceph.
const SERVED_ELSEWHERE: [i64; 7] = [0x6969, 0x517b, 0xff53_4d42, 0xfe53_4d42, 0x5346_414f, 0x7375_7245, 0x00c3_6400];
/// FUSE, 9P, autofs.
const SERVED_BY_PROGRAMS: [i64; 3] = [0x6573_5546, 0x0102_1997, 0x0187];

fn lies_far(path: &Path) -> bool {
    kind_of(path).is_some_and(|kind| SERVED_ELSEWHERE.contains(&kind) || SERVED_BY_PROGRAMS.contains(&kind))
}

/// What is read to begin a program: itself, and what its `#!` names, which may be a script too.
fn to_begin(program: PathBuf, cwd: &Path) -> Vec<PathBuf> {
    let next = |path: &PathBuf| Some(cwd.join(interpreter_of(path)?));
    std::iter::successors(Some(program), next).take(INTERPRETERS_MAX).collect()
}

/// Whom the first line of a script names.
fn interpreter_of(script: &Path) -> Option<PathBuf> {
    let mut head = [0; SCRIPT_HEAD_BYTES];
    let count = File::open(script).and_then(|mut file| file.read(&mut head)).ok()?;
    let line = head[..count].strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let word = line.trim_ascii().split(u8::is_ascii_whitespace).next().filter(|word| !word.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(word)))
}

/// Of the file system that it is on.
fn kind_of(path: &Path) -> Option<i64> {
    Some(statfs(path).ok()?.filesystem_type().0)
}

/// Who runs it, with the groups that the definition asks for.
fn account_of(spec: &ContainerSpec) -> Result<Option<spawn::Account>, KeeperRefusal> {
    let wanted = &spec.provision;
    let own = match spec.user {
        None if wanted.group.is_some() || !wanted.groups.is_empty() => spawn::own_account()
            .map_err(|error| KeeperRefusal::System { what: "looking up".into(), reason: error.to_string() })?,
        _ => None,
    };
    let Some(mut account) = spec.user.as_deref().or(own.as_deref()).map(account).transpose()? else { return Ok(None) };
    if let Some(group) = &wanted.group {
        account.gid = group_number(group)?;
    }
    for group in &wanted.groups {
        account.groups.push(group_number(group)?);
    }
    Ok(Some(account))
}

fn group_number(name: &str) -> Result<u32, KeeperRefusal> {
    match spawn::group(name) {
        Ok(Some(number)) => Ok(number),
        Ok(None) => Err(KeeperRefusal::NoSuchGroup { group: name.to_owned() }),
        Err(error) => Err(KeeperRefusal::System { what: format!("looking up `{name}`"), reason: error.to_string() }),
    }
}

/// The exec itself would say no more than `No such file or directory`, and would wait for a disk that is slow: what has
/// been looked at here is near. `None` where nobody has to look.
fn find_program(spec: &ContainerSpec) -> Result<Option<PathBuf>, KeeperRefusal> {
    let argv = match &spec.program {
        Program::Command { argv } => argv,
        Program::Script { interpreter, .. } => return Ok(Some(interpreter.clone())),
    };
    let Some(word) = argv.first() else { return Ok(None) };
    if let Some(found) = candidates(spec, word).find(|path| is_program(path)) {
        return Ok(Some(found));
    }
    let reason = if word.contains('/') {
        let facts = spec.cwd.join(word).metadata();
        facts.map_or_else(|error| error.to_string(), |_| "it may not be executed".to_owned())
    } else {
        format!("not found in {}", launch::search_path(spec))
    };
    Err(KeeperRefusal::NoSuchProgram { program: word.clone(), reason })
}

/// Where the program of that name may be, in the order in which they are tried.
pub(super) fn candidates<'s>(spec: &'s ContainerSpec, word: &'s str) -> impl Iterator<Item = PathBuf> + 's {
    let is_path = word.contains('/');
    let as_path = is_path.then(|| spec.cwd.join(word));
    let searched = launch::search_path(spec).split(':').filter(move |_| !is_path);
    as_path.into_iter().chain(searched.map(move |folder| Path::new(folder).join(word)))
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

fn make_given_folder(folder: &Folder, account: Option<&spawn::Account>) -> Result<(), KeeperRefusal> {
    let path = &folder.path;
    let refused =
        |error: std::io::Error| KeeperRefusal::FolderNotMade { path: path.clone(), reason: error.to_string() };
    if path.is_dir() {
        return Ok(());
    }
    let owner = folder.owner.as_deref().map(self::account).transpose()?;
    let owner = owner.as_ref().or(account);
    let group = folder.group.as_deref().map(group_number).transpose()?.or(owner.map(|owner| owner.gid));
    fs::create_dir_all(path).map_err(refused)?;
    chown(path, owner.map(|owner| owner.uid), group).map_err(refused)?;
    fs::set_permissions(path, fs::Permissions::from_mode(folder.mode)).map_err(refused)
}

pub(super) fn account(name: &str) -> Result<spawn::Account, KeeperRefusal> {
    match spawn::account(name) {
        Ok(Some(account)) => Ok(account),
        Ok(None) => Err(KeeperRefusal::NoSuchAccount { user: name.to_owned() }),
        Err(error) => Err(KeeperRefusal::System { what: format!("looking up `{name}`"), reason: error.to_string() }),
    }
}

/// Makes a missing folder and gives it to the account; one that is there is left as it is.
fn make_folder(path: &Path, owner: Option<&spawn::Account>) -> Result<(), KeeperRefusal> {
    let refused = |error: std::io::Error| KeeperRefusal::FolderNotMade { path: path.into(), reason: error.to_string() };
    if path.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(path).map_err(refused)?;
    match owner {
        Some(owner) => chown(path, Some(owner.uid), Some(owner.gid)).map_err(refused),
        None => Ok(()),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KeeperRefusal> {
    let unreadable = |reason: String| KeeperRefusal::FileUnreadable { path: path.into(), reason };
    // Non-blocking, so that a planted FIFO cannot hold the worker for ever.
    let file: File = fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(|error| unreadable(error.to_string()))?;
    let metadata = file.metadata().map_err(|error| unreadable(error.to_string()))?;
    if !metadata.is_file() {
        return Err(unreadable("not a regular file".into()));
    }
    let mut bytes = Vec::new();
    file.take(SCRIPT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| unreadable(error.to_string()))?;
    let too_large = bytes.len() as u64 > SCRIPT_BYTES_MAX;
    if too_large {
        let bytes = metadata.len().max(SCRIPT_BYTES_MAX + 1);
        return Err(KeeperRefusal::FileTooLarge { path: path.into(), bytes, bytes_max: SCRIPT_BYTES_MAX });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::spec::{ContainerName, LogSpec};

    fn check(spec: &ContainerSpec, expected: Option<Sha256>) -> Verdict {
        super::check(&Arc::new(spec.clone()), expected)
    }

    fn spec(dir: &Path, committed: &[u8]) -> ContainerSpec {
        let program = Program::Script {
            device_path: "/harddisk:/mirror/script-mgmt/process/x.py".into(),
            path: dir.join("x.py"),
            sha256: Sha256::of(committed),
            args: vec![],
            interpreter: "/usr/bin/python3".into(),
            library: dir.into(),
        };
        let name = ContainerName::parse("x").unwrap();
        ContainerSpec::new(name, program, dir.join("work"), LogSpec::in_dir(dir.join("logs")))
    }

    #[test]
    fn only_the_committed_bytes_are_frozen() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.py"), "print(1)").unwrap();
        let frozen = freeze(&spec(dir.path(), b"print(1)")).unwrap().unwrap();
        fs::write(dir.path().join("x.py"), "print(2)").unwrap();
        assert_eq!(memfd::content(&frozen.fd).unwrap(), b"print(1)");
        let refused = freeze(&spec(dir.path(), b"print(1)")).unwrap_err();
        assert!(matches!(refused, KeeperRefusal::ChecksumDiffers { .. }));
    }

    #[test]
    fn the_disk_is_compared_with_what_is_expected_now() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(dir.path(), b"one");
        fs::write(dir.path().join("x.py"), "two").unwrap();
        assert!(matches!(check(&spec, Some(Sha256::of(b"one"))), Verdict::Mismatch { .. }));
        assert!(matches!(check(&spec, Some(Sha256::of(b"two"))), Verdict::Clear { .. }));
        assert!(matches!(check(&spec, None), Verdict::Mismatch { expected: None, .. }));
        assert!(dir.path().join("work").is_dir());
    }

    #[test]
    fn a_missing_file_a_folder_and_a_fifo_are_named_as_unreadable() {
        let dir = tempfile::tempdir().unwrap();
        let spec = spec(dir.path(), b"one");
        let path = dir.path().join("x.py");
        let is_unreadable = || matches!(freeze(&spec), Err(KeeperRefusal::FileUnreadable { .. }));
        assert!(is_unreadable());
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(is_unreadable());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(is_unreadable());
    }

    #[test]
    fn a_file_beyond_the_limit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("x.py")).unwrap();
        file.set_len(SCRIPT_BYTES_MAX + 1).unwrap();
        assert!(matches!(freeze(&spec(dir.path(), b"")), Err(KeeperRefusal::FileTooLarge { .. })));
    }

    fn command(dir: &Path, word: &str) -> ContainerSpec {
        let mut spec = spec(dir, b"");
        spec.program = Program::Command { argv: vec![word.to_owned()] };
        spec
    }

    #[test]
    fn a_program_that_cannot_be_run_is_named_before_it_is_tried() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("plain"), "").unwrap();
        let said = |word: &str| match check(&command(dir.path(), word), None) {
            Verdict::Failed(KeeperRefusal::NoSuchProgram { reason, .. }) => reason,
            other => format!("{other:?}"),
        };
        assert!(matches!(check(&command(dir.path(), "sh"), None), Verdict::Clear { .. }));
        assert!(said("no-such-program").starts_with("not found in /usr/local/sbin:"));
        assert_eq!(said(dir.path().join("plain").to_str().unwrap()), "it may not be executed");
        assert!(said("/no/such").starts_with("No such file"));
    }

    #[test]
    fn a_program_is_far_if_anything_is_that_is_read_to_begin_it() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let far = dir.path().join("far");
        write("far", "\x7fELF");
        write("near", "\x7fELF");
        write("by-far", &format!("#!{} -f\nrest", far.display()));
        write("by-script", "#! \tby-far\n");
        write("by-near", "#!near");
        write("by-itself", "#!by-itself\n");
        write("by-nobody", "#!\n");
        let is_far = |name: &str| to_begin(dir.path().join(name), dir.path()).contains(&far);
        let programs = ["far", "near", "by-far", "by-script", "by-near", "by-itself", "by-nobody", "missing"];
        let found: Vec<&str> = programs.into_iter().filter(|name| is_far(name)).collect();
        assert_eq!(found, ["far", "by-far", "by-script"]);
    }

    #[test]
    fn a_missing_path_is_awaited_or_refused_as_asked() {
        use crate::container::provision::RequiredPath;
        let dir = tempfile::tempdir().unwrap();
        let mut spec = command(dir.path(), "sh");
        let path = dir.path().join("mount");
        let needs = |when_missing| vec![RequiredPath { path: path.clone(), when_missing }];
        spec.provision.required = needs(WhenMissing::Refuse);
        assert!(matches!(check(&spec, None), Verdict::Failed(KeeperRefusal::PathMissing { .. })));
        spec.provision.required = needs(WhenMissing::Await);
        assert!(matches!(check(&spec, None), Verdict::Awaits(awaited) if awaited == path));
        fs::create_dir(&path).unwrap();
        assert!(matches!(check(&spec, None), Verdict::Clear { .. }));
    }

    #[test]
    fn folders_are_made_with_the_mode_that_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let mut spec = command(dir.path(), "sh");
        let path = dir.path().join("run/ioc");
        spec.provision.folders = vec![Folder { path: path.clone(), owner: None, group: None, mode: 0o750 }];
        assert!(matches!(check(&spec, None), Verdict::Clear { .. }));
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o750);
    }

    #[test]
    fn an_unknown_account_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x.py"), "one").unwrap();
        let mut spec = spec(dir.path(), b"one");
        spec.user = Some("no-such-account".into());
        assert!(matches!(check(&spec, Some(Sha256::of(b"one"))), Verdict::Failed(KeeperRefusal::NoSuchAccount { .. })));
    }
}
