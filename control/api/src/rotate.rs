//! TLS whose files may change while it runs: TLS 1.3, both ends with a certificate.
//!
//! The files are read again when they have changed; connections that are made from then on use the new
//! ones, and a connection that stands is asked for by [`ServerTls::verify`] and [`ClientTls::verify`]:
//! whether its other end would still be let in. Files that cannot be used leave those of before in
//! use. Trusts nothing of a client before its certificate is verified: the number of those that are
//! about to show theirs, and their time, are bounded.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::version::TLS13;
use rustls::{CertificateError, ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::{TlsError, TlsFiles};

/// How often the files are looked at, at most.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// A handshake takes no longer.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A server's side.
#[derive(Debug)]
pub struct ServerTls(Rotating<ServerSide>);

/// A client's side.
#[derive(Debug)]
pub struct ClientTls(Rotating<ClientSide>);

#[derive(Debug)]
struct ServerSide {
    config: Arc<ServerConfig>,
    clients: Arc<dyn ClientCertVerifier>,
}

#[derive(Debug)]
struct ClientSide {
    config: Arc<ClientConfig>,
    servers: Arc<WebPkiServerVerifier>,
}

/// Something made from the three files.
#[derive(Debug)]
struct Rotating<T> {
    files: TlsFiles,
    make: fn(&TlsFiles) -> Result<T, TlsError>,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    made: Arc<T>,
    /// Of the files it was made from, or of those that could not be used.
    stamps: Stamps,
    looked: Instant,
    problem: Option<String>,
}

type Stamps = [Option<(SystemTime, u64)>; 3];

impl ServerTls {
    /// From these files.
    pub fn open(files: &TlsFiles) -> Result<Self, TlsError> {
        Rotating::open(files, server_side).map(Self)
    }

    /// The server's part of a new connection.
    pub async fn accept<S>(&self, stream: S) -> Result<tokio_rustls::server::TlsStream<S>, String>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let acceptor = TlsAcceptor::from(self.0.current().config.clone());
        let accepted = tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
        match accepted {
            Ok(accepted) => accepted.map_err(|error| explained(&error)),
            Err(_) => Err("it did not finish the TLS handshake in time".to_owned()),
        }
    }

    /// Whether a client with this chain would be let in now, or why not.
    pub fn verify(&self, chain: &[CertificateDer<'_>]) -> Result<(), String> {
        let (own, others) = chain.split_first().ok_or("it has shown no certificate")?;
        let side = self.0.current();
        let verified = side
            .clients
            .verify_client_cert(own, others, UnixTime::now());
        verified.map(|_| ()).map_err(|error| explained(&error))
    }

    /// Why the files of now are not those in use, if they are not.
    pub fn problem(&self) -> Option<String> {
        self.0.problem()
    }
}

impl ClientTls {
    /// From these files.
    pub fn open(files: &TlsFiles) -> Result<Self, TlsError> {
        Rotating::open(files, client_side).map(Self)
    }

    /// The client's part of a new connection.
    pub async fn connect<S>(
        &self,
        name: ServerName<'static>,
        stream: S,
    ) -> io::Result<tokio_rustls::client::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let connector = TlsConnector::from(self.0.current().config.clone());
        let connected = connector.connect(name, stream);
        let connected = tokio::time::timeout(HANDSHAKE_TIMEOUT, connected).await;
        match connected {
            Ok(connected) => connected.map_err(|error| io::Error::other(explained(&error))),
            Err(_) => Err(io::Error::other("the TLS handshake did not end in time")),
        }
    }

    /// Whether a server with this chain and name would be trusted now, or why not.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> Result<(), String> {
        let (own, others) = chain.split_first().ok_or("it has shown no certificate")?;
        let servers = &self.0.current().servers;
        let verified = servers.verify_server_cert(own, others, name, &[], UnixTime::now());
        verified.map(|_| ()).map_err(|error| explained(&error))
    }
}

impl<T> Rotating<T> {
    fn open(
        files: &TlsFiles,
        make: fn(&TlsFiles) -> Result<T, TlsError>,
    ) -> Result<Self, TlsError> {
        let state = State {
            stamps: stamps(files),
            made: Arc::new(make(files)?),
            looked: Instant::now(),
            problem: None,
        };
        Ok(Self {
            files: files.clone(),
            make,
            state: Mutex::new(state),
        })
    }

