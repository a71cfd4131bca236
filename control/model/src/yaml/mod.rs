//! YAML with places: a tree in which everything knows its line, and serde's way to read it.

mod object;
mod read;
mod tree;

pub(crate) use object::from_json;
pub(crate) use read::{ReadError, read};
pub(crate) use tree::{Node, Value, parse};

/// A file larger than this is refused.
pub const FILE_BYTES_MAX: usize = 8 << 20;

/// A file that holds more values than this, aliases expanded, is refused.
pub const NODES_MAX: usize = 500_000;

/// Values nested deeper than this are refused.
pub const DEPTH_MAX: usize = 32;
