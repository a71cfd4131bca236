//! What is read of a machine: files and links of /proc and /sys, a few others, and what tools print.
//!
//! Trusts the kernel to say what is so. Distrusts that anything can be read at all, or has a sensible
//! size: whatever cannot be had is an [`Unread`], which says why. Memory: at most 4 MiB a file and
//! 65,536 entries a directory at a time; with [`Machine::recording`] what was read is kept.

use std::cell::RefCell;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::record::{Item, Record};

/// The longest file that is read.
const FILE_BYTES_MAX: u64 = 4 << 20;
/// The largest directory that is listed.
const ENTRIES_MAX: usize = 1 << 16;
/// How long a tool may take.
const TOOL_TIMEOUT: Duration = Duration::from_secs(5);
/// Where, below the root of a recorded machine, the output of its tools is.
const TOOLS: &str = "/tools";

/// A machine: this one, or what was recorded of another.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    tools: Tools,
    seen: Option<RefCell<Record>>,
}

/// Where the output of tools comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tools {
    Run,
    Recorded,
}

/// What could not be read, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Its path, or the tool's command line.
    pub path: String,
    /// Why.
    pub why: Why,
}

/// Why something cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is not there.
    Missing,
    /// This user may not.
    Denied,
    /// What the system says.
    Failed(String),
}

impl Machine {
    /// The machine this runs on.
    pub fn here() -> Self {
        Self {
            root: PathBuf::from("/"),
            tools: Tools::Run,
            seen: None,
        }
    }

    /// The machine whose files are below this directory. Tools are not run: what they printed is in
    /// `tools/`, in files named by their command lines.
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            tools: match root == Path::new("/") {
                true => Tools::Run,
                false => Tools::Recorded,
            },
            seen: None,
        }
    }

    /// From now on what is read is kept, for [`Machine::record`].
    pub fn recording(mut self) -> Self {
        self.seen = Some(RefCell::default());
        self
    }

    /// What was read so far.
    pub fn record(&self) -> Record {
        let seen = self.seen.as_ref();
        seen.map(|seen| seen.borrow().clone()).unwrap_or_default()
    }

    /// Where an absolute path of the machine is.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// A file's text.
    pub fn text(&self, path: &str) -> Result<String, Unread> {
        let text = self.peek(path)?;
        self.see(path, || Item::File(text.clone()));
        Ok(text)
    }

    /// A file's text, which no recording keeps: it may hold what is nobody's business.
    pub fn peek(&self, path: &str) -> Result<String, Unread> {
        read_bounded(&self.path(path)).map_err(|error| Unread::new(path, &error))
    }

    /// A file's text without the white space around it.
    pub fn word(&self, path: &str) -> Result<String, Unread> {
        self.text(path).map(|text| text.trim().to_owned())
    }

    /// A file's number.
    pub fn number<T: std::str::FromStr>(&self, path: &str) -> Result<T, Unread> {
        let word = self.word(path)?;
        word.parse().map_err(|_| Unread {
            path: path.to_owned(),
            why: Why::Failed(format!("{:?} is not a number", shortened(&word))),
        })
    }

    /// The names in a directory, sorted; numbers as numbers.
    pub fn entries(&self, path: &str) -> Result<Vec<String>, Unread> {
        let names = self.peek_entries(path)?;
        self.see(path, || Item::Directory);
        for name in &names {
            self.see(&format!("{path}/{name}"), || Item::Directory);
        }
        Ok(names)
    }

    /// The names in a directory, which no recording keeps.
    pub fn peek_entries(&self, path: &str) -> Result<Vec<String>, Unread> {
        let unread = |error: io::Error| Unread::new(path, &error);
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(path))
            .map_err(unread)?
            .take(ENTRIES_MAX)
        {
            let name = entry.map_err(unread)?.file_name();
            names.extend(name.into_string().ok());
        }
        names.sort_by(|left, right| natural(left).cmp(&natural(right)));
        Ok(names)
    }

    /// Where a link points, as it is written.
    pub fn link(&self, path: &str) -> Result<String, Unread> {
        let target = self.peek_link(path)?;
        self.see(path, || Item::Link(target.clone()));
        Ok(target)
    }

    /// Where a link points, which no recording keeps.
    pub fn peek_link(&self, path: &str) -> Result<String, Unread> {
        let target = fs::read_link(self.path(path)).map_err(|error| Unread::new(path, &error))?;
        Ok(target.to_string_lossy().into_owned())
    }

    /// The last part of where a link points: sysfs names drivers and groups so.
    pub fn link_name(&self, path: &str) -> Result<String, Unread> {
        let target = self.link(path)?;
        let name = target.rsplit('/').next().unwrap_or_default();
        Ok(name.to_owned())
    }

    /// Whether there is something, as far as can be seen.
    pub fn exists(&self, path: &str) -> bool {
        let found = fs::symlink_metadata(self.path(path));
        if let Ok(found) = &found {
            self.see(path, || match found.is_dir() {
                true => Item::Directory,
                false => Item::File(String::new()),
            });
        }
        found.is_ok()
    }

    /// The numbers of the user and the group that a file belongs to.
    pub fn owner(&self, path: &str) -> Option<(u32, u32)> {
        let found = fs::metadata(self.path(path)).ok()?;
        Some((found.uid(), found.gid()))
    }

    /// What a tool prints, without its errors.
    pub fn tool(&self, program: &str, arguments: &[&str]) -> Result<String, Unread> {
        let line = [&[program], arguments].concat().join(" ");
        let path = format!("{TOOLS}/{line}");
        let printed = match self.tools {
            Tools::Recorded => read_bounded(&self.path(&path)),
            Tools::Run => run(program, arguments),
        };
        let printed = printed.map_err(|error| Unread::new(&line, &error))?;
        self.see(&path, || Item::File(printed.clone()));
        Ok(printed)
    }

    /// Remembers what was read. What is only known to exist does not replace what it holds.
    fn see(&self, path: &str, item: impl FnOnce() -> Item) {
        let Some(seen) = &self.seen else { return };
        seen.borrow_mut().keep(path, item());
    }
}

