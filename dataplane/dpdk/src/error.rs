//! What can go wrong, with what to do about it.

use std::ffi::CStr;
use std::fmt::Write;

/// Why DPDK did not start.
#[derive(Debug, thiserror::Error)]
pub enum EalError {
    /// `rte_eal_init` works once per process, also after it ended.
    #[error(
        "DPDK was already started in this process: it can be started once; start a new process"
    )]
    AlreadyStarted,
    /// Hugepages were required.
    #[error(
        "{needed_mb} MiB of hugepages are needed and {free_mb} MiB are free: \
         `echo N > /proc/sys/vm/nr_hugepages` reserves N pages of 2 MiB, or allow to run without hugepages"
    )]
    HugePages {
        /// What was asked for.
        needed_mb: u64,
        /// What is free, all page sizes together.
        free_mb: u64,
    },
    /// An argument for DPDK cannot be passed on.
    #[error("the DPDK argument {argument:?} contains a zero byte: remove it")]
    Argument {
        /// As it was given.
        argument: String,
    },
    /// The thread for DPDK's start could not be made.
    #[error("no thread could be started for DPDK: {0}")]
    Thread(#[from] std::io::Error),
    /// DPDK started, but a device it was started with has no port: drivers may fail without a word.
    #[error("the device {device} gave no port{}\n  next: {advice}", said(log))]
    NoPort {
        /// As it was configured.
        device: String,
        /// What to try.
        advice: &'static str,
        /// The last lines DPDK logged.
        log: Vec<String>,
    },
    /// DPDK refused.
    #[error(
        "DPDK did not start with `{arguments}`: {reason}{}\n  next: {advice}",
        said(log)
    )]
    Start {
        /// What it was called with.
        arguments: String,
        /// The text of its error number.
        reason: String,
        /// What to try.
        advice: &'static str,
        /// The last lines it logged.
        log: Vec<String>,
    },
}

/// Why a thread cannot use pool caches.
#[derive(Debug, thiserror::Error)]
pub enum ThreadError {
    /// There is no running environment.
    #[error("DPDK is not running: start it before its threads")]
    NotStarted,
    /// DPDK refused.
    #[error(
        "DPDK takes no further thread: {reason}; fewer workers, or fewer cores for DPDK's own threads"
    )]
    Refused {
        /// The text of its error number.
        reason: String,
    },
}

/// Why a pool could not be made.
#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    /// There is no running environment.
    #[error("DPDK is not running: start it before making the buffer pool {name}")]
    NotStarted {
        /// Of the pool.
        name: String,
    },
    /// The name or size cannot be.
    #[error("the buffer pool {name:?} cannot be: {why}")]
    Invalid {
        /// Of the pool.
        name: String,
        /// What is wrong with what was asked.
        why: &'static str,
    },
    /// DPDK refused.
    #[error(
        "no buffer pool {name} of {mbufs} buffers ({megabytes} MiB): {reason}{}\n  next: {}",
        said(log), memory_advice(*huge_pages)
    )]
    Refused {
        /// Of the pool.
        name: String,
        /// How many buffers were asked for.
        mbufs: u32,
        /// About what they take.
        megabytes: u64,
        /// The text of DPDK's error number.
        reason: String,
        /// Whether the memory comes from hugepages.
        huge_pages: bool,
        /// The last lines it logged.
        log: Vec<String>,
    },
}

/// Why a device could not be attached or detached.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// DPDK has no such port.
    #[error("no port {port}: it may have been detached; `ports()` lists those there are")]
    NoPort {
        /// The number that was given.
        port: u16,
    },
    /// The port is running.
    #[error("port {port} is in use: stop it and drop its queues before it is detached")]
    InUse {
        /// Its number.
        port: u16,
    },
    /// An argument for DPDK cannot be passed on.
    #[error("the device {device:?} contains a zero byte: remove it")]
    Argument {
        /// As it was given.
        device: String,
    },
    /// DPDK refused.
    #[error(
        "the device {device} could not be {action}: {reason}{}\n  next: {advice}",
        said(log)
    )]
    Refused {
        /// What was named.
        device: String,
        /// `attached` or `detached`.
        action: &'static str,
        /// The text of DPDK's error number.
        reason: String,
        /// What to try.
        advice: &'static str,
        /// The last lines it logged.
        log: Vec<String>,
    },
}

