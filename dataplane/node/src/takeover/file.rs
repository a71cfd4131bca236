//! The file that connections are left in: written once, read once, and valid for seconds of the same run of the
//! machine, on its clock since it was started; steps of the time of day mean nothing.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::Duration;

use super::bytes::{self, Unreadable};
use super::estate::Estate;

/// The largest file that is read: ten million flows.
const FILE_BYTES_MAX: u64 = 2 << 30;

/// A moment of a machine's run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Names the run: the kernel makes one up at each start.
    pub run: String,
    /// Since that start.
    pub uptime_ms: u64,
}

impl Moment {
    /// Now.
    pub fn now() -> std::io::Result<Self> {
        let run = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let uptime = std::fs::read_to_string("/proc/uptime")?;
        let seconds = uptime.split(' ').next().and_then(|it| it.parse().ok());
        let seconds: f64 = seconds.ok_or(ErrorKind::InvalidData)?;
        Ok(Self {
            run: run.trim().to_owned(),
            uptime_ms: (seconds * 1000.0) as u64,
        })
    }
}

/// Why connections cannot be left or taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// The system refuses.
    #[error("cannot {what} {path}: {source}; check the directory, its permissions and free space")]
    File {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: String,
        /// The system's error.
        source: std::io::Error,
    },
    /// It is no estate that this node can read.
    #[error("{path} is not taken: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// What is wrong.
        why: Unreadable,
    },
    /// It is not for this process.
    #[error("{path} is not taken: {why}")]
    NotOurs {
        /// The file.
        path: String,
        /// What does not fit.
        why: String,
    },
}

fn refused<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> TakeoverError + 'a {
    move |source| TakeoverError::File {
        what,
        path: path.display().to_string(),
        source,
    }
}

/// Leaves an estate: written beside, readable by its owner alone, renamed.
pub fn keep(path: &Path, estate: &Estate, now: &Moment) -> Result<(), TakeoverError> {
    let beside = path.with_extension("new");
    let write = || -> std::io::Result<()> {
        // One that an interrupted process left may be readable by others.
        match std::fs::remove_file(&beside) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(&bytes::write(estate, now))?;
        std::fs::rename(&beside, path)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        refused("write", path)(error)
    })
}

/// Takes what was left for these ports no longer ago than `valid`, and removes the file whatever is in it, so that
/// nobody takes it again. None: nothing was left.
pub fn take(
    path: &Path,
    ports: &[String],
    valid: Duration,
    now: &Moment,
) -> Result<Option<Estate>, TakeoverError> {
    let mut file = match OpenOptions::new().read(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(refused("open", path)(error)),
    };
    std::fs::remove_file(path).map_err(refused("remove", path))?;
    let not_ours = |why: String| TakeoverError::NotOurs {
        path: path.display().to_string(),
        why,
    };
    let metadata = file.metadata().map_err(refused("examine", path))?;
    if !metadata.is_file() || metadata.permissions().mode() & 0o077 != 0 {
        let why = "others than its owner may read or write it";
        return Err(not_ours(why.into()));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(not_ours("it is larger than any node writes".into()));
    }
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    let read = (&mut file).take(FILE_BYTES_MAX).read_to_end(&mut bytes);
    read.map_err(refused("read", path))?;
    let (estate, left_at) = bytes::read(&bytes).map_err(|why| TakeoverError::Unreadable {
        path: path.display().to_string(),
        why,
    })?;
    if left_at.run != now.run {
        return Err(not_ours("the machine was started since".into()));
    }
    let valid_ms = u64::try_from(valid.as_millis()).unwrap_or(u64::MAX);
    match now.uptime_ms.checked_sub(left_at.uptime_ms) {
        Some(age_ms) if age_ms <= valid_ms => {}
        Some(age_ms) => {
            let (age_s, valid_s) = (age_ms / 1000, valid_ms / 1000);
            return Err(not_ours(format!(
                "it was left {age_s} s ago and is valid for {valid_s} s"
            )));
        }
        None => return Err(not_ours("it was left in the future".into())),
    }
    if estate.ports != ports {
        return Err(not_ours(format!(
            "it is of other ports ({})",
            estate.ports.join(", ")
        )));
    }
    Ok(Some(estate))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(run: &str, uptime_ms: u64) -> Moment {
        Moment {
            run: run.into(),
            uptime_ms,
        }
    }

    #[test]
    fn what_is_left_is_taken_once_and_only_by_who_it_is_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flows");
        let ports = vec!["a".to_owned()];
        let estate = Estate {
            ports: ports.clone(),
            ..Estate::default()
        };
        let valid = Duration::from_secs(3);
        let others = ["b".to_owned()];
        let cases = [
            (moment("one", 1_000), &ports[..], None),
            (moment("one", 4_000), &ports, None),
            (moment("one", 4_001), &ports, Some("valid for 3 s")),
            (moment("one", 999), &ports, Some("in the future")),
            (moment("two", 1_000), &ports, Some("started since")),
            (moment("one", 1_000), &others, Some("other ports")),
        ];
        for (now, ports, refused) in cases {
            keep(&path, &estate, &moment("one", 1_000)).unwrap();
            let taken = take(&path, ports, valid, &now);
            match refused {
                None => assert_eq!(taken.unwrap(), Some(estate.clone())),
                Some(words) => {
                    let why = taken.unwrap_err().to_string();
                    assert!(why.contains(words), "{why}");
                }
            }
            assert!(take(&path, ports, valid, &now).unwrap().is_none());
        }
    }

    #[test]
    fn what_others_could_have_written_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flows");
        keep(&path, &Estate::default(), &moment("one", 0)).unwrap();
        let mode = |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        mode(0o620);
        let taken = take(&path, &[], Duration::MAX, &moment("one", 0));
        assert!(
            taken
                .unwrap_err()
                .to_string()
                .contains("others than its owner")
        );
    }
}
