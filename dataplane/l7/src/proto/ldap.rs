//! LDAP version 2 and 3 (RFC 4511), over TCP and, connectionless, over UDP.
//!
//! Trusts nothing. Known by its BER on any port: a message id, and an operation whose parts have
//! the types they must have. Passwords and SASL credentials are never told. Once StartTLS is
//! accepted the connection speaks TLS; once a SASL login has sealed it, messages are passed over by
//! their lengths. Violations: bytes that are no message. Memory: [`Ldap`], a few bytes.

use weir_wire::Direction;

use crate::fields::Fields;
use crate::read::ber::{self, Ber, ENUMERATED, Head, INTEGER, OCTETS, SEQUENCE};
use crate::read::sides::judge;
use crate::{
    Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput, Seen, Step,
    Transport,
};

/// RFC 4511, 4.14.
const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
/// Longer messages are nobody's.
const MESSAGE_MAX: usize = 1 << 28;
/// A sealed message of SASL (RFC 4422, 3.7), as large as servers let it be.
const SEALED_MAX: u32 = 1 << 24;

const OPERATION: u8 = 0;
const DN: u8 = 1;
const METHOD: u8 = 2;
const SCOPE: u8 = 3;
const RESULT: u8 = 4;
const RESULT_CODE: u8 = 5;
const MESSAGE: u8 = 6;
const EXTENSION: u8 = 7;
const VERSION: u8 = 8;

/// Operations by their tag (RFC 4511, 4.2 to 4.14).
mod tag {
    pub(super) const BIND: u8 = 0x60;
    pub(super) const BIND_RESPONSE: u8 = 0x61;
    pub(super) const UNBIND: u8 = 0x42;
    pub(super) const SEARCH: u8 = 0x63;
    pub(super) const ENTRY: u8 = 0x64;
    pub(super) const SEARCH_DONE: u8 = 0x65;
    pub(super) const MODIFY: u8 = 0x66;
    pub(super) const MODIFY_RESPONSE: u8 = 0x67;
    pub(super) const ADD: u8 = 0x68;
    pub(super) const ADD_RESPONSE: u8 = 0x69;
    pub(super) const DELETE: u8 = 0x4a;
    pub(super) const DELETE_RESPONSE: u8 = 0x6b;
    pub(super) const RENAME: u8 = 0x6c;
    pub(super) const RENAME_RESPONSE: u8 = 0x6d;
    pub(super) const COMPARE: u8 = 0x6e;
    pub(super) const COMPARE_RESPONSE: u8 = 0x6f;
    pub(super) const ABANDON: u8 = 0x50;
    pub(super) const REFERENCE: u8 = 0x73;
    pub(super) const EXTENDED: u8 = 0x77;
    pub(super) const EXTENDED_RESPONSE: u8 = 0x78;
    pub(super) const INTERMEDIATE: u8 = 0x79;
}

/// The parser.
#[derive(Default)]
pub struct Ldap {
    /// Of a stream picked up: where messages begin was only seen on the sides that were judged.
    picked_up: bool,
    /// Id of the StartTLS request that waits for its answer.
    start_tls: Option<i64>,
    /// It was accepted.
    tls: bool,
    /// A SASL login was asked for: what follows may be sealed.
    sasl: bool,
}

/// What a message's front looks like.
enum Sight {
    Sound,
    Partial,
    Foreign,
}

