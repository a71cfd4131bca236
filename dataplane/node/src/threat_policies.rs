//! What is done about threats between two identities: the node's configuration, changed by the threat
//! policies that hold for either of them.
//!
//! For each threat the strictest action holds among the policies of both ends that name it; where none
//! does, the strictest of what they say of all others; where nobody says anything, the configuration of
//! the node. So `ignore` takes effect where no policy of the other end says more, and a policy may look
//! for what the node's configuration has off. Of thresholds the lowest holds.
//!
//! The detectors are given a whole configuration before they look at a packet, chosen by two look-ups
//! and only where there is any threat policy; a policy that comes or goes holds from the next packet of
//! every connection on. Configurations are made at the first packet between two ends that are new to each
//! other.
//!
//! Trusts the snapshot, which was validated; names that this version does not know change nothing.
//! Memory: [`PAIRS_MAX`] configurations of about 500 bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use weir_policy::Snapshot;
use weir_policy::spec::{ThreatAction, ThreatPolicySpec};
use weir_threat::{Action, Config, Threat, Threats};

/// Configurations that are kept; beyond it all are made anew.
const PAIRS_MAX: usize = 1024;

/// What the policy in force says of threats, on one worker.
#[derive(Debug)]
pub struct ThreatPolicies {
    /// As the node is configured.
    node: Arc<Config>,
    /// Finds whatever is told or stopped between any two; None without threat policies.
    anybody: Option<Arc<Config>>,
    /// By the sets of policies of two ends, the lower number first.
    pairs: HashMap<(u32, u32), Arc<Config>>,
}

impl ThreatPolicies {
    /// No policy yet.
    pub fn new(node: Arc<Config>) -> Self {
        Self {
            node,
            anybody: None,
            pairs: HashMap::new(),
        }
    }

    /// Another policy is in force, or the node is configured otherwise.
    pub fn renew(&mut self, node: Arc<Config>, snapshot: &Snapshot) {
        let policies = &snapshot.spec().threat_policies;
        self.pairs.clear();
        self.anybody = (!policies.is_empty()).then(|| Arc::new(strictest(&node, policies)));
        self.node = node;
    }

    /// As the node is configured.
    pub fn node(&self) -> Arc<Config> {
        Arc::clone(&self.node)
    }

    /// Whether there is any policy of threats: otherwise the detectors look as the node is configured.
    pub fn is_any(&self) -> bool {
        self.anybody.is_some()
    }

    /// Has the detectors look as policy wants it between these two.
    pub fn look(&mut self, threats: &mut Threats, snapshot: &Snapshot, [client, server]: [u32; 2]) {
        if self.is_any() {
            let config = self.between(snapshot, [client, server]);
            if !Arc::ptr_eq(threats.config(), config) {
                threats.configure(Arc::clone(config));
            }
        }
    }

    /// Has the detectors find whatever counts between any two: what they find is then to be asked
    /// [`Self::action`] about.
    pub fn look_everywhere(&self, threats: &mut Threats) {
        if let Some(anybody) = &self.anybody {
            threats.configure(Arc::clone(anybody));
        }
    }

    /// What a threat does between these two.
    pub fn action(&mut self, snapshot: &Snapshot, ends: [u32; 2], threat: Threat) -> Action {
        if !self.is_any() {
            return self.node.action(threat);
        }
        self.between(snapshot, ends).action(threat)
    }

    fn between(&mut self, snapshot: &Snapshot, [client, server]: [u32; 2]) -> &Arc<Config> {
        let [one, other] = [client, server].map(|end| snapshot.threat_set(end));
        let pair = (one.min(other), one.max(other));
        if self.pairs.len() >= PAIRS_MAX && !self.pairs.contains_key(&pair) {
            self.pairs.clear();
        }
        let node = &self.node;
        self.pairs.entry(pair).or_insert_with(|| {
            let both = snapshot
                .threat_policies(pair.0)
                .chain(snapshot.threat_policies(pair.1));
            Arc::new(changed(node, both))
        })
    }
}

/// The node's configuration as policies change it.
fn changed<'a>(node: &Config, policies: impl Iterator<Item = &'a ThreatPolicySpec>) -> Config {
    let mut config = node.clone();
    let mut named: BTreeMap<Threat, ThreatAction> = BTreeMap::new();
    let mut others: Option<ThreatAction> = None;
    let mut thresholds: BTreeMap<&str, u32> = BTreeMap::new();
    for policy in policies {
        others = others.max(policy.others);
        for (name, action) in &policy.actions {
            if let Some(threat) = Threat::by_name(name) {
                let known = named.entry(threat).or_insert(*action);
                *known = (*known).max(*action);
            }
        }
        for (name, value) in &policy.thresholds {
            let known = thresholds.entry(name).or_insert(*value);
            *known = (*known).min(*value);
        }
    }
    for &threat in Threat::ALL {
        if let Some(action) = named.get(&threat).copied().or(others) {
            config.act(threat, action_of(action));
        }
    }
    for (name, value) in thresholds {
        config.network.set(name, value);
    }
    config
}

