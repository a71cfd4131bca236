//! Every threat there is: one row each.

use std::fmt;

use serde::Deserialize;

/// What a finding does to the packet that shows it, where the connection's mode blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It is not looked for.
    Off,
    /// It is told.
    Alert,
    /// It is told, the packet is dropped, and what it belongs to with it.
    Drop,
}

/// One row a threat: variant, id, name, default action, technique, about. An id is never given to another
/// threat.
macro_rules! threats {
    ($($variant:ident $id:literal $name:literal $action:ident $technique:literal $about:literal,)*) => {
        /// An attack, or a weakness in use, that Weir finds by itself.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Threat {
            $(#[doc = $about] $variant,)*
        }

        impl Threat {
            /// Every threat, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its number in events and reports.
            pub const fn id(self) -> u16 {
                match self { $(Self::$variant => $id,)* }
            }

            /// Its name in configuration and events.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// What happens unless configured otherwise.
            pub const fn default_action(self) -> Action {
                match self { $(Self::$variant => Action::$action,)* }
            }

            /// Technique of MITRE ATT&CK; empty where none fits.
            pub const fn technique(self) -> &'static str {
                match self { $(Self::$variant => $technique,)* }
            }

            /// What it is, in a sentence.
            pub const fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }
        }
    };
}