impl Application for Ldap {
    const NAME: &'static str = "ldap";
    const ABOUT: &'static str = "Lightweight Directory Access Protocol, over TCP and connectionless (RFC 4511, MS-ADTS 3.1.1.3.2.2)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp, Transport::Udp];
    const PORTS: &'static [u16] = &[389, 3268];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition(
            "operation",
            "bind, unbind, search, modify, add, delete, rename, compare, abandon, extended (RFC 4511, 4)",
        ),
        FieldSpec::condition(
            "dn",
            "Name that binds, base of a search, or entry that is worked on",
        ),
        FieldSpec::text(
            "method",
            "How a bind proves itself: simple, anonymous, sasl with its mechanism",
        ),
        FieldSpec::text("scope", "Scope of a search: base, one, subtree, children"),
        FieldSpec::text(
            "result",
            "Result: success, invalidCredentials, ... (RFC 4511, 4.1.9)",
        ),
        FieldSpec::number("result_code", "Result as a number (RFC 4511, 4.1.9)"),
        FieldSpec::text("message", "Diagnostic message of a result"),
        FieldSpec::text(
            "extension",
            "Object identifier of an extended operation (RFC 4511, 4.12)",
        ),
        FieldSpec::number("version", "Version of a bind"),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[SEQUENCE]),
        to_client: ByteSet::of(&[SEQUENCE]),
    };
    const SEEN: Seen = Seen::Live;

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let stream = input.transport == Transport::Tcp;
        let at_home = Self::PORTS.contains(&input.server_port);
        if stream && !input.from_start && at_home {
            let sealed = [input.to_server, input.to_client]
                .into_iter()
                .any(is_sealed);
            if sealed {
                return Probe::Certain;
            }
        }
        let side = |requests: bool| {
            move |bytes: &[u8]| match look(bytes, requests) {
                Sight::Sound => Probe::Certain,
                Sight::Partial if stream => Probe::Unsure,
                _ => Probe::NotMine,
            }
        };
        judge(input, side(true), side(false))
    }

    fn parse(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if self.tls {
            return Step::StartTls;
        }
        let (head, length) = match Head::read(input) {
            Head::Whole {
                tag: SEQUENCE,
                head,
                length,
            } if length <= MESSAGE_MAX => (head, length),
            Head::Partial if input.first() == Some(&SEQUENCE) => return Step::Incomplete,
            _ => return self.sealed(input),
        };
        let Some(message) = input.get(head..head + length) else {
            return Step::Incomplete;
        };
        match self.tell(direction, message, sink) {
            Some(()) => Step::Consumed(head + length),
            None if self.picked_up => Step::Done,
            None => Step::Violation("ldap: neither a request nor a response"),
        }
    }

    /// A large entry: its front is told, its end is passed over.
    fn overflow(&mut self, direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        match Head::read(input) {
            Head::Whole { head, length, .. } => {
                let message = input.get(head..).unwrap_or_default();
                let _ = self.tell(direction, message, sink);
                Step::Skip((head + length) as u64)
            }
            _ => Step::Done,
        }
    }

    /// Only what was judged begins with a message for certain.
    fn gap(&mut self, _direction: Direction, length: u64) -> bool {
        self.picked_up = true;
        length == 0
    }
}

impl Ldap {
    /// Messages that a SASL login signs or encrypts stand behind their length (RFC 4422, 3.7).
    fn sealed(&self, input: &[u8]) -> Step {
        let Some(&length) = input.first_chunk::<4>() else {
            return Step::Incomplete;
        };
        match u32::from_be_bytes(length) {
            length @ 1..=SEALED_MAX if self.sasl || self.picked_up => {
                Step::Skip(u64::from(length) + 4)
            }
            _ if self.picked_up => Step::Done,
            _ => Step::Violation("ldap: bytes that are no message"),
        }
    }

    fn tell(
        &mut self,
        direction: Direction,
        message: &[u8],
        sink: &mut dyn EventSink,
    ) -> Option<()> {
        let mut message = Ber::new(message);
        let id = message.integer()?;
        let operation = message.peek()?;
        let body = message.enter_cut(operation)?;
        match direction {
            Direction::ToServer => self.request(id, operation, body, sink),
            Direction::ToClient => self.response(id, operation, body, sink),
        }
    }

