//! The applications: one table, one row each.
//!
//! A newcomer adds an application with one file in `proto/` and one row here. The row's number is
//! its id: never reuse or change one, since learned behaviour is stored with it. Parsers are
//! dispatched statically: the macro makes an enum of all of them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use weir_wire::Direction;

use crate::{
    AppId, AppSet, Application, Blocks, Buffer, BufferSet, EventSink, FieldSpec, Probe, ProbeInput,
    Seen, Step, Transport,
};

applications! {
    1 => http::Http,
    2 => tls::Tls,
    3 => dns::Dns,
    4 => ssh::Ssh,
    5 => mysql::Mysql,
    6 => postgresql::Postgresql,
    7 => redis::Redis,
    8 => icmp::Icmp,
    9 => ntp::Ntp,
    10 => dhcp::Dhcp,
    11 => http2::Http2,
    12 => grpc::Grpc,
    13 => websocket::Websocket,
    14 => elasticsearch::Elasticsearch,
    15 => consul::Consul,
    16 => etcd::Etcd,
    20 => quic::Quic,
    21 => dtls::Dtls,
    22 => wireguard::Wireguard,
    23 => openvpn::Openvpn,
    24 => ike::Ike,
    25 => esp::Esp,
    26 => stun::Stun,
    30 => mongodb::Mongodb,
    31 => memcached::Memcached,
    32 => cassandra::Cassandra,
    33 => couchbase::Couchbase,
    34 => oracle::Oracle,
    35 => mssql::Mssql,
    36 => voltdb::Voltdb,
    37 => zookeeper::Zookeeper,
    40 => kafka::Kafka,
    41 => amqp::Amqp,
    42 => activemq::Activemq,
    43 => stomp::Stomp,
    44 => mqtt::Mqtt,
    45 => nats::Nats,
    46 => spark::Spark,
    47 => xmpp::Xmpp,
    48 => irc::Irc,
    50 => mdns::Mdns,
    51 => llmnr::Llmnr,
    52 => dhcpv6::Dhcpv6,
    53 => tftp::Tftp,
    54 => echo::Echo,
    55 => syslog::Syslog,
    56 => radius::Radius,
    57 => snmp::Snmp,
    58 => ldap::Ldap,
    59 => kerberos::Kerberos,
    60 => icmpv6::Icmpv6,
    61 => bgp::Bgp,
    62 => ssdp::Ssdp,
    63 => netbios::Netbios,
    64 => coap::Coap,
    65 => diameter::Diameter,
    66 => gtp::Gtp,
    67 => whois::Whois,
    70 => sip::Sip,
    71 => rtsp::Rtsp,
    72 => rtp::Rtp,
    73 => ftp::Ftp,
    74 => ftp_data::FtpData,
    75 => smtp::Smtp,
    76 => imap::Imap,
    77 => pop3::Pop3,
    78 => smb::Smb,
    79 => dcerpc::Dcerpc,
    80 => nfs::Nfs,
    81 => rdp::Rdp,
    82 => vnc::Vnc,
    83 => telnet::Telnet,
    84 => socks::Socks,
    85 => bittorrent::Bittorrent,
    86 => rtmp::Rtmp,
    90 => modbus::Modbus,
    91 => dnp3::Dnp3,
    92 => s7comm::S7comm,
    93 => iec104::Iec104,
    94 => enip::Enip,
    95 => opcua::Opcua,
    96 => bacnet::Bacnet,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct ApplicationInfo {
    /// Its number.
    pub id: AppId,
    /// The name in policy documents.
    pub name: &'static str,
    /// One sentence and its specification.
    pub about: &'static str,
    /// What may carry it.
    pub transports: &'static [Transport],
    /// Customary server ports: hints.
    pub ports: &'static [u16],
    /// What its parser emits.
    pub fields: &'static [FieldSpec],
    /// The buffers that it tells beside those of its fields.
    pub contents: BufferSet,
    /// What it is a special case of.
    pub refines: Option<&'static str>,
    /// Whether its parser tells which special case it is.
    pub refinable: bool,
    /// Whether a message of it may make the connection that of anything else.
    pub turns: bool,
    /// What it was shown to work on.
    pub seen: Seen,
}

impl ApplicationInfo {
    /// The buffers that its parser tells, as fields or beside them.
    pub fn buffers(&self) -> impl Iterator<Item = Buffer> {
        Buffer::ALL.iter().copied().filter(|&buffer| {
            let field = |spec: &FieldSpec| spec.buffer == Some(buffer);
            self.contents.contains(buffer) || self.fields.iter().any(field)
        })
    }
}

/// A field of an application: "http.path" resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FieldRef {
    /// The application.
    pub app: AppId,
    /// Index into its fields.
    pub index: u8,
}

