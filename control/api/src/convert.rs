//! Messages to the plain data of policy, and back.
//!
//! Trusts nothing in a message: an unset enumeration, a number out of range, a list out of order or
//! a reference to nobody is an error that names the field.

use std::collections::HashSet;
use std::fmt::Display;

use weir_policy::spec::{
    Action, AddressSpec, ConditionSpec, DenyStyle, End, IdentitySpec, LinkSpec, Mode, NameSpec,
    Pattern, RuleSpec, SensorSpec, SnapshotSpec, ThreatPolicySpec, UNKNOWN_IDENTITY, UnknownSpec,
};

use crate::{Item, ItemKey, checksum, v1};

mod claims;
mod sensor;
mod threat;

/// IPv4 networks lie within `::ffff:0:0/96`.
const IPV4_PREFIX_BITS: u8 = 96;
const IPV4_MAPPED: u128 = 0xffff << 32;

/// A field of a message that does not hold what the contract says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct FieldError {
    /// The path to the field: `rules[3].ports[0].last`.
    pub field: String,
    /// What is wrong with it.
    pub reason: String,
}

impl FieldError {
    pub(crate) fn new(field: impl Display, reason: impl Display) -> Self {
        Self {
            field: field.to_string(),
            reason: reason.to_string(),
        }
    }
}

/// The message for a snapshot, with its checksum. Lists keep the order they have in `spec`, which
/// sorts them by their keys.
pub fn to_message(spec: &SnapshotSpec) -> v1::Snapshot {
    let mut message = v1::Snapshot {
        version: spec.version,
        checksum: 0,
        identities: spec.identities.iter().map(identity_message).collect(),
        addresses: spec.addresses.iter().map(address_message).collect(),
        names: spec
            .names
            .iter()
            .map(|name| v1::DomainName {
                pattern: name.pattern.clone(),
                identity: name.identity,
            })
            .collect(),
        rules: spec.rules.iter().map(rule_message).collect(),
        unknown: Some(unknown_message(&spec.unknown)),
        link: Some(link_message(&spec.link)),
        deny_style: deny_style_message(spec.deny_style).into(),
        sensors: spec.sensors.iter().map(sensor::to_message).collect(),
        bundle: None,
        threat_policies: spec
            .threat_policies
            .iter()
            .map(threat::to_message)
            .collect(),
        claims: claims::to_message(&spec.claims),
    };
    message.checksum = checksum(&message);
    message
}

/// The snapshot in a message. The checksum is not looked at: [`crate::apply`] and the receiver of a
/// full snapshot compare it with [`checksum`].
pub fn from_message(message: &v1::Snapshot) -> Result<SnapshotSpec, FieldError> {
    let unknown = message
        .unknown
        .as_ref()
        .ok_or_else(|| FieldError::new("unknown", "is missing"))?;
    let link = message
        .link
        .as_ref()
        .ok_or_else(|| FieldError::new("link", "is missing"))?;
    let spec = SnapshotSpec {
        version: message.version,
        identities: each(&message.identities, "identities", identity)?,
        addresses: each(&message.addresses, "addresses", address)?,
        names: each(&message.names, "names", domain_name)?,
        rules: each(&message.rules, "rules", rule)?,
        unknown: UnknownSpec {
            hold_ms: unknown.hold_ms,
            mode: match unknown.mode {
                0 => None,
                number => Some(mode_from_message(number, "unknown.mode")?),
            },
            action: action_from_message(unknown.action, "unknown.action")?,
        },
        link: LinkSpec {
            mode: mode_from_message(link.mode, "link.mode")?,
            ether_types: numbers(&link.ether_types, "link.ether_types")?,
        },
        deny_style: match v1::DenyStyle::try_from(message.deny_style) {
            Ok(v1::DenyStyle::Reset) => DenyStyle::Reset,
            Ok(v1::DenyStyle::Drop) => DenyStyle::Drop,
            _ => return Err(FieldError::new("deny_style", unset(message.deny_style))),
        },
        sensors: each(&message.sensors, "sensors", sensor::from_message)?,
        threat_policies: each(
            &message.threat_policies,
            "threat_policies",
            threat::from_message,
        )?,
        claims: claims::from_message(message.claims.as_ref())?,
    };
    check_order(&spec)?;
    check_references(&spec)?;
    Ok(spec)
}

