//! Flows in which two ends speak: handshake, turns, end; many at a time, one packet of each in turn.

use super::frames::{Connection, Flag, ends, udp};
use super::{Ends, Family, Load, Order, Sender, Shape};

/// Bytes of a segment over IPv4; IPv6 has 20 less.
const SEGMENT_BYTES: usize = 1_460;

/// What carries a dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    Tcp,
    Udp,
}

/// What the ends of a flow say. The same for the same flow and turn.
pub(super) trait Dialogue: Send {
    /// The server's port of a flow.
    fn server_port(&self, flow: u64) -> u16;

    /// What carries a flow.
    fn carrier(&self, _flow: u64) -> Carrier {
        Carrier::Tcp
    }

    /// Turns of a flow, after which it ends; none: it goes on for ever.
    fn turns(&self) -> Option<u32>;

    /// Turns after which every flow does what the load is about.
    fn opening_turns(&self) -> u32 {
        0
    }

    /// Appends what is said in a turn and tells by whom.
    fn say(&self, flow: u64, turn: u32, said: &mut Vec<u8>) -> Sender;
}

/// Where a flow is.
#[derive(Clone, Copy)]
struct Going {
    connection: Connection,
    at: At,
}

#[derive(Clone, Copy)]
enum At {
    /// Of the handshake, so many packets.
    Opening(u8),
    /// In a turn, with so many bytes of it sent.
    Saying { turn: u32, sent: u32 },
    /// What the server said is acknowledged; the turn follows.
    Acknowledging { next: u32 },
    /// Of the end, so many packets.
    Closing(u8),
}

/// Many flows of one dialogue.
pub(super) struct Dialogues<D> {
    dialogue: D,
    going: Vec<Going>,
    order: Order,
    family: Family,
    seed: u64,
    /// Packets made.
    made: u64,
    /// Flows begun.
    begun: u64,
    said: Vec<u8>,
}

impl<D: Dialogue> Dialogues<D> {
    pub(super) fn new(shape: &Shape, dialogue: D) -> Self {
        let mut dialogues = Self {
            dialogue,
            going: Vec::new(),
            order: Order::new(shape.flows, shape.seed),
            family: shape.family,
            seed: shape.seed,
            made: 0,
            begun: 0,
            said: Vec::new(),
        };
        dialogues.going = (0..shape.flows.max(1)).map(|_| dialogues.begin()).collect();
        dialogues
    }

    fn begin(&mut self) -> Going {
        let flow = self.begun;
        self.begun += 1;
        Going {
            connection: Connection::new(flow, self.seed),
            at: match self.dialogue.carrier(flow) {
                Carrier::Tcp => At::Opening(0),
                Carrier::Udp => At::Saying { turn: 0, sent: 0 },
            },
        }
    }

    /// The next packet of a flow, and whether it was its last.
    fn advance(&mut self, going: &mut Going, frame: &mut Vec<u8>) -> (Sender, bool) {
        let flow = going.connection.flow;
        let between = ends(flow, self.family);
        let port = self.dialogue.server_port(flow);
        let ends = (&between, port);
        let connection = &mut going.connection;
        match going.at {
            At::Opening(step) => {
                let sender = [Sender::Client, Sender::Server, Sender::Client][usize::from(step)];
                let flag = [Flag::Syn, Flag::Syn, Flag::None][usize::from(step)];
                connection.segment(ends, sender, flag, &[], frame);
                going.at = match step {
                    2 => At::Saying { turn: 0, sent: 0 },
                    _ => At::Opening(step + 1),
                };
                (sender, false)
            }
            At::Saying { turn, sent } => self.say(going, (&between, port), (turn, sent), frame),
            At::Acknowledging { next } => {
                connection.segment(ends, Sender::Client, Flag::None, &[], frame);
                going.at = self.turn(next);
                (Sender::Client, false)
            }
            At::Closing(step) => {
                let sender = [Sender::Client, Sender::Server, Sender::Client][usize::from(step)];
                let flag = [Flag::Fin, Flag::Fin, Flag::None][usize::from(step)];
                connection.segment(ends, sender, flag, &[], frame);
                going.at = At::Closing(step + 1);
                (sender, step == 2)
            }
        }
    }

    fn say(
        &mut self,
        going: &mut Going,
        (between, port): (&Ends, u16),
        (turn, sent): (u32, u32),
        frame: &mut Vec<u8>,
    ) -> (Sender, bool) {
        let flow = going.connection.flow;
        self.said.clear();
        let sender = self.dialogue.say(flow, turn, &mut self.said);
        if self.dialogue.carrier(flow) == Carrier::Udp {
            udp(between, port, sender, &self.said, frame);
            going.at = At::Saying {
                turn: turn + 1,
                sent: 0,
            };
            return (sender, self.dialogue.turns() == Some(turn + 1));
        }
        let longest = SEGMENT_BYTES - if between.is_v6() { 20 } else { 0 };
        let rest = &self.said[sent as usize..];
        let segment = &rest[..rest.len().min(longest)];
        let connection = &mut going.connection;
        connection.segment((between, port), sender, Flag::None, segment, frame);
        going.at = match sender {
            _ if segment.len() < rest.len() => At::Saying {
                turn,
                sent: sent + segment.len() as u32,
            },
            Sender::Server => At::Acknowledging { next: turn + 1 },
            Sender::Client => self.turn(turn + 1),
        };
        (sender, false)
    }

    fn turn(&self, turn: u32) -> At {
        match self.dialogue.turns() == Some(turn) {
            true => At::Closing(0),
            false => At::Saying { turn, sent: 0 },
        }
    }
}

impl<D: Dialogue> Load for Dialogues<D> {
    fn next(&mut self, frame: &mut Vec<u8>) -> Sender {
        let index = self.order.at(self.made) as usize;
        self.made += 1;
        let mut going = self.going[index];
        let (sender, over) = self.advance(&mut going, frame);
        self.going[index] = match over {
            true => self.begin(),
            false => going,
        };
        sender
    }

    fn warm_up_packets(&self) -> u64 {
        // A turn takes a few packets; the handshake three.
        let turns = u64::from(self.dialogue.opening_turns());
        self.going.len() as u64 * (3 + 2 * turns)
    }

    fn turn_packets(&self) -> u64 {
        // A flow that has no end is shown for some turns.
        self.going.len() as u64 * (6 + 3 * u64::from(self.dialogue.turns().unwrap_or(16)))
    }
}
