//! Where to listen and where to connect: `unix:/run/weir/controller.sock`, `http://host:port`,
//! `https://host:port`, or `host:port` (TLS where TLS files are given).

use std::fmt;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc};
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::server::{Router, TcpIncoming};
use tonic::transport::{Channel, Endpoint as Uri};

use crate::connect::{Connector, Server};
use crate::rotate::{ClientTls, ServerTls, explained};
use crate::{TlsError, TlsFiles};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How often an idle connection is asked whether the other end lives, and how long it may take.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// The owner and its group may talk to the socket.
const SOCKET_MODE: u32 = 0o660;
/// More connections than this do not show their certificates at the same time: the others wait.
const HANDSHAKES_MAX: usize = 256;
/// How soon connections are taken again after that failed.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// A place to listen on or to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A host (name or address, IPv6 in brackets) and a port.
    Tcp {
        /// `host:port`.
        authority: String,
        /// What the scheme says of TLS; `None`: TLS where TLS files are given.
        tls: Option<bool>,
    },
}

/// Why an endpoint cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The text is no endpoint.
    #[error(
        "{text:?} is no endpoint: {why}; write unix:/path, http://host:port or https://host:port"
    )]
    Text {
        /// What was given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Another process listens there.
    #[error(
        "cannot listen on {endpoint}: another process does; stop it or choose another endpoint"
    )]
    InUse {
        /// Where.
        endpoint: Endpoint,
    },
    /// The system refuses to listen there.
    #[error("cannot listen on {endpoint}: {source}; check the path or address and the permissions")]
    Listen {
        /// Where.
        endpoint: Endpoint,
        /// The system's error.
        source: io::Error,
    },
    /// Nobody answers there.
    #[error("cannot reach {endpoint}: {why}; check that the controller runs and listens there")]
    Unreachable {
        /// Where.
        endpoint: Endpoint,
        /// What was found.
        why: String,
    },
    /// The endpoint and the TLS settings contradict each other.
    #[error("{endpoint}: {why}")]
    Scheme {
        /// Where.
        endpoint: Endpoint,
        /// What contradicts, and the remedy.
        why: &'static str,
    },
    /// A TLS file cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Serving failed.
    #[error("serving {endpoint} failed: {why}")]
    Serve {
        /// Where.
        endpoint: Endpoint,
        /// What happened.
        why: String,
    },
}

/// An endpoint that is being listened on. The socket of a unix endpoint goes when this is dropped.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    socket: Socket,
}

#[derive(Debug)]
enum Socket {
    Unix(UnixListener, SocketFile),
    Tcp(TcpListener),
}

/// The file of a socket; removed on drop if it is still the same one.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |why| EndpointError::Text {
            text: text.to_owned(),
            why,
        };
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() {
                Err(wrong("the path is missing"))
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Some(false), rest),
            Some(("https", rest)) => (Some(true), rest),
            Some(_) => return Err(wrong("the scheme is not known")),
            None => (None, text),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = authority
            .rsplit_once(':')
            .ok_or_else(|| wrong("the port is missing"))?;
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(wrong("the host is missing or malformed"));
        }
        if host.contains(':') && !(host.starts_with('[') && host.ends_with(']')) {
            return Err(wrong("an IPv6 address must stand in brackets"));
        }
        port.parse::<u16>()
            .map_err(|_| wrong("the port is not a number from 0 to 65535"))?;
        Ok(Self::Tcp {
            authority: authority.to_owned(),
            tls,
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(formatter, "unix:{}", path.display()),
            Self::Tcp {
                authority,
                tls: None,
            } => formatter.write_str(authority),
            Self::Tcp {
                authority,
                tls: Some(false),
            } => write!(formatter, "http://{authority}"),
            Self::Tcp {
                authority,
                tls: Some(true),
            } => write!(formatter, "https://{authority}"),
        }
    }
}

impl Endpoint {
    /// Whether other machines may reach it: not a unix socket, not a loopback address.
    pub fn is_exposed(&self) -> bool {
        match self {
            Self::Unix(_) => false,
            Self::Tcp { authority, .. } => match authority.parse::<SocketAddr>() {
                Ok(address) => !address.ip().to_canonical().is_loopback(),
                Err(_) => !authority.starts_with("localhost:"),
            },
        }
    }

