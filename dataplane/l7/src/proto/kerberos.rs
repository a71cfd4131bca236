//! Kerberos version 5 (RFC 4120), over UDP and TCP, and its password changes (RFC 3244).
//!
//! Trusts nothing. Known by its DER on any port: the application tag and, within, version 5 and the
//! same message type. What is encrypted stays so: names are told, tickets are not. Violations:
//! messages of another form. Memory: a flag.

use arrayvec::ArrayVec;
use weir_wire::Direction;

use crate::fields::Fields;
use crate::read::ber::{Ber, Head, SEQUENCE};
use crate::read::cursor::Cursor;
use crate::read::sides::judge;
use crate::{
    Application, Blocks, Buffer, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe,
    ProbeInput, Step, Transport,
};

/// Length of a message on a stream (RFC 4120, 7.2.2).
const RECORD: usize = 4;
/// Larger messages are nobody's.
const MESSAGE_MAX: usize = 1 << 20;
/// Length, version and length of the AP-REQ of a password change (RFC 3244, 2).
const PASSWORD_HEADER: usize = 6;
const PASSWORD_MAX: u16 = 0x2000;
/// Version and message type are within.
const FRONT: usize = 40;
const NAME_MAX: usize = 256;

const MESSAGE_TYPE: u8 = 0;
const CLIENT: u8 = 1;
const REALM: u8 = 2;
const SERVICE: u8 = 3;
const ERROR: u8 = 4;
const ERROR_CODE: u8 = 5;
const ENCRYPTION: u8 = 6;
const ERROR_TEXT: u8 = 7;

/// Lengths, and application tags.
const OPENING: ByteSet = ByteSet::NONE
    .and_range(0, 0x1f)
    .and_range(0x6a, 0x6f)
    .and_range(0x74, 0x76)
    .and_range(0x7e, 0x7e);

/// The parser: every message stands alone.
#[derive(Default)]
pub struct Kerberos {
    stream: bool,
    /// Of a stream picked up: where messages begin was only seen on the sides that were judged.
    picked_up: bool,
}

/// "host/photo.shop".
type Name = ArrayVec<u8, NAME_MAX>;

#[derive(Default)]
struct Told<'a> {
    kind: u8,
    client: Name,
    realm: &'a [u8],
    service: Name,
    error: Option<i64>,
    text: &'a [u8],
    encryption: Option<i64>,
}

impl Application for Kerberos {
    const NAME: &'static str = "kerberos";
    const ABOUT: &'static str = "Kerberos version 5 and its password changes (RFC 4120, RFC 3244)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp, Transport::Tcp];
    const PORTS: &'static [u16] = &[88, 464];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "message_type",
            "Kind of message: AS-REQ, AS-REP, TGS-REQ, TGS-REP, AP-REQ, KRB-ERROR, ... (RFC 4120, 5.10); kpasswd",
        ),
        FieldSpec::condition("client", "Client's name (RFC 4120, cname)")
            .looked_into_as(Buffer::KerberosClient),
        FieldSpec::condition(
            "realm",
            "Realm of the client, of a request that of the service",
        ),
        FieldSpec::condition(
            "service",
            "Service asked for, as host/photo.shop (RFC 4120, sname)",
        )
        .looked_into_as(Buffer::KerberosService),
        FieldSpec::text(
            "error",
            "Error by name: KDC_ERR_PREAUTH_FAILED, ... (RFC 4120, 7.5.9)",
        ),
        FieldSpec::number("error_code", "Error (RFC 4120, 7.5.9)"),
        FieldSpec::text(
            "encryption",
            "First encryption asked for, or that of the ticket given: aes256-cts-hmac-sha1-96, rc4-hmac, ... (RFC 3961, 8)",
        ),
        FieldSpec::text("error_text", "What the server says of the error"),
    ];

    const OPENINGS: Openings = Openings {
        to_server: OPENING,
        to_client: OPENING,
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let side = |bytes: &[u8]| match input.transport {
            Transport::Tcp => probe_record(bytes),
            _ => probe_message(bytes, bytes.len()),
        };
        judge(input, side, side)
    }

    fn open(transport: Transport, _blocks: &mut Blocks) -> Self {
        Self {
            stream: transport == Transport::Tcp,
            picked_up: false,
        }
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        let (message, used) = match self.stream {
            false => (input, input.len()),
            true => match record(input) {
                Some((length, rest)) if length <= MESSAGE_MAX => match rest.get(..length) {
                    Some(message) => (message, RECORD + length),
                    None => return Step::Incomplete,
                },
                Some(_) => return self.stray(),
                None => return Step::Incomplete,
            },
        };
        match tell(direction, message, sink) {
            Some(()) => Step::Consumed(used),
            None => self.stray(),
        }
    }

    /// A ticket with many groups in it: the front is told, the end is passed over.
    fn overflow(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match record(input) {
            Some((length, message)) if length <= MESSAGE_MAX => {
                let _ = tell(direction, message, sink);
                Step::Skip((RECORD + length) as u64)
            }
            _ => Step::Done,
        }
    }

    /// Only what was judged begins with a message for certain.
    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.picked_up = true;
        !self.stream || length == 0
    }
}