threats! {
    SynFlood 1001 "syn-flood" Drop "T1499.001" "More connections are begun than finished, faster than an honest crowd would.",
    IcmpFlood 1002 "icmp-flood" Drop "T1498.001" "More ICMP messages than diagnosis needs.",
    UdpFlood 1003 "udp-flood" Alert "T1498.001" "More UDP datagrams to one target than its threshold allows.",
    DnsFlood 1004 "dns-flood" Alert "T1499.002" "More DNS questions to one server than its threshold allows.",
    DhcpFlood 1005 "dhcp-flood" Alert "T1499.002" "More DHCP requests than a network of hosts makes: address starvation.",
    SessionLimit 1006 "session-limit" Alert "T1499.002" "One source holds more connections than its limit.",
    SessionRate 1007 "session-rate" Alert "T1499.002" "One source opens connections faster than its limit.",
    PortScan 1010 "port-scan" Alert "T1046" "One source tries many ports of a target.",
    HostScan 1011 "host-scan" Alert "T1018" "One source tries one port on many targets.",
    SplitHandshake 1020 "tcp-split-handshake" Drop "T1205" "A server answers a SYN with a SYN of its own, which turns the roles round for a middle box.",
    SynData 1021 "tcp-syn-data" Alert "" "A SYN carries data without the Fast Open option (RFC 7413).",
    SmallWindow 1022 "tcp-small-window" Alert "T1499.001" "A receiver keeps its window nearly shut, so that the sender's memory stays in use (Sockstress).",
    SmallMss 1023 "tcp-small-mss" Drop "T1499.004" "A maximum segment size so small that it splinters memory (CVE-2019-11477, SACK panic).",
    BadFlags 1024 "tcp-flags" Drop "T1046" "A combination of TCP flags that no honest sender uses.",
    Overlap 1025 "tcp-overlap" Drop "T1027" "Segments overlap with different bytes: two readers would see two streams.",
    UrgentData 1026 "tcp-urgent-data" Alert "T1027" "Urgent data where the application knows none: what the endpoint reads differs from what is in the stream (RFC 6093).",
    Teardrop 1030 "ip-teardrop" Drop "T1499.004" "Fragments of one datagram overlap, or contradict each other or themselves.",
    TinyFragment 1031 "ip-tiny-fragment" Drop "T1027" "A first fragment so small that it hides the upper header.",
    FragmentExhaustion 1032 "ip-fragment-exhaustion" Drop "T1499.001" "More incomplete datagrams than the memory for fragments holds.",
    PingOfDeath 1033 "ping-of-death" Drop "T1499.004" "A datagram that adds up to more than 65,535 bytes, or an ICMP message beyond its limit.",
    Land 1034 "land" Drop "T1499.004" "Source and destination are the same.",
    Smurf 1035 "smurf" Drop "T1498.002" "An echo request to a broadcast address, whose answers all go to the claimed sender.",
    IcmpTunnel 1036 "icmp-tunnelling" Alert "T1095" "ICMP messages that carry another conversation.",
    DnsZoneTransfer 1100 "dns-zone-transfer" Alert "T1590.002" "A whole zone is asked for (AXFR, IXFR).",
    DnsNullType 1101 "dns-null-type" Alert "T1071.004" "A record of type NULL, which only tunnels use.",
    DnsCompressionLoop 1102 "dns-compression-loop" Drop "T1499.004" "Compression pointers of a DNS message that lead in a circle or forward.",
    DnsOverflow 1103 "dns-buffer-overflow" Drop "T1203" "Lengths in a DNS message that overrun what they describe.",
    DnsTunnel 1104 "dns-tunnelling" Alert "T1071.004" "Names and records that carry another conversation: by their volume, entropy and variety.",
    DnsRebinding 1105 "dns-rebinding" Alert "T1557" "An outside name that resolves to an inside address.",
    DnsUnasked 1106 "dns-unasked-answer" Alert "T1557" "An answer to a question that was not asked.",
    SshVersion1 1110 "ssh-version-1" Alert "T1021.004" "SSH protocol version 1 is offered or used.",
    SshVersion2 1111 "ssh-version-2" Off "T1021.004" "SSH protocol version 2 is used.",
    SshVersion3 1112 "ssh-version-3" Alert "T1021.004" "An SSH version that does not exist is claimed.",
    Sslv2Hello 1120 "sslv2-hello" Alert "T1600" "A hello in the format of SSL 2.0.",
    Sslv2Use 1121 "sslv2-use" Alert "T1600" "A session of SSL 2.0.",
    Ssl3Use 1122 "ssl3-use" Alert "T1600" "A session of SSL 3.0.",
    Tls10Use 1123 "tls10-use" Alert "T1600" "A session of TLS 1.0.",
    Tls11Use 1124 "tls11-use" Alert "T1600" "A session of TLS 1.1.",
    TlsCipherOverflow 1125 "ssl-cipher-overflow" Drop "T1203" "A list of cipher suites that overruns its message.",
    Heartbleed 1126 "heartbleed" Drop "T1190" "A TLS heartbeat that claims more bytes than it has (CVE-2014-0160).",
    NegativeContentLength 1130 "http-negative-content-length" Drop "T1190" "A Content-Length that is negative or no number.",
    Smuggling 1131 "http-smuggling" Drop "T1190" "A message that two servers would delimit differently.",
    Slowloris 1132 "slowloris" Alert "T1499.002" "Requests whose heads never end, on many connections.",
    SlowBody 1133 "slow-body" Alert "T1499.002" "Request bodies that arrive so slowly that connections stay in use.",
    SqlInjection 1140 "sql-injection" Drop "T1190" "A value that changes the meaning of the SQL statement it is put into.",
    CommandInjection 1141 "command-injection" Drop "T1059" "A value that a shell would run.",
    PathTraversal 1142 "path-traversal" Drop "T1083" "A path that climbs out of what it is meant to stay in.",
    CrossSiteScripting 1143 "cross-site-scripting" Alert "T1059.007" "A value that a browser would run as script.",
    MetadataForgery 1144 "ssrf-metadata" Drop "T1552.005" "A request that makes the server ask a cloud's metadata service or a private scheme.",
    Struts 1145 "struts-rce" Drop "T1190" "An OGNL or XStream payload for Apache Struts (CVE-2017-5638, CVE-2017-9805).",
    Log4Shell 1146 "log4shell" Drop "T1190" "A JNDI lookup for Log4j, however disguised (CVE-2021-44228).",
    Spring4Shell 1147 "spring4shell" Drop "T1190" "A parameter that reaches Spring's class loader (CVE-2022-22965).",
    Shellshock 1148 "shellshock" Drop "T1190" "A function definition in a header, for bash (CVE-2014-6271).",
    MysqlDenied 1150 "mysql-access-denied" Alert "T1110" "A MySQL server refuses a login.",
    BruteForce 1151 "brute-force" Alert "T1110" "Logins of one source fail again and again.",
    SmbGhost 1152 "smbghost" Drop "T1210" "A compressed SMB message whose sizes overflow (CVE-2020-0796).",
    ExternalIp 1160 "k8s-mitm-external-ip" Alert "T1557" "A Kubernetes service claims an external address (CVE-2020-8554).",
    MetadataAccess 1161 "cloud-metadata-access" Alert "T1552.005" "A workload talks to the cloud's metadata service.",
    Beacon 1170 "beacon" Alert "T1071" "A workload calls out in equal intervals.",
    CommandAndControl 1171 "c2-traffic" Alert "T1071.001" "A connection bears the mark of known malware: fingerprint, certificate, protocol.",
    PolicyForgery 1180 "policy-forgery" Alert "T1562" "A node was sent a policy that its signed documents do not give; the one in force stays.",
    AlertFlood 1190 "alert-flood" Alert "" "One connection raised more findings than are told; the rest was counted.",
}

impl Threat {
    /// The threat of this name.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|threat| threat.name() == name)
    }
}

impl fmt::Display for Threat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_ids_are_unique() {
        let names: HashSet<_> = Threat::ALL.iter().map(|threat| threat.name()).collect();
        let ids: HashSet<_> = Threat::ALL.iter().map(|threat| threat.id()).collect();
        assert_eq!(names.len(), Threat::ALL.len());
        assert_eq!(ids.len(), Threat::ALL.len());
        for &threat in Threat::ALL {
            assert_eq!(Threat::by_name(threat.name()), Some(threat));
        }
    }
}