/// The items that these lists, and these settings, have in messages.
impl Item {
    /// Of an identity.
    pub fn of_identity(spec: &IdentitySpec) -> (ItemKey, Self) {
        Self::identity(&identity_message(spec))
    }

    /// Of an address.
    pub fn of_address(spec: &AddressSpec) -> (ItemKey, Self) {
        Self::address(&address_message(spec))
    }

    /// Of a domain name.
    pub fn of_name(spec: &NameSpec) -> (ItemKey, Self) {
        Self::name(&v1::DomainName {
            pattern: spec.pattern.clone(),
            identity: spec.identity,
        })
    }

    /// Of a rule.
    pub fn of_rule(spec: &RuleSpec) -> (ItemKey, Self) {
        Self::rule(&rule_message(spec))
    }

    /// Of a sensor.
    pub fn of_sensor(spec: &SensorSpec) -> (ItemKey, Self) {
        Self::sensor(&sensor::to_message(spec))
    }

    /// Of a threat policy.
    pub fn of_threat_policy(spec: &ThreatPolicySpec) -> (ItemKey, Self) {
        Self::threat_policy(&threat::to_message(spec))
    }

    /// Of what holds for everything.
    pub fn of_settings(
        unknown: &UnknownSpec,
        link: &LinkSpec,
        deny_style: DenyStyle,
    ) -> impl Iterator<Item = (ItemKey, Self)> + use<> {
        Self::settings(&v1::Snapshot {
            unknown: Some(unknown_message(unknown)),
            link: Some(link_message(link)),
            deny_style: deny_style_message(deny_style).into(),
            ..v1::Snapshot::default()
        })
    }
}

fn unknown_message(unknown: &UnknownSpec) -> v1::Unknown {
    let mode = unknown.mode.map_or(v1::Mode::Unspecified, mode_message);
    v1::Unknown {
        hold_ms: unknown.hold_ms,
        mode: mode.into(),
        action: action_message(unknown.action).into(),
    }
}

fn link_message(link: &LinkSpec) -> v1::Link {
    let numbers = link.ether_types.iter();
    v1::Link {
        mode: mode_message(link.mode).into(),
        ether_types: numbers.map(|&number| number.into()).collect(),
    }
}

fn deny_style_message(style: DenyStyle) -> v1::DenyStyle {
    match style {
        DenyStyle::Reset => v1::DenyStyle::Reset,
        DenyStyle::Drop => v1::DenyStyle::Drop,
    }
}

/// The message's word for a mode.
pub fn mode_message(mode: Mode) -> v1::Mode {
    match mode {
        Mode::Discover => v1::Mode::Discover,
        Mode::Monitor => v1::Mode::Monitor,
        Mode::Protect => v1::Mode::Protect,
    }
}

/// The mode in a message's field of that name.
pub fn mode_from_message(number: i32, field: &str) -> Result<Mode, FieldError> {
    match v1::Mode::try_from(number) {
        Ok(v1::Mode::Discover) => Ok(Mode::Discover),
        Ok(v1::Mode::Monitor) => Ok(Mode::Monitor),
        Ok(v1::Mode::Protect) => Ok(Mode::Protect),
        _ => Err(FieldError::new(field, unset(number))),
    }
}

/// The message's word for an action.
pub fn action_message(action: Action) -> v1::Action {
    match action {
        Action::Allow => v1::Action::Allow,
        Action::Deny => v1::Action::Deny,
    }
}

/// The action in a message's field of that name.
pub fn action_from_message(number: i32, field: &str) -> Result<Action, FieldError> {
    match v1::Action::try_from(number) {
        Ok(v1::Action::Allow) => Ok(Action::Allow),
        Ok(v1::Action::Deny) => Ok(Action::Deny),
        _ => Err(FieldError::new(field, unset(number))),
    }
}