    /// Connects, waiting a few seconds at most. TLS is for `host:port` endpoints only.
    pub async fn connect(
        &self,
        tls: Option<&TlsFiles>,
        server_name: Option<&str>,
    ) -> Result<Channel, EndpointError> {
        let (uri, connector) = self.uri(tls, server_name)?;
        let connected = match connector {
            Some(connector) => uri.connect_with_connector(connector).await,
            None => uri.connect().await,
        };
        connected.map_err(|error| self.unreachable(explained(&error)))
    }

    /// A channel that connects when it is used, and again after the connection was lost; and who is at
    /// its other end. TLS files are read again when they have changed.
    pub fn connect_lazily(
        &self,
        tls: Option<&TlsFiles>,
        server_name: Option<&str>,
    ) -> Result<(Channel, Server), EndpointError> {
        let (uri, connector) = self.uri(tls, server_name)?;
        Ok(match connector {
            Some(connector) => {
                let server = connector.server();
                (uri.connect_with_connector_lazy(connector), server)
            }
            None => (uri.connect_lazy(), Server::default()),
        })
    }

    /// Listens. A unix socket that a dead process left is replaced; a live one is not.
    pub async fn listen(&self) -> Result<Listener, EndpointError> {
        let socket = match self {
            Self::Unix(path) => self.listen_unix(path).await?,
            Self::Tcp { authority, .. } => Socket::Tcp(
                TcpListener::bind(authority.as_str())
                    .await
                    .map_err(|source| self.cannot_listen(source))?,
            ),
        };
        Ok(Listener {
            endpoint: self.clone(),
            socket,
        })
    }

    fn uri(
        &self,
        tls: Option<&TlsFiles>,
        server_name: Option<&str>,
    ) -> Result<(Uri, Option<Connector>), EndpointError> {
        let scheme = |why| EndpointError::Scheme {
            endpoint: self.clone(),
            why,
        };
        let (text, secure) = match (self, tls) {
            (Self::Unix(_), Some(_)) => {
                return Err(scheme(
                    "TLS does not apply to a unix socket; leave the TLS files out or use https://",
                ));
            }
            (
                Self::Tcp {
                    tls: Some(true), ..
                },
                None,
            ) => {
                return Err(scheme(
                    "https needs TLS files; give certificate authority, certificate and key",
                ));
            }
            (
                Self::Tcp {
                    tls: Some(false), ..
                },
                Some(_),
            ) => {
                return Err(scheme("TLS files do not go with http; write https"));
            }
            (Self::Unix(path), None) => (format!("unix:{}", path.display()), None),
            (Self::Tcp { authority, .. }, None) => (format!("http://{authority}"), None),
            // The connector does the TLS.
            (Self::Tcp { authority, .. }, Some(files)) => {
                let host = authority.rsplit_once(':').map_or("", |(host, _)| host);
                let host = host.trim_start_matches('[').trim_end_matches(']');
                let name = ServerName::try_from(server_name.unwrap_or(host).to_owned());
                let name = name.map_err(|_| {
                    scheme("the server's name is neither a host's name nor an address")
                })?;
                let connector = Connector::new(authority, name, ClientTls::open(files)?);
                (format!("http://{authority}"), Some(connector))
            }
        };
        let uri = Uri::from_shared(text).map_err(|error| self.unreachable(innermost(&error)))?;
        let uri = uri
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true);
        Ok((uri, secure))
    }

    async fn listen_unix(&self, path: &Path) -> Result<Socket, EndpointError> {
        match UnixStream::connect(path).await {
            Ok(_) => {
                return Err(EndpointError::InUse {
                    endpoint: self.clone(),
                });
            }
            // Refused: a socket without a process. Anything else is not ours to replace.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ) => {}
            Err(source) => return Err(self.cannot_listen(source)),
        }
        let bind = || -> io::Result<Socket> {
            if path.metadata().is_ok_and(|metadata| !is_socket(&metadata)) {
                return Err(io::Error::new(
                    ErrorKind::AlreadyExists,
                    "a file that is no socket is in the way",
                ));
            }
            if let Some(directory) = path
                .parent()
                .filter(|directory| !directory.as_os_str().is_empty())
            {
                std::fs::create_dir_all(directory)?;
            }
            // Bound beside its place and moved there, so that it never stands open to others.
            let mut beside = path.as_os_str().to_owned();
            beside.push(format!(".{}", std::process::id()));
            let beside = PathBuf::from(beside);
            let _ = std::fs::remove_file(&beside);
            let listener = UnixListener::bind(&beside)?;
            std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(SOCKET_MODE))?;
            let inode = std::fs::metadata(&beside)?.ino();
            std::fs::rename(&beside, path)?;
            Ok(Socket::Unix(
                listener,
                SocketFile {
                    path: path.to_owned(),
                    inode,
                },
            ))
        };
        bind().map_err(|source| self.cannot_listen(source))
    }

    fn cannot_listen(&self, source: io::Error) -> EndpointError {
        match source.kind() {
            ErrorKind::AddrInUse => EndpointError::InUse {
                endpoint: self.clone(),
            },
            _ => EndpointError::Listen {
                endpoint: self.clone(),
                source,
            },
        }
    }

    fn unreachable(&self, why: String) -> EndpointError {
        EndpointError::Unreachable {
            endpoint: self.clone(),
            why,
        }
    }
}

