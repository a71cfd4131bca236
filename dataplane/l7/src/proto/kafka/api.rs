//! The APIs: their names and versions, and where their requests name topics.

use super::reader::{Read, Reader};

pub(super) const PRODUCE: u8 = 0;
pub(super) const FETCH: u8 = 1;
pub(super) const METADATA: u8 = 3;
pub(super) const SASL_HANDSHAKE: u8 = 17;
pub(super) const API_VERSIONS: u8 = 18;
pub(super) const SASL_AUTHENTICATE: u8 = 36;

/// A row of "API Keys": name, last version, first flexible version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Api {
    pub(super) name: &'static str,
    pub(super) last: u8,
    pub(super) flexible: u8,
}

const NEVER: u8 = u8::MAX;

const fn api(name: &'static str, last: u8, flexible: u8) -> Api {
    Api {
        name,
        last,
        flexible,
    }
}

/// By their keys.
const APIS: &[Api] = &[
    api("Produce", 13, 9),
    api("Fetch", 18, 12),
    api("ListOffsets", 11, 6),
    api("Metadata", 13, 9),
    api("LeaderAndIsr", 7, 4),
    api("StopReplica", 4, 2),
    api("UpdateMetadata", 8, 6),
    api("ControlledShutdown", 3, 3),
    api("OffsetCommit", 10, 8),
    api("OffsetFetch", 10, 6),
    api("FindCoordinator", 6, 3),
    api("JoinGroup", 9, 6),
    api("Heartbeat", 4, 4),
    api("LeaveGroup", 5, 4),
    api("SyncGroup", 5, 4),
    api("DescribeGroups", 6, 5),
    api("ListGroups", 5, 3),
    api("SaslHandshake", 1, NEVER),
    api("ApiVersions", 5, 3),
    api("CreateTopics", 7, 5),
    api("DeleteTopics", 6, 4),
    api("DeleteRecords", 2, 2),
    api("InitProducerId", 6, 2),
    api("OffsetForLeaderEpoch", 4, 4),
    api("AddPartitionsToTxn", 5, 3),
    api("AddOffsetsToTxn", 4, 3),
    api("EndTxn", 5, 3),
    api("WriteTxnMarkers", 2, 1),
    api("TxnOffsetCommit", 5, 3),
    api("DescribeAcls", 3, 2),
    api("CreateAcls", 3, 2),
    api("DeleteAcls", 3, 2),
    api("DescribeConfigs", 4, 4),
    api("AlterConfigs", 2, 2),
    api("AlterReplicaLogDirs", 2, 2),
    api("DescribeLogDirs", 5, 2),
    api("SaslAuthenticate", 2, 2),
    api("CreatePartitions", 3, 2),
    api("CreateDelegationToken", 3, 2),
    api("RenewDelegationToken", 2, 2),
    api("ExpireDelegationToken", 2, 2),
    api("DescribeDelegationToken", 3, 2),
    api("DeleteGroups", 2, 2),
    api("ElectLeaders", 2, 2),
    api("IncrementalAlterConfigs", 1, 1),
    api("AlterPartitionReassignments", 1, 0),
    api("ListPartitionReassignments", 0, 0),
    api("OffsetDelete", 0, NEVER),
    api("DescribeClientQuotas", 1, 1),
    api("AlterClientQuotas", 1, 1),
    api("DescribeUserScramCredentials", 0, 0),
    api("AlterUserScramCredentials", 0, 0),
    api("Vote", 2, 0),
    api("BeginQuorumEpoch", 1, 1),
    api("EndQuorumEpoch", 1, 1),
    api("DescribeQuorum", 2, 0),
    api("AlterPartition", 3, 0),
    api("UpdateFeatures", 2, 0),
    api("Envelope", 0, 0),
    api("FetchSnapshot", 1, 0),
    api("DescribeCluster", 2, 0),
    api("DescribeProducers", 0, 0),
    api("BrokerRegistration", 4, 0),
    api("BrokerHeartbeat", 1, 0),
    api("UnregisterBroker", 0, 0),
    api("DescribeTransactions", 0, 0),
    api("ListTransactions", 2, 0),
    api("AllocateProducerIds", 0, 0),
    api("ConsumerGroupHeartbeat", 1, 0),
    api("ConsumerGroupDescribe", 1, 0),
    api("ControllerRegistration", 0, 0),
    api("GetTelemetrySubscriptions", 0, 0),
    api("PushTelemetry", 0, 0),
    api("AssignReplicasToDirs", 0, 0),
    api("ListConfigResources", 1, 0),
    api("DescribeTopicPartitions", 0, 0),
    api("ShareGroupHeartbeat", 1, 0),
    api("ShareGroupDescribe", 1, 0),
    api("ShareFetch", 1, 0),
    api("ShareAcknowledge", 1, 0),
    api("AddRaftVoter", 1, 0),
    api("RemoveRaftVoter", 0, 0),
    api("UpdateRaftVoter", 0, 0),
    api("InitializeShareGroupState", 0, 0),
    api("ReadShareGroupState", 0, 0),
    api("WriteShareGroupState", 1, 0),
    api("DeleteShareGroupState", 0, 0),
    api("ReadShareGroupStateSummary", 1, 0),
    api("StreamsGroupHeartbeat", 0, 0),
    api("StreamsGroupDescribe", 0, 0),
    api("DescribeShareGroupOffsets", 0, 0),
    api("AlterShareGroupOffsets", 0, 0),
    api("DeleteShareGroupOffsets", 0, 0),
];

