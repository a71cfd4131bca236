use super::*;
use crate::read::sides::input;

fn opening(field: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![VERSION, 0, 1, 2, 3];
    bytes.extend(field);
    bytes.extend((0..1_528).map(|at| (at % 251) as u8));
    bytes
}

fn probe(port: u16, to_server: &[u8], to_client: &[u8]) -> Probe {
    Rtmp::probe(&input(Transport::Tcp, port, to_server, to_client))
}

#[test]
fn both_openings_tell() {
    let (plain, versioned) = (opening([0; 4]), opening([9, 0, 124, 2]));
    for other in [&plain, &versioned] {
        assert_eq!(probe(1, &plain, other), Probe::Certain);
        assert_eq!(probe(1, &plain, &other[..1_536]), Probe::Unsure);
        assert_eq!(probe(PORT, other, &[]), Probe::Certain);
        assert_eq!(probe(PORT, other, &[VERSION]), Probe::Certain);
        assert_eq!(probe(1, other, &[]), Probe::Unsure);
    }
}

#[test]
fn others_are_declined() {
    let mut empty = opening([1, 0, 0, 0]);
    empty[9..].fill(0);
    assert_eq!(probe(1, &empty, &empty), Probe::NotMine);
    // A connection request of the ISO transport.
    let request = b"\x03\0\0\x13\x0e\xe0\0\0\0\0\0\x01\0\x08\0\x03\0\0\0";
    assert_eq!(probe(PORT, request, &[]), Probe::NotMine);
    assert_eq!(probe(PORT, &opening([0, 1, 0, 0]), &[]), Probe::NotMine);
    assert_eq!(probe(PORT, &opening([0; 4]), b"HTTP"), Probe::NotMine);
}

#[test]
fn chunks_that_contradict_are_violations() {
    struct Nothing;
    impl EventSink for Nothing {
        fn event(&mut self, _event: &crate::Event<'_>) {}
    }
    for wrong in [
        &b"\xc3"[..],
        b"\x03\0\0\0\0\0\x05\x63\0\0\0\0",
        b"\x02\0\0\0\0\0\x04\x01\0\0\0\0\0\0\0\0",
    ] {
        let mut rtmp = Rtmp::default();
        let way = Direction::ToServer;
        assert_eq!(rtmp.parse(way, &[VERSION], &mut Nothing), Step::Skip(3_073));
        let step = rtmp.parse(way, wrong, &mut Nothing);
        assert!(matches!(step, Step::Violation(_)), "{step:?}");
    }
}
