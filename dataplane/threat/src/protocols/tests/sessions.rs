//! Versions, heartbeats, logins, marks in hellos: of sessions.

use weir_l7::EventKind::{Request, Response, Session};
use weir_l7::Transport;
use weir_l7::Value::{Bytes, Name, Number};

use super::{Bench, ToClient, ToServer};
use crate::Threat;

#[test]
fn versions_of_ssh_are_told_by_their_banners() {
    let banner = |server: &str| {
        let mut bench = Bench::new(22);
        bench
            .open(Transport::Tcp)
            .packet(ToClient, server.as_bytes());
        bench.packet(ToServer, b"SSH-2.0-client\r\n");
        bench.threats()
    };
    assert_eq!(
        banner("SSH-1.5-old\r\n"),
        [Threat::SshVersion1, Threat::SshVersion2]
    );
    assert_eq!(
        banner("SSH-1.99-both\r\n"),
        [Threat::SshVersion1, Threat::SshVersion2]
    );
    assert_eq!(
        banner("SSH-3.0-odd\r\n"),
        [Threat::SshVersion3, Threat::SshVersion2]
    );
    assert_eq!(banner("SSH-2.0-new\r\n"), [Threat::SshVersion2]);
    assert_eq!(banner("220 SSH-1.5- is old\r\n"), [Threat::SshVersion2]);
}

#[test]
fn what_a_server_chose_is_what_is_used() {
    let mut bench = Bench::new(443);
    for (version, expected) in [
        ("SSL 2.0", &[Threat::Sslv2Use][..]),
        ("SSL 3.0", &[Threat::Ssl3Use]),
        ("TLS 1.0", &[Threat::Tls10Use]),
        ("TLS 1.1", &[Threat::Tls11Use]),
        ("TLS 1.2", &[]),
        ("TLS 1.3", &[]),
    ] {
        bench.open(Transport::Tcp);
        // What is offered only is not used.
        bench.event("tls", Request, &[("version", Name("TLS 1.0"))]);
        bench.event("tls", Response, &[("version", Name(version))]);
        assert_eq!(bench.threats(), expected, "{version}");
    }
    bench.event("tls", Request, &[("note", Name("sslv2 hello"))]);
    assert_eq!(bench.threats(), [Threat::Sslv2Hello]);
}

#[test]
fn heartbeats_that_bleed_are_told() {
    let beat = |kind: &'static str, claim: u64, length: u64| {
        let mut bench = Bench::new(443);
        bench.open(Transport::Tcp);
        let fields = [
            ("heartbeat", Name(kind)),
            ("heartbeat_claim", Number(claim)),
            ("heartbeat_length", Number(length)),
        ];
        bench.event("tls", Session, &fields);
        bench.threats()
    };
    assert_eq!(beat("request", 16_384, 3), [Threat::Heartbleed]);
    assert_eq!(beat("request", 20, 39), []);
    assert_eq!(beat("request", 21, 39), [Threat::Heartbleed]);
    assert_eq!(beat("encrypted", 0, 32), [Threat::Heartbleed]);
    assert_eq!(beat("encrypted", 0, 64), []);
    assert_eq!(
        beat("encrypted before any data", 0, 64),
        [Threat::Heartbleed]
    );
}

