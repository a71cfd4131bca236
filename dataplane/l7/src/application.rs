//! What an application is to Weir: a name, its fields, a probe and a resumable parser.

use weir_wire::Direction;

use crate::{Blocks, Buffer, BufferSet, EventSink};

/// What carries the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A byte stream: input may be cut anywhere.
    Tcp,
    /// Datagrams: each input is one whole payload.
    Udp,
    /// ICMP messages, from the type byte on.
    Icmp,
    /// ICMPv6 messages, from the type byte on.
    Icmpv6,
    /// Encapsulating security payloads: IP protocol 50 (RFC 4303).
    Esp,
}

impl Seen {
    /// For people: "shown by …".
    pub const fn words(self) -> &'static str {
        match self {
            Self::Live => "real clients and servers",
            Self::Captures => "recorded traffic",
            Self::Specification => "the specification, never seen live",
        }
    }
}

impl Transport {
    /// What carries the payload of this IP protocol.
    pub fn of(protocol: u8) -> Option<Self> {
        [Self::Tcp, Self::Udp, Self::Icmp, Self::Icmpv6, Self::Esp]
            .into_iter()
            .find(|transport| transport.protocol() == protocol)
    }

    /// The IP protocol number.
    pub const fn protocol(self) -> u8 {
        use weir_wire::protocol;
        match self {
            Self::Tcp => protocol::TCP,
            Self::Udp => protocol::UDP,
            Self::Icmp => protocol::ICMP,
            Self::Icmpv6 => protocol::ICMPV6,
            Self::Esp => protocol::ESP,
        }
    }

    /// The name that people use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Icmp => "ICMP",
            Self::Icmpv6 => "ICMPv6",
            Self::Esp => "ESP",
        }
    }
}

/// What an application's parser was shown to work on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// A real client and a real server, in the tests.
    Live,
    /// Traffic that others recorded.
    Captures,
    /// Messages built from the published specification, never real traffic.
    Specification,
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
    /// The buffer that each of its values is, unless it is empty.
    pub buffer: Option<Buffer>,
}

impl FieldSpec {
    /// A text that no policy condition may name.
    pub const fn text(name: &'static str, about: &'static str) -> Self {
        Self::plain(name, FieldKind::Text, about)
    }

    /// A number that no policy condition may name.
    pub const fn number(name: &'static str, about: &'static str) -> Self {
        Self::plain(name, FieldKind::Number, about)
    }

    /// An address that no policy condition may name.
    pub const fn address(name: &'static str, about: &'static str) -> Self {
        Self::plain(name, FieldKind::Address, about)
    }

    /// A text that a policy condition may name.
    pub const fn condition(name: &'static str, about: &'static str) -> Self {
        Self {
            condition: true,
            ..Self::text(name, about)
        }
    }

    /// Each of its values is this buffer, whole.
    pub const fn looked_into_as(self, buffer: Buffer) -> Self {
        Self {
            buffer: Some(buffer),
            ..self
        }
    }

    const fn plain(name: &'static str, kind: FieldKind, about: &'static str) -> Self {
        Self {
            name,
            kind,
            condition: false,
            about,
            buffer: None,
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

/// The first bytes of both directions: of the stream so far for TCP (bounded), of one datagram each
/// way otherwise. Either may be empty.
#[derive(Clone, Copy, Debug)]
pub struct ProbeInput<'a> {
    /// From the client.
    pub to_server: &'a [u8],
    /// From the server.
    pub to_client: &'a [u8],
    /// Of datagrams: the one before, in the same direction as the one that is judged. Empty for
    /// the first of a direction, and for streams.
    pub previous: &'a [u8],
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
    /// The stream is now another application (Upgrade): the registry name.
    Becomes(&'static str),
    /// From here on both directions speak TLS within this application (STARTTLS): the name stays,
    /// and the TLS parser reads.
    StartTls,
    /// What follows is another connection within this one (CONNECT, SOCKS): its own bytes tell what
    /// it speaks.
    Tunnel,
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
    /// The buffers that it tells beside those of its fields.
    const CONTENTS: BufferSet = BufferSet::EMPTY;
    /// The bytes that its sides may begin with.
    const OPENINGS: Openings = Openings::ANY;
    /// What it is a special case of: a policy rule that names that one covers this one. Its fields
    /// are those of the root of the chain: as many, in the same order, of the same kinds.
    const REFINES: Option<&'static str> = None;
    /// Whether its parser tells with `refine` and `settle` which special case it is: until then
    /// it may be any.
    const REFINABLE: bool = false;
    /// Whether a message of it may make the connection that of anything else: CONNECT, Upgrade.
    const TURNS: bool = false;
    /// What it was shown to work on.
    const SEEN: Seen = Seen::Captures;

    /// Judges the first bytes. Called again as more arrive, until no candidate is unsure.
    fn probe(input: &ProbeInput<'_>) -> Probe;

    /// A parser for a new connection. What does not fit into the parser itself goes into a block;
    /// when none is left the parser makes do without.
    fn open(_transport: Transport, _blocks: &mut Blocks) -> Self {
        Self::default()
    }

    /// The connection is over: gives back what was taken from `blocks`.
    fn close(&mut self, _blocks: &mut Blocks) {}

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

    /// In how many bytes the next message of this direction begins, whatever the other end says meanwhile: a fresh
    /// parser that is told to [`Self::resume`] there reads every message of it that this one would, knowing no
    /// more of the connection than its name. None, as the default says: nobody knows, or messages are understood
    /// by those before them.
    fn rest_in(&self, _direction: Direction) -> Option<u64> {
        None
    }

    /// What follows comes behind what another parser has read; by direction, whether that one knew where the next
    /// message begins, which is where this one begins too.
    /// Returns whether this one can go on. The default takes a stream for picked up where a message begins, or
    /// for one that lost bytes.
    fn resume(&mut self, at_rest: [bool; 2]) -> bool {
        [Direction::ToServer, Direction::ToClient]
            .into_iter()
            .all(|direction| self.gap(direction, u64::from(!at_rest[direction as usize])))
    }
}