fn identity_message(identity: &IdentitySpec) -> v1::Identity {
    v1::Identity {
        id: identity.id,
        name: identity.name.clone(),
        labels: identity.labels.iter().cloned().collect(),
        managed: identity.managed,
        mode: mode_message(identity.mode).into(),
        quarantined: identity.quarantined,
        services: identity.services.clone(),
        service_account: identity.service_account.clone(),
        elsewhere: identity.elsewhere,
        namespace_labels: identity.namespace_labels.iter().cloned().collect(),
        service_addresses: identity
            .service_addresses
            .iter()
            .map(|&(network, prefix_bits, zone)| {
                address_message(&AddressSpec {
                    network,
                    prefix_bits,
                    zone,
                    identity: UNKNOWN_IDENTITY,
                })
            })
            .collect(),
    }
}

fn address_message(address: &AddressSpec) -> v1::Address {
    let ipv4 =
        address.prefix_bits >= IPV4_PREFIX_BITS && address.network >> 32 == IPV4_MAPPED >> 32;
    let (network, prefix_bits) = if ipv4 {
        (
            (address.network as u32).to_be_bytes().to_vec(),
            address.prefix_bits - IPV4_PREFIX_BITS,
        )
    } else {
        (address.network.to_be_bytes().to_vec(), address.prefix_bits)
    };
    v1::Address {
        network,
        prefix_bits: prefix_bits.into(),
        identity: address.identity,
        zone: address.zone,
    }
}

fn rule_message(rule: &RuleSpec) -> v1::Rule {
    v1::Rule {
        id: rule.id,
        name: rule.name.clone(),
        action: action_message(rule.action).into(),
        end: match rule.end {
            End::Client => v1::End::Client,
            End::Server => v1::End::Server,
        }
        .into(),
        clients: rule.clients.clone(),
        servers: rule.servers.clone(),
        applications: rule.applications.clone(),
        ports: rule
            .ports
            .iter()
            .map(|&(first, last)| v1::Ports {
                first: first.into(),
                last: last.into(),
            })
            .collect(),
        conditions: rule.conditions.iter().map(condition_message).collect(),
        protocols: rule.protocols.iter().map(|&number| number.into()).collect(),
    }
}

fn condition_message(condition: &ConditionSpec) -> v1::Condition {
    use v1::pattern::Pattern as Message;
    let pattern = |pattern: &Pattern| v1::Pattern {
        pattern: Some(match pattern.clone() {
            Pattern::Exact(text) => Message::Exact(text),
            Pattern::Prefix(text) => Message::Prefix(text),
            Pattern::Suffix(text) => Message::Suffix(text),
            Pattern::Glob(text) => Message::Glob(text),
        }),
    };
    v1::Condition {
        field: condition.field.clone(),
        patterns: condition.patterns.iter().map(pattern).collect(),
    }
}

fn identity(message: &v1::Identity, path: &str) -> Result<IdentitySpec, FieldError> {
    if message.id == UNKNOWN_IDENTITY {
        return Err(FieldError::new(
            format!("{path}.id"),
            "is 0, which is reserved for unknown addresses",
        ));
    }
    Ok(IdentitySpec {
        id: message.id,
        name: message.name.clone(),
        labels: message
            .labels
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        managed: message.managed,
        mode: mode_from_message(message.mode, &format!("{path}.mode"))?,
        quarantined: message.quarantined,
        services: message.services.clone(),
        service_account: message.service_account.clone(),
        elsewhere: message.elsewhere,
        namespace_labels: message
            .namespace_labels
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
        service_addresses: each(
            &message.service_addresses,
            &format!("{path}.service_addresses"),
            address,
        )?
        .into_iter()
        .map(|spec| (spec.network, spec.prefix_bits, spec.zone))
        .collect(),
    })
}