impl Kerberos {
    fn stray(&self) -> Step {
        match self.picked_up {
            true => Step::Done,
            false => Step::Violation("kerberos: bytes that are no message"),
        }
    }
}

/// Length of the message at the front of a stream, and what is there of it.
fn record(input: &[u8]) -> Option<(usize, &[u8])> {
    let (&length, rest) = input.split_first_chunk::<RECORD>()?;
    Some((usize::try_from(u32::from_be_bytes(length)).ok()?, rest))
}

fn probe_record(input: &[u8]) -> Probe {
    match record(input) {
        None if input.starts_with(&[0]) => Probe::Unsure,
        Some((length, _)) if !(8..=MESSAGE_MAX).contains(&length) => Probe::NotMine,
        Some((_, rest)) if rest.len() < PASSWORD_HEADER => Probe::Unsure,
        Some((length, rest)) => {
            let fits = match Head::read(rest) {
                Head::Whole {
                    head,
                    length: inner,
                    ..
                } => head + inner == length,
                Head::Partial => true,
                Head::Bad => false,
            };
            let message = rest.get(..length).unwrap_or(rest);
            match fits || is_password_header(message, length) {
                true => probe_message(message, length),
                false => Probe::NotMine,
            }
        }
        None => Probe::NotMine,
    }
}

/// Judges a message of `length` bytes by those that are there.
fn probe_message(message: &[u8], length: usize) -> Probe {
    let inner = match is_password_header(message, length) {
        true => message.get(PASSWORD_HEADER..).unwrap_or_default(),
        false => message,
    };
    match kind(inner) {
        Some(_) => Probe::Certain,
        None if message.len() < length.min(FRONT) => Probe::Unsure,
        None => Probe::NotMine,
    }
}

/// A password change: total length, version 1 or 0xff80, length of the AP-REQ or AP-REP.
fn is_password_header(message: &[u8], whole: usize) -> bool {
    let mut cursor = Cursor::new(message);
    let mut header = || Some((cursor.u16()?, cursor.u16()?, cursor.u16()?));
    let Some((length, version, inner)) = header() else {
        return false;
    };
    usize::from(length) == whole
        && length < PASSWORD_MAX
        && matches!(version, 1 | 0xff80)
        && usize::from(inner) + PASSWORD_HEADER <= usize::from(length)
}

/// Type of the message whose front this is (RFC 4120, 5.4 to 5.9).
fn kind(message: &[u8]) -> Option<u8> {
    let (tag, mut body) = enter(message)?;
    // The requests number their parts from 1.
    let first = match tag & 0x1f {
        10 | 12 => 0xa1,
        _ => 0xa0,
    };
    let version = body.enter(first)?.integer()?;
    let kind = body.enter(first + 1)?.integer()?;
    (version == 5 && kind == i64::from(tag & 0x1f)).then_some(tag & 0x1f)
}

