//! Identify: asks the candidates about the first bytes until one is certain or all is in vain.

use weir_wire::Direction;

use super::run::Turn;
use super::{Phase, Session};
use crate::registry;
use crate::{AppId, AppSet, Confidence, Probe, ProbeInput, Transport};

/// Bytes of a stream before which the packet limit does not count.
const PACKET_LIMIT_FROM_BYTES: usize = 512;

impl Turn<'_> {
    /// Judges the connection with new bytes; once decided, has them parsed.
    pub(super) fn identify(&mut self, mut direction: Direction, bytes: &[u8]) {
        let session = &mut *self.reader.session;
        session.first.get_or_insert(direction);
        session.packets = session.packets.saturating_add(1);
        let (fresh, taken) = self.join(direction, bytes);
        let reversed = self.reader.session.reversed;
        let decided = self.judge(direction, fresh);
        let decided = decided.or_else(|| self.at_limit(direction, bytes));
        let Some((app, confidence, evidence)) = decided else {
            return self.keep_undecided(direction, bytes, taken);
        };
        self.decide(app, confidence, evidence);
        if app == AppId::UNKNOWN {
            self.reader.session.phase = Phase::Over;
            return;
        }
        if self.reader.session.reversed != reversed {
            direction = self.turn_round(direction);
        }
        let first = self.reader.session.first;
        self.begin_parsing();
        let other = direction.reverse();
        if first == Some(other) {
            self.feed_kept(other);
        }
        self.feed_kept(direction);
        self.feed(direction, &bytes[taken..]);
        if first == Some(direction) {
            self.feed_kept(other);
        }
    }

    /// Joins stream bytes to those that were kept before; returns those that stand alone instead,
    /// and how many were joined.
    fn join<'b>(&mut self, direction: Direction, bytes: &'b [u8]) -> (&'b [u8], usize) {
        let session = &mut *self.reader.session;
        let kept = &mut session.sides[direction as usize].kept;
        // Each datagram is judged on its own; the one before is kept beside it.
        if kept.is_empty() || session.transport != Transport::Tcp {
            return (bytes, 0);
        }
        let room = self
            .reader
            .limits
            .probe_bytes
            .saturating_sub(kept.len())
            .min(bytes.len());
        (&[], self.pool.append(kept, &bytes[..room]))
    }

    /// The bytes say that the roles are the other way round: from here on both directions are
    /// called as the parser knows them.
    fn turn_round(&mut self, direction: Direction) -> Direction {
        let session = &mut *self.reader.session;
        session.sides.swap(0, 1);
        session.first = session.first.map(Direction::reverse);
        direction.reverse()
    }

    /// A stream whose beginning was not seen: the parser must find the next message itself.
    fn begin_parsing(&mut self) {
        let session = &mut *self.reader.session;
        session.phase = Phase::Parsing;
        if session.transport != Transport::Tcp || session.from_start {
            return;
        }
        for direction in [Direction::ToServer, Direction::ToClient] {
            let lost = session.side(direction).lost;
            if !session.parser.gap(direction, lost) {
                session.phase = Phase::Over;
            }
        }
    }

    /// Asks the candidates; forgets those that decline. Where the beginning was not seen, and of
    /// datagrams, which end is the client is a guess: then they are asked both ways.
    fn judge(
        &mut self,
        direction: Direction,
        fresh: &[u8],
    ) -> Option<(AppId, Confidence, &'static str)> {
        let session = &mut *self.reader.session;
        let [to_server, to_client] = &session.sides;
        let kept = [
            self.pool.bytes(&to_server.kept),
            self.pool.bytes(&to_client.kept),
        ];
        let input = input(
            session,
            kept,
            direction,
            fresh,
            self.reader.limits.probe_bytes,
        );
        let turned = ProbeInput {
            to_server: input.to_client,
            to_client: input.to_server,
            server_port: session.ports[0],
            ..input
        };
        let either_way = session.transport != Transport::Tcp || !session.from_start;
        let mut asked = ask(session.candidates, &input);
        if let Err(left) = asked
            && either_way
        {
            asked = ask(session.candidates, &turned).map_err(|turned| left.union(turned));
            session.reversed ^= asked.is_ok();
        }
        if let Ok(app) = asked {
            let evidence = match (input.to_server.is_empty(), input.to_client.is_empty()) {
                (false, true) => "the client's first bytes",
                (true, false) => "the server's first bytes",
                _ => "the first bytes of both sides",
            };
            return Some((app, Confidence::Content, evidence));
        }
        let left = asked.err().unwrap_or_default();
        session.candidates = left.with(AppId::UNKNOWN);
        left.is_empty().then_some((
            AppId::UNKNOWN,
            Confidence::Content,
            "nothing known begins like this",
        ))
    }

    /// When no more will be looked at, the port may speak for one that is still possible.
    fn at_limit(
        &self,
        direction: Direction,
        bytes: &[u8],
    ) -> Option<(AppId, Confidence, &'static str)> {
        let session = &*self.reader.session;
        let [to_server, to_client] = &session.sides;
        let kept = &session.sides[direction as usize].kept;
        let fresh = if kept.is_empty() { bytes.len() } else { 0 };
        let stream = session.transport == Transport::Tcp;
        let total = to_server.kept.len() + to_client.kept.len() + fresh;
        let packets_end = session.packets >= self.reader.limits.probe_packets
            && (!stream || total >= PACKET_LIMIT_FROM_BYTES);
        let bytes_end = stream && kept.len().max(fresh) >= self.reader.limits.probe_bytes;
        (packets_end || bytes_end).then(|| session.by_port())
    }

    /// Keeps what the next probe and the parser must see. Without memory the port decides now.
    fn keep_undecided(&mut self, direction: Direction, bytes: &[u8], taken: usize) {
        let session = &mut *self.reader.session;
        let kept = &mut session.sides[direction as usize].kept;
        let stream = session.transport == Transport::Tcp;
        if !stream {
            self.pool.release(kept);
        }
        let wanted = bytes.len() - taken;
        if !stream && wanted > self.reader.limits.probe_bytes {
            return;
        }
        if self.pool.append(kept, &bytes[taken..]) < wanted && stream {
            let (app, confidence, evidence) = session.by_port();
            // The kept part cannot be joined to what follows: the name stands, nothing is parsed.
            self.decide(app, confidence, evidence);
            self.reader.session.phase = Phase::Over;
        }
    }

    fn decide(&mut self, app: AppId, confidence: Confidence, evidence: &'static str) {
        let session = &mut *self.reader.session;
        session.app = Some(app);
        session.confidence = confidence;
        session.evidence = evidence;
        self.reader.read_as(app);
        self.reader.identified = true;
    }
}