impl Listener {
    /// Where it listens; a TCP port 0 has become the port that was given.
    pub fn endpoint(&self) -> Endpoint {
        match (&self.socket, &self.endpoint) {
            (Socket::Tcp(listener), Endpoint::Tcp { tls, authority }) => {
                let authority = listener
                    .local_addr()
                    .map_or_else(|_| authority.clone(), |address| address.to_string());
                Endpoint::Tcp {
                    authority,
                    tls: *tls,
                }
            }
            _ => self.endpoint.clone(),
        }
    }

    /// Serves over TLS until `shutdown` completes and the open connections have ended. `refused` is told
    /// of whoever fails to show a certificate that is trusted.
    pub async fn serve_tls(
        self,
        router: Router,
        tls: Arc<ServerTls>,
        shutdown: impl Future<Output = ()>,
        refused: impl Fn(SocketAddr, String) + Send + Sync + 'static,
    ) -> Result<(), EndpointError> {
        let endpoint = self.endpoint();
        let Socket::Tcp(listener) = self.socket else {
            return self.serve(router, shutdown).await;
        };
        let (accepted, incoming) = mpsc::channel(HANDSHAKES_MAX);
        let accepting = tokio::spawn(accept(listener, tls, accepted, Arc::new(refused)));
        let incoming = ReceiverStream::new(incoming);
        let served = router
            .serve_with_incoming_shutdown(incoming, shutdown)
            .await;
        accepting.abort();
        served.map_err(|error| EndpointError::Serve {
            endpoint,
            why: innermost(&error),
        })
    }

    /// Serves until `shutdown` completes and the open connections have ended.
    pub async fn serve(
        self,
        router: Router,
        shutdown: impl Future<Output = ()>,
    ) -> Result<(), EndpointError> {
        let endpoint = self.endpoint();
        let served = match self.socket {
            Socket::Unix(listener, file) => {
                let incoming = UnixListenerStream::new(listener);
                let served = router
                    .serve_with_incoming_shutdown(incoming, shutdown)
                    .await;
                drop(file);
                served
            }
            Socket::Tcp(listener) => {
                let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
                router
                    .serve_with_incoming_shutdown(incoming, shutdown)
                    .await
            }
        };
        served.map_err(|error| EndpointError::Serve {
            endpoint,
            why: innermost(&error),
        })
    }
}

type Accepted = Result<TlsStream<TcpStream>, io::Error>;

/// Takes connections; each shows its certificate beside the others.
async fn accept(
    listener: TcpListener,
    tls: Arc<ServerTls>,
    accepted: mpsc::Sender<Accepted>,
    refused: Arc<dyn Fn(SocketAddr, String) + Send + Sync>,
) {
    let handshakes = Arc::new(Semaphore::new(HANDSHAKES_MAX));
    loop {
        let Ok(turn) = handshakes.clone().acquire_owned().await else {
            return;
        };
        let (stream, from) = match listener.accept().await {
            Ok(connection) => connection,
            Err(_) => {
                // Out of descriptors, or gone before it was taken: neither is cured by hurry.
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let (tls, accepted, refused) = (tls.clone(), accepted.clone(), refused.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            match tls.accept(stream).await {
                Ok(stream) => {
                    let _ = accepted.send(Ok(stream)).await;
                }
                Err(why) => refused(from, why),
            }
            drop(turn);
        });
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self
            .path
            .metadata()
            .is_ok_and(|metadata| metadata.ino() == self.inode)
        {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn is_socket(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_socket(&metadata.file_type())
}

/// The transport wraps the cause in "transport error": the cause says more.
pub fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
