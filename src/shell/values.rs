//! Values that TAB offers and only the agent knows: where they are, how they are read out of its reply, and which of them begin
//! with what is typed. A list may have tens of thousands, so that a reply is read through once and nothing is built of it. Pure.

use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::Event;

/// A longer list is no help.
pub const SHOWN_MAX: usize = 200;

/// Where the values of an argument of commands are.
#[derive(Debug, PartialEq, Eq)]
pub struct Known {
    pub argument: &'static str,
    pub place: Place,
    namespace: &'static str,
    /// The names of the nodes from the top to the leaf.
    path: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    State,
    Running,
}

const SCRIPTS: &str = "http://cisco.com/ns/yang/Cisco-IOS-XR-infra-script-mgmt-oper";

pub const KNOWN: &[Known] = &[
    Known {
        argument: "APP",
        place: Place::Running,
        namespace: "http://cisco.com/ns/yang/Cisco-IOS-XR-um-appmgr-cfg",
        path: "appmgr/process-scripts/process-script/process-script-name",
    },
    Known {
        argument: "FILE",
        place: Place::State,
        namespace: SCRIPTS,
        path: "script/status/summary/status-summary/script-name",
    },
    Known {
        argument: "REQUEST",
        place: Place::State,
        namespace: SCRIPTS,
        path: "script/execution/summary/execution-summary/request-id",
    },
    Known {
        argument: "COMMIT",
        place: Place::State,
        namespace: "http://cisco.com/ns/yang/Cisco-IOS-XR-config-cfgmgr-exec-oper",
        path: "config-manager/global/config-commit/commits/commit/commit-id",
    },
    Known {
        argument: "CONTAINER",
        place: Place::Running,
        namespace: "urn:procyon:container",
        path: "containers/container/name",
    },
    Known { argument: "LOG", place: Place::State, namespace: "urn:procyon:log", path: "logs/log/name" },
    Known {
        argument: "NAME",
        place: Place::State,
        namespace: "urn:procyon:process",
        path: "processes-state/process/name",
    },
    Known {
        argument: "SESSION",
        place: Place::State,
        namespace: "urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring",
        path: "netconf-state/sessions/session/session-id",
    },
];

/// A question for values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    pub request: String,
    /// The values change with commits and edits alone.
    pub is_configuration: bool,
    /// How far below the top of the data the leaf stands; the top nodes are 1.
    pub depth: usize,
    /// What it is called.
    pub leaf: String,
}

impl Known {
    pub fn question(&self) -> Question {
        let mut filter = String::new();
        let names: Vec<&str> = self.path.split('/').collect();
        for name in &names {
            // What is inside has the namespace of the top.
            let namespace = if filter.is_empty() { format!(" xmlns=\"{}\"", self.namespace) } else { String::new() };
            filter.push_str(&format!("<{name}{namespace}>"));
        }
        filter.extend(names.iter().rev().map(|name| format!("</{name}>")));
        let filter = format!("<filter>{filter}</filter>");
        let request = match self.place {
            Place::State => format!("<get>{filter}</get>"),
            Place::Running => format!("<get-config><source><running/></source>{filter}</get-config>"),
        };
        Question {
            request,
            is_configuration: self.place == Place::Running,
            depth: names.len(),
            leaf: names[names.len() - 1].to_owned(),
        }
    }
}

/// The values in a reply, sorted, each once; none in one that is no data.
pub fn values(reply: &[u8], question: &Question) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(reply) else { return Vec::new() };
    // `<rpc-reply><data>` stand around.
    let depth = question.depth + 2;
    let mut found: Vec<String> = Vec::new();
    let mut reader = Reader::from_str(text);
    let mut at = 0;
    let mut value: Option<String> = None;
    loop {
        match reader.read_event() {
            Ok(Event::Start(start)) => {
                at += 1;
                if at == 2 && start.local_name().as_ref() != "data" {
                    return Vec::new();
                }
                value = (at == depth && start.local_name().as_ref() == question.leaf).then(String::new);
            }
            Ok(Event::Text(piece)) => {
                if let Some(value) = &mut value {
                    value.push_str(&piece.xml10_content());
                }
            }
            Ok(Event::GeneralRef(reference)) => {
                if let Some(value) = &mut value {
                    match reference.resolve_char_ref() {
                        Ok(Some(letter)) => value.push(letter),
                        _ => value.push_str(resolve_xml_entity(&reference.xml10_content()).unwrap_or_default()),
                    }
                }
            }
            Ok(Event::End(_)) => {
                found.extend(value.take());
                at -= 1;
            }
            Ok(Event::Eof) | Err(_) => break,
            Ok(_) => {}
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Those of sorted values that begin with `partial`.
pub fn beginning<'v>(values: &'v [String], partial: &str) -> &'v [String] {
    let from = values.partition_point(|value| value.as_str() < partial);
    let length = values[from..].partition_point(|value| value.starts_with(partial));
    &values[from..from + length]
}

#[cfg(test)]
mod tests {
    use super::super::testing::device;
    use super::*;

    #[test]
    fn every_place_is_a_node_of_the_device() {
        for known in KNOWN {
            let found = known
                .path
                .split('/')
                .try_fold(None, |at, name| device().child(at, Some(known.namespace), name).map(Some));
            assert!(found.is_some(), "{}", known.path);
        }
        insta::assert_snapshot!(KNOWN[0].question().request, @r#"<get-config><source><running/></source><filter><appmgr xmlns="http://cisco.com/ns/yang/Cisco-IOS-XR-um-appmgr-cfg"><process-scripts><process-script><process-script-name></process-script-name></process-script></process-scripts></appmgr></filter></get-config>"#);
    }

    fn told(reply: &str, depth: usize, leaf: &str) -> Vec<String> {
        let question = Question { request: String::new(), is_configuration: false, depth, leaf: leaf.to_owned() };
        values(reply.as_bytes(), &question)
    }

    #[test]
    fn values_are_read_where_they_stand() {
        let reply = r#"<rpc-reply xmlns="urn:x" message-id="1"><data><top xmlns="urn:t"><list><name>b&amp;&#x41;</name></list>
<list><name>outer</name><other>a</other><deep><name>no</name></deep></list><list><name>b</name><many>2</many><many>1</many></list>
</top></data></rpc-reply>"#;
        assert_eq!(told(reply, 3, "name"), ["b", "b&A", "outer"]);
        assert_eq!(told(reply, 4, "name"), ["no"]);
        assert_eq!(told(reply, 3, "many"), ["1", "2"]);
        assert_eq!(
            told("<rpc-reply><rpc-error><a><b><name>x</name></b></a></rpc-error></rpc-reply>", 3, "name"),
            Vec::<String>::new()
        );
        assert_eq!(told("<rpc-reply><data><a><name>cut off", 2, "name"), Vec::<String>::new());
    }

    #[test]
    fn what_begins_with_a_text_stands_together() {
        let values: Vec<String> = ["a", "ab", "abc", "b", "é1", "é2"].map(str::to_owned).into();
        for (partial, expected) in
            [("", &values[..]), ("ab", &values[1..3]), ("b", &values[3..4]), ("é", &values[4..]), ("x", &[])]
        {
            assert_eq!(beginning(&values, partial), expected, "{partial}");
        }
    }
}
