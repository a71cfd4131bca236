//! What shows in packets and connections alone: floods, scans, malformed handshakes, fragments.
//!
//! Trusts: decode's offsets and track's directions. Distrusts: every address, flag and length.
//! Memory: the tables of [`Shared`], allocated at the start; [`Watch`] a connection. What lasts is told at its
//! beginning and then at most every [`Settings::repeat_s`], with what went untold.

mod beacon;
mod clock;
mod floods;
mod handshake;
mod icmp;
mod key;
mod scan;
mod sessions;
mod settings;
mod shared;
mod syn_flood;
mod table;
mod window;

use std::sync::Arc;

use weir_wire::tcp_flags::{ACK, FIN, RST, SYN};
use weir_wire::{Direction, Packet, Reason, protocol};

use crate::{Config, Connection, Ending, Evidence, Found, Threat};

use clock::{Rate, to_ms};
use handshake::{ANSWERED, COUNTED, FAILED, place};
use key::{Kind, is_loopback, sender};
use scan::{Failure, Place};
use shared::Scene;

pub use settings::Settings;
pub use shared::Shared;
pub use table::Places;

/// Of a settled connection every so manieth packet is looked at.
pub const SAMPLE: u64 = 32;
/// Of datagrams without answer so many are counted at once.
const ONE_WAY_STEP: u64 = 64;

/// What is remembered of one connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Watch {
    /// See [`handshake`].
    marks: u8,
    /// Shift of the client's windows.
    scale: u8,
    /// When the client's window was shut; zero while it is open.
    shut_since_ms: u32,
    /// Since when it is open by a few bytes.
    crack_since_ms: u32,
    /// How long it was shut before.
    shut_ms: u32,
    window_max_bytes: u32,
    echo: icmp::Echo,
}

const _: () = assert!(size_of::<Watch>() <= 48);

/// What is left of a [`Watch`] where no window is shut and nothing was echoed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quiet {
    marks: u8,
    scale: u8,
    window_max_bytes: u32,
}

const _: () = assert!(size_of::<Quiet>() == 8);

impl Watch {
    /// All that it remembers, where it is only this.
    pub fn quiet(&self) -> Option<Quiet> {
        let quiet = self.at_end();
        (Self::from(quiet) == *self).then_some(quiet)
    }

    /// What counts of it when the connection is over.
    pub fn at_end(&self) -> Quiet {
        Quiet {
            marks: self.marks,
            scale: self.scale,
            window_max_bytes: self.window_max_bytes,
        }
    }
}

impl From<Quiet> for Watch {
    fn from(quiet: Quiet) -> Self {
        Self {
            marks: quiet.marks,
            scale: quiet.scale,
            window_max_bytes: quiet.window_max_bytes,
            ..Self::default()
        }
    }
}

/// The detectors of one worker.
pub struct Network {
    shared: Arc<Shared>,
}

impl Network {
    /// Counts in what it shares with the other workers.
    pub fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    fn scene<'a>(&'a self, config: &'a Config, zone: u32, now_us: u64) -> Scene<'a> {
        Scene {
            config,
            shared: &self.shared,
            zone,
            now_ms: to_ms(now_us),
        }
    }

    /// See [`crate::Threats::ahead`].
    #[inline]
    pub fn ahead(&self, zone: u32, packet: &Packet, load: impl Fn(&Places)) {
        let shared = &*self.shared;
        let key = |kind, one, other| shared.keys.of(kind, zone, one, other, 0);
        let (source, target) = (sender(packet.source), packet.destination);
        load(shared.sources.places(key(Kind::Source, source, 0)));
        load(shared.targets.places(key(Kind::Target, target, 0)));
        if packet.protocol == protocol::UDP && packet.destination_port == floods::DNS_PORT {
            load(shared.pairs.places(key(Kind::PairDns, source, target)));
        }
    }

