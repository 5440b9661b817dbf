//! `<filter>` of get and get-config (RFC 6241 sections 6 and 8.9) from XML to a value.
//!
//! Knows no schema: whether a selection can match anything is for others to find out.

use super::hello::BASE;
use super::parameters::refuse;
use super::text::quote;
use super::xml::{Parsed, Scanner, Tag, Token};
use crate::northbound::Kind;
use crate::northbound::filter::{Content, Filter, Selection};

/// Elements of one subtree filter.
pub const SELECTIONS_MAX: usize = 100_000;

/// Reads the filter element that `tag` has opened, to its end.
pub(super) fn parse<'m>(scanner: &mut Scanner<'m>, tag: &Tag<'m>) -> Parsed<Filter> {
    let (mut kind, mut select) = (None, None);
    for attribute in scanner.attributes_of(tag)? {
        let ours = attribute.namespace.as_deref().is_none_or(|namespace| namespace == BASE);
        match attribute.name {
            "type" if ours => kind = Some(attribute.value),
            "select" if ours => select = Some(attribute.value),
            _ => {
                let kind = Kind::UnknownAttribute {
                    element: "filter".to_owned(),
                    attribute: quote(attribute.name).into_owned(),
                };
                return Err(refuse(kind, "a filter has only the attributes `type` and `select`"));
            }
        }
    }
    match kind.as_deref().map(str::trim) {
        None | Some("subtree") => subtree(scanner, "filter"),
        Some("xpath") => {
            let Some(expression) = select else {
                let kind = Kind::MissingAttribute { element: "filter".to_owned(), attribute: "select".to_owned() };
                return Err(refuse(kind, "an xpath filter needs its expression in the attribute `select`"));
            };
            let namespaces = scanner.in_scope().into_iter().filter(|(prefix, _)| !prefix.is_empty()).collect();
            let mut room = SELECTIONS_MAX;
            if content(scanner, "filter", &mut room)? != Content::Selected {
                return Err(refuse(
                    Kind::BadElement { element: "filter".to_owned() },
                    "an xpath filter has no content; its expression is the attribute `select`",
                ));
            }
            Ok(Filter::XPath { expression: expression.into_owned(), namespaces })
        }
        Some(other) => {
            let kind = Kind::BadAttribute { element: "filter".to_owned(), attribute: "type".to_owned() };
            Err(refuse(kind, format!("filter type `{}` is neither `subtree` nor `xpath`", quote(other))))
        }
    }
}

/// Reads the selections of the element that the walk is in.
pub(super) fn subtree(scanner: &mut Scanner<'_>, element: &str) -> Parsed<Filter> {
    let mut room = SELECTIONS_MAX;
    match content(scanner, element, &mut room)? {
        Content::Within(selections) => Ok(Filter::Subtree(selections)),
        Content::Selected => Ok(Filter::Subtree(Vec::new())),
        Content::Match(_) => Err(mixed(element)),
    }
}

/// Reads to the end of the element that the walk is in. Nesting is bounded by the scanner.
fn content(scanner: &mut Scanner<'_>, element: &str, room: &mut usize) -> Parsed<Content> {
    let mut text = String::new();
    let mut children = Vec::new();
    loop {
        match scanner.next()? {
            Token::Open(tag) => {
                *room = room.checked_sub(1).ok_or_else(|| {
                    refuse(Kind::TooBig, format!("the filter has more than {SELECTIONS_MAX} elements"))
                })?;
                children.push(selection(scanner, &tag, room)?);
            }
            Token::Text(piece) => text.push_str(&piece),
            Token::Close | Token::End => break,
        }
    }
    match (text.trim(), children.is_empty()) {
        ("", true) => Ok(Content::Selected),
        ("", false) => Ok(Content::Within(children)),
        (value, true) => Ok(Content::Match(value.to_owned())),
        (_, false) => Err(mixed(element)),
    }
}

fn selection<'m>(scanner: &mut Scanner<'m>, tag: &Tag<'m>, room: &mut usize) -> Parsed<Selection> {
    let attributes = scanner
        .attributes_of(tag)?
        .into_iter()
        .map(|found| (found.namespace.map(Into::into), found.name.to_owned(), found.value.into_owned()))
        .collect();
    let content = content(scanner, tag.name, room)?;
    Ok(Selection {
        namespace: tag.namespace.as_deref().map(Into::into),
        name: tag.name.to_owned(),
        attributes,
        content,
    })
}

fn mixed(element: &str) -> Box<crate::northbound::Refusal> {
    refuse(
        Kind::BadElement { element: quote(element).into_owned() },
        format!("<{}> in the filter holds both text and elements, or text where elements are due", quote(element)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(xml: &str) -> Parsed<Filter> {
        let mut scanner = Scanner::new(xml.as_bytes()).unwrap();
        let Token::Open(tag) = scanner.next().unwrap() else { panic!("no element") };
        parse(&mut scanner, &tag)
    }

    fn wildcard(name: &str, content: Content) -> Selection {
        Selection { namespace: None, name: name.to_owned(), attributes: Vec::new(), content }
    }

    #[test]
    fn the_kinds_of_nodes_of_section_6_2_are_told_apart() {
        let filter = read(
            "<filter type='subtree'><t:top xmlns:t='urn:t'><users a='1' t:b='x&amp;y'>
               <name> fred &amp; co\n</name><full-name/></users></t:top></filter>",
        );
        let users = Selection {
            attributes: vec![
                (None, "a".to_owned(), "1".to_owned()),
                (Some("urn:t".to_owned()), "b".to_owned(), "x&y".to_owned()),
            ],
            ..wildcard(
                "users",
                Content::Within(vec![
                    wildcard("name", Content::Match("fred & co".to_owned())),
                    wildcard("full-name", Content::Selected),
                ]),
            )
        };
        let top = Selection { namespace: Some("urn:t".to_owned()), ..wildcard("top", Content::Within(vec![users])) };
        assert_eq!(filter, Ok(Filter::Subtree(vec![top])));
    }

    #[test]
    fn an_empty_filter_selects_nothing() {
        assert_eq!(read("<filter/>"), Ok(Filter::Subtree(vec![])));
        assert_eq!(read("<filter> <!-- none --> </filter>"), Ok(Filter::Subtree(vec![])));
    }

    #[test]
    fn xpath_takes_its_prefixes_from_the_scope() {
        let filter = read("<filter xmlns='urn:base' xmlns:t='urn:t' type='xpath' select='/t:top[t:a=&quot;1&quot;]'/>");
        let namespaces = vec![("t".to_owned(), "urn:t".to_owned())];
        assert_eq!(filter, Ok(Filter::XPath { expression: "/t:top[t:a=\"1\"]".to_owned(), namespaces }));
    }

    #[test]
    fn bad_filters_are_named() {
        let kind = |xml| read(xml).unwrap_err().kind;
        assert_eq!(kind("<filter><a>text<b/></a></filter>"), Kind::BadElement { element: "a".to_owned() });
        assert_eq!(kind("<filter>text</filter>"), Kind::BadElement { element: "filter".to_owned() });
        let (element, attribute) = ("filter".to_owned(), "type".to_owned());
        assert_eq!(kind("<filter type='regex'/>"), Kind::BadAttribute { element: element.clone(), attribute });
        let attribute = "select".to_owned();
        assert_eq!(kind("<filter type='xpath'/>"), Kind::MissingAttribute { element: element.clone(), attribute });
        let attribute = "depth".to_owned();
        assert_eq!(kind("<filter depth='1'/>"), Kind::UnknownAttribute { element, attribute });
    }
}
