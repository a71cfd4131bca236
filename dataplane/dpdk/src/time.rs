//! The processor's cycle counter, for measuring stages.

/// Cycles of the constant-rate counter of this processor. Not ordered against other instructions.
#[inline]
pub fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: rdtsc is part of every x86-64 and reads a register.
    return unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: reads a counter, no preconditions.
    return unsafe { dpdk_sys::weir_rdtsc() };
}

/// How many [`cycles`] pass in a second; 0 before [`Eal::start`](crate::Eal::start) has measured it.
pub fn cycles_per_second() -> u64 {
    // SAFETY: returns a number kept in a static.
    unsafe { dpdk_sys::rte_get_tsc_hz() }
}
