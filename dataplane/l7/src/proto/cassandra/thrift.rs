//! The calls of the Thrift interface (`cassandra.thrift`, framed binary protocol).

use weir_wire::Direction;

use super::{COMMAND, Cassandra, KEYSPACE, MESSAGE_MAX, STATEMENT, USER};
use crate::read::cursor::Cursor;
use crate::sql::Kind;
use crate::told::Told;
use crate::{EventKind, EventSink, Step};

/// Version 1 of the binary protocol, with a call.
const CALL: u32 = 0x8001_0001;
/// Longest name of a call that is read.
const NAME_MAX: u32 = 64;
/// Names and an argument must lie within this.
const HEAD_MAX: usize = 256;

/// Calls that no other interface is known to have.
const CALLS: &[&[u8]] = &[
    b"set_keyspace",
    b"describe_keyspace",
    b"describe_keyspaces",
    b"describe_cluster_name",
    b"describe_version",
    b"describe_ring",
    b"describe_partitioner",
    b"describe_snitch",
    b"describe_schema_versions",
    b"describe_splits",
    b"describe_splits_ex",
    b"describe_token_map",
    b"describe_local_ring",
    b"get_slice",
    b"get_count",
    b"multiget_slice",
    b"multiget_count",
    b"get_range_slices",
    b"get_paged_slice",
    b"get_indexed_slices",
    b"batch_mutate",
    b"atomic_batch_mutate",
    b"remove_counter",
    b"system_add_keyspace",
    b"system_drop_keyspace",
    b"system_update_keyspace",
    b"system_add_column_family",
    b"system_drop_column_family",
    b"system_update_column_family",
    b"execute_cql_query",
    b"execute_cql3_query",
    b"prepare_cql_query",
    b"prepare_cql3_query",
    b"execute_prepared_cql_query",
    b"execute_prepared_cql3_query",
    b"set_cql_version",
];

/// Whether the client's first message is such a call; none: too short to tell.
pub(super) fn begins(input: &[u8]) -> Option<bool> {
    let mut cursor = Cursor::new(input);
    let length = cursor.u32()?;
    if !(12..MESSAGE_MAX).contains(&length) {
        return Some(false);
    }
    if cursor.u32()? != CALL {
        return Some(false);
    }
    let size = cursor.u32()?;
    if size > NAME_MAX || size + 12 > length {
        return Some(false);
    }
    Some(CALLS.contains(&cursor.take(size as usize)?))
}

impl Cassandra {
    pub(super) fn call(
        &mut self,
        direction: Direction,
        input: &[u8],
        sink: &mut dyn EventSink,
    ) -> Step {
        self.thrift = true;
        if direction == Direction::ToClient {
            return Step::Done;
        }
        let mut cursor = Cursor::new(input);
        let Some(length) = cursor.u32() else {
            return Step::Incomplete;
        };
        if !(12..MESSAGE_MAX).contains(&length) {
            return Step::Violation("cassandra: message length out of bounds");
        }
        let Some(body) = cursor.take((length as usize).min(HEAD_MAX)) else {
            return Step::Incomplete;
        };
        let mut cursor = Cursor::new(body);
        let name = (|| {
            cursor.u32()?;
            let size = cursor.u32()?;
            cursor.take(size as usize)
        })();
        let Some(name) = name else {
            return Step::Violation("cassandra: malformed call");
        };
        if name == b"set_keyspace" {
            let keyspace = (|| {
                cursor.u32()?;
                // A text, the first argument.
                if cursor.take(3)? != b"\x0b\0\x01" {
                    return None;
                }
                let size = cursor.u32()?;
                cursor.take(size as usize)
            })();
            self.keyspace = keyspace
                .and_then(|name| name.try_into().ok())
                .unwrap_or_default();
        }
        Told::new()
            .bytes(COMMAND, name)
            .name(STATEMENT, Kind::OTHER.name())
            .bytes(KEYSPACE, &self.keyspace)
            .bytes(USER, &self.user)
            .send(EventKind::Request, sink);
        Step::Skip(4 + u64::from(length))
    }
}
