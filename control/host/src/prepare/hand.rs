//! What changes a machine: writing to files of sysfs, loading a module, giving a device file away.
//! Apart, so that tests can stand in for the kernel.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::chown;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::addresses;
use crate::machine::Machine;

/// Changes a machine.
pub trait Hand {
    /// Writes to a file that is there.
    fn write(&mut self, path: &str, text: &str) -> io::Result<()>;
    /// Loads a module of the kernel.
    fn load(&mut self, module: &str) -> io::Result<()>;
    /// Has `ip` do what these lines say, all of them as far as they can be done.
    fn ip(&mut self, lines: &[String]) -> Result<(), String>;
    /// Makes a user and his group the owners of a file.
    fn give(&mut self, path: &str, user: u32, group: u32) -> io::Result<()>;
}

/// The machine this runs on, or one below another root, where nothing reacts to what is written.
#[derive(Debug)]
pub struct Kernel {
    root: PathBuf,
}

impl Kernel {
    /// Changes this machine.
    pub fn of(machine: &Machine) -> Self {
        Self {
            root: machine.path("/"),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

impl Hand for Kernel {
    fn write(&mut self, path: &str, text: &str) -> io::Result<()> {
        // Never made: what is not there the kernel does not know.
        let mut file = OpenOptions::new().write(true).open(self.path(path))?;
        file.write_all(text.as_bytes())
    }

    fn load(&mut self, module: &str) -> io::Result<()> {
        if self.root != std::path::Path::new("/") {
            return Err(io::Error::other("this is not the machine that runs"));
        }
        let output = Command::new("modprobe")
            .arg(module)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null())
            .output()?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr);
                Err(io::Error::other(said.trim().to_owned()))
            }
        }
    }

    fn ip(&mut self, lines: &[String]) -> Result<(), String> {
        match self.root == std::path::Path::new("/") {
            true => addresses::ip(lines),
            false => Err("this is not the machine that runs".to_owned()),
        }
    }

    fn give(&mut self, path: &str, user: u32, group: u32) -> io::Result<()> {
        chown(self.path(path), Some(user), Some(group))
    }
}
