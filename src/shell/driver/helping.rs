//! `?` and TAB while a line is typed: what can stand there, with values that only the agent knows.

use std::rc::Rc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{Gone, Offered, Shell};
use crate::shell::assist::{Assistance, Live, assist};
use crate::shell::data::{Item, branch, write_xml};
use crate::shell::grammar::NodeId;
use crate::shell::values::{Question, beginning, values};
use crate::shell::vocabulary::{Need, Words, needs};
use crate::yang::schema::ValueType;

impl<S: AsyncRead + AsyncWrite + Unpin> Shell<S> {
    pub(super) async fn help(&mut self) -> Result<(), Gone> {
        let assistance = self.assistance().await?;
        let listed = assistance.listed().replace('\n', "\r\n");
        let Some(terminal) = self.out.terminal() else { return Ok(()) };
        terminal.send(&format!("?\r\n{listed}")).await?;
        terminal.editor.repaint();
        Ok(())
    }

    pub(super) async fn complete(&mut self) -> Result<(), Gone> {
        let assistance = self.assistance().await?;
        let Some(terminal) = self.out.terminal() else { return Ok(()) };
        match assistance.completion() {
            Some(text) => terminal.editor.insert_text(&text),
            None if assistance.words.iter().any(|word| !word.is_placeholder) => {
                let mut words: Vec<String> = assistance.words.iter().map(|word| word.text.clone()).collect();
                words.extend(assistance.rest());
                terminal.send(&format!("\r\n{}\r\n", words.join("  "))).await?;
                terminal.editor.repaint();
            }
            None => terminal.send("\x07").await?,
        }
        Ok(())
    }

    async fn assistance(&mut self) -> Result<Assistance, Gone> {
        let words = self.own_words().await;
        let Some(terminal) = self.out.terminal() else { return Ok(Assistance::default()) };
        let before = terminal.editor.before_cursor();
        let modes = self.config.as_ref().map(|config| &config.modes);
        let mut assistance = assist(&self.setup.grammar, &words, modes, &before);
        if let Some(live) = assistance.live.take() {
            let values = self.live_values(&live).await;
            assistance.add_values(beginning(&values, &assistance.partial.clone()));
        }
        Ok(assistance)
    }

    /// The words of commands that the user may use, as the access rules are now.
    async fn own_words(&self) -> Words {
        let mut met = vec![Need::Nothing];
        for need in needs() {
            if (self.setup.permit)(need).await.is_ok() {
                met.push(need);
            }
        }
        Words::meeting(|need| met.contains(&need))
    }

    /// Values that the agent knows, sorted; none where it will not tell. Those of the configuration are asked for again when
    /// it may have changed.
    async fn live_values(&mut self, live: &Live) -> Rc<Vec<String>> {
        let question = match live {
            Live::Known(known) => Some(known.question()),
            Live::Leaf(path, node) => self.leaf_question(path, *node),
        };
        let Some(question) = question else { return Rc::default() };
        let newest = match question.is_configuration {
            true => self.newest_commit().await.ok().flatten().map(|(id, ..)| id),
            false => None,
        };
        if let Some(known) = &self.offered
            && question.is_configuration
            && (&known.question, &known.newest, known.changes) == (&question, &newest, self.changes)
        {
            return Rc::clone(&known.values);
        }
        let Ok(reply) = self.ask_for_message(&question.request).await else { return Rc::default() };
        let values = Rc::new(values(&reply, &question));
        self.offered = Some(Offered { question, newest, changes: self.changes, values: Rc::clone(&values) });
        values
    }

    /// Selects the keys that a list has, or what a reference may refer to.
    fn leaf_question(&self, path: &[Item], node: NodeId) -> Option<Question> {
        let grammar = &self.setup.grammar;
        let known = grammar.node(node);
        let elsewhere = match &known.value {
            _ if known.typed.values_of.is_some() => known.typed.values_of,
            Some(ValueType::Leafref { target: Some(target), .. }) => grammar.find(target),
            _ => None,
        };
        let steps: Vec<Item> = match elsewhere {
            Some(elsewhere) => {
                let empty = |node| Item { node, value: String::new(), children: Vec::new() };
                grammar.ancestry(elsewhere).into_iter().map(empty).collect()
            }
            None if grammar.is_key(node) => {
                let list = grammar.node(node).parent?;
                let mut steps = path.to_vec();
                if steps.last().map(|last| last.node) != Some(list) {
                    let here = steps.last().map(|last| last.node);
                    let missing: Vec<NodeId> = grammar
                        .ancestry(list)
                        .into_iter()
                        .skip_while(|id| here.is_some() && Some(*id) != here)
                        .collect();
                    let skipped = usize::from(here.is_some());
                    steps.extend(missing.into_iter().skip(skipped).map(|node| Item {
                        node,
                        value: String::new(),
                        children: Vec::new(),
                    }));
                }
                steps.push(Item::leaf(node, ""));
                steps
            }
            None => return None,
        };
        let source = if self.config.is_some() { "candidate" } else { "running" };
        let (depth, leaf) = (steps.len(), grammar.node(steps.last()?.node).name.clone());
        let filter = write_xml(grammar, &branch(steps), None);
        let request = format!("<get-config><source><{source}/></source><filter>{filter}</filter></get-config>");
        Some(Question { request, is_configuration: true, depth, leaf })
    }
}
