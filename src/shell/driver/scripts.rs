//! What config scripts made of a commit, at the command line.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Done, Shell, Trouble};
use crate::shell::data::{Item, difference};
use crate::shell::text;

const COMMITTED: &str = "\
% Policy modifications were made to target configuration, and committed with it:
";

const SCRIPTS: &str = r#"<commit-scripts xmlns="urn:procyon:validation"><script><script-type>config</script-type><script-name/></script></commit-scripts>"#;

impl<S: AsyncRead + AsyncWrite + Unpin> Shell<S> {
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
