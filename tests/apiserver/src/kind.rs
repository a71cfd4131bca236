//! The kinds of objects that the server knows: those of every cluster, and those that CRDs add.

use std::sync::Arc;

use serde_json::Value;

use crate::shape::Shape;
use crate::types::shape_of;

/// A kind of object and where it is served.
#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) namespaced: bool,
    pub(crate) subresources: Vec<String>,
    /// Its objects are asked and never kept.
    pub(crate) is_question: bool,
    pub(crate) shape: Arc<Shape>,
    pub(crate) custom: Option<Custom>,
}

/// What a CRD says about its kind.
#[derive(Debug)]
pub(crate) struct Custom {
    /// `openAPIV3Schema`, complete.
    pub(crate) schema: Value,
    /// `additionalPrinterColumns`.
    pub(crate) columns: Vec<Value>,
    /// JSON paths that a field selector may name.
    pub(crate) selectable: Vec<String>,
    /// The version in which objects are kept.
    pub(crate) storage_version: String,
}

impl Kind {
    /// `apiVersion` of its objects.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// `leases.coordination.k8s.io`: also the name under which objects of all versions are kept.
    pub(crate) fn resource(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// `Lease.coordination.k8s.io`.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.kind.clone()
        } else {
            format!("{}.{}", self.kind, self.group)
        }
    }

    pub(crate) fn has(&self, subresource: &str) -> bool {
        self.subresources.iter().any(|one| one == subresource)
    }

    pub(crate) fn is(&self, kind: &str) -> bool {
        self.custom.is_none() && self.kind == kind
    }

    /// Whether a change of the spec counts in `metadata.generation`.
    pub(crate) fn counts_generations(&self) -> bool {
        self.custom.is_some()
            || matches!(
                self.kind.as_str(),
                "Pod"
                    | "Deployment"
                    | "ReplicaSet"
                    | "StatefulSet"
                    | "DaemonSet"
                    | "Job"
                    | "CronJob"
                    | "EndpointSlice"
                    | "NetworkPolicy"
                    | "CustomResourceDefinition"
                    | "ValidatingWebhookConfiguration"
                    | "MutatingWebhookConfiguration"
                    | "ValidatingAdmissionPolicy"
                    | "ValidatingAdmissionPolicyBinding"
            )
    }
}

/// group, version, plural, kind, namespaced, short names, categories, subresources
type Row = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    bool,
    &'static str,
    &'static str,
    &'static str,
);

const ADMISSION: &str = "admissionregistration.k8s.io";
pub(crate) const AUTHENTICATION: &str = "authentication.k8s.io";
pub(crate) const AUTHORIZATION: &str = "authorization.k8s.io";
/// In place of subresources: a kind whose objects are asked and never kept.
const QUESTION: &str = "?";
const RBAC: &str = "rbac.authorization.k8s.io";

#[rustfmt::skip]
const ROWS: &[Row] = &[
    ("", "v1", "configmaps", "ConfigMap", true, "cm", "", ""),
    ("", "v1", "endpoints", "Endpoints", true, "ep", "", ""),
    ("", "v1", "events", "Event", true, "ev", "", ""),
    ("", "v1", "namespaces", "Namespace", false, "ns", "", "finalize status"),
    ("", "v1", "nodes", "Node", false, "no", "", "status"),
    ("", "v1", "pods", "Pod", true, "po", "all", "binding status"),
    ("", "v1", "secrets", "Secret", true, "", "", ""),
    ("", "v1", "serviceaccounts", "ServiceAccount", true, "sa", "", "token"),
    ("", "v1", "services", "Service", true, "svc", "all", "status"),
    ("apps", "v1", "controllerrevisions", "ControllerRevision", true, "", "", ""),
    ("apps", "v1", "daemonsets", "DaemonSet", true, "ds", "all", "status"),
    ("apps", "v1", "deployments", "Deployment", true, "deploy", "all", "status"),
    ("apps", "v1", "replicasets", "ReplicaSet", true, "rs", "all", "status"),
    ("apps", "v1", "statefulsets", "StatefulSet", true, "sts", "all", "status"),
    ("events.k8s.io", "v1", "events", "Event", true, "ev", "", ""),
    (AUTHENTICATION, "v1", "selfsubjectreviews", "SelfSubjectReview", false, "", "", QUESTION),
    (AUTHENTICATION, "v1", "tokenreviews", "TokenReview", false, "", "", QUESTION),
    (AUTHORIZATION, "v1", "localsubjectaccessreviews", "LocalSubjectAccessReview", true, "", "", QUESTION),
    (AUTHORIZATION, "v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", false, "", "", QUESTION),
    (AUTHORIZATION, "v1", "selfsubjectrulesreviews", "SelfSubjectRulesReview", false, "", "", QUESTION),
    (AUTHORIZATION, "v1", "subjectaccessreviews", "SubjectAccessReview", false, "", "", QUESTION),
    ("batch", "v1", "cronjobs", "CronJob", true, "cj", "all", "status"),
    ("batch", "v1", "jobs", "Job", true, "", "all", "status"),
    ("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy", true, "netpol", "", ""),
    (RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding", false, "", "", ""),
    (RBAC, "v1", "clusterroles", "ClusterRole", false, "", "", ""),
    (RBAC, "v1", "rolebindings", "RoleBinding", true, "", "", ""),
    (RBAC, "v1", "roles", "Role", true, "", "", ""),
    (ADMISSION, "v1", "mutatingwebhookconfigurations", "MutatingWebhookConfiguration", false, "", "api-extensions", ""),
    (ADMISSION, "v1", "validatingwebhookconfigurations", "ValidatingWebhookConfiguration", false, "", "api-extensions", ""),
    ("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false, "crd crds", "api-extensions", "status"),
    ("coordination.k8s.io", "v1", "leases", "Lease", true, "", "", ""),
    ("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true, "", "", ""),
];

/// The kinds that every cluster has, in the order in which the real server tells of their groups.
pub(crate) fn builtin() -> Vec<Arc<Kind>> {
    ROWS.iter().map(|row| Arc::new(from_row(row))).collect()
}

fn from_row(
    &(group, version, plural, kind, namespaced, short_names, categories, subresources): &Row,
) -> Kind {
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    Kind {
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        list_kind: format!("{kind}List"),
        plural: plural.to_owned(),
        singular: kind.to_lowercase(),
        short_names: words(short_names),
        categories: words(categories),
        namespaced,
        is_question: subresources == QUESTION,
        subresources: if subresources == QUESTION {
            Vec::new()
        } else {
            words(subresources)
        },
        shape: shape_of(kind),
        custom: None,
    }
}