/// The API of that key.
pub(super) fn of(key: i16) -> Option<Api> {
    APIS.get(usize::try_from(key).ok()?).copied()
}

/// What stands between topics: to be passed over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Piece {
    /// So many bytes.
    Fixed(usize),
    /// A text, perhaps null.
    Text,
    /// A list of structures, perhaps null.
    List(&'static [Piece]),
    /// A list of numbers of four bytes.
    Numbers,
}

use Piece::{Fixed, List, Numbers, Text};

/// How a topic is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    Name,
    Id,
    /// An id, which may be zero, then a name, which may be null.
    IdAndName,
    /// The same, the name first.
    NameAndId,
}

/// Where a request names topics.
pub(super) struct Layout {
    /// Before the list of topics.
    pub(super) before: &'static [Piece],
    /// Which of the texts before it is the group: 0 is none.
    pub(super) group: u8,
    pub(super) naming: Naming,
    /// Behind each topic's name.
    pub(super) behind: &'static [Piece],
    /// Topics are a list of structures, with tags each.
    pub(super) structures: bool,
}

const fn layout(
    before: &'static [Piece],
    group: u8,
    naming: Naming,
    behind: &'static [Piece],
) -> Option<Layout> {
    Some(Layout {
        before,
        group,
        naming,
        behind,
        structures: true,
    })
}