fn address(message: &v1::Address, path: &str) -> Result<AddressSpec, FieldError> {
    let (network, base_bits) = if let Ok(bytes) = <[u8; 4]>::try_from(message.network.as_slice()) {
        (
            IPV4_MAPPED | u128::from(u32::from_be_bytes(bytes)),
            IPV4_PREFIX_BITS,
        )
    } else if let Ok(bytes) = <[u8; 16]>::try_from(message.network.as_slice()) {
        (u128::from_be_bytes(bytes), 0)
    } else {
        return Err(FieldError::new(
            format!("{path}.network"),
            format!("has {} bytes instead of 4 or 16", message.network.len()),
        ));
    };
    let prefix_bits = u8::try_from(message.prefix_bits)
        .ok()
        .and_then(|bits| bits.checked_add(base_bits))
        .filter(|&bits| bits <= 128)
        .ok_or_else(|| {
            FieldError::new(
                format!("{path}.prefix_bits"),
                format!("{} is too long", message.prefix_bits),
            )
        })?;
    let host_bits = u128::MAX.checked_shr(prefix_bits.into()).unwrap_or(0);
    if network & host_bits != 0 {
        return Err(FieldError::new(
            format!("{path}.network"),
            "has bits set behind its prefix",
        ));
    }
    Ok(AddressSpec {
        network,
        prefix_bits,
        zone: message.zone,
        identity: message.identity,
    })
}

fn domain_name(message: &v1::DomainName, path: &str) -> Result<NameSpec, FieldError> {
    if message.pattern.is_empty() {
        return Err(FieldError::new(format!("{path}.pattern"), "is empty"));
    }
    Ok(NameSpec {
        pattern: message.pattern.clone(),
        identity: message.identity,
    })
}

fn rule(message: &v1::Rule, path: &str) -> Result<RuleSpec, FieldError> {
    Ok(RuleSpec {
        id: message.id,
        name: message.name.clone(),
        action: action_from_message(message.action, &format!("{path}.action"))?,
        end: match v1::End::try_from(message.end) {
            Ok(v1::End::Client) => End::Client,
            Ok(v1::End::Server) => End::Server,
            _ => return Err(FieldError::new(format!("{path}.end"), unset(message.end))),
        },
        clients: message.clients.clone(),
        servers: message.servers.clone(),
        applications: message.applications.clone(),
        protocols: numbers(&message.protocols, &format!("{path}.protocols"))?,
        ports: each(&message.ports, &format!("{path}.ports"), ports)?,
        conditions: each(
            &message.conditions,
            &format!("{path}.conditions"),
            condition,
        )?,
    })
}

fn ports(message: &v1::Ports, path: &str) -> Result<(u16, u16), FieldError> {
    match (u16::try_from(message.first), u16::try_from(message.last)) {
        (Ok(first), Ok(last)) if first <= last => Ok((first, last)),
        _ => Err(FieldError::new(
            path,
            format!("{}-{} is no range of ports", message.first, message.last),
        )),
    }
}

fn condition(message: &v1::Condition, path: &str) -> Result<ConditionSpec, FieldError> {
    use v1::pattern::Pattern as Message;
    let pattern = |message: &v1::Pattern, path: &str| match message.pattern.clone() {
        Some(Message::Exact(text)) => Ok(Pattern::Exact(text)),
        Some(Message::Prefix(text)) => Ok(Pattern::Prefix(text)),
        Some(Message::Suffix(text)) => Ok(Pattern::Suffix(text)),
        Some(Message::Glob(text)) => Ok(Pattern::Glob(text)),
        None => Err(FieldError::new(
            path,
            "is of a kind this version does not know",
        )),
    };
    if message.field.is_empty() {
        return Err(FieldError::new(format!("{path}.field"), "is empty"));
    }
    if message.patterns.is_empty() {
        return Err(FieldError::new(
            format!("{path}.patterns"),
            "is empty: the condition could never hold",
        ));
    }
    Ok(ConditionSpec {
        field: message.field.clone(),
        patterns: each(&message.patterns, &format!("{path}.patterns"), pattern)?,
    })
}

