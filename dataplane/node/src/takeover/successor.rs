//! One process after the other, without waiting: the next one is started by the one before, makes ready all that
//! needs no port, and says so; then the one before lets go of its ports and leaves its flows.
//!
//! They speak over a socket that is the next one's standard input: `ready` one way, `gone` the other. Whoever
//! hears the end of the stream instead goes on alone: the one before keeps its ports, the next one takes them.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// How long the next process may take to make ready.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long the one before may take to let go.
const GONE_WITHIN: Duration = Duration::from_secs(20);
/// What tells a process that it is the next one.
pub const FLAG: &str = "--take-over";

/// The next process, seen by the one before.
#[derive(Debug)]
pub struct Successor {
    child: Child,
    socket: UnixStream,
}

impl Successor {
    /// Starts the program that is on disk now as this one was started, and waits until it is ready to take over.
    /// Blocks; where it fails this process is as it was.
    pub fn start() -> Result<Self, String> {
        let program = program()?;
        // It opens the cards itself, when this process has let go of them.
        weir_dpdk::keep_files_from_children().map_err(|why| why.to_string())?;
        let arguments = std::env::args_os().skip(1).filter(|it| it != FLAG);
        let (ours, theirs) = UnixStream::pair().map_err(|why| why.to_string())?;
        let child = Command::new(&program)
            .args(arguments)
            .arg(FLAG)
            .env_remove("WATCHDOG_PID")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn();
        let child = child.map_err(|why| format!("cannot start {}: {why}", program.display()))?;
        let mut successor = Self {
            child,
            socket: ours,
        };
        match successor.hear(READY_WITHIN) {
            Ok(word) if word == "ready" => Ok(successor),
            heard => {
                let _ = successor.child.kill();
                let ended = successor.child.wait().map(|status| status.to_string());
                let heard = heard.unwrap_or_else(|why| why.to_string());
                Err(format!(
                    "the next process did not get ready ({heard}; {}); its log says why",
                    ended.unwrap_or_default()
                ))
            }
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ports are free, and what was left is there.
    pub fn go(&mut self) -> std::io::Result<()> {
        self.socket.write_all(b"gone\n")
    }

    fn hear(&mut self, within: Duration) -> std::io::Result<String> {
        hear(&self.socket, within)
    }
}

/// The process before, seen by the next one.
#[derive(Debug)]
pub struct Predecessor {
    socket: UnixStream,
}

impl Predecessor {
    /// The one at the other end of standard input.
    pub fn from_standard_input() -> std::io::Result<Self> {
        let socket = std::io::stdin().as_fd().try_clone_to_owned()?;
        let socket = UnixStream::from(socket);
        // Anything else than a socket has no such time.
        socket.set_read_timeout(Some(GONE_WITHIN))?;
        Ok(Self { socket })
    }

    /// All is ready that needs no port. Returns when the ports are free: told so, or the other one is gone.
    pub fn ready(&mut self) -> std::io::Result<()> {
        self.socket.write_all(b"ready\n")?;
        match hear(&self.socket, GONE_WITHIN)?.as_str() {
            "gone" | "" => Ok(()),
            other => Err(std::io::Error::other(format!(
                "the process before said {other:?}"
            ))),
        }
    }
}

/// A line, or nothing where the stream ends.
fn hear(socket: &UnixStream, within: Duration) -> std::io::Result<String> {
    socket.set_read_timeout(Some(within))?;
    let mut line = String::new();
    BufReader::new(socket).read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// The program as it lies on disk now: an upgrade has put another one there.
fn program() -> Result<PathBuf, String> {
    let told = std::env::current_exe().map_err(|why| format!("its program is unknown: {why}"))?;
    let text = told.to_string_lossy();
    Ok(match text.strip_suffix(" (deleted)") {
        Some(path) => PathBuf::from(path),
        None => told,
    })
}
