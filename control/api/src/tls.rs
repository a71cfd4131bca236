//! TLS from three files: who one is, and whom one trusts.

use std::path::{Path, PathBuf};

/// The files of one end. Both ends show a certificate: TLS here is always mutual.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the authorities that the other end's certificate must come from.
    pub ca: PathBuf,
    /// PEM: one's own certificate, with its chain.
    pub certificate: PathBuf,
    /// PEM: the key of the certificate.
    pub key: PathBuf,
}

/// A file of the three cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("cannot read the {what} {path}: {source}; check the path and its permissions")]
    Read {
        /// Which of the three files.
        what: &'static str,
        /// Its path.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// It holds something else.
    #[error("the {what} {path} holds no PEM {label:?} block; give a PEM file")]
    Content {
        /// Which of the three files.
        what: &'static str,
        /// Its path.
        path: String,
        /// The label that was looked for.
        label: &'static str,
    },
    /// They do not make a working whole.
    #[error("TLS cannot be set up: {0}; check that certificate and key belong together")]
    Unusable(String),
    /// Only some of the three files are named.
    #[error("TLS needs all of certificate authority, certificate and key; {missing} is missing")]
    Incomplete {
        /// The one that is missing.
        missing: &'static str,
    },
}

impl TlsFiles {
    /// From three optional settings: all of them or none.
    pub fn from_options(
        ca: Option<PathBuf>,
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
    ) -> Result<Option<Self>, TlsError> {
        match (ca, certificate, key) {
            (None, None, None) => Ok(None),
            (Some(ca), Some(certificate), Some(key)) => Ok(Some(Self {
                ca,
                certificate,
                key,
            })),
            (None, _, _) => Err(TlsError::Incomplete {
                missing: "the certificate authority",
            }),
            (_, None, _) => Err(TlsError::Incomplete {
                missing: "the certificate",
            }),
            (_, _, None) => Err(TlsError::Incomplete { missing: "the key" }),
        }
    }

    /// The authorities that the other end's certificate must come from, as PEM.
    pub fn authority_text(&self) -> Result<String, TlsError> {
        read("certificate authority", &self.ca, "CERTIFICATE")
    }

    /// Whether certificate and key hold what they are for.
    pub(crate) fn check_identity(&self) -> Result<(), TlsError> {
        read("certificate", &self.certificate, "CERTIFICATE")?;
        read("key", &self.key, "PRIVATE KEY").map(|_| ())
    }
}

fn read(what: &'static str, path: &Path, label: &'static str) -> Result<String, TlsError> {
    let name = || path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| TlsError::Read {
        what,
        path: name(),
        source,
    })?;
    // "RSA PRIVATE KEY" and "EC PRIVATE KEY" end alike.
    let begins = |line: &str| {
        line.starts_with("-----BEGIN ") && line.trim_end().ends_with(&format!("{label}-----"))
    };
    if !text.lines().any(begins) {
        return Err(TlsError::Content {
            what,
            path: name(),
            label,
        });
    }
    Ok(text)
}