fn each<M, T>(
    messages: &[M],
    path: &str,
    convert: impl Fn(&M, &str) -> Result<T, FieldError>,
) -> Result<Vec<T>, FieldError> {
    messages
        .iter()
        .enumerate()
        .map(|(index, message)| convert(message, &format!("{path}[{index}]")))
        .collect()
}

fn numbers<T: TryFrom<u32>>(values: &[u32], path: &str) -> Result<Vec<T>, FieldError> {
    let number = |value: &u32, path: &str| {
        T::try_from(*value).map_err(|_| FieldError::new(path, format!("{value} is out of range")))
    };
    each(values, path, number)
}

fn unset(number: i32) -> String {
    if number == 0 {
        "is not set".to_owned()
    } else {
        format!("{number} is not known to this version")
    }
}

fn check_order(spec: &SnapshotSpec) -> Result<(), FieldError> {
    ascending("identities", &spec.identities, |identity| identity.id)?;
    ascending("addresses", &spec.addresses, |address| {
        (address.network, address.prefix_bits, address.zone)
    })?;
    ascending("names", &spec.names, |name| &name.pattern)?;
    ascending("rules", &spec.rules, |rule| rule.id)?;
    ascending("sensors", &spec.sensors, |sensor| sensor.id)?;
    ascending("threat_policies", &spec.threat_policies, |policy| policy.id)?;
    for (index, sensor) in spec.sensors.iter().enumerate() {
        ascending(
            &format!("sensors[{index}].targets"),
            &sensor.targets,
            |&id| id,
        )?;
    }
    ascending("link.ether_types", &spec.link.ether_types, |&number| number)?;
    for (index, rule) in spec.rules.iter().enumerate() {
        let path = |list: &str| format!("rules[{index}].{list}");
        ascending(&path("clients"), &rule.clients, |&id| id)?;
        ascending(&path("servers"), &rule.servers, |&id| id)?;
        ascending(&path("applications"), &rule.applications, |name| name)?;
        ascending(&path("protocols"), &rule.protocols, |&number| number)?;
        ascending(&path("ports"), &rule.ports, |&range| range)?;
    }
    Ok(())
}

fn ascending<'a, T, K: Ord>(
    path: &str,
    list: &'a [T],
    key: impl Fn(&'a T) -> K,
) -> Result<(), FieldError> {
    match list
        .windows(2)
        .position(|pair| key(&pair[0]) >= key(&pair[1]))
    {
        Some(index) => Err(FieldError::new(
            format!("{path}[{}]", index + 1),
            "is out of order or occurs twice",
        )),
        None => Ok(()),
    }
}

fn check_references(spec: &SnapshotSpec) -> Result<(), FieldError> {
    let known: HashSet<u32> = spec.identities.iter().map(|identity| identity.id).collect();
    let check = |path: String, id: u32| match known.contains(&id) {
        true => Ok(()),
        false => Err(FieldError::new(
            path,
            format!("identity {id} is not in this snapshot"),
        )),
    };
    for (index, address) in spec.addresses.iter().enumerate() {
        check(format!("addresses[{index}].identity"), address.identity)?;
    }
    for (index, name) in spec.names.iter().enumerate() {
        check(format!("names[{index}].identity"), name.identity)?;
    }
    for (index, rule) in spec.rules.iter().enumerate() {
        for &id in rule
            .clients
            .iter()
            .chain(&rule.servers)
            .filter(|&&id| id != UNKNOWN_IDENTITY)
        {
            check(format!("rules[{index}]"), id)?;
        }
    }
    for (index, sensor) in spec.sensors.iter().enumerate() {
        for &id in sensor.targets.iter().filter(|&&id| id != UNKNOWN_IDENTITY) {
            check(format!("sensors[{index}].targets"), id)?;
        }
    }
    for (index, policy) in spec.threat_policies.iter().enumerate() {
        for &id in policy.targets.iter().filter(|&&id| id != UNKNOWN_IDENTITY) {
            check(format!("threat_policies[{index}].targets"), id)?;
        }
    }
    Ok(())
}
