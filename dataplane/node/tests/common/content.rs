//! What the hosts say, as on the wire.

use std::net::IpAddr;

fn mysql_packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = (payload.len() as u32).to_le_bytes().to_vec();
    packet[3] = sequence;
    packet.extend(payload);
    packet
}

pub fn mysql_greeting() -> Vec<u8> {
    let mut payload = b"\x0a8.0.36\0\x05\0\0\0saltsalt\0".to_vec();
    payload.extend([0xff, 0xff, 8, 2, 0, 0xff, 0xdf, 21]);
    payload.extend([0; 10]);
    payload.extend(b"saltsaltsalt\0caching_sha2_password\0");
    mysql_packet(0, &payload)
}

/// `compressed`: what follows is not readable.
pub fn mysql_login(compressed: bool) -> Vec<u8> {
    let compress = if compressed { 0x20 } else { 0 };
    let mut payload = (compress | 0x8200_u32 | 1 << 3 | 1 << 19 | 1)
        .to_le_bytes()
        .to_vec();
    payload.extend([0, 0, 0, 1, 45]);
    payload.extend([0; 23]);
    payload.extend(b"app\0\x02xxshop\0caching_sha2_password\0");
    mysql_packet(1, &payload)
}

pub fn mysql_ok(sequence: u8) -> Vec<u8> {
    mysql_packet(sequence, &[0, 0, 0, 2, 0, 0, 0])
}

pub fn mysql_query(text: &str) -> Vec<u8> {
    mysql_packet(0, &[b"\x03", text.as_bytes()].concat())
}

pub fn http_get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: frontend\r\nUser-Agent: ai-model\r\n\r\n").into_bytes()
}

pub fn http_ok(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

pub const REDIS: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";

fn dns_message(flags: u16, answers: u16, name: &str) -> Vec<u8> {
    let mut message = Vec::new();
    for word in [0x1234, flags, 1, answers, 0, 0_u16] {
        message.extend(word.to_be_bytes());
    }
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.push(0);
    message
}

fn dns_type(address: Option<IpAddr>) -> [u8; 4] {
    match address {
        Some(IpAddr::V6(_)) => [0, 28, 0, 1],
        _ => [0, 1, 0, 1],
    }
}

pub fn dns_query(name: &str) -> Vec<u8> {
    let mut message = dns_message(0x0100, 0, name);
    message.extend(dns_type(None));
    message
}

pub fn dns_answer(name: &str, address: IpAddr, ttl_s: u32) -> Vec<u8> {
    let mut message = dns_message(0x8180, 1, name);
    message.extend(dns_type(Some(address)));
    message.extend([0xc0, 12]);
    message.extend(dns_type(Some(address)));
    message.extend(ttl_s.to_be_bytes());
    let octets = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    message.extend((octets.len() as u16).to_be_bytes());
    message.extend(octets);
    message
}

/// A record of encrypted data.
pub fn tls_data(length: u8) -> Vec<u8> {
    [&[23, 3, 3, 0, length][..], &vec![0xa5; length.into()]].concat()
}

fn tls_handshake(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut record = vec![22, 3, 3];
    record.extend((body.len() as u16 + 4).to_be_bytes());
    record.extend([kind, 0]);
    record.extend((body.len() as u16).to_be_bytes());
    record.extend(body);
    record
}

/// A client hello that asks for this server.
pub fn tls_client_hello(server: &str) -> Vec<u8> {
    let name = server.len() as u16;
    let mut sni = vec![0, 0];
    sni.extend((name + 5).to_be_bytes());
    sni.extend((name + 3).to_be_bytes());
    sni.push(0);
    sni.extend(name.to_be_bytes());
    sni.extend(server.as_bytes());
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([0, 0, 2, 0x13, 0x01, 1, 0]);
    body.extend((sni.len() as u16).to_be_bytes());
    body.extend(sni);
    tls_handshake(1, &body)
}

pub fn tls_server_hello() -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend([8; 32]);
    // TLS 1.3: what follows is encrypted.
    body.extend([0, 0x13, 0x01, 0, 0, 6, 0, 43, 0, 2, 3, 4]);
    tls_handshake(2, &body)
}
