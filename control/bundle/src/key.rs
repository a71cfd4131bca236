//! Keys as other tools make them, and signatures as other tools read them.
//!
//! Ed25519 as `openssl genpkey -algorithm ed25519` and `openssl pkeyutl -rawin` have it; ECDSA on P-256
//! over SHA-256 as `openssl dgst -sha256` and `cosign sign-blob --key` have it. Public keys are PEM with
//! SubjectPublicKeyInfo (`cosign.pub`), private keys PEM with unencrypted PKCS#8.
//!
//! Distrusts every key file: what is not exactly one of these is refused with what it seems to be.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair, UnparsedPublicKey,
};
use sha2::{Digest, Sha256};

/// A key file is no longer than this.
pub const KEY_BYTES_MAX: usize = 16 << 10;

/// SubjectPublicKeyInfo in front of the 32 bytes of an Ed25519 key (RFC 8410, 4).
const ED25519_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, 0x21, 0];
/// SubjectPublicKeyInfo in front of the 65 bytes of an uncompressed point on P-256 (RFC 5480, 2.1.1).
const P256_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 3, 1, 7, 3, 0x42, 0,
];

/// Why a key cannot be used, or a signature not be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// There is no PEM block of the wanted kind.
    #[error("holds no {wanted} (PEM); {next_step}")]
    Absent {
        /// "public key", "private key".
        wanted: &'static str,
        /// What to do.
        next_step: &'static str,
    },
    /// The block is of another kind.
    #[error("holds {what}; {next_step}")]
    Kind {
        /// What it seems to be.
        what: &'static str,
        /// What to do.
        next_step: &'static str,
    },
    /// The block is damaged.
    #[error("is damaged: {0}; write the file again from its origin")]
    Damaged(&'static str),
    /// The system has no randomness to give.
    #[error("the system gives no random numbers")]
    Random,
}

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// RFC 8032, over the payload itself.
    Ed25519,
    /// FIPS 186, over SHA-256 of the payload, the signature in DER.
    EcdsaP256,
}

/// Names a key: "sha256:" and the SHA-256, in hexadecimal, of its SubjectPublicKeyInfo in DER, which is
/// what `openssl pkey -pubin -outform DER | sha256sum` prints.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

/// A key that verifies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    /// As `ring` takes it: 32 bytes, or the uncompressed point.
    bytes: Vec<u8>,
    id: KeyId,
}

/// A key that signs.
pub struct PrivateKey {
    pair: Pair,
    public: PublicKey,
}

enum Pair {
    Ed25519(Ed25519KeyPair),
    EcdsaP256(EcdsaKeyPair),
}

/// A new key, as PEM.
pub struct NewKey {
    /// PKCS#8, to be kept where the cluster cannot read it.
    pub private_pem: String,
    /// SubjectPublicKeyInfo, for the nodes.
    pub public_pem: String,
    /// Its name.
    pub id: KeyId,
}

impl Algorithm {
    /// "ed25519", "ecdsa-p256".
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 => "ecdsa-p256",
        }
    }
}

impl KeyId {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(spki: &[u8]) -> Self {
        Self(digest(spki))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl PublicKey {
    /// The key in a PEM file.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = match block(pem)? {
            Some(("PUBLIC KEY", der)) => der,
            Some(("CERTIFICATE", _)) => {
                return Err(KeyError::Kind {
                    what: "a certificate",
                    next_step: "give the public key: openssl x509 -pubkey -noout -in FILE",
                });
            }
            Some((label, _)) if label.contains("PRIVATE KEY") => {
                return Err(KeyError::Kind {
                    what: "a private key, which belongs to whoever signs",
                    next_step: "give the public key: openssl pkey -pubout -in FILE",
                });
            }
            _ => {
                return Err(KeyError::Absent {
                    wanted: "public key",
                    next_step: "it begins with -----BEGIN PUBLIC KEY-----",
                });
            }
        };
        Self::from_der(&der)
    }

