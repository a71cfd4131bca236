//! RDP: the connection's negotiation (MS-RDPBCGR, 2.2.1; TPKT RFC 1006; X.224) and its sideband
//! over UDP (MS-RDPEUDP).
//!
//! Trusts nothing. The request names the user where the client gives a cookie; the answer decides
//! on TLS, behind which nothing is read. Without TLS the client's own name follows. Violations:
//! anything but TPKT before that. Memory: two small enums.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::read::cursor::Cursor;
use crate::{
    Application, Blocks, Event, EventKind, EventSink, Field, FieldSpec, Probe, ProbeInput, Step,
    Transport,
};

const PORT: u16 = 3389;
/// First byte of TLS' first record.
const TLS_HANDSHAKE: u8 = 0x16;
/// TPKT, length indicator, code, two references, class.
const X224_HEAD: usize = 11;
/// Longest request: a routing token is below 256 bytes.
const REQUEST_MAX: usize = 512;
/// Negotiation request, response and failure (MS-RDPBCGR, 2.2.1.1.1).
const NEGOTIATION: usize = 8;
/// How much of the first message behind the negotiation is looked at.
const CONNECT_MAX: usize = 2_048;
/// Payload sizes that both ends may ask for (MS-RDPEUDP, 2.2.2.4).
const MTU: std::ops::RangeInclusive<u16> = 1_132..=1_232;

const USER: u8 = 0;
const REQUESTED: u8 = 1;
const TOKEN: u8 = 2;
const SECURITY: u8 = 3;
const FAILURE: u8 = 4;
const CLIENT: u8 = 5;

/// The parser.
#[derive(Default)]
pub struct Rdp {
    datagrams: bool,
    stages: [Stage; 2],
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Connection,
    /// TLS, or the first message without it.
    Behind,
    Over,
}

/// What a connection request says.
struct Request<'a> {
    user: &'a [u8],
    token: &'a [u8],
    /// Protocols asked for; none: the client knows of no negotiation.
    protocols: Option<u32>,
}

