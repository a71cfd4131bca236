//! What a node enforces, as items that are kept encoded as they came, with the checksum kept along.
//!
//! Trusts nothing: an item that cannot be read, a key that comes twice or a checksum that does not
//! fit is an error and changes nothing. Memory: the items, about 100 bytes more for each.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::first;
use crate::v1::{self, wire};

/// Which item of a policy, in the order of the fields of `Snapshot` and of the keys within each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ItemKey {
    /// An identity by its id.
    Identity(u32),
    /// An address.
    Address(AddressKey),
    /// A domain name by its pattern.
    Name(Box<str>),
    /// A rule by its id.
    Rule(u32),
    /// What happens to addresses that nobody knows.
    Unknown,
    /// Frames that are not IP.
    Link,
    /// How denial shows.
    DenyStyle,
    /// A sensor by its id.
    Sensor(u32),
    /// The signed documents.
    Bundle,
    /// A threat policy by its id.
    ThreatPolicy(u32),
    /// What services claim of others.
    Claims,
}

/// Orders addresses as [`weir_policy::spec::AddressSpec`] does: by network in its 128-bit form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressKey {
    mapped: [u8; 16],
    mapped_prefix_bits: u32,
    zone: Option<u32>,
    network_bytes: u8,
}

/// One item, encoded; shared by everybody who has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item(Arc<Encoded>);

#[derive(Debug, PartialEq, Eq)]
struct Encoded {
    bytes: Bytes,
    /// What it adds to the checksum.
    sum: u64,
}

/// The content of a policy. Equal contents have equal checksums, whatever led to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    items: BTreeMap<ItemKey, Item>,
    checksum: u64,
}

/// What was there before a change, to go back.
#[derive(Debug)]
pub struct Undo(Vec<(ItemKey, Option<Item>)>);

/// Why a snapshot or delta cannot be applied. The remedy for each is a full snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It changes another version than the one at hand.
    #[error(
        "the delta changes version {wanted}, but version {have} is at hand; a full snapshot is needed"
    )]
    Base {
        /// The version the delta changes.
        wanted: u64,
        /// The version at hand.
        have: u64,
    },
    /// The result is not what the sender meant.
    #[error(
        "version {version} has checksum {have:016x} instead of {wanted:016x}; a full snapshot is needed"
    )]
    Checksum {
        /// The version that the delta leads to.
        version: u64,
        /// The checksum in the delta.
        wanted: u64,
        /// The checksum of the result.
        have: u64,
    },
    /// An item is not one.
    #[error("{list}[{index}] {why}; a full snapshot is needed")]
    Item {
        /// The list it stands in.
        list: &'static str,
        /// Its place.
        index: usize,
        /// What is wrong.
        why: String,
    },
}

impl AddressKey {
    /// An address with this key and nothing else.
    pub fn message(&self) -> v1::Address {
        let (skipped, base_bits) = match self.network_bytes {
            4 => (12, 96),
            _ => (0, 0),
        };
        v1::Address {
            network: self.mapped.get(skipped..).unwrap_or_default().to_vec(),
            prefix_bits: self.mapped_prefix_bits.saturating_sub(base_bits),
            identity: 0,
            zone: self.zone,
        }
    }
}

/// The key of an address. Networks of another length than 4 and 16 bytes are refused elsewhere.
pub fn address_key(address: &v1::Address) -> AddressKey {
    let mut mapped = [0; 16];
    let wide = address.network.len() != 4;
    if wide {
        let length = address.network.len().min(16);
        mapped[16 - length..].copy_from_slice(&address.network[..length]);
    } else {
        mapped[10..12].fill(0xff);
        mapped[12..].copy_from_slice(&address.network);
    }
    AddressKey {
        mapped,
        mapped_prefix_bits: address
            .prefix_bits
            .saturating_add(if wide { 0 } else { 96 }),
        zone: address.zone,
        network_bytes: address.network.len().min(255) as u8,
    }
}

impl ItemKey {
    /// The number of the field of `Snapshot` that holds it.
    pub fn tag(&self) -> u8 {
        match self {
            Self::Identity(_) => 3,
            Self::Address(_) => 4,
            Self::Name(_) => 5,
            Self::Rule(_) => 6,
            Self::Unknown => 7,
            Self::Link => 8,
            Self::DenyStyle => 9,
            Self::Sensor(_) => 10,
            Self::Bundle => 11,
            Self::ThreatPolicy(_) => 12,
            Self::Claims => 14,
        }
    }
}

