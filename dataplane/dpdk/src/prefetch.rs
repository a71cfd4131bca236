//! Loading memory before it is needed.

/// Starts to load the cache line where `what` begins, and waits for nothing. A plain load would be waited for
/// before the processor may forget it, and stop it after a few packets.
#[inline(always)]
pub fn prefetch<T>(what: &T) {
    let address: *const T = what;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; any address may be named.
    unsafe {
        core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a hint; any address may be named.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{0}]", in(reg) address, options(nostack, readonly));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}
