//! What the API server asks: `AdmissionReview` of `admission.k8s.io/v1`.

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// A request, as far as it matters here.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    /// To be given back.
    pub uid: String,
    /// What the object is.
    #[serde(default, deserialize_with = "or_default")]
    pub kind: GroupKind,
    /// "status" and the like; empty for the object itself.
    #[serde(default, deserialize_with = "or_default")]
    pub sub_resource: String,
    /// Its name; empty where the server makes one.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Its namespace; empty where it belongs to none.
    #[serde(default, deserialize_with = "or_default")]
    pub namespace: String,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    #[serde(default, deserialize_with = "or_default")]
    pub operation: String,
    /// The object; null when it is deleted.
    #[serde(default, deserialize_with = "or_default")]
    pub object: Value,
    /// As it was; null when it is created.
    #[serde(default, deserialize_with = "or_default")]
    pub old_object: Value,
}

/// Group, version and kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct GroupKind {
    /// Empty for the core group.
    pub group: String,
    /// "v1".
    pub version: String,
    /// "Pod".
    pub kind: String,
}

/// Why a body is no review.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadReview {
    /// It is not what a review looks like.
    #[error("this is no AdmissionReview: {0}")]
    Form(String),
    /// Another version of the review.
    #[error(
        "apiVersion {0:?} is not read; register the webhook with admissionReviewVersions: [v1]"
    )]
    Version(String),
    /// It asks nothing.
    #[error("the review has no request with a uid")]
    NoRequest,
}

impl Request {
    /// Reads a body.
    pub fn read(body: &[u8]) -> Result<Self, BadReview> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Review {
            #[serde(default)]
            api_version: String,
            request: Option<Request>,
        }
        let review: Review =
            serde_json::from_slice(body).map_err(|error| BadReview::Form(error.to_string()))?;
        if review.api_version != "admission.k8s.io/v1" {
            let version = review.api_version.chars().take(80).collect();
            return Err(BadReview::Version(version));
        }
        let request = review.request.filter(|request| !request.uid.is_empty());
        request.ok_or(BadReview::NoRequest)
    }

    /// Whether the object is on its way out, so that only its finalizers are worked off.
    pub fn is_going(&self) -> bool {
        !self.object["metadata"]["deletionTimestamp"].is_null()
    }

    /// "allowlist shop/db": for messages.
    pub fn title(&self) -> String {
        let kind = self.kind.kind.to_lowercase();
        if self.namespace.is_empty() {
            format!("{kind} {}", self.name)
        } else {
            format!("{kind} {}/{}", self.namespace, self.name)
        }
    }
}

/// Some clients write null for what they leave out.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
