//! The sftp server of one channel: version 3, jailed to the disk, every access asked of the services first.
//!
//! Requests are answered one at a time, in order. Links are shown, can be removed, and are never followed or made.
//! Must not know: what the files mean to the device, how accesses are decided.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, fchmod, fstat, futimens};
use nix::sys::time::TimeSpec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::{debug, info};

use super::jail::DevicePath;
use super::sftp_answer::{HANDLES_MAX, Refused, attributes_of, name_of};
use super::sftp_wire::{self as wire, Attributes, Code, Malformed, Name, Request};
use super::{Access, ChannelStream, Services};
use crate::sys::beneath::{Listing, Root};

/// Names in one reply: with the longest names they still fit a packet.
const NAMES_PER_REPLY_MAX: usize = 128;

/// Set-user-id and its kin are not for uploads.
const MODE_MASK: u32 = 0o777;

/// Serves until the client ends; gives the exit status.
pub(super) async fn run(mut stream: ChannelStream, root: Arc<Root>, services: Arc<dyn Services>, user: String) -> u32 {
    let mut session = Session { root, services, user, handles: BTreeMap::new(), next: 0 };
    loop {
        let Ok(length) = stream.read_u32().await else { return 0 };
        if length == 0 || length > wire::PACKET_BYTES_MAX {
            info!(user = session.user, length, "sftp ended: a packet of this length is not served");
            return 1;
        }
        let mut packet = BytesMut::zeroed(length as usize);
        if stream.read_exact(&mut packet).await.is_err() {
            return 1;
        }
        let reply = match wire::parse(packet.freeze()) {
            Ok((id, request)) => session.answer(id, request).await,
            Err(Malformed { id: Some(id) }) => wire::status(id, Code::BadMessage, "the request is malformed"),
            Err(Malformed { id: None }) => return 1,
        };
        if stream.write_all(&reply).await.is_err() {
            return 1;
        }
    }
}

struct Session {
    root: Arc<Root>,
    services: Arc<dyn Services>,
    user: String,
    handles: BTreeMap<u32, Handle>,
    next: u32,
}

enum Handle {
    File(OpenFile),
    /// Absent only while its next names are read. The lock is never waited for: a listing may change threads, but not
    /// be shared between them.
    Folder(Option<Mutex<Listing>>),
}

#[derive(Clone)]
struct OpenFile {
    file: Arc<File>,
    path: DevicePath,
    writable: bool,
}

impl Session {
    async fn answer(&mut self, id: u32, request: Request) -> Bytes {
        match self.carry_out(id, request).await {
            Ok(reply) => reply,
            Err(refused) => {
                debug!(user = self.user, %refused, "sftp request refused");
                wire::status(id, refused.code(), &refused.to_string())
            }
        }
    }

    async fn carry_out(&mut self, id: u32, request: Request) -> Result<Bytes, Refused> {
        let done = || wire::status(id, Code::Ok, "");
        match request {
            Request::Init { .. } => return Ok(wire::version()),
            Request::Open { path, flags, attributes } => {
                let handle = self.open(&path, flags, &attributes).await?;
                return Ok(wire::handle(id, &handle));
            }
            Request::Close { handle } => self.close(&handle)?,
            Request::Read { handle, offset, length } => {
                let bytes = self.read(&handle, offset, length).await?;
                return Ok(wire::data(id, &bytes));
            }
            Request::Write { handle, offset, data } => self.write(&handle, offset, data).await?,
            Request::Stat { path } => {
                let name = self.permitted(&path, Access::Read).await?;
                let stat = self.on_disk(move |root| root.stat(&name)).await?;
                return Ok(wire::attributes_reply(id, &attributes_of(&stat)));
            }
            Request::StatHandle { handle } => {
                let file = self.file(&handle)?.file;
                let stat = blocking(move || fstat(&file)).await?;
                return Ok(wire::attributes_reply(id, &attributes_of(&stat)));
            }
            Request::SetStat { path, attributes } => {
                let name = self.permitted(&path, Access::Update).await?;
                self.on_disk(move |root| set_attributes(root, &name, &attributes)).await?;
            }
            Request::SetStatHandle { handle, attributes } => self.set_open_file(&handle, attributes).await?,
            Request::OpenFolder { path } => {
                let name = self.permitted(&path, Access::Read).await?;
                self.room()?;
                let listing = self.on_disk(move |root| root.list(&name)).await?;
                return Ok(wire::handle(id, &self.keep(Handle::Folder(Some(Mutex::new(listing))))));
            }
            Request::ReadFolder { handle } => {
                let names = self.read_folder(&handle).await?;
                return Ok(wire::names(id, &names));
            }
            Request::Remove { path } => {
                let name = self.permitted(&path, Access::Update).await?;
                let removed = name.clone();
                self.on_disk(move |root| root.remove_file(&name)).await?;
                info!(user = self.user, path = %removed.display(), "file removed over sftp");
            }
            Request::MakeFolder { path, attributes } => {
                let name = self.permitted(&path, Access::Update).await?;
                let mode = mode_of(&attributes, 0o755);
                self.on_disk(move |root| root.make_folder(&name, mode)).await?;
            }
            Request::RemoveFolder { path } => {
                let name = self.permitted(&path, Access::Update).await?;
                self.on_disk(move |root| root.remove_folder(&name)).await?;
            }
            Request::RealPath { path } => {
                let name = DevicePath::parse(&path)?.to_string().into_bytes();
                let names = [Name { line: name.clone(), name, attributes: Attributes::default() }];
                return Ok(wire::names(id, &names));
            }
            Request::Rename { from, to, replace } => {
                let from = self.permitted(&from, Access::Update).await?;
                let to = self.permitted(&to, Access::Update).await?;
                self.on_disk(move |root| root.rename(&from, &to, replace)).await?;
            }
            Request::Sync { handle } => {
                let file = self.file(&handle)?.file;
                blocking(move || file.sync_all().map_err(os)).await?;
            }
            Request::Space { path } => return self.space(id, &path).await,
            Request::Limits => {
                let data = u64::from(wire::DATA_BYTES_MAX);
                let limits = [u64::from(wire::PACKET_BYTES_MAX), data, data, HANDLES_MAX as u64];
                return Ok(wire::numbers(id, &limits));
            }
            Request::Unsupported => return Err(Refused::Unsupported),
        }
        Ok(done())
    }

