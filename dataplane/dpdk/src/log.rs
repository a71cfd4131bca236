//! DPDK's own log, kept in memory: its lines say why something failed, and where they are printed is for
//! the caller to choose. Bounded: the oldest lines are lost first, and counted.

use std::collections::VecDeque;
use std::ffi::c_char;
use std::sync::{Mutex, Once};

use crate::lock;

const LINES_MAX: usize = 256;
const LINE_BYTES_MAX: usize = 512;
/// How many lines an error carries.
const LINES_IN_ERROR: usize = 8;

/// What DPDK has logged since the last time it was taken.
#[derive(Debug, Default)]
pub struct LogLines {
    /// Lines without their line ends, oldest first.
    pub lines: Vec<String>,
    /// Older lines that had to make room.
    pub lost: u64,
}

struct Kept {
    lines: VecDeque<String>,
    lost: u64,
    /// Lines logged in this process, kept or not: tells which are newer than some moment.
    total: u64,
}

static KEPT: Mutex<Kept> = Mutex::new(Kept {
    lines: VecDeque::new(),
    lost: 0,
    total: 0,
});

/// Takes what DPDK has logged, to be printed by the caller.
pub fn take_log_lines() -> LogLines {
    let mut kept = lock(&KEPT);
    let lost = std::mem::take(&mut kept.lost);
    LogLines {
        lines: kept.lines.drain(..).collect(),
        lost,
    }
}

/// Sends DPDK's log here, from the first call on.
pub(crate) fn capture() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: `sink` is valid for the whole life of the process and keeps no pointer. When the stream
        // cannot be made the log stays on the standard error, which is as good.
        let _ = unsafe { dpdk_sys::weir_log_to(Some(sink)) };
    });
}

/// A moment in the log, for [`since`].
pub(crate) fn mark() -> u64 {
    lock(&KEPT).total
}

/// The last few lines that were logged after `mark`, without taking them.
pub(crate) fn since(mark: u64) -> Vec<String> {
    let kept = lock(&KEPT);
    let fresh = usize::try_from(kept.total.saturating_sub(mark)).unwrap_or(usize::MAX);
    let count = fresh.min(kept.lines.len()).min(LINES_IN_ERROR);
    kept.lines
        .iter()
        .skip(kept.lines.len() - count)
        .cloned()
        .collect()
}

unsafe extern "C" fn sink(bytes: *const c_char, length: usize) {
    if bytes.is_null() {
        return;
    }
    // SAFETY: the C library hands over `length` readable bytes for the duration of the call.
    let text = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>(), length) };
    let mut kept = lock(&KEPT);
    for line in text.split(|byte| *byte == b'\n') {
        let line = line.get(..LINE_BYTES_MAX).unwrap_or(line).trim_ascii();
        if line.is_empty() {
            continue;
        }
        if kept.lines.len() == LINES_MAX {
            kept.lines.pop_front();
            kept.lost += 1;
        }
        kept.lines
            .push_back(String::from_utf8_lossy(line).into_owned());
        kept.total += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(text: &str) {
        // SAFETY: pointer and length belong to `text`.
        unsafe { sink(text.as_ptr().cast(), text.len()) };
    }

    #[test]
    fn lines_are_bounded_counted_and_seen_from_a_mark() {
        write("EAL: before\n");
        let mark = mark();
        write("EAL: one\n\nEAL: two\n");
        assert_eq!(since(mark), ["EAL: one", "EAL: two"]);
        for number in 0..LINES_MAX + 5 {
            write(&format!("line {number}\n"));
        }
        assert_eq!(since(mark).len(), LINES_IN_ERROR);
        let taken = take_log_lines();
        assert_eq!(taken.lines.len(), LINES_MAX);
        assert_eq!(taken.lost, 8);
        assert!(take_log_lines().lines.is_empty());
        assert!(since(mark).is_empty());
    }
}
