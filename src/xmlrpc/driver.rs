//! Listens, and asks the northbound on behalf of whoever may call.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method as HttpMethod, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::call::{self, Call};
use super::fault::Fault;
use super::tls;
use super::value::{self, Value};
use crate::northbound::handle::Handle;
use crate::northbound::{self, Caller, Client, Kind, Refusal};

/// A further one waits in the backlog.
const CONNECTIONS_MAX: usize = 32;
/// A declared file may be large, and base64 makes it larger.
const BODY_BYTES_MAX: usize = 48 * 1024 * 1024;
/// What is sent of a declared file.
const FILE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// For a handshake, and for the head of a request.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);
/// For everything of a connection: clients connect anew for each call, or for a few.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(300);
/// After an accept that failed for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub struct Listening {
    pub listener: TcpListener,
    pub tls: Arc<ServerConfig>,
    /// The hosts that may call, in small letters.
    pub hosts: BTreeSet<String>,
    /// Whose rights their calls have.
    pub user: String,
    pub northbound: Handle,
}

/// What all connections share.
struct Common {
    hosts: BTreeSet<String>,
    user: String,
    northbound: Handle,
}

/// Until `stop`.
pub async fn serve(listening: Listening, stop: CancellationToken) {
    let Listening { listener, tls, hosts, user, northbound } = listening;
    let common = Arc::new(Common { hosts, user, northbound });
    let (acceptor, places) = (TlsAcceptor::from(tls), Arc::new(Semaphore::new(CONNECTIONS_MAX)));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = stop.cancelled() => return,
            accepted = accepted => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let (common, acceptor, stop) = (Arc::clone(&common), acceptor.clone(), stop.clone());
                tokio::spawn(async move {
                    let _place = place;
                    let connection = connection(stream, peer, &acceptor, &common);
                    tokio::select! {
                        _ = tokio::time::timeout(CONNECTION_TIME_MAX, connection) => {}
                        () = stop.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                warn!(%error, "an XML-RPC connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, acceptor: &TlsAcceptor, common: &Arc<Common>) {
    let stream = match tokio::time::timeout(HEAD_TIME_MAX, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return info!(%peer, %error, "an XML-RPC caller does not speak TLS with us"),
        Err(_) => return info!(%peer, "an XML-RPC caller has not begun to speak"),
    };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let names = Arc::new(shown.map(tls::names).unwrap_or_default());
    let service = service_fn(|request| {
        let (common, names) = (Arc::clone(common), Arc::clone(&names));
        async move { Ok::<_, Infallible>(answer(request, peer, &names, &common).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        info!(%peer, %error, "an XML-RPC connection ended early");
    }
}

async fn answer(
    request: Request<Incoming>,
    peer: SocketAddr,
    names: &BTreeSet<String>,
    common: &Common,
) -> Response<Full<Bytes>> {
    let method = request.method().clone();
    if method == HttpMethod::POST {
        return match Limited::new(request.into_body(), BODY_BYTES_MAX).collect().await {
            Ok(body) => common.called(&body.to_bytes(), peer, names).await,
            Err(_) => plain(StatusCode::PAYLOAD_TOO_LARGE, "the call is too long or was cut off"),
        };
    }
    let path = percent_encoding::percent_decode_str(request.uri().path()).decode_utf8().map(|path| path.into_owned());
    if !names.iter().any(|name| common.hosts.contains(name)) {
        return plain(StatusCode::FORBIDDEN, "Request not supported from untrusted peer.");
    }
    let Ok(path) = path else { return plain(StatusCode::BAD_REQUEST, "the path is not UTF-8") };
    let caller = common.caller(peer);
    match method {
        HttpMethod::GET => match common.whole_file(&caller, &path).await {
            Ok(content) => file(&path, content),
            Err(refusals) => refused(&refusals),
        },
        HttpMethod::DELETE => match common.northbound.ask(&caller, call::delete_file(&path)).await {
            Ok(_) => plain(StatusCode::OK, ""),
            Err(refusals) => refused(&refusals),
        },
        _ => plain(StatusCode::METHOD_NOT_ALLOWED, "only GET, DELETE and POST are served"),
    }
}

impl Common {
    fn caller(&self, peer: SocketAddr) -> Caller {
        Caller::without_session(self.user.clone(), Client::Tls, format_args!("XML-RPC {peer}"))
    }

    /// Part by part: logs may be large.
    async fn whole_file(&self, caller: &Caller, path: &str) -> Result<Vec<u8>, Vec<Refusal>> {
        let mut content = Vec::new();
        while content.len() <= FILE_BYTES_MAX {
            let part = match self.northbound.ask(caller, call::read_file(path, content.len())).await? {
                northbound::Response::Output(output) => call::content(&output).unwrap_or_default(),
                _ => Vec::new(),
            };
            content.extend_from_slice(&part);
            if part.len() < call::PART_BYTES {
                return Ok(content);
            }
        }
        Err(vec![Refusal::new(Kind::TooBig, format!("`{path}` has more than {FILE_BYTES_MAX} bytes"))])
    }

    async fn called(&self, body: &Bytes, peer: SocketAddr, names: &BTreeSet<String>) -> Response<Full<Bytes>> {
        let outcome = match read(body) {
            Ok(call) => match self.judged(&call, names) {
                Ok(()) => {
                    info!(method = call.method.name(), host = %call.host, %peer, "XML-RPC call");
                    self.carry_out(&call, peer).await
                }
                Err(fault) => Err(fault),
            },
            Err(fault) => Err(fault),
        };
        if let Err(Fault { code, text }) = &outcome {
            warn!(%peer, code, text, "XML-RPC call refused");
        }
        let mut response = Response::new(Full::from(value::answer(&outcome)));
        response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/xml"));
        response
    }

    /// The caller is whom it says it is, by its certificate, and may call at all.
    fn judged(&self, call: &Call, names: &BTreeSet<String>) -> Result<(), Fault> {
        let host = call.host.to_lowercase();
        if !names.contains(&host) {
            return Err(Fault::not_authenticated());
        }
        if self.hosts.contains(&host) { Ok(()) } else { Err(Fault::unconfigured(&call.host)) }
    }

    async fn carry_out(&self, call: &Call, peer: SocketAddr) -> Result<Value, Fault> {
        let caller = self.caller(peer);
        let found = match self.northbound.ask(&caller, call.question()?).await {
            Ok(northbound::Response::Data(data)) => call::states(&data),
            Ok(_) => call::States::new(),
            Err(refusals) => return refusals.first().map_or_else(|| Err(Fault::other("refused")), |it| call.fault(it)),
        };
        let answer = call.answer(&found)?;
        if let Some(order) = call.order(&found)
            && let Err(refusals) = self.northbound.ask(&caller, order).await
            && let Some(refusal) = refusals.first()
        {
            return call.fault(refusal);
        }
        Ok(answer)
    }
}

fn read(body: &Bytes) -> Result<Call, Fault> {
    Call::read(value::read(body)?)
}

fn refused(refusals: &[Refusal]) -> Response<Full<Bytes>> {
    let Some(refusal) = refusals.first() else { return plain(StatusCode::INTERNAL_SERVER_ERROR, "") };
    let status = match (&refusal.kind, refusal.app_tag.as_deref()) {
        (_, Some("file-undeclared")) | (Kind::DataMissing, _) => StatusCode::NOT_FOUND,
        (Kind::AccessDenied, _) => StatusCode::FORBIDDEN,
        (Kind::InvalidValue, _) => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    plain(status, &refusal.to_string())
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text.to_owned()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/plain"));
    response
}

fn file(path: &str, content: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(content));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/octet-stream"));
    let name = path.rsplit('/').next().unwrap_or_default().replace(['"', '\\'], "_");
    if let Ok(disposition) = format!("attachment; filename=\"{name}\"").parse() {
        headers.insert(CONTENT_DISPOSITION, disposition);
    }
    response
}
