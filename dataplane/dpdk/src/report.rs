//! What a device was asked, and what it gave.

use crate::port::Link;

/// A setting that a device may refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted<T> {
    /// What the configuration asked for.
    pub asked: T,
    /// What is in force.
    pub given: T,
    /// Why they differ.
    pub why: Option<String>,
}

/// Checksums the device verifies on receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ChecksumOffloads {
    /// IPv4 header.
    pub ipv4: bool,
    /// TCP.
    pub tcp: bool,
    /// UDP.
    pub udp: bool,
}

/// The settings a port was started with.
#[derive(Debug, Clone)]
pub struct PortReport {
    /// Its number.
    pub id: u16,
    /// Its name.
    pub name: String,
    /// Its driver.
    pub driver: String,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Its memory's NUMA node; None: unknown, or it makes no difference.
    pub socket: Option<u16>,
    /// Receive queues.
    pub rx_queues: Granted<u16>,
    /// Transmit queues.
    pub tx_queues: Granted<u16>,
    /// Slots of each receive queue.
    pub rx_descriptors: Granted<u16>,
    /// Slots of each transmit queue.
    pub tx_descriptors: Granted<u16>,
    /// Bytes of the longest IP packet.
    pub mtu: Granted<u16>,
    /// Frames to other addresses are received too.
    pub promiscuous: Granted<bool>,
    /// Both directions of a connection arrive on the same queue. Not asked of a single queue.
    pub symmetric_rss: Granted<bool>,
    /// Headers that the device hashes: `ipv4-tcp`.
    pub rss_functions: Vec<&'static str>,
    /// Checksums it verifies.
    pub checksum_offloads: ChecksumOffloads,
    /// The link, right after start.
    pub link: Link,
}

impl<T: PartialEq + Copy> Granted<T> {
    pub(crate) fn new(asked: T, given: T, why: impl FnOnce() -> String) -> Granted<T> {
        Granted {
            asked,
            given,
            why: (asked != given).then(why),
        }
    }
}

impl PortReport {
    /// A sentence for each setting that the device did not give as asked; none: all is as configured.
    pub fn deviations(&self) -> Vec<String> {
        let mut sentences = Vec::new();
        let mut note = |what: &str, asked: String, given: String, why: &Option<String>| {
            if let Some(why) = why {
                sentences.push(format!(
                    "port {} ({}): {what} {given} instead of {asked}: {why}",
                    self.id, self.name
                ));
            }
        };
        for (what, value) in [
            ("receive queues", &self.rx_queues),
            ("transmit queues", &self.tx_queues),
            ("receive descriptors", &self.rx_descriptors),
            ("transmit descriptors", &self.tx_descriptors),
            ("MTU", &self.mtu),
        ] {
            note(
                what,
                value.asked.to_string(),
                value.given.to_string(),
                &value.why,
            );
        }
        let on_off = |on: bool| if on { "on" } else { "off" }.to_owned();
        for (what, value) in [
            ("promiscuous mode", &self.promiscuous),
            ("symmetric RSS", &self.symmetric_rss),
        ] {
            note(what, on_off(value.asked), on_off(value.given), &value.why);
        }
        sentences
    }
}
