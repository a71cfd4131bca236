//! Packets that have no flow of their own, gathered for the report by the pair that exchanged them:
//! errors about another flow, which are judged by that one, and neighbour discovery.
//!
//! Memory bound: [`PAIRS_MAX`] pairs; packets of further ones are left out.

use std::collections::BTreeMap;

use weir_wire::{Packet, protocol, to_ip_address};

use super::capture::FlowReport;

/// Pairs of one capture.
const PAIRS_MAX: usize = 1 << 16;

/// What a pair exchanged; the first sender is the client.
struct Exchange {
    from: u128,
    to: u128,
    packets: u64,
    bytes: u64,
    first_seen_us: u64,
    last_seen_us: u64,
}

/// The pairs of a capture, by protocol and addresses, the lower first.
#[derive(Default)]
pub(super) struct Apart(BTreeMap<(u8, u128, u128), Exchange>);

impl Apart {
    /// Counts a packet.
    pub(super) fn add(&mut self, packet: &Packet, frame_bytes: usize, time_us: u64) {
        // ARP is no IP.
        if !matches!(packet.protocol, protocol::ICMP | protocol::ICMPV6) {
            return;
        }
        let (from, to) = (packet.source, packet.destination);
        let key = (packet.protocol, from.min(to), from.max(to));
        if self.0.len() >= PAIRS_MAX && !self.0.contains_key(&key) {
            return;
        }
        let exchange = self.0.entry(key).or_insert(Exchange {
            from,
            to,
            packets: 0,
            bytes: 0,
            first_seen_us: time_us,
            last_seen_us: time_us,
        });
        exchange.packets += 1;
        exchange.bytes += frame_bytes as u64;
        exchange.last_seen_us = time_us;
    }

    /// A report for each pair.
    pub(super) fn reports(&self) -> impl Iterator<Item = FlowReport> + '_ {
        self.0.iter().map(|(&(number, ..), exchange)| FlowReport {
            src_ip: to_ip_address(exchange.from).to_string(),
            dst_ip: to_ip_address(exchange.to).to_string(),
            proto: crate::eve::protocol_name(number.into()).to_lowercase(),
            app: if number == protocol::ICMP {
                "icmp"
            } else {
                "icmpv6"
            }
            .to_owned(),
            confidence: "content".to_owned(),
            evidence: "neighbour discovery, or an error about another flow",
            packets: exchange.packets,
            bytes: exchange.bytes,
            first_seen_us: exchange.first_seen_us,
            last_seen_us: exchange.last_seen_us,
            ..FlowReport::default()
        })
    }
}
