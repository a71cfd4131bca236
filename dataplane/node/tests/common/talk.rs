//! A TCP connection between two hosts that say what the test wants, one segment at a time.

use std::net::SocketAddr;

use super::bench::{Bench, CLIENTS, SERVERS, Sent};
use super::frames::{self, ACK, FIN, SYN, Segment, Wrap, wrapped};

/// Both ends of a connection.
#[derive(Clone, Debug)]
pub struct Talk {
    pub client: SocketAddr,
    pub server: SocketAddr,
    /// The next sequence number of each end.
    pub client_next: u32,
    pub server_next: u32,
    pub wrap: Wrap,
}

impl Talk {
    pub fn new(client: SocketAddr, server: SocketAddr) -> Self {
        Self {
            client,
            server,
            client_next: 0xffff_ff00,
            server_next: 5_000,
            wrap: Wrap::None,
        }
    }

    pub fn wrapped(self, wrap: Wrap) -> Self {
        Self { wrap, ..self }
    }

    /// A segment of the client with any flags and number.
    pub fn of_client(&self, flags: u8, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let acknowledgement = if flags & ACK != 0 {
            self.server_next
        } else {
            0
        };
        let segment = Segment {
            flags,
            sequence,
            acknowledgement,
            payload,
        };
        wrapped(&frames::tcp(self.client, self.server, &segment), self.wrap)
    }

    pub fn of_server(&self, flags: u8, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let segment = Segment {
            flags,
            sequence,
            acknowledgement: self.client_next,
            payload,
        };
        wrapped(&frames::tcp(self.server, self.client, &segment), self.wrap)
    }

    pub fn syn(&self) -> Vec<u8> {
        self.of_client(SYN, self.client_next, b"")
    }

    /// The handshake; whether all of it passed.
    pub fn open(&mut self, bench: &mut Bench) -> bool {
        let syn = self.syn();
        self.client_next = self.client_next.wrapping_add(1);
        let answer = self.of_server(SYN | ACK, self.server_next, b"");
        self.server_next = self.server_next.wrapping_add(1);
        let last = self.of_client(ACK, self.client_next, b"");
        bench.send(CLIENTS, &syn).is_passed(CLIENTS, &syn)
            && bench.send(SERVERS, &answer).is_passed(SERVERS, &answer)
            && bench.send(CLIENTS, &last).is_passed(CLIENTS, &last)
    }

    /// The client says something, the server acknowledges. What left by the client's segment.
    pub fn client_says(&mut self, bench: &mut Bench, content: &[u8]) -> Sent {
        let frame = self.of_client(ACK, self.client_next, content);
        let sent = bench.send(CLIENTS, &frame);
        if sent.is_passed(CLIENTS, &frame) {
            self.client_next = self.client_next.wrapping_add(content.len() as u32);
            let acknowledgement = self.of_server(ACK, self.server_next, b"");
            bench.send(SERVERS, &acknowledgement);
        }
        sent
    }

    pub fn server_says(&mut self, bench: &mut Bench, content: &[u8]) -> Sent {
        let frame = self.of_server(ACK, self.server_next, content);
        let sent = bench.send(SERVERS, &frame);
        if sent.is_passed(SERVERS, &frame) {
            self.server_next = self.server_next.wrapping_add(content.len() as u32);
            let acknowledgement = self.of_client(ACK, self.client_next, b"");
            bench.send(CLIENTS, &acknowledgement);
        }
        sent
    }

    /// Whether it passed, bit for bit.
    pub fn client_passes(&mut self, bench: &mut Bench, content: &[u8]) -> bool {
        let frame = self.of_client(ACK, self.client_next, content);
        self.client_says(bench, content).is_passed(CLIENTS, &frame)
    }

    pub fn server_passes(&mut self, bench: &mut Bench, content: &[u8]) -> bool {
        let frame = self.of_server(ACK, self.server_next, content);
        self.server_says(bench, content).is_passed(SERVERS, &frame)
    }

    /// Both ends finish; whether all of it passed.
    pub fn close(&mut self, bench: &mut Bench) -> bool {
        let client = self.of_client(FIN | ACK, self.client_next, b"");
        self.client_next = self.client_next.wrapping_add(1);
        let server = self.of_server(FIN | ACK, self.server_next, b"");
        self.server_next = self.server_next.wrapping_add(1);
        let last = self.of_client(ACK, self.client_next, b"");
        bench.send(CLIENTS, &client).is_passed(CLIENTS, &client)
            && bench.send(SERVERS, &server).is_passed(SERVERS, &server)
            && bench.send(CLIENTS, &last).is_passed(CLIENTS, &last)
    }

    /// Both ends were reset by segments that each must take (RFC 9293, 3.10.7.4): exactly at the
    /// next byte it expects.
    pub fn is_reset_at_both_ends(&self, sent: &Sent) -> bool {
        let mut resets: Vec<_> = sent
            .resets()
            .iter()
            .map(|(port, packet)| (*port, packet.tcp.sequence))
            .collect();
        resets.sort_unstable();
        sent.0.len() == 2 && resets == [(CLIENTS, self.server_next), (SERVERS, self.client_next)]
    }
}
