//! The loads. Each is the same on every run.

use weir_node::io::BURST;
use weir_node::io::memory::MemoryFrame;
use weir_node::path::Arrived;

use crate::frames::{Connection, Sender, arrived, udp};

/// Where no known application lives.
const PLAIN_PORT: u16 = 19_999;
/// Datagrams each way after which every flow of no known application is settled.
const DATAGRAMS_TO_SETTLE: usize = 16;

/// Makes bursts, for ever.
pub trait Load {
    /// Packets until the load is what it is called.
    fn warm_up_packets(&self) -> usize;
    /// Fills an empty burst.
    fn burst(&mut self, into: &mut Vec<Arrived<MemoryFrame>>);
}

/// 64-byte frames in flows that nobody looks into any more: each flow in turn, then each the other way.
pub struct SettledUdp {
    frames: Vec<(Sender, Vec<u8>)>,
    next: usize,
}

impl SettledUdp {
    /// So many flows.
    pub fn new(flows: usize) -> Self {
        let sent = |sender| {
            (0..flows).map(move |flow| (sender, udp(flow, PLAIN_PORT, sender, &[0xa5; 22])))
        };
        Self {
            frames: sent(Sender::Client).chain(sent(Sender::Server)).collect(),
            next: 0,
        }
    }
}

impl Load for SettledUdp {
    fn warm_up_packets(&self) -> usize {
        self.frames.len() * DATAGRAMS_TO_SETTLE
    }

    fn burst(&mut self, into: &mut Vec<Arrived<MemoryFrame>>) {
        for _ in 0..BURST {
            let (sender, frame) = &self.frames[self.next % self.frames.len()];
            into.push(arrived(*sender, frame.clone()));
            self.next += 1;
        }
    }
}

/// TCP connections of no known application, settled: each in turn carries 512 bytes to the server, then
/// each 512 bytes back.
pub struct SettledTcp {
    connections: Vec<Connection>,
    next: usize,
}

impl SettledTcp {
    /// So many connections.
    pub fn new(flows: usize) -> Self {
        Self {
            connections: (0..flows)
                .map(|flow| Connection::new(flow, PLAIN_PORT))
                .collect(),
            next: 0,
        }
    }
}

impl Load for SettledTcp {
    fn warm_up_packets(&self) -> usize {
        self.connections.len() * DATAGRAMS_TO_SETTLE
    }

    fn burst(&mut self, into: &mut Vec<Arrived<MemoryFrame>>) {
        let flows = self.connections.len();
        for _ in 0..BURST {
            let connection = &mut self.connections[self.next % flows];
            let round = self.next / flows;
            self.next += 1;
            let sender = [Sender::Client, Sender::Server][round % 2];
            let frame = match round {
                0 | 1 => connection.open(sender),
                // The same bytes back would be the echo service.
                _ => connection.send(sender, &[[0xa5, 0x5a][sender as usize]; 512]),
            };
            into.push(arrived(sender, frame));
        }
    }
}

/// New flows of five small packets each, half of them DNS, a quarter HTTP, a quarter TLS; a burst is
/// one packet each of as many flows.
pub struct Churn {
    flow: usize,
    step: usize,
    connections: Vec<Connection>,
}

impl Churn {
    /// From the first flow on.
    pub fn new() -> Self {
        Self {
            flow: 0,
            step: 0,
            connections: Vec::new(),
        }
    }

    fn packet(&mut self, index: usize) -> (Sender, Vec<u8>) {
        let flow = self.flow + index;
        let sender = [Sender::Client, Sender::Server][self.step % 2];
        match flow % 4 {
            0 | 2 => {
                let content = dns(flow, self.step / 2, sender == Sender::Server);
                (sender, udp(flow, 53, sender, &content))
            }
            kind => {
                let connection = &mut self.connections[index];
                connection.server_port = if kind == 1 { 80 } else { 443 };
                let hello = if kind == 1 {
                    b"GET /api/a HTTP/1.1\r\nHost: shop.example.com\r\n\r\n".to_vec()
                } else {
                    client_hello(flow)
                };
                match self.step {
                    0 | 1 => (sender, connection.open(sender)),
                    2 => (sender, connection.send(sender, &[])),
                    3 => (Sender::Client, connection.send(Sender::Client, &hello)),
                    _ => (Sender::Server, connection.send(Sender::Server, &[])),
                }
            }
        }
    }
}

