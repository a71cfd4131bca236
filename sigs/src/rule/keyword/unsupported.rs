//! Keywords that Weir does not honour, each with the reason; sticky buffers; and names nobody knows.

use super::buffer::{select, sticky_names};
use super::names;
use crate::rule::build::Builder;
use crate::rule::refusal::Mistake;
use crate::rule::word::Word;

/// What begins with this, is refused for this reason.
const REFUSED: &[(&str, &str)] = &[
    (
        "lua",
        "Weir runs no program that a rule brings: say it with contents, pcre and byte_test",
    ),
    (
        "luaxform",
        "Weir runs no program that a rule brings: say it with transforms",
    ),
    (
        "geoip",
        "Weir has no table of countries: list the networks, or use iprep with a category",
    ),
    (
        "replace",
        "what passes Weir is bit-identical: it is dropped, never rewritten",
    ),
    (
        "bypass",
        "Weir decides by itself when a connection needs no further inspection",
    ),
    ("nfq_set_mark", "Weir does not use the kernel's queues"),
    (
        "asn1",
        "structures of ASN.1 are not decoded: say it with byte_test and byte_jump",
    ),
    ("cvs", "it is Snort's only"),
    (
        "ftpbounce",
        "the address in a PORT command is not compared with the sender's",
    ),
    (
        "file.magic",
        "files are not classified by content: say it with file.data and startswith",
    ),
    (
        "filemagic",
        "files are not classified by content: say it with file.data and startswith",
    ),
    (
        "filesize",
        "files are looked into as they pass: how long one is, is known behind it",
    ),
    (
        "tls.cert_chain_len",
        "certificates behind the first are not counted",
    ),
    (
        "decode-event",
        "what is wrong with a packet is Weir's own to tell: see its threats",
    ),
    (
        "engine-event",
        "what is wrong with a packet is Weir's own to tell: see its threats",
    ),
    (
        "stream-event",
        "what is wrong with a stream is Weir's own to tell: see its threats",
    ),
    ("flowvar", "values that expressions capture are not kept"),
    ("pktvar", "values that expressions capture are not kept"),
    ("app-layer-state", "states of messages are not named"),
    (
        "frame",
        "frames of protocols are not told as buffers: use the protocol's sticky buffers",
    ),
    ("config", "logging is configured in Weir, not by rules"),
    ("tls.store", "certificates are not stored"),
    ("tls_store", "certificates are not stored"),
    (
        "tls.random",
        "the random numbers of TLS are not told as buffers",
    ),
    (
        "tcp.session",
        "write flow:established or flow:not_established",
    ),
    (
        "flow.elephant",
        "connections are not classified by size: use flow.bytes",
    ),
    (
        "ipv4-csum",
        "a packet with a wrong checksum has a reason of its own and reaches no rule",
    ),
    (
        "tcpv4-csum",
        "a packet with a wrong checksum has a reason of its own and reaches no rule",
    ),
    (
        "tcpv6-csum",
        "a packet with a wrong checksum has a reason of its own and reaches no rule",
    ),
    (
        "udpv4-csum",
        "a packet with a wrong checksum has a reason of its own and reaches no rule",
    ),
    (
        "udpv6-csum",
        "a packet with a wrong checksum has a reason of its own and reaches no rule",
    ),
    (
        "icmpv4-csum",
        "a packet with a wrong checksum has a reason of its own and reaches no rule",
    ),
    (
        "icmpv6-csum",
        "a packet with a wrong checksum has a reason of its own and reaches no rule",
    ),
    ("igmp", "IGMP is not inspected"),
    ("ether.hdr", "headers of Ethernet are not told as buffers"),
    ("vlan.", "VLAN tags are not tested by rules"),
    ("sctp.", "SCTP is not inspected above its ports"),
    (
        "modbus",
        "functions of Modbus are a condition of the allowlist (weir apps lists its fields)",
    ),
    (
        "dnp3",
        "functions of DNP3 are a condition of the allowlist (weir apps lists its fields)",
    ),
    (
        "enip",
        "fields of EtherNet/IP are a condition of the allowlist (weir apps lists its fields)",
    ),
    (
        "cip_service",
        "fields of EtherNet/IP are a condition of the allowlist (weir apps lists its fields)",
    ),
    (
        "ike",
        "fields of IKE are a condition of the allowlist (weir apps lists its fields)",
    ),
    ("ldap.", "LDAP is not told as buffers: use the payload"),
    ("sdp.", "SDP is not told as buffers: use the payload"),
    (
        "email.",
        "headers of mails are not told one by one: use the buffer mail",
    ),
    ("nfs", "procedures of NFS are not told: use the payload"),
    (
        "websocket.",
        "frames of WebSocket are not told as buffers: use the payload",
    ),
    ("mqtt.", "this field of MQTT is not told: use the payload"),
    ("snmp.", "this field of SNMP is not told: use the payload"),
    (
        "http2.",
        "this field of HTTP/2 is not told: use the http buffers, which HTTP/2 fills too",
    ),
    ("quic.", "this field of QUIC is not told"),
    ("tls.", "this field of TLS is not told"),
    ("ssh.", "this field of SSH is not told"),
    ("smb.", "this field of SMB is not told: use the payload"),
    (
        "sip.",
        "this field of SIP is not told: use sip.request_line or the payload",
    ),
    ("krb5", "this field of Kerberos is not told"),
    (
        "dns.",
        "this field of DNS is not told: use dns.query, or the payload of UDP",
    ),
    (
        "dhcp.",
        "fields of DHCP are not told as buffers: use the payload",
    ),
    (
        "ntp.",
        "fields of NTP are not told as buffers: use the payload",
    ),
    (
        "mdns.",
        "multicast DNS is not told as buffers: use the payload",
    ),
    ("llmnr.", "LLMNR is not told as buffers: use the payload"),
    ("rfb.", "this field of RFB is not told"),
    ("ftp.", "this field of FTP is not told: use the payload"),
    ("ftpdata", "files over FTP are looked into as file.data"),
    ("file.", "this property of files is not told"),
    (
        "ip.",
        "addresses stand in the header; sets of them are iprep",
    ),
    ("ja4", "this fingerprint is not computed"),
];

/// Takes a name that is no keyword's: a sticky buffer, or a refusal.
pub(super) fn read(builder: &mut Builder, name: Word<'_>) -> Result<(), Mistake> {
    if select(builder, name.text) {
        return Ok(());
    }
    let exact = REFUSED.iter().find(|row| row.0 == name.text);
    let by_prefix = || REFUSED.iter().find(|row| name.text.starts_with(row.0));
    if let Some((_, why)) = exact.or_else(by_prefix) {
        let why = format!("{} is not supported: {why}", name.text);
        return Err(Mistake::unsupported(name.at, name.text, why));
    }
    if name.text.is_empty() {
        return Err(name.malformed("a keyword is missing before the colon"));
    }
    let text: String = name.text.chars().take(60).collect();
    let why = match nearest(&text) {
        Some(near) => format!("the keyword {text:?} is not known; is it {near}?"),
        None => format!("the keyword {text:?} is not known"),
    };
    Err(Mistake::unsupported(name.at, &text, why))
}

/// The name that is written most alike, if it is alike at all.
fn nearest(text: &str) -> Option<&'static str> {
    let scored = names()
        .chain(sticky_names())
        .map(|name| (strsim::jaro_winkler(text, name), name));
    let best = scored.max_by(|one, other| one.0.total_cmp(&other.0))?;
    (best.0 > 0.85).then_some(best.1)
}
