//! What rules ask of a connection beside bytes: its counts, and what its last message said.
//!
//! Trusts: the parsers' fields. Distrusts: what is in them. Memory: [`Told`], some forty bytes of each
//! connection.

use weir_l7::{AppId, Event as Message, EventKind as MessageKind, Field, proto::dns, registry};
use weir_sigs::Session;
use weir_sigs::rule::{End, SessionField, TlsState};
use weir_wire::Direction;

use crate::connection::Connection;

/// What the application of a connection has said, as far as rules ask for it.
#[derive(Clone, Copy, Default)]
pub struct Told {
    last: Last,
    /// As in the record; 0: no hello was seen.
    tls_version: u16,
    /// Of the last message.
    tls_state: Option<TlsState>,
    objection: Option<&'static str>,
}

/// Numbers of the last message.
#[derive(Clone, Copy, Default, PartialEq, Debug)]
enum Last {
    /// It has none that a rule asks for.
    #[default]
    Nothing,
    Dns {
        opcode: Option<u16>,
        rcode: Option<u16>,
        kind: Option<u16>,
    },
    Snmp {
        version: u8,
        pdu: Option<u8>,
    },
    Kerberos {
        kind: Option<u8>,
        error: Option<u32>,
    },
    Mqtt {
        kind: Option<u8>,
        /// Of the session.
        version: Option<u8>,
        reason: Option<u8>,
    },
    Call {
        interface: Option<[u8; 16]>,
        operation: Option<u16>,
    },
    Certificate {
        from_s: u64,
        until_s: u64,
    },
}

impl Told {
    /// Takes in what a message says; returns whether a rule may ask for something of it.
    pub fn take(&mut self, parser: AppId, message: &Message<'_>) -> bool {
        let Some(info) = registry::info(parser) else {
            return false;
        };
        let said = Said {
            fields: message.fields,
            specs: info.fields,
        };
        (self.tls_state, self.objection) = (None, None);
        let before = self.last;
        self.last = match info.name {
            "dns" => said.dns(before),
            "snmp" => said.snmp(),
            "kerberos" => said.kerberos(),
            "mqtt" => said.mqtt(before),
            "dcerpc" => said.call(),
            "tls" | "dtls" => return self.take_tls(&said, message.kind),
            _ => Last::Nothing,
        };
        self.last != Last::Nothing
    }

    /// Notes what the parser objected to: not the last message, which it took.
    pub fn object(&mut self, what: &'static str) {
        (self.last, self.tls_state) = (Last::Nothing, None);
        self.objection = Some(what);
    }

    fn take_tls(&mut self, said: &Said<'_>, kind: MessageKind) -> bool {
        self.last = said.certificate();
        let version = said.text("version").and_then(tls_version);
        if let Some(version) = version {
            self.tls_version = version;
            self.tls_state = Some(match kind {
                MessageKind::Request => TlsState::ClientHello,
                MessageKind::Response | MessageKind::Session => TlsState::ServerHello,
            });
        }
        version.is_some() || self.last != Last::Nothing
    }
}

/// The fields of a message, by name.
struct Said<'a> {
    fields: &'a [Field<'a>],
    specs: &'static [weir_l7::FieldSpec],
}

