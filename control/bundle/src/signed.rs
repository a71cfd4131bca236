//! A bundle and the signatures over it, as a file and in pieces that fit into objects of Kubernetes.
//!
//! Distrusts both: a file is bounded by [`FILE_BYTES_MAX`], signatures by [`SIGNATURES_MAX`], and a
//! signature counts only for a key that the reader brings along; each key counts once.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use weir_model::API_VERSION;

use crate::key::{KeyError, KeyId, PrivateKey, PublicKey, digest};
use crate::payload::{Bundle, BundleError, PAYLOAD_BYTES_MAX};

/// The largest file: a payload in base64, and its signatures.
pub const FILE_BYTES_MAX: usize = PAYLOAD_BYTES_MAX / 3 * 4 + (1 << 20);
/// The most signatures of one bundle.
pub const SIGNATURES_MAX: usize = 16;
/// The largest signature.
const SIGNATURE_BYTES_MAX: usize = 1024;
/// The `kind` of a file.
const FILE_KIND: &str = "SignedPolicyBundle";
/// The most characters of a bundle that go into one ConfigMap, which holds no more than 1 MiB.
pub const PART_BYTES_MAX: usize = 900 << 10;
/// The most parts.
pub const PARTS_MAX: usize = FILE_BYTES_MAX / PART_BYTES_MAX + 1;

/// What was signed, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedBundle {
    /// The bytes that are signed: [`Bundle::payload`].
    pub payload: Vec<u8>,
    /// Sorted by key, one a key.
    pub signatures: Vec<Signature>,
}

/// A signature over a payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Whose it says it is.
    pub key_id: String,
    /// Ed25519, or ECDSA in DER.
    pub signature: Vec<u8>,
}

/// A bundle that enough of the wanted keys signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it says.
    pub bundle: Bundle,
    /// Whose signatures are good, of the keys that were asked for.
    pub signers: BTreeSet<KeyId>,
}

/// A part of a bundle, for an object of Kubernetes that does not hold all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// From 1.
    pub number: usize,
    /// Of so many.
    pub count: usize,
    /// Of the whole text.
    pub digest: String,
    /// This part of the text.
    pub text: String,
}

/// Why a bundle is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Too few of the keys that were asked for signed it.
    #[error("{found} of the {wanted} signatures that are needed: {why}")]
    Signatures {
        /// Good ones.
        found: usize,
        /// Needed.
        wanted: usize,
        /// What about the others.
        why: String,
    },
    /// What was signed cannot be used.
    #[error(transparent)]
    Bundle(#[from] BundleError),
}

/// Why parts do not make a bundle.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the parts of the bundle do not belong together: {0}; apply all parts of one bundle")]
pub struct PartsError(String);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    api_version: String,
    kind: String,
    payload: String,
    signatures: Vec<FileSignature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct FileSignature {
    key_id: String,
    signature: String,
}

impl SignedBundle {
    /// Not signed yet.
    pub fn new(payload: Vec<u8>) -> Self {
        Self {
            payload,
            signatures: Vec::new(),
        }
    }

    /// Signs; an earlier signature of the same key makes way.
    pub fn sign(&mut self, key: &PrivateKey) -> Result<(), KeyError> {
        let signature = key.sign(&self.payload)?;
        self.put(key.public().id(), signature);
        Ok(())
    }

    /// Adds a signature that was made elsewhere; false where it is not this key's over this payload.
    pub fn attach(&mut self, key: &PublicKey, signature: &[u8]) -> bool {
        let good = key.verify(&self.payload, signature);
        if good {
            self.put(key.id(), signature.to_vec());
        }
        good
    }

    fn put(&mut self, key_id: &KeyId, signature: Vec<u8>) {
        let key_id = key_id.to_string();
        self.signatures.retain(|other| other.key_id != key_id);
        self.signatures.push(Signature { key_id, signature });
        self.signatures.sort_by(|a, b| a.key_id.cmp(&b.key_id));
    }

