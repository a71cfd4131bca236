//! The fields of the hellos, which TLS, DTLS and QUIC share: the same numbers in each table.

use crate::read::content;
use crate::{Buffer, BufferSet, Event, EventKind, EventSink, Field, FieldSpec};

pub(crate) const SNI: u8 = 0;
pub(crate) const ALPN: u8 = 1;
pub(crate) const VERSION: u8 = 2;
pub(crate) const CIPHER: u8 = 3;
pub(crate) const JA3: u8 = 4;
pub(crate) const JA3S: u8 = 5;
pub(crate) const JA4: u8 = 6;
pub(crate) const SIDE: u8 = 7;
pub(crate) const SUBJECT: u8 = 8;
pub(crate) const ISSUER: u8 = 9;
pub(crate) const NAME: u8 = 10;
pub(crate) const SPIFFE_ID: u8 = 11;
pub(crate) const NOT_BEFORE: u8 = 12;
pub(crate) const NOT_AFTER: u8 = 13;
pub(crate) const ALERT_LEVEL: u8 = 14;
pub(crate) const ALERT: u8 = 15;
pub(crate) const NOTE: u8 = 16;
pub(crate) const NAME_ADDRESS: u8 = 17;
pub(crate) const HEARTBEAT: u8 = 18;
pub(crate) const HEARTBEAT_CLAIM: u8 = 19;
pub(crate) const HEARTBEAT_LENGTH: u8 = 20;

pub(crate) const SNI_SPEC: FieldSpec = FieldSpec::condition(
    "sni",
    "Server name the client asks for, lower case (RFC 6066, 3); empty without one.",
)
.looked_into_as(Buffer::TlsSni);
pub(crate) const ALPN_SPEC: FieldSpec = FieldSpec::condition(
    "alpn",
    "Application protocols offered, joined by commas, or the one chosen (RFC 7301).",
);
pub(crate) const VERSION_SPEC: FieldSpec =
    FieldSpec::text("version", "Highest version offered, or the one chosen.");
pub(crate) const CIPHER_SPEC: FieldSpec = FieldSpec {
    name: "cipher",
    kind: crate::FieldKind::Number,
    condition: false,
    buffer: None,
    about: "Cipher suite chosen (IANA TLS Cipher Suites).",
};
pub(crate) const JA3_SPEC: FieldSpec = FieldSpec::text(
    "ja3",
    "JA3 fingerprint of the ClientHello (github.com/salesforce/ja3).",
)
.looked_into_as(Buffer::Ja3Hash);
pub(crate) const JA3S_SPEC: FieldSpec = FieldSpec::text(
    "ja3s",
    "JA3S fingerprint of the ServerHello (github.com/salesforce/ja3).",
)
.looked_into_as(Buffer::Ja3sHash);
pub(crate) const JA4_SPEC: FieldSpec = FieldSpec::text(
    "ja4",
    "JA4 fingerprint of the ClientHello (github.com/FoxIO-LLC/ja4).",
)
.looked_into_as(Buffer::Ja4Hash);

/// The fields of TLS and DTLS.
pub(crate) const TLS: &[FieldSpec] = &[
    SNI_SPEC,
    ALPN_SPEC,
    VERSION_SPEC,
    CIPHER_SPEC,
    JA3_SPEC,
    JA3S_SPEC,
    JA4_SPEC,
    FieldSpec::text("side", "Who sent it: client or server."),
    FieldSpec::text(
        "subject",
        "Subject of the certificate, up to TLS 1.2 (RFC 5280, 4.1.2.6).",
    )
    .looked_into_as(Buffer::TlsSubject),
    FieldSpec::text(
        "issuer",
        "Issuer of the certificate, up to TLS 1.2 (RFC 5280, 4.1.2.4).",
    )
    .looked_into_as(Buffer::TlsIssuer),
    FieldSpec::text(
        "san",
        "Alternative name in the certificate: host, mail or URI (RFC 5280, 4.2.1.6).",
    )
    .looked_into_as(Buffer::TlsAlternativeName),
    FieldSpec::text(
        "spiffe_id",
        "SPIFFE identity in the certificate (SPIFFE X.509-SVID, 2).",
    ),
    FieldSpec::text(
        "not_before",
        "Begin of the certificate's validity, UTC (RFC 5280, 4.1.2.5).",
    ),
    FieldSpec::text(
        "not_after",
        "End of the certificate's validity, UTC (RFC 5280, 4.1.2.5).",
    ),
    FieldSpec::text(
        "alert_level",
        "Level of an alert in the clear: warning or fatal (RFC 5246, 7.2).",
    ),
    FieldSpec::text(
        "alert",
        "Description of an alert in the clear (RFC 8446, 6).",
    ),
    FieldSpec::text(
        "note",
        "What a hello means: dns over tls (RFC 7858), ech (RFC 9849), retry (RFC 8446, 4.1.4), sslv2 hello (RFC 5246, E.2).",
    ),
    FieldSpec {
        name: "san_address",
        kind: crate::FieldKind::Address,
        condition: false,
        buffer: None,
        about: "Address among the certificate's alternative names (RFC 5280, 4.2.1.6).",
    },
    FieldSpec::text(
        "heartbeat",
        "A heartbeat (RFC 6520): request, response, encrypted, or encrypted before any data.",
    ),
    FieldSpec::number(
        "heartbeat_claim",
        "Bytes that a heartbeat in the clear says it carries.",
    ),
    FieldSpec::number("heartbeat_length", "Bytes of the heartbeat's record."),
];

