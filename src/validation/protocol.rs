//! What is said between the agent and a script that looks at commits: one JSON object a line, in either direction.
//!
//! ```text
//!  script: register* ready                                    once, on a stream that came through its door
//!  agent:  look                       script: (ask, answer)* done
//! ```

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A longer line is not one of ours.
pub const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Callbacks of one script.
pub const CALLBACKS_MAX: usize = 256;
/// Questions in one look.
pub const QUESTIONS_MAX: usize = 100_000;

/// What a script says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum FromScript {
    /// A callback for changes below these schema paths.
    Register {
        paths: Vec<String>,
        /// The function's own.
        #[serde(default)]
        name: String,
    },
    /// All callbacks are known.
    Ready,
    Get {
        base: Option<String>,
        path: String,
    },
    List {
        base: Option<String>,
        path: String,
    },
    Set {
        base: Option<String>,
        path: String,
        value: Value,
    },
    Delete {
        base: Option<String>,
        path: String,
    },
    /// What the commit changes.
    Target {
        format: Format,
    },
    Done(Report),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    Cli,
    Sysdb,
}

/// What came of a look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    #[serde(default)]
    pub errors: Vec<Remark>,
    #[serde(default)]
    pub warnings: Vec<Remark>,
    /// The traceback of an exception that the script did not catch.
    #[serde(default)]
    pub crash: Option<String>,
    /// Of callbacks, in their order.
    #[serde(default)]
    pub calls: Vec<Called>,
}

/// One call of a callback.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Called {
    pub callback: usize,
    pub microseconds: u64,
    pub errors: u32,
    pub warnings: u32,
    pub modifications: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remark {
    /// Data paths of the nodes that it is about.
    #[serde(default)]
    pub paths: Vec<String>,
    pub message: String,
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ToScript {
    /// Call these callbacks, by their number.
    Look {
        callbacks: Vec<usize>,
        user: String,
    },
    Ok,
    Node(Option<NodeSeen>),
    Nodes(Vec<NodeSeen>),
    Lines(Vec<String>),
    Items(Vec<Item>),
    /// To be raised under this name.
    Refused {
        exception: &'static str,
        message: String,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct NodeSeen {
    pub path: String,
    pub name: String,
    /// Typed; absent for what is no leaf.
    pub value: Value,
}

/// One change as the system's database would name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    pub name: String,
    /// The kind of the value and the value.
    pub value: (String, String),
}

impl ToScript {
    pub fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("texts and numbers have a JSON form");
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_library() {
        let said = |text: &str| serde_json::from_str::<FromScript>(text).unwrap();
        assert_eq!(said(r#""ready""#), FromScript::Ready);
        let check = FromScript::Register { paths: vec!["/a:b".into()], name: "check".into() };
        assert_eq!(said(r#"{"register":{"paths":["/a:b"],"name":"check"}}"#), check);
        assert_eq!(said(r#"{"get":{"base":null,"path":"/a:b"}}"#), FromScript::Get { base: None, path: "/a:b".into() });
        let report = said(r#"{"done":{"errors":[{"paths":[],"message":"no"}]}}"#);
        let remark = Remark { paths: Vec::new(), message: "no".into() };
        assert_eq!(report, FromScript::Done(Report { errors: vec![remark], ..Report::default() }));
        let look = ToScript::Look { callbacks: vec![0], user: "u".into() };
        assert_eq!(look.line(), b"{\"look\":{\"callbacks\":[0],\"user\":\"u\"}}\n");
        let refused = ToScript::Refused { exception: "InvalidPath", message: "m".into() };
        assert_eq!(refused.line(), b"{\"refused\":{\"exception\":\"InvalidPath\",\"message\":\"m\"}}\n");
    }
}
