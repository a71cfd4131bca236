//! What tells conversations apart.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Client → server, in an application, at a port: the unit of learning and of the map. Ends go by
/// name, since names outlive the numbers of identities.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConversationKey {
    /// "namespace/workload", "unknown", or a CIDR or domain name in brackets.
    pub client: String,
    /// As the client.
    pub server: String,
    /// Registry name; "unknown" where the bytes were not recognised, empty where none were seen.
    pub application: String,
    /// The server's port; 0 where the protocol has none.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u8,
}

/// What stands at an end of a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End<'a> {
    /// A workload, by namespace and name.
    Workload(&'a str, &'a str),
    /// A network or domain name that a policy names: what stands between the brackets.
    Named(&'a str),
    /// An address that nobody knows.
    Unknown,
}

impl<'a> End<'a> {
    /// Reads the name of an identity; a name of no other form is nobody known.
    pub fn of(name: &'a str) -> Self {
        if let Some(inner) = name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            return Self::Named(inner);
        }
        match name.split_once('/') {
            Some((namespace, workload)) => Self::Workload(namespace, workload),
            None => Self::Unknown,
        }
    }

    /// Whether it is a workload, with documents of its own.
    pub fn is_workload(self) -> bool {
        matches!(self, Self::Workload(..))
    }
}

impl ConversationKey {
    /// The client's end.
    pub fn client_end(&self) -> End<'_> {
        End::of(&self.client)
    }

    /// The server's end.
    pub fn server_end(&self) -> End<'_> {
        End::of(&self.server)
    }

    /// Sixteen hexadecimal digits that stay the same wherever and whenever they are computed: by
    /// them a person accepts a proposal.
    pub fn id(&self) -> String {
        // FNV-1a; a zero byte ends each part, so that parts cannot run into each other.
        let Self {
            client,
            server,
            application,
            port,
            protocol,
        } = self;
        let text = format!("{client}\0{server}\0{application}\0{port}\0{protocol}");
        let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        format!("{hash:016x}")
    }
}

impl fmt::Display for ConversationKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            client,
            server,
            application,
            port,
            protocol,
        } = self;
        let application = if application.is_empty() {
            "no data"
        } else {
            application
        };
        let protocol = weir_model::Protocol(*protocol);
        write!(formatter, "{client} → {server} {application}")?;
        match protocol.name() {
            Some(name) if protocol.has_ports() => write!(formatter, " {port}/{name}"),
            Some(name) => write!(formatter, " {name}"),
            None => write!(formatter, " protocol {}", protocol.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ConversationKey {
        let (client, server) = ("shop/ai-model".into(), "shop/photo-db".into());
        ConversationKey {
            client,
            server,
            application: "mysql".into(),
            port: 3306,
            protocol: 6,
        }
    }

    #[test]
    fn ends_are_told_by_their_names() {
        assert_eq!(End::of("shop/a"), End::Workload("shop", "a"));
        assert_eq!(End::of("[10.0.0.0/8]"), End::Named("10.0.0.0/8"));
        assert_eq!(End::of("unknown"), End::Unknown);
    }

    #[test]
    fn ids_stay_and_differ() {
        assert_eq!(key().id(), "a6c1aee11ad4d530");
        assert_ne!(
            key().id(),
            ConversationKey {
                port: 3307,
                ..key()
            }
            .id()
        );
        assert_eq!(
            key().to_string(),
            "shop/ai-model → shop/photo-db mysql 3306/tcp"
        );
    }
}