impl<'a> Said<'a> {
    fn field(&self, name: &str) -> Option<&'a Field<'a>> {
        let named = |field: &&Field<'_>| {
            let spec = self.specs.get(usize::from(field.index));
            spec.is_some_and(|spec| spec.name == name)
        };
        self.fields.iter().find(named)
    }

    fn text(&self, name: &str) -> Option<&'a [u8]> {
        self.field(name)?.value.as_bytes()
    }

    fn number(&self, name: &str) -> Option<u64> {
        match self.field(name)?.value {
            weir_l7::Value::Number(number) => Some(number),
            _ => None,
        }
    }

    fn dns(&self, before: Last) -> Last {
        // An answer is of the kind of its question.
        let asked = match before {
            Last::Dns { opcode, .. } => opcode,
            _ => None,
        };
        Last::Dns {
            opcode: self.text("opcode").and_then(dns::opcode_number).or(asked),
            rcode: self.text("rcode").and_then(dns::rcode_number),
            kind: self.text("type").and_then(dns::record_type_number),
        }
    }

    fn snmp(&self) -> Last {
        let version = match self.text("version") {
            Some(b"1") => 1,
            Some(b"2c") => 2,
            Some(b"3") => 3,
            _ => return Last::Nothing,
        };
        let pdu = match self.text("pdu") {
            Some(b"get") => Some(0),
            Some(b"get-next") => Some(1),
            Some(b"response") => Some(2),
            Some(b"set") => Some(3),
            Some(b"trap") if version == 1 => Some(4),
            Some(b"get-bulk") => Some(5),
            Some(b"inform") => Some(6),
            Some(b"trap") => Some(7),
            Some(b"report") => Some(8),
            _ => None,
        };
        Last::Snmp { version, pdu }
    }

    fn kerberos(&self) -> Last {
        let kind = match self.text("message_type") {
            Some(b"AS-REQ") => Some(10),
            Some(b"AS-REP") => Some(11),
            Some(b"TGS-REQ") => Some(12),
            Some(b"TGS-REP") => Some(13),
            Some(b"AP-REQ") => Some(14),
            Some(b"AP-REP") => Some(15),
            Some(b"KRB-SAFE") => Some(20),
            Some(b"KRB-PRIV") => Some(21),
            Some(b"KRB-CRED") => Some(22),
            Some(b"KRB-ERROR") => Some(30),
            _ => None,
        };
        Last::Kerberos {
            kind,
            error: self
                .number("error_code")
                .and_then(|code| code.try_into().ok()),
        }
    }

    fn mqtt(&self, before: Last) -> Last {
        let before = match before {
            Last::Mqtt { version, .. } => version,
            _ => None,
        };
        let kind = match self.text("type") {
            Some(b"CONNECT") => Some(1),
            // Only a CONNACK tells of a login without a name of its own.
            None if self.field("login").is_some() => Some(2),
            Some(b"PUBLISH") => Some(3),
            Some(b"PUBACK") => Some(4),
            Some(b"PUBREC") => Some(5),
            Some(b"SUBSCRIBE") => Some(8),
            Some(b"SUBACK") => Some(9),
            Some(b"UNSUBSCRIBE") => Some(10),
            Some(b"UNSUBACK") => Some(11),
            Some(b"DISCONNECT") => Some(14),
            _ => None,
        };
        let version = match self.text("version") {
            Some(b"3.1") => Some(3),
            Some(b"3.1.1") => Some(4),
            Some(b"5.0") => Some(5),
            _ => before,
        };
        Last::Mqtt {
            kind,
            version,
            reason: self.number("reason").and_then(|code| code.try_into().ok()),
        }
    }

    fn call(&self) -> Last {
        Last::Call {
            interface: self.text("interface").and_then(uuid),
            operation: self
                .number("operation")
                .and_then(|number| number.try_into().ok()),
        }
    }

    fn certificate(&self) -> Last {
        let time = |name| self.text(name).and_then(unix_time);
        match (time("not_before"), time("not_after")) {
            (from_s, Some(until_s)) => Last::Certificate {
                // Some begin before 1970.
                from_s: from_s.unwrap_or(0),
                until_s,
            },
            _ => Last::Nothing,
        }
    }
}

/// The number of a version that is told by name.
fn tls_version(name: &[u8]) -> Option<u16> {
    Some(match name {
        b"SSL 2.0" => 0x0002,
        b"SSL 3.0" => 0x0300,
        b"TLS 1.0" => 0x0301,
        b"TLS 1.1" => 0x0302,
        b"TLS 1.2" => 0x0303,
        b"TLS 1.3" => 0x0304,
        _ => return None,
    })
}

/// "367abb81-9844-35f1-ad32-98f038001003", as its bytes stand in the text.
fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut digits = text.iter().filter(|&&byte| byte != b'-');
    let mut digit = || (char::from(*digits.next()?)).to_digit(16);
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        *byte = u8::try_from(digit()? << 4 | digit()?).ok()?;
    }
    Some(bytes)
}

/// "2024-05-01T12:00:00Z" in seconds since 1970.
fn unix_time(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let time = humantime::parse_rfc3339(text).ok()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}

