//! A capture's tunnels that no container network uses: the outer flow is told as inline, and the inner
//! one besides.

use weir_node::inspect::{CaptureReport, Inspector, load_policy};

fn ethernet(packet: &[u8]) -> Vec<u8> {
    [&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0][..], packet].concat()
}

/// IPv4 without options or checksum; `place` holds the fragment's flag and offset.
fn ipv4(network: u8, place: u16, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len() as u16).to_be_bytes();
    let mut packet = vec![0x45, 0, length[0], length[1], 0, 7];
    packet.extend(place.to_be_bytes());
    packet.extend([64, 17, 0, 0, 10, network, 0, 1, 10, network, 0, 2]);
    packet.extend(payload);
    packet
}

fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = 8 + payload.len() as u16;
    let mut datagram: Vec<u8> = [source, destination, length, 0]
        .into_iter()
        .flat_map(u16::to_be_bytes)
        .collect();
    datagram.extend(payload);
    datagram
}

/// A user's datagram on its way through a mobile network.
fn gtp_u() -> Vec<u8> {
    let user = ipv4(9, 0, &udp(40000, 7, &[0x55; 100]));
    let mut message = vec![0x30, 255];
    message.extend((user.len() as u16).to_be_bytes());
    message.extend([0, 0, 0, 1]);
    message.extend(user);
    udp(2152, 2152, &message)
}

fn inspect(frames: &[Vec<u8>]) -> CaptureReport {
    let words = |words: [u32; 4]| words.map(u32::to_le_bytes).concat();
    let mut file = words([0xa1b2_c3d4, 2 | 4 << 16, 0, 0]);
    file.extend([65535_u32, 1].map(u32::to_le_bytes).concat());
    for frame in frames {
        let length = frame.len() as u32;
        file.extend(words([1_700_000_000, 0, length, length]));
        file.extend(frame);
    }
    let named = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(named.path(), file).unwrap();
    let inspector = Inspector {
        sensors: None,
        threats: Default::default(),
        snapshot: load_policy(None).unwrap().into(),
        ruleset: None,
        verify_checksums: false,
        gather_fields: false,
    };
    inspector.inspect(named.path(), &mut |_| {}).unwrap()
}

/// The ends of the flows, sorted.
fn flows(report: &CaptureReport) -> Vec<(&str, u32, u64)> {
    let mut flows: Vec<_> = report
        .flows
        .iter()
        .map(|flow| (flow.dst_ip.as_str(), flow.dst_port, flow.packets))
        .collect();
    flows.sort();
    flows
}

#[test]
fn both_flows_are_told() {
    let report = inspect(&[ethernet(&ipv4(1, 0, &gtp_u()))]);
    assert_eq!(flows(&report), [("10.1.0.2", 2152, 1), ("10.9.0.2", 7, 1)]);
    assert_eq!((report.packets, report.inside), (1, 1));
    assert_eq!((report.unaccounted, report.error), (0, None));
}

#[test]
fn a_fragmented_tunnel_is_put_together() {
    let whole = gtp_u();
    let (head, tail) = whole.split_at(64);
    let report = inspect(&[
        ethernet(&ipv4(1, 8, tail)),
        ethernet(&ipv4(1, 0x2000, head)),
    ]);
    let ends: Vec<_> = flows(&report).iter().map(|flow| (flow.0, flow.1)).collect();
    assert_eq!(ends, [("10.1.0.2", 2152), ("10.9.0.2", 7)]);
    assert_eq!((report.packets, report.inside), (2, 1));
    assert_eq!((report.unaccounted, report.error), (0, None));
}

#[test]
fn what_does_not_fit_is_told_outside_only() {
    let mut message = gtp_u();
    message[8] = 0x50;
    let report = inspect(&[ethernet(&ipv4(1, 0, &message))]);
    assert_eq!(flows(&report), [("10.1.0.2", 2152, 1)]);
    assert_eq!(report.inside, 0);
}