/// The node's configuration with whatever any policy adds to it.
fn strictest(node: &Config, policies: &[ThreatPolicySpec]) -> Config {
    let mut config = node.clone();
    for policy in policies {
        let alone = changed(node, std::iter::once(policy));
        for &threat in Threat::ALL {
            let more = alone.action(threat);
            if rank(more) > rank(config.action(threat)) {
                config.act(threat, more);
            }
        }
    }
    config
}

fn action_of(action: ThreatAction) -> Action {
    match action {
        ThreatAction::Ignore => Action::Off,
        ThreatAction::Alert => Action::Alert,
        ThreatAction::Drop => Action::Drop,
    }
}

fn rank(action: Action) -> u8 {
    match action {
        Action::Off => 0,
        Action::Alert => 1,
        Action::Drop => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_policy::spec::{IdentitySpec, SnapshotSpec};

    fn policy(id: u32, targets: &[u32], actions: &[(&str, ThreatAction)]) -> ThreatPolicySpec {
        let actions = actions
            .iter()
            .map(|(name, action)| ((*name).to_owned(), *action));
        ThreatPolicySpec {
            id,
            name: format!("threatpolicy {id}"),
            targets: targets.to_vec(),
            actions: actions.collect(),
            others: None,
            thresholds: Vec::new(),
        }
    }

    fn snapshot(threat_policies: Vec<ThreatPolicySpec>) -> Snapshot {
        let identity = |id| IdentitySpec {
            id,
            name: format!("shop/{id}"),
            ..IdentitySpec::default()
        };
        Snapshot::build(SnapshotSpec {
            identities: (1..=60).map(identity).collect(),
            threat_policies,
            ..SnapshotSpec::default()
        })
        .unwrap()
    }

    fn policies(snapshot: &Snapshot) -> ThreatPolicies {
        let mut policies = ThreatPolicies::new(Arc::default());
        policies.renew(Arc::default(), snapshot);
        policies
    }

    #[test]
    fn the_strictest_that_names_a_threat_holds_and_ignores_only_where_nobody_says_more() {
        use ThreatAction::{Alert, Drop, Ignore};
        let mut rest = policy(3, &[3], &[("land", Drop)]);
        rest.others = Some(Alert);
        let snapshot = snapshot(vec![
            policy(1, &[], &[("heartbleed", Ignore)]),
            policy(2, &[1], &[("heartbleed", Alert)]),
            rest,
        ]);
        let mut policies = policies(&snapshot);
        let mut action = |ends, name| {
            let threat = Threat::by_name(name).unwrap();
            policies.action(&snapshot, ends, threat)
        };
        let node = Config::default();
        assert_eq!(node.action(Threat::Heartbleed), Action::Drop);
        assert_eq!(action([0, 2], "heartbleed"), Action::Off);
        assert_eq!(action([2, 1], "heartbleed"), Action::Alert);
        assert_eq!(action([1, 2], "heartbleed"), Action::Alert);
        assert_eq!(action([3, 2], "heartbleed"), Action::Off);
        assert_eq!(action([3, 1], "land"), Action::Drop);
        assert_eq!(node.action(Threat::SshVersion2), Action::Off);
        assert_eq!(action([2, 3], "ssh-version-2"), Action::Alert);
        assert_eq!(action([2, 1], "ssh-version-2"), Action::Off);
    }

    #[test]
    fn the_lowest_threshold_holds_and_only_for_its_targets() {
        let mut coarse = policy(1, &[1], &[]);
        coarse.thresholds = vec![("syn_on_per_s".to_owned(), 50)];
        let mut fine = policy(2, &[1, 2], &[]);
        fine.thresholds = vec![("syn_on_per_s".to_owned(), 20)];
        let snapshot = snapshot(vec![coarse, fine]);
        let mut policies = policies(&snapshot);
        let mut syns = |ends| policies.between(&snapshot, ends).network.syn_on_per_s;
        assert_eq!(syns([0, 3]), Config::default().network.syn_on_per_s);
        assert_eq!((syns([0, 1]), syns([2, 3])), (20, 20));
    }

    #[test]
    fn every_threshold_that_policies_have_is_one_of_the_node() {
        let mut settings = Config::default().network;
        for &(name, least, _) in weir_model::ThreatThresholds::ALL {
            assert!(settings.set(name, least), "{name}");
        }
    }

    #[test]
    fn memory_is_bounded_however_many_ends_meet() {
        let each = (1..=60).map(|id| policy(id, &[id], &[("land", ThreatAction::Alert)]));
        let snapshot = snapshot(each.collect());
        let mut policies = policies(&snapshot);
        for ends in (0..=60).flat_map(|one| (0..=60).map(move |other| [one, other])) {
            policies.between(&snapshot, ends);
            assert!(policies.pairs.len() <= PAIRS_MAX);
        }
    }
}
