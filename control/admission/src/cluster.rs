//! What the webhook keeps in the cluster and reads from it: its Secret, the `caBundle` of its
//! configuration, vulnerability reports.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1;
use kube::Client;
use kube::api::{
    Api, ApiResource, DynamicObject, GroupVersionKind, ListParams, ObjectMeta, PostParams,
};

use crate::authority::Keys;
use crate::report::{REPORTS_MAX, Reports};

/// The files of the Secret.
const FILES: [&str; 4] = ["ca.crt", "ca.key", "tls.crt", "tls.key"];
/// Reports are asked for in parts of so many.
const PAGE: u32 = 500;

/// The Secret that replicas share.
#[derive(Clone)]
pub struct Secret {
    api: Api<v1::Secret>,
    name: String,
}

/// What went wrong with the API server.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {why}; {next}")]
pub struct ClusterError {
    what: String,
    why: String,
    next: &'static str,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Secret({})", self.name)
    }
}

impl Secret {
    /// The Secret of this name in this namespace.
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
        }
    }

    /// Its keys, where it has all of them, and the mark of its state, where it is there.
    pub(crate) async fn load(&self) -> Result<(Option<Keys>, Option<String>), ClusterError> {
        let found = self.api.get_opt(&self.name).await;
        let Some(secret) = found.map_err(|error| self.failed("cannot be read", &error))? else {
            return Ok((None, None));
        };
        let data = secret.data.unwrap_or_default();
        let text = |name: &str| {
            let bytes = data.get(name)?;
            String::from_utf8(bytes.0.clone()).ok()
        };
        let [authorities, authority_keys, certificate, key] = FILES.map(text);
        let keys = || {
            Some(Keys {
                authorities: authorities?,
                authority_keys: authority_keys?,
                certificate: certificate?,
                key: key?,
            })
        };
        Ok((keys(), secret.metadata.resource_version))
    }

    /// Writes it if it is still as it was; false where it is not.
    pub(crate) async fn save(
        &self,
        keys: &Keys,
        revision: Option<String>,
    ) -> Result<bool, ClusterError> {
        let Keys {
            authorities,
            authority_keys,
            certificate,
            key,
        } = keys.clone();
        let texts = [authorities, authority_keys, certificate, key];
        let data = FILES.into_iter().zip(texts);
        let data = data.map(|(name, text)| (name.to_owned(), ByteString(text.into_bytes())));
        let exists = revision.is_some();
        let secret = v1::Secret {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                resource_version: revision,
                labels: Some(BTreeMap::from([(
                    "app.kubernetes.io/managed-by".to_owned(),
                    "weir-controller".to_owned(),
                )])),
                ..ObjectMeta::default()
            },
            type_: Some("kubernetes.io/tls".to_owned()),
            data: Some(data.collect()),
            ..v1::Secret::default()
        };
        let parameters = PostParams::default();
        let written = if exists {
            self.api.replace(&self.name, &parameters, &secret).await
        } else {
            self.api.create(&parameters, &secret).await
        };
        match written {
            Ok(_) => Ok(true),
            // Another replica was quicker, or somebody removed it meanwhile.
            Err(kube::Error::Api(status)) if [404, 409].contains(&status.code) => Ok(false),
            Err(error) => Err(self.failed("cannot be written", &error)),
        }
    }

    fn failed(&self, what: &str, error: &kube::Error) -> ClusterError {
        ClusterError {
            what: format!("Secret {} {what}", self.name),
            why: error.to_string(),
            next: "give the controller's role get, create and update on secrets in its namespace",
        }
    }
}

/// Writes the authorities into every webhook of a configuration; whether it had others.
pub async fn publish(
    client: Client,
    configuration: &str,
    authorities: &str,
) -> Result<bool, ClusterError> {
    let failed = |what: &str, error: &kube::Error| ClusterError {
        what: format!("ValidatingWebhookConfiguration {configuration} {what}"),
        why: error.to_string(),
        next: "apply deploy/baremetal/kustomize/webhook.yaml, and give the controller's role get and update on it",
    };
    let api: Api<ValidatingWebhookConfiguration> = Api::all(client);
    let bundle = ByteString(authorities.as_bytes().to_vec());
    loop {
        let found = api.get(configuration).await;
        let mut found = found.map_err(|error| failed("cannot be read", &error))?;
        let webhooks = found.webhooks.iter_mut().flatten();
        let mut changed = false;
        for webhook in webhooks {
            if webhook.client_config.ca_bundle.as_ref() != Some(&bundle) {
                webhook.client_config.ca_bundle = Some(bundle.clone());
                changed = true;
            }
        }
        if !changed {
            return Ok(false);
        }
        match api
            .replace(configuration, &PostParams::default(), &found)
            .await
        {
            Ok(_) => return Ok(true),
            // Somebody changed it between the two: what stands there now counts.
            Err(kube::Error::Api(status)) if status.code == 409 => {}
            Err(error) => return Err(failed("cannot be written", &error)),
        }
    }
}

/// Every vulnerability report of the cluster; none where it has no such resource.
pub async fn reports(client: Client) -> Result<Reports, ClusterError> {
    let kind = GroupVersionKind::gvk("aquasecurity.github.io", "v1alpha1", "VulnerabilityReport");
    let resource = ApiResource::from_gvk_with_plural(&kind, "vulnerabilityreports");
    let api: Api<DynamicObject> = Api::all_with(client, &resource);
    let mut reports = Reports::default();
    let mut parameters = ListParams::default().limit(PAGE);
    loop {
        let page = match api.list(&parameters).await {
            Ok(page) => page,
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(reports),
            Err(error) => {
                return Err(ClusterError {
                    what: "vulnerability reports cannot be listed".to_owned(),
                    why: error.to_string(),
                    next: "give the controller's role list on vulnerabilityreports.aquasecurity.github.io, \
                           or leave spec.admission.images.vulnerabilities out",
                });
            }
        };
        for report in page.items {
            reports.add(&serde_json::to_value(&report).unwrap_or_default());
        }
        let next = page.metadata.continue_.filter(|next| !next.is_empty());
        let Some(next) = next.filter(|_| reports.count() < REPORTS_MAX) else {
            return Ok(reports);
        };
        parameters = parameters.continue_token(&next);
    }
}
