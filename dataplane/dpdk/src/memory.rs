//! Memory that DPDK does not manage, in large pages.

use std::ffi::{c_int, c_void};

/// Of Linux (`madvise(2)`).
const MADV_HUGEPAGE: c_int = 14;
/// Every address in a range that is asked for is a multiple of it.
const PAGE_BYTES: usize = 4096;

unsafe extern "C" {
    fn madvise(address: *mut c_void, bytes: usize, advice: c_int) -> c_int;
}

/// Asks for large pages in a stretch of memory that is not in use yet. Where there are none, or the system does
/// not give them, it stays as it is: nothing but speed depends on it. No byte of it is changed.
pub fn prefer_huge_pages(start: *const u8, bytes: usize) {
    let first = start.addr().next_multiple_of(PAGE_BYTES);
    let end = (start.addr() + bytes) / PAGE_BYTES * PAGE_BYTES;
    if let Some(length) = end.checked_sub(first).filter(|&length| length > 0) {
        // SAFETY: this advice changes how pages are backed, not what is in them, whoever owns them; an address
        // that is not mapped is refused.
        let _ = unsafe {
            madvise(
                start.with_addr(first).cast_mut().cast(),
                length,
                MADV_HUGEPAGE,
            )
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_the_memory_stays_and_any_stretch_may_be_named() {
        let bytes = vec![7_u8; 5 << 20];
        prefer_huge_pages(bytes.as_ptr(), bytes.len());
        prefer_huge_pages(bytes[1..].as_ptr(), 100);
        prefer_huge_pages(std::ptr::null(), 1 << 20);
        prefer_huge_pages(bytes.as_ptr(), 0);
        assert!(bytes.iter().all(|&byte| byte == 7));
    }
}