    /// The bundle, if at least `threshold` of these keys (and at least one) signed it.
    pub fn verify(&self, keys: &[PublicKey], threshold: usize) -> Result<Verified, VerifyError> {
        let signers = self.signers(keys);
        let wanted = threshold.max(1);
        if signers.len() < wanted {
            return Err(VerifyError::Signatures {
                found: signers.len(),
                wanted,
                why: self.lacking(keys, &signers),
            });
        }
        let bundle = Bundle::read(&self.payload)?;
        Ok(Verified { bundle, signers })
    }

    /// Those of these keys whose signature is good.
    pub fn signers(&self, keys: &[PublicKey]) -> BTreeSet<KeyId> {
        let good = |key: &&PublicKey| {
            let signatures = self.signatures.iter().take(SIGNATURES_MAX);
            signatures
                .filter(|signature| signature.key_id == key.id().as_str())
                .any(|signature| key.verify(&self.payload, &signature.signature))
        };
        keys.iter()
            .filter(good)
            .map(|key| key.id().clone())
            .collect()
    }

    fn lacking(&self, keys: &[PublicKey], signers: &BTreeSet<KeyId>) -> String {
        if self.signatures.is_empty() {
            return "it is not signed; sign it with weir bundle sign --key".to_owned();
        }
        let said = |key: &KeyId| self.signatures.iter().any(|one| one.key_id == key.as_str());
        let broken = keys.iter().map(PublicKey::id);
        let broken: Vec<&KeyId> = broken
            .filter(|&key| said(key) && !signers.contains(key))
            .collect();
        if let Some(key) = broken.first() {
            return format!(
                "the signature of {} does not fit: what was signed has been altered",
                short(key.as_str())
            );
        }
        let by: Vec<String> = self
            .signatures
            .iter()
            .map(|one| short(&one.key_id))
            .collect();
        let wanted: Vec<String> = keys.iter().map(|key| short(key.id().as_str())).collect();
        format!(
            "it is signed by {}, and signatures of {} count",
            by.join(", "),
            wanted.join(", ")
        )
    }

    /// As a file.
    pub fn to_file(&self) -> String {
        let signatures = self.signatures.iter().map(|signature| FileSignature {
            key_id: signature.key_id.clone(),
            signature: STANDARD.encode(&signature.signature),
        });
        let file = File {
            api_version: API_VERSION.to_owned(),
            kind: FILE_KIND.to_owned(),
            payload: STANDARD.encode(&self.payload),
            signatures: signatures.collect(),
        };
        let mut text =
            serde_json::to_string_pretty(&file).expect("text and lists can always be written");
        text.push('\n');
        text
    }

    /// What a file holds: a signed bundle, or a payload without signatures. What is signed is not read
    /// yet, nor are signatures verified.
    pub fn from_file(text: &[u8]) -> Result<Self, BundleError> {
        let refuse = |why: String| Err(BundleError::NotABundle(why));
        if text.len() > FILE_BYTES_MAX {
            return refuse(format!("it has more than {FILE_BYTES_MAX} bytes"));
        }
        let file: File = match serde_json::from_slice(text) {
            Ok(file) => file,
            Err(error) => {
                return match Bundle::read(text) {
                    Ok(_) => Ok(Self::new(text.to_vec())),
                    Err(BundleError::NotABundle(_)) => refuse(error.to_string()),
                    Err(other) => Err(other),
                };
            }
        };
        if file.api_version != API_VERSION || file.kind != FILE_KIND {
            return refuse("it is of another kind".to_owned());
        }
        if file.signatures.len() > SIGNATURES_MAX {
            return refuse(format!("it has more than {SIGNATURES_MAX} signatures"));
        }
        let Ok(payload) = STANDARD.decode(file.payload) else {
            return refuse("its payload is no base64".to_owned());
        };
        let mut bundle = Self::new(payload);
        for one in file.signatures {
            let signature = STANDARD.decode(one.signature);
            let fits = |signature: &Vec<u8>| signature.len() <= SIGNATURE_BYTES_MAX;
            let Some(signature) = signature.ok().filter(fits) else {
                return refuse("a signature is no base64, or too long".to_owned());
            };
            let key_id = one.key_id;
            bundle.signatures.push(Signature { key_id, signature });
        }
        bundle.signatures.sort_by(|a, b| a.key_id.cmp(&b.key_id));
        Ok(bundle)
    }
}