    /// See [`crate::Threats::arriving`].
    pub fn arriving(
        &self,
        config: &Config,
        zone: u32,
        packet: &Packet,
        frame: &[u8],
        now_us: u64,
        found: &mut Found,
    ) {
        let scene = self.scene(config, zone, now_us);
        land(&scene, packet, found);
        match packet.protocol {
            protocol::TCP => handshake::arriving(&scene, packet, frame, found),
            protocol::UDP => {
                floods::udp_begun(&scene, packet, found);
                floods::udp_question(&scene, packet, 1, found);
            }
            protocol::ICMP | protocol::ICMPV6 => {
                icmp::length(&scene, packet, found);
                icmp::arriving(&scene, packet, frame, found);
                floods::icmp(&scene, packet, 1, found);
            }
            _ => {}
        }
    }

    /// See [`crate::Threats::is_routine`]. Of a segment that is routine the window is noted.
    #[inline]
    pub fn is_routine(
        &self,
        config: &Config,
        watch: &mut Watch,
        direction: Direction,
        packet: &Packet,
    ) -> bool {
        handshake::is_over(watch, packet)
            && window::is_open(watch, direction, packet, config.network.small_window_bytes)
    }

    /// See [`crate::Threats::packet`].
    #[expect(clippy::too_many_arguments, reason = "as in Threats")]
    pub fn packet(
        &self,
        config: &Config,
        watch: &mut Watch,
        connection: &Connection,
        direction: Direction,
        packet: &Packet,
        frame: &[u8],
        now_us: u64,
        found: &mut Found,
    ) {
        let scene = self.scene(config, connection.zone, now_us);
        let opens = connection.packets[0] + connection.packets[1] == 1;
        if opens {
            watch.marks |= COUNTED;
            sessions::opened(&scene, connection, found);
            beacon::opened(&scene, connection, found);
        }
        match packet.protocol {
            protocol::TCP => {
                handshake::segment(&scene, watch, connection, direction, packet, frame, found);
                window::segment(&scene, watch, connection, direction, packet, found);
            }
            protocol::UDP => datagram(&scene, watch, connection, direction, packet, opens, found),
            protocol::ICMP | protocol::ICMPV6 => {
                if direction == Direction::ToClient && watch.marks & ANSWERED == 0 {
                    watch.marks |= ANSWERED;
                    scan::answered(&scene, connection.client, echo_place(connection));
                }
                if !opens {
                    icmp::length(&scene, packet, found);
                    if icmp::is_unasked(&watch.echo, packet) {
                        floods::icmp(&scene, packet, 1, found);
                    }
                }
                icmp::follow(&scene, &mut watch.echo, connection, packet, frame, found);
            }
            _ => {}
        }
    }

    /// See [`crate::Threats::unreachable`].
    pub fn unreachable(
        &self,
        config: &Config,
        watch: &mut Watch,
        connection: &Connection,
        now_us: u64,
        found: &mut Found,
    ) {
        if watch.marks & (FAILED | ANSWERED) == 0 && connection.packets[1] == 0 {
            watch.marks |= FAILED;
            let scene = self.scene(config, connection.zone, now_us);
            scan::failed(
                &scene,
                connection.client,
                place(connection),
                Failure::Refused,
                found,
            );
        }
    }

    /// See [`crate::Threats::objection`].
    pub fn objection(
        &self,
        config: &Config,
        reason: Reason,
        zone: u32,
        packet: &Packet,
        now_us: u64,
        found: &mut Found,
    ) {
        let scene = self.scene(config, zone, now_us);
        let threat = match reason {
            // No end, or one that is not a multiple of eight: the classic teardrop has both.
            Reason::FragmentOverlap | Reason::FragmentMalformed => Threat::Teardrop,
            Reason::FragmentTiny => Threat::TinyFragment,
            Reason::FragmentLimit => Threat::FragmentExhaustion,
            Reason::FragmentTimeout => return incomplete(&scene, packet, found),
            Reason::FragmentTooBig => Threat::PingOfDeath,
            Reason::TcpFlags => {
                stealth(&scene, packet, found);
                Threat::BadFlags
            }
            // Each connection of these is an attempt of its own; the node bounds what one may tell.
            Reason::StreamMismatch | Reason::UrgentData => {
                let threat = match reason {
                    Reason::UrgentData => Threat::UrgentData,
                    _ => Threat::Overlap,
                };
                return found.note(config, threat, || Evidence::sign(reason.name()));
            }
            _ => return,
        };
        scene.tell(found, threat, packet.source, packet.destination, || {
            let evidence = Evidence::sign(reason.name());
            match threat {
                Threat::BadFlags => evidence.counter("flags", u64::from(packet.tcp.flags)),
                _ => evidence,
            }
        });
    }

