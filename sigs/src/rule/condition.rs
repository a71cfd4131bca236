//! What a rule demands besides the bytes of its buffers: flow, packet headers, the application's
//! numbers, what is remembered of connections and hosts, and how often it may fire.

use std::sync::Arc;

use weir_l7::AppSet;

use super::number::NumberTest;

/// `flow`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FlowCondition {
    /// The direction of the packet; None: either.
    pub direction: Option<Toward>,
    /// `established`, `not_established`; None (`stateless`): either.
    pub established: Option<bool>,
    /// `only_stream` or `no_stream`.
    pub unit: Option<Unit>,
    /// `only_frag` is true, `no_frag` false.
    pub fragmented: Option<bool>,
}

/// A direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Toward {
    /// From the client.
    Server,
    /// From the server.
    Client,
}

/// What the payload of TCP is taken as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unit {
    /// One segment.
    Packet,
    /// The bytes of a direction in order.
    Stream,
    /// It holds in either.
    Either,
}

/// A condition on one packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PacketTest {
    /// A number of a header.
    Number(PacketField, NumberTest),
    /// `flags`: of the flags of TCP but the `ignored`.
    TcpFlags {
        /// The flags named: bit 0 is FIN, 7 is CWR, as in the header.
        flags: u8,
        /// Flags that may be anything.
        ignored: u8,
        /// What must be of them.
        how: BitTest,
    },
    /// `fragbits`: bit 0 is more fragments, 1 don't fragment, 2 reserved.
    FragmentBits {
        /// The bits named.
        bits: u8,
        /// What must be of them.
        how: BitTest,
    },
    /// `ipopts`: an option of IPv4 of this number is there; None: any option.
    IpOption(Option<u8>),
    /// `sameip`: source and destination are equal.
    SameAddress,
}

/// Which of some bits must be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BitTest {
    /// These and no others.
    Exactly,
    /// `+`: all of these, others may be.
    All,
    /// `*`: at least one of these.
    Any,
    /// `!`: not all of these.
    NotAll,
}

impl BitTest {
    /// Whether `present` passes, where `named` are named.
    pub const fn holds(self, present: u8, named: u8) -> bool {
        match self {
            Self::Exactly => present == named,
            Self::All => present & named == named,
            Self::Any => present & named != 0,
            Self::NotAll => present & named != named,
        }
    }
}

/// A number in the headers of a packet. A packet without it does not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PacketField {
    /// `dsize`: bytes of payload.
    PayloadSize,
    /// `ttl`, hop limit.
    Ttl,
    /// `tos`.
    Tos,
    /// `id` of IPv4.
    Id,
    /// `fragoffset`, in units of eight bytes.
    FragmentOffset,
    /// `ip_proto`.
    IpProtocol,
    /// `itype`.
    IcmpType,
    /// `icode`.
    IcmpCode,
    /// `icmp_id`.
    IcmpId,
    /// `icmp_seq`.
    IcmpSequence,
    /// `icmpv6.mtu`.
    IcmpMtu,
    /// `seq`: as in the packet.
    Sequence,
    /// `ack`: as in the packet.
    Acknowledgment,
    /// `tcp.window`: as in the packet, not scaled.
    Window,
    /// `tcp.mss`.
    MaximumSegment,
    /// `tcp.wscale`.
    WindowScale,
}

/// A condition on the connection or on what its application does.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SessionTest {
    /// `app-layer-protocol`: it is, or with `negated` is recognised and is not, one of these.
    Application {
        /// The applications named.
        applications: AppSet,
        /// Turned round.
        negated: bool,
    },
    /// `app-layer-event`: what was wrong with the message, by Suricata's name (`http.invalid_…`).
    Event(Arc<str>),
    /// A number of the application's message or of the connection.
    Number(SessionField, NumberTest),
    /// `ssl_version`: one of these (version as in the record: 0x0301 is TLS 1.0, 2 is SSLv2).
    TlsVersion {
        /// The versions named.
        versions: Vec<u16>,
        /// None of them.
        negated: bool,
    },
    /// `ssl_state`: the handshake has come to one of these.
    TlsState {
        /// The states named.
        states: Vec<TlsState>,
        /// To none of them.
        negated: bool,
    },
    /// `tls_cert_expired`, `tls_cert_valid`.
    CertificateExpired(bool),
    /// `tls_cert_notbefore`: seconds since 1970.
    CertificateNotBefore(NumberTest),
    /// `tls_cert_notafter`: seconds since 1970.
    CertificateNotAfter(NumberTest),
    /// `dce_iface`.
    /// Its bytes stand in the order of the text.
    DceInterface([u8; 16]),
    /// `dce_opnum`: one of these.
    DceOperation(Vec<(u16, u16)>),
    /// `iprep`.
    Reputation {
        /// Whose.
        of: Side,
        /// The category, as the category file names it.
        category: Arc<str>,
        /// 0 to 127; an address that is not listed does not pass. None (`isnotset`): it is not listed.
        test: Option<NumberTest>,
    },
}

/// States of a TLS handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsState {
    /// `client_hello`
    ClientHello,
    /// `server_hello`
    ServerHello,
}

