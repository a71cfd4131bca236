//! What a policy says of conversations, whose ends go by name.

use std::collections::HashMap;
use std::net::IpAddr;

use weir_learn::{ConversationKey, End};
use weir_model::Network;
use weir_policy::spec::UNKNOWN_IDENTITY;
use weir_policy::{Decision, Question, Snapshot};
use weir_wire::from_ip_address;

/// The numbers that the names of a policy have.
#[derive(Debug, Default)]
pub struct Ends(HashMap<String, u32>);

impl Ends {
    /// Those of this policy.
    pub fn of(snapshot: &Snapshot) -> Self {
        let identities = snapshot.spec().identities.iter();
        Self(identities.map(|it| (it.name.clone(), it.id)).collect())
    }

    /// What the policy, which must be that of these names, says of a conversation. An end or an
    /// application that is no longer known is not allowed anything: the sentence says which.
    pub fn decide(&self, snapshot: &Snapshot, key: &ConversationKey) -> Result<Decision, String> {
        Ok(snapshot.decide(&self.question(snapshot, key)?))
    }

    /// The conversation as a question, without a request.
    pub fn question(
        &self,
        snapshot: &Snapshot,
        key: &ConversationKey,
    ) -> Result<Question<'static>, String> {
        let end = |name: &str| {
            let found = self.identity(snapshot, name);
            found.ok_or_else(|| format!("{name} is no longer known"))
        };
        let (client, server) = (end(&key.client)?, end(&key.server)?);
        let application = weir_api::application_of(&key.application, key.protocol);
        let application = application
            .ok_or_else(|| format!("application {} is no longer known", key.application))?;
        Ok(Question {
            client,
            server,
            protocol: key.protocol,
            server_port: key.port,
            application,
            request: None,
        })
    }

    /// Names and networks that no rule names any more, or none yet, are addresses that nobody knows, or
    /// those of a wider name.
    fn identity(&self, snapshot: &Snapshot, name: &str) -> Option<u32> {
        if let Some(&identity) = self.0.get(name) {
            return Some(identity);
        }
        match End::of(name) {
            End::Workload(..) => None,
            End::Unknown => Some(UNKNOWN_IDENTITY),
            End::Named(text) => Some(match text.parse::<Network>() {
                Ok(network) => snapshot.identity_of(0, first_address(network)),
                Err(_) => snapshot
                    .name_identity(text.as_bytes())
                    .unwrap_or(UNKNOWN_IDENTITY),
            }),
        }
    }
}

fn first_address(network: Network) -> u128 {
    let text = network.to_string();
    let address = text
        .split_once('/')
        .map_or(text.as_str(), |(address, _)| address);
    address.parse::<IpAddr>().map_or(0, from_ip_address)
}
