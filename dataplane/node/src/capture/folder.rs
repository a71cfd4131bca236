//! The directory of captures: so many bytes and files, the oldest removed for new ones.
//!
//! Files are named by time, who wanted them, whose packets they are, and the capture's id at the end;
//! only such names are ever looked at, read or removed.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What every name ends with.
const ENDING: &str = ".pcapng";
/// Characters of a part of a name.
const PART_CHARS_MAX: usize = 80;
/// Entries of the directory that are looked at.
const ENTRIES_MAX: usize = 100_000;

/// The directory.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    bytes_max: u64,
    files_max: usize,
    /// Oldest first.
    files: Vec<Kept>,
    open: fn(&Path) -> io::Result<File>,
}

/// A file in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// When it was changed last, microseconds since 1970.
    pub changed_unix_us: u64,
    /// It is being written.
    pub open: bool,
}

impl Folder {
    /// Up to so many bytes in so many files. Makes the directory; what is there from before counts.
    pub fn open(path: &Path, bytes_max: u64, files_max: usize) -> Result<Self, String> {
        Self::open_with(path, bytes_max, files_max, create)
    }

    pub(super) fn open_with(
        path: &Path,
        bytes_max: u64,
        files_max: usize,
        open: fn(&Path) -> io::Result<File>,
    ) -> Result<Self, String> {
        let failed = |error: io::Error| {
            format!(
                "the directory of captures {} cannot be used: {error}; check capture.directory and its permissions",
                path.display()
            )
        };
        std::fs::create_dir_all(path).map_err(failed)?;
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).map_err(failed)?.take(ENTRIES_MAX) {
            let entry = entry.map_err(failed)?;
            let (Ok(name), Ok(metadata)) = (entry.file_name().into_string(), entry.metadata())
            else {
                continue;
            };
            if metadata.is_file() && id_of(&name).is_some() {
                let changed = metadata.modified().unwrap_or(UNIX_EPOCH);
                let changed = changed.duration_since(UNIX_EPOCH).unwrap_or_default();
                files.push(Kept {
                    name,
                    bytes: metadata.len(),
                    changed_unix_us: u64::try_from(changed.as_micros()).unwrap_or(u64::MAX),
                    open: false,
                });
            }
        }
        files.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Self {
            path: path.to_owned(),
            bytes_max,
            files_max: files_max.max(1),
            files,
            open,
        })
    }

    /// Makes a file for a capture; its name, and those that made way.
    pub fn begin(
        &mut self,
        now: SystemTime,
        (by, of, id): (&str, &str, &str),
    ) -> Result<(String, File, Vec<String>), String> {
        let time = humantime::format_rfc3339_seconds(now).to_string();
        let time: String = time.chars().filter(|it| !"-:".contains(*it)).collect();
        let name = format!("{time}-{}-{}-{}{ENDING}", part(by), part(of), plain(id));
        let gone = self.make_room(self.files_max - 1)?;
        let path = self.path.join(&name);
        let file = (self.open)(&path).map_err(|error| {
            format!(
                "{} cannot be made: {error}; check the directory's free space and permissions",
                path.display()
            )
        })?;
        self.files.push(Kept {
            name: name.clone(),
            bytes: 0,
            changed_unix_us: 0,
            open: true,
        });
        Ok((name, file, gone))
    }

    /// A file has grown to so many bytes; those that made way for it.
    pub fn grown(&mut self, name: &str, bytes: u64) -> Result<Vec<String>, String> {
        if let Some(kept) = self.files.iter_mut().find(|kept| kept.name == name) {
            kept.bytes = bytes;
        }
        self.make_room(self.files_max)
    }

    /// A file is written to its end.
    pub fn close(&mut self, name: &str) {
        if let Some(kept) = self.files.iter_mut().find(|kept| kept.name == name) {
            kept.open = false;
        }
    }

    /// A file is of no use.
    pub fn remove(&mut self, name: &str) {
        self.files.retain(|kept| kept.name != name);
        let _ = std::fs::remove_file(self.path.join(name));
    }

    /// Removes the oldest files until there are at most so many, and bytes within the bound.
    fn make_room(&mut self, files: usize) -> Result<Vec<String>, String> {
        let mut gone = Vec::new();
        while self.files.len() > files || self.bytes() > self.bytes_max {
            let Some(oldest) = self.files.iter().position(|kept| !kept.open) else {
                return Err(format!(
                    "the captures that are being written fill the {} bytes of {}; end some, or raise capture.megabytes",
                    self.bytes_max,
                    self.path.display()
                ));
            };
            let kept = self.files.remove(oldest);
            match std::fs::remove_file(self.path.join(&kept.name)) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(format!("{} cannot be removed: {error}", kept.name));
                }
                _ => gone.push(kept.name),
            }
        }
        Ok(gone)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|kept| kept.bytes).sum()
    }

    /// The most bytes.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The files, oldest first.
    pub fn files(&self) -> &[Kept] {
        &self.files
    }
}

