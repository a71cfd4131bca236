//! DCE/RPC: which interface is bound and which of its operations are called (C706: DCE 1.1 RPC;
//! MS-RPCE). Version 5 over TCP, version 4 over UDP.
//!
//! Trusts nothing. Every message begins with a header that is checked in full; what a call carries
//! is skipped by its length. What is bound is lost with a gap, so the parser gives up there.
//! Violations: messages without a header. Memory: the interfaces bound, and a user's name.

use std::fmt::Write as _;

use arrayvec::{ArrayString, ArrayVec};
use weir_wire::Direction;

use crate::read::content::Run;
use crate::read::ntlmssp;
use crate::{
    Application, Blocks, Buffer, BufferSet, ByteSet, Event, EventKind, EventSink, Field, FieldKind,
    FieldSpec, Openings, Probe, ProbeInput, Seen, Step, Transport,
};

/// Version 5's common header (C706, 12.6.3.1).
const HEADER: usize = 16;
/// Behind it: hint, context, operation (C706, 12.6.4.9).
const CALL_HEADER: usize = 24;
/// How much of a bind is looked at; real ones are below 2,000 bytes.
const BIND_MAX: usize = 4_096;
/// Version 4's header (C706, 12.5.2).
const DATAGRAM_HEADER: usize = 80;
/// Interfaces remembered of a connection; Windows binds up to four at once.
const CONTEXTS_MAX: usize = 8;
const FIRST_FRAGMENT: u8 = 1;
const LAST_FRAGMENT: u8 = 2;
/// An object stands behind the header of a call.
const OBJECT: u8 = 0x80;
/// What stands before a signature.
const SIGNATURE_HEADER: usize = 8;

const INTERFACE: u8 = 0;
const NAME: u8 = 1;
const OPERATION: u8 = 2;
const CALL: u8 = 3;
const STATUS: u8 = 4;
const USER: u8 = 5;
const DOMAIN: u8 = 6;

const REQUEST: u8 = 0;
const RESPONSE: u8 = 2;
const FAULT: u8 = 3;
const BIND: u8 = 11;
const BIND_ACK: u8 = 12;
const BIND_NAK: u8 = 13;
const ALTER: u8 = 14;
const ALTER_ACK: u8 = 15;
const AUTH3: u8 = 16;

type Uuid = [u8; 16];
type UuidText = ArrayString<36>;

/// The parser.
#[derive(Default)]
pub struct Dcerpc {
    datagrams: bool,
    contexts: ArrayVec<(u16, Uuid), CONTEXTS_MAX>,
    stub: Stub,
}

/// The arguments of the call at hand, where somebody looks into them.
#[derive(Default)]
struct Stub {
    run: Run,
    /// What stands behind them in the fragment.
    behind: u32,
    /// They go on in the next fragment.
    open: bool,
}

/// A checked header of version 5.
struct Header {
    kind: u8,
    flags: u8,
    little: bool,
    length: usize,
    authentication: usize,
}

