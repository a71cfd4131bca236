//! Names: DNS labels, references to other documents, domain names, labels.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// Why a name cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NameError(String);

/// Names a document of another kind: "photo-db" in the same namespace, or "shop/photo-db".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    namespace: Option<String>,
    name: String,
}

/// "api.example.com", or "*.example.com" for any number of labels before it. Lower case, no
/// final dot.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DomainPattern(String);

/// Checks that a name is a DNS subdomain (RFC 1123), as Kubernetes has it: DNS labels with dots
/// between them, at most 253 characters.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let wrong = if name.is_empty() {
        "is empty"
    } else if name.len() > 253 {
        "is longer than 253 characters"
    } else if let Some(wrong) = name.split('.').find_map(wrong_in_label) {
        wrong
    } else {
        return Ok(());
    };
    Err(NameError(format!(
        "{:?} cannot be a name: it {wrong}",
        Shortened(name)
    )))
}

/// Checks that the name of a namespace is a DNS label (RFC 1123): lower-case letters, digits and
/// inner hyphens, at most 63.
pub fn check_namespace(name: &str) -> Result<(), NameError> {
    let wrong = match name {
        "" => Some("is empty"),
        _ => wrong_in_label(name),
    };
    match wrong {
        None => Ok(()),
        Some(wrong) => Err(NameError(format!(
            "{:?} cannot be a namespace: it {wrong}",
            Shortened(name)
        ))),
    }
}

fn wrong_in_label(label: &str) -> Option<&'static str> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if label.is_empty() {
        Some("begins, ends or goes on with a dot")
    } else if label.contains(|character: char| !character.is_ascii() || !fits(character as u8)) {
        Some("has characters other than a-z, 0-9 and -")
    } else if label.len() > 63 {
        Some("has more than 63 characters without a dot")
    } else if label.starts_with('-') || label.ends_with('-') {
        Some("begins or ends with a hyphen")
    } else {
        None
    }
}

impl Reference {
    /// A reference with its namespace, both checked.
    pub fn new(namespace: &str, name: &str) -> Result<Self, NameError> {
        check_namespace(namespace)?;
        check_name(name)?;
        Ok(Self {
            namespace: Some(namespace.to_owned()),
            name: name.to_owned(),
        })
    }

    /// The namespace, where written.
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The name without its namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// "shop/photo-db": the full name, seen from a document in `namespace`.
    pub fn resolve(&self, namespace: &str) -> String {
        format!(
            "{}/{}",
            self.namespace.as_deref().unwrap_or(namespace),
            self.name
        )
    }
}

impl FromStr for Reference {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        match text.split_once('/') {
            Some((namespace, name)) => Self::new(namespace, name),
            None => {
                check_name(text)?;
                Ok(Self {
                    namespace: None,
                    name: text.to_owned(),
                })
            }
        }
    }
}

impl TryFrom<String> for Reference {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(formatter, "{namespace}/{}", self.name),
            None => formatter.write_str(&self.name),
        }
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        reference.to_string()
    }
}

impl DomainPattern {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every name that `other` stands for is one that this stands for.
    pub fn contains(&self, other: &DomainPattern) -> bool {
        if self == other {
            return true;
        }
        let Some(suffix) = self.0.strip_prefix('*') else {
            return false;
        };
        other
            .0
            .strip_prefix('*')
            .unwrap_or(&other.0)
            .ends_with(suffix)
    }
}

impl FromStr for DomainPattern {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = |wrong: &str| {
            Err(NameError(format!(
                "{:?} cannot be a domain name: {wrong}",
                Shortened(text)
            )))
        };
        let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let name = lower.strip_prefix("*.").unwrap_or(&lower);
        if name.is_empty() || name.len() > 253 {
            return refuse("it has 1 to 253 characters");
        }
        if name.parse::<std::net::IpAddr>().is_ok() {
            return refuse("it is an address; write cidr");
        }
        if name.contains('*') {
            return refuse("* stands only for whole labels at the beginning, as in *.example.com");
        }
        if !name.is_ascii() {
            return refuse("write an international name in its ASCII form (xn--…)");
        }
        for label in name.split('.') {
            if label.is_empty() || label.len() > 63 {
                return refuse("each part between dots has 1 to 63 characters");
            }
            if !label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            {
                return refuse("it has characters other than a-z, 0-9, - and _");
            }
        }
        Ok(Self(lower))
    }
}

impl TryFrom<String> for DomainPattern {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl fmt::Display for DomainPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<DomainPattern> for String {
    fn from(domain: DomainPattern) -> Self {
        domain.0
    }
}

/// Text for messages: a name of a megabyte does not belong into one.
pub(crate) struct Shortened<'a>(pub &'a str);