/// What TLS and DTLS tell beside them.
pub(crate) const CONTENTS: BufferSet = BufferSet::EMPTY
    .with(Buffer::TlsVersion)
    .with(Buffer::TlsAlpn)
    .with(Buffer::TlsSerial)
    .with(Buffer::TlsFingerprint)
    .with(Buffer::TlsCertificate)
    .with(Buffer::Ja3String)
    .with(Buffer::Ja3sString);

pub(crate) fn tell(kind: EventKind, fields: &[Field<'_>], sink: &mut dyn EventSink) {
    sink.event(&Event { kind, fields });
}

/// Tells of an alert in the clear.
pub(crate) fn alert(side: &'static str, level: u8, description: u8, sink: &mut dyn EventSink) {
    let fields = [
        Field::name(SIDE, side),
        Field::name(ALERT_LEVEL, if level == 2 { "fatal" } else { "warning" }),
        Field::name(ALERT, alert_name(description)),
    ];
    tell(EventKind::Session, &fields, sink);
}

/// Tells of a heartbeat: what it says it carries, and how long its record is.
pub(crate) fn heartbeat(
    kind: &'static str,
    claim: Option<u16>,
    length: u16,
    sink: &mut dyn EventSink,
) {
    let claimed = Field::number(HEARTBEAT_CLAIM, claim.unwrap_or(0).into());
    let fields = [
        Field::name(HEARTBEAT, kind),
        Field::number(HEARTBEAT_LENGTH, length.into()),
        claimed,
    ];
    let count = if claim.is_some() { 3 } else { 2 };
    tell(
        EventKind::Session,
        fields.get(..count).unwrap_or_default(),
        sink,
    );
}

/// The alerts' names (IANA TLS Alerts).
fn alert_name(description: u8) -> &'static str {
    match description {
        0 => "close_notify",
        10 => "unexpected_message",
        20 => "bad_record_mac",
        21 => "decryption_failed",
        22 => "record_overflow",
        30 => "decompression_failure",
        40 => "handshake_failure",
        41 => "no_certificate",
        42 => "bad_certificate",
        43 => "unsupported_certificate",
        44 => "certificate_revoked",
        45 => "certificate_expired",
        46 => "certificate_unknown",
        47 => "illegal_parameter",
        48 => "unknown_ca",
        49 => "access_denied",
        50 => "decode_error",
        51 => "decrypt_error",
        60 => "export_restriction",
        70 => "protocol_version",
        71 => "insufficient_security",
        80 => "internal_error",
        86 => "inappropriate_fallback",
        90 => "user_canceled",
        100 => "no_renegotiation",
        109 => "missing_extension",
        110 => "unsupported_extension",
        111 => "certificate_unobtainable",
        112 => "unrecognized_name",
        113 => "bad_certificate_status_response",
        114 => "bad_certificate_hash_value",
        115 => "unknown_psk_identity",
        116 => "certificate_required",
        120 => "no_application_protocol",
        121 => "ech_required",
        _ => "unknown",
    }
}

/// The version of a session as rules write it.
pub(crate) fn version_buffer(version: u16, sink: &mut dyn EventSink) {
    let name: &[u8] = match version {
        0x0002 => b"SSLv2",
        0x0300 => b"SSLv3",
        0x0301 => b"1.0",
        0x0302 => b"1.1",
        0x0303 => b"1.2",
        0x0304 | 0x7f00..=0x7fff => b"1.3",
        0x0100 | 0xfeff => b"DTLS 1.0",
        0xfefd => b"DTLS 1.2",
        0xfefc => b"DTLS 1.3",
        _ => return,
    };
    content::whole(Buffer::TlsVersion, name, sink);
}

/// The versions' names; drafts of TLS 1.3 count as TLS 1.3.
pub(crate) fn version_name(version: u16) -> &'static str {
    match version {
        0x0002 => "SSL 2.0",
        0x0300 => "SSL 3.0",
        0x0301 => "TLS 1.0",
        0x0302 => "TLS 1.1",
        0x0303 => "TLS 1.2",
        0x0304 => "TLS 1.3",
        0x7f00..=0x7fff => "TLS 1.3",
        0x0100 | 0xfeff => "DTLS 1.0",
        0xfefd => "DTLS 1.2",
        0xfefc => "DTLS 1.3",
        _ => "unknown",
    }
}