impl Application for Dcerpc {
    const NAME: &'static str = "dcerpc";
    const ABOUT: &'static str =
        "DCE/RPC, as Windows' services speak it (C706; MS-RPCE), over TCP and UDP";
    const TRANSPORTS: &'static [Transport] = &[Transport::Tcp, Transport::Udp];
    const PORTS: &'static [u16] = &[135, 593];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("interface", "UUID of the interface (C706, 12.6.4.3)"),
        FieldSpec::condition(
            "name",
            "Its name where known: epmapper, netlogon, samr, svcctl … (MS-RPCE, 1.9 and others)",
        ),
        FieldSpec {
            name: "operation",
            kind: FieldKind::Number,
            condition: true,
            buffer: None,
            about: "Number of the operation called (C706, 12.6.4.9)",
        },
        FieldSpec::text("call", "request, bind, alter, fault … (C706, 12.6.4)"),
        FieldSpec::number(
            "status",
            "Status of a fault, or reason of a refusal (C706, 12.6.4.7)",
        ),
        FieldSpec::text("user", "User who logs in by NTLM (MS-NLMP, 2.2.1.3)"),
        FieldSpec::text("domain", "The user's domain (MS-NLMP, 2.2.1.3)"),
    ];
    const CONTENTS: BufferSet = BufferSet::EMPTY.with(Buffer::DcerpcStub);
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(&[4, 5]),
        to_client: ByteSet::of(&[4, 5]),
    };
    const SEEN: Seen = Seen::Live;

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let judge = if input.transport == Transport::Tcp {
            probe_stream
        } else {
            probe_datagram
        };
        let client = judge(input.to_server, Direction::ToServer);
        let server = judge(input.to_client, Direction::ToClient);
        match (client, server) {
            // Picked up, one side may begin within a message.
            (Probe::Certain, Probe::NotMine) | (Probe::NotMine, Probe::Certain)
                if !input.from_start =>
            {
                Probe::Certain
            }
            (Probe::NotMine, _) | (_, Probe::NotMine) => Probe::NotMine,
            (Probe::Certain, _) | (_, Probe::Certain) => Probe::Certain,
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
            return match datagram(input, direction, sink) {
                Some(()) => Step::Consumed(input.len()),
                None => Step::Violation("dcerpc: datagram without a header"),
            };
        }
        if direction == Direction::ToServer {
            if self.stub.run.goes_on() {
                return self.stub.run.hand_on(Buffer::DcerpcStub, input, sink);
            }
            if self.stub.behind > 0 {
                return Step::Skip(std::mem::take(&mut self.stub.behind).into());
            }
        }
        if input.len() < HEADER {
            return Step::Incomplete;
        }
        let Some(header) = header(input, direction) else {
            return Step::Violation("dcerpc: message without a header");
        };
        let wanted = match header.kind {
            REQUEST | FAULT => header.length.min(CALL_HEADER + 16),
            BIND | ALTER | AUTH3 | BIND_NAK => header.length.min(BIND_MAX),
            _ => HEADER,
        };
        let Some(message) = input.get(..wanted) else {
            return Step::Incomplete;
        };
        match header.kind {
            REQUEST if header.flags & FIRST_FRAGMENT != 0 => self.request(&header, message, sink),
            FAULT => fault(message.get(CALL_HEADER..), header.little, sink),
            BIND | ALTER => self.bind(&header, message, sink),
            BIND_NAK => refusal(message, header.little, sink),
            _ => {}
        }
        if matches!(header.kind, BIND | ALTER | AUTH3) && header.authentication > 0 {
            log_in(message, sink);
        }
        if header.kind == REQUEST && sink.wants(Buffer::DcerpcStub) {
            return self.arguments(&header, sink);
        }
        Step::Skip(header.length as u64)
    }

    fn gap(&mut self, direction: Direction, length: u64) -> bool {
        let covered = direction == Direction::ToServer && self.stub.run.covers(length);
        if covered {
            self.stub.open = false;
        }
        covered
    }
}

impl Dcerpc {
    /// What a fragment of a call holds between its header and who signs it (C706, 12.6.4.9).
    fn arguments(&mut self, header: &Header, sink: &mut dyn EventSink) -> Step {
        let object = if header.flags & OBJECT != 0 { 16 } else { 0 };
        let front = CALL_HEADER + object;
        let signed = match header.authentication {
            0 => 0,
            length => length + SIGNATURE_HEADER,
        };
        let length = header.length.checked_sub(front + signed);
        let begins = header.flags & FIRST_FRAGMENT != 0;
        let ends = header.flags & LAST_FRAGMENT != 0;
        let Some(length) = length.filter(|_| begins || self.stub.open) else {
            self.stub.open = false;
            return Step::Skip(header.length as u64);
        };
        self.stub = Stub {
            run: Run::new(Buffer::DcerpcStub, length as u64, (begins, ends), sink),
            behind: u32::try_from(signed).unwrap_or(u32::MAX),
            open: !ends,
        };
        Step::Consumed(front)
    }

