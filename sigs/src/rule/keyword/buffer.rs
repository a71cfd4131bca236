//! Where is looked: sticky buffers, the older modifiers of a content, and keywords that name a buffer
//! and what it is at once.

use weir_l7::Buffer;

use super::Argument::{Needed, None as Nothing, Optional};
use super::{Given, Keyword, row};
use crate::rule::build::Builder;
use crate::rule::condition::SessionTest;
use crate::rule::header::applications;
use crate::rule::matcher::{Content, Group, Matcher, PacketHeader, Place, Range, Value};
use crate::rule::refusal::Mistake;

pub(super) const KEYWORDS: &[Keyword] = &[
    row("pkt_data", Nothing, payload),
    row("http_uri", Nothing, modifier),
    row("http_raw_uri", Nothing, modifier),
    row("http_method", Nothing, modifier),
    row("http_header", Nothing, modifier),
    row("http_raw_header", Nothing, modifier),
    row("http_cookie", Nothing, modifier),
    row("http_client_body", Nothing, modifier),
    row("http_server_body", Nothing, modifier),
    row("http_stat_code", Nothing, modifier),
    row("http_stat_msg", Nothing, modifier),
    row("http_user_agent", Nothing, modifier),
    row("http_host", Nothing, modifier),
    row("http_raw_host", Nothing, modifier),
    row("urilen", Needed, uri_length),
    row("tls.version", Optional, tls_version),
    row("tls.subject", Needed, in_certificate),
    row("tls.issuerdn", Needed, in_certificate),
    row("tls.fingerprint", Needed, in_certificate),
    row("ssh.protoversion", Needed, ssh_version),
    row("ssh.softwareversion", Needed, ssh_software),
];

/// The older modifiers.
const MODIFIERS: &[(&str, Buffer)] = &[
    ("http_uri", Buffer::HttpUri),
    ("http_raw_uri", Buffer::HttpUriRaw),
    ("http_method", Buffer::HttpMethod),
    ("http_header", Buffer::HttpHeader),
    ("http_raw_header", Buffer::HttpHeaderRaw),
    ("http_cookie", Buffer::HttpCookie),
    ("http_client_body", Buffer::HttpRequestBody),
    ("http_server_body", Buffer::HttpResponseBody),
    ("http_stat_code", Buffer::HttpStatusCode),
    ("http_stat_msg", Buffer::HttpStatusMessage),
    ("http_user_agent", Buffer::HttpUserAgent),
    ("http_host", Buffer::HttpHost),
    ("http_raw_host", Buffer::HttpHostRaw),
];

/// Sticky buffers by other names than the buffer's own.
const ALIASES: &[(&str, Buffer)] = &[
    ("file_data", Buffer::FileData),
    ("http_accept", Buffer::HttpAccept),
    ("http_accept_enc", Buffer::HttpAcceptEncoding),
    ("http_accept_lang", Buffer::HttpAcceptLanguage),
    ("http_connection", Buffer::HttpConnection),
    ("http_content_len", Buffer::HttpContentLength),
    ("http_content_type", Buffer::HttpContentType),
    ("http_header_names", Buffer::HttpHeaderNames),
    ("http_protocol", Buffer::HttpProtocol),
    ("http_referer", Buffer::HttpReferer),
    ("http_request_line", Buffer::HttpRequestLine),
    ("http_response_line", Buffer::HttpResponseLine),
    ("http_start", Buffer::HttpStart),
    ("http.uri.normalized", Buffer::HttpUri),
    ("http_server", Buffer::HttpServer),
    ("http_location", Buffer::HttpLocation),
    ("dns_query", Buffer::DnsQuery),
    ("dns.query.name", Buffer::DnsQuery),
    ("dns.queries.rrname", Buffer::DnsQuery),
    ("dns.answer.name", Buffer::DnsAnswer),
    ("tls_sni", Buffer::TlsSni),
    ("tls_cert_subject", Buffer::TlsSubject),
    ("tls_cert_issuer", Buffer::TlsIssuer),
    ("tls_cert_serial", Buffer::TlsSerial),
    ("tls_cert_fingerprint", Buffer::TlsFingerprint),
    ("ja3_hash", Buffer::Ja3Hash),
    ("ja3_string", Buffer::Ja3String),
    ("ja3s_hash", Buffer::Ja3sHash),
    ("ja3s_string", Buffer::Ja3sString),
    ("ja4_hash", Buffer::Ja4Hash),
    ("ssh_proto", Buffer::SshProtocol),
    ("ssh_software", Buffer::SshSoftware),
    ("smb_named_pipe", Buffer::SmbNamedPipe),
    ("smb_share", Buffer::SmbShare),
    ("smb_ntlmssp_user", Buffer::SmbNtlmUser),
    ("smb_ntlmssp_domain", Buffer::SmbNtlmDomain),
    ("dce_stub_data", Buffer::DcerpcStub),
    ("krb5.cname", Buffer::KerberosClient),
    ("krb5.sname", Buffer::KerberosService),
    ("sip.ua", Buffer::SipUserAgent),
    ("quic_version", Buffer::QuicVersion),
    ("quic_ua", Buffer::QuicUserAgent),
];

