//! The server's certificate: made anew for each server, signed by an authority of its own.

use std::io;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// A certificate for 127.0.0.1.
pub(crate) struct Certificate {
    pub(crate) acceptor: TlsAcceptor,
    /// The authority, as PEM.
    pub(crate) authority: String,
}

/// Makes a certificate.
pub(crate) fn make() -> io::Result<Certificate> {
    let (key, certificate, authority) = signed().map_err(io::Error::other)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Certificate {
        acceptor: TlsAcceptor::from(Arc::new(config)),
        authority,
    })
}

fn signed() -> Result<(KeyPair, rcgen::Certificate, String), rcgen::Error> {
    let authority_key = KeyPair::generate()?;
    let mut parameters = CertificateParams::new(Vec::new())?;
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = parameters.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(parameters, authority_key);
    let key = KeyPair::generate()?;
    let names = ["127.0.0.1", "localhost", "kubernetes.default.svc"].map(str::to_owned);
    let mut parameters = CertificateParams::new(names.to_vec())?;
    parameters
        .distinguished_name
        .push(rcgen::DnType::CommonName, "kube-apiserver for tests");
    let certificate = parameters.signed_by(&key, &issuer)?;
    Ok((key, certificate, authority))
}