/// A connection as rules ask for it.
#[derive(Clone, Copy)]
pub struct Known {
    /// What its application said.
    pub told: Told,
    packets: [u64; 2],
    bytes: [u64; 2],
    stream_bytes: [u64; 2],
    age_s: u64,
    /// The time of day.
    unix_s: u64,
}

impl Known {
    /// All there is at this time, on a clock that began at `zero_unix_us`.
    pub fn of(cold: &Connection, now_us: u64, zero_unix_us: u64) -> Self {
        let reading = cold.reading.as_deref();
        let stream = |side: usize| match reading {
            Some(reading) if reading.streams_open[side] => reading.streams[side]
                .next_sequence()
                .wrapping_sub(reading.stream_begins[side])
                .into(),
            _ => 0,
        };
        Self {
            told: reading.map_or_else(Told::default, |reading| reading.told_by_application),
            packets: cold.packets,
            bytes: cold.bytes,
            stream_bytes: [stream(0), stream(1)],
            age_s: now_us.saturating_sub(cold.first_seen_us) / 1_000_000,
            unix_s: zero_unix_us.saturating_add(now_us) / 1_000_000,
        }
    }
}

/// Of one end; both are asked for one by one.
fn of_end(counts: [u64; 2], end: End) -> Option<u64> {
    match end {
        End::Client => Some(counts[Direction::ToServer as usize]),
        End::Server => Some(counts[Direction::ToClient as usize]),
        End::Either | End::Both => None,
    }
}

impl Session for Known {
    fn number(&self, field: SessionField) -> Option<u64> {
        use SessionField as Ask;
        match (field, self.told.last) {
            (Ask::StreamSize(end), _) => of_end(self.stream_bytes, end),
            (Ask::FlowPackets(end), _) => of_end(self.packets, end),
            (Ask::FlowBytes(end), _) => of_end(self.bytes, end),
            (Ask::FlowAge, _) => Some(self.age_s),
            (Ask::DnsOpcode, Last::Dns { opcode, .. }) => opcode.map(u64::from),
            (Ask::DnsRcode, Last::Dns { rcode, .. }) => rcode.map(u64::from),
            (Ask::DnsType, Last::Dns { kind, .. }) => kind.map(u64::from),
            (Ask::SnmpVersion, Last::Snmp { version, .. }) => Some(version.into()),
            (Ask::SnmpPdu, Last::Snmp { pdu, .. }) => pdu.map(u64::from),
            (Ask::KerberosMessage, Last::Kerberos { kind, .. }) => kind.map(u64::from),
            (Ask::KerberosError, Last::Kerberos { error, .. }) => error.map(u64::from),
            (Ask::MqttType, Last::Mqtt { kind, .. }) => kind.map(u64::from),
            (Ask::MqttVersion, Last::Mqtt { version, .. }) => version.map(u64::from),
            (Ask::MqttReason, Last::Mqtt { reason, .. }) => reason.map(u64::from),
            (
                Ask::DnsOpcode
                | Ask::DnsRcode
                | Ask::DnsType
                | Ask::SnmpVersion
                | Ask::SnmpPdu
                | Ask::KerberosMessage
                | Ask::KerberosError
                | Ask::MqttType
                | Ask::MqttVersion
                | Ask::MqttReason,
                _,
            ) => None,
        }
    }

