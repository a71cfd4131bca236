//! Values as people read them.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use weir_api::v1;
use weir_model::Protocol;

/// "allow", "deny".
pub fn action(action: v1::Action) -> &'static str {
    match action {
        v1::Action::Unspecified => "",
        v1::Action::Allow => "allow",
        v1::Action::Deny => "deny",
    }
}

/// "discover", "monitor", "protect".
pub fn mode(mode: v1::Mode) -> &'static str {
    match mode {
        v1::Mode::Unspecified => "",
        v1::Mode::Discover => "discover",
        v1::Mode::Monitor => "monitor",
        v1::Mode::Protect => "protect",
    }
}

/// "forward", "drop", "reset".
pub fn wire_action(action: v1::WireAction) -> &'static str {
    match action {
        v1::WireAction::Unspecified => "",
        v1::WireAction::Forward => "forward",
        v1::WireAction::Drop => "drop",
        v1::WireAction::Reset => "reset",
    }
}

/// "tcp", or the number.
pub fn protocol(number: u32) -> String {
    known(number).map_or_else(|| number.to_string(), |protocol| protocol.to_string())
}

/// "3306/tcp", or "icmp", which has no ports.
pub fn service(port: u32, number: u32) -> String {
    let protocol = protocol(number);
    if has_ports(number) {
        format!("{port}/{protocol}")
    } else {
        protocol
    }
}

/// An address, with its port where the protocol has ports.
pub fn end(address: &[u8], port: u32, number: u32) -> String {
    let address = match (<[u8; 4]>::try_from(address), <[u8; 16]>::try_from(address)) {
        (Ok(v4), _) => IpAddr::from(v4),
        (_, Ok(v6)) => IpAddr::from(v6).to_canonical(),
        _ => return String::new(),
    };
    match address {
        _ if !has_ports(number) => address.to_string(),
        IpAddr::V4(v4) => format!("{v4}:{port}"),
        IpAddr::V6(v6) => format!("[{v6}]:{port}"),
    }
}

fn known(number: u32) -> Option<Protocol> {
    u8::try_from(number).ok().map(Protocol)
}

fn has_ports(number: u32) -> bool {
    known(number).is_some_and(Protocol::has_ports)
}

/// "1 workload", "2 workloads".
pub fn count(number: u64, of: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {of}{plural}")
}

/// RFC 3339 in UTC, to the millisecond; empty for 0.
pub fn time(unix_us: u64) -> String {
    if unix_us == 0 {
        return String::new();
    }
    match UNIX_EPOCH.checked_add(Duration::from_micros(unix_us)) {
        Some(time) if unix_us < 253_402_300_800_000_000 => {
            humantime::format_rfc3339_millis(time).to_string()
        }
        _ => unix_us.to_string(),
    }
}

/// Microseconds since 1970 at a time, or so long ago.
pub fn since(text: &str) -> Result<u64, String> {
    let time = match humantime::parse_duration(text) {
        Ok(age) => SystemTime::now().checked_sub(age),
        Err(_) => humantime::parse_rfc3339_weak(text).ok(),
    };
    let since = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let since = since.ok_or("write an age (15m, 2d) or a time in UTC (2026-01-31T12:00:00Z)")?;
    Ok(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

/// "3s ago"; empty for 0.
pub fn ago(unix_us: u64) -> String {
    if unix_us == 0 {
        return String::new();
    }
    let then = UNIX_EPOCH + Duration::from_micros(unix_us);
    let age = SystemTime::now()
        .duration_since(then)
        .unwrap_or_default()
        .as_secs();
    match age {
        0..120 => format!("{age}s ago"),
        120..7_200 => format!("{}m ago", age / 60),
        7_200..172_800 => format!("{}h ago", age / 3_600),
        _ => format!("{}d ago", age / 86_400),
    }
}

/// "1.5 MiB".
pub fn bytes(number: u64) -> String {
    let mut value = number as f64;
    let mut unit = "B";
    for larger in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" {
        format!("{number} B")
    } else {
        format!("{value:.1} {unit}")
    }
}
