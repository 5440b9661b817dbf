//! The one place where a [`Refusal`] becomes an `<rpc-error>` (RFC 6241 section 4.3 and appendix A).
//!
//! Must not know: who refused, or why.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::path::{self, Located};
use super::text::escape_into;
use crate::northbound::refusal::{Detail, Layer};
use crate::northbound::{Kind, Refusal};

/// The namespace of what RFC 7950 adds to error-info.
const YANG: &str = "urn:ietf:params:xml:ns:yang:1";

/// Tells what a module's name stands for in XML. Asked for error paths.
pub trait Namespaces: Send + Sync {
    /// The namespace of a module and the prefix it gives itself.
    fn of_module(&self, module: &str) -> Option<(String, String)>;
}

/// Knows the modules of NETCONF itself only.
#[derive(Debug, Clone, Copy, Default)]
pub struct BaseNamespaces;

impl Namespaces for BaseNamespaces {
    fn of_module(&self, module: &str) -> Option<(String, String)> {
        (module == "ietf-netconf").then(|| (super::hello::BASE.to_owned(), "nc".to_owned()))
    }
}

/// Appends one `<rpc-error>`. `base_1_1` tells whether the peers agreed on it: malformed-message must not be said to
/// older clients.
pub fn write(out: &mut String, refusal: &Refusal, names: &dyn Namespaces, base_1_1: bool) {
    out.push_str("<rpc-error>");
    leaf(out, "error-type", layer(refusal.layer));
    leaf(out, "error-tag", tag(&refusal.kind, base_1_1));
    leaf(out, "error-severity", "error");
    if let Some(app_tag) = &refusal.app_tag {
        leaf(out, "error-app-tag", app_tag);
    }
    if let Some(located) = refusal.path.as_deref().and_then(|path| path::to_xpath(path, names)) {
        write_located(out, "error-path", None, &located);
    }
    out.push_str("<error-message xml:lang=\"en\">");
    escape_into(out, &refusal.to_string());
    out.push_str("</error-message>");
    write_info(out, refusal, names);
    out.push_str("</rpc-error>");
}

fn layer(layer: Layer) -> &'static str {
    match layer {
        Layer::Transport => "transport",
        Layer::Rpc => "rpc",
        Layer::Protocol => "protocol",
        Layer::Application => "application",
    }
}

fn tag(kind: &Kind, base_1_1: bool) -> &'static str {
    match kind {
        Kind::InUse => "in-use",
        Kind::InvalidValue => "invalid-value",
        Kind::TooBig => "too-big",
        Kind::MissingAttribute { .. } => "missing-attribute",
        Kind::BadAttribute { .. } => "bad-attribute",
        Kind::UnknownAttribute { .. } => "unknown-attribute",
        Kind::MissingElement { .. } => "missing-element",
        Kind::BadElement { .. } => "bad-element",
        Kind::UnknownElement { .. } => "unknown-element",
        Kind::UnknownNamespace { .. } => "unknown-namespace",
        Kind::AccessDenied => "access-denied",
        Kind::LockDenied { .. } => "lock-denied",
        Kind::ResourceDenied => "resource-denied",
        Kind::RollbackFailed => "rollback-failed",
        Kind::DataExists => "data-exists",
        Kind::DataMissing => "data-missing",
        Kind::OperationNotSupported => "operation-not-supported",
        Kind::MalformedMessage if base_1_1 => "malformed-message",
        Kind::OperationFailed | Kind::MalformedMessage => "operation-failed",
    }
}

fn write_info(out: &mut String, refusal: &Refusal, names: &dyn Namespaces) {
    let begin = out.len();
    out.push_str("<error-info>");
    let empty = out.len();
    for (name, value) in base_info(&refusal.kind) {
        leaf(out, name, &value);
    }
    for detail in &refusal.details {
        write_detail(out, detail, names);
    }
    if out.len() == empty {
        out.truncate(begin);
    } else {
        out.push_str("</error-info>");
    }
}