    fn request(
        &mut self,
        id: i64,
        operation: u8,
        mut body: Ber<'_>,
        sink: &mut dyn EventSink,
    ) -> Option<()> {
        let name = request_name(operation)?;
        let mut fields = Fields::<6>::new();
        fields.name(OPERATION, name);
        match operation {
            tag::BIND => {
                let version = body.integer()?;
                let dn = body.expect(OCTETS)?;
                fields.bytes(DN, dn);
                match body.element()? {
                    (0x80, []) => fields.name(METHOD, "anonymous"),
                    (0x80, _) => fields.name(METHOD, "simple"),
                    (0xa3, credentials) => {
                        self.sasl = true;
                        fields.bytes(METHOD, Ber::new(credentials).expect(OCTETS)?)
                    }
                    (0x89..=0x8b, _) => {
                        self.sasl = true;
                        fields.name(METHOD, "ntlm")
                    }
                    _ => fields.name(METHOD, "other"),
                };
                fields.number(VERSION, version.cast_unsigned());
            }
            tag::SEARCH => {
                fields.bytes(DN, body.expect(OCTETS)?);
                let scope = match body.enumerated()? {
                    0 => "base",
                    1 => "one",
                    2 => "subtree",
                    _ => "children",
                };
                fields.name(SCOPE, scope);
            }
            tag::MODIFY | tag::ADD | tag::RENAME | tag::COMPARE => {
                fields.bytes(DN, body.expect(OCTETS)?);
            }
            tag::DELETE => {
                fields.bytes(DN, body.rest());
            }
            tag::EXTENDED => {
                let extension = body.expect(0x80)?;
                if extension == START_TLS {
                    self.start_tls = Some(id);
                }
                fields.bytes(DN, &[]).bytes(EXTENSION, extension);
            }
            _ => {
                fields.bytes(DN, &[]);
            }
        }
        fields.tell(EventKind::Request, sink);
        Some(())
    }

    fn response(
        &mut self,
        id: i64,
        operation: u8,
        mut body: Ber<'_>,
        sink: &mut dyn EventSink,
    ) -> Option<()> {
        let name = match operation {
            tag::BIND_RESPONSE => "bind",
            tag::SEARCH_DONE => "search",
            tag::MODIFY_RESPONSE => "modify",
            tag::ADD_RESPONSE => "add",
            tag::DELETE_RESPONSE => "delete",
            tag::RENAME_RESPONSE => "rename",
            tag::COMPARE_RESPONSE => "compare",
            tag::EXTENDED_RESPONSE => "extended",
            // What was found is nobody's business.
            tag::ENTRY | tag::REFERENCE | tag::INTERMEDIATE => return Some(()),
            _ => return None,
        };
        let code = body.enumerated()?;
        let _matched = body.expect(OCTETS)?;
        let message = body.expect(OCTETS)?;
        if self.start_tls == Some(id) {
            self.start_tls = None;
            self.tls = code == 0;
        }
        let mut fields = Fields::<4>::new();
        fields
            .name(OPERATION, name)
            .name(RESULT, result_name(code))
            .number(RESULT_CODE, code.cast_unsigned())
            .some_bytes(MESSAGE, message);
        fields.tell(EventKind::Response, sink);
        Some(())
    }
}

/// A sealed message at the front: its length, and a token of Kerberos (RFC 4121, 4.2.6.2; RFC
/// 2743, 3.1) or NTLM.
fn is_sealed(bytes: &[u8]) -> bool {
    matches!(
        bytes,
        [0, _, _, _, 5, 4, _, 0xff, ..]
            | [0, _, _, _, 0x60, _, 6, 9, 0x2a, 0x86, 0x48, ..]
            | [0, _, _, _, 0x60, 0x81 | 0x82, ..]
            | [0, _, _, _, 1, 0, 0, 0, ..]
    )
}

/// The front of a message: outer sequence, id, operation and the first part of it.
fn look(bytes: &[u8], requests: bool) -> Sight {
    let mut partial = false;
    match look_into(bytes, requests, &mut partial) {
        Some(()) => Sight::Sound,
        None if partial => Sight::Partial,
        None => Sight::Foreign,
    }
}

