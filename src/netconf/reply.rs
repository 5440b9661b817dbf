//! An answer as the bytes of an `<rpc-reply>` (RFC 6241 section 4.2), framed, into the outbox.
//!
//! Must not know: what was asked.

use bytes::Bytes;

use super::error::{self, Namespaces};
use super::framing::{self, Framing};
use super::layout::{self, Layout};
use super::outbox::Outbox;
use super::rpc::Echo;
use super::text::escape_into;
use crate::northbound::{Refusal, Response};

/// A body up to this size is copied behind its head.
const COPIED_BYTES_MAX: usize = 4 * 1024;

const BASE_AS_DEFAULT: &str = " xmlns=\"urn:ietf:params:xml:ns:netconf:base:1.0\"";

/// How a session writes its replies.
pub(super) struct Style<'s> {
    pub(super) framing: Framing,
    pub(super) layout: Layout,
    pub(super) names: &'s dyn Namespaces,
}

pub(super) fn write(outbox: &mut Outbox, style: &Style<'_>, echo: &Echo, answer: Result<Response, &[Refusal]>) {
    let mut head = String::with_capacity(echo.attributes.len() + 64);
    // What is within declares the default namespace where the reply itself has it for something else.
    let (prefix, colon, own) = match &echo.prefix {
        Some(prefix) => (prefix.as_str(), ":", BASE_AS_DEFAULT),
        None => ("", "", ""),
    };
    for piece in ["<", prefix, colon, "rpc-reply", &echo.attributes, ">"] {
        head.push_str(piece);
    }
    let (body, tail) = match answer {
        Ok(Response::Ok) => {
            head.push_str("<ok");
            head.push_str(own);
            head.push_str("/>");
            (Bytes::new(), "</rpc-reply>")
        }
        Ok(Response::Data(children)) => {
            head.push_str("<data");
            head.push_str(own);
            head.push('>');
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
                let begin = head.len() + "<rpc-error".len();
                error::write(&mut head, refusal, style.names, style.framing == Framing::Chunked);
                head.insert_str(begin, own);
            }
            (Bytes::new(), "</rpc-reply>")
        }
    };
    let tail = match prefix {
        "" => Bytes::from_static(tail.as_bytes()),
        prefix => tail.replace("</rpc-reply", &format!("</{prefix}:rpc-reply")).into(),
    };
    send(outbox, style, head, body, tail);
}

