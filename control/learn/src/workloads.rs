//! What is known of workloads beside their conversations, and which of them are of a kind.

use std::collections::{BTreeMap, BTreeSet};

/// Labels that say what a workload is an instance of, the most telling first.
const NAME_LABELS: [&str; 4] = [
    "app.kubernetes.io/name",
    "app",
    "k8s-app",
    "app.kubernetes.io/component",
];
/// Last parts of names that tell variants of one workload apart.
const VARIANTS: [&str; 8] = [
    "canary", "stable", "primary", "blue", "green", "old", "new", "next",
];

/// What is known of a workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Names of its images, without registry host, tag and digest.
    pub images: BTreeSet<String>,
}

/// Workloads by "namespace/name".
pub type Workloads = BTreeMap<String, Traits>;

impl Traits {
    /// What it is an instance of, as its labels or images say.
    fn kind(&self) -> Option<&str> {
        let label = NAME_LABELS.iter().find_map(|label| self.labels.get(*label));
        label
            .or_else(|| self.images.first())
            .map(String::as_str)
            .filter(|kind| !kind.is_empty())
    }

    /// Whether labels or an image say that both are instances of the same.
    pub fn is_like(&self, other: &Self) -> bool {
        self.kind().is_some() && self.kind() == other.kind()
            || !self.images.is_disjoint(&other.images)
    }
}

/// The name of an image without registry host, tag and digest: "library/redis" of
/// "registry.example.com:5000/library/redis:7@sha256:…".
pub fn image_name(reference: &str) -> &str {
    let without_digest = reference
        .split_once('@')
        .map_or(reference, |(name, _)| name);
    let (head, last) = match without_digest.rsplit_once('/') {
        Some((head, last)) => (head.len() + 1, last),
        None => (0, without_digest),
    };
    let end = head + last.find(':').unwrap_or(last.len());
    let name = without_digest.get(..end).unwrap_or(without_digest);
    match name.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => rest,
        _ => name,
    }
}

/// What a workload is an instance of: similar workloads, also in other namespaces, have an equal one.
/// An end that is no workload is a kind of its own.
pub fn family(name: &str, workloads: &Workloads) -> String {
    if let Some(kind) = workloads.get(name).and_then(Traits::kind) {
        return format!("kind {kind}");
    }
    match name.split_once('/') {
        Some((_, own)) if !name.starts_with('[') => format!("name {}", stem(own)),
        _ => name.to_owned(),
    }
}

/// A workload's name without what a release adds: "-v2", "-canary", a hash, a date.
pub fn stem(name: &str) -> &str {
    let mut stem = name;
    while let Some((head, last)) = stem.rsplit_once('-') {
        let version = last.strip_prefix('v').unwrap_or(last);
        let is_version = !version.is_empty()
            && version
                .bytes()
                .all(|byte| byte.is_ascii_digit() || byte == b'.');
        // As ReplicaSets and image builds are named: without a digit it is rather a word.
        let is_hash = (7..=40).contains(&last.len())
            && last.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && last.bytes().any(|byte| byte.is_ascii_digit());
        if head.is_empty() || !(is_version || is_hash || VARIANTS.contains(&last)) {
            break;
        }
        stem = head;
    }
    stem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stems_are_names_without_what_a_release_adds() {
        for (name, expected) in [
            ("web", "web"),
            ("web-v2", "web"),
            ("web-canary", "web"),
            ("web-7d4b9c6f58", "web"),
            ("web-api", "web-api"),
            ("web-20240131", "web"),
            ("web-v1.2-blue", "web"),
            ("web-database", "web-database"),
            ("v2", "v2"),
            ("-v2", "-v2"),
            ("", ""),
        ] {
            assert_eq!(stem(name), expected, "{name}");
        }
    }

    #[test]
    fn images_are_named_without_where_they_come_from() {
        for (reference, expected) in [
            ("redis", "redis"),
            ("redis:7", "redis"),
            ("library/redis:7", "library/redis"),
            ("registry.example.com:5000/team/api:1@sha256:ab", "team/api"),
            ("localhost/api", "api"),
            ("", ""),
        ] {
            assert_eq!(image_name(reference), expected, "{reference}");
        }
    }

    #[test]
    fn a_family_is_told_by_label_then_image_then_name() {
        let labelled = |value: &str| Traits {
            labels: [("app".to_owned(), value.to_owned())].into(),
            ..Traits::default()
        };
        let pictured = Traits {
            images: ["team/api".to_owned()].into(),
            ..Traits::default()
        };
        let workloads: Workloads = [
            ("a/one".to_owned(), labelled("shop")),
            ("b/two".to_owned(), labelled("shop")),
            ("b/three".to_owned(), pictured),
        ]
        .into();
        let family = |name: &str| family(name, &workloads);
        assert_eq!(family("a/one"), family("b/two"));
        assert_ne!(family("a/one"), family("b/three"));
        assert_eq!(family("a/web-v2"), family("b/web"));
        assert_eq!(family("unknown"), "unknown");
        assert_eq!(family("[10.0.0.0/8]"), "[10.0.0.0/8]");
    }
}