    /// Context elements: id, one abstract syntax, some transfer syntaxes (C706, 12.6.3.1).
    fn bind(&mut self, header: &Header, message: &[u8], sink: &mut dyn EventSink) {
        let call = if header.kind == BIND { "bind" } else { "alter" };
        let count = message.get(CALL_HEADER).copied().unwrap_or_default();
        let mut rest = message.get(CALL_HEADER + 4..).unwrap_or_default();
        for _ in 0..count {
            let (Some(id), Some(&transfers), Some(uuid)) = (
                number16(rest, header.little),
                rest.get(2),
                rest.get(4..).and_then(|rest| rest.first_chunk::<16>()),
            ) else {
                return;
            };
            let uuid = network_order(*uuid, header.little);
            rest = rest
                .get(4 + 20 + 20 * usize::from(transfers)..)
                .unwrap_or_default();
            // What is offered for feature negotiation (MS-RPCE, 3.3.1.5.3) repeats an interface.
            let known = self.contexts.iter().any(|(_, known)| *known == uuid);
            self.contexts.retain(|(old, _)| *old != id);
            // Beyond the limit a call tells no interface.
            let _ = self.contexts.try_push((id, uuid));
            if !known {
                tell(EventKind::Session, call, Some(uuid), None, sink);
            }
        }
    }

    fn request(&self, header: &Header, message: &[u8], sink: &mut dyn EventSink) {
        let context = message
            .get(20..)
            .and_then(|rest| number16(rest, header.little));
        let operation = message
            .get(22..)
            .and_then(|rest| number16(rest, header.little));
        let bound = self.contexts.iter().find(|(id, _)| Some(*id) == context);
        tell(
            EventKind::Request,
            "request",
            bound.map(|(_, uuid)| *uuid),
            Some(operation.unwrap_or_default()),
            sink,
        );
    }
}

fn log_in(message: &[u8], sink: &mut dyn EventSink) {
    if let Some(login) = ntlmssp::login(message) {
        let fields = [
            Field::bytes(USER, &login.user),
            Field::bytes(DOMAIN, &login.domain),
        ];
        sink.event(&Event {
            kind: EventKind::Session,
            fields: &fields,
        });
    }
}

fn tell(
    kind: EventKind,
    call: &'static str,
    interface: Option<Uuid>,
    operation: Option<u16>,
    sink: &mut dyn EventSink,
) {
    let text = interface.map(uuid_text).unwrap_or_default();
    let mut fields: ArrayVec<Field<'_>, 4> = ArrayVec::new();
    fields.push(Field::bytes(INTERFACE, text.as_bytes()));
    let known = name_of(&text);
    if kind == EventKind::Request || !known.is_empty() {
        fields.push(Field::name(NAME, known));
    }
    if let Some(operation) = operation {
        fields.push(Field::number(OPERATION, operation.into()));
    }
    fields.push(Field::name(CALL, call));
    sink.event(&Event {
        kind,
        fields: &fields,
    });
}

fn tell_status(call: &'static str, status: u32, sink: &mut dyn EventSink) {
    let status = Field::number(STATUS, status.into());
    sink.event(&Event {
        kind: EventKind::Response,
        fields: &[Field::name(CALL, call), status],
    });
}

fn fault(body: Option<&[u8]>, little: bool, sink: &mut dyn EventSink) {
    if let Some(status) = body.and_then(|body| number32(body, little)) {
        tell_status("fault", status, sink);
    }
}

fn refusal(message: &[u8], little: bool, sink: &mut dyn EventSink) {
    let reason = message
        .get(HEADER..)
        .and_then(|rest| number16(rest, little));
    tell_status("bind-nak", reason.unwrap_or_default().into(), sink);
}

fn number16(bytes: &[u8], little: bool) -> Option<u16> {
    let bytes = *bytes.first_chunk()?;
    Some(match little {
        true => u16::from_le_bytes(bytes),
        false => u16::from_be_bytes(bytes),
    })
}

fn number32(bytes: &[u8], little: bool) -> Option<u32> {
    let bytes = *bytes.first_chunk()?;
    Some(match little {
        true => u32::from_le_bytes(bytes),
        false => u32::from_be_bytes(bytes),
    })
}

/// The first three parts of a UUID are numbers: in the sender's order.
fn network_order(uuid: Uuid, little: bool) -> Uuid {
    if !little {
        return uuid;
    }
    let [a, b, c, d, e, f, g, h, rest @ ..] = uuid;
    let mut ordered = [d, c, b, a, f, e, h, g, 0, 0, 0, 0, 0, 0, 0, 0];
    for (to, from) in ordered.iter_mut().skip(8).zip(rest) {
        *to = from;
    }
    ordered
}

