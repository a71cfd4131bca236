//! Captures of packets that a path really took, read back by another library than the one that wrote
//! them.

use std::net::Ipv4Addr;
use std::path::Path;

use super::super::Outcome;
use super::*;
use crate::io::replay::Replay;

const ID: &str = "6a1b2c";

/// A UDP datagram between 10.0.0.`from` and 10.0.0.`to`.
fn frame(from: u8, to: u8, ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    etherparse::PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, from], [10, 0, 0, to], 64)
        .udp(ports.0, ports.1)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

fn flow(ports: (u32, u32)) -> What {
    What::Flow(v1::CaptureFlow {
        client_address: vec![10, 0, 0, 1],
        server_address: vec![10, 0, 0, 2],
        client_port: ports.0,
        server_port: ports.1,
        protocol: 17,
        zone: 0,
        flow_id: 7,
    })
}

fn wanted(what: What) -> v1::WantedCapture {
    v1::WantedCapture {
        id: ID.into(),
        by: "shop/keep".into(),
        because: "threat port-scan".into(),
        of: "10.0.0.1:4000->10.0.0.2:53".into(),
        what: Some(what),
        packets_max: 100,
        bytes_max: 1 << 20,
        left_ms: 60_000,
    }
}

/// A desk that is worked by hand, and one worker.
struct Site {
    desk: Desk,
    shared: Arc<Shared>,
    told: CaptureDesk,
    directory: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self::with(|path| Folder::open(path, 1 << 20, 100).unwrap())
    }

    fn with(folder: impl FnOnce(&Path) -> Folder) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let shared = Shared::new(1, 1);
        let setting = Setting {
            node: "node-1".into(),
            ports: vec!["lan".into(), "wan".into()],
            snap_bytes: 256,
            readable: true,
        };
        let (desk, told) = Desk::new(Arc::clone(&shared), folder(directory.path()), setting);
        Self {
            desk,
            shared,
            told,
            directory,
        }
    }

    /// The worker sees a frame.
    fn sees(&self, frame: &[u8]) -> bool {
        let guard = self.shared.captures.load();
        let Some(recorder) = guard.as_ref().and_then(|wanted| wanted.recorder(0)) else {
            return false;
        };
        let packet = weir_wire::decode(frame, &Default::default()).unwrap();
        let captures = recorder.matching(&packet, 0);
        if captures != 0 {
            recorder.copy(captures, frame, (1, 1_234_567, 7), Outcome::Forwarded);
        }
        captures != 0
    }

    fn status(&mut self) -> v1::CaptureStatus {
        self.desk.told_at = None;
        self.desk.changed = true;
        self.desk.tell();
        let told = self.told.told().borrow().clone();
        told.captures.last().unwrap().clone()
    }

    fn read(&self, name: &str) -> Vec<Vec<u8>> {
        let mut replay = Replay::open(&self.directory.path().join(name)).unwrap();
        let packets = std::iter::from_fn(|| replay.next_packet());
        packets.map(|packet| packet.unwrap().frame).collect()
    }
}

#[test]
fn a_flow_is_kept_both_ways_and_nothing_else() {
    let mut site = Site::new();
    assert!(!site.sees(&frame(1, 2, (4000, 53), b"before")));
    site.desk.want(vec![wanted(flow((4000, 53)))]);
    let there = frame(1, 2, (4000, 53), b"question");
    let back = frame(2, 1, (53, 4000), b"answer");
    assert!(site.sees(&there) && site.sees(&back));
    for other in [
        frame(1, 2, (4001, 53), b""),
        frame(1, 2, (53, 4000), b""),
        frame(1, 3, (4000, 53), b""),
        frame(3, 2, (4000, 53), b""),
    ] {
        assert!(!site.sees(&other));
    }
    assert_eq!(site.desk.write(), 2);
    let status = site.status();
    assert_eq!((status.state(), status.packets), (CaptureState::Running, 2));
    assert_eq!(site.read(&status.file), [there, back]);
    // What is wanted again stays; what is not wanted any more ends.
    site.desk.want(vec![wanted(flow((4000, 53)))]);
    assert_eq!(site.status().state(), CaptureState::Running);
    site.desk.want(vec![]);
    assert!(site.shared.captures.load().is_none() && site.desk.rings.is_empty());
    let status = site.status();
    assert_eq!(
        (status.state(), status.why.as_str()),
        (CaptureState::Done, "it was ended")
    );
    assert!(
        status
            .file
            .contains("-shop_keep-10.0.0.1_4000_to_10.0.0.2_53-6a1b2c.pcapng")
    );
    // Wanted by a controller that does not know yet: it does not begin anew.
    site.desk.want(vec![wanted(flow((4000, 53)))]);
    assert!(site.shared.captures.load().is_none());
}

#[test]
fn a_workload_is_kept_as_its_addresses_come_and_go() {
    let mut site = Site::new();
    let workload = |networks: &[(u8, u32)]| {
        let network = |&(last, prefix_bits): &(u8, u32)| v1::CaptureNetwork {
            network: Ipv4Addr::new(10, 0, 0, last).octets().to_vec(),
            prefix_bits,
        };
        wanted(What::Workload(v1::CaptureWorkload {
            networks: networks.iter().map(network).collect(),
            zone: None,
        }))
    };
    site.desk.want(vec![workload(&[(9, 32), (16, 28)])]);
    let of = |site: &Site, from, to| site.sees(&frame(from, to, (1, 2), b""));
    assert!(of(&site, 9, 1) && of(&site, 1, 9) && of(&site, 31, 1) && of(&site, 1, 16));
    assert!(!of(&site, 1, 2) && !of(&site, 32, 1));
    site.desk.want(vec![workload(&[(2, 32)])]);
    assert!(of(&site, 1, 2) && !of(&site, 9, 1));
    assert_eq!(site.desk.write(), 5);
    assert_eq!(site.status().packets, 5);
}

