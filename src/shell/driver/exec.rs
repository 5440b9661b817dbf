//! Commands that tell or do something, in operational mode and with `do`.

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Configuring, Done, Shell, Trouble};
use crate::shell::command::Matched;
use crate::shell::data::{Item, branch, narrowed, write_xml};
use crate::shell::paint::Ink;
use crate::shell::pipe::{self, Filter, Form, Piped};
use crate::shell::show::{self, commits, scripts};
use crate::shell::text::{self, Style};
use crate::shell::token::{Token, split};
use crate::shell::vocabulary::{Verb, configuring, operational};
use crate::shell::{json, line};

impl<S: AsyncRead + AsyncWrite + Unpin> Shell<S> {
    pub(super) async fn exec_line(&mut self, line: &str) -> Done {
        if line.trim_start().starts_with('!') {
            return Ok(());
        }
        let tokens = split(line);
        let words = operational();
        // Bars of a Linux command are its own.
        if let Ok(matched) = words.commands.read(&tokens, line.len())
            && matches!(words.verb(matched.command), Verb::Linux | Verb::Console)
        {
            return self.perform(words.verb(matched.command), &matched, line, &tokens, &Piped::default()).await;
        }
        let (command, piped) = pipe::split(&tokens)?;
        let matched = words.commands.read(command, line.len())?;
        self.perform(words.verb(matched.command), &matched, line, command, &piped).await
    }

    /// Commands of both modes. Those of one mode alone are carried out where they belong.
    pub(super) async fn perform(
        &mut self,
        verb: Verb,
        matched: &Matched,
        line: &str,
        tokens: &[Token],
        piped: &Piped,
    ) -> Done {
        match verb {
            Verb::Configure => return self.configure(matched.has("exclusive")).await,
            Verb::Exit => return self.leave().await,
            Verb::TerminalStamp => {
                self.with_stamp = matched.has("timestamp");
                return Ok(());
            }
            Verb::TerminalColour => {
                if let Some(terminal) = self.out.terminal() {
                    terminal.editor.has_colours = matched.has("enable");
                }
                return Ok(());
            }
            // Nothing pauses and nothing wraps where there is no terminal.
            Verb::TerminalLength | Verb::TerminalWidth => {
                let number = |name: &str| matched.number(name).map(|number| number as usize);
                if let Some(terminal) = self.out.terminal() {
                    terminal.length = number("LINES").or(terminal.length);
                    terminal.width = number("COLUMNS").or(terminal.width);
                }
                return Ok(());
            }
            _ => {}
        }
        if let Some(form) = piped.form.filter(|_| !verb.has_forms(matched)) {
            let word = form.word();
            return Err(Trouble::Said(format!("% What this command shows is text, and has no form as {word}")));
        }
        self.stamp().await?;
        match verb {
            Verb::ShowFailed => {
                let errors: Vec<_> =
                    self.failed.iter().map(|error| (error.path.as_deref(), error.to_string())).collect();
                let text = commits::failed(&self.setup.grammar, &errors);
                self.show(&text, piped).await
            }
            Verb::ShowRunning => {
                let form = if matched.has("formal") { piped.form.or(Some(Form::Formal)) } else { piped.form };
                let piped = Piped { form, ..piped.clone() };
                self.show_running(tokens, matched.rest, &piped).await
            }
            Verb::ShowCommitChanges => {
                let reply = self.ask(&commits::changes_request(matched)).await?;
                let is_diff = matched.has("diff");
                let text = commits::changes(is_diff, &self.setup.grammar, &reply);
                self.show_in(if is_diff { Ink::Difference } else { Ink::Plain }, &text, piped).await
            }
            Verb::ShowAppLogs => self.show_logs(matched, piped).await,
            Verb::ShowPython => {
                let text = scripts::python(&self.ask(scripts::PYTHON).await?);
                self.show(&text, piped).await
            }
            Verb::ShowLog => self.show_log(matched, piped).await,
            Verb::ContainerOrder => self.container_order(matched).await,
            Verb::ShowProcess if matched.get("NAME").is_some() && piped.form.is_none() => {
                self.show_process(matched, piped).await
            }
            Verb::ProcessOrder | Verb::ProcessVersion => self.process(matched).await,
            Verb::ShowClock => {
                let now = super::now().to_zoned(self.setup.zone.clone());
                self.show(&format!("{}\n", now.strftime("%H:%M:%S%.3f %Z %a %b %d %Y")), piped).await
            }
            Verb::ScriptAdd => self.script_add(matched).await,
            Verb::ScriptRemove => self.script_remove(matched).await,
            Verb::ScriptRun => self.script_run(matched).await,
            Verb::ScriptUpdate => self.script_update(matched).await,
            Verb::ScriptStop => self.script_stop(matched, line, tokens).await,
            Verb::AppAction => self.app_action(matched).await,
            Verb::KillSession => self.kill_session(matched).await,
            Verb::RollBack => self.roll_back(matched, line, tokens).await,
            Verb::Copy => self.copy(matched).await,
            Verb::Dir => self.dir(matched, piped).await,
            Verb::Linux => self.run_linux(matched, line, tokens).await,
            Verb::Console => self.sit_at_console(matched, line, tokens).await,
            Verb::Describe => {
                let text = self.described(&tokens[matched.rest.unwrap_or(0)..]);
                self.show(&text, piped).await
            }
            Verb::Help => self.show(HELP, piped).await,
            verb => match show::filter(verb, matched) {
                Some(filter) => {
                    let items = self.get(&filter).await?;
                    let text = match piped.form {
                        Some(form) => self.formed(form, &items),
                        None => show::render(verb, matched, &self.setup.grammar, &items),
                    };
                    let is_refusal = text.starts_with("% ");
                    self.show(&text, piped).await?;
                    if is_refusal {
                        self.status = 1;
                    }
                    Ok(())
                }
                None => Err(Trouble::Said("% This command belongs to another mode".to_owned())),
            },
        }
    }