/// One end or both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// Either.
    Any,
    /// The packet's source.
    Source,
    /// The packet's destination.
    Destination,
    /// Both.
    Both,
}

/// Whose number of a connection it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// The client's.
    Client,
    /// The server's.
    Server,
    /// One of them, whichever.
    Either,
    /// Each of them.
    Both,
}

/// A number that an application's message or a connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionField {
    /// `stream_size`: bytes by the sequence numbers of TCP, of this end.
    StreamSize(End),
    /// `flow.pkts`: packets from this end.
    FlowPackets(End),
    /// `flow.bytes`: bytes from this end.
    FlowBytes(End),
    /// `flow.age`: seconds.
    FlowAge,
    /// `dns.opcode`.
    DnsOpcode,
    /// `dns.rcode`.
    DnsRcode,
    /// `dns.rrtype`.
    DnsType,
    /// `snmp.version`.
    SnmpVersion,
    /// `snmp.pdu_type`.
    SnmpPdu,
    /// `krb5_msg_type`.
    KerberosMessage,
    /// `krb5_err_code`.
    KerberosError,
    /// `mqtt.type`.
    MqttType,
    /// `mqtt.protocol_version`.
    MqttVersion,
    /// `mqtt.reason_code`.
    MqttReason,
}

/// One step on what is remembered. A test that does not hold keeps the rule from firing; the others
/// are done when it fires.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum StateStep {
    /// `flowbits`: of the connection.
    Flow(BitOperation),
    /// `xbits`, `hostbits`: of hosts or pairs.
    Host {
        /// What is asked or done.
        operation: BitOperation,
        /// Of whom.
        track: Track,
        /// `expire`: for how long a set bit lasts, in seconds.
        expire_s: u32,
    },
    /// `flowint`: a number of the connection.
    Integer {
        /// Its name.
        name: Arc<str>,
        /// What is asked or done.
        operation: IntegerOperation,
    },
}

impl StateStep {
    /// Whether it asks, rather than does.
    pub const fn is_test(&self) -> bool {
        match self {
            Self::Flow(operation) | Self::Host { operation, .. } => {
                matches!(operation.kind, BitKind::IsSet | BitKind::IsNotSet)
            }
            Self::Integer { operation, .. } => matches!(
                operation,
                IntegerOperation::Test(..)
                    | IntegerOperation::Differs(_)
                    | IntegerOperation::IsSet
                    | IntegerOperation::IsNotSet
            ),
        }
    }
}

/// What is asked of or done to a bit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BitOperation {
    /// Which of them.
    pub kind: BitKind,
    /// The bits. Several only with `IsSet` (one of them is) and `IsNotSet` (one of them is not).
    pub names: Vec<Arc<str>>,
}

/// What is asked or done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BitKind {
    /// Ask: is it set.
    IsSet,
    /// Ask: is it not set.
    IsNotSet,
    /// Do: set it.
    Set,
    /// Do: unset it.
    Unset,
    /// Do: turn it round.
    Toggle,
}

/// What is asked of or done to a number of a connection. One that was never set is not there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IntegerOperation {
    /// Ask: is it there.
    IsSet,
    /// Ask: is it not there.
    IsNotSet,
    /// Ask: does it compare so.
    Test(super::matcher::Comparison, IntegerValue),
    /// Ask: does it differ.
    Differs(IntegerValue),
    /// Do: make it this.
    Assign(IntegerValue),
    /// Do: add this; one that is not there begins with 0.
    Add(IntegerValue),
    /// Do: take this away; never below 0.
    Subtract(IntegerValue),
}

/// A number, or another number of the connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum IntegerValue {
    /// As written.
    Number(u32),
    /// The one of this name.
    Named(Arc<str>),
}

/// Of whom something is remembered or counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Track {
    /// The packet's source.
    Source,
    /// The packet's destination.
    Destination,
    /// The two together.
    Pair,
    /// The rule alone.
    Rule,
    /// The connection.
    Flow,
}

/// `threshold` and `detection_filter`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Threshold {
    /// What happens.
    pub kind: ThresholdKind,
    /// Of whom is counted.
    pub track: Track,
    /// How many.
    pub count: u32,
    /// In how many seconds.
    pub seconds: u32,
    /// `backoff`: by what the count grows; 1 elsewhere.
    pub multiplier: u32,
}

/// What counting does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ThresholdKind {
    /// `limit`: at most `count` are told in the time; the action is taken each time.
    Limit,
    /// `threshold`: each `count`-th in the time is told.
    Threshold,
    /// `both`: once in the time, when `count` is reached.
    Both,
    /// `backoff`: at `count`, then at `count × multiplier` …
    Backoff,
    /// `detection_filter`: the rule only fires from the time on that more than `count` matched in the time.
    Filter,
}

/// `target`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The packet's source is attacked.
    Source,
    /// The packet's destination is attacked.
    Destination,
}

/// `tag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tag {
    /// Of the host rather than the connection.
    pub host: Option<Track>,
    /// How many.
    pub count: u32,
    /// Of what.
    pub metric: TagMetric,
}

/// In what a tag is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TagMetric {
    /// Packets.
    Packets,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
}