impl Application for Rdp {
    const NAME: &'static str = "rdp";
    const ABOUT: &'static str =
        "Remote Desktop Protocol, its negotiation (MS-RDPBCGR), and its sideband (MS-RDPEUDP)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp, Transport::Udp];
    const PORTS: &'static [u16] = &[PORT];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("user", "User in the cookie mstshash (MS-RDPBCGR, 2.2.1.1)"),
        FieldSpec::condition(
            "requested",
            "Strongest security asked for: rdp, tls, hybrid, hybrid-ex … (MS-RDPBCGR, 2.2.1.1.1)",
        ),
        FieldSpec::text(
            "token",
            "Routing token or other cookie (MS-RDPBCGR, 2.2.1.1)",
        ),
        FieldSpec::text(
            "security",
            "Security that the server chose (MS-RDPBCGR, 2.2.1.2.1)",
        ),
        FieldSpec::text("failure", "Why the server declined (MS-RDPBCGR, 2.2.1.2.2)"),
        FieldSpec::text(
            "client",
            "Name of the client's machine, where nothing hides it (MS-RDPBCGR, 2.2.1.3.2)",
        ),
    ];

    fn probe(input: &ProbeInput<'_>) -> Probe {
        if input.transport != Transport::Tcp {
            return probe_datagrams(input);
        }
        let request = probe_request(input.to_server, input.server_port);
        let confirm = probe_confirm(input.to_client, input.server_port);
        // Others who begin with X.224 name their ends in options.
        let bare = |message: &[u8]| matches!(probe_head(message, &[0xe0, 0xd0]), Ok(Some((_, 0))));
        match (request, confirm) {
            (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
            (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
            _ if bare(input.to_server) && bare(input.to_client) => Probe::Certain,
            _ => Probe::Unsure,
        }
    }

    fn open(transport: Transport, _blocks: &mut Blocks) -> Self {
        Self {
            datagrams: transport != Transport::Tcp,
            ..Self::default()
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.datagrams {
            return Step::Done;
        }
        let [client, server] = &mut self.stages;
        let stage = match direction {
            Direction::ToServer => *client,
            Direction::ToClient => *server,
        };
        if stage == Stage::Behind && input.first() == Some(&TLS_HANDSHAKE) {
            // Bytes of the other side that wait to be understood must not be taken for TLS.
            let both = *client == Stage::Behind && *server == Stage::Behind;
            return if both {
                Step::StartTls
            } else {
                Step::Incomplete
            };
        }
        match direction {
            Direction::ToServer => from_client(client, input, sink),
            Direction::ToClient => from_server(server, input, sink),
        }
        .unwrap_or(Step::Incomplete)
    }
}

/// None: too few bytes.
fn from_client(stage: &mut Stage, input: &[u8], sink: &mut dyn EventSink) -> Option<Step> {
    if *stage == Stage::Over {
        return Some(Step::Done);
    }
    let length = tpkt(input)?;
    if *stage == Stage::Behind {
        let message = input.get(..length.min(CONNECT_MAX))?;
        if let Some(name) = client_name(message) {
            sink.event(&Event {
                kind: EventKind::Session,
                fields: &[Field::bytes(CLIENT, &name)],
            });
        }
        *stage = Stage::Over;
        return Some(Step::Skip(length as u64));
    }
    if length > REQUEST_MAX {
        return Some(Step::Violation("rdp: no connection request"));
    }
    let Some(request) = request(input.get(..length)?) else {
        return Some(Step::Violation("rdp: no connection request"));
    };
    let mut fields: ArrayVec<Field<'_>, 3> = ArrayVec::new();
    fields.push(Field::bytes(USER, request.user));
    fields.push(Field::name(REQUESTED, strongest(request.protocols)));
    if !request.token.is_empty() {
        fields.push(Field::bytes(TOKEN, request.token));
    }
    sink.event(&Event {
        kind: EventKind::Request,
        fields: &fields,
    });
    *stage = Stage::Behind;
    Some(Step::Consumed(length))
}

fn from_server(stage: &mut Stage, input: &[u8], sink: &mut dyn EventSink) -> Option<Step> {
    if *stage != Stage::Connection {
        return Some(Step::Done);
    }
    let length = tpkt(input)?;
    if length > REQUEST_MAX {
        return Some(Step::Violation("rdp: no connection confirm"));
    }
    let message = input.get(..length)?;
    let field = match message.get(X224_HEAD..) {
        Some([2, _, 8, 0, a, b, c, d]) => {
            let protocol = u32::from_le_bytes([*a, *b, *c, *d]);
            Field::name(SECURITY, strongest(Some(protocol)))
        }
        Some([3, _, 8, 0, code, ..]) => Field::name(FAILURE, failure(*code)),
        _ => Field::name(SECURITY, "rdp"),
    };
    sink.event(&Event {
        kind: EventKind::Response,
        fields: &[field],
    });
    *stage = if field.index == FAILURE {
        Stage::Over
    } else {
        Stage::Behind
    };
    Some(Step::Consumed(length))
}

/// The length of the message at the front (RFC 1006, 6); what is no TPKT counts as too long.
fn tpkt(input: &[u8]) -> Option<usize> {
    match Cursor::new(input).array::<4>()? {
        [3, 0, high, low] => Some(usize::from(u16::from_be_bytes([high, low])).max(1)),
        _ => Some(usize::MAX),
    }
}

/// A whole message: the X.224 connection request and what rides on it.
fn request(message: &[u8]) -> Option<Request<'_>> {
    let (head, mut rest) = message.split_first_chunk::<X224_HEAD>()?;
    let &[_, _, _, _, indicator, code, 0, 0, _, _, 0] = head else {
        return None;
    };
    if code & 0xf0 != 0xe0 || usize::from(indicator) + 5 != message.len() {
        return None;
    }
    let mut line: &[u8] = &[];
    if let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n")
        && !rest.starts_with(&[1])
    {
        line = rest.get(..end)?;
        rest = rest.get(end + 2..)?;
    }
    let user = line.strip_prefix(b"Cookie: mstshash=");
    let protocols = match rest {
        &[1, _, 8, 0, a, b, c, d, ..] => Some(u32::from_le_bytes([a, b, c, d])),
        _ => None,
    };
    Some(Request {
        user: user.unwrap_or_default(),
        token: if user.is_some() { &[] } else { line },
        protocols,
    })
}

/// MS-RDPBCGR, 2.2.1.1.1 and 2.2.1.2.1.
fn strongest(protocols: Option<u32>) -> &'static str {
    match protocols {
        None | Some(0) => "rdp",
        Some(flags) if flags & 0x10 != 0 => "aad",
        Some(flags) if flags & 8 != 0 => "hybrid-ex",
        Some(flags) if flags & 2 != 0 => "hybrid",
        Some(flags) if flags & 4 != 0 => "rdstls",
        Some(flags) if flags & 1 != 0 => "tls",
        Some(_) => "other",
    }
}

