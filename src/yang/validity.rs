//! Validation of a change: what it makes of data that a `when` no longer allows (RFC 7950 sections 8.2 and 8.3.2).
//!
//! What stood there before goes by itself; what the change writes is refused. libyang tells the two apart by a mark that it
//! leaves on a node when a `when` was once true, so its answer depends on what the tree has been through: a candidate edited
//! to and fro, or a default that came while only a part of the whole could be seen. Here the marks are made anew from the
//! tree before the change, so that the answer follows from the two trees alone.

use super::errors;
use super::ffi::{At, Fault, Node, Tree};
use super::fragment::Tops;
use crate::northbound::Refusal;

impl Tree {
    /// Like [`Tree::validate_config`], for what is to follow `before`, which was valid.
    pub fn validate_change(&mut self, before: &Tree) -> Result<(), Vec<Refusal>> {
        self.validate_change_of(&Tops::All, before)
    }

    /// The same for a fragment that has these top nodes.
    pub(super) fn validate_change_of(&mut self, tops: &Tops, before: &Tree) -> Result<(), Vec<Refusal>> {
        let mut lasting = Vec::new();
        // Each round but the last takes something away.
        loop {
            self.forget_whens();
            let Err(faults) = self.validate_all_of(tops) else { break };
            let mut has_gone = false;
            for path in faults.iter().filter_map(errors::false_when) {
                let old = self.find(path).filter(|node| stands_in(before, path, *node)).map(Node::position);
                if let Some(at) = old {
                    self.remove(at);
                    has_gone = true;
                }
            }
            if !has_gone {
                lasting.extend(faults);
                errors::drop_undecided(&mut lasting);
                break;
            }
            lasting.extend(faults.into_iter().filter(errors::is_told_once));
        }
        if lasting.is_empty() { Ok(()) } else { Err(errors::from_validation(self.schema, lasting)) }
    }

    /// What libyang finds, and what we judge in its place.
    pub(super) fn validate_all(&mut self) -> Result<(), Vec<Fault>> {
        self.validate_all_of(&Tops::All)
    }