/// The layout of a request about topics; None: it is about none, or in a way not known.
pub(super) fn layout_of(key: u8, version: u8) -> Option<Layout> {
    if version > of(key.into())?.last {
        return None;
    }
    match (key, version) {
        (FETCH, _) => fetch(version),
        (2, 0) => layout(&[Fixed(4)], 0, Naming::Name, &[List(&[Fixed(16)])]),
        (2, 1) => layout(&[Fixed(4)], 0, Naming::Name, &[List(&[Fixed(12)])]),
        (2, 2..=3) => layout(&[Fixed(5)], 0, Naming::Name, &[List(&[Fixed(12)])]),
        (2, _) => layout(&[Fixed(5)], 0, Naming::Name, &[List(&[Fixed(16)])]),
        (METADATA, 0..=8) => Some(Layout {
            structures: false,
            ..layout(&[], 0, Naming::Name, &[])?
        }),
        (METADATA, 9) => layout(&[], 0, Naming::Name, &[]),
        (METADATA, _) => layout(&[], 0, Naming::IdAndName, &[]),
        (8, _) => offset_commit(version),
        (9, 0..=7) => layout(&[Text], 1, Naming::Name, &[Numbers]),
        (19, _) => layout(
            &[],
            0,
            Naming::Name,
            &[Fixed(6), List(&[Fixed(4), Numbers]), List(&[Text, Text])],
        ),
        (20, 0..=5) => Some(Layout {
            structures: false,
            ..layout(&[], 0, Naming::Name, &[])?
        }),
        (20, _) => layout(&[], 0, Naming::NameAndId, &[]),
        (21, _) => layout(&[], 0, Naming::Name, &[List(&[Fixed(12)])]),
        (23, 0..=1) => layout(&[], 0, Naming::Name, &[List(&[Fixed(8)])]),
        (23, 2) => layout(&[], 0, Naming::Name, &[List(&[Fixed(12)])]),
        (23, _) => layout(&[Fixed(4)], 0, Naming::Name, &[List(&[Fixed(12)])]),
        (24, 0..=3) => layout(&[Text, Fixed(10)], 0, Naming::Name, &[Numbers]),
        (28, 0..=1) => layout(
            &[Text, Text, Fixed(10)],
            2,
            Naming::Name,
            &[List(&[Fixed(12), Text])],
        ),
        (28, 2) => layout(
            &[Text, Text, Fixed(10)],
            2,
            Naming::Name,
            &[List(&[Fixed(16), Text])],
        ),
        (28, _) => layout(
            &[Text, Text, Fixed(14), Text, Text],
            2,
            Naming::Name,
            &[List(&[Fixed(16), Text])],
        ),
        // ConsumerGroupHeartbeat: what the member subscribes to.
        (68, _) => Some(Layout {
            structures: false,
            ..layout(
                &[Text, Text, Fixed(4), Text, Text, Fixed(4)],
                1,
                Naming::Name,
                &[],
            )?
        }),
        (37, _) => layout(&[], 0, Naming::Name, &[Fixed(4), List(&[Numbers])]),
        _ => None,
    }
}

fn fetch(version: u8) -> Option<Layout> {
    let before: &'static [Piece] = match version {
        0..=2 => &[Fixed(12)],
        3 => &[Fixed(16)],
        4..=6 => &[Fixed(17)],
        7..=14 => &[Fixed(25)],
        _ => &[Fixed(21)],
    };
    let behind: &'static [Piece] = match version {
        0..=4 => &[List(&[Fixed(16)])],
        5..=8 => &[List(&[Fixed(24)])],
        9..=11 => &[List(&[Fixed(28)])],
        _ => &[List(&[Fixed(32)])],
    };
    let naming = if version < 13 {
        Naming::Name
    } else {
        Naming::Id
    };
    layout(before, 0, naming, behind)
}

fn offset_commit(version: u8) -> Option<Layout> {
    let before: &'static [Piece] = match version {
        0 => &[Text],
        1 => &[Text, Fixed(4), Text],
        2..=4 => &[Text, Fixed(4), Text, Fixed(8)],
        5..=6 => &[Text, Fixed(4), Text],
        _ => &[Text, Fixed(4), Text, Text],
    };
    let behind: &'static [Piece] = match version {
        1 => &[List(&[Fixed(20), Text])],
        0 | 2..=5 => &[List(&[Fixed(12), Text])],
        _ => &[List(&[Fixed(16), Text])],
    };
    let naming = if version < 10 {
        Naming::Name
    } else {
        Naming::Id
    };
    layout(before, 1, naming, behind)
}

/// Passes over pieces.
pub(super) fn pass(reader: &mut Reader<'_>, pieces: &[Piece]) -> Read<()> {
    for piece in pieces {
        match *piece {
            Fixed(length) => reader.skip(length)?,
            Text => drop(reader.text()?),
            Numbers => {
                let count = reader.count()?.unwrap_or_default();
                reader.skip((count as usize).saturating_mul(4))?;
            }
            List(pieces) => {
                for _ in 0..reader.count()?.unwrap_or_default() {
                    pass(reader, pieces)?;
                    reader.tags()?;
                }
            }
        }
    }
    Ok(())
}