/// Application tag, and the parts.
fn enter(message: &[u8]) -> Option<(u8, Ber<'_>)> {
    let mut outer = Ber::new(message);
    let tag = outer.peek()?;
    matches!(tag, 0x6a..=0x6f | 0x74..=0x76 | 0x7e).then_some(())?;
    let body = outer.enter_cut(tag)?.enter_cut(SEQUENCE)?;
    Some((tag, body))
}

fn tell(direction: Direction, message: &[u8], sink: &mut dyn EventSink) -> Option<()> {
    if is_password_header(message, message.len()) {
        return tell_password(direction, message, sink);
    }
    kind(message)?;
    let (tag, body) = enter(message)?;
    let mut told = Told {
        kind: tag & 0x1f,
        ..Told::default()
    };
    read(tag & 0x1f, body, &mut told);
    say(direction, type_name(told.kind), &told, sink);
    Some(())
}

fn tell_password(direction: Direction, message: &[u8], sink: &mut dyn EventSink) -> Option<()> {
    let inner = message.get(PASSWORD_HEADER..)?;
    let mut told = Told::default();
    if let Some((tag, body)) = enter(inner) {
        read(tag & 0x1f, body, &mut told);
    }
    say(direction, "kpasswd", &told, sink);
    Some(())
}

fn say(direction: Direction, name: &'static str, told: &Told<'_>, sink: &mut dyn EventSink) {
    let mut fields = Fields::<8>::new();
    fields
        .name(MESSAGE_TYPE, name)
        .bytes(CLIENT, &told.client)
        .bytes(REALM, told.realm)
        .bytes(SERVICE, &told.service);
    if let Some(error) = told.error {
        fields
            .name(ERROR, error_name(error))
            .number(ERROR_CODE, error.cast_unsigned());
    }
    if let Some(encryption) = told.encryption {
        fields.name(ENCRYPTION, encryption_name(encryption));
    }
    fields.some_bytes(ERROR_TEXT, told.text);
    let kind = match direction {
        Direction::ToServer => EventKind::Request,
        Direction::ToClient => EventKind::Response,
    };
    fields.tell(kind, sink);
}

/// Reads what is there of the parts.
fn read<'a>(kind: u8, mut body: Ber<'a>, told: &mut Told<'a>) {
    while let Some(tag) = body.peek() {
        let Some(mut part) = body.enter_cut(tag) else {
            return;
        };
        match (kind, tag) {
            (10 | 12, 0xa4) => read_request(part, told),
            // A reply: realm and name of the client, then the ticket.
            (11 | 13, 0xa3) | (30, 0xa9) => text(part, &mut told.realm),
            (11 | 13, 0xa4) | (30, 0xa8) => name(part, &mut told.client),
            (11 | 13, 0xa5) | (14, 0xa3) => read_ticket(part, told, kind),
            (30, 0xa6) => told.error = part.integer(),
            (30, 0xaa) => name(part, &mut told.service),
            (30, 0xab) => text(part, &mut told.text),
            _ => {}
        }
    }
}

/// KDC-REQ-BODY (RFC 4120, 5.4.1).
fn read_request<'a>(mut part: Ber<'a>, told: &mut Told<'a>) {
    let Some(mut body) = part.enter_cut(SEQUENCE) else {
        return;
    };
    while let Some(tag) = body.peek() {
        let Some(mut part) = body.enter_cut(tag) else {
            return;
        };
        match tag {
            0xa1 => name(part, &mut told.client),
            0xa2 => text(part, &mut told.realm),
            0xa3 => name(part, &mut told.service),
            0xa8 => {
                let first = part.enter_cut(SEQUENCE).and_then(|mut list| list.integer());
                told.encryption = first;
            }
            _ => {}
        }
    }
}

