//! Whether a database answers: asked by the command of its driver.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Command;
use tokio::sync::{Semaphore, mpsc};
use tracing::debug;

use crate::lifecycle::definition::Sqldb;
use crate::lifecycle::manager::Input;
use crate::lifecycle::resource::Watch;
use crate::lifecycle::tree::DatabaseChecks;

/// What does not answer within this does not answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(4);

/// For drivers that no command is configured for.
const BUILT_IN: [(&str, &[&str]); 3] = [
    (
        "{PostgreSQL}",
        &["psql", "-w", "-X", "-q", "-h", "{server}", "-U", "{username}", "-d", "{dbname}", "-c", "select 1"],
    ),
    ("{SQLite}", &["sqlite3", "-readonly", "{dbname}", "select count(*) from sqlite_master"]),
    ("{SQLite3}", &["sqlite3", "-readonly", "{dbname}", "select count(*) from sqlite_master"]),
];

/// Check commands that run at a time; further ones wait their turn.
const COMMANDS_MAX: usize = 16;

/// Asks each database in a task of its own, none of them twice at a time.
#[derive(Debug)]
pub(super) struct Asker {
    asked: BTreeSet<Sqldb>,
    turns: Arc<Semaphore>,
}

impl Default for Asker {
    fn default() -> Self {
        Self { asked: BTreeSet::new(), turns: Arc::new(Semaphore::new(COMMANDS_MAX)) }
    }
}

impl Asker {
    /// The answer comes as an input.
    pub(super) fn ask(&mut self, sqldb: &Sqldb, checks: &DatabaseChecks, inputs: &mpsc::Sender<Input>) {
        if !self.asked.insert(sqldb.clone()) {
            return;
        }
        let (argv, sqldb) = (command(sqldb, checks), sqldb.clone());
        let (turns, inputs) = (Arc::clone(&self.turns), inputs.clone());
        tokio::spawn(async move {
            let turn = turns.acquire_owned().await;
            let is_there = match argv {
                Some(argv) => answers(&argv, &sqldb).await,
                None => false,
            };
            drop(turn);
            // A lifecycle that is gone waits for nothing.
            let _ = inputs.send(Input::Available { watch: Watch::Sqldb(sqldb), is_there }).await;
        });
    }

    pub(super) fn answered(&mut self, sqldb: &Sqldb) {
        self.asked.remove(sqldb);
    }
}

fn command(sqldb: &Sqldb, checks: &DatabaseChecks) -> Option<Vec<String>> {
    let built_in = || {
        let found = BUILT_IN.iter().find(|(driver, _)| *driver == sqldb.driver());
        found.map(|(_, words)| words.iter().map(|word| (*word).to_owned()).collect())
    };
    let words: Vec<String> = checks.get(sqldb.driver()).cloned().or_else(built_in)?;
    let filled = |word: String| {
        word.replace("{server}", sqldb.server())
            .replace("{dbname}", &sqldb.dbname)
            .replace("{username}", sqldb.username())
    };
    Some(words.into_iter().map(filled).collect())
}

async fn answers(argv: &[String], sqldb: &Sqldb) -> bool {
    let Some((program, arguments)) = argv.split_first() else { return false };
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    // By the environment: arguments can be read by everybody on the host.
    if let Some(password) = &sqldb.userpassword {
        command.env("PGPASSWORD", password).env("PROCYON_DATABASE_PASSWORD", password);
    }
    match tokio::time::timeout(ANSWER_TIME_MAX, command.status()).await {
        Ok(Ok(status)) => status.success(),
        Ok(Err(error)) => {
            debug!(%program, %error, "a database check cannot be run");
            false
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sqldb(driver: Option<&str>) -> Sqldb {
        Sqldb { dbname: "CDR".into(), dbdriver: driver.map(str::to_owned), ..Sqldb::default() }
    }

    #[test]
    fn a_configured_check_goes_before_the_built_in_one() {
        let said = |driver, checks: &DatabaseChecks| command(&sqldb(driver), checks).map(|words| words.join(" "));
        let none = DatabaseChecks::new();
        assert_eq!(said(None, &none).unwrap(), "psql -w -X -q -h localhost -U postgres -d CDR -c select 1");
        assert_eq!(said(Some("{MySQL}"), &none), None);
        let own = DatabaseChecks::from([("{MySQL}".to_owned(), vec!["ping".into(), "{dbname}@{server}".into()])]);
        assert_eq!(said(Some("{MySQL}"), &own).unwrap(), "ping CDR@localhost");
    }
}
