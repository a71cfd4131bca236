//! Fingerprints of hellos made here, with answers computed elsewhere.

use super::fingerprint::{self, Carrier};
use super::hello::{ClientHello, ServerHello};

fn client_hello(alpn: &[u8]) -> Vec<u8> {
    let mut list = vec![u8::try_from(alpn.len()).expect("a short name")];
    list.extend(alpn);
    let mut protocols = vec![0, u8::try_from(list.len()).expect("a short list")];
    protocols.extend(list);
    let extensions: [(u16, &[u8]); 8] = [
        (0x1a1a, &[]),
        (0, &[0, 4, 0, 0, 1, b'a']),
        (10, &[0, 6, 0x2a, 0x2a, 0, 29, 0, 23]),
        (11, &[2, 0, 1]),
        (13, &[0, 4, 8, 4, 4, 3]),
        (16, &protocols),
        (43, &[6, 0x3a, 0x3a, 3, 4, 3, 3]),
        (0xff01, &[0]),
    ];
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([
        0, 0, 10, 0x0a, 0x0a, 0x13, 1, 0x13, 3, 0xc0, 0x2f, 0, 0xff, 1, 0,
    ]);
    let mut list = Vec::new();
    for (kind, content) in extensions {
        list.extend(kind.to_be_bytes());
        list.extend(u16::try_from(content.len()).expect("short").to_be_bytes());
        list.extend(content);
    }
    body.extend(u16::try_from(list.len()).expect("short").to_be_bytes());
    body.extend(list);
    body
}

fn ja4(alpn: &[u8], carrier: Carrier) -> String {
    let body = client_hello(alpn);
    let hello = ClientHello::read(&body, Carrier::Tcp).expect("a sound hello");
    let text = fingerprint::ja4(&hello, carrier).expect("lists of a usual length");
    String::from_utf8_lossy(&text).into_owned()
}

#[test]
fn the_fingerprints_are_those_of_their_specifications() {
    let body = client_hello(b"h2");
    let hello = ClientHello::read(&body, Carrier::Tcp).expect("a sound hello");
    assert_eq!(
        &fingerprint::ja3(&hello),
        b"9fd89bc3fb3c4e167aa131ae7cbe7dc3"
    );
    assert_eq!(
        ja4(b"h2", Carrier::Tcp),
        "t13d0407h2_a2dff8acbd90_fe8cc3d6dde6"
    );
    assert_eq!(
        ja4(b"http/1.1", Carrier::Quic),
        "q13d0407h1_a2dff8acbd90_fe8cc3d6dde6"
    );
    // Neither letters nor digits: the hexadecimal digits at both ends.
    assert_eq!(
        ja4(&[0xab, b'h', 0xcd], Carrier::Tcp),
        "t13d0407ad_a2dff8acbd90_fe8cc3d6dde6"
    );
    assert_eq!(
        ja4(b"h", Carrier::Tcp),
        "t13d0407hh_a2dff8acbd90_fe8cc3d6dde6"
    );

    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([
        0, 0x13, 1, 0, 0, 14, 0, 43, 0, 2, 3, 4, 0, 51, 0, 4, 0, 29, 0, 0,
    ]);
    let hello = ServerHello::read(&body).expect("sound").expect("no draft");
    assert_eq!(
        &fingerprint::ja3s(&hello),
        b"f4febc55ea12b31ae17cfb7e614afda8"
    );
}

#[test]
fn a_hello_without_extensions_has_fingerprints_too() {
    let mut body = vec![3, 0];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0, 5, 1, 0]);
    let hello = ClientHello::read(&body, Carrier::Tcp).expect("a sound hello");
    let text = fingerprint::ja4(&hello, Carrier::Tcp).expect("short lists");
    assert_eq!(&text, b"ts3i010000_1ed8eb363bcd_000000000000");
}
