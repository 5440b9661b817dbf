//! The journal of what is wanted: written before anything follows from it, and made good when the disk takes it again.

use tracing::error;

use super::Hands;
use crate::lifecycle::manager::Record;
use crate::northbound::{Kind, Refusal};

impl Hands {
    /// On disk before anything that follows from it.
    pub(super) async fn remember(&mut self, lines: Vec<String>) {
        let line = |record: &Record| serde_json::to_string(record).ok();
        let all = || self.manager.records().iter().filter_map(line).collect();
        let outcome = self.recorder.record(lines, all).await.map_err(|trouble| trouble.to_string());
        if let Err(trouble) = &outcome {
            error!(%trouble, "what is wanted could not be recorded: a restart of the agent may not know of it");
        }
        self.unrecorded = outcome.err();
    }

    /// Whether what was ordered is on disk; what could not be written before is tried once more.
    pub(super) async fn recorded(&mut self) -> Result<(), Refusal> {
        if self.unrecorded.is_some() {
            self.remember(Vec::new()).await;
        }
        let Some(trouble) = &self.unrecorded else { return Ok(()) };
        let text = format!("it is done, but could not be recorded: {trouble}");
        Err(Refusal::new(Kind::OperationFailed, text)
            .mend("make room on the disk and order it again: until then a restart of the agent may not know of it"))
    }
}

/// What is not understood is left out.
pub(super) fn read_records(lines: &[String]) -> Vec<Record> {
    let parsed = lines.iter().map(|line| serde_json::from_str::<Record>(line));
    parsed
        .filter_map(|record| match record {
            Ok(record) => Some(record),
            Err(trouble) => {
                error!(%trouble, "a line of the lifecycle's journal is not understood, and left out");
                None
            }
        })
        .collect()
}