fn failure(code: u8) -> &'static str {
    match code {
        1 => "ssl-required",
        2 => "ssl-not-allowed",
        3 => "ssl-certificate-missing",
        4 => "inconsistent-flags",
        5 => "hybrid-required",
        6 => "ssl-user-authentication-required",
        _ => "other",
    }
}

/// Client name in the core data of the MCS connect initial (MS-RDPBCGR, 2.2.1.3.2), where it is
/// plain text.
fn client_name(message: &[u8]) -> Option<ArrayVec<u8, 15>> {
    // The key "Duca", a length of one or two bytes, then the core data's type and length.
    let key = message.windows(4).position(|four| four == b"Duca")?;
    let behind = message.get(key + 4..)?;
    let skip = if behind.first()? & 0x80 == 0 { 1 } else { 2 };
    let core = behind.get(skip..)?.strip_prefix(&[0x01, 0xc0])?;
    // Length, version, two sizes, colours, sequence, keyboard, build.
    let units = core.get(2 + 4 + 2 * 4 + 4 + 4..)?.get(..30)?;
    let mut name = ArrayVec::new();
    for unit in units.chunks_exact(2) {
        match unit {
            [0, 0] => break,
            &[low @ b' '..=b'~', 0] => name.push(low),
            _ => return None,
        }
    }
    (!name.is_empty()).then_some(name)
}

/// Whether `input` begins as a TPKT with an X.224 message of these codes and no options of other
/// protocols. The rest of it, and its length.
fn probe_head<'a>(input: &'a [u8], codes: &[u8]) -> Result<Option<(&'a [u8], usize)>, ()> {
    let fits = input
        .iter()
        .take(X224_HEAD)
        .enumerate()
        .all(|(at, &byte)| match at {
            0 => byte == 3,
            1 | 6 | 7 | 10 => byte == 0,
            2 => byte <= (REQUEST_MAX >> 8) as u8,
            5 => codes.contains(&(byte & 0xf0)),
            _ => true,
        });
    if !fits {
        return Err(());
    }
    let Some((head, rest)) = input.split_first_chunk::<X224_HEAD>() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
    if !(X224_HEAD..=REQUEST_MAX).contains(&length) || usize::from(head[4]) + 5 != length {
        return Err(());
    }
    Ok(Some((rest, length - X224_HEAD)))
}

fn probe_request(input: &[u8], server_port: u16) -> Probe {
    let (rest, length) = match probe_head(input, &[0xe0]) {
        Err(()) => return Probe::NotMine,
        Ok(None) => return Probe::Unsure,
        Ok(Some(parts)) => parts,
    };
    let Some(rider) = rest.get(..length) else {
        return Probe::Unsure;
    };
    let line_end = rider.windows(2).position(|pair| pair == b"\r\n");
    let behind_line = line_end.and_then(|end| rider.get(end + 2..));
    match (rider, behind_line) {
        ([], _) if server_port == PORT => Probe::Certain,
        ([], _) => probe_initial(rest),
        (_, _) if is_negotiation(rider, 1) => Probe::Certain,
        (line, Some(behind)) if line.starts_with(b"Cookie: ") || line.starts_with(b"tsv://") => {
            match behind.is_empty() || is_negotiation(behind, 1) {
                true => Probe::Certain,
                false => Probe::NotMine,
            }
        }
        _ => Probe::NotMine,
    }
}

