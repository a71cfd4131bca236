//! The binary form in which kubectl's typed clients send an object: what `create token`, `auth can-i` and
//! `create namespace|serviceaccount|configmap|secret|clusterrolebinding` need of it. What is read becomes
//! JSON; answers are JSON, which every client takes.
//!
//! Distrusts what comes: a length beyond the end, or nesting beyond what the tables below say, is no object.

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use serde_json::{Map, Value, json};

const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
/// What every object begins with.
const MAGIC: &[u8] = b"k8s\0";

/// The fields of a message that are of interest: number, name, and what they hold.
type Fields = &'static [(u64, &'static str, Holds)];

enum Holds {
    Text,
    Texts,
    Number,
    Truth,
    /// From text to text.
    Map,
    /// From text to bytes, which JSON has in base64.
    Bytes,
    One(Fields),
    Many(Fields),
}

use Holds::{Bytes as ByteMap, Many, Map as TextMap, Number, One, Text, Texts, Truth};

const METADATA: Fields = &[
    (1, "name", Text),
    (2, "generateName", Text),
    (3, "namespace", Text),
    (11, "labels", TextMap),
    (12, "annotations", TextMap),
];
const TOKEN: Fields = &[
    (1, "audiences", Texts),
    (
        3,
        "boundObjectRef",
        One(&[
            (1, "kind", Text),
            (2, "apiVersion", Text),
            (3, "name", Text),
            (4, "uid", Text),
        ]),
    ),
    (4, "expirationSeconds", Number),
];
const ACCESS: Fields = &[
    (
        1,
        "resourceAttributes",
        One(&[
            (1, "namespace", Text),
            (2, "verb", Text),
            (3, "group", Text),
            (4, "version", Text),
            (5, "resource", Text),
            (6, "subresource", Text),
            (7, "name", Text),
        ]),
    ),
    (
        2,
        "nonResourceAttributes",
        One(&[(1, "path", Text), (2, "verb", Text)]),
    ),
];

/// The messages of the kinds that are read, by kind.
const KINDS: &[(&str, Fields)] = &[
    (
        "TokenRequest",
        &[(1, "metadata", One(METADATA)), (2, "spec", One(TOKEN))],
    ),
    (
        "SelfSubjectAccessReview",
        &[(1, "metadata", One(METADATA)), (2, "spec", One(ACCESS))],
    ),
    (
        "SelfSubjectRulesReview",
        &[
            (1, "metadata", One(METADATA)),
            (2, "spec", One(&[(1, "namespace", Text)])),
        ],
    ),
    ("SelfSubjectReview", &[(1, "metadata", One(METADATA))]),
    ("Namespace", &[(1, "metadata", One(METADATA))]),
    (
        "ServiceAccount",
        &[
            (1, "metadata", One(METADATA)),
            (4, "automountServiceAccountToken", Truth),
        ],
    ),
    (
        "ConfigMap",
        &[
            (1, "metadata", One(METADATA)),
            (2, "data", TextMap),
            (3, "binaryData", ByteMap),
            (4, "immutable", Truth),
        ],
    ),
    (
        "Secret",
        &[
            (1, "metadata", One(METADATA)),
            (2, "data", ByteMap),
            (3, "type", Text),
            (4, "stringData", TextMap),
            (5, "immutable", Truth),
        ],
    ),
    (
        "ClusterRoleBinding",
        &[
            (1, "metadata", One(METADATA)),
            (
                2,
                "subjects",
                Many(&[
                    (1, "kind", Text),
                    (2, "apiGroup", Text),
                    (3, "name", Text),
                    (4, "namespace", Text),
                ]),
            ),
            (
                3,
                "roleRef",
                One(&[(1, "apiGroup", Text), (2, "kind", Text), (3, "name", Text)]),
            ),
        ],
    ),
];