impl Load for Churn {
    fn warm_up_packets(&self) -> usize {
        50 * BURST
    }

    fn burst(&mut self, into: &mut Vec<Arrived<MemoryFrame>>) {
        if self.step == 0 {
            self.connections = (0..BURST)
                .map(|index| Connection::new(self.flow + index, 80))
                .collect();
        }
        for index in 0..BURST {
            let (sender, frame) = self.packet(index);
            into.push(arrived(sender, frame));
        }
        self.step += 1;
        if self.step == 5 {
            self.step = 0;
            self.flow += BURST;
        }
    }
}

/// HTTP connections that are kept alive: each in turn carries a request, then each its response of
/// 1,400 bytes, then each an acknowledgement.
pub struct Http {
    connections: Vec<Connection>,
    next: usize,
}

impl Http {
    /// So many connections.
    pub fn new(flows: usize) -> Self {
        Self {
            connections: (0..flows).map(|flow| Connection::new(flow, 80)).collect(),
            next: 0,
        }
    }
}

impl Load for Http {
    fn warm_up_packets(&self) -> usize {
        self.connections.len() * 9
    }

    fn burst(&mut self, into: &mut Vec<Arrived<MemoryFrame>>) {
        let flows = self.connections.len();
        for _ in 0..BURST {
            let (flow, round) = (self.next % flows, self.next / flows);
            self.next += 1;
            let connection = &mut self.connections[flow];
            let (sender, frame) = match (round, round % 3) {
                (0, _) => (Sender::Client, connection.open(Sender::Client)),
                (1, _) => (Sender::Server, connection.open(Sender::Server)),
                (_, 0) => (
                    Sender::Client,
                    connection.send(Sender::Client, &request(flow, round)),
                ),
                (_, 1) => (Sender::Server, connection.send(Sender::Server, &response())),
                _ => (Sender::Client, connection.send(Sender::Client, &[])),
            };
            into.push(arrived(sender, frame));
        }
    }
}

fn request(flow: usize, round: usize) -> Vec<u8> {
    format!(
        "GET /api/v1/items/{flow}?page={round} HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: \
         load/1.0\r\nAccept: application/json\r\nAccept-Encoding: gzip\r\nCookie: session={flow:032x}\r\n\r\n"
    )
    .into_bytes()
}

fn response() -> Vec<u8> {
    let mut response = b"HTTP/1.1 200 OK\r\nServer: shop\r\nContent-Type: application/json\r\n\
        Cache-Control: no-cache\r\nContent-Length: 1280\r\n\r\n"
        .to_vec();
    response.extend([b'x'; 1280]);
    response
}

/// A question for an address, or its answer.
fn dns(flow: usize, id: usize, answer: bool) -> Vec<u8> {
    let mut message = ((flow * 3 + id) as u16).to_be_bytes().to_vec();
    message.extend(if answer { [0x81, 0x80] } else { [0x01, 0x00] });
    message.extend([0, 1, 0, u8::from(answer), 0, 0, 0, 0]);
    let label = format!("w{flow}");
    for part in [label.as_str(), "example", "com"] {
        message.push(part.len() as u8);
        message.extend(part.as_bytes());
    }
    message.extend([0, 0, 1, 0, 1]);
    if answer {
        message.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 128, 0, 1]);
    }
    message
}

/// A ClientHello of TLS 1.2 with a server name.
fn client_hello(flow: usize) -> Vec<u8> {
    let name = format!("w{flow}.example.com");
    let with_length = |bytes: &[u8]| {
        let mut counted = (bytes.len() as u16).to_be_bytes().to_vec();
        counted.extend(bytes);
        counted
    };
    let mut entry = vec![0];
    entry.extend(with_length(name.as_bytes()));
    let mut extension = vec![0, 0];
    extension.extend(with_length(&with_length(&entry)));
    let mut body = vec![3, 3];
    body.extend([0x5a; 32]);
    body.push(0);
    body.extend([0, 4, 0x13, 0x01, 0xc0, 0x2f, 1, 0]);
    body.extend(with_length(&extension));
    let mut handshake = vec![1, 0];
    handshake.extend(with_length(&body));
    let mut record = vec![22, 3, 1];
    record.extend(with_length(&handshake));
    record
}