impl fmt::Debug for Shortened<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CHARS_MAX: usize = 80;
        match self.0.char_indices().nth(CHARS_MAX) {
            Some((end, _)) => write!(formatter, "{:?}…", self.0.get(..end).unwrap_or("")),
            None => write!(formatter, "{:?}", self.0),
        }
    }
}

pub(crate) fn deserialize_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    check_name(&name).map_err(D::Error::custom)?;
    Ok(name)
}

pub(crate) fn deserialize_optional_name<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    deserialize_name(deserializer).map(Some)
}

pub(crate) fn deserialize_namespace<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    check_namespace(&name).map_err(D::Error::custom)?;
    Ok(name)
}

pub(crate) fn deserialize_optional_namespace<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    deserialize_namespace(deserializer).map(Some)
}

pub(crate) fn deserialize_label_key<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<String, D::Error> {
    let key = String::deserialize(deserializer)?;
    check_label_key(&key).map_err(D::Error::custom)?;
    Ok(key)
}

pub(crate) fn deserialize_label_values<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    let values = Vec::<String>::deserialize(deserializer)?;
    for value in &values {
        check_label_value("here", value).map_err(D::Error::custom)?;
    }
    Ok(values)
}

pub(crate) fn deserialize_labels<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, String>, D::Error> {
    let labels = BTreeMap::<String, String>::deserialize(deserializer)?;
    for (key, value) in &labels {
        check_label(key, value).map_err(D::Error::custom)?;
    }
    Ok(labels)
}

pub(crate) fn deserialize_optional_labels<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<BTreeMap<String, String>>, D::Error> {
    deserialize_labels(deserializer).map(Some)
}

/// The syntax of Kubernetes labels: "app.kubernetes.io/name" and values of at most 63 characters.
fn check_label(key: &str, value: &str) -> Result<(), NameError> {
    check_label_key(key)?;
    check_label_value(key, value)
}

fn plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

fn check_label_key(key: &str) -> Result<(), NameError> {
    let (prefix, name) = key.split_once('/').unwrap_or(("", key));
    if name.is_empty() || name.len() > 63 || prefix.len() > 253 || !plain(name) || !plain(prefix) {
        return Err(NameError(format!(
            "{:?} cannot be the key of a label",
            Shortened(key)
        )));
    }
    Ok(())
}

fn check_label_value(key: &str, value: &str) -> Result<(), NameError> {
    if value.len() > 63 || !plain(value) {
        return Err(NameError(format!(
            "{:?} cannot be the value of label {key}: at most 63 letters, digits, -, _ and .",
            Shortened(value)
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_subdomains_and_namespaces_dns_labels() {
        for good in ["a", "photo-db", "0", &"x".repeat(63)] {
            assert!(check_name(good).is_ok(), "{good}");
            assert!(check_namespace(good).is_ok(), "{good}");
        }
        assert!(check_name("web.v1").is_ok() && check_namespace("web.v1").is_err());
        for bad in [
            "",
            "-a",
            "a-",
            "a.-b",
            "a..b",
            ".a",
            "a.",
            "A",
            "a/b",
            "ä",
            " a",
            "a\n",
            &"x".repeat(64),
        ] {
            assert!(check_name(bad).is_err(), "{bad}");
            assert!(check_namespace(bad).is_err(), "{bad}");
        }
        assert!(check_name(&"x.".repeat(127)[..253]).is_ok());
        assert!(check_name(&"x.".repeat(128)[..255]).is_err());
        assert!(
            check_name(&"X".repeat(1 << 20))
                .unwrap_err()
                .to_string()
                .len()
                < 200
        );
    }

    #[test]
    fn references_resolve_in_the_namespace_of_the_document() {
        let near: Reference = "photo-db".parse().unwrap();
        let far: Reference = "shop/photo-db".parse().unwrap();
        assert_eq!(near.resolve("a"), "a/photo-db");
        assert_eq!(far.resolve("a"), "shop/photo-db");
        for bad in ["", "/", "a/", "/a", "a/b/c", "[10.0.0.0/8]"] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
    }

    #[test]
    fn domains_are_canonical_and_contain_what_they_match() {
        let parse = |text: &str| text.parse::<DomainPattern>().unwrap();
        assert_eq!(parse("API.Example.com.").as_str(), "api.example.com");
        let wide = parse("*.example.com");
        assert!(wide.contains(&parse("a.b.example.com")));
        assert!(wide.contains(&parse("*.b.example.com")));
        assert!(!wide.contains(&parse("example.com")));
        assert!(!wide.contains(&parse("badexample.com")));
        assert!(!parse("a.b.example.com").contains(&wide));
        for bad in [
            "",
            "*",
            "*.",
            "a..b",
            "a.*.b",
            "a*.b",
            "bücher.de",
            "10.0.0.1",
            "a b",
            "::1",
            "http://x",
        ] {
            assert!(bad.parse::<DomainPattern>().is_err(), "{bad}");
        }
    }
}
