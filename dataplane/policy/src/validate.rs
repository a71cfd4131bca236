//! What a snapshot must be before it is enforced: canonical, complete, enforceable. What cannot be
//! enforced is refused here, not ignored when it runs.

use std::collections::HashSet;

use weir_l7::registry;

use crate::addresses::mask;
use crate::index_entries;
use crate::names;
use crate::spec::{
    Action, CLAIMS_MAX, ConditionSpec, Pattern, RuleSpec, SensorSpec, SnapshotSpec,
    UNKNOWN_IDENTITY,
};

/// How many identities rules may name in all: what finds them takes about 16 bytes for each.
pub const INDEX_ENTRIES_MAX: usize = 4 << 20;
/// Bounds what a comparison costs for each byte of a request.
const PATTERN_BYTES_MAX: usize = 1024;

/// Why a snapshot cannot be enforced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{item}: {problem}; {next_step}")]
pub struct BuildError {
    /// Which part: "rule 3 (allowlist shop/photo-db ingress[0])".
    pub item: String,
    /// What is wrong with it.
    pub problem: String,
    /// What to do.
    pub next_step: String,
}

impl BuildError {
    fn new(
        item: impl Into<String>,
        problem: impl Into<String>,
        next_step: impl Into<String>,
    ) -> Self {
        Self {
            item: item.into(),
            problem: problem.into(),
            next_step: next_step.into(),
        }
    }
}

type Checked = Result<(), BuildError>;

pub(crate) fn validate(spec: &SnapshotSpec) -> Checked {
    let known = identities(spec)?;
    addresses(spec, &known)?;
    domain_names(spec, &known)?;
    sorted(
        "the list of rules",
        spec.rules.iter().map(|rule| rule.id),
        |id| format!("id {id}"),
    )?;
    for rule in &spec.rules {
        check_rule(rule, &known).map_err(|error| BuildError {
            item: title(rule),
            ..error
        })?;
    }
    sensors(spec, &known)?;
    threat_policies(spec, &known)?;
    let named = spec.rules.iter().map(index_entries);
    let named = named.fold(0, usize::saturating_add);
    if named > INDEX_ENTRIES_MAX {
        return Err(BuildError::new(
            "the list of rules",
            format!("its rules name {named} identities, more than {INDEX_ENTRIES_MAX}"),
            "let the widest rules name any peer, or a network, instead of many workloads",
        ));
    }
    if spec.claims.len() > CLAIMS_MAX {
        let problem = format!("there are {}, more than {CLAIMS_MAX}", spec.claims.len());
        let next_step = "tell of the first ones only";
        return Err(BuildError::new(
            "the claims of services",
            problem,
            next_step,
        ));
    }
    sorted("the claims of services", spec.claims.iter(), |claim| {
        let address = weir_wire::to_ip_address(claim.address);
        format!("{address} by {}", claim.service)
    })?;
    if spec.unknown.mode.is_none() && spec.unknown.action == Action::Deny {
        return Err(BuildError::new(
            "the settings for unknown addresses",
            "action deny without a mode would never take effect",
            "give a mode: protect to block, monitor to report",
        ));
    }
    sorted(
        "the EtherTypes of the link settings",
        spec.link.ether_types.iter(),
        |kind| format!("0x{kind:04x}"),
    )
}

fn title(rule: &RuleSpec) -> String {
    format!("rule {} ({})", rule.id, rule.name)
}

/// Canonical lists make equal policy have equal bytes: refused, not repaired.
fn sorted<K: Ord>(
    item: &str,
    keys: impl Iterator<Item = K>,
    name: impl Fn(&K) -> String,
) -> Checked {
    let mut before: Option<K> = None;
    for key in keys {
        match before.as_ref().map(|before| before.cmp(&key)) {
            Some(std::cmp::Ordering::Equal) => {
                let problem = format!("{} occurs twice", name(&key));
                return Err(BuildError::new(item, problem, "keep one of the two"));
            }
            Some(std::cmp::Ordering::Greater) => {
                let problem = format!("is not sorted: {} comes too late", name(&key));
                return Err(BuildError::new(
                    item,
                    problem,
                    "compile the snapshot in canonical order",
                ));
            }
            _ => before = Some(key),
        }
    }
    Ok(())
}

