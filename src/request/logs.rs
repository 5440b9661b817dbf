//! The execution views with what the runs wrote: reads the ends of their logs, on a thread of its own.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use jiff::tz::TimeZone;

use super::driver::{Handle, now_ms};
use super::refusals;
use super::run::Request;
use super::views::{self, Clock, Logs, Written};
use crate::northbound::Refusal;
use crate::northbound::filter::Selection;
use crate::northbound::wanted::Wanted;
use crate::yang::value::Element;

/// What a view shows of a log: its end.
const SHOWN_BYTES_MAX: u64 = 64 * 1024;

/// What reads the execution views: the runs, and what their logs hold.
#[derive(Clone)]
pub struct Executions {
    pub handle: Handle,
    pub harddisk: PathBuf,
    /// As users of the device know it.
    pub device_harddisk: String,
    pub zone: TimeZone,
}

impl Executions {
    /// The container `execution` as far as `selection`, a filter on it, asks for it.
    ///
    /// # Errors
    /// When the thread that reads the logs is gone.
    pub async fn view(self, selection: Option<Selection>) -> Result<Element, Refusal> {
        let runs = self.handle.runs();
        let made = tokio::task::spawn_blocking(move || {
            let read = |run: &Request| {
                let folder = self.harddisk.join(run.log_folder());
                Written { output: tail(&folder.join("stdout.log")), errors: tail(&folder.join("stderr.log")) }
            };
            let logs = Logs { harddisk: &self.device_harddisk, read: &read };
            let clock = Clock { now_ms: now_ms(), zone: self.zone.clone() };
            views::execution(&runs, &Wanted::new(selection.as_ref()), &logs, &clock)
        });
        made.await.map_err(|_| refusals::gone())
    }
}

/// The end of a log as text that XML can hold; an absent file has written nothing.
fn tail(path: &Path) -> String {
    let read = || {
        let mut file = std::fs::File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(SHOWN_BYTES_MAX)))?;
        let mut bytes = Vec::new();
        file.take(SHOWN_BYTES_MAX).read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    let bytes = read().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let fits = |character: char| {
        matches!(character, '\t' | '\n') || (character >= ' ' && !matches!(character, '\u{fffe}' | '\u{ffff}'))
    };
    text.chars().map(|character| if fits(character) { character } else { '\u{fffd}' }).collect()
}