impl FieldRef {
    /// The declaration.
    pub fn spec(self) -> Option<&'static FieldSpec> {
        info(self.app)?.fields.get(usize::from(self.index))
    }
}

/// The applications of each customary port, in the order of the ports.
static ON_PORT: LazyLock<Vec<(u16, AppSet)>> = LazyLock::new(|| {
    let mut sets = BTreeMap::<u16, AppSet>::new();
    for row in TABLE {
        for &port in row.ports {
            sets.entry(port).or_default().insert(row.id);
        }
    }
    sets.into_iter().collect()
});

/// What names say of the applications, by their numbers: no packet has names compared.
struct Kinship {
    /// The application and its special cases.
    special_cases: [AppSet; NUMBERS],
    /// The most general application that it is a special case of.
    roots: [AppId; NUMBERS],
    /// Those that have special cases.
    general: AppSet,
}

/// Numbers of applications are below this.
const NUMBERS: usize = 128;

static KINSHIP: LazyLock<Kinship> = LazyLock::new(|| {
    let mut kinship = Kinship {
        special_cases: [AppSet::EMPTY; NUMBERS],
        roots: [AppId::UNKNOWN; NUMBERS],
        general: AppSet::EMPTY,
    };
    for app in AppSet::ALL.iter() {
        for general in chain(app) {
            kinship.special_cases[usize::from(general.number())].insert(app);
            kinship.roots[usize::from(app.number())] = general;
            if general != app {
                kinship.general.insert(general);
            }
        }
    }
    kinship
});

/// By number: the place in the table.
static PLACES: [u8; NUMBERS] = places();

const fn places() -> [u8; NUMBERS] {
    let mut places = [u8::MAX; NUMBERS];
    let mut place = 0;
    while place < TABLE.len() {
        places[TABLE[place].id.number() as usize] = place as u8;
        place += 1;
    }
    places
}

/// Computes what is asked per packet, so that no worker does: an engine is made with it.
pub(crate) fn prepare() {
    LazyLock::force(&ON_PORT);
    LazyLock::force(&KINSHIP);
}

/// Every application, in the order of the ids.
pub fn applications() -> &'static [ApplicationInfo] {
    TABLE
}

/// The row of an application; none for [`AppId::UNKNOWN`].
pub fn info(app: AppId) -> Option<&'static ApplicationInfo> {
    TABLE.get(usize::from(*PLACES.get(usize::from(app.number()))?))
}

/// The application of that name; "unknown" is [`AppId::UNKNOWN`].
pub fn by_name(name: &str) -> Option<AppId> {
    if name == "unknown" {
        return Some(AppId::UNKNOWN);
    }
    TABLE.iter().find(|row| row.name == name).map(|row| row.id)
}

/// The name of an application; "unknown" for [`AppId::UNKNOWN`].
pub fn name(app: AppId) -> &'static str {
    info(app).map_or("unknown", |row| row.name)
}

/// The field of that name: "http.path".
pub fn field(name: &str) -> Option<FieldRef> {
    let (application, field) = name.split_once('.')?;
    let row = TABLE.iter().find(|row| row.name == application)?;
    let index = row.fields.iter().position(|spec| spec.name == field)?;
    Some(FieldRef {
        app: row.id,
        index: u8::try_from(index).ok()?,
    })
}

/// The applications that a transport may carry.
pub const fn carried_by(transport: Transport) -> AppSet {
    match transport {
        Transport::Tcp => TCP,
        Transport::Udp => UDP,
        Transport::Icmp => ICMP,
        Transport::Icmpv6 => ICMPV6,
        Transport::Esp => ESP,
    }
}

/// `app` and everything that is a special case of it: what a rule that names `app` covers.
pub fn special_cases(app: AppId) -> AppSet {
    let set = KINSHIP.special_cases.get(usize::from(app.number()));
    set.copied().unwrap_or_default().with(app)
}

/// Those of `apps`, and the special cases of each.
pub(crate) fn with_special_cases(apps: AppSet) -> AppSet {
    let general = apps.intersection(KINSHIP.general);
    general.iter().map(special_cases).fold(apps, AppSet::union)
}

/// Whether `special` is `general` or a special case of it.
pub fn refines(special: AppId, general: AppId) -> bool {
    special_cases(general).contains(special)
}

/// The most general application that `app` is a special case of; the fields are its.
pub fn root(app: AppId) -> AppId {
    let root = KINSHIP.roots.get(usize::from(app.number()));
    root.copied().unwrap_or(app)
}

/// An application, what it is a special case of, and so on. A circle would end nowhere; a test
/// forbids it.
fn chain(app: AppId) -> impl Iterator<Item = AppId> {
    std::iter::successors(Some(app), |&app| by_name(info(app)?.refines?)).take(TABLE.len() + 1)
}