fn identities(spec: &SnapshotSpec) -> Result<HashSet<u32>, BuildError> {
    sorted(
        "the list of identities",
        spec.identities.iter().map(|one| one.id),
        |id| format!("id {id}"),
    )?;
    let mut known = HashSet::from([UNKNOWN_IDENTITY]);
    for identity in &spec.identities {
        let item = || format!("identity {} ({})", identity.id, identity.name);
        if identity.id == UNKNOWN_IDENTITY || identity.id == u32::MAX {
            return Err(BuildError::new(
                item(),
                "the number is reserved",
                "number identities from 1",
            ));
        }
        if identity.name.is_empty() {
            return Err(BuildError::new(
                item(),
                "has no name",
                "name it namespace/workload",
            ));
        }
        let labels = identity.labels.iter().map(|(key, _)| key);
        sorted(&item(), labels, |key| format!("label {key}"))?;
        known.insert(identity.id);
    }
    Ok(known)
}

fn known_identity(item: &str, identity: u32, known: &HashSet<u32>) -> Checked {
    if known.contains(&identity) {
        return Ok(());
    }
    let problem = format!("names identity {identity}, which the snapshot does not have");
    Err(BuildError::new(
        item,
        problem,
        "add the identity or leave the entry out",
    ))
}

fn addresses(spec: &SnapshotSpec, known: &HashSet<u32>) -> Checked {
    let describe =
        |network: u128, prefix_bits: u8| format!("address {}", network_text(network, prefix_bits));
    let keys = spec
        .addresses
        .iter()
        .map(|entry| (entry.network, entry.prefix_bits, entry.zone));
    sorted(
        "the list of addresses",
        keys,
        |&(network, prefix_bits, _)| describe(network, prefix_bits),
    )?;
    for entry in &spec.addresses {
        let item = describe(entry.network, entry.prefix_bits);
        if entry.prefix_bits > 128 {
            let problem = "has a prefix longer than 128 bits";
            return Err(BuildError::new(
                item,
                problem,
                "count the prefix over the 128-bit form",
            ));
        }
        if entry.network & !mask(entry.prefix_bits) != 0 {
            return Err(BuildError::new(
                item,
                "has host bits set",
                "clear the bits behind the prefix",
            ));
        }
        known_identity(&item, entry.identity, known)?;
        if entry.identity == UNKNOWN_IDENTITY {
            let next_step = "leave the entry out: an address that is not listed is unknown";
            return Err(BuildError::new(item, "belongs to no identity", next_step));
        }
    }
    Ok(())
}

/// A network as people write it; the prefix of an IPv4 network counts 32 bits.
fn network_text(network: u128, prefix_bits: u8) -> String {
    let address = weir_wire::to_ip_address(network);
    let bits = if address.is_ipv4() {
        prefix_bits.saturating_sub(96)
    } else {
        prefix_bits
    };
    format!("{address}/{bits}")
}

fn domain_names(spec: &SnapshotSpec, known: &HashSet<u32>) -> Checked {
    sorted(
        "the list of names",
        spec.names.iter().map(|name| &name.pattern),
        |name| format!("\"{name}\""),
    )?;
    for name in &spec.names {
        let item = format!("name \"{}\"", name.pattern);
        if let Some(problem) = names::problem(&name.pattern) {
            let next_step = "write it as \"api.example.com\" or \"*.example.com\"";
            return Err(BuildError::new(item, problem, next_step));
        }
        known_identity(&item, name.identity, known)?;
    }
    Ok(())
}

fn check_rule(rule: &RuleSpec, known: &HashSet<u32>) -> Checked {
    for identity in rule.clients.iter().chain(&rule.servers) {
        known_identity("", *identity, known)?;
    }
    sorted("", rule.clients.iter(), |id| format!("client {id}"))?;
    sorted("", rule.servers.iter(), |id| format!("server {id}"))?;
    sorted("", rule.applications.iter(), |name| {
        format!("application {name}")
    })?;
    sorted("", rule.protocols.iter(), |number| {
        format!("protocol {number}")
    })?;
    sorted("", rule.ports.iter(), |(first, last)| {
        format!("ports {first}-{last}")
    })?;
    for name in &rule.applications {
        if registry::by_name(name).is_none() {
            let problem = format!("names the application {name}, which this node does not know");
            return Err(BuildError::new(
                "",
                problem,
                format!("use one of: {}", application_names()),
            ));
        }
    }
    for &(first, last) in &rule.ports {
        if first > last {
            let problem = format!("has the port range {first}-{last}, which is empty");
            return Err(BuildError::new("", problem, "write the lower port first"));
        }
    }
    rule.conditions
        .iter()
        .try_for_each(|condition| check_condition(rule, condition))
}

