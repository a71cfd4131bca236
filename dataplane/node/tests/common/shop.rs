//! Policies about the hosts of the story.

use std::sync::Arc;

use weir_policy::Snapshot;
use weir_policy::spec::*;

use super::hosts::*;

/// A policy in the making.
#[derive(Clone)]
pub struct Shop(pub SnapshotSpec);

impl Shop {
    /// The workloads in this mode, and no rules.
    pub fn new(mode: Mode) -> Self {
        let workload = |host: Host, name: &str, managed| IdentitySpec {
            id: host.identity(),
            name: name.into(),
            labels: vec![],
            managed,
            mode,
            quarantined: false,
            ..IdentitySpec::default()
        };
        let api = IdentitySpec {
            id: API,
            ..workload(RESOLVER, "[api.example.com]", false)
        };
        let mut addresses: Vec<AddressSpec> = [AI_MODEL, PHOTO_DB, FRONTEND, RESOLVER]
            .into_iter()
            .flat_map(|host| BOTH.map(|family| address(host, family)))
            .collect();
        addresses.sort();
        Self(SnapshotSpec {
            version: 1,
            identities: vec![
                workload(AI_MODEL, "shop/ai-model", true),
                workload(PHOTO_DB, "shop/photo-db", true),
                workload(FRONTEND, "shop/frontend", true),
                workload(RESOLVER, "[resolver]", false),
                api,
            ],
            addresses,
            names: vec![NameSpec {
                pattern: "api.example.com".into(),
                identity: API,
            }],
            link: LinkSpec {
                mode,
                ether_types: vec![],
            },
            ..SnapshotSpec::default()
        })
    }

    /// What the reference story allows, and DNS.
    pub fn story(mode: Mode) -> Self {
        Self::new(mode)
            .allow(AI_MODEL.identity(), PHOTO_DB.identity(), "mysql", 3306)
            .allow(AI_MODEL.identity(), FRONTEND.identity(), "http", 5000)
            .allow(AI_MODEL.identity(), RESOLVER.identity(), "dns", 53)
    }

    /// Allowed by both ends' documents.
    pub fn allow(self, client: u32, server: u32, application: &str, port: u16) -> Self {
        self.rule(Action::Allow, client, server, &[application], Some(port))
    }

    /// Allowed whatever it speaks, on any port.
    pub fn allow_any(self, client: u32, server: u32) -> Self {
        self.rule(Action::Allow, client, server, &[], None)
    }

    pub fn rule(
        mut self,
        action: Action,
        client: u32,
        server: u32,
        applications: &[&str],
        port: Option<u16>,
    ) -> Self {
        for end in [End::Server, End::Client] {
            let id = self.0.rules.len() as u32 + 1;
            self.0.rules.push(RuleSpec {
                id,
                name: format!("rule {id}"),
                action,
                end,
                clients: vec![client],
                servers: vec![server],
                applications: applications.iter().map(|&name| name.into()).collect(),
                protocols: vec![],
                ports: port.map(|port| (port, port)).into_iter().collect(),
                conditions: vec![],
            });
        }
        self
    }

    /// The rule before holds only where the field begins like this.
    pub fn when(mut self, field: &str, prefix: &str) -> Self {
        let added = self.0.rules.len() - 2;
        for rule in &mut self.0.rules[added..] {
            rule.conditions.push(ConditionSpec {
                field: field.into(),
                patterns: vec![Pattern::Prefix(prefix.into())],
            });
        }
        self
    }

    /// Rules get ids that no policy before had.
    pub fn renumbered(mut self, first: u32) -> Self {
        for rule in &mut self.0.rules {
            rule.id += first;
        }
        self
    }

    pub fn silent(mut self) -> Self {
        self.0.deny_style = DenyStyle::Drop;
        self
    }

    pub fn quarantine(mut self, host: Host) -> Self {
        let identity = self
            .0
            .identities
            .iter_mut()
            .find(|identity| identity.id == host.identity())
            .unwrap();
        identity.quarantined = true;
        self
    }

    pub fn sensor(mut self, sensor: SensorSpec) -> Self {
        self.0.sensors.push(sensor);
        self
    }

    pub fn threats(mut self, policy: ThreatPolicySpec) -> Self {
        self.0.threat_policies.push(policy);
        self
    }

    pub fn hold(mut self, hold_ms: u32) -> Self {
        self.0.unknown.hold_ms = hold_ms;
        self
    }

    /// The stranger gets a name: one more workload.
    pub fn know_stranger(mut self, identity: u32) -> Self {
        self.0.addresses.extend(BOTH.map(|family| AddressSpec {
            identity,
            ..address(STRANGER, family)
        }));
        self.0.addresses.sort();
        self
    }

    pub fn build(&self) -> Arc<Snapshot> {
        Arc::new(Snapshot::build(self.0.clone()).unwrap())
    }
}

fn address(host: Host, family: Family) -> AddressSpec {
    AddressSpec {
        network: weir_wire::from_ip_address(host.address(family)),
        prefix_bits: 128,
        zone: None,
        identity: host.identity(),
    }
}