    fn objection(&self) -> Option<&'static str> {
        self.told.objection
    }

    fn tls_version(&self) -> Option<u16> {
        Some(self.told.tls_version).filter(|&version| version != 0)
    }

    fn tls_state(&self) -> Option<TlsState> {
        self.told.tls_state
    }

    fn certificate_expired(&self) -> Option<bool> {
        let (_, until_s) = self.certificate_validity()?;
        Some(until_s < self.unix_s)
    }

    fn certificate_validity(&self) -> Option<(u64, u64)> {
        match self.told.last {
            Last::Certificate { from_s, until_s } => Some((from_s, until_s)),
            _ => None,
        }
    }

    fn dce_interface(&self) -> Option<[u8; 16]> {
        match self.told.last {
            Last::Call { interface, .. } => interface,
            _ => None,
        }
    }

    fn dce_operation(&self) -> Option<u16> {
        match self.told.last {
            Last::Call { operation, .. } => operation,
            _ => None,
        }
    }

    fn dce_is_little(&self) -> Option<bool> {
        // A sender of the other order is not told; nobody has met one in decades.
        matches!(self.told.last, Last::Call { .. }).then_some(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_l7::Value;

    /// What is answered behind one message of `application` with these fields.
    fn after(application: &str, kind: MessageKind, fields: &[(&str, Value<'static>)]) -> Known {
        let parser = registry::by_name(application).unwrap();
        let field = |&(name, value): &(&str, Value<'static>)| Field {
            index: registry::field(&format!("{application}.{name}"))
                .unwrap()
                .index,
            value,
        };
        let fields: Vec<Field<'_>> = fields.iter().map(field).collect();
        let mut known = Known::of(&Connection::default(), 5_000_000, 1_800_000_000_000_000);
        let message = Message {
            kind,
            fields: &fields,
        };
        assert!(known.told.take(parser, &message), "{application}");
        known
    }

    #[test]
    fn each_number_of_a_message_is_answered() {
        use SessionField as Ask;
        let request = MessageKind::Request;
        let name = Value::Name;
        let cases = [
            ("dns", ("opcode", name("UPDATE")), Ask::DnsOpcode, 5),
            ("dns", ("rcode", name("NXDOMAIN")), Ask::DnsRcode, 3),
            ("dns", ("type", name("TYPE4711")), Ask::DnsType, 4711),
            ("snmp", ("version", name("2c")), Ask::SnmpVersion, 2),
            (
                "kerberos",
                ("message_type", name("AS-REQ")),
                Ask::KerberosMessage,
                10,
            ),
            (
                "kerberos",
                ("error_code", Value::Number(25)),
                Ask::KerberosError,
                25,
            ),
            ("mqtt", ("type", name("SUBSCRIBE")), Ask::MqttType, 8),
            ("mqtt", ("login", name("failed")), Ask::MqttType, 2),
            ("mqtt", ("version", name("3.1.1")), Ask::MqttVersion, 4),
            ("mqtt", ("reason", Value::Number(135)), Ask::MqttReason, 135),
        ];
        for (application, field, ask, number) in cases {
            let known = after(application, request, &[field]);
            assert_eq!(known.number(ask), Some(number), "{ask:?}");
            assert_eq!(known.number(Ask::FlowAge), Some(5));
        }
        let fields = [("version", name("1")), ("pdu", name("trap"))];
        let known = after("snmp", request, &fields);
        assert_eq!(known.number(Ask::SnmpPdu), Some(4));
    }

    #[test]
    fn calls_and_certificates_are_answered() {
        let fields = [
            (
                "interface",
                Value::Name("367abb81-9844-35f1-ad32-98f038001003"),
            ),
            ("operation", Value::Number(12)),
        ];
        let known = after("dcerpc", MessageKind::Request, &fields);
        let interface = known.dce_interface().unwrap();
        assert_eq!(interface[..5], [0x36, 0x7a, 0xbb, 0x81, 0x98]);
        assert_eq!(known.dce_operation(), Some(12));
        // The clock stands five seconds after 2027-01-15T08:00:00Z.
        for (until, expired) in [
            ("2027-01-15T08:00:04Z", true),
            ("2027-01-15T08:00:06Z", false),
        ] {
            let fields = [
                ("not_before", Value::Name("1960-01-01T00:00:00Z")),
                ("not_after", Value::Name(until)),
            ];
            let known = after("tls", MessageKind::Session, &fields);
            assert_eq!(known.certificate_expired(), Some(expired), "{until}");
        }
    }

    #[test]
    fn a_hello_is_a_state_only_while_it_is_the_last_message() {
        let hello = ("version", Value::Name("TLS 1.1"));
        let mut known = after("tls", MessageKind::Response, &[hello]);
        assert_eq!(known.tls_state(), Some(TlsState::ServerHello));
        let parser = registry::by_name("tls").unwrap();
        let other = Message {
            kind: MessageKind::Session,
            fields: &[],
        };
        assert!(!known.told.take(parser, &other));
        assert_eq!(
            (known.tls_state(), known.tls_version()),
            (None, Some(0x0302))
        );
    }
}