/// Readable by the node's user alone: it is what others said to each other.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)
}

/// The id of the capture that a file of this name is of; none where it is no such file.
pub fn id_of(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(ENDING)?;
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let (before, id) = stem.rsplit_once('-')?;
    (!before.is_empty() && !name.starts_with('.') && !id.is_empty() && stem.chars().all(fits))
        .then_some(id)
}

/// Whether this is the name of a capture's file.
pub fn file_name_fits(name: &str) -> bool {
    id_of(name).is_some()
}

/// As it can stand in a name.
fn part(text: &str) -> String {
    let letter = |letter: char| match letter {
        _ if letter.is_ascii_alphanumeric() || letter == '.' => letter,
        _ => '_',
    };
    let part: String = text.replace("->", "_to_").chars().map(letter).collect();
    part.chars().take(PART_CHARS_MAX).collect()
}

fn plain(id: &str) -> String {
    let id: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
    if id.is_empty() { "x".to_owned() } else { id }
}

/// Microseconds since 1970.
pub fn unix_us(time: SystemTime) -> u64 {
    let since: Duration = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_when_who_and_what_and_nothing_leads_out() {
        let directory = tempfile::tempdir().unwrap();
        let mut folder = Folder::open(directory.path(), 1 << 20, 10).unwrap();
        let at = UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        let of = "10.0.0.1:4000->[fd00::2]:80";
        let (name, ..) = folder.begin(at, ("../../etc/x", of, "6a1/..")).unwrap();
        assert_eq!(
            name,
            "20261118T110640Z-.._.._etc_x-10.0.0.1_4000_to__fd00__2__80-6a1.pcapng"
        );
        assert_eq!(id_of(&name), Some("6a1"));
        assert!(directory.path().join(&name).exists());
        for other in [
            "../a-b.pcapng",
            "a.pcapng",
            ".a-b.pcapng",
            "a-b.pcap",
            "a/b-c.pcapng",
        ] {
            assert_eq!(id_of(other), None, "{other}");
        }
    }

    #[test]
    fn the_oldest_make_way_and_files_of_others_stay() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("notes.txt"), vec![0; 5_000]).unwrap();
        let mut folder = Folder::open(directory.path(), 1_000, 3).unwrap();
        let mut names = Vec::new();
        for number in 0..5_u64 {
            let at = UNIX_EPOCH + Duration::from_secs(number);
            let id = format!("id{number}");
            let (name, _, gone) = folder.begin(at, ("operator", "a", &id)).unwrap();
            std::fs::write(directory.path().join(&name), [0; 100]).unwrap();
            folder.grown(&name, 100).unwrap();
            folder.close(&name);
            names.push(name);
            let expected: Vec<String> = match number {
                3 | 4 => vec![names[number as usize - 3].clone()],
                _ => vec![],
            };
            assert_eq!(gone, expected, "{number}");
        }
        // After a restart the same files count.
        let mut folder = Folder::open(directory.path(), 1_000, 3).unwrap();
        assert_eq!((folder.files().len(), folder.bytes()), (3, 300));
        let (open, ..) = folder
            .begin(SystemTime::now(), ("operator", "a", "new"))
            .unwrap();
        assert_eq!(folder.grown(&open, 950).unwrap().len(), 2);
        assert!(
            folder
                .grown(&open, 1_001)
                .unwrap_err()
                .contains("capture.megabytes")
        );
        assert!(directory.path().join("notes.txt").exists());
    }
}