impl Item {
    /// The item with this encoding. The bytes are copied, so that no item keeps a whole message.
    pub fn of_bytes(key: &ItemKey, bytes: &[u8]) -> Self {
        let mut digest = Sha256::new();
        digest.update([key.tag()]);
        digest.update(bytes);
        let digest = digest.finalize();
        let sum = (digest.iter().take(8).rev()).fold(0, |sum, &byte| sum << 8 | u64::from(byte));
        Self(Arc::new(Encoded {
            bytes: Bytes::copy_from_slice(bytes),
            sum,
        }))
    }

    /// An identity.
    pub fn identity(message: &v1::Identity) -> (ItemKey, Self) {
        Self::of(ItemKey::Identity(message.id), message)
    }

    /// An address.
    pub fn address(message: &v1::Address) -> (ItemKey, Self) {
        Self::of(ItemKey::Address(address_key(message)), message)
    }

    /// A domain name.
    pub fn name(message: &v1::DomainName) -> (ItemKey, Self) {
        Self::of(ItemKey::Name(message.pattern.as_str().into()), message)
    }

    /// A rule.
    pub fn rule(message: &v1::Rule) -> (ItemKey, Self) {
        Self::of(ItemKey::Rule(message.id), message)
    }

    /// A sensor.
    pub fn sensor(message: &v1::Sensor) -> (ItemKey, Self) {
        Self::of(ItemKey::Sensor(message.id), message)
    }

    /// A threat policy.
    pub fn threat_policy(message: &v1::ThreatPolicy) -> (ItemKey, Self) {
        Self::of(ItemKey::ThreatPolicy(message.id), message)
    }

    /// The settings of a policy that are there.
    pub fn settings(message: &v1::Snapshot) -> impl Iterator<Item = (ItemKey, Self)> + use<> {
        let unknown = (message.unknown.as_ref()).map(|it| Self::of(ItemKey::Unknown, it));
        let link = (message.link.as_ref()).map(|it| Self::of(ItemKey::Link, it));
        let bundle = (message.bundle.as_ref()).map(|it| Self::of(ItemKey::Bundle, it));
        let style = Self::deny_style(message.deny_style);
        let claims = (message.claims.as_ref()).map(|it| Self::of(ItemKey::Claims, it));
        let all = unknown.into_iter().chain(link).chain(style).chain(bundle);
        all.chain(claims)
    }

    /// The encoding.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// Signed documents.
    pub fn of_bundle(bundle: &v1::SignedBundle) -> (ItemKey, Self) {
        Self::of(ItemKey::Bundle, bundle)
    }

    fn of(key: ItemKey, message: &impl Message) -> (ItemKey, Self) {
        let item = Self::of_bytes(&key, &message.encode_to_vec());
        (key, item)
    }

    fn deny_style(number: i32) -> Option<(ItemKey, Self)> {
        // As an enumeration is encoded: a negative number has ten bytes.
        let varint = |number: i32| {
            let mut bytes = Vec::with_capacity(10);
            prost::encoding::encode_varint(i64::from(number) as u64, &mut bytes);
            Self::of_bytes(&ItemKey::DenyStyle, &bytes)
        };
        (number != 0).then(|| (ItemKey::DenyStyle, varint(number)))
    }
}

/// The checksum of a snapshot's content: equal policy has equal checksums, whatever the version.
pub fn checksum(snapshot: &v1::Snapshot) -> u64 {
    Contents::of_message(snapshot).checksum()
}

impl Contents {
    /// Of a message. Of items that share a key the last one counts.
    pub fn of_message(message: &v1::Snapshot) -> Self {
        let mut contents = Self::default();
        let identities = message.identities.iter().map(Item::identity);
        let addresses = message.addresses.iter().map(Item::address);
        let names = message.names.iter().map(Item::name);
        let rules = message.rules.iter().map(Item::rule);
        let sensors = message.sensors.iter().map(Item::sensor);
        let threats = message.threat_policies.iter().map(Item::threat_policy);
        let lists = identities.chain(addresses).chain(names).chain(rules);
        let lists = lists.chain(sensors).chain(threats);
        for (key, item) in lists.chain(Item::settings(message)) {
            contents.put(key, Some(item));
        }
        contents
    }

