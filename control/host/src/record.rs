//! What was read of a machine, as text that can be sent and laid out again elsewhere.
//!
//! Distrusts whoever wrote it: nothing is laid out but below the root that is given, and no link leads
//! out of it. Memory: 64 MiB at most.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How much a recording may hold.
const RECORD_BYTES_MAX: usize = 64 << 20;
/// So many links are followed on the way to a file that is laid out.
const LINKS_MAX: usize = 32;

/// What was read of a machine, to be laid out again elsewhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    items: BTreeMap<String, Item>,
    bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    File(String),
    Link(String),
    Directory,
}

/// Why a recording cannot be laid out.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is not a recording.
    #[error("line {line}: {what}; a recording is what weir doctor --record wrote")]
    Form {
        /// Where.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A link that leads out of it.
    #[error("the link {path} leads out of the recording; nobody recorded that on a machine")]
    Link {
        /// The link.
        path: String,
    },
    /// The directory.
    #[error("cannot lay out the recording: {0}")]
    Write(#[from] io::Error),
}

impl Record {
    /// Keeps what was read. What is only known to exist does not replace what it holds.
    pub(crate) fn keep(&mut self, path: &str, item: Item) {
        let poorer =
            matches!(&item, Item::File(text) if text.is_empty()) || item == Item::Directory;
        if poorer && self.items.contains_key(path) {
            return;
        }
        let length = match &item {
            Item::File(text) | Item::Link(text) => text.len(),
            Item::Directory => 0,
        };
        let bytes = path.len() + length;
        if self.bytes + bytes <= RECORD_BYTES_MAX {
            self.bytes += bytes;
            self.items.insert(path.to_owned(), item);
        }
    }

    /// Reads what [`Record`] displays: `== PATH`, `-> TARGET` behind it for a link, `/` behind it for a
    /// directory, and the lines of a file, each after `|`.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        let mut record = Self::default();
        let mut open: Option<String> = None;
        for (index, line) in text.lines().enumerate() {
            let wrong = |what| RecordError::Form {
                line: index + 1,
                what,
            };
            if let Some(content) = line.strip_prefix('|') {
                let path = open.as_ref().ok_or_else(|| wrong("no path precedes it"))?;
                if let Some(Item::File(file)) = record.items.get_mut(path) {
                    file.push_str(content);
                    file.push('\n');
                }
            } else if let Some(head) = line.strip_prefix("== ") {
                let (path, item) =
                    head_of(head).ok_or_else(|| wrong("this is no absolute path"))?;
                open = matches!(item, Item::File(_)).then(|| path.clone());
                record.items.insert(path, item);
            } else if !line.is_empty() && !line.starts_with('#') {
                return Err(wrong("it begins with neither ==, | nor #"));
            }
        }
        record.bytes = text.len();
        Ok(record)
    }

    /// Lays it out below a directory, for [`Machine::at`]. Whoever wrote it: nothing is laid out
    /// anywhere else, and no link leads out.
    pub fn lay_out(&self, root: &Path) -> Result<(), RecordError> {
        for (path, item) in &self.items {
            let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
            let parent = directory(root, parent)?;
            let place = parent.join(name);
            if place.symlink_metadata().is_ok() {
                continue;
            }
            match item {
                Item::Directory => fs::create_dir(&place)?,
                Item::File(text) => fs::write(&place, text)?,
                Item::Link(target) => {
                    let depth = parent.strip_prefix(root).map(|it| it.iter().count());
                    let within = stays_within(target, depth.unwrap_or(0));
                    if !within && !is_open_file(path) {
                        return Err(RecordError::Link { path: path.clone() });
                    }
                    std::os::unix::fs::symlink(target, &place)?;
                }
            }
        }
        Ok(())
    }
}

/// The directory of a path below a root, made where it is missing. The links on the way are ours, and
/// stay within.
fn directory(root: &Path, path: &str) -> io::Result<PathBuf> {
    let parts = |text: &str| -> Vec<String> { text.split('/').rev().map(str::to_owned).collect() };
    let mut open = parts(path);
    let mut current = root.to_owned();
    let mut links = 0;
    while let Some(part) = open.pop() {
        if part == ".." {
            current.pop();
        }
        if matches!(part.as_str(), "" | "." | "..") {
            continue;
        }
        let next = current.join(&part);
        match next.symlink_metadata() {
            Ok(found) if found.is_symlink() => {
                links += 1;
                let target = fs::read_link(&next)?;
                if links > LINKS_MAX || target.is_absolute() {
                    return Err(io::Error::other("its links lead nowhere"));
                }
                open.extend(parts(&target.to_string_lossy()));
            }
            Ok(_) => current = next,
            Err(_) => {
                fs::create_dir(&next)?;
                current = next;
            }
        }
    }
    Ok(current)
}

