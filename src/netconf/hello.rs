//! The first message of each peer (RFC 6241 section 8.1).
//!
//! Knows what a hello says, not when it is due.

use std::fmt::Write as _;

use bytes::Bytes;

use super::text::{escape_into, quote};
use super::xml::{Parsed, Scanner, Token};
use crate::northbound::SessionId;

pub(super) const BASE: &str = "urn:ietf:params:xml:ns:netconf:base:1.0";

/// A client's hello may not be larger than this, whatever the limit of later messages.
pub const HELLO_BYTES_MAX: usize = 1024 * 1024;

/// Why a hello is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HelloFault {
    #[error("{0}")]
    Unreadable(String),
    #[error("the first message is <{found}>, not <hello> of {BASE}")]
    NotHello { found: String },
    #[error("a client's hello must not carry a session-id")]
    SessionIdInside,
    #[error("<{found}> has no place in a hello")]
    UnknownElement { found: String },
    #[error("no base version in common; the client says {said} capabilities")]
    NoCommonVersion { said: usize },
}

/// What the agent says first.
pub fn compose(session: SessionId, capabilities: &[String]) -> Bytes {
    let mut out = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><hello xmlns=\"{BASE}\"><capabilities>");
    for capability in capabilities {
        out.push_str("<capability>");
        escape_into(&mut out, capability);
        out.push_str("</capability>");
    }
    // Writing to a string cannot fail.
    let _ = write!(out, "</capabilities><session-id>{session}</session-id></hello>");
    out.into()
}

/// The capabilities that a client's hello lists.
pub fn parse(message: &[u8]) -> Result<Vec<String>, HelloFault> {
    let unreadable = |refusal: Box<crate::northbound::Refusal>| HelloFault::Unreadable(refusal.message);
    let mut scanner = Scanner::new(message).map_err(unreadable)?;
    let root = match scanner.next().map_err(unreadable)? {
        Token::Open(tag) => tag,
        _ => return Err(HelloFault::Unreadable("the message holds no element".to_owned())),
    };
    if root.name != "hello" || root.namespace.as_deref() != Some(BASE) {
        return Err(HelloFault::NotHello { found: quote(root.name).into_owned() });
    }
    let mut capabilities = Vec::new();
    let mut text = None;
    loop {
        match scanner.next().map_err(unreadable)? {
            Token::Open(tag) => {
                let ours = tag.namespace.as_deref() == Some(BASE);
                match (scanner.depth(), tag.name) {
                    (2, "capabilities") if ours => {}
                    (3, "capability") if ours => text = Some(String::new()),
                    (2, "session-id") if ours => return Err(HelloFault::SessionIdInside),
                    _ if ours => {
                        return Err(HelloFault::UnknownElement { found: quote(tag.name).into_owned() });
                    }
                    // What other namespaces add to hello is theirs.
                    _ => skip(&mut scanner).map_err(unreadable)?,
                }
            }
            Token::Text(piece) => {
                if let Some(text) = &mut text {
                    text.push_str(&piece);
                }
            }
            Token::Close => capabilities.extend(text.take().map(|text| text.trim().to_owned())),
            Token::End => return Ok(capabilities),
        }
    }
}

fn skip(scanner: &mut Scanner<'_>) -> Parsed<()> {
    let depth = scanner.depth();
    while scanner.depth() >= depth {
        scanner.next()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read_whatever_the_prefix() {
        let found = parse(
            b"\n<?xml version='1.0' encoding='utf-8'?><!-- me --><nc:hello xmlns:nc=\"urn:ietf:params:xml:ns:netconf:base:1.0\">
              <nc:capabilities> <nc:capability>\n urn:a?x=1&amp;y=2 </nc:capability><nc:capability>urn:b</nc:capability>
              </nc:capabilities><more xmlns=\"urn:other\"><deep/></more></nc:hello>\n",
        );
        assert_eq!(found, Ok(vec!["urn:a?x=1&y=2".to_owned(), "urn:b".to_owned()]));
    }

    #[test]
    fn what_is_not_a_clients_hello_is_refused() {
        let hello = |inside: &str| parse(format!("<hello xmlns=\"{BASE}\">{inside}</hello>").as_bytes()).unwrap_err();
        assert_eq!(hello("<session-id>4</session-id>"), HelloFault::SessionIdInside);
        assert_eq!(hello("<wrong/>"), HelloFault::UnknownElement { found: "wrong".to_owned() });
        assert_eq!(parse(b"<hello/>"), Err(HelloFault::NotHello { found: "hello".to_owned() }));
        assert!(matches!(parse(b"<hello>"), Err(HelloFault::NotHello { .. })));
        assert!(matches!(parse(b"SSH-2.0"), Err(HelloFault::Unreadable(_))));
        assert!(matches!(parse(b""), Err(HelloFault::Unreadable(_))));
    }

    #[test]
    fn our_hello_is_one_that_we_can_read() {
        let ours = compose(SessionId(7), &["urn:a?x=1&y=2".to_owned()]);
        insta::assert_snapshot!(String::from_utf8_lossy(&ours), @r#"<?xml version="1.0" encoding="UTF-8"?><hello xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><capabilities><capability>urn:a?x=1&amp;y=2</capability></capabilities><session-id>7</session-id></hello>"#);
        assert_eq!(parse(&ours), Err(HelloFault::SessionIdInside));
    }
}
