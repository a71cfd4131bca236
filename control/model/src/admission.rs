//! What the admission webhook asks of workloads and services (`spec.admission` of Settings).

use serde::{Deserialize, Serialize};

use crate::Enforcement;

/// What is asked of objects of the cluster before they are let in. What is left out is not asked.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AdmissionSettings {
    /// Namespaces whose workloads and services are not looked at, besides `kube-system`,
    /// `kube-public`, `kube-node-lease` and Weir's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exempt_namespaces: Vec<String>,
    /// Images of pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub images: Option<ImageSettings>,
    /// Pods in a namespace for which no allowlist is in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_allowlist: Option<Enforcement>,
    /// Services that claim addresses which are not theirs (CVE-2020-8554).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_addresses: Option<Enforcement>,
}

/// What is asked of an image. All that is written must hold.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ImageSettings {
    /// What becomes of a pod with an image that does not comply; default deny.
    #[serde(default, skip_serializing_if = "is_default")]
    pub enforcement: Enforcement,
    /// It comes from one of these: `registry.example.com`, `ghcr.io/team`, `*.example.com`; empty:
    /// from any. `docker.io/library` is what an image without a registry means.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub registries: Vec<String>,
    /// It comes from none of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_registries: Vec<String>,
    /// Its tag is none of these; one without tag and digest has the tag `latest`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused_tags: Vec<String>,
    /// It is named by its digest, `image@sha256:…`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub require_digest: bool,
    /// The pod has this annotation, written by what checked the images' signatures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_annotation: Option<String>,
    /// What its vulnerability report says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vulnerabilities: Option<VulnerabilitySettings>,
}

/// What a vulnerability report (`vulnerabilityreports.aquasecurity.github.io`) may say of an image.
#[cfg_attr(feature = "crd", derive(schemars::JsonSchema))]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VulnerabilitySettings {
    /// At most so many critical ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_critical: Option<u32>,
    /// At most so many high ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_high: Option<u32>,
    /// An image without a report; left out, it passes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_report: Option<Enforcement>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
