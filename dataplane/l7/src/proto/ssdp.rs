//! SSDP: discovery of UPnP devices (UPnP Device Architecture 2.0, 1; draft-cai-ssdp-v1-03).
//!
//! Trusts nothing. Known on any port by the start line of HTTP over UDP: `M-SEARCH *`, `NOTIFY *`,
//! or a response with headers that only SSDP has. Violations: no such line. Memory: none.

use weir_wire::Direction;

use crate::fields::Fields;
use crate::read::sides::judge;
use crate::{
    Application, ByteSet, EventKind, EventSink, FieldSpec, Openings, Probe, ProbeInput, Step,
    Transport,
};

const LINES_MAX: usize = 64;
const SEARCH: &[u8] = b"M-SEARCH * HTTP/1.";
const NOTIFY: &[u8] = b"NOTIFY * HTTP/1.";
const RESPONSE: &[u8] = b"HTTP/1.";

const METHOD: u8 = 0;
const TARGET: u8 = 1;
const SERVICE_NAME: u8 = 2;
const LOCATION: u8 = 3;
const SERVER: u8 = 4;
const USER_AGENT: u8 = 5;
const STATUS: u8 = 6;
const NOTIFICATION: u8 = 7;

/// The parser: every message stands alone.
#[derive(Default)]
pub struct Ssdp;

impl Application for Ssdp {
    const NAME: &'static str = "ssdp";
    const ABOUT: &'static str = "Simple Service Discovery Protocol (UPnP Device Architecture 2.0)";
    const TRANSPORTS: &'static [Transport] = &[Transport::Udp];
    const PORTS: &'static [u16] = &[1900];
    const FIELDS: &'static [FieldSpec] = &[
        FieldSpec::condition("method", "M-SEARCH or NOTIFY; empty of a response"),
        FieldSpec::condition(
            "target",
            "What is searched for or told of: headers ST and NT",
        ),
        FieldSpec::text("usn", "Unique service name: header USN"),
        FieldSpec::text(
            "location",
            "Address of the device's description: header LOCATION",
        ),
        FieldSpec::text("server", "System and product of the device: header SERVER"),
        FieldSpec::text(
            "user_agent",
            "System and product of who searches: header USER-AGENT",
        ),
        FieldSpec::number("status", "Status of a response"),
        FieldSpec::text(
            "notification",
            "ssdp:alive, ssdp:byebye, ssdp:update: header NTS",
        ),
    ];
    const OPENINGS: Openings = Openings {
        to_server: ByteSet::of(b"MNH"),
        to_client: ByteSet::of(b"MNH"),
    };

    fn probe(input: &ProbeInput<'_>) -> Probe {
        let side = |bytes: &[u8]| match is_message(bytes) {
            true => Probe::Certain,
            false => Probe::NotMine,
        };
        judge(input, side, side)
    }

    fn parse(&mut self, _direction: Direction, input: &[u8], sink: &mut dyn EventSink) -> Step {
        if !is_message(input) {
            return Step::Violation("ssdp: neither a search nor an answer");
        }
        tell(input, sink);
        Step::Consumed(input.len())
    }

    fn gap(&mut self, _direction: Direction, _length: u64) -> bool {
        true
    }
}

fn is_message(input: &[u8]) -> bool {
    input.starts_with(SEARCH)
        || input.starts_with(NOTIFY)
        || input.starts_with(RESPONSE)
            && (header(input, b"st").is_some()
                || header(input, b"usn").is_some()
                || header(input, b"ext").is_some())
}

fn tell(input: &[u8], sink: &mut dyn EventSink) {
    let find = |name: &[u8]| header(input, name).unwrap_or_default();
    let response = input.starts_with(RESPONSE);
    let method = match input.first() {
        Some(b'M') => "M-SEARCH",
        Some(b'N') => "NOTIFY",
        _ => "",
    };
    let target = match find(b"st") {
        [] => find(b"nt"),
        target => target,
    };
    let status = match input.get(9..12) {
        Some(digits) if response && digits.iter().all(u8::is_ascii_digit) => {
            let value = |sum: u64, digit: &u8| sum * 10 + u64::from(digit - b'0');
            Some(digits.iter().fold(0, value))
        }
        _ => None,
    };
    let mut fields = Fields::<8>::new();
    fields
        .name(METHOD, method)
        .bytes(TARGET, target)
        .some_bytes(SERVICE_NAME, find(b"usn"))
        .some_bytes(LOCATION, find(b"location"))
        .some_bytes(SERVER, find(b"server"))
        .some_bytes(USER_AGENT, find(b"user-agent"))
        .some_number(STATUS, status)
        .some_bytes(NOTIFICATION, find(b"nts"));
    let kind = match response {
        true => EventKind::Response,
        false => EventKind::Request,
    };
    fields.tell(kind, sink);
}

/// Value of a header, without the spaces around it.
fn header<'a>(input: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    input
        .split(|&byte| byte == b'\n')
        .skip(1)
        .take(LINES_MAX)
        .find_map(|line| {
            let colon = line.iter().position(|&byte| byte == b':')?;
            let (found, value) = line.split_at_checked(colon)?;
            found
                .trim_ascii()
                .eq_ignore_ascii_case(name)
                .then(|| value.get(1..).unwrap_or_default().trim_ascii())
        })
}