#[test]
fn what_is_reached_first_ends_it() {
    for (limit, packets, why) in [("packets", 3, "3 packets"), ("bytes", 2, "100 bytes")] {
        let mut site = Site::new();
        let mut asked = wanted(flow((4000, 53)));
        match limit {
            "packets" => asked.packets_max = 3,
            _ => asked.bytes_max = 100,
        }
        site.desk.want(vec![asked]);
        for _ in 0..10 {
            site.sees(&frame(1, 2, (4000, 53), b"x"));
        }
        site.desk.write();
        assert!(!site.sees(&frame(1, 2, (4000, 53), b"x")), "{limit}");
        let status = site.status();
        assert_eq!(
            (status.state(), status.packets),
            (CaptureState::Done, packets)
        );
        assert!(status.why.contains(why), "{}", status.why);
        assert_eq!(site.read(&status.file).len() as u64, packets);
    }
    let mut site = Site::new();
    let mut asked = wanted(flow((4000, 53)));
    asked.left_ms = 0;
    site.desk.want(vec![asked]);
    site.desk.look_at_the_clock();
    let status = site.status();
    assert_eq!(
        (status.state(), status.file.as_str()),
        (CaptureState::Done, "")
    );
    assert_eq!(status.why, "its time is over; no packet came");
    assert_eq!(std::fs::read_dir(site.directory.path()).unwrap().count(), 0);
}

#[test]
fn a_flood_loses_copies_that_are_counted_and_long_frames_are_cut() {
    let mut site = Site::new();
    let mut asked = wanted(flow((4000, 53)));
    asked.packets_max = 1_000_000;
    site.desk.want(vec![asked]);
    let long = frame(1, 2, (4000, 53), &[7; 1_000]);
    for _ in 0..BUFFERS + 500 {
        assert!(site.sees(&long));
    }
    assert_eq!(site.desk.write(), BUFFERS);
    let status = site.status();
    assert_eq!((status.packets, status.lost), (BUFFERS as u64, 500));
    let read = site.read(&status.file);
    assert!(read.len() == BUFFERS && read.iter().all(|frame| *frame == long[..256]));
    // The buffers came back.
    assert!(site.sees(&long));
    assert_eq!(site.desk.write(), 1);
}

#[test]
fn a_full_disk_ends_the_capture_and_is_told() {
    let full = |_: &Path| std::fs::OpenOptions::new().write(true).open("/dev/full");
    let mut site = Site::with(|path| Folder::open_with(path, 1 << 20, 10, full).unwrap());
    site.desk.want(vec![wanted(flow((4000, 53)))]);
    assert!(!site.sees(&frame(1, 2, (4000, 53), b"x")));
    let status = site.status();
    assert_eq!(status.state(), CaptureState::Failed);
    assert!(status.why.contains("No space left"), "{}", status.why);
    assert!(site.shared.captures.load().is_none());

    // The directory's own bound: what is being written cannot make way for itself.
    let mut site = Site::with(|path| Folder::open(path, 4_000, 10).unwrap());
    site.desk.want(vec![wanted(flow((4000, 53)))]);
    for _ in 0..50 {
        site.sees(&frame(1, 2, (4000, 53), &[1; 100]));
    }
    site.desk.write();
    let status = site.status();
    assert_eq!(status.state(), CaptureState::Failed);
    assert!(status.why.contains("capture.megabytes"), "{}", status.why);
    assert!(status.packets > 10 && site.read(&status.file).len() as u64 == status.packets);
}

#[test]
fn what_no_node_can_do_is_refused_with_the_reason() {
    let mut site = Site::new();
    let mut far = wanted(flow((4000, 53)));
    far.what = Some(What::Flow(v1::CaptureFlow {
        client_address: vec![1, 2, 3],
        ..Default::default()
    }));
    let mut nothing = wanted(flow((4000, 53)));
    (nothing.id, nothing.what) = ("b".into(), None);
    let mut name = wanted(flow((4000, 53)));
    name.id = "../x".into();
    site.desk.want(vec![far, nothing, name]);
    assert!(site.desk.running.iter().all(Option::is_none));
    assert_eq!(site.desk.ended.len(), 3);
    let all: Vec<_> = (0..CAPTURES_MAX as u32 + 1)
        .map(|number| v1::WantedCapture {
            id: format!("n{number}"),
            ..wanted(flow((number, 53)))
        })
        .collect();
    site.desk.want(all);
    assert_eq!(site.desk.running.iter().flatten().count(), CAPTURES_MAX);
    let refused = site.desk.ended.back().unwrap();
    assert!(
        refused.why.contains("32 captures already"),
        "{}",
        refused.why
    );
}

#[test]
fn nothing_is_allocated_for_a_packet() {
    let mut site = Site::new();
    site.desk.want(vec![wanted(flow((4000, 53)))]);
    let datagram = frame(1, 2, (4000, 53), &[7; 1_000]);
    let counted = allocation_counter::measure(|| {
        for _ in 0..2 * BUFFERS {
            assert!(site.sees(&datagram));
        }
    });
    assert_eq!(counted.count_total, 0);
    assert_eq!(site.desk.write(), BUFFERS);
}