impl Unread {
    fn new(path: &str, error: &io::Error) -> Self {
        let why = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Why::Missing,
            io::ErrorKind::PermissionDenied => Why::Denied,
            _ => Why::Failed(error.to_string()),
        };
        Self {
            path: path.to_owned(),
            why,
        }
    }
}

impl fmt::Display for Unread {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, why } = self;
        match why {
            Why::Missing => write!(out, "{path} is not there"),
            Why::Denied => write!(out, "{path} cannot be read by this user"),
            Why::Failed(what) => write!(out, "{path} cannot be read: {what}"),
        }
    }
}

impl std::error::Error for Unread {}

fn read_bounded(path: &Path) -> io::Result<String> {
    // A pipe or a device would be waited for.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(FILE_BYTES_MAX)
        .read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Runs a tool that only asks. One that hangs is ended.
fn run(program: &str, arguments: &[&str]) -> io::Result<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let reader = child.stdout.take().map(|output| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let read = output.take(FILE_BYTES_MAX).read_to_end(&mut bytes);
            read.map(|_| bytes)
        })
    });
    let begun = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if begun.elapsed() > TOOL_TIMEOUT => {
                child.kill()?;
                child.wait()?;
                return Err(io::Error::other("it takes too long"));
            }
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    let bytes = match reader.map(std::thread::JoinHandle::join) {
        Some(Ok(read)) => read?,
        _ => Vec::new(),
    };
    if !status.success() {
        return Err(io::Error::other(format!("it ended with {status}")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A key by which node2 comes before node10.
fn natural(name: &str) -> (String, u64, &str) {
    let digits = name.find(|letter: char| letter.is_ascii_digit());
    let (word, rest) = name.split_at(digits.unwrap_or(name.len()));
    let end = rest.find(|letter: char| !letter.is_ascii_digit());
    let number = &rest[..end.unwrap_or(rest.len())];
    (word.to_owned(), number.parse().unwrap_or(0), name)
}

fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_says_why() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("proc")).unwrap();
        fs::write(directory.path().join("proc/number"), "many\n").unwrap();
        let machine = Machine::at(directory.path());
        let missing = machine.text("/proc/nothing").unwrap_err();
        assert_eq!(missing.to_string(), "/proc/nothing is not there");
        assert!(machine.text("/proc").is_err());
        let wrong = machine.number::<u32>("/proc/number").unwrap_err();
        assert!(wrong.to_string().contains("\"many\" is not a number"));
        assert_eq!(machine.tool("ethtool", &[]).unwrap_err().why, Why::Missing);
    }

    #[test]
    fn names_are_sorted_as_people_do() {
        let mut names = vec!["node10", "node2", "cpu", "node1"];
        names.sort_by(|left, right| natural(left).cmp(&natural(right)));
        assert_eq!(names, ["cpu", "node1", "node2", "node10"]);
    }
}
