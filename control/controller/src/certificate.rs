//! Who is at the other end of a connection of nodes.
//!
//! With TLS, a node is who its certificate says: one node's certificate must not speak for another
//! node. Without, whoever reaches the endpoint is believed; a unix socket's permissions guard it.

use tonic::{Request, Status};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A URI in a certificate names a node by its last two parts: `spiffe://cluster.local/node/<name>`.
const URI_NODE: &str = "/node/";

/// Whether nodes must show who they are.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    /// Nodes come over TLS.
    pub tls: bool,
}

/// Who a connection may speak for.
#[derive(Clone, Debug)]
pub enum Peer {
    /// Whoever it says.
    Anyone,
    /// One of the names in its certificate.
    Named(Vec<String>),
}

impl Gate {
    /// Who sent this request.
    pub fn peer<T>(self, request: &Request<T>) -> Result<Peer, Status> {
        if !self.tls {
            return Ok(Peer::Anyone);
        }
        let certificates = request.peer_certs();
        let own = certificates.as_ref().and_then(|chain| chain.first());
        let names = own.and_then(|certificate| names(certificate));
        names.map(Peer::Named).ok_or_else(|| {
            Status::unauthenticated("the client has shown no certificate that can be read")
        })
    }
}

impl Peer {
    /// Why it may not speak for this node, if it may not.
    pub fn check(&self, node: &str) -> Result<(), String> {
        match self {
            Self::Named(names) if !names.iter().any(|name| name.eq_ignore_ascii_case(node)) => {
                let names = names.join(", ");
                Err(format!(
                    "the client calls itself node {node:?}, but its certificate is for {names:?}"
                ))
            }
            _ => Ok(()),
        }
    }
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
        let peer = Peer::Named(names(certificate.der()).unwrap());
        for node in ["node-1", "NODE-2.example", "node-3"] {
            assert_eq!(peer.check(node), Ok(()));
        }
        for node in ["node-2", "node-4", "x", "root", ""] {
            assert!(peer.check(node).is_err(), "{node}");
        }
        assert!(names(b"no certificate").is_none());
        assert_eq!(Peer::Anyone.check("node-9"), Ok(()));
    }

    #[test]
    fn without_a_certificate_nobody_gets_in_where_tls_is_on() {
        let request = Request::new(());
        assert!(Gate { tls: true }.peer(&request).is_err());
        assert!(matches!(
            Gate { tls: false }.peer(&request),
            Ok(Peer::Anyone)
        ));
    }
}
