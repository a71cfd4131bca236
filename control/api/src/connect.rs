//! How a client gets its connections over TLS, and whether the other end of one is still trusted.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;

use crate::rotate::ClientTls;

/// Makes connections to one server. Reads the TLS files again when they have changed.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    authority: String,
    name: ServerName<'static>,
    tls: Arc<ClientTls>,
    shown: Arc<Mutex<Vec<CertificateDer<'static>>>>,
}

/// The other end of a client's connection.
#[derive(Clone, Debug, Default)]
pub struct Server(Option<Connector>);

impl Connector {
    pub(crate) fn new(authority: &str, name: ServerName<'static>, tls: ClientTls) -> Self {
        Self {
            authority: authority.to_owned(),
            name,
            tls: Arc::new(tls),
            shown: Arc::default(),
        }
    }

    pub(crate) fn server(&self) -> Server {
        Server(Some(self.clone()))
    }

    async fn connect(self) -> io::Result<TokioIo<TlsStream<TcpStream>>> {
        let stream = TcpStream::connect(self.authority.as_str()).await?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(self.name.clone(), stream).await?;
        let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown.to_vec();
        Ok(TokioIo::new(stream))
    }
}

impl Server {
    /// Whether the certificate that the server has shown last would be trusted now, or why not. Without
    /// TLS, and before there was a connection, there is none to doubt.
    pub fn verify(&self) -> Result<(), String> {
        let Some(connector) = &self.0 else {
            return Ok(());
        };
        let shown = (connector.shown.lock())
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if shown.is_empty() {
            return Ok(());
        }
        let verified = connector.tls.verify(&shown, &connector.name);
        verified.map_err(|why| format!("the server is not trusted any more: {why}"))
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect())
    }
}