/// What RFC 6241 appendix A wants to be told, by tag.
fn base_info(kind: &Kind) -> Vec<(&'static str, Cow<'_, str>)> {
    match kind {
        Kind::MissingAttribute { element, attribute }
        | Kind::BadAttribute { element, attribute }
        | Kind::UnknownAttribute { element, attribute } => {
            vec![("bad-attribute", attribute.into()), ("bad-element", element.into())]
        }
        Kind::MissingElement { element } | Kind::BadElement { element } | Kind::UnknownElement { element } => {
            vec![("bad-element", element.into())]
        }
        Kind::UnknownNamespace { element, namespace } => {
            vec![("bad-element", element.into()), ("bad-namespace", namespace.into())]
        }
        Kind::LockDenied { holder } => vec![("session-id", holder.to_string().into())],
        Kind::InUse
        | Kind::InvalidValue
        | Kind::TooBig
        | Kind::AccessDenied
        | Kind::ResourceDenied
        | Kind::RollbackFailed
        | Kind::DataExists
        | Kind::DataMissing
        | Kind::OperationNotSupported
        | Kind::OperationFailed
        | Kind::MalformedMessage => Vec::new(),
    }
}

/// RFC 7950 section 15.
fn write_detail(out: &mut String, detail: &Detail, names: &dyn Namespaces) {
    match detail {
        Detail::NonUnique(path) => {
            if let Some(located) = path::to_xpath(path, names) {
                write_located(out, "non-unique", Some(YANG), &located);
            }
        }
        Detail::MissingChoice(choice) => {
            // Writing to a string cannot fail.
            let _ = write!(out, "<missing-choice xmlns=\"{YANG}\">");
            escape_into(out, choice);
            out.push_str("</missing-choice>");
        }
    }
}

/// An element that holds a path, with the prefixes that the path needs.
fn write_located(out: &mut String, element: &str, namespace: Option<&str>, located: &Located) {
    let own = namespace.map(|namespace| ("xmlns".to_owned(), namespace));
    let prefixes =
        located.declarations.iter().map(|(prefix, namespace)| (format!("xmlns:{prefix}"), namespace.as_str()));
    // Writing to a string cannot fail.
    let _ = write!(out, "<{element}");
    for (attribute, namespace) in own.into_iter().chain(prefixes) {
        let _ = write!(out, " {attribute}=\"");
        escape_into(out, namespace);
        out.push('"');
    }
    out.push('>');
    escape_into(out, &located.xpath);
    let _ = write!(out, "</{element}>");
}