/// Sticky buffers that are another's of one application: name, buffer, application.
const OF_APPLICATION: &[(&str, Buffer, &str)] = &[
    ("quic.sni", Buffer::TlsSni, "quic"),
    ("quic_sni", Buffer::TlsSni, "quic"),
    ("pgsql.query", Buffer::Statement, "pgsql"),
];

/// Headers of packets.
const HEADERS: &[(&str, PacketHeader)] = &[
    ("ipv4.hdr", PacketHeader::Ipv4),
    ("ipv6.hdr", PacketHeader::Ipv6),
    ("tcp.hdr", PacketHeader::Tcp),
    ("udp.hdr", PacketHeader::Udp),
    ("icmpv4.hdr", PacketHeader::IcmpV4),
    ("icmpv6.hdr", PacketHeader::IcmpV6),
];

/// Buffers whose name is a keyword that takes a value: it is not a sticky buffer.
const NOT_STICKY: &[Buffer] = &[Buffer::Payload, Buffer::IkeChosenExchange];

/// Selects the sticky buffer of this name; false where there is none.
pub(super) fn select(builder: &mut Builder, name: &str) -> bool {
    if let Some(&(name, header)) = HEADERS.iter().find(|row| row.0 == name) {
        builder.select(Place::Header(header), name);
        return true;
    }
    if let Some(&(name, buffer, application)) = OF_APPLICATION.iter().find(|row| row.0 == name) {
        builder.select(Place::Buffer(buffer), name);
        if let Some((_, applications)) = applications(application) {
            let test = SessionTest::Application {
                applications,
                negated: false,
            };
            if !builder.rule.session.contains(&test) {
                builder.rule.session.push(test);
            }
        }
        return true;
    }
    let alias = ALIASES.iter().find(|row| row.0 == name).copied();
    let own = Buffer::by_name(name).map(|buffer| (buffer.name(), buffer));
    let Some((name, buffer)) = alias.or(own).filter(|row| !NOT_STICKY.contains(&row.1)) else {
        return false;
    };
    builder.select(Place::Buffer(buffer), name);
    true
}

/// The names of all sticky buffers.
pub(in crate::rule) fn sticky_names() -> impl Iterator<Item = &'static str> {
    let own = Buffer::ALL
        .iter()
        .filter(|buffer| !NOT_STICKY.contains(buffer));
    let own = own.map(|buffer| buffer.name());
    let aliases = ALIASES.iter().map(|row| row.0);
    let others = OF_APPLICATION.iter().map(|row| row.0);
    own.chain(aliases)
        .chain(others)
        .chain(HEADERS.iter().map(|row| row.0))
}

/// The name that selects a place.
pub(in crate::rule) fn sticky_name(place: Place) -> &'static str {
    match place {
        Place::Buffer(Buffer::Payload) => "pkt_data",
        Place::Buffer(buffer) => buffer.name(),
        Place::Header(header) => {
            let named = HEADERS.iter().find(|row| row.1 == header);
            named.map_or("ipv4.hdr", |row| row.0)
        }
    }
}

