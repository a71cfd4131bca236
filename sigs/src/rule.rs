//! The rule language: text → [`Rule`], or a [`Refusal`] that says where and why.
//!
//! Start at [`Rule`]. `matcher` holds what is looked for in a buffer, `condition` everything else that
//! a rule demands, `number` the sets and comparisons both are made of. `read` reads files, `keyword`
//! has a row for each keyword, `build` holds a rule while it is read; `write` makes text
//! of it again, `explain` sentences.

mod ast;
mod build;
mod classes;
mod condition;
mod event;
mod explain;
mod header;
mod keyword;
mod matcher;
mod number;
mod read;
mod refusal;
mod text;
mod variables;
mod word;
mod write;

#[cfg(test)]
mod tests;

pub use ast::{Action, Endpoint, Family, Header, Origin, Protocol, RejectTo, Rule, Transport};
pub use classes::{Class, Classes};
pub use condition::{
    BitKind, BitOperation, BitTest, End, FlowCondition, IntegerOperation, IntegerValue,
    PacketField, PacketTest, SessionField, SessionTest, Side, StateStep, Tag, TagMetric, Target,
    Threshold, ThresholdKind, TlsState, Toward, Track, Unit,
};
pub(crate) use event::objections;
pub use explain::Need;
pub use matcher::{
    Arithmetic, Base64, Base64Mode, ByteExtract, ByteJump, ByteMath, ByteRead, ByteTest,
    Comparison, Content, Dataset, DatasetKind, DatasetOperation, Entropy, FastPattern, Group,
    IsDataAt, JumpFrom, Matcher, NumberForm, PacketHeader, Pcre, Place, Range, Slot, Transform,
    Value, XorKey,
};
pub use number::{AddressSet, NumberTest, Ordinal, PortSet, Ranges};
pub use read::{Options, RuleReader, parse_rule};
pub use refusal::{Cause, Refusal};
pub use variables::{VariableError, Variables};
pub(crate) use write::{pcre_text, quoted_bytes};
