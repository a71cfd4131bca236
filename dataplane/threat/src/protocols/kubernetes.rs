//! Services that claim an outside address (CVE-2020-8554): who may write services can take over what
//! others send to any address.
//!
//! Seen are writes to the API in clear HTTP (through `kubectl proxy`, or an API without TLS), and
//! traffic to an address that a service claims, as the controller says.
//! Memory: two bytes of a connection.

use std::sync::Arc;

use weir_l7::Content;

use super::{Scene, Watch};
use crate::{Config, Connection, Evidence, Found, Threat};

/// Addresses that services claim by `externalIPs` or a load balancer's status, IPv4 mapped into IPv6,
/// each with the name of the service. Memory: about 64 bytes for each; whoever makes one bounds them.
#[derive(Clone, Debug, Default)]
pub struct ExternalAddresses(Arc<[(u128, Box<str>)]>);

impl ExternalAddresses {
    /// These. Of several services that claim an address the first by name is told.
    pub fn new<'a>(claims: impl IntoIterator<Item = (u128, &'a str)>) -> Self {
        let claims = claims.into_iter();
        let mut sorted: Vec<(u128, Box<str>)> = claims
            .map(|(address, service)| (address, service.into()))
            .collect();
        sorted.sort_unstable();
        sorted.dedup_by_key(|(address, _)| *address);
        Self(sorted.into())
    }

    fn claimant(&self, address: u128) -> Option<&str> {
        let place = self
            .0
            .binary_search_by_key(&address, |(claimed, _)| *claimed);
        place.ok().and_then(|place| Some(&*self.0.get(place)?.1))
    }
}

/// A connection began.
pub(super) fn opened(
    config: &Config,
    external: &ExternalAddresses,
    watch: &mut Watch,
    connection: &Connection,
    found: &mut Found,
) {
    if let Some(service) = external.claimant(connection.server) {
        watch.once(config, Threat::ExternalIp, found, || {
            Evidence::sign("traffic to an address that a service claims").bytes(service.as_bytes())
        });
    }
}

/// Whether a request writes a service: `/api/v1/namespaces/N/services`, one of them, or its status.
pub(super) fn writes_service(method: &[u8], path: &[u8]) -> bool {
    if !matches!(method, b"POST" | b"PUT" | b"PATCH") {
        return false;
    }
    let path = path.split(|&byte| byte == b'?').next().unwrap_or(path);
    let mut parts = path
        .split(|&byte| byte == b'/')
        .filter(|part| !part.is_empty());
    // A proxy before the API may put a prefix before it.
    parts.any(|part| part == b"api")
        && parts.next() == Some(b"v1")
        && match parts.next() {
            Some(b"namespaces") => parts.nth(1) == Some(b"services"),
            other => other == Some(b"services"),
        }
}

/// Looks for a list of addresses in a document that comes in pieces: JSON, YAML, or a JSON patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Claim {
    /// How far each key was matched.
    matched: [u8; KEYS.len()],
}

const KEYS: [&[u8]; 2] = [b"externalIPs", b"ingress"];
/// Behind the key: its quote and spaces.
const BEHIND_KEY: u8 = 0x40;
/// Behind the colon.
const BEHIND_COLON: u8 = 0x41;
/// Behind the bracket.
const BEHIND_BRACKET: u8 = 0x42;

impl Claim {
    /// Takes a piece. The key, where it has an element.
    pub(super) fn take(&mut self, piece: &[u8]) -> Option<&'static [u8]> {
        for &byte in piece {
            for (state, key) in self.matched.iter_mut().zip(KEYS) {
                let (next, claims) = step(*state, key, byte);
                *state = next;
                if claims {
                    return Some(key);
                }
            }
        }
        None
    }
}

/// The next state, and whether an element of the list was reached.
fn step(state: u8, key: &[u8], byte: u8) -> (u8, bool) {
    let is_space = byte.is_ascii_whitespace();
    match (state, byte) {
        (BEHIND_KEY, b'"' | b'\'') => (BEHIND_KEY, false),
        (BEHIND_KEY, b':') => (BEHIND_COLON, false),
        // A JSON patch: "path": "/spec/externalIPs" or an element of it.
        (BEHIND_KEY, b',' | b'/') => (0, true),
        (BEHIND_COLON, b'[') => (BEHIND_BRACKET, false),
        (BEHIND_COLON, b'-') => (0, true),
        (BEHIND_BRACKET, b']') => (0, false),
        (BEHIND_KEY | BEHIND_COLON | BEHIND_BRACKET, _) if is_space => (state, false),
        (BEHIND_BRACKET, _) => (0, true),
        (BEHIND_KEY | BEHIND_COLON, _) => (0, false),
        _ if key.get(usize::from(state)) == Some(&byte) => {
            let next = state + 1;
            let whole = usize::from(next) == key.len();
            (if whole { BEHIND_KEY } else { next }, false)
        }
        _ => (u8::from(key.first() == Some(&byte)), false),
    }
}

/// A piece of the body of a request that writes a service.
pub(super) fn body(scene: &mut Scene<'_>, claim: &mut Claim, content: &Content<'_>) {
    if let Some(key) = claim.take(content.bytes) {
        scene.once(Threat::ExternalIp, || {
            Evidence::sign("a service is written that claims an address").bytes(key)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claims(document: &str) -> bool {
        Claim::default().take(document.as_bytes()).is_some()
    }

    #[test]
    fn lists_with_an_element_claim() {
        for document in [
            r#"{"spec":{"externalIPs":["203.0.113.7"]}}"#,
            "{\"spec\": {\"externalIPs\" : [\n \"203.0.113.7\" ] } }",
            r#"{"status":{"loadBalancer":{"ingress":[{"ip":"203.0.113.7"}]}}}"#,
            "spec:\n  externalIPs:\n  - 203.0.113.7\n",
            r#"[{"op":"add","path":"/spec/externalIPs","value":["203.0.113.7"]}]"#,
            r#"[{"op":"add","path":"/spec/externalIPs/-","value":"203.0.113.7"}]"#,
        ] {
            assert!(claims(document), "{document}");
        }
        for document in [
            r#"{"spec":{"externalIPs":[]}}"#,
            r#"{"spec":{"externalIPs":null}}"#,
            r#"{"metadata":{"labels":{"ingress":"nginx"}}}"#,
            r#"{"spec":{"clusterIPs":["10.0.0.1"],"externalName":"a"}}"#,
        ] {
            assert!(!claims(document), "{document}");
        }
    }

    #[test]
    fn only_writes_of_services_are_looked_into() {
        assert!(writes_service(
            b"POST",
            b"/api/v1/namespaces/default/services"
        ));
        assert!(writes_service(
            b"PATCH",
            b"/api/v1/namespaces/a/services/b/status?force=true"
        ));
        assert!(writes_service(
            b"PUT",
            b"/k8s/clusters/c-1/api/v1/namespaces/a/services/b"
        ));
        assert!(!writes_service(
            b"GET",
            b"/api/v1/namespaces/default/services"
        ));
        assert!(!writes_service(
            b"POST",
            b"/api/v1/namespaces/services/pods"
        ));
        assert!(!writes_service(
            b"POST",
            b"/apis/apps/v1/namespaces/a/services"
        ));
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(cut in 0..40_usize) {
            let document = br#"{"spec":{"externalIPs": [ "1.2.3.4"]}}"#;
            let (first, second) = document.split_at(cut.min(document.len()));
            let mut claim = Claim::default();
            prop_assert!(claim.take(first).or_else(|| claim.take(second)).is_some());
        }
    }
}
