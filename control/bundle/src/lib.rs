//! Policy in its canonical form, signed by keys that the cluster does not hold.
//!
//! A [`Bundle`] holds the documents that say what is allowed, under a header with a sequence that only
//! rises. Its [payload](Bundle::payload) has one form only, whatever files, comments and order it came
//! from, and [`SignedBundle`] carries it with its signatures: Ed25519, or ECDSA on P-256 as cosign makes
//! them. A node with public keys compiles the documents itself and refuses a policy that differs.
//!
//! Who there is, with which labels and addresses, follows from the cluster and is not covered, unless
//! Workload documents are signed along ([`may_be_signed`]).
//!
//! [`weakening`] tells what a change of documents opens. It errs to the side of telling.
//!
//! Pure: time is an argument, files are the caller's.

mod canonical;
mod key;
mod payload;
mod signed;
mod weakening;

pub use canonical::{NotCanonical, canonical};
pub use key::{Algorithm, KEY_BYTES_MAX, KeyError, KeyId, NewKey, PrivateKey, PublicKey, generate};
pub use payload::{Bundle, BundleError, PAYLOAD_BYTES_MAX, is_policy, may_be_signed};
pub use signed::{
    DIGEST_ANNOTATION, FILE_BYTES_MAX, PART_ANNOTATION, PART_BYTES_MAX, PART_KEY, PART_LABEL, Part,
    PartsError, SIGNATURES_MAX, Signature, SignedBundle, Verified, VerifyError, join, part_of,
    short, split,
};
pub use weakening::{Weakening, weakening};
