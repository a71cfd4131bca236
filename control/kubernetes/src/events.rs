//! Events that people see with `kubectl get events` and `kubectl describe deployment weir-controller`.
//!
//! Several controllers may tell the same: an event's name follows from what it says and when, so that the
//! API server takes it once.

use std::fmt::Write;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{Namespace, ObjectReference};
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use sha2::{Digest, Sha256};
use tokio::time::timeout;

use crate::trouble::Trouble;

/// Who tells.
const REPORTER: &str = "weir.dev/controller";
/// What the events are about, where it is there; otherwise the namespace.
const DEPLOYMENT: &str = "weir-controller";
/// The longest note that the API server takes has 1024 bytes.
const NOTE_BYTES_MAX: usize = 1_000;
/// The longest name of who tells has 128.
const INSTANCE_CHARS_MAX: usize = 128;
/// What it means that an event cannot be written.
const MEANWHILE: &str = "`weir status` and the log say all the same";

/// Whether something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// It is.
    Warning,
    /// It is no longer.
    Normal,
}

/// Writes events.
#[derive(Clone)]
pub struct Events {
    client: Client,
    namespace: String,
    identity: String,
    timeout: Duration,
    regarding: Option<ObjectReference>,
}

impl Events {
    /// In Weir's own namespace, as this controller.
    pub fn new(client: Client, namespace: &str, identity: &str, timeout: Duration) -> Self {
        Self {
            client,
            namespace: namespace.to_owned(),
            identity: identity.chars().take(INSTANCE_CHARS_MAX).collect(),
            timeout,
            regarding: None,
        }
    }

    /// Tells once in each `period` (a number that goes on with time) what others may tell as well.
    pub async fn tell(
        &mut self,
        kind: EventType,
        reason: &str,
        note: &str,
        period: u64,
    ) -> Result<(), Trouble> {
        let regarding = self.regarding().await;
        let kind = match kind {
            EventType::Warning => "Warning",
            EventType::Normal => "Normal",
        };
        let event = Event {
            metadata: ObjectMeta {
                name: Some(event_name(kind, reason, note, period)),
                namespace: Some(self.namespace.clone()),
                ..ObjectMeta::default()
            },
            event_time: Some(MicroTime(Timestamp::now())),
            type_: Some(kind.to_owned()),
            reason: Some(reason.to_owned()),
            action: Some("Reconciling".to_owned()),
            note: Some(bounded(note)),
            regarding: Some(regarding),
            reporting_controller: Some(REPORTER.to_owned()),
            reporting_instance: Some(self.identity.clone()),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &self.namespace);
        let doing = format!(
            "create events.events.k8s.io in namespace {}",
            self.namespace
        );
        let parameters = PostParams::default();
        let sent = api.create(&parameters, &event);
        let trouble = match timeout(self.timeout, sent).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => Trouble::of(&doing, MEANWHILE, error),
            Err(_) => Trouble::slow(&doing, MEANWHILE, self.timeout),
        };
        // Another controller has told it.
        match trouble.conflict {
            true => Ok(()),
            false => Err(trouble),
        }
    }

    /// The Deployment, with the number by which `kubectl describe` finds its events.
    async fn regarding(&mut self) -> ObjectReference {
        if let Some(regarding) = &self.regarding {
            return regarding.clone();
        }
        let reference =
            |api_version: &str, kind: &str, name: &str, uid: Option<String>| ObjectReference {
                api_version: Some(api_version.to_owned()),
                kind: Some(kind.to_owned()),
                name: Some(name.to_owned()),
                namespace: Some(self.namespace.clone()),
                uid,
                ..ObjectReference::default()
            };
        let deployments: Api<Deployment> = Api::namespaced(self.client.clone(), &self.namespace);
        let found = timeout(self.timeout, deployments.get_metadata_opt(DEPLOYMENT)).await;
        if let Ok(Ok(Some(deployment))) = found {
            let uid = deployment.metadata.uid;
            let regarding = reference("apps/v1", "Deployment", DEPLOYMENT, uid);
            self.regarding = Some(regarding.clone());
            return regarding;
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let found = timeout(self.timeout, namespaces.get_metadata_opt(&self.namespace)).await;
        let uid = match found {
            Ok(Ok(Some(namespace))) => namespace.metadata.uid,
            _ => None,
        };
        reference("v1", "Namespace", &self.namespace, uid)
    }
}

impl std::fmt::Debug for Events {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Events")
            .field("namespace", &self.namespace)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

fn event_name(kind: &str, reason: &str, note: &str, period: u64) -> String {
    let digest = Sha256::digest(format!("{kind}\0{reason}\0{note}\0{period}"));
    let mut name = format!("{DEPLOYMENT}.");
    for byte in digest.iter().take(8) {
        let _ = write!(name, "{byte:02x}");
    }
    name
}

fn bounded(note: &str) -> String {
    let mut text = String::new();
    for char in note.chars() {
        let char = if char.is_control() { ' ' } else { char };
        if text.len() + char.len_utf8() > NOTE_BYTES_MAX {
            text.push('…');
            break;
        }
        text.push(char);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_events_have_equal_names_and_notes_are_bounded() {
        let name = |note, period| event_name("Warning", "Forbidden", note, period);
        assert_eq!(name("a", 1), name("a", 1));
        assert_ne!(name("a", 1), name("b", 1));
        assert_ne!(name("a", 1), name("a", 2));
        let note = bounded(&"é\n".repeat(1_000));
        assert!(
            note.len() <= 1_024 && !note.contains('\n'),
            "{}",
            note.len()
        );
    }
}
