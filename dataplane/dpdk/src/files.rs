//! Open files: those of DPDK (cards, memory) are opened so that children of the process would have them too.

use std::ffi::{c_int, c_uint};
use std::io;

/// Behind standard input, output and error.
const FIRST: c_uint = 3;
/// Of Linux (`close_range(2)`): they close when a program is started.
const CLOSE_RANGE_CLOEXEC: c_int = 4;

unsafe extern "C" {
    fn close_range(first: c_uint, last: c_uint, flags: c_int) -> c_int;
}

/// Programs that are started from now on get none of the files that are open: a card that a child has open is
/// taken for as long as the child lives, and memory is not given back.
pub fn keep_files_from_children() -> io::Result<()> {
    // SAFETY: nothing is closed here; the flag says what becomes of the files in a child's next program.
    match unsafe { close_range(FIRST, c_uint::MAX, CLOSE_RANGE_CLOEXEC) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    unsafe extern "C" {
        fn dup(file: c_int) -> c_int;
    }

    #[test]
    fn a_child_has_no_files_of_its_parent() {
        // SAFETY: standard error is open; the copy stays open until the process ends.
        let copy = unsafe { dup(2) };
        assert!(copy >= 3);
        let has_it = || {
            let test = format!("[ -e /proc/self/fd/{copy} ]");
            Command::new("sh")
                .args(["-c", &test])
                .status()
                .unwrap()
                .success()
        };
        assert!(has_it(), "a copy is open in a child");
        keep_files_from_children().unwrap();
        assert!(!has_it());
    }
}