    /// The key in a SubjectPublicKeyInfo.
    pub fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let known = [
            (Algorithm::Ed25519, &ED25519_PREFIX[..], 32),
            (Algorithm::EcdsaP256, &P256_PREFIX[..], 65),
        ];
        for (algorithm, prefix, length) in known {
            if let Some(bytes) = der.strip_prefix(prefix)
                && bytes.len() == length
            {
                return Ok(Self {
                    algorithm,
                    bytes: bytes.to_vec(),
                    id: KeyId::of(der),
                });
            }
        }
        Err(KeyError::Kind {
            what: "a public key that is neither Ed25519 nor ECDSA on P-256",
            next_step: "make one with weir bundle keygen, or cosign generate-key-pair",
        })
    }

    /// Its name.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// How it signs.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether the signature is this key's, over these bytes.
    pub fn verify(&self, payload: &[u8], signature: &[u8]) -> bool {
        let verified = match self.algorithm {
            Algorithm::Ed25519 => {
                UnparsedPublicKey::new(&ED25519, &self.bytes).verify(payload, signature)
            }
            Algorithm::EcdsaP256 => UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.bytes)
                .verify(payload, signature),
        };
        verified.is_ok()
    }

    /// As PEM.
    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &self.to_der())
    }

    fn new(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut key = Self {
            algorithm,
            bytes: bytes.to_vec(),
            id: KeyId(String::new()),
        };
        key.id = KeyId::of(&key.to_der());
        key
    }

    fn to_der(&self) -> Vec<u8> {
        let prefix = match self.algorithm {
            Algorithm::Ed25519 => &ED25519_PREFIX[..],
            Algorithm::EcdsaP256 => &P256_PREFIX[..],
        };
        [prefix, &self.bytes].concat()
    }
}

impl PrivateKey {
    /// The key in a PEM file.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = match block(pem)? {
            Some(("PRIVATE KEY", der)) => der,
            Some((label, _)) => return Err(unusable(label)),
            None => {
                return Err(KeyError::Absent {
                    wanted: "private key",
                    next_step: "make one with weir bundle keygen, or openssl genpkey -algorithm ed25519",
                });
            }
        };
        // openssl writes the first version of PKCS#8, without the public key.
        if let Ok(pair) = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der) {
            let public = PublicKey::new(Algorithm::Ed25519, pair.public_key().as_ref());
            return Ok(Self {
                pair: Pair::Ed25519(pair),
                public,
            });
        }
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &der, &random);
        let pair = pair.map_err(|_| KeyError::Kind {
            what: "a private key that is neither Ed25519 nor ECDSA on P-256",
            next_step: "make one with weir bundle keygen, or openssl genpkey -algorithm ed25519",
        })?;
        let public = PublicKey::new(Algorithm::EcdsaP256, pair.public_key().as_ref());
        Ok(Self {
            pair: Pair::EcdsaP256(pair),
            public,
        })
    }

    /// What verifies its signatures.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs.
    pub fn sign(&self, payload: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.pair {
            Pair::Ed25519(pair) => Ok(pair.sign(payload).as_ref().to_vec()),
            Pair::EcdsaP256(pair) => {
                let signature = pair.sign(&SystemRandom::new(), payload);
                let signature = signature.map_err(|_| KeyError::Random)?;
                Ok(signature.as_ref().to_vec())
            }
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "PrivateKey({})", self.public.id)
    }
}

/// Makes a key.
pub fn generate(algorithm: Algorithm) -> Result<NewKey, KeyError> {
    let random = SystemRandom::new();
    let pkcs8 = match algorithm {
        Algorithm::Ed25519 => Ed25519KeyPair::generate_pkcs8(&random),
        Algorithm::EcdsaP256 => {
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random)
        }
    };
    let private_pem = pem("PRIVATE KEY", pkcs8.map_err(|_| KeyError::Random)?.as_ref());
    let key = PrivateKey::from_pem(&private_pem)?;
    Ok(NewKey {
        private_pem,
        public_pem: key.public.to_pem(),
        id: key.public.id,
    })
}

/// "sha256:" and hexadecimal.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let hexadecimal: Vec<String> = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{}", hexadecimal.concat())
}

