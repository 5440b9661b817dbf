//! Shelves: alarms that are known and wanted out of sight. The first shelf of which every kind of rule fits an alarm
//! takes it; a shelf without rules takes all.

use regex::{Regex, RegexBuilder};

use super::list::Key;
use super::types::AlarmType;
use crate::yang::value::Element;

/// What a compiled rule may take.
const RULE_BYTES_MAX: usize = 1 << 20;

/// Compares resources as the type `resource-match` does: an expression that fits the whole name. What is a path or an
/// object identifier fits none of ours, which are names.
#[derive(Debug, Clone)]
pub struct Rule(Regex);

impl Rule {
    /// # Errors
    /// The text is no regular expression.
    pub fn parse(text: &str) -> Result<Self, String> {
        let whole = format!("^(?:{text})$");
        match RegexBuilder::new(&whole).size_limit(RULE_BYTES_MAX).build() {
            Ok(regex) => Ok(Self(regex)),
            Err(error) => {
                let why = error.to_string();
                Err(format!("`{text}` is no regular expression: {}", why.lines().next_back().unwrap_or_default()))
            }
        }
    }

    pub fn fits(&self, text: &str) -> bool {
        self.0.is_match(text)
    }
}

#[derive(Debug, Clone)]
pub struct Shelf {
    pub name: String,
    resources: Vec<Rule>,
    types: Vec<(AlarmType, Rule)>,
    /// A type that is none of ours is named: then nothing fits that is not named besides.
    has_types: bool,
}

impl Shelf {
    /// Reads an entry of `alarm-shelving`.
    ///
    /// # Errors
    /// A rule that is no regular expression.
    pub fn read(entry: &Element) -> Result<Self, String> {
        let resources = entry.children_named("resource").filter_map(|leaf| leaf.text.as_deref());
        let mut types = Vec::new();
        let mut has_types = false;
        for named in entry.children_named("alarm-type") {
            has_types = true;
            let qualifier = Rule::parse(named.text_of("alarm-type-qualifier-match").unwrap_or_default())?;
            if let Some(alarm_type) = named.text_of("alarm-type-id").and_then(AlarmType::parse) {
                types.push((alarm_type, qualifier));
            }
        }
        Ok(Self {
            name: entry.text_of("name").unwrap_or_default().to_owned(),
            resources: resources.map(Rule::parse).collect::<Result<_, _>>()?,
            types,
            has_types,
        })
    }

    pub fn takes(&self, key: &Key) -> bool {
        let is_of_type = |(alarm_type, qualifier): &(AlarmType, Rule)| {
            *alarm_type == key.alarm_type && qualifier.fits(&key.qualifier)
        };
        (self.resources.is_empty() || self.resources.iter().any(|rule| rule.fits(&key.resource)))
            && (!self.has_types || self.types.iter().any(is_of_type))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelf(rules: &[(&str, &str)], types: &[&str]) -> Shelf {
        let mut children = vec![Element::leaf("name", "s")];
        children.extend(rules.iter().map(|(leaf, text)| Element::leaf((*leaf).to_owned(), text)));
        children.extend(types.iter().map(|identity| {
            let leaves =
                vec![Element::leaf("alarm-type-id", identity), Element::leaf("alarm-type-qualifier-match", ".*")];
            Element::node("alarm-type", leaves)
        }));
        Shelf::read(&Element::node("shelf", children)).unwrap()
    }

    fn key(resource: &str, alarm_type: AlarmType) -> Key {
        Key::new(resource, alarm_type)
    }

    #[test]
    fn kinds_of_rules_are_joined_by_and_rules_of_one_kind_by_or() {
        let (web, failed) = (key("process web", AlarmType::ProcessFailed), "procyon-alarms:PROCESS_FAILED");
        assert!(shelf(&[], &[]).takes(&web), "no rule, every alarm");
        assert!(shelf(&[("resource", "process db"), ("resource", "process w.*")], &[failed]).takes(&web));
        assert!(!shelf(&[("resource", "process")], &[]).takes(&web), "the whole name is compared");
        assert!(!shelf(&[("resource", "process web")], &["procyon-alarms:KEEPER_LOST"]).takes(&web));
        assert!(!shelf(&[], &["other:ALARM"]).takes(&web), "a type that is none of ours");
    }

    #[test]
    fn a_rule_that_cannot_be_read_is_named() {
        assert!(Rule::parse("process (").unwrap_err().starts_with("`process (` is no regular expression"));
    }
}
