//! One frame in one buffer, owned by one holder.
//!
//! Trusted: that a buffer's own fields are consistent, which DPDK sees to. Distrusted: every byte of the
//! frame. Receiving refuses what is not in one buffer, so `bytes` is always the whole frame.

use std::ptr::NonNull;

/// An owned buffer with a frame. Dropping it gives the buffer back to its pool.
#[repr(transparent)]
pub struct Mbuf(NonNull<dpdk_sys::rte_mbuf>);

/// What the device found out about a checksum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChecksumState {
    /// It was right.
    Good,
    /// It was wrong.
    Bad,
    /// The device did not look: software has to.
    Unknown,
    /// The data is right but the field is not filled in (a virtual machine on this host): whoever sends
    /// the frame on over a wire has to.
    Unfilled,
}

/// What the device found out about the outermost headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChecksumStatus {
    /// IPv4 header.
    pub l3: ChecksumState,
    /// TCP, UDP.
    pub l4: ChecksumState,
}

// SAFETY: a buffer has one owner, who may be any thread; pools take buffers back from any thread.
unsafe impl Send for Mbuf {}

impl Mbuf {
    /// Takes over a buffer that nobody else holds, in one segment.
    #[inline]
    pub(crate) fn from_raw(raw: NonNull<dpdk_sys::rte_mbuf>) -> Mbuf {
        Mbuf(raw)
    }

    /// Gives up ownership.
    #[inline]
    pub(crate) fn into_raw(self) -> *mut dpdk_sys::rte_mbuf {
        let raw = self.as_ptr();
        std::mem::forget(self);
        raw
    }

    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut dpdk_sys::rte_mbuf {
        self.0.as_ptr()
    }