/// None with `partial`: more bytes will tell.
fn look_into(bytes: &[u8], requests: bool, partial: &mut bool) -> Option<()> {
    (bytes.first() == Some(&SEQUENCE)).then_some(())?;
    let (_, length, content) = front(bytes, partial)?;
    (5..=MESSAGE_MAX).contains(&length).then_some(())?;
    let (kind, id_length, rest) = front(content, partial)?;
    (kind == INTEGER && (1..=4).contains(&id_length)).then_some(())?;
    let Some((id, rest)) = rest.split_at_checked(id_length) else {
        *partial = true;
        return None;
    };
    let id = ber::integer(id)?;
    let (operation, operation_length, body) = front(rest, partial)?;
    let first = match operation {
        _ if !requests && (id < 0 || response_part(operation).is_none()) => return None,
        _ if requests && (id < 1 || request_name(operation).is_none()) => return None,
        _ if requests => request_part(operation),
        _ => response_part(operation),
    };
    // Controls may follow the operation, nothing else.
    let used = content.len() - body.len() + operation_length;
    let left = length.checked_sub(used)?;
    if left > 0 && left < 4 {
        return None;
    }
    if left > 0 {
        match content.get(used) {
            Some(0xa0) => {}
            Some(_) => return None,
            None => *partial = true,
        }
    }
    match first {
        Some(0) | None if operation == tag::UNBIND => (operation_length == 0).then_some(()),
        Some(0) | None => (1..=4_096).contains(&operation_length).then_some(()),
        Some(wanted) => {
            let (found, part, rest) = front(body, partial)?;
            (found == wanted && part <= operation_length).then_some(())?;
            let small = matches!(wanted, INTEGER | ENUMERATED);
            if !small {
                return Some(());
            }
            let Some(&value) = rest.first() else {
                *partial = true;
                return None;
            };
            let version = operation != tag::BIND || (1..=3).contains(&value);
            (part <= 2 && version).then_some(())
        }
    }
}

/// Tag, length and what follows them.
fn front<'a>(bytes: &'a [u8], partial: &mut bool) -> Option<(u8, usize, &'a [u8])> {
    match Head::read(bytes) {
        Head::Whole { tag, head, length } => Some((tag, length, bytes.get(head..)?)),
        Head::Partial => {
            *partial = true;
            None
        }
        Head::Bad => None,
    }
}

fn request_name(operation: u8) -> Option<&'static str> {
    Some(match operation {
        tag::BIND => "bind",
        tag::UNBIND => "unbind",
        tag::SEARCH => "search",
        tag::MODIFY => "modify",
        tag::ADD => "add",
        tag::DELETE => "delete",
        tag::RENAME => "rename",
        tag::COMPARE => "compare",
        tag::ABANDON => "abandon",
        tag::EXTENDED => "extended",
        _ => return None,
    })
}

/// Tag of a request's first part; 0: it has none.
fn request_part(operation: u8) -> Option<u8> {
    Some(match operation {
        tag::BIND => INTEGER,
        tag::SEARCH | tag::MODIFY | tag::ADD | tag::RENAME | tag::COMPARE => OCTETS,
        tag::EXTENDED => 0x80,
        _ => 0,
    })
}

fn response_part(operation: u8) -> Option<u8> {
    Some(match operation {
        tag::BIND_RESPONSE
        | tag::SEARCH_DONE
        | tag::MODIFY_RESPONSE
        | tag::ADD_RESPONSE
        | tag::DELETE_RESPONSE
        | tag::RENAME_RESPONSE
        | tag::COMPARE_RESPONSE
        | tag::EXTENDED_RESPONSE => ENUMERATED,
        tag::ENTRY | tag::REFERENCE => OCTETS,
        tag::INTERMEDIATE => 0x80,
        _ => return None,
    })
}

/// RFC 4511, appendix A.
fn result_name(code: i64) -> &'static str {
    match code {
        0 => "success",
        1 => "operationsError",
        2 => "protocolError",
        3 => "timeLimitExceeded",
        4 => "sizeLimitExceeded",
        5 => "compareFalse",
        6 => "compareTrue",
        7 => "authMethodNotSupported",
        8 => "strongerAuthRequired",
        10 => "referral",
        11 => "adminLimitExceeded",
        12 => "unavailableCriticalExtension",
        13 => "confidentialityRequired",
        14 => "saslBindInProgress",
        16 => "noSuchAttribute",
        17 => "undefinedAttributeType",
        19 => "constraintViolation",
        20 => "attributeOrValueExists",
        21 => "invalidAttributeSyntax",
        32 => "noSuchObject",
        34 => "invalidDNSyntax",
        48 => "inappropriateAuthentication",
        49 => "invalidCredentials",
        50 => "insufficientAccessRights",
        51 => "busy",
        52 => "unavailable",
        53 => "unwillingToPerform",
        65 => "objectClassViolation",
        66 => "notAllowedOnNonLeaf",
        68 => "entryAlreadyExists",
        _ => "other",
    }
}