fn payload(builder: &mut Builder, _: &Given<'_>) -> Result<(), Mistake> {
    builder.select_payload();
    Ok(())
}

fn modifier(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let Some(&(name, buffer)) = MODIFIERS.iter().find(|row| row.0 == given.name) else {
        return Err(given.unsupported("this modifier has no buffer"));
    };
    builder.move_content(given.keyword, Place::Buffer(buffer), name)
}

fn uri_length(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (test, buffer) = match given.value.split_once(',') {
        None => (given.value, Buffer::HttpUri),
        Some((test, kind)) => match kind.text {
            "norm" => (test, Buffer::HttpUri),
            "raw" => (test, Buffer::HttpUriRaw),
            _ => return Err(kind.malformed("behind the length stands norm or raw")),
        },
    };
    let test = test.test(u64::from(u16::MAX))?;
    builder.push_at(given.keyword, Place::Buffer(buffer), Matcher::Size(test))
}

/// A content that is found in a buffer whatever is selected.
fn content_in(buffer: Buffer, text: &str, whole: bool, negated: bool) -> Group {
    let bytes = text.as_bytes().to_vec();
    let length = i64::try_from(bytes.len()).unwrap_or(i64::MAX);
    let range = match whole {
        true => Range::Absolute {
            offset: Value::Number(0),
            depth: Some(Value::Number(length)),
        },
        false => Range::ANYWHERE,
    };
    let content = Content {
        bytes,
        nocase: false,
        negated,
        range,
        at_end: whole,
        fast_pattern: None,
    };
    Group {
        place: Place::Buffer(buffer),
        transforms: Vec::new(),
        matchers: vec![Matcher::Content(content)],
    }
}

fn tls_version(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let word = given.unquoted();
    if word.text.is_empty() {
        builder.select(Place::Buffer(Buffer::TlsVersion), given.name);
        return Ok(());
    }
    if !["1.0", "1.1", "1.2", "1.3"].contains(&word.text) {
        return Err(word.malformed(
            "a version of TLS is 1.0, 1.1, 1.2 or 1.3; older ones are asked with ssl_version",
        ));
    }
    let group = content_in(Buffer::TlsVersion, word.text, true, false);
    builder.push_group(given.keyword, group)
}

fn in_certificate(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (text, negated) = given.quoted()?;
    let (buffer, whole) = match given.name {
        "tls.subject" => (Buffer::TlsSubject, false),
        "tls.issuerdn" => (Buffer::TlsIssuer, false),
        _ => (Buffer::TlsFingerprint, true),
    };
    if text.text.is_empty() {
        return Err(text.malformed("it is empty"));
    }
    let group = content_in(buffer, text.text, whole, negated);
    builder.push_group(given.keyword, group)
}

fn ssh_version(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let word = given.unquoted();
    if word.text == "2_compat" {
        // RFC 4253, 5.1: a server of 2.0 that still speaks older versions says 1.99.
        let mut group = content_in(Buffer::SshProtocol, "2", true, false);
        let pcre = super::content::parse_pcre(crate::rule::word::Word::new("/^(2|1\\.99)/", 0));
        if let Ok((pcre, _)) = pcre {
            group.matchers = vec![Matcher::Pcre(pcre)];
        }
        return builder.push_group(given.keyword, group);
    }
    let version = |letter: char| letter.is_ascii_digit() || letter == '.';
    if word.text.is_empty() || !word.text.chars().all(version) {
        return Err(word.malformed("a version of SSH is 2_compat or a number: 2.0"));
    }
    builder.push_group(
        given.keyword,
        content_in(Buffer::SshProtocol, word.text, true, false),
    )
}

fn ssh_software(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let word = given.unquoted();
    builder.push_group(
        given.keyword,
        content_in(Buffer::SshSoftware, word.text, false, false),
    )
}