    async fn open(&mut self, path: &[u8], flags: u32, attributes: &Attributes) -> Result<[u8; 4], Refused> {
        let (read, write) = (flags & wire::READ != 0, flags & wire::WRITE != 0);
        let mut open = match (read, write) {
            (true, true) => OFlag::O_RDWR,
            (true, false) => OFlag::O_RDONLY,
            (false, true) => OFlag::O_WRONLY,
            (false, false) => return Err(Refused::Senseless("opened neither to read nor to write")),
        };
        for (bit, flag) in [
            (wire::APPEND, OFlag::O_APPEND),
            (wire::CREATE, OFlag::O_CREAT),
            (wire::TRUNCATE, OFlag::O_TRUNC),
            (wire::EXCLUSIVE, OFlag::O_EXCL),
        ] {
            if flags & bit != 0 {
                if !write {
                    return Err(Refused::Senseless("changed without being opened to write"));
                }
                open |= flag;
            }
        }
        if open.contains(OFlag::O_EXCL) && !open.contains(OFlag::O_CREAT) {
            return Err(Refused::Senseless("exclusive without create"));
        }
        let path = DevicePath::parse(path)?;
        if read {
            self.ask(&path, Access::Read).await?;
        }
        if write {
            self.ask(&path, Access::Update).await?;
        }
        self.room()?;
        let (name, mode) = (path.relative(), mode_of(attributes, 0o644));
        let file = self.on_disk(move |root| root.open_file(&name, open, mode)).await?;
        Ok(self.keep(Handle::File(OpenFile { file: Arc::new(file), path, writable: write })))
    }

    fn close(&mut self, handle: &[u8]) -> Result<(), Refused> {
        let closed = number(handle).and_then(|number| self.handles.remove(&number)).ok_or(Refused::Handle)?;
        if let Handle::File(OpenFile { path, writable: true, .. }) = closed {
            info!(user = self.user, %path, "file written over sftp");
        }
        Ok(())
    }

    async fn read(&self, handle: &[u8], offset: u64, length: u32) -> Result<Bytes, Refused> {
        let file = self.file(handle)?.file;
        let length = length.min(wire::DATA_BYTES_MAX) as usize;
        let bytes = blocking(move || {
            let mut bytes = vec![0; length];
            let count = file.read_at(&mut bytes, offset).map_err(os)?;
            bytes.truncate(count);
            Ok(Bytes::from(bytes))
        })
        .await?;
        if bytes.is_empty() && length > 0 { Err(Refused::End) } else { Ok(bytes) }
    }

    async fn write(&self, handle: &[u8], offset: u64, data: Bytes) -> Result<(), Refused> {
        let file = self.file(handle)?.file;
        Ok(blocking(move || file.write_all_at(&data, offset).map_err(os)).await?)
    }

