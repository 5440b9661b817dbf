//! A NETCONF client over any stream: hello, one rpc at a time, replies as elements.

use std::fmt;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::netconf::framing::{Decoder, Framing, encode};
use crate::yang::xml::{self, XmlElement};

/// A reply is the agent's own: as large as its data.
const REPLY_BYTES_MAX: usize = 1 << 30;
const READ_BYTES: usize = 64 * 1024;

const HELLO: &str = r#"<hello xmlns="urn:ietf:params:xml:ns:netconf:base:1.0"><capabilities><capability>urn:ietf:params:netconf:base:1.1</capability></capabilities></hello>"#;

#[derive(Debug, thiserror::Error)]
pub(super) enum AskError {
    /// The session is over: the agent ended, or somebody killed it.
    #[error("the session with the agent is over: {0}")]
    Gone(String),
    #[error("{}", said(.0))]
    Refused(Vec<RpcError>),
}

/// An rpc-error, as far as people are told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct RpcError {
    pub(super) tag: String,
    pub(super) message: String,
    pub(super) path: Option<String>,
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = if self.message.is_empty() { &self.tag } else { &self.message };
        f.write_str(message)
    }
}

fn said(errors: &[RpcError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n% ")
}

/// The children of `<rpc-reply>`, or of `<data>` where there is one.
pub(super) type Reply = Vec<XmlElement>;

pub(super) struct Client<S> {
    stream: S,
    decoder: Decoder,
    left: Vec<u8>,
    asked: u64,
    pub(super) session: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Says hello and hears it.
    pub(super) async fn open(stream: S) -> Result<Self, AskError> {
        let mut client =
            Self { stream, decoder: Decoder::new(REPLY_BYTES_MAX), left: Vec::new(), asked: 0, session: 0 };
        client.send(Framing::EndOfMessage, HELLO).await?;
        let hello = client.receive().await?;
        let elements = xml::parse(&hello).map_err(|refusal| AskError::Gone(refusal.message))?;
        let id = elements.first().and_then(|hello| child(hello, "session-id")).map(|id| id.text.trim().parse());
        client.session = id.and_then(Result::ok).ok_or_else(|| AskError::Gone("its hello has no session-id".into()))?;
        client.decoder.switch(Framing::Chunked, REPLY_BYTES_MAX);
        Ok(client)
    }

    /// Asks one operation, as XML.
    pub(super) async fn ask(&mut self, operation: &str) -> Result<Reply, AskError> {
        self.asked += 1;
        let rpc = format!(
            r#"<rpc xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="{}">{operation}</rpc>"#,
            self.asked
        );
        self.send(Framing::Chunked, &rpc).await?;
        let message = self.receive().await?;
        let mut elements = xml::parse(&message).map_err(|refusal| AskError::Gone(refusal.message))?;
        let reply = elements.pop().ok_or_else(|| AskError::Gone("an empty reply came".to_owned()))?;
        let errors: Vec<RpcError> =
            reply.children.iter().filter(|child| &*child.name == "rpc-error").map(rpc_error).collect();
        if !errors.is_empty() {
            return Err(AskError::Refused(errors));
        }
        let mut children = reply.children;
        if let [data] = children.as_mut_slice()
            && &*data.name == "data"
        {
            return Ok(std::mem::take(&mut data.children));
        }
        Ok(children)
    }

    async fn send(&mut self, framing: Framing, message: &str) -> Result<(), AskError> {
        let mut framed = Vec::with_capacity(message.len() + 32);
        let parts = [Bytes::copy_from_slice(message.as_bytes())];
        encode(framing, parts, |bytes| framed.extend_from_slice(&bytes));
        let gone = |error: std::io::Error| AskError::Gone(error.to_string());
        self.stream.write_all(&framed).await.map_err(gone)?;
        self.stream.flush().await.map_err(gone)
    }

    async fn receive(&mut self) -> Result<Bytes, AskError> {
        loop {
            let bytes = std::mem::take(&mut self.left);
            let mut input = bytes.as_slice();
            let message = self.decoder.next(&mut input).map_err(|fault| AskError::Gone(fault.to_string()))?;
            self.left = input.to_vec();
            if let Some(message) = message {
                return Ok(message);
            }
            let mut buffer = vec![0; READ_BYTES];
            match self.stream.read(&mut buffer).await {
                Ok(0) => return Err(AskError::Gone("the agent closed it".to_owned())),
                Ok(length) => {
                    buffer.truncate(length);
                    self.left = buffer;
                }
                Err(error) => return Err(AskError::Gone(error.to_string())),
            }
        }
    }
}

pub(super) fn child<'a>(element: &'a XmlElement, name: &str) -> Option<&'a XmlElement> {
    element.children.iter().find(|child| &*child.name == name)
}

fn rpc_error(element: &XmlElement) -> RpcError {
    let text = |name: &str| child(element, name).map(|child| child.text.trim().to_owned());
    RpcError {
        tag: text("error-tag").unwrap_or_default(),
        message: text("error-message").unwrap_or_default(),
        path: text("error-path"),
    }
}
