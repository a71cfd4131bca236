//! The frames of the flows, and the stamp in each: when it was to be sent.

use anyhow::{Result, ensure};
use etherparse::PacketBuilder;

const MAC: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
/// Where no known application lives.
const SERVER_PORT: u16 = 19_999;
const CLIENT_PORT: u16 = 20_000;
const HEADER_BYTES: usize = 14 + 20 + 8;
const UDP_CHECKSUM_OFFSET: usize = 14 + 20 + 6;
/// Tells a stamped frame from what else comes back. No application begins so.
const MARK: u32 = 0xa5c3_961e;
const STAMP_BYTES: usize = 12;
/// The shortest frame on a wire is 60 bytes, the check sequence apart; the usual 64 of a benchmark count it or not.
const LENGTHS: std::ops::RangeInclusive<usize> = 60..=1_514;

/// One datagram of each flow from client to server, and one back.
pub struct Frames {
    /// By direction, in the same order of flows.
    pub sent: [Vec<Vec<u8>>; 2],
}

/// Makes frames of `bytes` for so many flows.
pub fn make(flows: u32, bytes: usize) -> Result<Frames> {
    ensure!(
        LENGTHS.contains(&bytes),
        "a frame has {LENGTHS:?} bytes, not {bytes}"
    );
    ensure!(
        (1..=1 << 23).contains(&flows),
        "there are 1 to {} flows, not {flows}",
        1 << 23
    );
    let order = order(flows);
    let all = |sender: usize| {
        order
            .iter()
            .map(|&flow| datagram(flow, bytes, sender))
            .collect::<Result<_>>()
    };
    Ok(Frames {
        sent: [all(0)?, all(1)?],
    })
}

/// Every flow once, in steps near the golden section.
fn order(flows: u32) -> Vec<u32> {
    let mut step = ((f64::from(flows) * 0.618_034) as u32).max(1);
    while common_divisor(step, flows) != 1 {
        step += 1;
    }
    (0..u64::from(flows))
        .map(|place| (place * u64::from(step) % u64::from(flows)) as u32)
        .collect()
}

fn common_divisor(one: u32, other: u32) -> u32 {
    match other {
        0 => one,
        _ => common_divisor(other, one % other),
    }
}

fn datagram(flow: u32, bytes: usize, sender: usize) -> Result<Vec<u8>> {
    let [.., high, middle, low] = flow.to_be_bytes();
    let addresses = [[10, high, middle, low], [10, 128, 0, low]];
    let ports = [CLIENT_PORT + (flow % 40_000) as u16, SERVER_PORT];
    let receiver = 1 - sender;
    let mut frame = Vec::with_capacity(bytes);
    PacketBuilder::ethernet2(MAC[sender], MAC[receiver])
        .ipv4(addresses[sender], addresses[receiver], 64)
        .udp(ports[sender], ports[receiver])
        .write(&mut frame, &vec![0xa5; bytes - HEADER_BYTES])?;
    // The stamp changes with each frame. A checksum of 0 says that the sender made none.
    frame[UDP_CHECKSUM_OFFSET..UDP_CHECKSUM_OFFSET + 2].fill(0);
    Ok(frame)
}

/// Writes when the frame was to be sent.
pub fn stamp(frame: &mut [u8], cycles: u64) {
    let place = &mut frame[HEADER_BYTES..HEADER_BYTES + STAMP_BYTES];
    place[..4].copy_from_slice(&MARK.to_ne_bytes());
    place[4..].copy_from_slice(&cycles.to_ne_bytes());
}

/// When the frame was to be sent; None: it is none of ours.
pub fn stamp_of(frame: &[u8]) -> Option<u64> {
    let place = frame.get(HEADER_BYTES..HEADER_BYTES + STAMP_BYTES)?;
    let (mark, cycles) = place.split_at(4);
    (mark == MARK.to_ne_bytes()).then_some(u64::from_ne_bytes(cycles.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flow_is_there_once_and_a_stamp_is_read_as_written() {
        let mut frames = make(1_000, 64).unwrap();
        for sent in &frames.sent {
            let mut sources: Vec<_> = sent.iter().map(|frame| frame[26..38].to_vec()).collect();
            sources.sort();
            sources.dedup();
            assert_eq!(sources.len(), 1_000);
        }
        let frame = &mut frames.sent[0][7];
        assert_eq!((frame.len(), stamp_of(frame)), (64, None));
        stamp(frame, 0x0102_0304_0506_0708);
        assert_eq!(stamp_of(frame), Some(0x0102_0304_0506_0708));
        assert!(etherparse::PacketHeaders::from_ethernet_slice(frame).is_ok());
        assert!(make(1, 59).is_err() && make(0, 64).is_err());
    }
}