    /// Of a snapshot as it travels; its checksum is verified.
    pub fn of_snapshot(snapshot: &wire::Snapshot) -> Result<Self, ApplyError> {
        let mut contents = Self::default();
        for (list, field) in [
            (&snapshot.identities, IDENTITIES),
            (&snapshot.addresses, ADDRESSES),
            (&snapshot.names, NAMES),
            (&snapshot.rules, RULES),
            (&snapshot.sensors, SENSORS),
            (&snapshot.threat_policies, THREAT_POLICIES),
        ] {
            for (index, bytes) in list.iter().enumerate() {
                let key = field.key(index, bytes)?;
                let item = Item::of_bytes(&key, bytes);
                if contents.put(key, Some(item)).is_some() {
                    return Err(field.wrong(index, "has the key of another item"));
                }
            }
        }
        for (key, item) in singles(&snapshot.unknown, &snapshot.link, snapshot.deny_style) {
            contents.put(key, item);
        }
        for (key, bytes) in [
            (ItemKey::Bundle, &snapshot.bundle),
            (ItemKey::Claims, &snapshot.claims),
        ] {
            let item = bytes.as_ref().map(|bytes| Item::of_bytes(&key, bytes));
            contents.put(key, item);
        }
        contents.expect(snapshot.version, snapshot.checksum)?;
        Ok(contents)
    }

    /// The checksum, as the contract has it.
    pub fn checksum(&self) -> u64 {
        self.checksum
    }

    /// How many items there are.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The items in canonical order.
    pub fn items(&self) -> impl Iterator<Item = (&ItemKey, &Item)> {
        self.items.iter()
    }

    /// Puts an item in place of the one with its key, or takes that one away; returns it.
    pub fn put(&mut self, key: ItemKey, item: Option<Item>) -> Option<Item> {
        let added = item.as_ref().map_or(0, |item| item.0.sum);
        let before = match (self.items.entry(key), item) {
            (Entry::Occupied(mut place), Some(item)) => Some(place.insert(item)),
            (Entry::Occupied(place), None) => Some(place.remove()),
            (Entry::Vacant(place), Some(item)) => {
                place.insert(item);
                None
            }
            (Entry::Vacant(_), None) => None,
        };
        let gone = before.as_ref().map_or(0, |item| item.0.sum);
        self.checksum = self.checksum.wrapping_sub(gone).wrapping_add(added);
        before
    }

    /// Applies a delta to what has version `version`: wholly, or not at all.
    pub fn apply(&mut self, version: u64, delta: &wire::Delta) -> Result<Undo, ApplyError> {
        if version != delta.base_version {
            return Err(ApplyError::Base {
                wanted: delta.base_version,
                have: version,
            });
        }
        let changes = changes(delta)?;
        let mut undo = Undo(Vec::with_capacity(changes.len()));
        for (key, item) in changes {
            let before = self.put(key.clone(), item);
            undo.0.push((key, before));
        }
        if let Err(error) = self.expect(delta.version, delta.checksum) {
            self.undo(undo);
            return Err(error);
        }
        Ok(undo)
    }

    /// Goes back to what was there before a change that was the last.
    pub fn undo(&mut self, undo: Undo) {
        for (key, item) in undo.0.into_iter().rev() {
            self.put(key, item);
        }
    }

    /// As a message that travels.
    pub fn snapshot(&self, version: u64) -> wire::Snapshot {
        let mut snapshot = wire::Snapshot {
            version,
            checksum: self.checksum,
            ..wire::Snapshot::default()
        };
        for (key, item) in &self.items {
            let bytes = item.bytes().clone();
            match key {
                ItemKey::Identity(_) => snapshot.identities.push(bytes),
                ItemKey::Address(_) => snapshot.addresses.push(bytes),
                ItemKey::Name(_) => snapshot.names.push(bytes),
                ItemKey::Rule(_) => snapshot.rules.push(bytes),
                ItemKey::Unknown => snapshot.unknown = Some(bytes),
                ItemKey::Link => snapshot.link = Some(bytes),
                ItemKey::DenyStyle => snapshot.deny_style = enumeration(&bytes),
                ItemKey::Sensor(_) => snapshot.sensors.push(bytes),
                ItemKey::Bundle => snapshot.bundle = Some(bytes),
                ItemKey::ThreatPolicy(_) => snapshot.threat_policies.push(bytes),
                ItemKey::Claims => snapshot.claims = Some(bytes),
            }
        }
        snapshot
    }

