use super::*;

fn judge(to_server: &[u8], to_client: &[u8], server_port: u16) -> Probe {
    Mqtt::probe(&ProbeInput {
        to_server,
        to_client,
        from_start: false,
        server_port,
        transport: Transport::Tcp,
        previous: &[],
    })
}

#[test]
fn one_packet_without_a_connect_is_too_little() {
    let publish = b"\x32\x09\x00\x03a/b\x00\x02hi";
    assert_eq!(judge(publish, b"", 1), Probe::Unsure);
    assert_eq!(judge(publish, b"\x40\x02\x00\x02", 1), Probe::Unsure);
    assert_eq!(judge(publish, b"\x40\x02\x00\x02", 1883), Probe::Certain);
    assert_eq!(judge(b"\xc0\x00", b"\xd0\x00", 1), Probe::Unsure);
    assert_eq!(judge(b"\xc0\x00", b"\xd0\x00", 1883), Probe::Certain);
    assert_eq!(judge(b"\xc1\x00", b"", 1883), Probe::NotMine);
    assert_eq!(judge(b"\x10\x10\x00\x04MQTX", b"", 1883), Probe::NotMine);
}
