//! The rule language: text → [`Rule`], or a refusal that says where and why.
//!
//! Start at [`Rule`]. `matcher` holds what is looked for in a buffer, `condition` everything else that
//! a rule demands, `number` the sets and comparisons both are made of.

mod ast;
mod condition;
mod matcher;
mod number;

pub use ast::{Action, Endpoint, Family, Header, Origin, Protocol, RejectTo, Rule, Transport};
pub use condition::{
    BitKind, BitOperation, BitTest, FlowCondition, IntegerOperation, IntegerValue, PacketField,
    PacketTest, SessionField, SessionTest, Side, StateStep, Tag, TagMetric, Target, Threshold,
    ThresholdKind, TlsState, Toward, Track, Unit,
};
pub use matcher::{
    Arithmetic, Base64, Base64Mode, ByteExtract, ByteJump, ByteMath, ByteRead, ByteTest,
    Comparison, Content, Dataset, DatasetKind, DatasetOperation, FastPattern, Group, IsDataAt,
    JumpFrom, Matcher, NumberForm, PacketHeader, Pcre, Place, Range, Slot, Transform, Value,
};
pub use number::{AddressSet, NumberTest, Ordinal, PortSet, Ranges};
