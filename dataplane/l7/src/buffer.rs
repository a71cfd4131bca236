//! Content that is looked into: one buffer per meaning, named as in Suricata's rule language where
//! that has a name for it.
//!
//! A field of an event is a whole buffer where its [`crate::FieldSpec`] says so. What is long, comes
//! in pieces or is nobody's field is told with [`crate::EventSink::content`].

use std::fmt;

/// One row a buffer: variant, name in rules, what it holds.
macro_rules! buffers {
    ($($variant:ident $name:literal $about:literal,)*) => {
        /// What a piece of content means.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Buffer {
            $(#[doc = $about] $variant,)*
        }

        impl Buffer {
            /// Every buffer, in the order of their numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its name in rules and sensors.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What it holds, in a sentence.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }
        }
    };
}

buffers! {
    Payload "payload" "Bytes of a TCP stream in order, or of one datagram.",
    HttpMethod "http.method" "Method of a request.",
    HttpUri "http.uri" "Target of a request, percent-decoded once and with its path resolved; query included.",
    HttpUriRaw "http.uri.raw" "Target of a request as sent.",
    HttpProtocol "http.protocol" "Version of the message, as `HTTP/1.1`.",
    HttpRequestLine "http.request_line" "First line of a request.",
    HttpResponseLine "http.response_line" "First line of a response.",
    HttpHeader "http.header" "Headers in order, normalised: `Name: value` and CRLF each, without cookies.",
    HttpHeaderRaw "http.header.raw" "Headers as sent.",
    HttpHeaderNames "http.header_names" "CRLF, then each header's name and CRLF in order, then CRLF.",
    HttpRequestHeader "http.request_header" "One header of a request: `Name: value`; as many buffers as headers.",
    HttpResponseHeader "http.response_header" "One header of a response: `Name: value`; as many buffers as headers.",
    HttpCookie "http.cookie" "Value of Cookie or Set-Cookie.",
    HttpUserAgent "http.user_agent" "Value of User-Agent.",
    HttpHost "http.host" "Host of a request in lower case, without port.",
    HttpHostRaw "http.host.raw" "Value of Host as sent.",
    HttpReferer "http.referer" "Value of Referer.",
    HttpAccept "http.accept" "Value of Accept.",
    HttpAcceptEncoding "http.accept_enc" "Value of Accept-Encoding.",
    HttpAcceptLanguage "http.accept_lang" "Value of Accept-Language.",
    HttpConnection "http.connection" "Value of Connection.",
    HttpContentType "http.content_type" "Value of Content-Type.",
    HttpContentLength "http.content_len" "Value of Content-Length.",
    HttpStart "http.start" "First line and headers as sent, with the empty line.",
    HttpServer "http.server" "Value of Server.",
    HttpLocation "http.location" "Value of Location.",
    HttpStatusCode "http.stat_code" "Status of a response: three digits.",
    HttpStatusMessage "http.stat_msg" "Reason phrase of a response.",
    HttpRequestBody "http.request_body" "Body of a request, without chunking and decompressed.",
    HttpResponseBody "http.response_body" "Body of a response, without chunking and decompressed.",
    Http2HeaderName "http2.header_name" "Name of one header of HTTP/2.",
    Http2Header "http2.header" "One header of HTTP/2: `name: value`.",
    FileData "file.data" "Content of what is transferred as a file: bodies, mail parts, FTP data, SMB and NFS files.",
    FileName "file.name" "Name of such a file.",
    Mail "mail" "A mail as handed over: headers and body (RFC 5322).",
    FormName "form.name" "Name of such a value, before it.",
    Form "form" "One value of a form, a JSON document or a mail's header: decoded.",
    Statement "statement" "Text of a statement of a database (SQL, CQL).",
    DnsQuery "dns.query" "Name that is asked for.",
    DnsAnswer "dns.answers.rrname" "Name of an answer.",
    TlsSni "tls.sni" "Server name that the client asks for.",
    TlsVersion "tls.version" "Version of the session, as `1.2`.",
    TlsSubject "tls.cert_subject" "Subject of the server's certificate.",
    TlsIssuer "tls.cert_issuer" "Issuer of the server's certificate.",
    TlsSerial "tls.cert_serial" "Serial number of the certificate: hexadecimal, colons between bytes.",
    TlsFingerprint "tls.cert_fingerprint" "SHA-1 of the certificate: hexadecimal, colons between bytes.",
    TlsCertificate "tls.certs" "A certificate of the server's chain (DER).",
    TlsAlternativeName "tls.subjectaltname" "One alternative name of the certificate.",
    TlsAlpn "tls.alpn" "One application protocol offered or taken (ALPN).",
    Ja3Hash "ja3.hash" "JA3 of a ClientHello.",
    Ja3String "ja3.string" "What JA3 is the hash of.",
    Ja3sHash "ja3s.hash" "JA3S of a ServerHello.",
    Ja3sString "ja3s.string" "What JA3S is the hash of.",
    Ja4Hash "ja4.hash" "JA4 of a ClientHello.",
    SshProtocol "ssh.proto" "Version of SSH, as `2.0`.",
    SshSoftware "ssh.software" "Software of the banner.",
    SshHassh "ssh.hassh" "HASSH of the client's key exchange.",
    SshHasshString "ssh.hassh.string" "What HASSH is the hash of.",
    SshHasshServer "ssh.hassh.server" "HASSH of the server's key exchange.",
    SshHasshServerString "ssh.hassh.server.string" "What the server's HASSH is the hash of.",
    SmbNamedPipe "smb.named_pipe" "Name of a pipe that is opened.",
    SmbShare "smb.share" "Share of a tree connect.",
    SmbNtlmUser "smb.ntlmssp_user" "User of an NTLM login.",
    SmbNtlmDomain "smb.ntlmssp_domain" "Domain of an NTLM login.",
    DcerpcStub "dcerpc.stub_data" "Arguments or result of a remote call.",
    FtpCommand "ftp.command" "Command of FTP.",
    FtpCommandData "ftp.command_data" "Argument of an FTP command.",
    FtpReply "ftp.reply" "Text of an FTP reply.",
    FtpCompletionCode "ftp.completion_code" "Code of an FTP reply.",
    SmtpHello "smtp.helo" "Name that the client gives in HELO or EHLO.",
    SmtpFrom "smtp.mail_from" "Sender of the envelope.",
    SmtpTo "smtp.rcpt_to" "A recipient of the envelope.",
    KerberosClient "krb5_cname" "Client's name.",
    KerberosService "krb5_sname" "Service's name.",
    SnmpCommunity "snmp.community" "Community of versions 1 and 2c.",
    SnmpUser "snmp.usm" "User of version 3.",
    SipMethod "sip.method" "Method of a request.",
    SipUri "sip.uri" "Target of a request.",
    SipRequestLine "sip.request_line" "First line of a request.",
    SipResponseLine "sip.response_line" "First line of a response.",
    SipStatusCode "sip.stat_code" "Status of a response.",
    SipStatusMessage "sip.stat_msg" "Reason phrase of a response.",
    SipProtocol "sip.protocol" "Version of the message.",
    SipFrom "sip.from" "Value of From.",
    SipTo "sip.to" "Value of To.",
    SipUserAgent "sip.user_agent" "Value of User-Agent.",
    SipContentType "sip.content_type" "Value of Content-Type.",
    RfbName "rfb.name" "Name of a desktop.",
    MqttTopic "mqtt.publish.topic" "Topic that is published to.",
    MqttSubscription "mqtt.subscribe.topic" "Topic that is subscribed to.",
    MqttClient "mqtt.connect.clientid" "Client's identifier.",
    MqttUser "mqtt.connect.username" "User of CONNECT.",
    MqttMessage "mqtt.publish.message" "Message that is published.",
    IkeChosenExchange "ike.exchtype" "Kind of exchange.",
    QuicVersion "quic.version" "Version of QUIC.",
    QuicUserAgent "quic.ua" "What Google's QUIC calls its client.",
    RedisCommand "redis.command" "Command and arguments of Redis, a space between.",
}

