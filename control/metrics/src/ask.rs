//! Asks a daemon of this machine whether it does its work: for container engines, which run a command.
//!
//! Distrusts who answers: it has [`WITHIN`] for it, and no more than [`ANSWER_BYTES_MAX`] are read.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// For connecting, and for each of asking and reading.
const WITHIN: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What a daemon answers at `/readyz`: whether it does its work, and what it says of itself.
pub fn ask_readiness(address: SocketAddr) -> Result<(bool, String)> {
    let mut stream = TcpStream::connect_timeout(&reachable(address), WITHIN)?;
    stream.set_read_timeout(Some(WITHIN))?;
    stream.set_write_timeout(Some(WITHIN))?;
    write!(stream, "GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer
        .split_once("\r\n\r\n")
        .ok_or_else(|| Error::new(ErrorKind::InvalidData, "this is no answer of HTTP"))?;
    let is_ready = head.split(' ').nth(1) == Some("200");
    Ok((is_ready, body.trim_end().to_owned()))
}

/// Who serves on every address is asked on the loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let loopback = match address.ip() {
        ip if !ip.is_unspecified() => ip,
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(loopback, address.port())
}