fn uuid_text(uuid: Uuid) -> UuidText {
    let mut text = UuidText::new();
    for (at, byte) in uuid.iter().enumerate() {
        let dash = if matches!(at, 4 | 6 | 8 | 10) {
            "-"
        } else {
            ""
        };
        let _ = write!(text, "{dash}{byte:02x}");
    }
    text
}

/// A header at the front, every part of it as the protocol allows it.
fn header(input: &[u8], direction: Direction) -> Option<Header> {
    let &[
        5,
        0..=1,
        kind,
        flags,
        drep,
        float @ 0..=3,
        0,
        0,
        a,
        b,
        c,
        d,
        _,
        _,
        _,
        _,
    ] = input.first_chunk::<HEADER>()?
    else {
        return None;
    };
    let little = match drep {
        0x10 => true,
        0 if float == 0 => false,
        _ => return None,
    };
    let [length, authentication] = match little {
        true => [u16::from_le_bytes([a, b]), u16::from_le_bytes([c, d])],
        false => [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])],
    };
    let least = match (kind, direction) {
        (REQUEST, Direction::ToServer) => CALL_HEADER,
        (RESPONSE, Direction::ToClient) => CALL_HEADER,
        (FAULT, Direction::ToClient) => CALL_HEADER + 4,
        (BIND | ALTER, Direction::ToServer) => CALL_HEADER + 4,
        (BIND_ACK | ALTER_ACK, Direction::ToClient) => CALL_HEADER + 4,
        (BIND_NAK, Direction::ToClient) => HEADER + 2,
        (AUTH3 | 18 | 19, Direction::ToServer) => HEADER,
        // Shutdown; housekeeping of RPC over HTTP (MS-RPCH, 2.2.3.2).
        (17, Direction::ToClient) | (20, _) => HEADER,
        _ => return None,
    };
    let trailer = match authentication {
        0 => 0,
        length => usize::from(length) + 8,
    };
    (usize::from(length) >= least + trailer).then_some(Header {
        kind,
        flags,
        little,
        length: length.into(),
        authentication: authentication.into(),
    })
}

fn probe_stream(input: &[u8], direction: Direction) -> Probe {
    if input.len() >= HEADER {
        return match header(input, direction) {
            Some(_) => Probe::Certain,
            None => Probe::NotMine,
        };
    }
    let fits = input.iter().enumerate().all(|(at, &byte)| match at {
        0 => byte == 5,
        1 => byte <= 1,
        2 => byte <= 20,
        4 => matches!(byte, 0 | 0x10),
        5 => byte <= 3,
        6 | 7 => byte == 0,
        _ => true,
    });
    match fits {
        true => Probe::Unsure,
        false => Probe::NotMine,
    }
}

fn probe_datagram(input: &[u8], direction: Direction) -> Probe {
    match input.is_empty() {
        true => Probe::Unsure,
        false if datagram_header(input, direction).is_some() => Probe::Certain,
        false => Probe::NotMine,
    }
}

/// Kind and byte order of a datagram of version 4.
fn datagram_header(input: &[u8], direction: Direction) -> Option<(u8, bool)> {
    let header = input.first_chunk::<DATAGRAM_HEADER>()?;
    let &[4, kind, first, second, drep, 0..=3, 0, ..] = header else {
        return None;
    };
    let little = match drep {
        0x10 => true,
        0 => false,
        _ => return None,
    };
    let length = usize::from(number16(header.get(74..)?, little)?);
    let authentication = header.get(78).copied()?;
    let rest = input.len() - DATAGRAM_HEADER;
    let fits = match authentication {
        0 => length == rest,
        1 | 9 | 10 | 16 | 68 => length <= rest,
        _ => false,
    };
    // Pings and quits are the client's; anything else also comes with a call back.
    let way = kind <= 10 && (direction == Direction::ToServer || !matches!(kind, 1 | 8));
    let named = header.get(24..40).is_some_and(|uuid| uuid != [0; 16]);
    let active = header.get(40..56).is_some_and(|uuid| uuid != [0; 16]);
    // Reserved for the implementation, or for nobody.
    let flags = first & 0x81 == 0 && second & 0xf9 == 0;
    (fits && way && named && active && flags).then_some((kind, little))
}

