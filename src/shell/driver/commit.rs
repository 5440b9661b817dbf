//! `commit` and what belongs to it.

use std::fmt::Write as _;

use quick_xml::escape::escape;
use tokio::io::{AsyncRead, AsyncWrite};

use super::actions::rest_of;
use super::client::{AskError, RpcError};
use super::{Done, Shell, Trouble};
use crate::shell::command::Matched;
use crate::shell::data::{difference, write_xml};
use crate::shell::show::commits;
use crate::shell::token::Token;

const OTHERS_COMMITTED: &str = "\
One or more commits have occurred from other configuration sessions since this session started or since the last commit was made from this session. You can use the 'show configuration commit changes' command to browse the changes.
Do you wish to proceed? [no]: ";

const REPLACES: &str = "\
This commit will replace or remove the entire running configuration. This
operation can be service affecting.
Do you wish to proceed? [no]: ";

const FAILED: &str = "\
% Failed to commit one or more configuration items during a pseudo-atomic operation. All changes made have been reverted. Please issue 'show configuration failed [inheritance]' from this session to view the errors";

const FAILED_IN_PART: &str = "\
% Failed to commit one or more configuration items. Please issue 'show configuration failed [inheritance]' from this session to view the errors";

impl<S: AsyncRead + AsyncWrite + Unpin> Shell<S> {
    pub(super) async fn commit(&mut self, matched: &Matched, line: &str, tokens: &[Token]) -> Done {
        if matched.has("check") {
            return self.validate().await;
        }
        let mut options = String::new();
        if matched.has("confirmed") {
            let minutes = matched.number("MINUTES").map(|minutes| minutes * 60);
            options.push_str("<confirmed/>");
            if let Some(seconds) = matched.number("SECONDS").or(minutes) {
                let _ = write!(options, "<confirm-timeout>{seconds}</confirm-timeout>");
            }
        }
        let comment = rest_of(line, tokens, matched);
        for (name, value) in [("label", matched.get("LABEL")), ("comment", comment)] {
            if let Some(value) = value {
                let _ = write!(options, "<{name} xmlns=\"urn:procyon:history\">{}</{name}>", escape(value));
            }
        }
        if matched.has("best-effort") {
            options.push_str("<best-effort xmlns=\"urn:procyon:history\"/>");
        }
        self.stamp().await?;
        if self.others_have_committed().await? && !self.agrees(OTHERS_COMMITTED).await? {
            return Ok(());
        }
        if matched.has("replace") {
            if !self.agrees(REPLACES).await? {
                return Ok(());
            }
            self.keep_target_only().await?;
        }
        self.carry_out(&options, matched.has("confirmed")).await
    }

    /// As `end` does when it is told to.
    pub(super) async fn commit_plainly(&mut self) -> Done {
        self.carry_out("", false).await
    }

    async fn carry_out(&mut self, options: &str, is_confirmed: bool) -> Done {
        let before = self.newest_commit().await?;
        match self.ask_to_the_end(&format!("<commit>{options}</commit>")).await {
            Ok(_) => {}
            Err(AskError::Refused(mut errors)) if errors.last().is_some_and(RpcError::is_of_the_rest) => {
                errors.pop();
                let newest = self.newest_commit().await?.map(|(id, ..)| id);
                self.failed = errors;
                self.with_config(|config| config.since = newest);
                self.learn_host().await;
                return Err(Trouble::Said(FAILED_IN_PART.to_owned()));
            }
            Err(AskError::Refused(errors)) => {
                // Who may not, or has to wait, needs no list of lines.
                let concerns_lines = errors.iter().any(|error| error.path.is_some());
                let said = AskError::Refused(errors.clone());
                self.failed = errors;
                return Err(Trouble::Said(if concerns_lines { FAILED.to_owned() } else { format!("% {said}") }));
            }
            Err(gone) => return Err(gone.into()),
        }
        let after = self.newest_commit().await?.map(|(id, ..)| id);
        let was_unconfirmed = std::mem::replace(&mut self.is_unconfirmed, is_confirmed);
        if after.is_some() && after == before.map(|(id, ..)| id) && !was_unconfirmed {
            self.out.print("% No configuration changes to commit.\n").await?;
        }
        self.failed.clear();
        self.with_config(|config| {
            config.is_dirty = false;
            config.since = after;
        });
        self.learn_host().await;
        Ok(())
    }

    pub(super) async fn validate(&mut self) -> Done {
        self.stamp().await?;
        match self.ask("<validate><source><candidate/></source></validate>").await {
            Ok(_) => Ok(()),
            Err(AskError::Refused(errors)) => {
                let said = AskError::Refused(errors.clone());
                self.failed = errors;
                Err(Trouble::Said(format!("% {said}")))
            }
            Err(gone) => Err(gone.into()),
        }
    }

    /// `validate config-scripts`: what they amend is told, and taken over where that is asked for.
    pub(super) async fn validate_scripts(&mut self, matched: &Matched) -> Done {
        self.stamp().await?;
        let applies = matched.has("apply-policy-modifications");
        let option = if applies { "<apply-policy-modifications/>" } else { "" };
        let request =
            format!("<validate-config-scripts xmlns=\"urn:procyon:history\">{option}</validate-config-scripts>");
        match self.ask(&request).await {
            Ok(reply) => {
                let modified = reply.iter().filter(|leaf| &*leaf.name == "modified");
                let modified: Vec<&str> = modified.map(|leaf| leaf.text.as_str()).collect();
                self.with_config(|config| config.is_dirty |= applies && !modified.is_empty());
                Ok(self.out.print(&commits::modified(&self.setup.grammar, &modified, applies)).await?)
            }
            Err(AskError::Refused(errors)) => {
                let said = AskError::Refused(errors.clone());
                self.failed = errors;
                Err(Trouble::Said(format!("% {said}")))
            }
            Err(gone) => Err(gone.into()),
        }
    }

    async fn others_have_committed(&mut self) -> Result<bool, Trouble> {
        let newest = self.newest_commit().await?.map(|(id, ..)| id);
        Ok(self.config.as_ref().is_some_and(|config| newest.is_some() && config.since != newest))
    }

    async fn agrees(&mut self, question: &str) -> Result<bool, Trouble> {
        let answer = self.question(question, "no").await?;
        Ok(answer.trim().starts_with(['y', 'Y']))
    }

    /// Makes the candidate what was typed and nothing else.
    async fn keep_target_only(&mut self) -> Done {
        let (running, target) = self.both().await?;
        let typed = difference(&self.setup.grammar, &running, &target).set;
        let config = write_xml(&self.setup.grammar, &typed, None);
        let copy = format!(
            "<copy-config><target><candidate/></target><source><config>{config}</config></source></copy-config>"
        );
        self.ask(&copy).await?;
        Ok(())
    }
}