    async fn read_folder(&mut self, handle: &[u8]) -> Result<Vec<Name>, Refused> {
        let number = number(handle).ok_or(Refused::Handle)?;
        let Some(Handle::Folder(place)) = self.handles.get_mut(&number) else { return Err(Refused::Handle) };
        let listing = place.take().ok_or(Refused::Handle)?;
        let mut listing = listing.into_inner().map_err(|_| Refused::Handle)?;
        let (listing, names) = blocking(move || {
            let mut names = Vec::new();
            while names.len() < NAMES_PER_REPLY_MAX {
                let Some((name, stat)) = listing.next_entry()? else { break };
                names.push(name_of(name.into_encoded_bytes(), &stat));
            }
            Ok((listing, names))
        })
        .await?;
        *place = Some(Mutex::new(listing));
        if names.is_empty() { Err(Refused::End) } else { Ok(names) }
    }

    async fn set_open_file(&self, handle: &[u8], attributes: Attributes) -> Result<(), Refused> {
        let open = self.file(handle)?;
        if !open.writable {
            self.ask(&open.path, Access::Update).await?;
        }
        Ok(blocking(move || {
            if let Some(size) = attributes.size {
                open.file.set_len(size).map_err(os)?;
            }
            if attributes.mode.is_some() {
                fchmod(&open.file, mode_of(&attributes, 0))?;
            }
            if let Some((accessed, modified)) = attributes.times {
                futimens(&open.file, &seconds(accessed), &seconds(modified))?;
            }
            Ok(())
        })
        .await?)
    }

    async fn space(&self, id: u32, path: &[u8]) -> Result<Bytes, Refused> {
        let name = self.permitted(path, Access::Read).await?;
        let space = self.on_disk(move |root| root.space(&name)).await?;
        let read_only = u64::from(space.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY));
        Ok(wire::numbers(
            id,
            &[
                space.block_size(),
                space.fragment_size(),
                space.blocks(),
                space.blocks_free(),
                space.blocks_available(),
                space.files(),
                space.files_free(),
                space.files_available(),
                0,
                read_only,
                space.name_max(),
            ],
        ))
    }

    /// The place that `path` means, when the user may have `access` to it.
    async fn permitted(&self, path: &[u8], access: Access) -> Result<PathBuf, Refused> {
        let path = DevicePath::parse(path)?;
        self.ask(&path, access).await?;
        Ok(path.relative())
    }

    async fn ask(&self, path: &DevicePath, access: Access) -> Result<(), Refused> {
        let asked = self.services.file_access(&self.user, &path.to_string(), access).await;
        asked.map_err(|reason| {
            info!(user = self.user, %path, ?access, reason, "sftp access denied");
            Refused::Access(reason)
        })
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Root) -> nix::Result<T> + Send + 'static,
    ) -> nix::Result<T> {
        let root = self.root.clone();
        blocking(move || work(&root)).await
    }

    fn room(&self) -> Result<(), Refused> {
        if self.handles.len() < HANDLES_MAX { Ok(()) } else { Err(Refused::TooManyHandles) }
    }

    fn keep(&mut self, handle: Handle) -> [u8; 4] {
        while self.handles.contains_key(&self.next) {
            self.next = self.next.wrapping_add(1);
        }
        self.handles.insert(self.next, handle);
        let kept = self.next.to_be_bytes();
        self.next = self.next.wrapping_add(1);
        kept
    }

    fn file(&self, handle: &[u8]) -> Result<OpenFile, Refused> {
        match number(handle).and_then(|number| self.handles.get(&number)) {
            Some(Handle::File(open)) => Ok(open.clone()),
            _ => Err(Refused::Handle),
        }
    }
}

/// A disk may take its time; the runtime's own threads must not wait for it.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> nix::Result<T> + Send + 'static) -> nix::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Errno::EIO))
}

fn os(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}

fn number(handle: &[u8]) -> Option<u32> {
    handle.try_into().ok().map(u32::from_be_bytes)
}

fn seconds(seconds: u32) -> TimeSpec {
    TimeSpec::new(i64::from(seconds), 0)
}

fn mode_of(attributes: &Attributes, otherwise: u32) -> Mode {
    Mode::from_bits_truncate(attributes.mode.unwrap_or(otherwise) & MODE_MASK)
}

fn set_attributes(root: &Root, name: &std::path::Path, attributes: &Attributes) -> nix::Result<()> {
    if let Some(size) = attributes.size {
        root.open_file(name, OFlag::O_WRONLY, Mode::empty())?.set_len(size).map_err(os)?;
    }
    if attributes.mode.is_some() {
        root.set_mode(name, mode_of(attributes, 0))?;
    }
    if let Some((accessed, modified)) = attributes.times {
        root.set_times(name, seconds(accessed), seconds(modified))?;
    }
    Ok(())
}
