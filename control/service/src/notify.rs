//! The few lines of `sd_notify(3)`: datagrams to the socket that NOTIFY_SOCKET names.
//!
//! Never waits and never fails: a daemon goes on whatever becomes of its manager.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

/// The longest status that is told.
const STATUS_BYTES_MAX: usize = 400;

/// Tells a service manager.
#[derive(Debug)]
pub struct Notifier {
    socket: UnixDatagram,
    manager: SocketAddr,
    watchdog: Option<Duration>,
}

impl Notifier {
    /// The one of the environment; None where nobody wants to know.
    pub fn from_environment() -> Option<Self> {
        let name = std::env::var_os("NOTIFY_SOCKET")?;
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        // A watchdog may be meant for another process of the service.
        let ours = number("WATCHDOG_PID").is_none_or(|id| id == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|it| ours && *it > 0);
        Self::to(&name, watchdog.map(Duration::from_micros))
    }

    /// To this socket: a path, or a name behind @. With a watchdog, something has to be told that often.
    pub fn to(name: &OsStr, watchdog: Option<Duration>) -> Option<Self> {
        let manager = match name.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
            [b'/', ..] => SocketAddr::from_pathname(name),
            _ => return None,
        };
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        Some(Self {
            socket,
            manager: manager.ok()?,
            watchdog,
        })
    }

    /// How often the watchdog wants to be fed at least.
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// It does its work.
    pub fn ready(&self) {
        self.tell("READY=1");
    }

    /// It ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1");
    }

    /// Another process of the service is its main one from now on.
    pub fn main_process(&self, id: u32) {
        self.tell(&format!("MAINPID={id}"));
    }

    /// It makes progress.
    pub fn alive(&self) {
        self.tell("WATCHDOG=1");
    }

    /// A line for `systemctl status`.
    pub fn status(&self, text: &str) {
        let mut line: String = text.chars().filter(|it| !it.is_control()).collect();
        let end = line.floor_char_boundary(STATUS_BYTES_MAX);
        line.truncate(end);
        self.tell(&format!("STATUS={line}"));
    }

    fn tell(&self, text: &str) {
        let _ = self.socket.send_to_addr(text.as_bytes(), &self.manager);
    }
}