impl Buffer {
    /// The buffer of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|buffer| buffer.name() == name)
    }

    /// Whether it is, as a rule, cut from the head of a message of HTTP as it was sent.
    pub const fn is_of_head(self) -> bool {
        let number = self as u8;
        Self::HttpMethod as u8 <= number
            && number <= Self::HttpStatusMessage as u8
            && !matches!(self, Self::HttpHeaderNames)
    }

    /// Whether it may come in pieces; every other buffer is told whole.
    pub const fn is_streamed(self) -> bool {
        matches!(
            self,
            Self::Payload
                | Self::HttpRequestBody
                | Self::HttpResponseBody
                | Self::FileData
                | Self::Mail
                | Self::Form
                | Self::Statement
                | Self::DcerpcStub
                | Self::MqttMessage
                | Self::RedisCommand
        )
    }
}

impl fmt::Display for Buffer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

/// A set of buffers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferSet(u128);

const _: () = assert!(Buffer::ALL.len() <= 128);

impl BufferSet {
    /// No buffer.
    pub const EMPTY: Self = Self(0);

    /// This set and `buffer`.
    pub const fn with(self, buffer: Buffer) -> Self {
        Self(self.0 | 1 << buffer as u8)
    }

    /// The members of either.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The members of both.
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether `buffer` is a member.
    pub const fn contains(self, buffer: Buffer) -> bool {
        self.0 & (1 << buffer as u8) != 0
    }

    /// Whether there is no member.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Buffer> for BufferSet {
    fn from_iter<I: IntoIterator<Item = Buffer>>(buffers: I) -> Self {
        buffers.into_iter().fold(Self::EMPTY, Self::with)
    }
}

/// What the message says of content that follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form<'a> {
    /// Value of Content-Encoding, or what stands for it; empty: as it is.
    pub coding: &'a [u8],
    /// Value of Content-Type; empty: not told.
    pub media_type: &'a [u8],
}

impl Form<'_> {
    /// Of a content that begins and ends without its bytes: there were more at once than are told.
    pub const UNREAD: Self = Self {
        coding: b"unread",
        media_type: &[],
    };
}

/// A piece of a buffer. It belongs to the last event of its direction, in HTTP/2 of its stream.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// What it is.
    pub buffer: Buffer,
    /// The stream of HTTP/2 that it is of; 0 where there is but one.
    pub stream: u32,
    /// The first piece, and what the message says of its form. A whole buffer begins and ends.
    pub begins: Option<Form<'a>>,
    /// The bytes; may be none.
    pub bytes: &'a [u8],
    /// The last piece.
    pub ends: bool,
}

impl<'a> Content<'a> {
    /// A buffer that is here whole.
    pub const fn whole(buffer: Buffer, stream: u32, bytes: &'a [u8]) -> Self {
        Self {
            buffer,
            stream,
            begins: Some(Form {
                coding: &[],
                media_type: &[],
            }),
            bytes,
            ends: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for &buffer in Buffer::ALL {
            assert_eq!(Buffer::by_name(buffer.name()), Some(buffer));
        }
        assert_eq!(Buffer::by_name("http.uri.cooked"), None);
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        let set = BufferSet::EMPTY
            .with(Buffer::Payload)
            .with(Buffer::RedisCommand);
        assert!(set.contains(Buffer::RedisCommand) && !set.contains(Buffer::HttpUri));
        assert!(BufferSet::EMPTY.is_empty() && !set.is_empty());
    }
}