fn leaf(out: &mut String, name: &str, value: &str) {
    // Writing to a string cannot fail.
    let _ = write!(out, "<{name}>");
    escape_into(out, value);
    let _ = write!(out, "</{name}>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::northbound::SessionId;

    fn written(refusal: &Refusal) -> String {
        let mut out = String::new();
        write(&mut out, refusal, &BaseNamespaces, true);
        out
    }

    /// Tag and error-info: what is left when the parts that every error has are taken away.
    fn tag_and_info(kind: Kind) -> String {
        let text = written(&Refusal::new(kind, "no"));
        let text = text.strip_prefix("<rpc-error><error-type>application</error-type><error-tag>").unwrap();
        let (tag, rest) = text.split_once("</error-tag><error-severity>error</error-severity>").unwrap();
        let info = rest.strip_prefix("<error-message xml:lang=\"en\">no</error-message>").unwrap();
        format!("{tag} {}", info.strip_suffix("</rpc-error>").unwrap()).trim_end().to_owned()
    }

    #[test]
    fn every_kind_has_its_tag_and_info() {
        let (element, attribute, namespace) = ("e".to_owned(), "a".to_owned(), "urn:<n>".to_owned());
        let kinds = [
            Kind::InUse,
            Kind::InvalidValue,
            Kind::TooBig,
            Kind::MissingAttribute { element: element.clone(), attribute: attribute.clone() },
            Kind::BadAttribute { element: element.clone(), attribute: attribute.clone() },
            Kind::UnknownAttribute { element: element.clone(), attribute },
            Kind::MissingElement { element: element.clone() },
            Kind::BadElement { element: element.clone() },
            Kind::UnknownElement { element: element.clone() },
            Kind::UnknownNamespace { element, namespace },
            Kind::AccessDenied,
            Kind::LockDenied { holder: SessionId(0) },
            Kind::LockDenied { holder: SessionId(454) },
            Kind::ResourceDenied,
            Kind::RollbackFailed,
            Kind::DataExists,
            Kind::DataMissing,
            Kind::OperationNotSupported,
            Kind::OperationFailed,
            Kind::MalformedMessage,
        ];
        let lines: Vec<String> = kinds.into_iter().map(tag_and_info).collect();
        insta::assert_snapshot!(lines.join("\n"), @r#"
        in-use
        invalid-value
        too-big
        missing-attribute <error-info><bad-attribute>a</bad-attribute><bad-element>e</bad-element></error-info>
        bad-attribute <error-info><bad-attribute>a</bad-attribute><bad-element>e</bad-element></error-info>
        unknown-attribute <error-info><bad-attribute>a</bad-attribute><bad-element>e</bad-element></error-info>
        missing-element <error-info><bad-element>e</bad-element></error-info>
        bad-element <error-info><bad-element>e</bad-element></error-info>
        unknown-element <error-info><bad-element>e</bad-element></error-info>
        unknown-namespace <error-info><bad-element>e</bad-element><bad-namespace>urn:&lt;n&gt;</bad-namespace></error-info>
        access-denied
        lock-denied <error-info><session-id>0</session-id></error-info>
        lock-denied <error-info><session-id>454</session-id></error-info>
        resource-denied
        rollback-failed
        data-exists
        data-missing
        operation-not-supported
        operation-failed
        malformed-message
        "#);
    }

    #[test]
    fn all_parts_come_in_the_order_of_the_rfc() {
        let refusal = Refusal::new(Kind::InvalidValue, "`x<y` is no \"value\"")
            .at_layer(Layer::Protocol)
            .mend("write y > x")
            .at("/ietf-netconf:rpc/edit-config[a='<&>']/target")
            .tagged("too-<few>");
        insta::assert_snapshot!(written(&refusal), @r#"<rpc-error><error-type>protocol</error-type><error-tag>invalid-value</error-tag><error-severity>error</error-severity><error-app-tag>too-&lt;few&gt;</error-app-tag><error-path xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0">/nc:rpc/nc:edit-config[nc:a='&lt;&amp;&gt;']/nc:target</error-path><error-message xml:lang="en">`x&lt;y` is no &quot;value&quot;; write y &gt; x</error-message></rpc-error>"#);
    }

    #[test]
    fn leaves_that_are_not_unique_and_missing_choices_are_named() {
        let details = vec![
            Detail::NonUnique("/ietf-netconf:rpc[a='1']/b".to_owned()),
            Detail::NonUnique("/ietf-netconf:rpc[a='2']/b".to_owned()),
            Detail::NonUnique("/unheard-of:rpc".to_owned()),
            Detail::MissingChoice("way".to_owned()),
        ];
        let text = written(&Refusal::new(Kind::OperationFailed, "no").detailed(details));
        let info = text.split_once("<error-info>").unwrap().1.replace("</", "\n</");
        insta::assert_snapshot!(info, @r#"
        <non-unique xmlns="urn:ietf:params:xml:ns:yang:1" xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0">/nc:rpc[nc:a='1']/nc:b
        </non-unique><non-unique xmlns="urn:ietf:params:xml:ns:yang:1" xmlns:nc="urn:ietf:params:xml:ns:netconf:base:1.0">/nc:rpc[nc:a='2']/nc:b
        </non-unique><missing-choice xmlns="urn:ietf:params:xml:ns:yang:1">way
        </missing-choice>
        </error-info>
        </rpc-error>
        "#);
    }

    #[test]
    fn what_xml_cannot_hold_is_replaced() {
        let text = written(&Refusal::new(Kind::OperationFailed, "bell \u{7} and nul \0"));
        assert!(text.contains("bell \u{fffd} and nul \u{fffd}"), "{text}");
    }

    #[test]
    fn an_old_client_is_not_told_malformed_message() {
        let mut out = String::new();
        write(&mut out, &Refusal::new(Kind::MalformedMessage, "no"), &BaseNamespaces, false);
        assert!(out.contains("<error-tag>operation-failed</error-tag>"), "{out}");
    }
}