    /// What these keys have come to since `base_version`, as a message that travels.
    pub fn delta<'a>(
        &self,
        base_version: u64,
        version: u64,
        keys: impl IntoIterator<Item = &'a ItemKey>,
    ) -> wire::Delta {
        let single = |key| self.items.get(key).map(|item| item.bytes().clone());
        let mut delta = wire::Delta {
            base_version,
            version,
            checksum: self.checksum,
            unknown: single(&ItemKey::Unknown),
            link: single(&ItemKey::Link),
            deny_style: single(&ItemKey::DenyStyle).map_or(0, |bytes| enumeration(&bytes)),
            ..wire::Delta::default()
        };
        for key in keys {
            let now = single(key);
            match (key, now) {
                (ItemKey::Identity(_), Some(bytes)) => delta.identities.push(bytes),
                (ItemKey::Identity(id), None) => delta.removed_identities.push(*id),
                (ItemKey::Address(_), Some(bytes)) => delta.addresses.push(bytes),
                (ItemKey::Address(key), None) => {
                    let gone = key.message().encode_to_vec();
                    delta.removed_addresses.push(gone.into());
                }
                (ItemKey::Name(_), Some(bytes)) => delta.names.push(bytes),
                (ItemKey::Name(name), None) => delta.removed_names.push(name.to_string()),
                (ItemKey::Rule(_), Some(bytes)) => delta.rules.push(bytes),
                (ItemKey::Rule(id), None) => delta.removed_rules.push(*id),
                (ItemKey::Sensor(_), Some(bytes)) => delta.sensors.push(bytes),
                (ItemKey::Sensor(id), None) => delta.removed_sensors.push(*id),
                (ItemKey::ThreatPolicy(_), Some(bytes)) => delta.threat_policies.push(bytes),
                (ItemKey::ThreatPolicy(id), None) => delta.removed_threat_policies.push(*id),
                (ItemKey::Bundle, bytes) => delta.bundle = Some(bytes.unwrap_or_default()),
                (ItemKey::Claims, bytes) => delta.claims = Some(bytes.unwrap_or_default()),
                (ItemKey::Unknown | ItemKey::Link | ItemKey::DenyStyle, _) => {}
            }
        }
        delta
    }

    /// As this version of the contract understands it; fields that it does not know are left out.
    pub fn message(&self, version: u64) -> Result<v1::Snapshot, ApplyError> {
        let encoded = self.snapshot(version).encode_to_vec();
        let message = v1::Snapshot::decode(encoded.as_slice());
        message.map_err(|error| ApplyError::Item {
            list: "snapshot",
            index: 0,
            why: format!("cannot be read: {error}"),
        })
    }

    /// For a file: [`Contents::read`] gives the same again.
    pub fn write(&self, version: u64) -> Vec<u8> {
        self.snapshot(version).encode_to_vec()
    }

    /// What [`Contents::write`] wrote, or a snapshot of version 1 of the contract, and its version.
    pub fn read(bytes: &[u8]) -> Result<(u64, Self), String> {
        let unread = |error: prost::DecodeError| format!("it cannot be read: {error}");
        let snapshot = wire::Snapshot::decode(bytes).map_err(unread)?;
        if let Ok(contents) = Self::of_snapshot(&snapshot) {
            return Ok((snapshot.version, contents));
        }
        let message = v1::Snapshot::decode(bytes).map_err(unread)?;
        if first::checksum(&message) != message.checksum {
            return Err("its checksum does not fit its content".to_owned());
        }
        Ok((message.version, Self::of_message(&message)))
    }

    fn expect(&self, version: u64, wanted: u64) -> Result<(), ApplyError> {
        if self.checksum == wanted {
            return Ok(());
        }
        Err(ApplyError::Checksum {
            version,
            wanted,
            have: self.checksum,
        })
    }
}

/// A list of items: its name, and how to read the key of one.
#[derive(Clone, Copy)]
struct List {
    name: &'static str,
    key: fn(&[u8]) -> Result<ItemKey, prost::DecodeError>,
}

