//! The watch on the shelves: inotify, translated into what the driver acts on, and mended when a folder goes.
//!
//! Knows folders and names; not what stands in a file.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use futures_util::StreamExt as _;
use inotify::{EventMask, EventOwned, EventStream, Inotify, WatchDescriptor, WatchMask};

use super::name::{ScriptKey, ScriptName, ScriptType};
use super::shelves::Layout;

const BUFFER_BYTES: usize = 16 * 1024;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// Something happened to this file.
    Touched(ScriptKey),
    /// A folder went, or came back: look at all of it.
    Shelf(ScriptType),
    /// The kernel's queue was full: anything may have happened.
    Overflow,
}

pub(super) struct Watching {
    events: EventStream<Vec<u8>>,
    shelves: BTreeMap<ScriptType, Watched>,
}

struct Watched {
    descriptor: WatchDescriptor,
    device_and_inode: (u64, u64),
}

impl Watching {
    pub(super) fn start() -> io::Result<Self> {
        let events = Inotify::init()?.into_event_stream(vec![0; BUFFER_BYTES])?;
        Ok(Self { events, shelves: BTreeMap::new() })
    }

    /// Waits for the next sign that means anything.
    pub(super) async fn next(&mut self) -> io::Result<Sign> {
        loop {
            let Some(event) = self.events.next().await else {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            };
            if let Some(sign) = self.read(&event?) {
                return Ok(sign);
            }
        }
    }

    fn read(&mut self, event: &EventOwned) -> Option<Sign> {
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            return Some(Sign::Overflow);
        }
        let (script_type, _) = self.shelves.iter().find(|(_, watched)| watched.descriptor == event.wd)?;
        let script_type = *script_type;
        if event.mask.intersects(EventMask::DELETE_SELF | EventMask::MOVE_SELF | EventMask::IGNORED) {
            return Some(Sign::Shelf(script_type));
        }
        let name = event.name.as_ref()?.to_str()?;
        let name = ScriptName::parse(name).ok()?;
        Some(Sign::Touched(ScriptKey::new(script_type, name)))
    }

    /// Sees to it that the folder exists and that it is the one being watched; says whether the watch is new.
    pub(super) fn mend(&mut self, layout: &Layout, script_type: ScriptType) -> io::Result<bool> {
        let path = layout.shelf(script_type);
        let now = fs::metadata(&path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        if let Some(watched) = self.shelves.get(&script_type)
            && now == Some(watched.device_and_inode)
        {
            return Ok(false);
        }
        if let Some(stale) = self.shelves.remove(&script_type) {
            // The kernel has dropped it already where the folder was deleted; a folder moved away is let go here.
            let _ = self.events.watches().remove(stale.descriptor);
        }
        layout.make_shelf(script_type).map_err(io::Error::other)?;
        let mask = WatchMask::CLOSE_WRITE
            | WatchMask::MOVED_TO
            | WatchMask::MOVED_FROM
            | WatchMask::DELETE
            | WatchMask::DELETE_SELF
            | WatchMask::MOVE_SELF
            | WatchMask::ONLYDIR;
        let descriptor = self.events.watches().add(&path, mask)?;
        let metadata = fs::metadata(&path)?;
        self.shelves.insert(script_type, Watched { descriptor, device_and_inode: (metadata.dev(), metadata.ino()) });
        Ok(true)
    }

    /// Forgets a shelf, so that the next mending watches it anew.
    pub(super) fn forget(&mut self, script_type: ScriptType) {
        if let Some(stale) = self.shelves.remove(&script_type) {
            let _ = self.events.watches().remove(stale.descriptor);
        }
    }
}