/// The beginning of a key's name, for people.
pub fn short(key_id: &str) -> String {
    key_id.chars().take(23).collect()
}

/// Cuts the text of a bundle into parts that fit into a ConfigMap or Secret each.
pub fn split(text: &str) -> Vec<Part> {
    let digest = digest(text.as_bytes());
    let mut texts = Vec::new();
    let mut rest = text;
    while !rest.is_empty() || texts.is_empty() {
        let (part, behind) = rest.split_at(rest.floor_char_boundary(PART_BYTES_MAX));
        texts.push(part.to_owned());
        rest = behind;
    }
    let count = texts.len();
    let parts = texts.into_iter().enumerate();
    parts
        .map(|(index, text)| Part {
            number: index + 1,
            count,
            digest: digest.clone(),
            text,
        })
        .collect()
}

/// The label of objects that carry a part of a bundle; its value is "part".
pub const PART_LABEL: &str = "weir.dev/bundle";
/// The annotation that says which part: "1/3".
pub const PART_ANNOTATION: &str = "weir.dev/bundle-part";
/// The annotation with the digest of the whole.
pub const DIGEST_ANNOTATION: &str = "weir.dev/bundle-digest";
/// The key of the data that holds the part.
pub const PART_KEY: &str = "bundle";

/// The part that a ConfigMap or Secret carries, by its annotations and data.
pub fn part_of(
    annotations: &BTreeMap<String, String>,
    data: &BTreeMap<String, String>,
) -> Result<Part, PartsError> {
    let missing = |what: &str, name: &str| PartsError(format!("{what} {name} is missing"));
    let annotation = |name| {
        annotations
            .get(name)
            .ok_or_else(|| missing("annotation", name))
    };
    let place = annotation(PART_ANNOTATION)?;
    let numbers = place.split_once('/').and_then(|(number, count)| {
        Some((number.parse::<usize>().ok()?, count.parse::<usize>().ok()?))
    });
    let Some((number, count)) = numbers else {
        return Err(PartsError(format!("{PART_ANNOTATION} is not like 1/3")));
    };
    let text = data
        .get(PART_KEY)
        .ok_or_else(|| missing("the key", PART_KEY))?;
    Ok(Part {
        number,
        count,
        digest: annotation(DIGEST_ANNOTATION)?.clone(),
        text: text.clone(),
    })
}

/// The text of a bundle out of its parts, in any order. While parts of two bundles are there (one is
/// being replaced by the other) there is none.
pub fn join(parts: &[Part]) -> Result<String, PartsError> {
    let wrong = |why: String| Err(PartsError(why));
    let Some(first) = parts.first() else {
        return wrong("there is none".to_owned());
    };
    if first.count == 0 || first.count > PARTS_MAX {
        return wrong(format!("{} parts are no bundle", first.count));
    }
    if parts
        .iter()
        .any(|part| (part.count, &part.digest) != (first.count, &first.digest))
    {
        return wrong("they are of different bundles".to_owned());
    }
    let mut text = String::new();
    for number in 1..=first.count {
        match parts.iter().find(|part| part.number == number) {
            Some(part) if text.len() + part.text.len() <= FILE_BYTES_MAX => {
                text.push_str(&part.text);
            }
            Some(_) => return wrong(format!("they hold more than {FILE_BYTES_MAX} bytes")),
            None => return wrong(format!("part {number} of {} is missing", first.count)),
        }
    }
    if digest(text.as_bytes()) != first.digest {
        return wrong("their text is not what the digest says".to_owned());
    }
    Ok(text)
}
