//! `show log`, also on with what comes.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use super::client::AskError;
use super::{Done, Shell};
use crate::logbook::printer::{Manner, Printer};
use crate::shell::command::Matched;
use crate::shell::pipe::Piped;
use crate::shell::show::logs::{Answer, answer, request, request_since};

impl<S: AsyncRead + AsyncWrite + Unpin> Shell<S> {
    pub(super) async fn show_log(&mut self, matched: &Matched, piped: &Piped) -> Done {
        let mut printer = Printer::new(Manner::Tagged, self.setup.zone.clone());
        let mut print =
            |answer: &Answer| -> Vec<u8> { answer.told.iter().flat_map(|told| printer.print(told)).collect() };
        let mut told = answer(&self.ask(&request(matched)).await?);
        let mut text = if told.is_cut { b"(what was printed earlier is left out)\n".to_vec() } else { Vec::new() };
        text.extend(print(&told));
        if !matched.has("follow") {
            if text.last().is_some_and(|last| *last != b'\n') {
                text.push(b'\n');
            }
            return self.show(&String::from_utf8_lossy(&text), piped).await;
        }
        loop {
            // Filters know whole lines.
            if let Some(end) = text.iter().rposition(|byte| *byte == b'\n') {
                let lines: Vec<u8> = text.drain(..=end).collect();
                self.show(&String::from_utf8_lossy(&lines), piped).await?;
            }
            // Who has gone is noticed here where there is no terminal.
            if self.out.rests(Duration::ZERO).await? {
                return Ok(());
            }
            told = match self.ask_in_silence(&request_since(matched, &told.cursor)).await {
                Ok(reply) => answer(&reply),
                Err(AskError::Interrupted) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            text.extend(print(&told));
        }
    }
}