#[test]
fn fingerprints_and_certificates_of_malware_are_told() {
    let mut bench = Bench::new(443);
    let ja3 = b"51c64c77e60f3980eea90869b68c58a8";
    bench
        .open(Transport::Tcp)
        .event("tls", Request, &[("ja3", Bytes(ja3))]);
    assert_eq!(bench.threats(), [Threat::CommandAndControl]);
    let other = b"51c64c77e60f3980eea90869b68c58a9";
    bench
        .open(Transport::Tcp)
        .event("tls", Request, &[("ja3", Bytes(other))]);
    assert_eq!(bench.threats(), []);
    bench.config.protocols.malware.allowed = vec![String::from_utf8_lossy(ja3).into_owned()];
    bench
        .open(Transport::Tcp)
        .event("tls", Request, &[("ja3", Bytes(ja3))]);
    assert_eq!(bench.threats(), []);
    for (subject, expected) in [
        (&b"CN=AsyncRAT Server"[..], &[Threat::CommandAndControl][..]),
        (
            b"CN=localhost, C=AU, ST=Some-State, O=Internet Widgits Pty Ltd",
            &[Threat::CommandAndControl],
        ),
        // A sample certificate inside is a test.
        (b"C=AU, ST=Some-State, O=Internet Widgits Pty Ltd", &[]),
        (b"C=US, O=Example, CN=www.example.com", &[]),
    ] {
        let fields = [("subject", Bytes(subject)), ("issuer", Bytes(subject))];
        bench.open(Transport::Tcp).event("tls", Session, &fields);
        assert_eq!(
            bench.threats(),
            expected,
            "{}",
            String::from_utf8_lossy(subject)
        );
    }
}

#[test]
fn a_probe_for_smbghost_is_told() {
    let mut bench = Bench::new(445);
    bench
        .open(Transport::Tcp)
        .event("smb", Request, &[("command", Name("negotiate"))]);
    assert_eq!(bench.threats(), []);
    bench.event("smb", Request, &[("note", Name("compression only"))]);
    assert_eq!(bench.threats(), [Threat::SmbGhost]);
}

/// Logins at FTP, each on a connection of its own.
fn log_in(count: usize, answer: &str, apart_ms: u64) -> Vec<Threat> {
    let mut bench = Bench::new(21);
    for _ in 0..count {
        bench.open(Transport::Tcp);
        bench.packet(ToClient, b"220 FTP server ready.\r\n");
        bench
            .packet(ToServer, b"USER a\r\n")
            .packet(ToClient, b"331 Password required\r\n");
        bench
            .packet(ToServer, b"PASS b\r\n")
            .packet(ToClient, answer.as_bytes());
        bench.pass_ms(apart_ms);
    }
    bench.threats()
}

#[test]
fn logins_that_fail_again_and_again_are_told_once() {
    let failed = "530 Login incorrect.\r\n";
    assert_eq!(log_in(25, failed, 1_000), [Threat::BruteForce]);
    assert_eq!(log_in(9, failed, 1_000), []);
    assert_eq!(log_in(25, failed, 60_000), []);
    assert_eq!(log_in(25, "230 Logged in.\r\n", 1_000), []);
}

#[test]
fn a_refusal_counts_where_it_answers_a_login() {
    let mut bench = Bench::new(110);
    let mut told = Vec::new();
    for command in ["RETR", "PASS"] {
        for _ in 0..12 {
            bench.event("pop3", Request, &[("command", Name(command))]);
            bench.event("pop3", Response, &[("status", Name("-ERR"))]);
        }
        told.push(bench.threats());
    }
    assert_eq!(told, [vec![], vec![Threat::BruteForce]]);
}

#[test]
fn a_denied_login_at_mysql_is_told_by_its_number() {
    let mut bench = Bench::new(13_306);
    bench.open(Transport::Tcp);
    bench.event("mysql", Response, &[("error_code", Number(1146))]);
    assert_eq!(bench.threats(), []);
    bench.event(
        "mysql",
        Response,
        &[("error_code", Number(1045)), ("login", Name("failed"))],
    );
    assert_eq!(bench.threats(), [Threat::MysqlDenied]);
}

#[test]
fn many_short_sessions_of_ssh_are_guesses() {
    let sessions = |bytes: [u64; 2]| {
        let mut bench = Bench::new(22);
        for _ in 0..15 {
            bench
                .open(Transport::Tcp)
                .packet(ToClient, b"SSH-2.0-server\r\n");
            bench.close(bytes).pass_ms(5_000);
        }
        let mut told = bench.threats();
        told.retain(|&threat| threat != Threat::SshVersion2);
        told
    };
    assert_eq!(sessions([4_300, 3_500]), [Threat::BruteForce]);
    // Work, and a scan.
    assert_eq!(sessions([20_000, 90_000]), []);
    assert_eq!(sessions([300, 400]), []);
}