/// The applications whose customary ports include `port`.
pub fn on_port(port: u16) -> AppSet {
    let found = ON_PORT.binary_search_by_key(&port, |&(port, _)| port);
    found.map_or(AppSet::EMPTY, |index| ON_PORT[index].1)
}

/// The registry as a page of Markdown.
pub fn document() -> String {
    crate::document::document()
}

const fn carries(transports: &[Transport], transport: Transport) -> bool {
    let mut index = 0;
    while index < transports.len() {
        if transports[index] as u8 == transport as u8 {
            return true;
        }
        index += 1;
    }
    false
}

const fn openings(to_server: bool) -> [AppSet; 256] {
    let mut sets = [AppSet::EMPTY; 256];
    let mut byte = 0;
    while byte < 256 {
        sets[byte] = opening(byte as u8, to_server);
        byte += 1;
    }
    sets
}

static OPENINGS_TO_SERVER: [AppSet; 256] = openings(true);
static OPENINGS_TO_CLIENT: [AppSet; 256] = openings(false);

/// The applications that the first byte of each direction leaves possible: what keeps most
/// probes from being asked at all.
pub(crate) fn possible(input: &ProbeInput<'_>) -> AppSet {
    let mut set = carried_by(input.transport);
    if !input.from_start {
        return set;
    }
    if let Some(&byte) = input.to_server.first() {
        set = set.intersection(OPENINGS_TO_SERVER[usize::from(byte)]);
    }
    if let Some(&byte) = input.to_client.first() {
        set = set.intersection(OPENINGS_TO_CLIENT[usize::from(byte)]);
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sessions are preallocated in one size: what one parser takes, every connection pays.
    const PARSER_BYTES_MAX: usize = 1_024;

    #[test]
    fn parsers_are_small() {
        assert!(std::mem::size_of::<Parser>() <= PARSER_BYTES_MAX);
    }

    #[test]
    fn the_prefilter_agrees_with_the_probes() {
        for app in ALL.iter() {
            for byte in 0..=255_u8 {
                for tail in [
                    &b""[..],
                    b" / HTTP/1.1\r\n",
                    &[1, 0, 0, 60, 3, 3],
                    &[0; 64],
                    &[3; 64],
                ] {
                    let bytes = [&[byte], tail].concat();
                    for (to_server, to_client) in [(&bytes[..], &[][..]), (&[][..], &bytes[..])] {
                        let input = ProbeInput {
                            to_server,
                            to_client,
                            previous: &[],
                            from_start: true,
                            server_port: 1,
                            transport: Transport::Tcp,
                        };
                        let asked = !carried_by(Transport::Tcp).contains(app)
                            || possible(&input).contains(app);
                        assert!(
                            asked || probe(app, &input) == Probe::NotMine,
                            "{app} promised not to begin with {byte}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn rows_are_in_the_order_of_their_ids() {
        assert!(TABLE.is_sorted_by(|row, next| row.id < next.id));
        for row in TABLE {
            assert_eq!(info(row.id).map(|found| found.name), Some(row.name));
            assert_eq!(
                by_name(row.name),
                Some(row.id),
                "{} is not unique",
                row.name
            );
        }
    }

    #[test]
    fn special_cases_share_the_fields_of_their_root() {
        for row in TABLE {
            let general = chain(row.id).count();
            assert!(general <= TABLE.len(), "{}: a circle", row.name);
            if let Some(refined) = row.refines {
                assert!(by_name(refined).is_some(), "{refined} is not registered");
            }
            let root = info(root(row.id)).expect("a row");
            let kinds = |row: &ApplicationInfo| -> Vec<_> {
                row.fields
                    .iter()
                    .map(|field| (field.kind, field.condition))
                    .collect()
            };
            assert_eq!(kinds(row), kinds(root), "{} and {}", row.name, root.name);
            assert!(refines(row.id, row.id) && refines(row.id, root.id));
            assert_eq!(refines(root.id, row.id), row.id == root.id);
        }
    }

    #[test]
    fn fields_are_found_by_name() {
        let path = field("http.path").expect("http has paths");
        assert_eq!(
            path.spec().map(|spec| (spec.name, spec.condition)),
            Some(("path", true))
        );
        for wrong in ["http", "http.", "http.nothing", "nothing.path", ".path", ""] {
            assert_eq!(field(wrong), None, "{wrong}");
        }
        assert_eq!(by_name("unknown"), Some(AppId::UNKNOWN));
        assert_eq!(by_name("nothing"), None);
        assert!(on_port(443).contains(by_name("tls").expect("tls is known")));
    }
}