impl Session {
    /// What the port says where the bytes do not contradict it. Of datagrams it may be either end's.
    pub(super) fn by_port(&self) -> (AppId, Confidence, &'static str) {
        let [client, server] = self.ports;
        let possible = |port| {
            let hinted = registry::on_port(port).intersection(self.candidates);
            hinted.iter().next()
        };
        let stream = self.transport == Transport::Tcp;
        let hinted = possible(server).or_else(|| possible(client).filter(|_| !stream));
        match hinted {
            Some(app) => (
                app,
                Confidence::Port,
                "the port, and bytes that do not contradict it",
            ),
            None => (
                AppId::UNKNOWN,
                Confidence::None,
                "nothing known was recognised in time",
            ),
        }
    }
}

/// What the candidates are shown: what is kept of both directions, with what is new of one.
fn input<'a>(
    session: &Session,
    kept: [&'a [u8]; 2],
    direction: Direction,
    fresh: &'a [u8],
    probe_bytes: usize,
) -> ProbeInput<'a> {
    let stream = session.transport == Transport::Tcp;
    let mut sides = kept;
    let mut previous: &[u8] = &[];
    if !fresh.is_empty() {
        let end = if stream {
            fresh.len().min(probe_bytes)
        } else {
            previous = kept[direction as usize];
            fresh.len()
        };
        sides[direction as usize] = &fresh[..end];
    }
    ProbeInput {
        to_server: sides[Direction::ToServer as usize],
        to_client: sides[Direction::ToClient as usize],
        previous,
        from_start: session.from_start,
        server_port: session.ports[1],
        transport: session.transport,
    }
}

/// The first of the candidates that is certain, those of the port asked before the others; else
/// those that do not decline.
fn ask(candidates: AppSet, input: &ProbeInput<'_>) -> Result<AppId, AppSet> {
    let mut left = candidates.intersection(registry::possible(input));
    let customary = left.intersection(registry::on_port(input.server_port));
    let others = left.difference(customary);
    for app in customary.iter().chain(others.iter()) {
        match registry::probe(app, input) {
            Probe::Certain => return Ok(app),
            Probe::Unsure => {}
            Probe::NotMine => left.remove(app),
        }
    }
    Err(left)
}
