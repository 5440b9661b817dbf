//! An answer as the bytes of an `<rpc-reply>` (RFC 6241 section 4.2), framed, into the outbox.
//!
//! Must not know: what was asked.

use bytes::Bytes;

use super::error::{self, Namespaces};
use super::framing::{self, Framing};
use super::layout::{self, Layout};
use super::outbox::Outbox;
use super::rpc::Echo;
use super::xml::escape_into;
use crate::northbound::{Refusal, Response};

/// How a session writes its replies.
pub(super) struct Style<'s> {
    pub(super) framing: Framing,
    pub(super) layout: Layout,
    pub(super) names: &'s dyn Namespaces,
}

pub(super) fn write(outbox: &mut Outbox, style: &Style<'_>, echo: &Echo, answer: Result<Response, &[Refusal]>) {
    let mut head = String::with_capacity(echo.0.len() + 64);
    head.push_str("<rpc-reply");
    head.push_str(&echo.0);
    head.push('>');
    let (body, tail) = match answer {
        Ok(Response::Ok) => {
            head.push_str("<ok/>");
            (Bytes::new(), "</rpc-reply>")
        }
        Ok(Response::Data(children)) => {
            head.push_str("<data>");
            (children, "</data></rpc-reply>")
        }
        Ok(Response::Output(children)) => (children, "</rpc-reply>"),
        Ok(Response::Schema(text)) => {
            head.push_str("<data xmlns=\"urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring\">");
            escape_into(&mut head, &text);
            (Bytes::new(), "</data></rpc-reply>")
        }
        Err(refusals) => {
            for refusal in refusals {
                error::write(&mut head, refusal, style.names, style.framing == Framing::Chunked);
            }
            (Bytes::new(), "</rpc-reply>")
        }
    };
    send(outbox, style, head, body, tail);
}

fn send(outbox: &mut Outbox, style: &Style<'_>, mut head: String, body: Bytes, tail: &'static str) {
    let put = |piece| outbox.push(piece);
    match style.layout {
        Layout::Compact if body.is_empty() => {
            head.push_str(tail);
            framing::encode(style.framing, [head.into()], put);
        }
        Layout::Compact => {
            framing::encode(style.framing, [head.into(), body, Bytes::from_static(tail.as_bytes())], put)
        }
        Layout::Indented => {
            head.push_str(&String::from_utf8_lossy(&body));
            head.push_str(tail);
            let mut text = layout::indent(&head);
            // White space must follow `<data>` even where nothing is inside.
            if let Some(at) = text.find("<data></data>").filter(|_| body.is_empty()) {
                text.insert_str(at + "<data>".len(), "\n ");
            }
            text.push('\n');
            framing::encode(style.framing, [text.into()], put);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netconf::error::BaseNamespaces;
    use crate::northbound::Kind;

    fn written(framing: Framing, layout: Layout, answer: Result<Response, &[Refusal]>) -> String {
        let mut outbox = Outbox::default();
        let echo = Echo(" xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\" message-id=\"101\"".to_owned());
        write(&mut outbox, &Style { framing, layout, names: &BaseNamespaces }, &echo, answer);
        let mut out = Vec::new();
        while !outbox.is_empty() {
            let front = outbox.front().to_vec();
            outbox.advance(front.len());
            out.extend(front);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn replies_are_framed_as_agreed() {
        insta::assert_snapshot!(written(Framing::EndOfMessage, Layout::Compact, Ok(Response::Ok)), @"");
        insta::assert_snapshot!(written(Framing::Chunked, Layout::Compact, Ok(Response::Data("<a xmlns=\"urn:a\"/>".into()))), @"");
        insta::assert_snapshot!(written(Framing::EndOfMessage, Layout::Compact, Ok(Response::Schema("module a { // <b>\n}".to_owned()))), @"");
        let refusals = [Refusal::new(Kind::DataMissing, "one"), Refusal::new(Kind::DataExists, "two")];
        insta::assert_snapshot!(written(Framing::EndOfMessage, Layout::Compact, Err(&refusals)), @"");
    }

    #[test]
    fn an_indented_reply_keeps_the_text_contract() {
        let data = "<system-monitoring xmlns=\"urn:w\"><cpu><name>0/RP0/CPU0</name></cpu></system-monitoring>";
        let text = written(Framing::EndOfMessage, Layout::Indented, Ok(Response::Data(data.into())));
        insta::assert_snapshot!(text, @"");
        // The sample scripts' own steps: line breaks to spaces, then `<data>\s+(<TAG.*</TAG>).*</data>`.
        let line = text.replace('\n', " ");
        let after = line.split_once("<data>").unwrap().1;
        assert!(after.starts_with(char::is_whitespace) && after.trim_start().starts_with("<system-monitoring"));
        assert!(line.contains("</system-monitoring>") && line.contains("</data>"));
    }

    #[test]
    fn indented_ok_and_empty_data_keep_it_too() {
        insta::assert_snapshot!(written(Framing::EndOfMessage, Layout::Indented, Ok(Response::Ok)), @"");
        insta::assert_snapshot!(written(Framing::EndOfMessage, Layout::Indented, Ok(Response::Data(Bytes::new()))), @"");
    }
}
