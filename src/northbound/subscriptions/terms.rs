//! What establish- and modify-subscription ask for, from the input of the rpc, which the schema has seen.

use std::time::Duration;

use jiff::Timestamp;

use super::{MODULE, PUSH_MODULE};
use crate::northbound::filter::{Content, Filter, Selection};
use crate::northbound::{Datastore, Kind, Refusal};
use crate::yang::schema::Schema;
use crate::yang::value::Element;
use crate::yang::xml::{self, XmlElement};

/// A shorter period is refused: whoever wants to hear of everything has on-change.
const PERIOD_MIN: Duration = Duration::from_millis(100);
/// State that says when it changes; all configuration does.
pub(in crate::northbound) const TELLING_ROOTS: [&str; 2] =
    ["/Cisco-IOS-XR-appmgr-oper:appmgr", "/Cisco-IOS-XR-infra-script-mgmt-oper:script"];

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::northbound) struct Terms {
    pub(in crate::northbound) target: Target,
    pub(in crate::northbound) filter: Filtering,
    pub(in crate::northbound) stop: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::northbound) enum Target {
    Stream {
        name: Option<String>,
        start: Option<Timestamp>,
    },
    /// `None` stands for what the datastore operational holds.
    Datastore {
        datastore: Option<Datastore>,
        trigger: Trigger,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::northbound) enum Filtering {
    Everything,
    Given(Filter),
    /// A filter of the configuration.
    Named {
        list: &'static str,
        key: &'static str,
        name: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::northbound) enum Trigger {
    Periodic { period: Duration, anchor: Option<Timestamp> },
    OnChange { dampening: Duration, sync: bool, excluded: Vec<String> },
}

pub(in crate::northbound) fn read(schema: &Schema, input: &Element) -> Result<Terms, Refusal> {
    let time = |leaf: &str| input.text_of(leaf).and_then(|text| text.parse::<Timestamp>().ok());
    let filter = filter_in(schema, input)?;
    let stop = time("stop-time");
    let target = match input.text_of("datastore") {
        None => Target::Stream { name: input.text_of("stream").map(str::to_owned), start: time("replay-start-time") },
        Some(identity) => {
            let datastore = match identity.rsplit(':').next() {
                Some("running") => Some(Datastore::Running),
                Some("candidate") => Some(Datastore::Candidate),
                Some("operational") => None,
                _ => {
                    let message = format!("the datastore {identity} cannot be subscribed to");
                    return Err(Refusal::new(Kind::InvalidValue, message)
                        .mend("subscribe to running or operational")
                        .tagged("ietf-yang-push:datastore-not-subscribable"));
                }
            };
            Target::Datastore { datastore, trigger: trigger(input)? }
        }
    };
    Ok(Terms { target, filter, stop })
}

fn trigger(input: &Element) -> Result<Trigger, Refusal> {
    let centiseconds = |parent: &Element, leaf: &str| {
        let count = parent.text_of(leaf).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
        Duration::from_millis(10 * count)
    };
    if let Some(periodic) = input.child("periodic") {
        let period = centiseconds(periodic, "period");
        if period < PERIOD_MIN {
            let message = format!("a period of {} ms is too short", period.as_millis());
            return Err(Refusal::new(Kind::InvalidValue, message)
                .mend(format!("give {} centiseconds or more, or subscribe on-change", PERIOD_MIN.as_millis() / 10))
                .tagged("ietf-yang-push:period-unsupported"));
        }
        let anchor = periodic.text_of("anchor-time").and_then(|text| text.parse().ok());
        return Ok(Trigger::Periodic { period, anchor });
    }
    let Some(on_change) = input.child("on-change") else {
        let kind = Kind::MissingElement { element: "on-change".to_owned() };
        return Err(Refusal::new(kind, "a subscription to a datastore is either periodic or on-change"));
    };
    let excluded = on_change.children_named("excluded-change").filter_map(|change| change.text.clone());
    Ok(Trigger::OnChange {
        dampening: centiseconds(on_change, "dampening-period"),
        sync: on_change.text_of("sync-on-start") != Some("false"),
        excluded: excluded.collect(),
    })
}

fn filter_in(schema: &Schema, holder: &Element) -> Result<Filtering, Refusal> {
    if let Some(name) = holder.text_of("stream-filter-name") {
        return Ok(Filtering::Named { list: "stream-filter", key: "name", name: name.to_owned() });
    }
    if let Some(name) = holder.text_of("selection-filter-ref") {
        return Ok(Filtering::Named { list: "selection-filter", key: "filter-id", name: name.to_owned() });
    }
    Ok(given(schema, holder)?.map_or(Filtering::Everything, Filtering::Given))
}

/// The filter that stands in `holder` itself: the input of an rpc, or an entry of the configured filters.
pub(in crate::northbound) fn given(schema: &Schema, holder: &Element) -> Result<Option<Filter>, Refusal> {
    for name in ["stream-subtree-filter", "datastore-subtree-filter"] {
        if let Some(filter) = holder.child(name) {
            return subtree(filter.text.as_deref().unwrap_or_default()).map(Some);
        }
    }
    let expression = holder.text_of("stream-xpath-filter").or_else(|| holder.text_of("datastore-xpath-filter"));
    Ok(expression.map(|expression| {
        // The schema has put the names of modules in the place of prefixes.
        let modules = schema.modules();
        let namespaces = modules
            .iter()
            .filter(|module| expression.contains(&format!("{}:", module.name)))
            .map(|module| (module.name.to_owned(), module.namespace.to_owned()));
        Filter::XPath { expression: expression.to_owned(), namespaces: namespaces.collect() }
    }))
}

fn subtree(text: &str) -> Result<Filter, Refusal> {
    let elements = xml::parse(text.as_bytes()).map_err(|refusal| unsupported(refusal.to_string()))?;
    Ok(Filter::Subtree(elements.iter().map(selection).collect()))
}

fn selection(element: &XmlElement) -> Selection {
    let text = element.text.trim();
    let content = match (element.children.is_empty(), text.is_empty()) {
        (false, _) => Content::Within(element.children.iter().map(selection).collect()),
        (true, true) => Content::Selected,
        (true, false) => Content::Match(text.to_owned()),
    };
    let attributes = element.attributes.iter().map(|attribute| {
        let namespace = attribute.namespace.as_deref().map(str::to_owned);
        (namespace, attribute.name.to_string(), attribute.value.clone())
    });
    Selection {
        namespace: element.namespace.as_deref().map(str::to_owned),
        name: element.name.to_string(),
        attributes: attributes.collect(),
        content,
    }
}

pub(in crate::northbound) fn unsupported(message: impl Into<String>) -> Refusal {
    Refusal::new(Kind::InvalidValue, message).tagged(format!("{MODULE}:filter-unsupported"))
}

/// What the schema refuses already, with the reason that RFC 8639 section 2.4.6 has for it.
pub(in crate::northbound) fn with_reason(refusal: Refusal) -> Refusal {
    let path = refusal.path.as_deref().filter(|path| path.starts_with("/ietf-subscribed-notifications:"));
    let reason = match path.and_then(|path| path.rsplit(['/', ':']).next()) {
        Some("encoding") => "encoding-unsupported",
        Some("dscp") => "dscp-unavailable",
        Some("stream-xpath-filter" | "datastore-xpath-filter") => "filter-unsupported",
        _ => return refusal,
    };
    refusal.tagged(format!("{MODULE}:{reason}"))
}

/// Whether all that can be selected says when it changes.
pub(in crate::northbound) fn tells(
    schema: &Schema,
    datastore: Option<Datastore>,
    filter: Option<&Filter>,
) -> Result<(), Refusal> {
    let refuse = |what: &str| {
        let message = format!("changes of {what} are not told");
        Err(Refusal::new(Kind::OperationNotSupported, message)
            .mend(format!("select configuration or below {}, or subscribe periodically", TELLING_ROOTS.join(", ")))
            .tagged(format!("{PUSH_MODULE}:on-change-unsupported")))
    };
    if datastore.is_some() {
        return Ok(());
    }
    let tells = |module: &str, name: &str| {
        let root = format!("/{module}:{name}");
        TELLING_ROOTS.contains(&root.as_str()) || schema.top(module, name).is_some_and(|node| node.is_config())
    };
    match filter {
        None => refuse("everything"),
        Some(Filter::Subtree(selections)) => {
            for selection in selections {
                let module = selection.namespace.as_deref().and_then(|namespace| schema.module_of_namespace(namespace));
                if !module.is_some_and(|module| tells(module.name(), &selection.name)) {
                    return refuse(&selection.name);
                }
            }
            Ok(())
        }
        Some(Filter::XPath { expression, .. }) => {
            let first = expression.strip_prefix('/').unwrap_or_default();
            let end = first.find(|letter: char| !letter.is_ascii_alphanumeric() && !"-_.:".contains(letter));
            match first[..end.unwrap_or(first.len())].split_once(':') {
                Some((module, name)) if !expression.contains('|') && tells(module, name) => Ok(()),
                _ => refuse(expression),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subtree_is_read_with_its_namespaces_and_matches() {
        let text = r#"<top xmlns="urn:a"><name> x </name><all/></top><any xmlns=""/>"#;
        let Filter::Subtree(read) = subtree(text).unwrap() else { panic!("it is a subtree") };
        assert_eq!((read[0].namespace.as_deref(), read[1].namespace.as_deref()), (Some("urn:a"), None));
        let Content::Within(children) = &read[0].content else { panic!("it holds more") };
        assert_eq!(children[0].content, Content::Match("x".to_owned()));
        assert_eq!(children[1].content, Content::Selected);
        assert_eq!(subtree("").unwrap(), Filter::Subtree(Vec::new()));
        assert_eq!(
            subtree("<a>").unwrap_err().app_tag.as_deref(),
            Some("ietf-subscribed-notifications:filter-unsupported")
        );
    }

    #[test]
    fn a_trigger_is_read_and_one_that_is_none_is_refused() {
        let with = |child: Element| Element::node("input", vec![child]);
        let periodic = |period| with(Element::node("periodic", vec![Element::leaf("period", period)]));
        assert_eq!(
            trigger(&periodic(150)).unwrap(),
            Trigger::Periodic { period: Duration::from_millis(1500), anchor: None }
        );
        assert_eq!(trigger(&periodic(9)).unwrap_err().app_tag.as_deref(), Some("ietf-yang-push:period-unsupported"));
        let change = vec![Element::leaf("sync-on-start", false), Element::leaf("excluded-change", "delete")];
        let expected =
            Trigger::OnChange { dampening: Duration::ZERO, sync: false, excluded: vec!["delete".to_owned()] };
        assert_eq!(trigger(&with(Element::node("on-change", change))).unwrap(), expected);
        assert!(trigger(&with(Element::leaf("x", 1))).is_err());
    }
}
