//! Data paths, and the paths of access rules (RFC 8341 node-instance-identifier), as values that can be compared.
//!
//! A rule's path names a node and thereby everything below it; predicates that it leaves out match every entry. Knows
//! no schema: prefixes are module names, as the data tree prints canonical paths.

/// Longest path that is looked at; a longer one does not parse.
pub const PATH_BYTES_MAX: usize = 64 * 1024;

/// The place of one data node: every list entry with all its keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DataPath {
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub module: String,
    pub name: String,
    /// Key leaves with their values; `.` is the value of a leaf-list entry.
    pub keys: Vec<(String, String)>,
}

impl Step {
    pub fn new(module: impl Into<String>, name: impl Into<String>) -> Self {
        Self { module: module.into(), name: name.into(), keys: Vec::new() }
    }
}

impl DataPath {
    /// Reads `/module:container/list[key='v']/leaf`; a step without a module is in the module of the step before it.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut steps = Vec::new();
        for raw in parse_steps(text)? {
            let mut keys = Vec::new();
            for (name, operand) in raw.predicates {
                let Operand::Text(value) = operand else {
                    return Err(PathError::UnknownVariable { path: text.to_owned() });
                };
                keys.push((name, value));
            }
            steps.push(Step { module: raw.module, name: raw.name, keys });
        }
        Ok(Self { steps })
    }

    /// The module that defines the node.
    pub fn module(&self) -> Option<&str> {
        self.steps.last().map(|step| step.module.as_str())
    }

    pub fn push(&mut self, step: Step) {
        self.steps.push(step);
    }

    pub fn pop(&mut self) -> Option<Step> {
        self.steps.pop()
    }
}

/// The path of a rule, compiled once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RulePath {
    steps: Vec<RuleStep>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct RuleStep {
    module: String,
    name: String,
    predicates: Vec<(String, Operand)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Operand {
    Text(String),
    /// `$USER`: the name of who asks.
    User,
}

impl RulePath {
    pub fn parse(text: &str) -> Result<Self, PathError> {
        Ok(Self { steps: parse_steps(text)? })
    }

    /// Whether `node` is the node that this path names, or below it.
    pub fn covers(&self, node: &DataPath, user: &str) -> bool {
        self.steps.len() <= node.steps.len()
            && self.steps.iter().zip(&node.steps).all(|(rule, step)| rule.fits(step, user))
    }

    /// How much of all the nodes in one place of the schema it covers; `place` has no keys.
    pub fn coverage(&self, place: &DataPath) -> Coverage {
        let is_above = self.steps.len() <= place.steps.len()
            && self.steps.iter().zip(&place.steps).all(|(rule, step)| rule.has_name_of(step));
        match is_above {
            false => Coverage::Nothing,
            true if self.steps.iter().all(|step| step.predicates.is_empty()) => Coverage::Everything,
            true => Coverage::Some,
        }
    }
}

/// See [`RulePath::coverage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coverage {
    Nothing,
    /// What its predicates choose.
    Some,
    Everything,
}

impl RuleStep {
    fn fits(&self, step: &Step, user: &str) -> bool {
        self.has_name_of(step)
            && self.predicates.iter().all(|(name, operand)| {
                let wanted = match operand {
                    Operand::Text(text) => text,
                    Operand::User => user,
                };
                step.keys.iter().any(|(key, value)| key == name && value == wanted)
            })
    }

    fn has_name_of(&self, step: &Step) -> bool {
        self.name == step.name && self.module == step.module
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("`{path}` does not start with a slash; write it as /module:node/node")]
    NotAbsolute { path: String },
    #[error("the first step of `{path}` names no module; write it as /module:node/node")]
    NoModule { path: String },
    #[error("`{path}` cannot be read at byte {at}; steps are NAME or MODULE:NAME, predicates [KEY='VALUE']")]
    Unreadable { path: String, at: usize },
    #[error("`{path}` uses a variable that has no value here; only $USER is known, in rules")]
    UnknownVariable { path: String },
    #[error("a path of {bytes} bytes is longer than {PATH_BYTES_MAX}")]
    TooLong { bytes: usize },
}