fn unusable(label: &str) -> KeyError {
    let (what, next_step) = match label {
        "EC PRIVATE KEY" => (
            "a key in the form of SEC 1",
            "convert it: openssl pkcs8 -topk8 -nocrypt -in FILE",
        ),
        "ENCRYPTED PRIVATE KEY" => (
            "an encrypted key",
            "decrypt it where you sign: openssl pkey -in FILE",
        ),
        label if label.contains("COSIGN") || label.contains("SIGSTORE") => (
            "cosign's encrypted key",
            "sign with cosign itself: weir bundle payload, cosign sign-blob --key, then weir bundle \
             attach --signature",
        ),
        label if label.contains("PUBLIC KEY") => (
            "a public key, which cannot sign",
            "give the private key that belongs to it",
        ),
        _ => (
            "something else than a private key",
            "it begins with -----BEGIN PRIVATE KEY-----",
        ),
    };
    KeyError::Kind { what, next_step }
}

/// The first block of a PEM file: its label and content.
fn block(text: &str) -> Result<Option<(&str, Vec<u8>)>, KeyError> {
    if text.len() > KEY_BYTES_MAX {
        return Err(KeyError::Damaged("it is too long for a key"));
    }
    let Some((_, rest)) = text.split_once("-----BEGIN ") else {
        return Ok(None);
    };
    let Some((label, rest)) = rest.split_once("-----") else {
        return Ok(None);
    };
    let Some((body, _)) = rest.split_once("-----END ") else {
        return Err(KeyError::Damaged("the END line is missing"));
    };
    let body: String = body.split_whitespace().collect();
    match STANDARD.decode(body) {
        Ok(der) => Ok(Some((label, der))),
        // Older forms carry headers; only their labels are of interest.
        Err(_) if label != "PRIVATE KEY" && label != "PUBLIC KEY" => Ok(Some((label, Vec::new()))),
        Err(_) => Err(KeyError::Damaged("it is no base64")),
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    let mut rest = body.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = behind;
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_signs_only_that_key_verifies() {
        for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256] {
            let made = generate(algorithm).unwrap();
            let other = generate(algorithm).unwrap();
            let key = PrivateKey::from_pem(&made.private_pem).unwrap();
            let public = PublicKey::from_pem(&made.public_pem).unwrap();
            assert_eq!((public.id(), public.algorithm()), (&made.id, algorithm));
            let signature = key.sign(b"policy").unwrap();
            assert!(public.verify(b"policy", &signature));
            assert!(!public.verify(b"policy.", &signature));
            assert!(!public.verify(b"policy", &[]));
            let other = PublicKey::from_pem(&other.public_pem).unwrap();
            assert!(!other.verify(b"policy", &signature));
            assert!(!format!("{key:?}").contains("PRIVATE"));
        }
    }

    #[test]
    fn what_is_no_usable_key_is_named() {
        let made = generate(Algorithm::Ed25519).unwrap();
        let wrong = |error: KeyError, word: &str| {
            assert!(error.to_string().contains(word), "{error}");
        };
        wrong(
            PrivateKey::from_pem(&made.public_pem).unwrap_err(),
            "public key",
        );
        wrong(
            PublicKey::from_pem(&made.private_pem).unwrap_err(),
            "-pubout",
        );
        wrong(PublicKey::from_pem("").unwrap_err(), "BEGIN PUBLIC KEY");
        let encrypted = "-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\ne30=\n-----END ENCRYPTED SIGSTORE PRIVATE KEY-----";
        wrong(
            PrivateKey::from_pem(encrypted).unwrap_err(),
            "cosign sign-blob",
        );
        let sec1 = "-----BEGIN EC PRIVATE KEY-----\nMHc=\n-----END EC PRIVATE KEY-----";
        wrong(PrivateKey::from_pem(sec1).unwrap_err(), "pkcs8");
        let cut = made.public_pem.split("-----END").next().unwrap();
        wrong(PublicKey::from_pem(cut).unwrap_err(), "END");
        let rsa = "-----BEGIN PUBLIC KEY-----\nMFwwDQYJKoZIhvcNAQEB\n-----END PUBLIC KEY-----";
        wrong(PublicKey::from_pem(rsa).unwrap_err(), "neither");
    }
}
