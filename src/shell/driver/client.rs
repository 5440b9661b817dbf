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
pub(crate) enum AskError {
    /// The session is over: the agent ended, or somebody killed it.
    #[error("the session with the agent is over: {0}")]
    Gone(String),
    #[error("{}", said(.0))]
    Refused(Vec<RpcError>),
    /// The user waits no longer.
    #[error("not waited for any longer; what was asked for may still be done")]
    Interrupted,
}

/// An rpc-error, as far as people are told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RpcError {
    pub(crate) tag: String,
    pub(crate) app_tag: Option<String>,
    pub(crate) message: String,
    pub(crate) path: Option<String>,
}

impl fmt::Display for RpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = if self.message.is_empty() { &self.tag } else { &self.message };
        f.write_str(message)
    }
}

impl RpcError {
    /// Of a commit of best effort: all that the errors before this one do not name is committed.
    pub(crate) fn is_of_the_rest(&self) -> bool {
        self.app_tag.as_deref() == Some("partly-committed")
    }
}

fn said(errors: &[RpcError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n% ")
}

/// The children of `<rpc-reply>`, or of `<data>` where there is one.
pub(crate) type Reply = Vec<XmlElement>;

pub(crate) struct Client<S> {
    stream: S,
    decoder: Decoder,
    left: Vec<u8>,
    asked: u64,
    /// Replies that are still to come.
    awaited: u64,
    pub(crate) session: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    /// Says hello and hears it.
    pub(crate) async fn open(stream: S) -> Result<Self, AskError> {
        let mut client =
            Self { stream, decoder: Decoder::new(REPLY_BYTES_MAX), left: Vec::new(), asked: 0, awaited: 0, session: 0 };
        client.send(Framing::EndOfMessage, HELLO).await?;
        let hello = client.receive().await?;
        let elements = xml::parse(&hello).map_err(|refusal| AskError::Gone(refusal.message))?;
        let id = elements.first().and_then(|hello| child(hello, "session-id")).map(|id| id.text.trim().parse());
        client.session = id.and_then(Result::ok).ok_or_else(|| AskError::Gone("its hello has no session-id".into()))?;
        client.decoder.switch(Framing::Chunked, REPLY_BYTES_MAX);
        Ok(client)
    }

    /// Asks one operation, as XML, and waits for its reply.
    pub(crate) async fn ask(&mut self, operation: &str) -> Result<Reply, AskError> {
        self.begin(operation).await?;
        self.answer().await
    }

    /// Asks one operation; [`Client::answer`] is what comes of it.
    pub(crate) async fn begin(&mut self, operation: &str) -> Result<(), AskError> {
        self.asked += 1;
        let rpc = format!(
            r#"<rpc xmlns="urn:ietf:params:xml:ns:netconf:base:1.0" message-id="{}">{operation}</rpc>"#,
            self.asked
        );
        self.send(Framing::Chunked, &rpc).await?;
        self.awaited += 1;
        Ok(())
    }

    /// The reply to what was asked last. Waiting for it may be given up: it is passed over when it comes.
    pub(crate) async fn answer(&mut self) -> Result<Reply, AskError> {
        let message = self.message().await?;
        read(&message)
    }

    /// The same as it came.
    pub(crate) async fn message(&mut self) -> Result<Bytes, AskError> {
        let mut message = Bytes::new();
        while self.awaited > 0 {
            message = self.receive().await?;
            self.awaited -= 1;
        }
        Ok(message)
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

fn read(message: &[u8]) -> Result<Reply, AskError> {
    let mut elements = xml::parse(message).map_err(|refusal| AskError::Gone(refusal.message))?;
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

pub(crate) fn child<'a>(element: &'a XmlElement, name: &str) -> Option<&'a XmlElement> {
    element.children.iter().find(|child| &*child.name == name)
}

fn rpc_error(element: &XmlElement) -> RpcError {
    let text = |name: &str| child(element, name).map(|child| child.text.trim().to_owned());
    RpcError {
        tag: text("error-tag").unwrap_or_default(),
        app_tag: text("error-app-tag"),
        message: text("error-message").unwrap_or_default(),
        path: text("error-path"),
    }
}
