//! Where the log goes: to the journal with a field for each value (`WEIR_WORKER=0`), where standard error
//! is the journal's; as text to standard error otherwise.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// What the names of fields begin with.
const PREFIX: &str = "WEIR";

/// Starts the log of a daemon of this name. Called once, at its start.
pub fn start(name: &str, filter: EnvFilter) {
    if is_journal(std::env::var("JOURNAL_STREAM").ok().as_deref())
        && let Ok(journal) = tracing_journald::layer()
    {
        let journal = journal
            .with_syslog_identifier(name.to_owned())
            .with_field_prefix(Some(PREFIX.to_owned()));
        return tracing_subscriber::registry()
            .with(filter)
            .with(journal)
            .init();
    }
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
}

/// Whether standard error is the stream that JOURNAL_STREAM names: `device:inode`.
fn is_journal(stream: Option<&str>) -> bool {
    let Some(stream) = stream else { return false };
    let own = std::io::stderr().as_fd().try_clone_to_owned();
    let own = own.and_then(|it| File::from(it).metadata());
    own.is_ok_and(|it| stream == format!("{}:{}", it.dev(), it.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ones_own_stream_is_the_journals() {
        let own = std::io::stderr().as_fd().try_clone_to_owned().unwrap();
        let own = File::from(own).metadata().unwrap();
        assert!(is_journal(Some(&format!("{}:{}", own.dev(), own.ino()))));
        for other in [None, Some(""), Some("1"), Some("1:1")] {
            assert!(!is_journal(other), "{other:?}");
        }
    }
}
