//! Configuration mode: which of its commands a line is, and the edits that are on their way to the agent.

use tokio::io::{AsyncRead, AsyncWrite};

use super::client::AskError;
use super::{Done, Shell, Trouble};
use crate::shell::command::Matched;
use crate::shell::data::{Item, branch, difference};
use crate::shell::edit::messages;
use crate::shell::grammar::{Grammar, NodeId};
use crate::shell::line::Edit;
use crate::shell::load::Modes;
use crate::shell::paint::Ink;
use crate::shell::pipe::{self, Form, Piped};
use crate::shell::show::commits::HEAD;
use crate::shell::text::{self, Style};
use crate::shell::token::{Fault, FaultKind, Token, begins, split};
use crate::shell::vocabulary::{Verb, configuring};

/// Lines that arrive together are told to the agent when there are so many.
const LINES_WAITING_MAX: usize = 2_000;

/// More edits than these take so long that it is shown how far they are.
const EDITS_QUIET: usize = 5_000;

/// What a line of configuration mode is.
enum Meant {
    Edits(Modes, Vec<Edit>),
    Command(Matched),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Shell<S> {
    pub(super) async fn config_line(&mut self, line: &str, more: bool) -> Done {
        let tokens = split(line);
        let config = self.config.as_ref().expect("only configuration mode comes here");
        match meaning(&self.setup.grammar, &config.modes, line, &tokens)? {
            Meant::Edits(modes, edits) => {
                let config = self.config.as_mut().expect("as above");
                config.modes = modes;
                config.waiting.push((line.trim().to_owned(), edits));
                if more && config.waiting.len() < LINES_WAITING_MAX { Ok(()) } else { self.flush().await }
            }
            Meant::Command(matched) => {
                self.flush().await?;
                let (command, piped) = pipe::split(&tokens)?;
                let verb = configuring().verb(matched.command);
                self.config_command(verb, &matched, line, command, &piped).await
            }
        }
    }

    async fn config_command(
        &mut self,
        verb: Verb,
        matched: &Matched,
        line: &str,
        tokens: &[Token],
        piped: &Piped,
    ) -> Done {
        match verb {
            Verb::ShowTarget => self.show_target(piped).await,
            Verb::ShowMerge => {
                self.stamp().await?;
                let items = self.get_config("candidate", None).await?;
                self.show_lines(&items, piped).await
            }
            Verb::ShowHere => {
                let path = self.config.as_ref().map(|config| config.modes.path().to_vec()).unwrap_or_default();
                self.stamp().await?;
                let items = self.config_at("candidate", &path).await?;
                self.show_lines(&items, piped).await
            }
            Verb::ShowTargetDiff => {
                self.stamp().await?;
                let (running, target) = self.both().await?;
                let lines = text::print_side_by_side(&self.setup.grammar, &running, &target);
                let text = format!("Building configuration...\n{HEAD}\n{lines}end\n\n");
                self.show_in(Ink::Difference, &text, piped).await
            }
            Verb::Commit => self.commit(matched, line, tokens).await,
            Verb::Validate => self.validate().await,
            Verb::ValidateScripts => self.validate_scripts(matched).await,
            Verb::Abort => self.leave_config(true).await,
            Verb::Clear => {
                self.ask("<discard-changes/>").await?;
                self.failed.clear();
                self.with_config(|config| config.is_dirty = false);
                Ok(())
            }
            Verb::End => self.end().await,
            Verb::ExitMode => {
                if self.config.as_ref().is_some_and(|config| config.modes.is_top()) {
                    return self.end().await;
                }
                self.with_config(|config| config.modes.leave());
                Ok(())
            }
            Verb::Root => {
                self.with_config(|config| config.modes.to_top());
                Ok(())
            }
            Verb::Pwd => {
                let path = self.config.as_ref().map(|config| config.modes.path().to_vec()).unwrap_or_default();
                let text = text::print(&self.setup.grammar, &branch(path), Style::Formal);
                let text = if text.is_empty() { "(top)\n".to_owned() } else { text };
                self.show(&text, piped).await
            }
            Verb::Do => {
                let rest = tokens.get(matched.rest.unwrap_or(0)).map_or("", |token| &line[token.start..]);
                self.exec_line(rest).await
            }
            Verb::Load => self.load(matched).await,
            verb => self.perform(verb, matched, line, tokens, piped).await,
        }
    }

    pub(super) fn with_config(&mut self, change: impl FnOnce(&mut super::Configuring)) {
        if let Some(config) = &mut self.config {
            change(config);
        }
    }

    /// Tells the agent of the edits that wait. Where it refuses, the lines are told one by one to find which.
    pub(super) async fn flush(&mut self) -> Done {
        let Some(config) = &mut self.config else { return Ok(()) };
        let waiting = std::mem::take(&mut config.waiting);
        let (mut edits, mut owners) = (Vec::new(), Vec::new());
        for (line, of_line) in &waiting {
            owners.extend(std::iter::repeat_n(line, of_line.len()));
            edits.extend_from_slice(of_line);
        }
        let mut refused: Vec<String> = Vec::new();
        let mut at = 0;
        for (message, count) in messages(&self.setup.grammar, &edits) {
            let range = at..at + count;
            at += count;
            if edits.len() > EDITS_QUIET
                && let Some(terminal) = self.out.terminal()
            {
                terminal.progress(&format!("{at} of {} lines", edits.len())).await?;
            }
            match self.edit(&message).await {
                Ok(()) => {}
                Err(AskError::Refused(errors)) if count == 1 => {
                    refused.push(refusal(owners[range.start], &errors, waiting.len() > 1));
                }
                Err(AskError::Refused(_)) => {
                    for index in range {
                        for (message, _) in messages(&self.setup.grammar, &edits[index..=index]) {
                            match self.edit(&message).await {
                                Ok(()) => {}
                                Err(AskError::Refused(errors)) => refused.push(refusal(owners[index], &errors, true)),
                                Err(gone) => return Err(gone.into()),
                            }
                        }
                    }
                }
                Err(gone) => return Err(gone.into()),
            }
        }
        if edits.len() > EDITS_QUIET
            && let Some(terminal) = self.out.terminal()
        {
            terminal.progress("").await?;
        }
        if refused.is_empty() { Ok(()) } else { Err(Trouble::Said(refused.join("\n"))) }
    }

    async fn edit(&mut self, config: &str) -> Result<(), AskError> {
        let operation = format!(
            "<edit-config><target><candidate/></target><error-option>rollback-on-error</error-option><config>{config}</config></edit-config>"
        );
        self.ask(&operation).await?;
        self.with_config(|config| config.is_dirty = true);
        Ok(())
    }

    /// Running, and the target configuration of this session.
    pub(super) async fn both(&mut self) -> Result<(Vec<Item>, Vec<Item>), Trouble> {
        Ok((self.get_config("running", None).await?, self.get_config("candidate", None).await?))
    }

    pub(super) async fn has_changes(&mut self) -> bool {
        self.both().await.is_ok_and(|(running, target)| running != target)
    }

    async fn show_target(&mut self, piped: &Piped) -> Done {
        self.stamp().await?;
        let (running, target) = self.both().await?;
        let difference = difference(&self.setup.grammar, &running, &target);
        if piped.form.is_some() {
            return self.show_lines(&difference.set, piped).await;
        }
        let lines = text::print_difference(&self.setup.grammar, &difference);
        self.show(&format!("Building configuration...\n{HEAD}\n{lines}end\n\n"), piped).await
    }

    async fn show_lines(&mut self, items: &[Item], piped: &Piped) -> Done {
        let text = match piped.form {
            Some(form @ (Form::Json | Form::Xml | Form::Formal)) => self.formed(form, items),
            None => {
                let lines = text::print(&self.setup.grammar, items, Style::Nested);
                format!("Building configuration...\n{HEAD}\n{lines}end\n\n")
            }
        };
        self.show(&text, piped).await
    }

    /// Back to operational mode.
    pub(super) async fn leave_config(&mut self, discards: bool) -> Done {
        let Some(config) = self.config.take() else { return Ok(()) };
        if discards || config.is_dirty {
            self.ask("<discard-changes/>").await?;
        }
        if config.is_exclusive {
            self.ask("<unlock><target><running/></target></unlock>").await?;
        }
        Ok(())
    }

    async fn end(&mut self) -> Done {
        let is_dirty = self.config.as_ref().is_some_and(|config| config.is_dirty);
        if is_dirty && self.has_changes().await {
            let answer = self
                .question("Uncommitted changes found, commit them before exiting(yes/no/cancel)? [cancel]:", "cancel")
                .await?;
            match answer.trim() {
                answer if !answer.is_empty() && "yes".starts_with(answer) => {
                    self.commit_plainly().await?;
                    if self.config.as_ref().is_some_and(|config| config.is_dirty) {
                        return Ok(());
                    }
                }
                answer if !answer.is_empty() && "no".starts_with(answer) => {}
                _ => return Ok(()),
            }
        }
        self.leave_config(false).await
    }
}

fn meaning(grammar: &Grammar, modes: &Modes, line: &str, tokens: &[Token]) -> Result<Meant, Fault> {
    let mut after = modes.clone();
    let edits = after.take(grammar, line);
    let first = tokens.first().map_or("", |token| token.text.as_str());
    let is_exact = |words: &[&str]| words.contains(&first);
    let words = configuring();
    let first_words = words.commands.first_words();
    if first == "no" || (edits.is_ok() && !first_words.iter().any(|word| word.starts_with(first))) {
        return edits.map(|edits| Meant::Edits(after, edits));
    }
    let command = pipe::split(tokens).and_then(|(command, _)| words.commands.read(command, line.len()));
    match (edits, command) {
        (Ok(edits), Err(_)) => Ok(Meant::Edits(after, edits)),
        (Ok(edits), Ok(_)) if is_exact(&words_of(grammar, modes.path().last().map(|item| item.node))) => {
            Ok(Meant::Edits(after, edits))
        }
        (_, Ok(matched)) if is_exact(&first_words) => Ok(Meant::Command(matched)),
        // What begins a command and a word of the configuration is not guessed.
        (edits, Ok(matched)) => {
            let nodes = modes.paths().map(|path| path.last().map(|item| item.node)).chain([None]);
            let mut means: Vec<&str> = nodes.flat_map(|node| words_of(grammar, node)).collect();
            means.retain(|word| begins(word, first));
            means.extend(first_words.iter().filter(|word| begins(word, first)));
            means.sort_unstable();
            means.dedup();
            match edits {
                Ok(edits) if means.len() < 2 => Ok(Meant::Edits(after, edits)),
                Err(_) if means.len() < 2 => Ok(Meant::Command(matched)),
                _ => {
                    let means = means.into_iter().map(str::to_owned).collect();
                    Err(Fault::new(tokens[0].start, FaultKind::Ambiguous { means }))
                }
            }
        }
        // Whichever came further knows better what was meant.
        (Err(of_edits), Err(of_command)) => {
            Err(if of_command.at > of_edits.at { of_command } else { with_commands(of_edits, tokens, &first_words) })
        }
    }
}

/// What a line may begin with in the mode of a node.
fn words_of(grammar: &Grammar, node: Option<NodeId>) -> Vec<&str> {
    grammar.visible(node).iter().map(|id| grammar.node(*id).typed.word.as_str()).collect()
}

/// A first word that nothing begins with: what could stand there are the commands of the mode, too.
fn with_commands(mut fault: Fault, tokens: &[Token], commands: &[&str]) -> Fault {
    if fault.kind == FaultKind::Unrecognised && tokens.first().is_some_and(|first| first.start == fault.at) {
        fault.expected.extend(commands.iter().map(|word| (*word).to_owned()));
    }
    fault
}

fn refusal(line: &str, errors: &[super::RpcError], names_line: bool) -> String {
    let said: Vec<String> = errors.iter().map(|error| format!("% {error}")).collect();
    if names_line { format!("{line}\n{}", said.join("\n")) } else { said.join("\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shell::testing::device;

    fn told(mode: &[&str], line: &str) -> String {
        let mut modes = Modes::default();
        for line in mode {
            modes.take(device(), line).unwrap();
        }
        match meaning(device(), &modes, line, &split(line)) {
            Ok(Meant::Edits(_, edits)) => format!("{} edits", edits.len()),
            Ok(Meant::Command(matched)) => format!("{:?}", configuring().verb(matched.command)),
            Err(fault) => fault.to_string(),
        }
    }

    #[test]
    fn what_begins_a_command_and_configuration_is_not_guessed() {
        assert_eq!(
            told(&[], "co"),
            "% Ambiguous command: it may mean commit, configuration, conserver-listener, container"
        );
    }

    #[test]
    fn a_line_is_configuration_or_a_command() {
        let process = ["appmgr process-script x"];
        let lines = [
            (&[][..], "commit"),
            (&[], "com label x"),
            (&[], "script process a.py checksum SHA256 9433"),
            (&[], "script add process harddisk: a.py"),
            (&[], "scr add process harddisk: a.py"),
            (&[], "app process-script activate name x"),
            (&[], "hostname x"),
            (&[], "show running-config"),
            (&process, "restart always"),
            (&process, "ex"),
            (&process, "exit"),
            (&process, "hostname x"),
            (&process, "no restart"),
            (&process, "! a remark"),
        ];
        let told: Vec<String> = lines.map(|(mode, line)| format!("{line}: {}", told(mode, line))).into();
        insta::assert_snapshot!(told.join("\n"), @r"
        commit: Commit
        com label x: Commit
        script process a.py checksum SHA256 9433: 1 edits
        script add process harddisk: a.py: ScriptAdd
        scr add process harddisk: a.py: % Ambiguous command: it may mean script, scripts
        app process-script activate name x: AppAction
        hostname x: 1 edits
        show running-config: ShowRunning
        restart always: 1 edits
        ex: % Ambiguous command: it may mean executable, exit
        exit: ExitMode
        hostname x: 1 edits
        no restart: 2 edits
        ! a remark: 0 edits
        ");
    }
}