/// Ticket (RFC 4120, 5.3): realm, service, and how it is encrypted.
fn read_ticket<'a>(mut part: Ber<'a>, told: &mut Told<'a>, kind: u8) {
    let ticket = part
        .enter_cut(0x61)
        .and_then(|mut ticket| ticket.enter_cut(SEQUENCE));
    let Some(mut body) = ticket else { return };
    while let Some(tag) = body.peek() {
        let Some(mut part) = body.enter_cut(tag) else {
            return;
        };
        match tag {
            0xa1 if kind == 14 => text(part, &mut told.realm),
            0xa2 => name(part, &mut told.service),
            0xa3 => {
                let kind = part
                    .enter_cut(SEQUENCE)
                    .and_then(|mut sealed| sealed.enter(0xa0));
                told.encryption = kind.and_then(|mut kind| kind.integer());
            }
            _ => {}
        }
    }
}

fn text<'a>(mut part: Ber<'a>, out: &mut &'a [u8]) {
    if let Some((_, text)) = part.element() {
        *out = text;
    }
}

/// PrincipalName: its parts with slashes between. One that does not fit is left empty: half a
/// name could be somebody else's.
fn name(part: Ber<'_>, out: &mut Name) {
    out.clear();
    if push_name(part, out).is_none() {
        out.clear();
    }
}

fn push_name(mut part: Ber<'_>, out: &mut Name) -> Option<()> {
    let mut name = part.enter(SEQUENCE)?;
    name.expect(0xa0)?;
    let mut parts = name.enter(0xa1)?.enter(SEQUENCE)?;
    while let Some((_, part)) = parts.element() {
        if !out.is_empty() {
            out.try_push(b'/').ok()?;
        }
        out.try_extend_from_slice(part).ok()?;
    }
    Some(())
}

fn type_name(kind: u8) -> &'static str {
    match kind {
        10 => "AS-REQ",
        11 => "AS-REP",
        12 => "TGS-REQ",
        13 => "TGS-REP",
        14 => "AP-REQ",
        15 => "AP-REP",
        20 => "KRB-SAFE",
        21 => "KRB-PRIV",
        22 => "KRB-CRED",
        30 => "KRB-ERROR",
        _ => "other",
    }
}

fn encryption_name(number: i64) -> &'static str {
    match number {
        1 => "des-cbc-crc",
        3 => "des-cbc-md5",
        16 => "des3-cbc-sha1",
        17 => "aes128-cts-hmac-sha1-96",
        18 => "aes256-cts-hmac-sha1-96",
        19 => "aes128-cts-hmac-sha256-128",
        20 => "aes256-cts-hmac-sha384-192",
        23 => "rc4-hmac",
        24 => "rc4-hmac-exp",
        25 => "camellia128-cts-cmac",
        26 => "camellia256-cts-cmac",
        _ => "other",
    }
}

fn error_name(number: i64) -> &'static str {
    match number {
        3 => "KDC_ERR_BAD_PVNO",
        6 => "KDC_ERR_C_PRINCIPAL_UNKNOWN",
        7 => "KDC_ERR_S_PRINCIPAL_UNKNOWN",
        8 => "KDC_ERR_PRINCIPAL_NOT_UNIQUE",
        12 => "KDC_ERR_POLICY",
        13 => "KDC_ERR_BADOPTION",
        14 => "KDC_ERR_ETYPE_NOSUPP",
        15 => "KDC_ERR_SUMTYPE_NOSUPP",
        16 => "KDC_ERR_PADATA_TYPE_NOSUPP",
        18 => "KDC_ERR_CLIENT_REVOKED",
        23 => "KDC_ERR_KEY_EXPIRED",
        24 => "KDC_ERR_PREAUTH_FAILED",
        25 => "KDC_ERR_PREAUTH_REQUIRED",
        29 => "KDC_ERR_SVC_UNAVAILABLE",
        31 => "KRB_AP_ERR_BAD_INTEGRITY",
        32 => "KRB_AP_ERR_TKT_EXPIRED",
        33 => "KRB_AP_ERR_TKT_NYV",
        34 => "KRB_AP_ERR_REPEAT",
        36 => "KRB_AP_ERR_BADMATCH",
        37 => "KRB_AP_ERR_SKEW",
        41 => "KRB_AP_ERR_MODIFIED",
        52 => "KRB_ERR_RESPONSE_TOO_BIG",
        60 => "KRB_ERR_GENERIC",
        68 => "KDC_ERR_WRONG_REALM",
        _ => "other",
    }
}
