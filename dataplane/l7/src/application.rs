//! What an application is to Weir: a name, its fields, a probe and a resumable parser.

use weir_wire::Direction;

use crate::EventSink;

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A byte stream: input may be cut anywhere.
    Tcp,
    /// Datagrams: each input is one whole payload.
    Udp,
    /// ICMP and ICMPv6 messages, from the type byte on.
    Icmp,
}

/// The kind of value a field holds, for documentation, conditions and schemas.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldKind {
    /// Bytes or a closed name: compared as text.
    Text,
    /// A number.
    Number,
    /// An IP address.
    Address,
}

/// A field that an application may emit.
#[derive(Clone, Copy, Debug)]
pub struct FieldSpec {
    /// Name within the application: "path" of "http.path".
    pub name: &'static str,
    /// Kind of its values.
    pub kind: FieldKind,
    /// Whether a policy condition may name it: it then occurs in every [`crate::EventKind::Request`]
    /// of the application (an absent one counts as empty).
    pub condition: bool,
    /// One sentence: what it is, with its source.
    pub about: &'static str,
}

impl FieldSpec {
    /// A text that no policy condition may name.
    pub const fn text(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            kind: FieldKind::Text,
            condition: false,
            about,
        }
    }

    /// A text that a policy condition may name.
    pub const fn condition(name: &'static str, about: &'static str) -> Self {
        Self {
            name,
            kind: FieldKind::Text,
            condition: true,
            about,
        }
    }
}

/// What a probe says of the first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// No other application sends this.
    Certain,
    /// Possible so far; more bytes will tell.
    Unsure,
    /// Impossible.
    NotMine,
}

/// How sure the answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confidence {
    /// Nothing known.
    None,
    /// The port, and bytes that do not contradict it.
    Port,
    /// The content.
    Content,
}

/// The first bytes of both directions: of the stream so far for TCP (bounded), of the first
/// datagram each way for UDP. Either may be empty.
#[derive(Clone, Copy, Debug)]
pub struct ProbeInput<'a> {
    /// From the client.
    pub to_server: &'a [u8],
    /// From the server.
    pub to_client: &'a [u8],
    /// Whether the first byte of the stream was seen (false when picked up mid-stream).
    pub from_start: bool,
    /// The server's port: a hint, never proof.
    pub server_port: u16,
    /// What carries the bytes.
    pub transport: Transport,
}

/// A set of byte values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSet([u64; 4]);

impl ByteSet {
    /// Every byte.
    pub const ANY: Self = Self([u64::MAX; 4]);

    /// No byte: the side never speaks first to anybody who counts.
    pub const NONE: Self = Self([0; 4]);

    /// The bytes of `list`.
    pub const fn of(list: &[u8]) -> Self {
        let mut set = Self::NONE;
        let mut index = 0;
        while index < list.len() {
            set = set.and_range(list[index], list[index]);
            index += 1;
        }
        set
    }

    /// This set and the bytes from `first` to `last`, both included.
    pub const fn and_range(mut self, first: u8, last: u8) -> Self {
        let mut byte = first;
        loop {
            self.0[(byte >> 6) as usize] |= 1 << (byte & 63);
            if byte >= last {
                return self;
            }
            byte += 1;
        }
    }

    /// Whether `byte` is a member.
    pub const fn contains(self, byte: u8) -> bool {
        self.0[(byte >> 6) as usize] & (1 << (byte & 63)) != 0
    }
}

/// The bytes that each side of an application may begin with, seen from the start: keeps its
/// probe from being asked about anything else. Where it says no, the probe must say not mine.
#[derive(Clone, Copy, Debug)]
pub struct Openings {
    /// First byte from the client.
    pub to_server: ByteSet,
    /// First byte from the server.
    pub to_client: ByteSet,
}

impl Openings {
    /// No promise.
    pub const ANY: Self = Self {
        to_server: ByteSet::ANY,
        to_client: ByteSet::ANY,
    };
}

/// What a parser did with its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Took this many bytes (1..=input length); call again with the rest.
    Consumed(usize),
    /// Needs more bytes than there are: call again with these and what follows. The engine keeps
    /// them, up to its limit; beyond it the parser's `overflow` is called.
    Incomplete,
    /// The next `n` bytes (possibly beyond the input) are of no interest: a body.
    Skip(u64),
    /// Nothing that follows in this direction is of interest (encrypted, tunnelled).
    Done,
    /// The stream is now another application (STARTTLS, Upgrade): the registry name.
    Becomes(&'static str),
    /// The bytes contradict the application.
    Violation(&'static str),
}

/// One application: a row of the registry.
///
/// Laws, run for every row: any chunking gives the same events; random bytes never panic; a gap
/// resynchronises or gives up; nobody is certain on another's corpus; every emitted field is
/// declared. State is plain data of bounded size: no allocation.
pub trait Application: Default {
    /// Registry name: lower case, as in policy documents.
    const NAME: &'static str;
    /// One sentence and its specification.
    const ABOUT: &'static str;
    /// What may carry it.
    const TRANSPORTS: &'static [Transport];
    /// Customary server ports: hints.
    const PORTS: &'static [u16];
    /// The fields it may emit.
    const FIELDS: &'static [FieldSpec];
    /// The bytes that its sides may begin with.
    const OPENINGS: Openings = Openings::ANY;

    /// Judges the first bytes. Called again as more arrive, until no candidate is unsure.
    fn probe(input: &ProbeInput<'_>) -> Probe;

    /// A parser for a new connection.
    fn open(_transport: Transport) -> Self {
        Self::default()
    }

    /// Reads from `input`, which starts where the last call stopped; never empty.
    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step;

    /// The message at the front of `input` is larger than the engine keeps: skip or give up.
    /// The default gives the direction up.
    fn overflow(
        &mut self,
        _direction: Direction,
        _input: &[u8],
        _sink: &mut dyn EventSink,
    ) -> Step {
        Step::Done
    }

    /// `length` bytes were lost in this direction; 0: the stream is picked up in the middle, this
    /// far unseen, and the input follows. Returns whether the parser can go on (it then looks for
    /// the next message itself); the default gives up.
    fn gap(&mut self, _direction: Direction, _length: u64) -> bool {
        false
    }
}
