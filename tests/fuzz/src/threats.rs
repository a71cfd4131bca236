//! The detectors for packets and connections: no segment, message or order of them makes them panic, and a
//! connection's end gives back what it took.

use std::sync::Arc;

use bolero::{TypeGenerator, check};
use weir_threat::network::{Settings, Shared};
use weir_threat::{Config, Connection, Ending, Found, Threats, Watch};
use weir_wire::{DecodeOptions, Direction, Packet, Reason, decode};

use crate::frames::{ethernet, ipv4, tcp, udp};
use crate::{ITERATIONS, TEST_TIME};

/// One frame of a connection.
#[derive(Clone, Debug, TypeGenerator)]
struct Step {
    upper: Upper,
    to_client: bool,
    opens: bool,
    wait_ms: u16,
    reason: u8,
}

#[derive(Clone, Debug, TypeGenerator)]
enum Upper {
    Tcp {
        flags: u8,
        window: u16,
        /// Behind the fixed header: options, as many words as `words` says.
        #[generator(bolero::generator::produce_with::<Vec<u8>>().len(0usize..44))]
        rest: Vec<u8>,
        words: u8,
    },
    Udp {
        port: u16,
    },
    Icmp {
        kind: u8,
        sequence: u16,
        #[generator(bolero::generator::produce_with::<Vec<u8>>().len(0usize..64))]
        content: Vec<u8>,
    },
}

impl Step {
    fn frame(&self) -> Vec<u8> {
        let packet = match &self.upper {
            Upper::Tcp {
                flags,
                window,
                rest,
                words,
            } => {
                let mut segment = tcp(1000, 2000, 3, 4, *flags, rest);
                segment[12] = words << 4;
                segment[14..16].copy_from_slice(&window.to_be_bytes());
                ipv4(6, &segment)
            }
            Upper::Udp { port } => ipv4(17, &udp(1000, *port, b"x")),
            Upper::Icmp {
                kind,
                sequence,
                content,
            } => {
                let [high, low] = sequence.to_be_bytes();
                let mut message = vec![*kind, 0, 0, 0, 0, 7, high, low];
                message.extend(content);
                ipv4(1, &message)
            }
        };
        ethernet(&[], 0x0800, &packet)
    }
}

fn connection(packet: &Packet) -> Connection {
    Connection {
        number: 1,
        zone: 0,
        client: packet.source,
        server: packet.destination,
        client_port: packet.source_port,
        server_port: packet.destination_port,
        protocol: packet.protocol,
        application: None,
        from_start: true,
        first_seen_us: 0,
        packets: [0; 2],
    }
}

#[test]
fn packets_and_connections() {
    let config = Arc::new(Config::default().telling_everything());
    let settings = Settings {
        sources: 64,
        targets: 64,
        pairs: 64,
        scanners: 64,
        services: 64,
        turned_away: 64,
        ..Settings::default()
    };
    let options = DecodeOptions {
        verify_ipv4_checksum: false,
        ..DecodeOptions::default()
    };
    check!()
        .with_type::<Vec<Step>>()
        .with_test_time(TEST_TIME)
        .with_iterations(ITERATIONS)
        .for_each(|steps| {
            let shared = Arc::new(Shared::new(&settings, [1, 2]));
            let mut threats = Threats::new(Arc::clone(&config), shared, [1, 2]);
            let (mut watch, mut known, mut now_us) = (Watch::default(), None, 0);
            for step in steps {
                now_us += u64::from(step.wait_ms) * 1000;
                let frame = step.frame();
                let Ok(packet) = decode(&frame, &options) else {
                    continue;
                };
                let mut found = Found::new();
                let reason = Reason::ALL[usize::from(step.reason) % Reason::ALL.len()];
                threats.objection(reason, 0, &packet, now_us, &mut found);
                if step.opens || known.is_none() {
                    threats.arriving(0, &packet, &frame, now_us, &mut found);
                    end(&mut threats, &mut watch, known.take(), now_us);
                    known = Some(connection(&packet));
                }
                let Some(known) = &mut known else { continue };
                let direction = match step.to_client {
                    true => Direction::ToClient,
                    false => Direction::ToServer,
                };
                known.packets[direction as usize] += 1;
                threats.packet(
                    &mut watch, known, direction, &packet, &frame, now_us, &mut found,
                );
                threats.unreachable(&mut watch, known, now_us, &mut found);
            }
            end(&mut threats, &mut watch, known, now_us);
        });
}

fn end(threats: &mut Threats, watch: &mut Watch, known: Option<Connection>, now_us: u64) {
    let ending = Ending {
        was_established: false,
        bytes: [0; 2],
    };
    if let Some(connection) = known {
        let mut found = Found::new();
        threats.closed(watch, &connection, &ending, now_us, &mut found);
    }
    *watch = Watch::default();
}