    fn validate_all_of(&mut self, tops: &Tops) -> Result<(), Vec<Fault>> {
        let mut faults = match tops {
            Tops::All => self.validate().err().unwrap_or_default(),
            Tops::Of(modules) => {
                modules.iter().filter_map(|module| self.validate_module(*module).err()).flatten().collect()
            }
        };
        faults.extend(self.schema.analysis().uniques().faults(self));
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// A written node must show anew that it may be there, and whatever depends on it waits for that. A default is there
    /// until its `when` says otherwise, as one that validation adds.
    fn forget_whens(&mut self) {
        let mut marks: Vec<(At, u32)> = Vec::new();
        let analysis = self.schema.analysis();
        let mut waiting: Vec<Node<'_>> = self.roots().collect();
        while let Some(node) = waiting.pop() {
            let schema = node.schema();
            if analysis.has_when(schema) {
                marks.push((node.position(), node.flags_with_when(node.is_default())));
            }
            if analysis.is_around_whens(schema) {
                waiting.extend(node.children());
            }
        }
        self.put_flags(&marks);
    }
}

/// Whether the change left the node as it was; what hangs below it goes with it.
fn stands_in(before: &Tree, path: &str, node: Node<'_>) -> bool {
    before.find(path).is_some_and(|old| old.is_default() == node.is_default() && old.value() == node.value())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::northbound::WithDefaults;
    use crate::yang::schema::{ModuleSpec, Schema};

    fn schema() -> &'static Schema {
        let dir = tempfile::tempdir().unwrap();
        let text = "module m { yang-version 1.1; namespace urn:m; prefix m; container top {
            leaf mode { type string; }
            leaf speed { when \"../mode = 'fast'\"; type string; must \"../gear\"; }
            leaf gear { when '../speed'; type string; }
            leaf trim { when \"../mode = 'fast'\"; type string; default a; }
            container box { when \"../mode = 'fast'\"; leaf lid { type string; } } } }";
        std::fs::write(dir.path().join("m.yang"), text).unwrap();
        let module = ModuleSpec { name: "m".to_owned(), revision: None, features: Vec::new() };
        Schema::load(&[dir.path().to_owned()], &[module]).unwrap()
    }

    fn tree(schema: &'static Schema, inside: &str) -> Tree {
        Tree::parse_config(schema, format!("<top xmlns='urn:m'>{inside}</top>").as_bytes()).unwrap()
    }

    #[test]
    fn what_stood_there_goes_with_its_when_and_what_is_written_anew_is_refused() {
        let schema = schema();
        let full = "<speed>1</speed><gear>1</gear><trim>b</trim><box><lid>1</lid></box>";
        for (before, after, expected) in [
            // (under mode fast, then under mode slow, what comes of it)
            (full, full, "<mode>slow</mode>"),
            ("", "", "<mode>slow</mode>"),
            ("", "<trim>b</trim>", "refused: /m:top/trim"),
            ("<trim>b</trim>", "<trim>c</trim>", "refused: /m:top/trim"),
            ("<speed>1</speed><gear>1</gear>", "<speed>2</speed><gear>1</gear>", "refused: /m:top/speed"),
            ("", "<box><lid>1</lid></box>", "refused: /m:top/box"),
            ("<box><lid>1</lid></box>", "<box><lid>2</lid></box>", "<mode>slow</mode>"),
        ] {
            let mut old = tree(schema, &format!("<mode>fast</mode>{before}"));
            old.validate_config().unwrap();
            let fresh = tree(schema, &format!("<mode>slow</mode>{after}"));
            // Marks of true whens on all that is there must not matter.
            let mut marked = tree(schema, &format!("<mode>fast</mode>{after}"));
            let _ = marked.validate_config();
            let mode = marked.find("/m:top/mode").map(|node| marked.at(node)).unwrap();
            marked.change_term(mode, "slow").unwrap();
            for mut next in [fresh, marked] {
                let outcome = match next.validate_change(&old) {
                    Ok(()) => String::from_utf8(next.print_xml(WithDefaults::Explicit).to_vec()).unwrap(),
                    Err(refusals) => {
                        let paths: Vec<&str> = refusals.iter().filter_map(|refusal| refusal.path.as_deref()).collect();
                        format!("refused: {}", paths.join(" "))
                    }
                };
                let outcome = outcome.replace("<top xmlns=\"urn:m\">", "").replace("</top>", "");
                assert_eq!(outcome, expected, "{before:?} {after:?}");
            }
        }
    }

    /// libyang puts what such axes give in order, and looks behind the last top node, which is empty here.
    #[test]
    fn a_constraint_may_look_back_and_to_all_sides() {
        let dir = tempfile::tempdir().unwrap();
        let text = "module back { yang-version 1.1; namespace urn:back; prefix b; container a {
            list e { key k; leaf k { type string; }
                leaf v { type string; must \"not(../preceding-sibling::e[v = current()])\"; }
                leaf w { type string; must \"not(//*/*[. = current()]/preceding::w[. = current()])\"; } } }
            container z { leaf l { type string; } } }";
        std::fs::write(dir.path().join("back.yang"), text).unwrap();
        let module = ModuleSpec { name: "back".to_owned(), revision: None, features: Vec::new() };
        let schema = Schema::load(&[dir.path().to_owned()], &[module]).unwrap();
        assert!(schema.analysis().sees_everything().is_some());
        let judged = |leaf: &str, values: &[&str]| {
            let entries: Vec<String> = values
                .iter()
                .enumerate()
                .map(|(key, value)| format!("<e><k>{key}</k><{leaf}>{value}</{leaf}></e>"))
                .collect();
            let text = format!("<a xmlns='urn:back'>{}</a>", entries.concat());
            let mut tree = Tree::parse_config(schema, text.as_bytes()).unwrap();
            let verdict = tree.validate_config().map_err(|refusals| refusals.len());
            assert!(!String::from_utf8_lossy(&tree.print_xml(WithDefaults::ReportAll)).contains("tail"));
            verdict
        };
        // The second looks at all nodes, so that both of two entries alike are wrong.
        for (leaf, wrong) in [("v", 1), ("w", 2)] {
            assert_eq!(judged(leaf, &["1", "2", "3"]), Ok(()), "{leaf}");
            assert_eq!(judged(leaf, &["1", "2", "1"]), Err(wrong), "{leaf}");
        }
        // What is wrong besides is told, and nothing of what stands behind.
        assert_eq!(judged("v", &["1", "1", "1"]), Err(2));
    }
}