    /// See [`crate::Threats::closed`].
    pub fn closed(
        &self,
        config: &Config,
        watch: &mut Watch,
        connection: &Connection,
        _ending: &Ending,
        now_us: u64,
        found: &mut Found,
    ) {
        let scene = self.scene(config, connection.zone, now_us);
        if watch.marks & COUNTED != 0 {
            sessions::closed(&scene, connection);
        }
        let silent = connection.from_start && connection.packets[1] == 0;
        if !silent || watch.marks & FAILED != 0 {
            return;
        }
        let place = match connection.protocol {
            // One that goes on without its SYN being answered is seen one way only.
            protocol::TCP if watch.marks & handshake::DATA == 0 => place(connection),
            protocol::UDP => place(connection),
            protocol::ICMP | protocol::ICMPV6 if watch.echo.asks() => echo_place(connection),
            _ => return,
        };
        scan::failed(&scene, connection.client, place, Failure::Silent, found);
    }
}

/// A packet that claims to come from where it goes. On a host's own addresses that is how things are.
fn land(scene: &Scene<'_>, packet: &Packet, found: &mut Found) {
    let has_ports = matches!(packet.protocol, protocol::TCP | protocol::UDP);
    if has_ports
        && packet.source == packet.destination
        && packet.source_port == packet.destination_port
        && !is_loopback(packet.source)
    {
        scene.tell(found, Threat::Land, packet.source, 0, || {
            Evidence::sign("its own sender").counter("port", u64::from(packet.source_port))
        });
        found.shed(scene.config, Threat::Land);
    }
}

/// A datagram of a UDP flow.
fn datagram(
    scene: &Scene<'_>,
    watch: &mut Watch,
    connection: &Connection,
    direction: Direction,
    packet: &Packet,
    opens: bool,
    found: &mut Found,
) {
    if direction == Direction::ToClient {
        if watch.marks & ANSWERED == 0 {
            watch.marks |= ANSWERED;
            floods::udp_answered(scene, connection.server);
            scan::answered(scene, connection.client, place(connection));
        }
        return;
    }
    if !opens {
        floods::udp_question(scene, packet, 1, found);
    }
    let sent = connection.packets[0];
    if watch.marks & ANSWERED == 0 && sent.is_multiple_of(ONE_WAY_STEP) {
        floods::udp_one_way(scene, connection.server, ONE_WAY_STEP as u32, found);
    }
}

/// A probe with flags that open nothing.
fn stealth(scene: &Scene<'_>, packet: &Packet, found: &mut Found) {
    // With one of these it belongs to a connection, or means to open one.
    if packet.tcp.flags & (SYN | RST | ACK) == 0 || packet.tcp.flags & (SYN | FIN) == SYN | FIN {
        let place = Place {
            address: packet.destination,
            port: packet.destination_port,
            protocol: protocol::TCP,
        };
        scan::failed(scene, packet.source, place, Failure::Stealth, found);
    }
}

/// A datagram whose fragments did not all arrive.
fn incomplete(scene: &Scene<'_>, packet: &Packet, found: &mut Found) {
    let Some(target) = floods::target(scene, packet.destination) else {
        return;
    };
    let limit = scene.settings().incomplete_per_s;
    let rate = Rate::add(target.word(floods::INCOMPLETE), 1, scene.now_ms, 1000).sliding();
    if rate > limit {
        scene.tell(
            found,
            Threat::FragmentExhaustion,
            0,
            packet.destination,
            || {
                Evidence::sign("incomplete datagrams")
                    .counter("per_s", u64::from(rate))
                    .counter("threshold_per_s", u64::from(limit))
            },
        );
    }
}

/// A host that is asked for an echo.
fn echo_place(connection: &Connection) -> Place {
    Place {
        port: 0,
        ..place(connection)
    }
}

#[cfg(test)]
mod tests;
