//! Builds the XML-RPC listener, where the settings want one.

use std::path::Path;

use anyhow::Context as _;
use tokio::net::TcpListener;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tracing::info;

use super::custody::{Custody, Left};
use crate::keeper::listeners;
use crate::northbound::handle::Handle;
use crate::settings::{Layout, XmlRpc};
use crate::transport::keys;
use crate::xmlrpc::driver::Listening;
use crate::xmlrpc::tls;

pub(super) fn open(
    layout: &Layout,
    settings: &XmlRpc,
    northbound: Handle,
    custody: &Custody,
    left: &mut Left,
) -> anyhow::Result<Option<Listening>> {
    let Some(address) = settings.listen else { return Ok(None) };
    let folder = layout.keys();
    let key = keys::tls_key(&folder, &settings.key).context("XML-RPC has no key")?;
    let certificates = certificates(&folder.join(&settings.certificate))?;
    let authorities = certificates_of_callers(&folder.join(&settings.authorities))?;
    let tls = tls::config(certificates, key, authorities).context("XML-RPC cannot be served by TLS")?;
    let listener = custody
        .listener(left, listeners::XMLRPC, address)
        .with_context(|| format!("cannot listen for XML-RPC on {address}"))?;
    let listener = TcpListener::from_std(listener)?;
    info!(address = %listener.local_addr()?, "XML-RPC is served");
    let hosts = settings.hosts.iter().map(|host| host.to_lowercase()).collect();
    Ok(Some(Listening { listener, tls, hosts, user: settings.user.clone(), northbound }))
}

fn certificates_of_callers(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    certificates(path).context("without an authority that certifies callers nobody could call")
}

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let found: Vec<_> = read.collect::<Result<_, _>>().with_context(|| format!("{} is not PEM", path.display()))?;
    anyhow::ensure!(!found.is_empty(), "{} holds no certificate in PEM", path.display());
    Ok(found)
}
