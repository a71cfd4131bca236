//! Lines to log servers: RFC 5424 over UDP (RFC 5426), TCP with counted lines (RFC 6587, 3.4.1) and
//! TLS (RFC 5425).
//!
//! A connection is kept for each server, at most [`SERVERS_MAX`]; one that broke is made again once
//! for each line.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use hyper_rustls::ConfigBuilderExt;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UdpSocket};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use weir_model::{Syslog, SyslogProtocol};

/// Servers that a connection is kept to.
const SERVERS_MAX: usize = 16;
/// Connecting and writing take no longer.
const TRY_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends lines.
#[derive(Default)]
pub struct Lines {
    connections: HashMap<(String, SyslogProtocol), Connection>,
}

enum Connection {
    Udp(UdpSocket),
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Lines {
    /// Sends a line.
    pub async fn send(&mut self, syslog: &Syslog, line: &str) -> Result<(), String> {
        let sent = tokio::time::timeout(TRY_TIMEOUT, self.try_to_send(syslog, line)).await;
        sent.unwrap_or_else(|_| Err(format!("nothing was taken within {TRY_TIMEOUT:?}")))
    }

    async fn try_to_send(&mut self, syslog: &Syslog, line: &str) -> Result<(), String> {
        let key = (syslog.address.as_str().to_owned(), syslog.protocol);
        if let Some(mut connection) = self.connections.remove(&key)
            && connection.write(line).await.is_ok()
        {
            self.connections.insert(key, connection);
            return Ok(());
        }
        let mut connection = Connection::open(syslog).await?;
        connection.write(line).await?;
        if self.connections.len() >= SERVERS_MAX {
            self.connections.clear();
        }
        self.connections.insert(key, connection);
        Ok(())
    }
}

impl Connection {
    async fn open(syslog: &Syslog) -> Result<Self, String> {
        let address = syslog.address.as_str();
        let failed = |error: std::io::Error| format!("{address} cannot be reached: {error}");
        match syslog.protocol {
            SyslogProtocol::Udp => {
                let mut found = tokio::net::lookup_host(address).await.map_err(failed)?;
                let server = found
                    .next()
                    .ok_or_else(|| format!("{address} has no address"))?;
                let any = if server.is_ipv4() {
                    "0.0.0.0:0"
                } else {
                    "[::]:0"
                };
                let socket = UdpSocket::bind(any).await.map_err(failed)?;
                socket.connect(server).await.map_err(failed)?;
                Ok(Self::Udp(socket))
            }
            SyslogProtocol::Tcp => Ok(Self::Tcp(
                TcpStream::connect(address).await.map_err(failed)?,
            )),
            SyslogProtocol::Tls => {
                let config = rustls::ClientConfig::builder()
                    .with_native_roots()
                    .map_err(failed)?
                    .with_no_client_auth();
                let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())
                    .map_err(|error| format!("{host} is no name of a server: {error}"))?;
                let stream = TcpStream::connect(address).await.map_err(failed)?;
                let connector = TlsConnector::from(Arc::new(config));
                let stream = connector.connect(name, stream).await.map_err(failed)?;
                Ok(Self::Tls(Box::new(stream)))
            }
        }
    }

    async fn write(&mut self, line: &str) -> Result<(), String> {
        let counted = || format!("{} {line}", line.len());
        let written = match self {
            Self::Udp(socket) => socket.send(line.as_bytes()).await.map(|_| ()),
            Self::Tcp(stream) => stream.write_all(counted().as_bytes()).await,
            Self::Tls(stream) => match stream.write_all(counted().as_bytes()).await {
                Ok(()) => stream.flush().await,
                failed => failed,
            },
        };
        written.map_err(|error| format!("the line was not taken: {error}"))
    }
}