const IDENTITIES: List = List {
    name: "identities",
    key: |bytes| Ok(ItemKey::Identity(v1::Identity::decode(bytes)?.id)),
};
const ADDRESSES: List = List {
    name: "addresses",
    key: |bytes| Ok(ItemKey::Address(address_key(&v1::Address::decode(bytes)?))),
};
const NAMES: List = List {
    name: "names",
    key: |bytes| Ok(ItemKey::Name(v1::DomainName::decode(bytes)?.pattern.into())),
};
const RULES: List = List {
    name: "rules",
    key: |bytes| Ok(ItemKey::Rule(v1::Rule::decode(bytes)?.id)),
};
const SENSORS: List = List {
    name: "sensors",
    key: |bytes| Ok(ItemKey::Sensor(v1::Sensor::decode(bytes)?.id)),
};
const THREAT_POLICIES: List = List {
    name: "threat_policies",
    key: |bytes| Ok(ItemKey::ThreatPolicy(v1::ThreatPolicy::decode(bytes)?.id)),
};

impl List {
    fn key(&self, index: usize, bytes: &[u8]) -> Result<ItemKey, ApplyError> {
        (self.key)(bytes).map_err(|error| self.wrong(index, &format!("cannot be read: {error}")))
    }

    fn wrong(&self, index: usize, why: &str) -> ApplyError {
        ApplyError::Item {
            list: self.name,
            index,
            why: why.to_owned(),
        }
    }
}

/// What a delta changes, removals first.
fn changes(delta: &wire::Delta) -> Result<Vec<(ItemKey, Option<Item>)>, ApplyError> {
    let mut changes: Vec<(ItemKey, Option<Item>)> = Vec::new();
    let identities = delta.removed_identities.iter().copied();
    changes.extend(identities.map(|id| (ItemKey::Identity(id), None)));
    let rules = delta.removed_rules.iter().copied();
    changes.extend(rules.map(|id| (ItemKey::Rule(id), None)));
    let sensors = delta.removed_sensors.iter().copied();
    changes.extend(sensors.map(|id| (ItemKey::Sensor(id), None)));
    let threats = delta.removed_threat_policies.iter().copied();
    changes.extend(threats.map(|id| (ItemKey::ThreatPolicy(id), None)));
    let names = delta.removed_names.iter();
    changes.extend(names.map(|name| (ItemKey::Name(name.as_str().into()), None)));
    for (index, bytes) in delta.removed_addresses.iter().enumerate() {
        changes.push((ADDRESSES.key(index, bytes)?, None));
    }
    for (list, field) in [
        (&delta.identities, IDENTITIES),
        (&delta.addresses, ADDRESSES),
        (&delta.names, NAMES),
        (&delta.rules, RULES),
        (&delta.sensors, SENSORS),
        (&delta.threat_policies, THREAT_POLICIES),
    ] {
        for (index, bytes) in list.iter().enumerate() {
            let key = field.key(index, bytes)?;
            let item = Item::of_bytes(&key, bytes);
            changes.push((key, Some(item)));
        }
    }
    changes.extend(singles(&delta.unknown, &delta.link, delta.deny_style));
    if let Some(bundle) = &delta.bundle {
        let item = Item::of_bytes(&ItemKey::Bundle, bundle);
        let signed = v1::SignedBundle::decode(bundle.clone());
        let there = signed.is_ok_and(|signed| !signed.payload.is_empty());
        changes.push((ItemKey::Bundle, there.then_some(item)));
    }
    if let Some(claims) = &delta.claims {
        let item = Item::of_bytes(&ItemKey::Claims, claims);
        changes.push((ItemKey::Claims, (!claims.is_empty()).then_some(item)));
    }
    Ok(changes)
}

/// The settings that a snapshot and a delta alike give in full.
fn singles(
    unknown: &Option<Bytes>,
    link: &Option<Bytes>,
    deny_style: i32,
) -> [(ItemKey, Option<Item>); 3] {
    let item = |key: ItemKey, bytes: &Option<Bytes>| {
        let item = bytes.as_ref().map(|bytes| Item::of_bytes(&key, bytes));
        (key, item)
    };
    [
        item(ItemKey::Unknown, unknown),
        item(ItemKey::Link, link),
        (
            ItemKey::DenyStyle,
            Item::deny_style(deny_style).map(|(_, item)| item),
        ),
    ]
}

fn enumeration(mut bytes: &[u8]) -> i32 {
    prost::encoding::decode_varint(&mut bytes).unwrap_or_default() as i32
}