/// Why a port did not start.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// There is no running environment.
    #[error("DPDK is not running: start it before its ports")]
    NotStarted,
    /// DPDK has no such port.
    #[error("no port {port}: its device is unknown to DPDK; `ports()` lists those there are")]
    NoPort {
        /// The number that was given.
        port: u16,
    },
    /// The port is running already.
    #[error("port {port} is already in use in this process: stop it first")]
    InUse {
        /// Its number.
        port: u16,
    },
    /// The device refused a step without which it does not run.
    #[error(
        "port {port} ({name}): {step} failed: {reason}{}\n  next: {advice}",
        said(log)
    )]
    Refused {
        /// Its number.
        port: u16,
        /// Its name.
        name: String,
        /// What was tried.
        step: &'static str,
        /// The text of DPDK's error number.
        reason: String,
        /// What to try.
        advice: &'static str,
        /// The last lines it logged.
        log: Vec<String>,
    },
}

/// The text of an error number, whatever its sign.
pub(crate) fn text(code: i32) -> String {
    // SAFETY: returns a string that is static or lives in this thread until its next call; it is copied.
    let text = unsafe { CStr::from_ptr(dpdk_sys::rte_strerror(code.saturating_abs())) };
    text.to_string_lossy().into_owned()
}

/// The error number of the last failed call on this thread.
pub(crate) fn last() -> i32 {
    // SAFETY: reads a number of this thread.
    unsafe { dpdk_sys::weir_errno() }
}

/// What to try, from what DPDK logged before it gave up.
pub(crate) fn advice(log: &[String], otherwise: &'static str) -> &'static str {
    const SIGNS: [(&[&str], &str); 7] = [
        (
            &["could not open af_packet socket"],
            "run as root, or give this user the capabilities NET_RAW and NET_ADMIN",
        ),
        (
            &[
                "no driver found",
                "failed to parse device",
                "failed to initialize",
            ],
            "check the device: its driver's name, its options, and that what they name (file, interface, socket) exists",
        ),
        (
            &["vfio", "uio"],
            "give the card to vfio-pci and its file to this user (weir host prepare --device ADDRESS --owner USER); weir \
             doctor says what else is missing",
        ),
        (
            &["hugepage", "huge page", "hugetlb"],
            "reserve hugepages (weir host prepare), or run without them",
        ),
        (
            &["permission denied", "operation not permitted"],
            "run as root, or give this user /dev/vfio/*, /dev/hugepages and the capabilities NET_RAW and NET_ADMIN",
        ),
        (
            &[
                "cannot allocate memory",
                "out of memory",
                "enomem",
                "not enough",
                "mempool",
            ],
            "give DPDK more memory (-m, more hugepages), or ask for fewer buffers",
        ),
        (
            &["invalid", "unrecognized option", "usage:"],
            "check the arguments passed on to DPDK",
        ),
    ];
    let all = log.join("\n").to_lowercase();
    SIGNS
        .iter()
        .find(|(signs, _)| signs.iter().any(|sign| all.contains(sign)))
        .map_or(otherwise, |(_, advice)| advice)
}

fn memory_advice(huge_pages: bool) -> &'static str {
    if huge_pages {
        "reserve more hugepages (echo N > /proc/sys/vm/nr_hugepages), or ask for fewer buffers"
    } else {
        "give DPDK more memory (-m), or ask for fewer buffers"
    }
}

fn said(log: &[String]) -> String {
    let mut text = String::new();
    for line in log {
        let _ = write!(text, "\n  DPDK: {line}");
    }
    text
}