fn probe_confirm(input: &[u8], server_port: u16) -> Probe {
    let (rest, length) = match probe_head(input, &[0xd0]) {
        Err(()) => return Probe::NotMine,
        Ok(None) => return Probe::Unsure,
        Ok(Some(parts)) => parts,
    };
    match rest.get(..length) {
        Some([]) if server_port == PORT => Probe::Certain,
        Some([]) => Probe::Unsure,
        None if length == NEGOTIATION && matches!(rest, [] | [2 | 3, ..]) => Probe::Unsure,
        Some(rider) if is_negotiation(rider, 2) || is_negotiation(rider, 3) => Probe::Certain,
        _ => Probe::NotMine,
    }
}

/// Behind a request without any rider: the MCS connect initial is RDP's.
fn probe_initial(rest: &[u8]) -> Probe {
    let fits = rest
        .iter()
        .zip([3, 0, 0, 0, 2, 0xf0, 0x80, 0x7f, 0x65])
        .enumerate()
        .all(|(at, (&byte, wanted))| matches!(at, 2 | 3) || byte == wanted);
    match fits {
        false => Probe::NotMine,
        true if rest.len() >= 9 => Probe::Certain,
        true => Probe::Unsure,
    }
}

/// Type, flags, length 8, protocols or code below 32. A correlation id may follow a request.
fn is_negotiation(rider: &[u8], kind: u8) -> bool {
    match rider {
        [first, flags, 8, 0, value, 0, 0, 0, rest @ ..] => {
            let correlation = kind == 1 && flags & 8 != 0 && rest.len() == 36;
            *first == kind && *value < 32 && (rest.is_empty() || correlation)
        }
        _ => false,
    }
}

fn probe_datagrams(input: &ProbeInput<'_>) -> Probe {
    let client = probe_datagram(input.to_server, false);
    let server = probe_datagram(input.to_client, true);
    match (client, server) {
        (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
        (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
        _ => Probe::Unsure,
    }
}

/// MS-RDPEUDP, 2.2.2: acknowledged number, window, flags; then what the flags announce.
fn probe_datagram(input: &[u8], to_client: bool) -> Probe {
    const SYN: u16 = 1;
    const ACK: u16 = 4;
    const DATA: u16 = 8;
    if input.is_empty() {
        return Probe::Unsure;
    }
    let mut cursor = Cursor::new(input);
    let (Some(acknowledged), Some(window), Some(flags)) =
        (cursor.u32(), cursor.u16(), cursor.u16())
    else {
        return Probe::NotMine;
    };
    if flags & SYN != 0 {
        // Padded to the size it announces, which is how both find out what fits.
        let first = acknowledged == u32::MAX;
        let sizes = [cursor.u32(), cursor.u32()];
        let [_, Some(sizes)] = sizes else {
            return Probe::NotMine;
        };
        let sizes = [(sizes >> 16) as u16, (sizes & 0xffff) as u16];
        let fits = first != to_client
            && flags & ACK == if to_client { ACK } else { 0 }
            && flags & (2 | DATA) == 0
            && (1..=1_024).contains(&window)
            && sizes.iter().all(|size| MTU.contains(size))
            && input.len() >= usize::from(*MTU.start());
        return if fits { Probe::Certain } else { Probe::NotMine };
    }
    if flags & (ACK | DATA) != ACK | DATA || flags & !0x1fff != 0 {
        return Probe::NotMine;
    }
    match probe_data(&mut cursor, flags) {
        Some(true) => Probe::Certain,
        _ => Probe::NotMine,
    }
}

/// Picked up: what was received, then the first TLS or DTLS record.
fn probe_data(cursor: &mut Cursor<'_>, flags: u16) -> Option<bool> {
    let vector = usize::from(cursor.u16()?);
    // Together with its length a multiple of four.
    cursor.take(vector + (vector + 2).wrapping_neg() % 4)?;
    if flags & 0x100 != 0 {
        cursor.u32()?;
    }
    let (coded, source) = (cursor.u32()?, cursor.u32()?);
    if coded != source {
        return None;
    }
    let (kind, version) = (cursor.u8()?, cursor.u16()?);
    let length = match version {
        0x0301..=0x0304 => cursor.u16()?,
        0xfeff | 0xfefd => {
            cursor.take(8)?;
            cursor.u16()?
        }
        _ => return None,
    };
    let record = matches!(kind, 0x14..=0x17) && (1..=16_640).contains(&length);
    Some(record && (kind == 0x16 || usize::from(length) <= cursor.rest().len()))
}