    pub(super) fn formed(&self, form: Form, items: &[Item]) -> String {
        let grammar = &self.setup.grammar;
        match form {
            Form::Json => json::write(grammar, items),
            Form::Xml => write_xml(grammar, items, Some(0)),
            Form::Formal => text::print(grammar, items, Style::Formal),
        }
    }

    async fn show_running(&mut self, tokens: &[Token], rest: Option<usize>, piped: &Piped) -> Done {
        let words = rest.map_or(&[][..], |rest| &tokens[rest..]);
        let path = line::path(&self.setup.grammar, &[], words)?;
        let items = self.config_at("running", &path).await?;
        let text = match piped.form {
            Some(form @ (Form::Json | Form::Xml)) => self.formed(form, &items),
            form => {
                let style = if form == Some(Form::Formal) { Style::Formal } else { Style::Nested };
                let lines = text::print(&self.setup.grammar, &items, style);
                if !path.is_empty() && lines.is_empty() {
                    "% No such configuration item(s)\n".to_owned()
                } else if path.is_empty() {
                    let changed = match self.newest_commit().await? {
                        Some((_, user, _, time)) => format!("!! Last configuration change at {time} by {user}\n"),
                        None => String::new(),
                    };
                    format!("Building configuration...\n{}\n{changed}!\n{lines}end\n", commits::HEAD)
                } else {
                    lines
                }
            }
        };
        self.show(&format!("{text}\n"), piped).await
    }

    /// Configuration at and below a path of instances.
    pub(super) async fn config_at(&mut self, source: &str, path: &[Item]) -> Result<Vec<Item>, Trouble> {
        let filter = (!path.is_empty()).then(|| write_xml(&self.setup.grammar, &branch(path.to_vec()), None));
        let items = self.get_config(source, filter.as_deref()).await?;
        Ok(narrowed(&self.setup.grammar, &items, path))
    }

    /// Id, user, client and time of the newest commit.
    pub(super) async fn newest_commit(&mut self) -> Result<Option<(String, String, String, String)>, Trouble> {
        const NEWEST: &str = r#"<get><filter xmlns:c="http://cisco.com/ns/yang/Cisco-IOS-XR-config-cfgmgr-exec-oper" type="xpath" select="/c:config-manager/c:global/c:config-commit/c:commits/c:commit[1]"/></get>"#;
        let reply = match self.ask(NEWEST).await {
            Ok(reply) => reply,
            Err(super::client::AskError::Refused(_)) => return Ok(None),
            Err(gone) => return Err(gone.into()),
        };
        let items = self.items(&reply)?;
        Ok(commits::newest(&self.setup.grammar, &items))
    }

    /// Text as the bars want it.
    pub(super) async fn show(&mut self, text: &str, piped: &Piped) -> Done {
        self.show_in(Ink::Plain, text, piped).await
    }

    pub(super) async fn show_in(&mut self, ink: Ink, text: &str, piped: &Piped) -> Done {
        if piped.filters.is_empty() {
            return Ok(self.out.print_in(ink, text).await?);
        }
        let text = pipe::apply(text, &piped.filters);
        for filter in &piped.filters {
            if let Filter::File(name) = filter {
                return self.write_file(name, text.as_bytes()).await;
            }
        }
        Ok(self.out.print_in(ink, &text).await?)
    }

    async fn configure(&mut self, is_exclusive: bool) -> Done {
        self.stamp().await?;
        if is_exclusive {
            self.ask("<lock><target><running/></target></lock>").await?;
        }
        let since = self.newest_commit().await?.map(|(id, ..)| id);
        self.config = Some(Configuring { is_exclusive, since, ..Configuring::default() });
        Ok(())
    }

    /// Ends the session, unless a confirmed commit would be undone by it and the user stays.
    async fn leave(&mut self) -> Done {
        if self.is_unconfirmed {
            let answer = self
                .question(
                    "You are exiting after a 'commit confirm' with an active rollback session: it is undone at once.\nDo you wish to proceed? [no]: ",
                    "no",
                )
                .await?;
            if !answer.starts_with('y') {
                return Ok(());
            }
        }
        self.is_over = true;
        Ok(())
    }

    /// What a line means, word by word.
    fn described(&self, tokens: &[Token]) -> String {
        let grammar = &self.setup.grammar;
        let context = self.config.as_ref().map_or(&[][..], |config| config.modes.path());
        if let Ok(path) = line::path(grammar, context, tokens)
            && let Some(last) = path.last()
        {
            let node = grammar.node(last.node);
            let names = grammar.ancestry(last.node).into_iter().map(|id| grammar.node(id).name.clone());
            let module = grammar.module(last.node);
            let path = names.collect::<Vec<_>>().join("/");
            return format!("Configuration node /{}:{path}\n{}\n", module.name, node.description.trim());
        }
        match operational().commands.read(tokens, 0).or_else(|_| configuring().commands.read(tokens, 0)) {
            Ok(_) => "A command; `?` behind it tells its options\n".to_owned(),
            Err(fault) => format!("{fault}\n"),
        }
    }
}

const HELP: &str = "\
Type `?` anywhere to see what can follow, and TAB to complete a word. Words may be
abbreviated as far as they stay unique. `configure` enters configuration mode;
`commit` makes what was typed there the running configuration. Output can be
filtered: `show ... | include TEXT`, exclude, begin, count, json, xml, file.
";
