//! What shows in the messages of applications: weak versions, malformed messages, tunnels, guessing.
//!
//! Trusts: that a parser read the fields it tells. Distrusts: their values. Memory: the tables of
//! [`Protocols`], allocated at the start.

use serde::Deserialize;
use weir_l7::{AppId, BufferSet, Content, Event, Speaker};
use weir_wire::Direction;

use crate::{Config, Connection, Ending, Evidence, Found, Threat};

/// `[threats.protocols]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {}

/// What is remembered of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {}

/// The detectors of one worker.
pub struct Protocols {}

impl Protocols {
    /// Allocates what it will use.
    pub fn new(_secret: [u64; 2]) -> Self {
        Self {}
    }

    /// The buffers that are looked into.
    pub fn wants(&self) -> BufferSet {
        BufferSet::EMPTY
    }

    /// See [`crate::Threats::packet`].
    pub fn packet(
        &mut self,
        _config: &Config,
        _watch: &mut crate::Watch,
        _connection: &Connection,
        _direction: Direction,
        _now_us: u64,
        _found: &mut Found,
    ) {
    }

    /// See [`crate::Threats::message`].
    #[expect(clippy::too_many_arguments, reason = "as in Threats")]
    pub fn message(
        &mut self,
        _config: &Config,
        _watch: &mut crate::Watch,
        _connection: &Connection,
        _speaker: Speaker,
        _message: &Event<'_>,
        _now_us: u64,
        _found: &mut Found,
    ) {
    }

    /// See [`crate::Threats::content`].
    #[expect(clippy::too_many_arguments, reason = "as in Threats")]
    pub fn content(
        &mut self,
        _config: &Config,
        _watch: &mut crate::Watch,
        _connection: &Connection,
        _speaker: Speaker,
        _content: &Content<'_>,
        _now_us: u64,
        _found: &mut Found,
    ) {
    }

    /// See [`crate::Threats::violation`].
    pub fn violation(
        &mut self,
        config: &Config,
        _connection: &Connection,
        application: AppId,
        what: &'static str,
        found: &mut Found,
    ) {
        if application.name() == "http" && what == "ambiguous length" {
            found.note(config, Threat::Smuggling, || Evidence::sign(what));
        }
    }

    /// See [`crate::Threats::closed`].
    pub fn closed(
        &mut self,
        _config: &Config,
        _watch: &mut crate::Watch,
        _connection: &Connection,
        _ending: &Ending,
        _now_us: u64,
        _found: &mut Found,
    ) {
    }
}