/// None: no header.
fn datagram(input: &[u8], direction: Direction, sink: &mut dyn EventSink) -> Option<()> {
    let (kind, little) = datagram_header(input, direction)?;
    match kind {
        REQUEST => {
            let uuid = *input.get(24..)?.first_chunk::<16>()?;
            let operation = number16(input.get(68..)?, little)?;
            let fragment = number16(input.get(76..)?, little)?;
            if fragment == 0 {
                let uuid = network_order(uuid, little);
                tell(
                    EventKind::Request,
                    "request",
                    Some(uuid),
                    Some(operation),
                    sink,
                );
            }
        }
        FAULT => fault(input.get(DATAGRAM_HEADER..), little, sink),
        6 => {
            let status = number32(input.get(DATAGRAM_HEADER..)?, little);
            tell_status("reject", status.unwrap_or_default(), sink);
        }
        _ => {}
    }
    Some(())
}

/// The interfaces that are met most, from the Windows protocols' documents.
fn name_of(uuid: &str) -> &'static str {
    match uuid {
        "e1af8308-5d1f-11c9-91a4-08002b14a0fa" => "epmapper",
        "afa8bd80-7d8a-11c9-bef4-08002b102989" => "mgmt",
        "12345678-1234-abcd-ef00-01234567cffb" => "netlogon",
        "12345778-1234-abcd-ef00-0123456789ab" => "lsarpc",
        "12345778-1234-abcd-ef00-0123456789ac" => "samr",
        "12345678-1234-abcd-ef00-0123456789ab" => "spoolss",
        "76f03f96-cdfd-44fc-a22c-64950a001209" => "par",
        "367abb81-9844-35f1-ad32-98f038001003" => "svcctl",
        "4b324fc8-1670-01d3-1278-5a47bf6ee188" => "srvsvc",
        "6bffd098-a112-3610-9833-46c3f87e345a" => "wkssvc",
        "338cd001-2244-31f1-aaaa-900038001003" => "winreg",
        "e3514235-4b06-11d1-ab04-00c04fc2dcd2" => "drsuapi",
        "3919286a-b10c-11d0-9ba8-00c04fd92ef5" => "dssetup",
        "1ff70682-0a51-30e8-076d-740be8cee98b" => "atsvc",
        "86d35949-83c9-4044-b424-db363231fd0c" => "tasks",
        "378e52b0-c0a9-11cf-822d-00aa0051e40f" => "sasec",
        "82273fdc-e32a-18c3-3f78-827929dc23ea" => "eventlog",
        "f6beaff7-1e19-4fbb-9f8f-b89e2018337c" => "eventlog6",
        "99fcfec4-5260-101b-bbcb-00aa0021347a" => "oxid",
        "4d9f4ab8-7d1c-11cf-861e-0020af6e7c57" => "remact",
        "000001a0-0000-0000-c000-000000000046" => "scm-activator",
        "00000131-0000-0000-c000-000000000046" => "rem-unknown",
        "00000143-0000-0000-c000-000000000046" => "rem-unknown2",
        "f309ad18-d86a-11d0-a075-00c04fb68820" => "wmi-login",
        "9556dc99-828c-11cf-a37e-00aa003240c7" => "wmi-services",
        "50abc2a4-574d-40b3-9d66-ee4fd5fba076" => "dns-server",
        "c681d488-d850-11d0-8c52-00c04fd90f7e" => "efs",
        "df1941c5-fe89-4e79-bf10-463657acf44d" => "efs2",
        "4fc742e0-4a10-11cf-8273-00aa004ae673" => "dfs",
        "a8e0653c-2744-4389-a61d-7373df8b2292" => "file-shadow-copy",
        "a4f1db00-ca47-1067-b31f-00dd010662da" => "exchange",
        "1544f5e0-613c-11d1-93df-00c04fd7bd09" => "exchange-referral",
        "f5cc5a18-4264-101a-8c59-08002b2f8426" => "exchange-directory",
        "5a7b91f8-ff00-11d0-a9b2-00c04fb6e6fc" => "messenger",
        "dea00001-6c97-11d1-8271-00a02442df7d" => "profinet-device",
        "dea00002-6c97-11d1-8271-00a02442df7d" => "profinet-controller",
        "5ca4a760-ebb1-11cf-8611-00a0245420ed" => "terminal-services",
        "d95afe70-a6d5-4259-822e-2c84da1ddb0d" => "shutdown",
        _ => "",
    }
}
