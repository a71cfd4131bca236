//! The flags of `weir bundle`.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub enum BundleCommand {
    /// Signs the policy documents of files and directories; or adds a signature to a bundle.
    ///
    /// What is signed are the documents that say what is allowed (allowlists, modes, settings, sensors,
    /// threat policies, guardrails, response rules) in a form that depends on no comment and no order.
    /// Who there is, with which labels and addresses, follows from the cluster and is not signed, unless
    /// --workloads says so.
    Sign(SignArguments),
    /// Verifies a bundle, or a payload with a detached signature; exit code 1 if nodes would not take it.
    Verify(VerifyArguments),
    /// What a bundle holds and whose signatures it carries. Nothing is verified.
    Show {
        /// The bundle.
        bundle: PathBuf,
        /// The documents, as YAML, instead.
        #[arg(long)]
        documents: bool,
    },
    /// What changes from one bundle or directory to another, and what that opens; exit code 1 if
    /// anything.
    Diff {
        /// A bundle, or a file or directory of YAML.
        old: PathBuf,
        /// A bundle, or a file or directory of YAML.
        new: PathBuf,
    },
    /// Makes a pair of keys: PREFIX.key to sign with, PREFIX.pub for the nodes.
    Keygen {
        /// Where to write them.
        prefix: PathBuf,
        /// How the key signs.
        #[arg(long, value_enum, default_value_t = KeyAlgorithm::Ed25519)]
        algorithm: KeyAlgorithm,
    },
    /// Writes the bytes that are signed, for another tool: cosign sign-blob --key cosign.key PAYLOAD.
    Payload {
        #[command(flatten)]
        content: Content,
        /// Where to write them.
        #[arg(long)]
        out: PathBuf,
    },
    /// Adds a signature that another tool made over a bundle's payload.
    Attach {
        /// The payload, or a bundle.
        bundle: PathBuf,
        /// The signature, as base64 (cosign) or as it is (openssl).
        #[arg(long, value_name = "FILE")]
        signature: PathBuf,
        /// The public key that it belongs to (PEM).
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Where to write the bundle.
        #[arg(long)]
        out: PathBuf,
    },
    /// Prints the ConfigMaps that carry a bundle to a controller in Kubernetes (--bundle configmaps), for
    /// kubectl apply -f -.
    Manifest {
        /// The bundle.
        bundle: PathBuf,
        /// Weir's namespace.
        #[arg(short, long, default_value = "weir-system")]
        namespace: String,
    },
}

/// What goes into a bundle.
#[derive(Debug, Args)]
pub struct Content {
    /// Files and directories of YAML; - reads standard input.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// What it is for: production, staging. Nodes may insist on one. By default the previous one's, or
    /// "policy".
    #[arg(long)]
    pub name: Option<String>,
    /// Nodes take no bundle whose number is below the highest they have seen; by default the seconds
    /// since 1970.
    #[arg(long)]
    pub sequence: Option<u64>,
    /// When nodes stop taking it: 90d, or 2027-01-31T12:00:00Z; what is in force by then stays.
    #[arg(long, value_name = "AGE|TIME", value_parser = later)]
    pub expires: Option<SystemTime>,
    /// Signs Workload and Service documents too: nodes then hold their labels and addresses against
    /// what the cluster says. For hosts outside.
    #[arg(long)]
    pub workloads: bool,
}

#[derive(Debug, Args)]
pub struct SignArguments {
    #[command(flatten)]
    pub content: Content,
    /// The private key (PEM, PKCS#8; Ed25519 or ECDSA P-256). Repeatable.
    #[arg(short, long = "key", required = true, value_name = "FILE")]
    pub keys: Vec<PathBuf>,
    /// The key of a second person, whom changes that weaken may need.
    #[arg(long, value_name = "FILE")]
    pub second_key: Option<PathBuf>,
    /// The bundle in force, to tell what opens; by default the one that stands where --out says.
    #[arg(long, value_name = "FILE")]
    pub previous: Option<PathBuf>,
    /// Where to write the bundle.
    #[arg(long)]
    pub out: PathBuf,
}

#[derive(Debug, Args)]
pub struct VerifyArguments {
    /// The bundle, or a payload.
    pub bundle: PathBuf,
    /// A public key (PEM): cosign.pub, or what openssl pkey -pubout writes. Repeatable.
    #[arg(short, long = "key", required = true, value_name = "FILE")]
    pub keys: Vec<PathBuf>,
    /// So many of the keys must have signed.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub threshold: u8,
    /// A detached signature of the first key, as base64 (cosign) or as it is (openssl).
    #[arg(long, value_name = "FILE")]
    pub signature: Option<PathBuf>,
    /// The bundle in force, to tell what opens.
    #[arg(long, value_name = "FILE")]
    pub previous: Option<PathBuf>,
    /// So many must have signed where it opens anything that the previous one kept shut.
    #[arg(long, requires = "previous", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..))]
    pub weakening_threshold: u8,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum KeyAlgorithm {
    /// Ed25519.
    Ed25519,
    /// ECDSA on P-256, as cosign uses it.
    EcdsaP256,
}

fn later(text: &str) -> Result<SystemTime, String> {
    if let Ok(time) = humantime::parse_rfc3339_weak(text) {
        return Ok(time);
    }
    let age = humantime::parse_duration(text);
    let age = age.map_err(|_| "write 90d, or a time as 2027-01-31T12:00:00Z".to_owned())?;
    SystemTime::now()
        .checked_add(age)
        .filter(|time| *time < UNIX_EPOCH + Duration::from_secs(253_402_300_800))
        .ok_or_else(|| "that is too far away".to_owned())
}
