//! Packets that somebody wants to see, copied as they leave a real path.

use std::net::SocketAddr;
use std::sync::Arc;

use weir_node::capture::{Copied, Filter, Outcome, Ring, Switch, Wanted};
use weir_policy::spec::Mode;
use weir_wire::{Reason, from_ip_address};

use crate::common::bench::{CLIENTS, SERVERS};
use crate::common::frames::{fragments, udp};
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk, Wrap};

fn ends(client: SocketAddr, server: SocketAddr, protocol: u8) -> Filter {
    let end = |end: SocketAddr| (from_ip_address(end.ip()), end.port());
    Filter::Flow {
        zone: 0,
        protocol,
        ends: [end(client), end(server)],
    }
}

/// Has packets copied that fit; where they come to.
fn capture(bench: &mut Bench, filter: Filter) -> (Arc<Ring>, Arc<Switch>) {
    let (ring, switch) = (Arc::new(Ring::new(64, 2_048)), Arc::<Switch>::default());
    let entries = vec![None, Some((filter, Arc::clone(&switch)))];
    let wanted = Arc::new(Wanted::new(1, entries, vec![Arc::clone(&ring)]));
    assert!(bench.path.record(wanted.recorder(0)).is_none());
    (ring, switch)
}

fn copied(ring: &Ring) -> Vec<Copied> {
    std::iter::from_fn(|| ring.pop()).collect()
}

fn at(host: Host, port: u16) -> SocketAddr {
    host.port(Family::V4, port)
}

#[test]
fn a_connection_is_copied_as_it_passes_and_what_is_near_it_is_not() {
    let mut bench = Bench::new(&Shop::story(Mode::Protect).build());
    let (client, server) = (at(AI_MODEL, 40_000), at(PHOTO_DB, 3306));
    let (ring, switch) = capture(&mut bench, ends(client, server, 6));
    let mut talk = Talk::new(client, server);
    assert!(talk.open(&mut bench));
    assert!(Talk::new(at(AI_MODEL, 40_001), server).open(&mut bench));
    let copies = copied(&ring);
    let outcomes: Vec<_> = copies.iter().map(|it| (it.port, it.outcome)).collect();
    let forwarded = |port| (port, Outcome::Forwarded);
    assert_eq!(
        outcomes,
        [forwarded(CLIENTS), forwarded(SERVERS), forwarded(CLIENTS)]
    );
    assert!(copies[0].flow != 0 && copies.iter().all(|it| it.flow == copies[0].flow));
    assert!(
        copies
            .iter()
            .all(|it| it.is_for(1, 1) && !it.is_for(0, 1) && !it.is_for(1, 2))
    );
    assert_eq!(switch.lost(), 0);
    switch.turn_off();
    assert!(talk.close(&mut bench) && copied(&ring).is_empty());
}

#[test]
fn what_is_dropped_and_what_weir_answers_is_copied_too() {
    let mut bench = Bench::new(&Shop::new(Mode::Protect).build());
    let (client, server) = (at(AI_MODEL, 40_000), at(PHOTO_DB, 3306));
    let (ring, _) = capture(&mut bench, ends(client, server, 6));
    let syn = Talk::new(client, server).syn();
    let sent = bench.send(CLIENTS, &syn);
    assert_eq!(sent.resets().len(), 1);
    let copies = copied(&ring);
    assert_eq!(copies[0].bytes, syn);
    assert!(
        matches!(copies[0].outcome, Outcome::Dropped(_)),
        "{:?}",
        copies[0]
    );
    assert_eq!((copies[1].outcome, copies.len()), (Outcome::Made, 2));
    assert_eq!(copies[1].bytes, sent.0[0].1);
}

#[test]
fn fragments_are_copied_when_their_datagram_leaves() {
    let shop = Shop::story(Mode::Protect).allow_any(AI_MODEL.identity(), PHOTO_DB.identity());
    let mut bench = Bench::new(&shop.build());
    let (client, server) = (at(AI_MODEL, 5_000), at(PHOTO_DB, 6_000));
    let (ring, _) = capture(&mut bench, ends(client, server, 17));
    let pieces = fragments(&udp(client, server, &[1; 100]), &[40], 7);
    bench.send(CLIENTS, &pieces[0]);
    assert!(copied(&ring).is_empty());
    bench.send(CLIENTS, &pieces[1]);
    let copies: Vec<_> = copied(&ring).into_iter().map(|it| it.bytes).collect();
    assert_eq!(copies, pieces);
}

#[test]
fn another_network_is_another_flow_and_a_full_ring_drops_no_packet() {
    let shop = Shop::story(Mode::Protect).allow_any(AI_MODEL.identity(), PHOTO_DB.identity());
    let mut bench = Bench::new(&shop.build());
    let (client, server) = (at(AI_MODEL, 5_000), at(PHOTO_DB, 6_000));
    let (ring, switch) = capture(&mut bench, ends(client, server, 17));
    let datagram = udp(client, server, b"x");
    let tagged = crate::common::frames::wrapped(&datagram, Wrap::Vlan);
    assert!(bench.send(CLIENTS, &tagged).is_passed(CLIENTS, &tagged));
    assert!(copied(&ring).is_empty());
    for _ in 0..100 {
        assert!(bench.send(CLIENTS, &datagram).is_passed(CLIENTS, &datagram));
    }
    // The buffers that were taken above did not come back.
    assert_eq!((copied(&ring).len(), switch.lost()), (64, 36));
    assert_eq!(bench.dropped(Reason::TransmitFull), 0);
}
