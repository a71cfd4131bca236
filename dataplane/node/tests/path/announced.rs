//! Connections that another one announces are judged as a part of it, and only those.

use weir_node::event::EventKind;
use weir_policy::spec::Mode;

use crate::common::bench::{CLIENTS, SERVERS};
use crate::common::hosts::*;
use crate::common::{Bench, Shop, Talk};

fn ftp_only() -> Shop {
    Shop::new(Mode::Protect).allow(AI_MODEL.identity(), FRONTEND.identity(), "ftp", 21)
}

/// A control connection that has logged in.
fn control(bench: &mut Bench) -> Talk {
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        FRONTEND.port(Family::V4, 21),
    );
    assert!(talk.open(bench));
    for (to_server, line) in [
        (false, "220 FTP server ready\r\n"),
        (true, "USER photos\r\n"),
        (false, "331 Password required\r\n"),
        (true, "PASS secret\r\n"),
        (false, "230 Logged in\r\n"),
    ] {
        assert!(says(bench, &mut talk, to_server, line), "{line:?}");
    }
    talk
}

fn says(bench: &mut Bench, talk: &mut Talk, to_server: bool, line: &str) -> bool {
    match to_server {
        true => talk.client_passes(bench, line.as_bytes()),
        false => talk.server_passes(bench, line.as_bytes()),
    }
}

/// A passive transfer, announced at this port.
fn passive(bench: &mut Bench, port: u16) {
    let mut talk = control(bench);
    assert!(says(bench, &mut talk, true, "PASV\r\n"));
    let [high, low] = port.to_be_bytes();
    let answer = format!("227 Entering Passive Mode (10,91,0,4,{high},{low})\r\n");
    assert!(says(bench, &mut talk, false, &answer));
}

#[test]
fn a_transfer_passes_where_it_was_announced_and_nowhere_else() {
    let mut bench = Bench::new(&ftp_only().build());
    passive(&mut bench, 50_000);
    let client = AI_MODEL.port(Family::V4, 40_001);
    let mut beside = Talk::new(client, FRONTEND.port(Family::V4, 50_001));
    assert!(!beside.open(&mut bench), "nobody announced this port");
    let mut data = Talk::new(client, FRONTEND.port(Family::V4, 50_000));
    assert!(data.open(&mut bench));
    for _ in 0..5 {
        assert!(data.server_passes(&mut bench, &[b'x'; 1_000]));
    }
    assert!(data.close(&mut bench));
    let named = bench.events_of(EventKind::Identified);
    let names: Vec<_> = named
        .iter()
        .filter_map(|event| event.flow.application)
        .map(|app| app.name())
        .collect();
    assert!(
        names.contains(&"ftp") && names.contains(&"ftp-data"),
        "{names:?}"
    );
    let mut again = Talk::new(
        AI_MODEL.port(Family::V4, 40_002),
        FRONTEND.port(Family::V4, 50_000),
    );
    assert!(
        !again.open(&mut bench),
        "one announcement is for one connection"
    );
}

#[test]
fn an_active_transfer_comes_from_the_server() {
    let mut bench = Bench::new(&ftp_only().build());
    let mut talk = control(&mut bench);
    assert!(says(
        &mut bench,
        &mut talk,
        true,
        "PORT 10,91,0,2,200,0\r\n"
    ));
    let server = FRONTEND.port(Family::V4, 20);
    let data = Talk::new(server, AI_MODEL.port(Family::V4, 200 << 8));
    let syn = data.syn();
    assert!(bench.send(SERVERS, &syn).is_passed(SERVERS, &syn));
    let other = Talk::new(server, AI_MODEL.port(Family::V4, (200 << 8) + 1)).syn();
    assert!(!bench.send(SERVERS, &other).is_passed(SERVERS, &other));
}

#[test]
fn nobody_announces_the_ports_of_another() {
    for line in ["PORT 10,91,0,3,200,0\r\n", "PORT 10,91,0,2,0,22\r\n"] {
        let mut bench = Bench::new(&ftp_only().build());
        let mut talk = control(&mut bench);
        assert!(says(&mut bench, &mut talk, true, line));
        let server = FRONTEND.port(Family::V4, 20);
        for target in [
            PHOTO_DB.port(Family::V4, 200 << 8),
            AI_MODEL.port(Family::V4, 22),
        ] {
            let syn = Talk::new(server, target).syn();
            assert!(
                !bench.send(SERVERS, &syn).is_passed(SERVERS, &syn),
                "{line:?}"
            );
        }
    }
}

#[test]
fn a_transfer_of_a_denied_session_is_denied() {
    let mut bench = Bench::new(&Shop::new(Mode::Protect).build());
    let mut talk = Talk::new(
        AI_MODEL.port(Family::V4, 40_000),
        FRONTEND.port(Family::V4, 21),
    );
    assert!(!talk.open(&mut bench));
    let data = Talk::new(
        AI_MODEL.port(Family::V4, 40_001),
        FRONTEND.port(Family::V4, 50_000),
    );
    let syn = data.syn();
    assert!(!bench.send(CLIENTS, &syn).is_passed(CLIENTS, &syn));
}
