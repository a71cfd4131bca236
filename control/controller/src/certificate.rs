//! Who is at the other end of a connection of nodes.
//!
//! With TLS, a node is who its certificate says: one node's certificate must not speak for another
//! node. Without, whoever reaches the endpoint is believed; a unix socket's permissions guard it.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tonic::{Request, Status};
use weir_api::ServerTls;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A URI in a certificate names a node by its last two parts: `spiffe://cluster.local/node/<name>`.
const URI_NODE: &str = "/node/";

/// How often whoever is connected is asked for whether he would still be let in.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Whether nodes must show who they are.
#[derive(Clone, Debug)]
pub struct Gate {
    /// Nodes come over TLS.
    pub tls: Option<Arc<ServerTls>>,
}

/// A certificate chain as it was shown.
type Chain = Arc<Vec<CertificateDer<'static>>>;

/// Who a connection may speak for.
#[derive(Clone, Debug)]
pub enum Peer {
    /// Whoever it says.
    Anyone,
    /// One of the names in its certificate.
    Named(Named),
}

/// Who has shown a certificate.
#[derive(Clone, Debug)]
pub struct Named {
    names: Vec<String>,
    chain: Chain,
    tls: Arc<ServerTls>,
}

impl Gate {
    /// Who sent this request.
    pub fn peer<T>(&self, request: &Request<T>) -> Result<Peer, Status> {
        let Some(tls) = &self.tls else {
            return Ok(Peer::Anyone);
        };
        let certificates = request.peer_certs();
        let own = certificates.as_ref().and_then(|chain| chain.first());
        let names = own.and_then(|certificate| names(certificate));
        match (names, certificates) {
            (Some(names), Some(chain)) => Ok(Peer::Named(Named {
                names,
                chain,
                tls: tls.clone(),
            })),
            _ => Err(Status::unauthenticated(
                "the client has shown no certificate that can be read",
            )),
        }
    }
}

impl Peer {
    /// Completes with the reason when the certificate that it has shown would not let it in any
    /// more: it has expired, or its authority is not trusted any more.
    pub async fn expired(&self) -> String {
        let Self::Named(named) = self else {
            return std::future::pending().await;
        };
        loop {
            tokio::time::sleep(CHECK_INTERVAL).await;
            if let Err(why) = named.tls.verify(&named.chain) {
                return format!("its certificate does not let it in any more: {why}");
            }
        }
    }

    /// Why it may not speak for this node, if it may not.
    pub fn check(&self, node: &str) -> Result<(), String> {
        match self {
            Self::Named(named) if !speaks_for(&named.names, node) => {
                let names = named.names.join(", ");
                Err(format!(
                    "the client calls itself node {node:?}, but its certificate is for {names:?}"
                ))
            }
            _ => Ok(()),
        }
    }
}

fn speaks_for(names: &[String], node: &str) -> bool {
    names.iter().any(|name| name.eq_ignore_ascii_case(node))
}

/// The names that a certificate gives its holder: common name, DNS names, and nodes in URIs.
fn names(der: &[u8]) -> Option<Vec<String>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let common = certificate.subject().iter_common_name();
    let mut names: Vec<String> = common
        .filter_map(|name| name.as_str().ok())
        .map(str::to_owned)
        .collect();
    let alternatives = certificate.subject_alternative_name().ok().flatten();
    let alternatives = alternatives.iter().flat_map(|it| &it.value.general_names);
    names.extend(alternatives.filter_map(|name| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::URI(uri) => {
            let (_, node) = uri.rsplit_once(URI_NODE)?;
            (!node.contains('/')).then(|| node.to_owned())
        }
        _ => None,
    }));
    names.retain(|name| !name.is_empty());
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SanType};

    #[test]
    fn a_certificate_speaks_for_the_names_in_it() {
        let mut params = CertificateParams::new(vec!["node-2.example".to_owned()]).unwrap();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "node-1");
        for uri in [
            "spiffe://cluster.local/node/node-3",
            "spiffe://cluster.local/operator/root",
            "spiffe://cluster.local/node/node-4/x",
        ] {
            let uri = uri.to_owned().try_into().unwrap();
            params.subject_alt_names.push(SanType::URI(uri));
        }
        let certificate = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        let names = names(certificate.der()).unwrap();
        for node in ["node-1", "NODE-2.example", "node-3"] {
            assert!(speaks_for(&names, node), "{node}");
        }
        for node in ["node-2", "node-4", "x", "root", ""] {
            assert!(!speaks_for(&names, node), "{node}");
        }
        assert!(super::names(b"no certificate").is_none());
        assert_eq!(Peer::Anyone.check("node-9"), Ok(()));
    }

    #[test]
    fn without_tls_whoever_reaches_the_endpoint_is_believed() {
        let request = Request::new(());
        let peer = Gate { tls: None }.peer(&request).unwrap();
        assert!(matches!(peer, Peer::Anyone));
    }
}