    /// The whole frame, from its Ethernet header on.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: `data_len` bytes from the data's start lie in the buffer, were initialised when the pool
        // was made, and nobody else holds the buffer.
        unsafe { std::slice::from_raw_parts(self.data(), self.len()) }
    }

    /// The whole frame, to be changed in place.
    #[inline]
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`, and `self` is borrowed mutably.
        unsafe { std::slice::from_raw_parts_mut(self.data(), self.len()) }
    }

    /// Bytes of the frame.
    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.field::<u16>(dpdk_sys::WEIR_MBUF_DATA_LEN))
    }

    /// No byte at all; such a buffer must not be transmitted.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The longest frame that fits.
    #[inline]
    pub fn room_bytes(&self) -> usize {
        let length = self.field::<u16>(dpdk_sys::WEIR_MBUF_BUF_LEN);
        let start = self.field::<u16>(dpdk_sys::WEIR_MBUF_DATA_OFF);
        usize::from(length.saturating_sub(start))
    }

    /// Cuts or extends the frame to `length` bytes; bytes it is extended by are whatever was there. False,
    /// and nothing changed: it does not fit.
    #[inline]
    pub fn set_len(&mut self, length: usize) -> bool {
        let Some(short) = u16::try_from(length)
            .ok()
            .filter(|_| length <= self.room_bytes())
        else {
            return false;
        };
        self.set_field(dpdk_sys::WEIR_MBUF_DATA_LEN, short);
        self.set_field(dpdk_sys::WEIR_MBUF_PKT_LEN, u32::from(short));
        true
    }

    /// Replaces the frame by a copy of `frame`. False, and nothing changed: it does not fit.
    #[inline]
    pub fn copy_from(&mut self, frame: &[u8]) -> bool {
        if !self.set_len(frame.len()) {
            return false;
        }
        self.bytes_mut().copy_from_slice(frame);
        true
    }

    /// The port it was received on.
    #[inline]
    pub fn port(&self) -> u16 {
        self.field(dpdk_sys::WEIR_MBUF_PORT)
    }

    /// The hash by which the device chose the queue.
    #[inline]
    pub fn rss_hash(&self) -> Option<u32> {
        (self.flags() & dpdk_sys::WEIR_RX_RSS_HASH != 0)
            .then(|| self.field(dpdk_sys::WEIR_MBUF_RSS))
    }

    /// What the device found out about the outermost checksums.
    #[inline]
    pub fn checksum_status(&self) -> ChecksumStatus {
        let flags = self.flags();
        ChecksumStatus {
            l3: match flags & dpdk_sys::WEIR_RX_IP_CKSUM_MASK {
                dpdk_sys::WEIR_RX_IP_CKSUM_GOOD => ChecksumState::Good,
                dpdk_sys::WEIR_RX_IP_CKSUM_BAD => ChecksumState::Bad,
                dpdk_sys::WEIR_RX_IP_CKSUM_NONE => ChecksumState::Unfilled,
                _ => ChecksumState::Unknown,
            },
            l4: match flags & dpdk_sys::WEIR_RX_L4_CKSUM_MASK {
                dpdk_sys::WEIR_RX_L4_CKSUM_GOOD => ChecksumState::Good,
                dpdk_sys::WEIR_RX_L4_CKSUM_BAD => ChecksumState::Bad,
                dpdk_sys::WEIR_RX_L4_CKSUM_NONE => ChecksumState::Unfilled,
                _ => ChecksumState::Unknown,
            },
        }
    }

    /// Starts to load the frame's first cache line.
    #[inline]
    pub fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a hint; any address may be named.
        unsafe {
            core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(
                self.data().cast::<i8>(),
            );
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: a hint; any address may be named.
        unsafe {
            core::arch::asm!("prfm pldl1keep, [{0}]", in(reg) self.data(), options(nostack, readonly));
        }
    }

    #[inline]
    fn flags(&self) -> u64 {
        self.field(dpdk_sys::WEIR_MBUF_OL_FLAGS)
    }

    #[inline]
    fn data(&self) -> *mut u8 {
        let buffer: *mut u8 = self.field(dpdk_sys::WEIR_MBUF_BUF_ADDR);
        let start = usize::from(self.field::<u16>(dpdk_sys::WEIR_MBUF_DATA_OFF));
        // SAFETY: `data_off` is at most the buffer's length.
        unsafe { buffer.add(start) }
    }

    /// Reads the field at one of the offsets in dpdk-sys, as the type it has there.
    #[inline]
    fn field<T: Copy>(&self, offset: u32) -> T {
        // SAFETY: the offset and type are those of a field of rte_mbuf, and the buffer is alive.
        unsafe {
            self.as_ptr()
                .cast::<u8>()
                .add(offset as usize)
                .cast::<T>()
                .read()
        }
    }

    #[inline]
    fn set_field<T: Copy>(&mut self, offset: u32, value: T) {
        // SAFETY: as in `field`, and nobody else holds the buffer.
        unsafe {
            self.as_ptr()
                .cast::<u8>()
                .add(offset as usize)
                .cast::<T>()
                .write(value)
        }
    }
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the only owner; not used afterwards.
        unsafe { dpdk_sys::weir_mbuf_free(self.as_ptr()) }
    }
}

impl std::fmt::Debug for Mbuf {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Mbuf")
            .field("port", &self.port())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Gives all buffers back in one call, far cheaper than dropping one by one. `mbufs` keeps its capacity.
#[inline]
pub fn free_bulk(mbufs: &mut Vec<Mbuf>) {
    let mut count = mbufs.len();
    let mut at: *mut *mut dpdk_sys::rte_mbuf = mbufs.as_mut_ptr().cast();
    // SAFETY: a shorter length; the elements beyond it are owned below.
    unsafe { mbufs.set_len(0) };
    while count > 0 {
        let now = u32::try_from(count).unwrap_or(u32::MAX);
        // SAFETY: `now` initialised transparent pointers from `at` on, each the only owner of its buffer,
        // and the vector no longer counts them.
        unsafe {
            dpdk_sys::rte_pktmbuf_free_bulk(at, now);
            at = at.add(now as usize);
        }
        count -= now as usize;
    }
}

#[cfg(test)]
mod tests {
    use crate::rings::{self, RingPort};
    use crate::{Eal, EalOptions, HugePages, Pool, Port, PortConfig};

    /// A frame that starts where its buffer starts, as no driver in software delivers it.
    #[test]
    fn a_tag_is_put_back_without_headroom_or_the_frame_is_refused() {
        let options = EalOptions {
            huge_pages: HugePages::Never,
            memory_mb: 64,
            ..EalOptions::default()
        };
        let _eal = Eal::start(&options).expect("start");
        let pool = Pool::new("headroom", 255, 0, 256, None).expect("pool");
        let far = RingPort::new("headroom", 1, 16).expect("rings");
        let (port, _) = Port::start(far.id(), &PortConfig::default(), &pool).expect("port");
        let mut queue = port.rx_queue(0).expect("queue");

        let mut frame: Vec<u8> = (0..100).collect();
        frame.splice(12..16, [0x81, 0x00, 0x0f, 0xff]);
        for length in [100, 384] {
            let mut mbuf = pool.allocate().expect("buffer");
            assert!(mbuf.copy_from(&frame));
            assert!(rings::strip_tags(&mut mbuf));
            mbuf.set_field::<u16>(dpdk_sys::WEIR_MBUF_DATA_OFF, 0);
            let rest: Vec<u8> = frame[..12].iter().chain(&frame[16..]).copied().collect();
            assert!(mbuf.copy_from(&rest));
            if length == 384 {
                assert_eq!(mbuf.room_bytes(), length);
                assert!(mbuf.set_len(length), "the whole buffer");
            }
            assert!(far.inject(0, mbuf).is_ok());
        }
        let mut burst = Vec::new();
        assert_eq!(queue.receive(&mut burst, 8), 1);
        assert_eq!(burst.first().expect("frame").bytes(), frame);
        let counters = queue.counters();
        assert_eq!((counters.tags_restored, counters.refused_tag), (1, 1));
        burst.clear();
        assert_eq!(pool.available(), 255);
    }
}