fn check_condition(rule: &RuleSpec, condition: &ConditionSpec) -> Checked {
    let refuse = |problem: String, next_step: &str| Err(BuildError::new("", problem, next_step));
    let field = &condition.field;
    let Some(resolved) = registry::field(field) else {
        return refuse(
            format!("has a condition on {field}, which is no field of any application"),
            &field_names(field),
        );
    };
    if !resolved.spec().is_some_and(|spec| spec.condition) {
        return refuse(
            format!("has a condition on {field}, which not every request carries"),
            &field_names(field),
        );
    }
    let application = registry::name(resolved.app);
    let has_it = |name: &String| {
        registry::by_name(name).is_some_and(|app| registry::refines(app, resolved.app))
    };
    match rule.applications.as_slice() {
        all if !all.is_empty() && all.iter().all(has_it) => {}
        _ if rule.applications.iter().any(|name| name == application) => {
            let problem =
                format!("has a condition on {field} beside applications that have no such field");
            return refuse(problem, &format!("give {application} a rule of its own"));
        }
        _ => {
            let problem = format!("has a condition on {field} but is not for {application}");
            return refuse(
                problem,
                &format!("list {application} as the rule's only application"),
            );
        }
    }
    if condition.patterns.is_empty() {
        return refuse(
            format!("has a condition on {field} without a pattern"),
            "give at least one pattern",
        );
    }
    let too_long = condition
        .patterns
        .iter()
        .any(|pattern| pattern_bytes(pattern) > PATTERN_BYTES_MAX);
    if too_long {
        let problem = format!("has a pattern for {field} longer than {PATTERN_BYTES_MAX} bytes");
        return refuse(problem, "shorten it: a prefix serves as well");
    }
    Ok(())
}

fn sensors(spec: &SnapshotSpec, known: &HashSet<u32>) -> Checked {
    let list = "the list of sensors";
    sorted(list, spec.sensors.iter().map(|sensor| sensor.id), |id| {
        format!("id {id}")
    })?;
    if spec.sensors.len() > SensorSpec::SENSORS_MAX {
        return Err(BuildError::new(
            list,
            format!("there are more than {}", SensorSpec::SENSORS_MAX),
            "put patterns that go together into one sensor",
        ));
    }
    for sensor in &spec.sensors {
        let item = &sensor.name;
        for identity in &sensor.targets {
            known_identity(item, *identity, known)?;
        }
        sorted(item, sensor.targets.iter(), |id| format!("target {id}"))?;
        let count = sensor.patterns.len();
        if !(1..=SensorSpec::PATTERNS_MAX).contains(&count) {
            let problem = format!(
                "has {count} patterns, where 1 to {} are possible",
                SensorSpec::PATTERNS_MAX
            );
            return Err(BuildError::new(item, problem, "make two sensors of it"));
        }
        if !sensor.combination.is_sound(count) {
            return Err(BuildError::new(
                item,
                "its combination names a pattern that it does not have, or nests too deep",
                "name its own patterns, in a few levels",
            ));
        }
        if sensor.combination.holds(0) {
            return Err(BuildError::new(
                item,
                "its combination holds where nothing is found",
                "name a pattern that has to be found",
            ));
        }
    }
    Ok(())
}

fn threat_policies(spec: &SnapshotSpec, known: &HashSet<u32>) -> Checked {
    let ids = spec.threat_policies.iter().map(|policy| policy.id);
    sorted("the list of threat policies", ids, |id| format!("id {id}"))?;
    for policy in &spec.threat_policies {
        let item = &policy.name;
        for identity in &policy.targets {
            known_identity(item, *identity, known)?;
        }
        sorted(item, policy.targets.iter(), |id| format!("target {id}"))?;
        let threats = policy.actions.iter().map(|(threat, _)| threat);
        sorted(item, threats, |threat| format!("threat {threat}"))?;
        let thresholds = policy.thresholds.iter().map(|(name, _)| name);
        sorted(item, thresholds, |name| format!("threshold {name}"))?;
    }
    Ok(())
}

fn pattern_bytes(pattern: &Pattern) -> usize {
    let (Pattern::Exact(text)
    | Pattern::Prefix(text)
    | Pattern::Suffix(text)
    | Pattern::Glob(text)) = pattern;
    text.len()
}

fn application_names() -> String {
    let names: Vec<_> = registry::applications()
        .iter()
        .map(|row| row.name)
        .collect();
    format!("{}, unknown", names.join(", "))
}

/// The fields that a condition may name, of the application that `field` seems to mean.
fn field_names(field: &str) -> String {
    let application = field.split('.').next().unwrap_or_default();
    let rows = registry::applications()
        .iter()
        .filter(|row| row.name == application || registry::by_name(application).is_none());
    let names: Vec<String> = rows
        .flat_map(|row| {
            row.fields
                .iter()
                .filter(|spec| spec.condition)
                .map(|spec| format!("{}.{}", row.name, spec.name))
        })
        .collect();
    match names.is_empty() {
        true => format!("{application} has no field for conditions: leave the condition out"),
        false => format!("use one of: {}", names.join(", ")),
    }
}
