//! `[threats.network]`: from which rate, size or number on something is told. The defaults are starting points
//! that ordinary clusters stay below; rates are per second, and the sizes of tables hold from the start on.

use serde::Deserialize;

/// `[threats.network]`
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What lasts is told at its beginning and then at most this often. 60 s.
    pub repeat_s: u32,
    /// A SYN flood begins at so many unfinished handshakes a second, of one source or to one target. 800.
    pub syn_on_per_s: u32,
    /// And ends when there were fewer than this for `flood_hold_s`. 600.
    pub syn_off_per_s: u32,
    /// A source that never finished a handshake is judged after this long. 180 ms.
    pub syn_patience_ms: u32,
    /// So many unfinished handshakes of one source are a flood however short, and twice as many to one
    /// target. 1,000.
    pub syn_burst: u32,
    /// While a flood lasts so many SYNs of unknown sources pass, chosen by chance, a second and target. 100.
    pub syn_admit_per_s: u32,
    /// For so long a source that finished a handshake counts as real. 600 s.
    pub syn_known_s: u32,
    /// How long below its threshold ends a flood. 5 s.
    pub flood_hold_s: u32,
    /// ICMP messages from one source to one target, those that answer left out. 100.
    pub icmp_pair_per_s: u32,
    /// ICMP messages to one target from all sources. 1,000.
    pub icmp_target_per_s: u32,
    /// New UDP flows to one target that get no answer. 800.
    pub udp_unanswered_per_s: u32,
    /// Datagrams to one target that never answers. 5,000.
    pub udp_one_way_per_s: u32,
    /// DNS questions from one source to one server. 800.
    pub dns_pair_per_s: u32,
    /// DNS questions to one server from all sources. 10,000.
    pub dns_target_per_s: u32,
    /// DHCP requests in one network, over five seconds. 20.
    pub dhcp_per_s: u32,
    /// Connections that one source holds. 2,000.
    pub sessions_per_source: u32,
    /// Connections that one source begins a second. 1,000.
    pub session_rate_per_s: u32,
    /// Points that make a scan: a place that refuses 4, a handshake that is given up at once 4, silence of TCP
    /// 2 and of UDP 1, a stealth probe 16. Each place counts once. 30.
    pub scan_points: u32,
    /// Over how long points are gathered, after the first. 3,600 s.
    pub scan_window_s: u32,
    /// Windows below this many bytes are shut. 16.
    pub small_window_bytes: u32,
    /// How long a window that was never wide may be shut in all. 4,000 ms.
    pub shut_window_ms: u32,
    /// How long a window may be open by less than `small_window_bytes`. 8,000 ms.
    pub small_window_ms: u32,
    /// A window that was once this wide belongs to a reader who pauses. 4,096 bytes.
    pub wide_window_bytes: u32,
    /// Smallest honest maximum segment size. 256.
    pub mss_min: u16,
    /// Longest honest ICMP message. 32,000 bytes.
    pub icmp_max_bytes: u32,
    /// Points that make an ICMP tunnel: an answer that differs from its question 2, an answer to nothing 2, a
    /// packet within the message 6. 6.
    pub icmp_tunnel_points: u8,
    /// Questions of one ping whose pattern changed. 16.
    pub icmp_changes: u8,
    /// Datagrams for one target whose fragments do not all arrive, a second. 100.
    pub incomplete_per_s: u32,
    /// Connections in equal intervals that make a beacon. 16.
    pub beacon_connections: u32,
    /// How far an interval may be off, in percent (one second is always allowed). 10.
    pub beacon_jitter_percent: u32,
    /// Shorter intervals are no beacon. 5 s.
    pub beacon_min_s: u32,
    /// Sources that are counted. 32,768; 56 bytes each.
    pub sources: usize,
    /// Targets that are counted. 16,384; 136 bytes each.
    pub targets: usize,
    /// Pairs of source and target that are counted. 16,384; 32 bytes each.
    pub pairs: usize,
    /// Sources and pairs whose connections fail, each. 8,192; 120 bytes each.
    pub scanners: usize,
    /// Services outside that are called again and again. 8,192; 32 bytes each.
    pub services: usize,
    /// SYNs that were turned away and may come again. 131,072; 8 bytes each.
    pub turned_away: usize,
}

impl Settings {
    /// Sets a threshold by its name, as a policy may; false where policies have no such threshold.
    pub fn set(&mut self, name: &str, value: u32) -> bool {
        match name {
            "repeat_s" => self.repeat_s = value,
            "syn_on_per_s" => self.syn_on_per_s = value,
            "syn_off_per_s" => self.syn_off_per_s = value,
            "syn_burst" => self.syn_burst = value,
            "icmp_pair_per_s" => self.icmp_pair_per_s = value,
            "icmp_target_per_s" => self.icmp_target_per_s = value,
            "udp_unanswered_per_s" => self.udp_unanswered_per_s = value,
            "udp_one_way_per_s" => self.udp_one_way_per_s = value,
            "dns_pair_per_s" => self.dns_pair_per_s = value,
            "dns_target_per_s" => self.dns_target_per_s = value,
            "sessions_per_source" => self.sessions_per_source = value,
            "session_rate_per_s" => self.session_rate_per_s = value,
            "scan_points" => self.scan_points = value,
            "scan_window_s" => self.scan_window_s = value,
            "small_window_bytes" => self.small_window_bytes = value,
            "shut_window_ms" => self.shut_window_ms = value,
            "icmp_max_bytes" => self.icmp_max_bytes = value,
            "incomplete_per_s" => self.incomplete_per_s = value,
            "beacon_connections" => self.beacon_connections = value,
            "beacon_jitter_percent" => self.beacon_jitter_percent = value,
            "beacon_min_s" => self.beacon_min_s = value,
            "mss_min" => self.mss_min = u16::try_from(value).unwrap_or(u16::MAX),
            _ => return false,
        }
        true
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            repeat_s: 60,
            syn_on_per_s: 800,
            syn_off_per_s: 600,
            syn_patience_ms: 180,
            syn_burst: 1000,
            syn_admit_per_s: 100,
            syn_known_s: 600,
            flood_hold_s: 5,
            icmp_pair_per_s: 100,
            icmp_target_per_s: 1000,
            udp_unanswered_per_s: 800,
            udp_one_way_per_s: 5000,
            dns_pair_per_s: 800,
            dns_target_per_s: 10_000,
            dhcp_per_s: 20,
            sessions_per_source: 2000,
            session_rate_per_s: 1000,
            scan_points: 30,
            scan_window_s: 3600,
            small_window_bytes: 16,
            shut_window_ms: 4000,
            small_window_ms: 8000,
            wide_window_bytes: 4096,
            mss_min: 256,
            icmp_max_bytes: 32_000,
            icmp_tunnel_points: 6,
            icmp_changes: 16,
            incomplete_per_s: 100,
            beacon_connections: 16,
            beacon_jitter_percent: 10,
            beacon_min_s: 5,
            sources: 32_768,
            targets: 16_384,
            pairs: 16_384,
            scanners: 8192,
            services: 8192,
            turned_away: 131_072,
        }
    }
}
