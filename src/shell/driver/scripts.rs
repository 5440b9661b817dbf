//! Config scripts at the command line: a candidate that they look at without a commit, and what they made of one.

use tokio::io::{AsyncRead, AsyncWrite};

use super::client::AskError;
use super::{Done, Shell, Trouble};
use crate::shell::command::Matched;
use crate::shell::data::{Item, difference};
use crate::shell::text;

const MODIFIED: &str = "\
% Policy modifications were made to target configuration, please issue 'show configuration' from this session to view the resulting configuration
";

const WOULD_MODIFY: &str = "\
% Policy modifications would be made to target configuration; 'validate config-scripts apply-policy-modifications' makes them:
";

const COMMITTED: &str = "\
% Policy modifications were made to target configuration, and committed with it:
";

const SCRIPTS: &str = r#"<commit-scripts xmlns="urn:procyon:validation"><script><script-type>config</script-type><script-name/></script></commit-scripts>"#;

impl<S: AsyncRead + AsyncWrite + Unpin> Shell<S> {
    pub(super) async fn validate_scripts(&mut self, matched: &Matched) -> Done {
        self.stamp().await?;
        let is_applied = matched.has("apply-policy-modifications");
        let option = if is_applied { "<apply-policy-modifications/>" } else { "" };
        let operation =
            format!("<validate-config-scripts xmlns=\"urn:procyon:history\">{option}</validate-config-scripts>");
        let reply = match self.ask_to_the_end(&operation).await {
            Ok(reply) => reply,
            Err(AskError::Refused(errors)) => {
                let said = AskError::Refused(errors.clone());
                self.with_config(|config| config.failed = errors);
                return Err(Trouble::Said(format!("% {said}")));
            }
            Err(gone) => return Err(gone.into()),
        };
        let modified: Vec<&str> =
            reply.iter().filter(|leaf| &*leaf.name == "modified").map(|leaf| leaf.text.as_str()).collect();
        if modified.is_empty() {
            return Ok(());
        }
        if is_applied {
            self.with_config(|config| config.is_dirty = true);
            return Ok(self.out.print(MODIFIED).await?);
        }
        Ok(self.out.print(&format!("{WOULD_MODIFY}{}\n", modified.join("\n"))).await?)
    }

    /// What is about to be committed, if scripts may amend it: `None` costs one small question.
    pub(super) async fn before_amendments(&mut self) -> Result<Option<Vec<Item>>, Trouble> {
        // Who may not see them is not told what they did.
        let Ok(reply) = self.ask(&format!("<get><filter>{SCRIPTS}</filter></get>")).await else { return Ok(None) };
        let has_scripts = reply.iter().flat_map(|data| &data.children).any(|scripts| !scripts.children.is_empty());
        Ok(if has_scripts { Some(self.get_config("candidate", None).await?) } else { None })
    }

    /// Tells what is committed otherwise than it was typed.
    pub(super) async fn tell_amendments(&mut self, typed: &[Item]) -> Done {
        let committed = self.get_config("running", None).await?;
        let amended = difference(&self.setup.grammar, typed, &committed);
        let lines = text::print_difference(&self.setup.grammar, &amended);
        if lines.is_empty() { Ok(()) } else { Ok(self.out.print(&format!("{COMMITTED}{lines}")).await?) }
    }
}