fn parse_steps(text: &str) -> Result<Vec<RuleStep>, PathError> {
    if text.len() > PATH_BYTES_MAX {
        return Err(PathError::TooLong { bytes: text.len() });
    }
    let mut scan = Scan { text, at: 0 };
    let mut steps: Vec<RuleStep> = Vec::new();
    scan.blanks();
    if !scan.rest().starts_with('/') {
        return Err(PathError::NotAbsolute { path: text.to_owned() });
    }
    if scan.rest().trim_end() == "/" {
        return Ok(steps);
    }
    while scan.take('/') {
        let (module, name) = scan.qualified()?;
        let module = match (module, steps.last()) {
            (Some(module), _) => module.to_owned(),
            (None, Some(before)) => before.module.clone(),
            (None, None) => return Err(PathError::NoModule { path: text.to_owned() }),
        };
        let mut predicates = Vec::new();
        while scan.take('[') {
            predicates.push(scan.predicate()?);
        }
        steps.push(RuleStep { module, name: name.to_owned(), predicates });
    }
    scan.blanks();
    if scan.rest().is_empty() { Ok(steps) } else { Err(scan.unreadable()) }
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scan<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.rest().starts_with(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    fn identifier(&mut self) -> Result<&'a str, PathError> {
        let rest = self.rest();
        let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let end = rest.find(|c: char| !inside(c)).unwrap_or(rest.len());
        let starts_well = rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        if !starts_well {
            return Err(self.unreadable());
        }
        self.at += end;
        Ok(&rest[..end])
    }

    fn qualified(&mut self) -> Result<(Option<&'a str>, &'a str), PathError> {
        let first = self.identifier()?;
        if self.take(':') { Ok((Some(first), self.identifier()?)) } else { Ok((None, first)) }
    }

    /// What follows `[`: a key or `.`, an equals sign, and a quoted value or a variable.
    fn predicate(&mut self) -> Result<(String, Operand), PathError> {
        self.blanks();
        let name = if self.take('.') { "." } else { self.qualified()?.1 };
        self.blanks();
        if !self.take('=') {
            return Err(self.unreadable());
        }
        self.blanks();
        let operand = if self.take('$') {
            match self.identifier()? {
                "USER" => Operand::User,
                _ => return Err(PathError::UnknownVariable { path: self.text.to_owned() }),
            }
        } else {
            Operand::Text(self.quoted()?.to_owned())
        };
        self.blanks();
        if self.take(']') { Ok((name.to_owned(), operand)) } else { Err(self.unreadable()) }
    }

    fn quoted(&mut self) -> Result<&'a str, PathError> {
        for quote in ['\'', '"'] {
            if self.take(quote) {
                let rest = self.rest();
                let end = rest.find(quote).ok_or_else(|| self.unreadable())?;
                self.at += end + quote.len_utf8();
                return Ok(&rest[..end]);
            }
        }
        Err(self.unreadable())
    }

    fn unreadable(&self) -> PathError {
        PathError::Unreadable { path: self.text.to_owned(), at: self.at }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_covers_its_node_and_all_below_it() {
        let cases = [
            ("/m:a", "/m:a", true),
            ("/m:a", "/m:a/b/c", true),
            ("/m:a/m:b", "/m:a", false),
            ("/m:a/b", "/m:a/n:b", false),
            ("/", "/m:a", true),
            ("/m:a/list", "/m:a/list[k='1']", true),
            ("/m:a/list[k='1']", "/m:a/list[k='1']/leaf", true),
            ("/m:a/list[k='1']", "/m:a/list[k='2']/leaf", false),
            ("/m:a/list[m:k=\"it's\"]", "/m:a/list[k=\"it's\"]", true),
            ("/m:a/list[ k = '1' ]", "/m:a/list[k='1'][j='2']", true),
            ("/m:a/list[j='2']", "/m:a/list[k='1'][j='2']", true),
            ("/m:a/users[.='fred']", "/m:a/users[.='fred']", true),
            ("/m:a/list[k='a/b]c']", "/m:a/list[k='a/b]c']/leaf", true),
            ("/m:user[name=$USER]", "/m:user[name='fred']/password", true),
            ("/m:user[name=$USER]", "/m:user[name='joan']", false),
        ];
        for (rule, node, expected) in cases {
            let rule_path = RulePath::parse(rule).unwrap();
            assert_eq!(rule_path.covers(&DataPath::parse(node).unwrap(), "fred"), expected, "{rule} of {node}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_the_place() {
        assert!(matches!(RulePath::parse("m:a"), Err(PathError::NotAbsolute { .. })));
        assert!(matches!(RulePath::parse(""), Err(PathError::NotAbsolute { .. })));
        assert!(matches!(RulePath::parse("/a"), Err(PathError::NoModule { .. })));
        assert!(matches!(RulePath::parse("/m:l[k=$HOME]"), Err(PathError::UnknownVariable { .. })));
        for broken in ["/m:l[1]", "/m:l[k='1'", "/m:l[k='1]", "/m:a//m:b", "/m:a/", "/m:a|/m:b", "/m:*", "/m:l[k!='1']"]
        {
            assert!(matches!(RulePath::parse(broken), Err(PathError::Unreadable { .. })), "{broken}");
        }
        assert!(matches!(RulePath::parse(&"/m:a".repeat(PATH_BYTES_MAX)), Err(PathError::TooLong { .. })));
    }
}
