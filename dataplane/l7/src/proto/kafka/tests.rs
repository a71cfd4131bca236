use super::*;

fn judge(to_server: &[u8], to_client: &[u8]) -> Probe {
    Kafka::probe(&ProbeInput {
        to_server,
        to_client,
        from_start: true,
        server_port: 1,
        transport: Transport::Tcp,
        previous: &[],
    })
}

#[test]
fn a_header_alone_proves_nothing() {
    // ApiVersions with a client's name.
    let asked = b"\0\0\0\x11\0\x12\0\0\0\0\0\x01\0\x07rdkafka";
    assert_eq!(judge(asked, b""), Probe::Certain);
    for end in 1..asked.len() {
        assert_eq!(judge(&asked[..end], b""), Probe::Unsure, "{end}");
    }
    // ZooKeeper's first message looks like a Produce of no topic.
    let zookeeper = b"\0\0\0\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x75\x30\0\0\0\0\0\0\0\0\0\0\0\x10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    assert_eq!(judge(zookeeper, b""), Probe::NotMine);
    // PostgreSQL's looks like Metadata.
    let postgresql = b"\0\0\0\x24\0\x03\0\0user\0ann\0database\0orders\0\0";
    assert_eq!(judge(postgresql, b""), Probe::NotMine);
}

#[test]
fn answers_alone_are_known_by_their_lists() {
    let mut versions = b"\0\0\0\x3a\0\0\0\x07\0\0\0\0\0\x08".to_vec();
    for key in 0..8 {
        versions.extend([0, key, 0, 0, 0, 9]);
    }
    assert_eq!(judge(b"", &versions), Probe::Certain);
    let metadata =
        b"\0\0\0\x20\0\0\0\x07\0\0\0\x01\0\0\0\x01\0\x08broker-1\0\0\x23\x84\0\0\0\x01\0\0";
    assert_eq!(judge(b"", metadata), Probe::Certain);
    assert_eq!(judge(b"", b"\0\0\0\x08\0\0\0\x07\0\0\0\0"), Probe::Unsure);
}