    fn current(&self) -> Arc<T> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() < LOOK_INTERVAL {
            return state.made.clone();
        }
        state.looked = Instant::now();
        let stamps = stamps(&self.files);
        if stamps != state.stamps || state.problem.is_some() {
            match (self.make)(&self.files) {
                Ok(made) => {
                    state.made = Arc::new(made);
                    state.stamps = stamps;
                    state.problem = None;
                }
                Err(error) => state.problem = Some(error.to_string()),
            }
        }
        state.made.clone()
    }

    fn problem(&self) -> Option<String> {
        self.current();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.problem.clone()
    }
}

fn stamps(files: &TlsFiles) -> Stamps {
    [&files.ca, &files.certificate, &files.key].map(|path| {
        // Mounted secrets are links that are switched: what they lead to counts.
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn server_side(files: &TlsFiles) -> Result<ServerSide, TlsError> {
    let unusable = |error: &dyn std::error::Error| TlsError::Unusable(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = identity(files)?;
    let roots = Arc::new(roots(files)?);
    let clients = WebPkiClientVerifier::builder_with_provider(roots, provider.clone());
    let clients = clients.build().map_err(|error| unusable(&error))?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .and_then(|builder| {
            let builder = builder.with_client_cert_verifier(clients.clone());
            builder.with_single_cert(chain, key)
        })
        .map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    // Whoever comes again shows a certificate again.
    config.send_tls13_tickets = 0;
    Ok(ServerSide {
        config: Arc::new(config),
        clients,
    })
}

fn client_side(files: &TlsFiles) -> Result<ClientSide, TlsError> {
    let unusable = |error: &dyn std::error::Error| TlsError::Unusable(error.to_string());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (chain, key) = identity(files)?;
    let roots = Arc::new(roots(files)?);
    let servers = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
    let servers = servers.build().map_err(|error| unusable(&error))?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .and_then(|builder| {
            let builder = builder.with_webpki_verifier(servers.clone());
            builder.with_client_auth_cert(chain, key)
        })
        .map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.resumption = rustls::client::Resumption::disabled();
    Ok(ClientSide {
        config: Arc::new(config),
        servers,
    })
}

fn roots(files: &TlsFiles) -> Result<RootCertStore, TlsError> {
    files.authority_text()?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates("certificate authority", &files.ca)? {
        roots
            .add(certificate)
            .map_err(|error| TlsError::Unusable(format!("{}: {error}", files.ca.display())))?;
    }
    Ok(roots)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(files: &TlsFiles) -> Result<Identity, TlsError> {
    files.check_identity()?;
    let chain = certificates("certificate", &files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| TlsError::Unusable(format!("{}: {error}", files.key.display())))?;
    Ok((chain, key))
}

fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unusable = |error| TlsError::Unusable(format!("{what} {}: {error}", path.display()));
    let all = CertificateDer::pem_file_iter(path).map_err(unusable)?;
    all.collect::<Result<_, _>>().map_err(unusable)
}

/// An error of TLS, with what to do about it.
pub fn explained(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost: &(dyn std::error::Error + 'static) = error;
    loop {
        // An error of the input and output hides the one it was made from.
        let hidden = innermost
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let next = match hidden {
            Some(hidden) => Some(hidden as &(dyn std::error::Error + 'static)),
            None => innermost.source(),
        };
        match next {
            Some(next) => innermost = next,
            None => break,
        }
    }
    let text = innermost.to_string();
    let next_step = match innermost.downcast_ref::<rustls::Error>() {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "issue a new one, and compare the clocks of both ends"
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "compare the clocks of both ends"
            }
            CertificateError::UnknownIssuer => {
                "issue it by the authority that the other end trusts, or let it trust this one"
            }
            _ => "",
        },
        Some(rustls::Error::AlertReceived(alert)) => match alert {
            rustls::AlertDescription::CertificateExpired => {
                "the other end takes this end's certificate for expired: issue a new one, and compare the clocks"
            }
            rustls::AlertDescription::UnknownCA => {
                "the other end does not trust the authority of this end's certificate"
            }
            rustls::AlertDescription::CertificateRequired => {
                "the other end asks for a certificate: give TLS files"
            }
            rustls::AlertDescription::BadCertificate => {
                "the other end does not take this end's certificate: check its time and its issuer"
            }
            _ => "",
        },
        _ => "",
    };
    match next_step {
        "" => text,
        next_step => format!("{text}; {next_step}"),
    }
}