/// One message: `head`, `body` and `tail` make up a whole element.
pub(super) fn send(outbox: &mut Outbox, style: &Style<'_>, mut head: String, body: Bytes, tail: Bytes) {
    let put = |piece| outbox.push(piece);
    match style.layout {
        // One chunk for what is small; what is large is not copied.
        Layout::Compact if body.len() <= COPIED_BYTES_MAX => {
            let mut whole = head.into_bytes();
            whole.extend_from_slice(&body);
            whole.extend_from_slice(&tail);
            framing::encode(style.framing, [whole.into()], put);
        }
        Layout::Compact => framing::encode(style.framing, [head.into(), body, tail], put),
        Layout::Indented => {
            head.push_str(&String::from_utf8_lossy(&body));
            head.push_str(&String::from_utf8_lossy(&tail));
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
        let attributes = format!("{BASE_AS_DEFAULT} message-id=\"101\"");
        told(framing, layout, &Echo { attributes, prefix: None }, answer)
    }

    fn told(framing: Framing, layout: Layout, echo: &Echo, answer: Result<Response, &[Refusal]>) -> String {
        let mut outbox = Outbox::default();
        write(&mut outbox, &Style { framing, layout, names: &BaseNamespaces }, echo, answer);
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
        insta::assert_snapshot!(written(Framing::EndOfMessage, Layout::Compact, Ok(Response::Ok)), @r#"<rpc-reply xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="101"><ok/></rpc-reply>]]>]]>"#);
        let data = Response::Data("<a xmlns=\"urn:a\"/>".into());
        insta::assert_snapshot!(written(Framing::Chunked, Layout::Compact, Ok(data)), @r##"

        #119
        <rpc-reply xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="101"><data><a xmlns="urn:a"/></data></rpc-reply>
        ##
        "##);
        insta::assert_snapshot!(written(Framing::EndOfMessage, Layout::Compact, Ok(Response::Schema("module a { // <b>\n}".to_owned()))), @r#"
        <rpc-reply xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="101"><data xmlns="urn:ietf:params:xml:ns:yang:ietf-netconf-monitoring">module a { // &lt;b&gt;
        }</data></rpc-reply>]]>]]>
        "#);
        let refusals = [Refusal::new(Kind::DataMissing, "one"), Refusal::new(Kind::DataExists, "two")];
        insta::assert_snapshot!(written(Framing::EndOfMessage, Layout::Compact, Err(&refusals)), @r#"<rpc-reply xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="101"><rpc-error><error-type>application</error-type><error-tag>data-missing</error-tag><error-severity>error</error-severity><error-message xml:lang="en">one</error-message></rpc-error><rpc-error><error-type>application</error-type><error-tag>data-exists</error-tag><error-severity>error</error-severity><error-message xml:lang="en">two</error-message></rpc-error></rpc-reply>]]>]]>"#);
    }

    #[test]
    fn a_reply_has_the_prefix_of_its_rpc_where_the_default_namespace_is_another() {
        let attributes = format!(" xmlns=\"urn:other\" xmlns:nc=\"{}\"", crate::netconf::hello::BASE);
        let echo = Echo { attributes, prefix: Some("nc".to_owned()) };
        let refusals = [Refusal::new(Kind::DataMissing, "one")];
        let answers = [
            Ok(Response::Ok),
            Ok(Response::Data("<a xmlns=\"urn:a\"/>".into())),
            Ok(Response::Output("<a xmlns=\"urn:a\"/>".into())),
            Err(&refusals[..]),
        ];
        let all: Vec<String> = answers
            .into_iter()
            .map(|answer| told(Framing::EndOfMessage, Layout::Compact, &echo, answer))
            .map(|reply| reply.replace(&echo.attributes, "").replace(BASE_AS_DEFAULT, " xmlns=BASE"))
            .collect();
        insta::assert_snapshot!(all.join("\n"), @r#"
        <nc:rpc-reply><ok xmlns=BASE/></nc:rpc-reply>]]>]]>
        <nc:rpc-reply><data xmlns=BASE><a xmlns="urn:a"/></data></nc:rpc-reply>]]>]]>
        <nc:rpc-reply><a xmlns="urn:a"/></nc:rpc-reply>]]>]]>
        <nc:rpc-reply><rpc-error xmlns=BASE><error-type>application</error-type><error-tag>data-missing</error-tag><error-severity>error</error-severity><error-message xml:lang="en">one</error-message></rpc-error></nc:rpc-reply>]]>]]>
        "#);
    }

    #[test]
    fn a_large_body_is_a_chunk_of_its_own() {
        let text = "x".repeat(COPIED_BYTES_MAX + 1);
        let reply = written(Framing::Chunked, Layout::Compact, Ok(Response::Output(text.clone().into())));
        assert!(reply.contains(&format!("message-id=\"101\">\n#4097\n{text}\n#12\n</rpc-reply>\n##\n")));
    }

    #[test]
    fn an_indented_reply_keeps_the_text_contract() {
        let data = "<system-monitoring xmlns=\"urn:w\"><cpu><name>0/RP0/CPU0</name></cpu></system-monitoring>";
        let text = written(Framing::EndOfMessage, Layout::Indented, Ok(Response::Data(data.into())));
        insta::assert_snapshot!(text, @r#"
        <rpc-reply xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="101">
         <data>
          <system-monitoring xmlns="urn:w">
           <cpu>
            <name>0/RP0/CPU0</name>
           </cpu>
          </system-monitoring>
         </data>
        </rpc-reply>
        ]]>]]>
        "#);
        // The sample scripts' own steps: line breaks to spaces, then `<data>\s+(<TAG.*</TAG>).*</data>`.
        let line = text.replace('\n', " ");
        let after = line.split_once("<data>").unwrap().1;
        assert!(after.starts_with(char::is_whitespace) && after.trim_start().starts_with("<system-monitoring"));
        assert!(line.contains("</system-monitoring>") && line.contains("</data>"));
    }

    #[test]
    fn indented_ok_and_empty_data_keep_it_too() {
        insta::assert_snapshot!(written(Framing::EndOfMessage, Layout::Indented, Ok(Response::Ok)), @r#"
        <rpc-reply xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="101">
         <ok/>
        </rpc-reply>
        ]]>]]>
        "#);
        insta::assert_snapshot!(written(Framing::EndOfMessage, Layout::Indented, Ok(Response::Data(Bytes::new()))), @r#"
        <rpc-reply xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="101">
         <data>
         </data>
        </rpc-reply>
        ]]>]]>
        "#);
    }
}