/// The same request with its body as JSON, where it is in the binary form and of a kind that is read.
pub(crate) fn as_json(mut headers: HeaderMap, body: Bytes) -> (HeaderMap, Bytes) {
    let media = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !media.is_some_and(|media| media.starts_with(MEDIA_TYPE.as_bytes())) {
        return (headers, body);
    }
    let Some(object) = object(&body) else {
        // As it is: whoever reads it says that it cannot be read.
        return (headers, body);
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    (headers, Bytes::from(object.to_string()))
}

fn object(body: &[u8]) -> Option<Value> {
    let unknown = fields(body.strip_prefix(MAGIC)?)?;
    let bytes = |fields: &[(u64, Field)], number| {
        let mut found = fields.iter().filter(|(one, _)| *one == number);
        match found.next() {
            Some((_, Field::Bytes(start))) => Some(start.clone()),
            _ => None,
        }
    };
    let about = fields(&bytes(&unknown, 1)?)?;
    let text = |number| String::from_utf8(bytes(&about, number)?).ok();
    let (version, kind) = (text(1)?, text(2)?);
    let (_, message) = KINDS.iter().find(|(name, _)| *name == kind)?;
    let mut object = read(&bytes(&unknown, 2)?, message)?;
    object["apiVersion"] = Value::from(version);
    object["kind"] = Value::from(kind);
    Some(object)
}

fn read(bytes: &[u8], message: Fields) -> Option<Value> {
    let mut object = Map::new();
    for (number, field) in fields(bytes)? {
        let Some((_, name, holds)) = message.iter().find(|(one, ..)| *one == number) else {
            continue;
        };
        let entry = || (*name).to_owned();
        match (holds, field) {
            (Text, Field::Bytes(bytes)) => {
                let text = String::from_utf8(bytes).ok()?;
                if !text.is_empty() {
                    object.insert(entry(), Value::from(text));
                }
            }
            (Texts, Field::Bytes(bytes)) => {
                let list = object.entry(entry()).or_insert_with(|| json!([]));
                list.as_array_mut()?
                    .push(String::from_utf8(bytes).ok()?.into());
            }
            (Number, Field::Number(number)) => {
                object.insert(entry(), Value::from(number));
            }
            (Truth, Field::Number(number)) => {
                object.insert(entry(), Value::from(number != 0));
            }
            (TextMap | ByteMap, Field::Bytes(bytes)) => {
                let (key, value) = pair(&bytes)?;
                let value = match holds {
                    ByteMap => STANDARD.encode(value),
                    _ => String::from_utf8(value).ok()?,
                };
                object.entry(entry()).or_insert_with(|| json!({}))[key] = Value::from(value);
            }
            (One(message), Field::Bytes(bytes)) => {
                object.insert(entry(), read(&bytes, message)?);
            }
            (Many(message), Field::Bytes(bytes)) => {
                let list = object.entry(entry()).or_insert_with(|| json!([]));
                list.as_array_mut()?.push(read(&bytes, message)?);
            }
            _ => return None,
        }
    }
    Some(Value::Object(object))
}

/// An entry of a map.
fn pair(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    for (number, field) in fields(bytes)? {
        match (number, field) {
            (1, Field::Bytes(bytes)) => key = bytes,
            (2, Field::Bytes(bytes)) => value = bytes,
            _ => return None,
        }
    }
    Some((String::from_utf8(key).ok()?, value))
}

enum Field {
    Number(u64),
    Bytes(Vec<u8>),
}

/// The fields of a message as they stand on the wire.
fn fields(mut bytes: &[u8]) -> Option<Vec<(u64, Field)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let field = match tag & 7 {
            0 => Field::Number(varint(&mut bytes)?),
            2 => {
                let length = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(length)?;
                bytes = rest;
                Field::Bytes(value.to_vec())
            }
            _ => return None,
        };
        fields.push((tag >> 3, field));
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_for_a_token_is_read_and_what_is_cut_off_is_none() {
        // TokenRequest of authentication.k8s.io/v1, for an hour.
        let about = b"\x0a\x18authentication.k8s.io/v1\x12\x0cTokenRequest";
        let raw = b"\x0a\x00\x12\x06\x0a\x01x\x20\x90\x1c";
        let mut body = MAGIC.to_vec();
        body.extend([0x0a, about.len() as u8]);
        body.extend(about);
        body.extend([0x12, raw.len() as u8]);
        body.extend(raw);
        let read = object(&body).unwrap();
        assert_eq!(
            read["spec"],
            json!({"audiences": ["x"], "expirationSeconds": 3600})
        );
        assert_eq!(read["kind"], "TokenRequest");
        for length in 0..body.len() {
            assert!(object(&body[..length]).is_none(), "{length}");
        }
    }
}