/// The links of `/proc/PID/fd` tell what a process has open; they are never followed.
fn is_open_file(path: &str) -> bool {
    let number = |text: &str| text.bytes().all(|it| it.is_ascii_digit());
    match path.split('/').collect::<Vec<_>>()[..] {
        ["", "proc", process, "fd", file] => number(process) && number(file),
        _ => false,
    }
}

/// Whether a link in a directory so deep below the root leads nowhere else: up first, then only down.
fn stays_within(target: &str, depth: usize) -> bool {
    let mut parts = target.split('/').peekable();
    let mut ups = 0;
    while parts.next_if_eq(&"..").is_some() {
        ups += 1;
    }
    ups <= depth && parts.all(|part| !matches!(part, "" | "." | ".."))
}

impl fmt::Display for Record {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, item) in &self.items {
            match item {
                Item::Link(target) => writeln!(out, "== {path} -> {target}")?,
                Item::Directory => writeln!(out, "== {path}/")?,
                Item::File(text) => {
                    writeln!(out, "== {path}")?;
                    // Some files of /proc separate with zeros.
                    for line in text.lines() {
                        out.write_char('|')?;
                        writeln!(out, "{}", line.replace('\0', " "))?;
                    }
                }
            }
        }
        Ok(())
    }
}

fn head_of(head: &str) -> Option<(String, Item)> {
    let (path, item) = match head.split_once(" -> ") {
        Some((path, target)) => (path, Item::Link(target.to_owned())),
        None => match head.strip_suffix('/') {
            Some(path) => (path, Item::Directory),
            None => (head, Item::File(String::new())),
        },
    };
    let within = path.starts_with('/') && !path.split('/').any(|part| part == "..");
    within.then(|| (path.to_owned(), item))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Machine;

    #[test]
    fn a_recording_is_laid_out_as_it_was() {
        let text = "# a machine\n== /proc/cmdline\n|quiet iommu=pt\n== /sys/bus/\n\
                    == /sys/driver -> ../drivers/igb\n== /tools/ethtool -i eno1\n|driver: igb\n|\n|x\n";
        let record = Record::parse(text).unwrap();
        let directory = tempfile::tempdir().unwrap();
        record.lay_out(directory.path()).unwrap();
        let machine = Machine::at(directory.path()).recording();
        assert_eq!(machine.word("/proc/cmdline").unwrap(), "quiet iommu=pt");
        assert_eq!(machine.link_name("/sys/driver").unwrap(), "igb");
        assert!(machine.entries("/sys/bus").unwrap().is_empty());
        let printed = machine.tool("ethtool", &["-i", "eno1"]).unwrap();
        assert_eq!(printed, "driver: igb\n\nx\n");
        let again = Record::parse(&machine.record().to_string()).unwrap();
        assert_eq!(again.items, record.items);
    }

    #[test]
    fn a_recording_stays_below_its_root() {
        for wrong in ["== /../x", "== x", "|text", "text"] {
            assert!(Record::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_of_a_recording_lands_elsewhere() {
        let outer = tempfile::tempdir().unwrap();
        let root = outer.path().join("a/b/root");
        fs::create_dir_all(&root).unwrap();
        let beside = outer.path().join("beside");
        let absolute = format!("== /x -> {}\n== /x/file\n|text\n", beside.display());
        for text in [
            absolute.as_str(),
            "== /x -> ../../../beside\n== /x/file\n|text\n",
            "== /p/q/up -> ../..\n== /p/q/up/out -> ../../beside\n== /p/q/up/out/file\n|text\n",
            "== /x -> y/../../../../beside\n== /x/file\n|text\n",
            "== /x -> /etc\n",
            "== /proc/x/fd/1 -> /etc\n",
        ] {
            let laid = Record::parse(text).unwrap().lay_out(&root);
            assert!(
                matches!(laid, Err(RecordError::Link { .. })),
                "{text}: {laid:?}"
            );
            assert!(!beside.exists());
            fs::remove_dir_all(&root).unwrap();
            fs::create_dir(&root).unwrap();
        }
        let through = "== /proc/1/fd/1 -> /etc\n== /proc/1/fd/1/file\n|text\n";
        assert!(Record::parse(through).unwrap().lay_out(&root).is_err());
        let round = "== /x -> y\n== /y -> x\n== /y/file\n|text\n";
        assert!(Record::parse(round).unwrap().lay_out(&root).is_err());
    }

    #[test]
    fn what_lies_behind_a_link_is_laid_out_behind_it() {
        let text = "== /class/net/eno1 -> ../../devices/0000:01:00.0/net/eno1\n\
                    == /class/net/eno1/carrier\n|1\n";
        let directory = tempfile::tempdir().unwrap();
        Record::parse(text)
            .unwrap()
            .lay_out(directory.path())
            .unwrap();
        let machine = Machine::at(directory.path());
        let device = "/devices/0000:01:00.0/net/eno1/carrier";
        assert_eq!(machine.word(device).unwrap(), "1");
        assert_eq!(machine.word("/class/net/eno1/carrier").unwrap(), "1");
    }
}
