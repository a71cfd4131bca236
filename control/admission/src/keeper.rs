//! Keeps the certificate: in a Secret that replicas share, or in a directory; renews it, and gives it
//! to the server without a restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tracing::{info, warn};

use crate::authority::{AuthorityError, Keys};
use crate::cluster::{ClusterError, Secret};

/// How often it is looked whether something has to be renewed, or was by another replica.
pub const INTERVAL: Duration = Duration::from_secs(60);
/// Tries at a Secret that other replicas write at the same time.
const TRIES: usize = 5;

/// Where the keys are kept.
#[derive(Clone, Debug)]
pub enum Place {
    /// Files below this directory.
    Directory(PathBuf),
    /// A Secret of the cluster.
    Secret(Box<Secret>),
}

/// What serves: the newest certificate.
#[derive(Debug, Default)]
pub struct Served {
    key: ArcSwapOption<CertifiedKey>,
    keys: ArcSwapOption<Keys>,
}

/// Renews.
#[derive(Debug)]
pub struct Keeper {
    place: Place,
    names: Vec<String>,
    served: Arc<Served>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// It cannot be made.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The server does not take it.
    #[error("the webhook's certificate cannot be used: {0}")]
    Key(#[from] rustls::Error),
    /// The directory.
    #[error("{}: {error}; check the state directory and its permissions", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The Secret.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// Others write at every try.
    #[error(
        "other replicas change the webhook's Secret all the time; it is tried again in a minute"
    )]
    Contended,
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key.load_full()
    }
}

impl Served {
    /// What is served; None before the first renewal.
    pub fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.load_full()
    }

    fn take(&self, keys: Keys) -> Result<(), KeeperError> {
        if self.keys.load().as_deref() == Some(&keys) {
            return Ok(());
        }
        let (chain, key) = keys.serving()?;
        let provider = rustls::crypto::ring::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider)?;
        self.key.store(Some(Arc::new(certified)));
        let ends = keys.ends().map_or(0, |ends| ends.as_secs());
        info!(
            valid_until_unix_secs = ends,
            "the webhook's certificate is in use"
        );
        self.keys.store(Some(Arc::new(keys)));
        Ok(())
    }
}

impl Keeper {
    /// Keeps the certificate for these names at this place.
    pub fn new(place: Place, names: Vec<String>) -> Self {
        Self {
            place,
            names,
            served: Arc::default(),
        }
    }

    /// What serves.
    pub fn served(&self) -> Arc<Served> {
        self.served.clone()
    }

    /// Renews what has to be, and takes what another replica renewed. To be called at the start and
    /// then every [`INTERVAL`].
    pub async fn tick(&self, now_unix_secs: u64) -> Result<Arc<Keys>, KeeperError> {
        for _ in 0..TRIES {
            let (stored, revision) = self.load().await?;
            let renewed = Keys::renewed(stored.as_ref(), &self.names, now_unix_secs)?;
            let keys = match (renewed, stored) {
                (Some(renewed), _) => {
                    if !self.save(&renewed, revision).await? {
                        continue;
                    }
                    renewed
                }
                (None, Some(stored)) => stored,
                (None, None) => continue,
            };
            self.served.take(keys.clone())?;
            return Ok(Arc::new(keys));
        }
        Err(KeeperError::Contended)
    }

    /// Ticks until it is dropped; what goes wrong is told, and what is in use stays.
    pub async fn run(self, mut told: impl FnMut(Arc<Keys>) + Send) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            match self.tick(unix_secs(SystemTime::now())).await {
                Ok(keys) => told(keys),
                Err(error) => warn!("{error}"),
            }
        }
    }

    /// The keys, and the mark of the Secret's state.
    async fn load(&self) -> Result<(Option<Keys>, Option<String>), KeeperError> {
        match &self.place {
            Place::Directory(directory) => Ok((read_directory(directory)?, None)),
            Place::Secret(secret) => Ok(secret.load().await?),
        }
    }

    /// False where another replica was quicker.
    async fn save(&self, keys: &Keys, revision: Option<String>) -> Result<bool, KeeperError> {
        match &self.place {
            Place::Directory(directory) => write_directory(directory, keys).map(|()| true),
            Place::Secret(secret) => Ok(secret.save(keys, revision).await?),
        }
    }
}

/// Seconds since 1970; 0 for a clock before.
pub fn unix_secs(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |it| it.as_secs())
}

fn files(directory: &std::path::Path, keys: &Keys) -> [(PathBuf, String); 4] {
    [
        ("ca.crt", &keys.authorities),
        ("ca.key", &keys.authority_keys),
        ("tls.crt", &keys.certificate),
        ("tls.key", &keys.key),
    ]
    .map(|(name, text)| (directory.join(name), text.clone()))
}

fn read_directory(directory: &std::path::Path) -> Result<Option<Keys>, KeeperError> {
    let mut texts = Vec::new();
    for (path, _) in files(directory, &Keys::default()) {
        match std::fs::read_to_string(&path) {
            Ok(text) => texts.push(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(KeeperError::File { path, error }),
        }
    }
    let mut texts = texts.into_iter();
    let mut next = || texts.next().unwrap_or_default();
    Ok(Some(Keys {
        authorities: next(),
        authority_keys: next(),
        certificate: next(),
        key: next(),
    }))
}

/// Each file whole or not at all; half a renewal does not fit together and is made anew.
fn write_directory(directory: &std::path::Path, keys: &Keys) -> Result<(), KeeperError> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let failed = |path: &std::path::Path, error| KeeperError::File {
        path: path.to_owned(),
        error,
    };
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    for (path, text) in files(directory, keys) {
        let new = path.with_extension("new");
        let _ = std::fs::remove_file(&new);
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let written = options.open(&new).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|error| failed(&new, error))?;
        std::fs::rename(&new, &path).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}
