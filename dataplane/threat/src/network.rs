//! What shows in packets and connections alone: floods, scans, malformed handshakes, fragments.
//!
//! Trusts: decode's offsets and track's directions. Distrusts: every address, flag and length.
//! Memory: the tables of [`Shared`] and of [`Network`], allocated at the start.

use std::sync::Arc;

use serde::Deserialize;
use weir_wire::{Direction, Packet, Reason, protocol};

use crate::{Config, Connection, Ending, Evidence, Found, Threat};

/// Of a settled connection every so manieth packet is looked at.
pub const SAMPLE: u64 = 32;

/// `[threats.network]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {}

/// What the detectors of all workers count together.
#[derive(Debug, Default)]
pub struct Shared {}

/// What is remembered of one connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct Watch {}

/// The detectors of one worker.
pub struct Network {
    #[expect(dead_code, reason = "the floods and scans count in it")]
    shared: Arc<Shared>,
}

impl Network {
    /// Allocates what it will use.
    pub fn new(shared: Arc<Shared>, _secret: [u64; 2]) -> Self {
        Self { shared }
    }

    /// See [`crate::Threats::arriving`].
    pub fn arriving(
        &mut self,
        config: &Config,
        packet: &Packet,
        _frame: &[u8],
        _now_us: u64,
        found: &mut Found,
    ) {
        let has_ports = matches!(packet.protocol, protocol::TCP | protocol::UDP);
        if has_ports
            && packet.source == packet.destination
            && packet.source_port == packet.destination_port
        {
            found.note(config, Threat::Land, || Evidence::sign("its own sender"));
        }
    }

    /// See [`crate::Threats::packet`].
    #[expect(clippy::too_many_arguments, reason = "as in Threats")]
    pub fn packet(
        &mut self,
        _config: &Config,
        _watch: &mut crate::Watch,
        _connection: &Connection,
        _direction: Direction,
        _packet: &Packet,
        _frame: &[u8],
        _now_us: u64,
        _found: &mut Found,
    ) {
    }

    /// See [`crate::Threats::objection`].
    pub fn objection(
        &mut self,
        config: &Config,
        reason: Reason,
        _packet: &Packet,
        _now_us: u64,
        found: &mut Found,
    ) {
        let threat = match reason {
            Reason::FragmentOverlap => Threat::Teardrop,
            Reason::FragmentTiny => Threat::TinyFragment,
            Reason::FragmentLimit => Threat::FragmentExhaustion,
            Reason::FragmentTooBig => Threat::PingOfDeath,
            Reason::TcpFlags => Threat::BadFlags,
            Reason::StreamMismatch => Threat::Overlap,
            Reason::UrgentData => Threat::UrgentData,
            _ => return,
        };
        found.note(config, threat, || Evidence::sign(reason.name()));
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
