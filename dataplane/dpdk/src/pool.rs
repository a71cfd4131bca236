//! Pools of buffers, sized once.

use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

use crate::eal::{self, Environment};
use crate::error::{self, PoolError};
use crate::log;
use crate::mbuf::Mbuf;

/// DPDK's limit (RTE_MEMPOOL_CACHE_MAX_SIZE).
const CACHE_MAX: u32 = 512;
const ANY_SOCKET: i32 = -1;
/// What a buffer takes beside its data: header of the object and of the buffer.
const OVERHEAD_BYTES: u64 = 256;

/// Buffers of one size. Clones are the same pool. It is freed with its last clone and port when all
/// buffers are back; were one still out, the memory stays until the process ends rather than be used
/// after it was freed.
#[derive(Clone)]
pub struct Pool(Arc<Owned>);

struct Owned {
    pool: NonNull<dpdk_sys::rte_mempool>,
    mbufs: u32,
    data_room_bytes: u16,
    environment: Option<Arc<Environment>>,
}

// SAFETY: a mempool may be used from any thread (its ring is multi-producer, multi-consumer, and caches
// belong to registered threads); the pointer is only freed by the last owner.
unsafe impl Send for Owned {}
// SAFETY: as above.
unsafe impl Sync for Owned {}

impl Pool {
    /// A pool of `mbufs` buffers (one less than a power of two takes the least memory), each for a frame of
    /// up to `data_room_bytes`. `cache`: buffers each registered thread keeps for itself (lowered to what
    /// DPDK allows). `socket`: the memory's NUMA node; None: any.
    pub fn new(
        name: &str,
        mbufs: u32,
        cache: u32,
        data_room_bytes: u16,
        socket: Option<u16>,
    ) -> Result<Pool, PoolError> {
        let invalid = |why| PoolError::Invalid {
            name: name.to_owned(),
            why,
        };
        let environment = eal::running().ok_or_else(|| PoolError::NotStarted {
            name: name.to_owned(),
        })?;
        if mbufs == 0 || data_room_bytes == 0 {
            return Err(invalid("it needs at least one buffer of at least one byte"));
        }
        let room_bytes = data_room_bytes
            .checked_add(dpdk_sys::WEIR_HEADROOM_BYTES)
            .ok_or_else(|| invalid("a buffer holds at most 65,535 bytes, headroom included"))?;
        let c_name = CString::new(name).map_err(|_| invalid("its name contains a zero byte"))?;
        let cache = cache.min(CACHE_MAX).min(mbufs.saturating_mul(2) / 3);
        let mark = log::mark();
        // SAFETY: the environment runs; the name is read during the call.
        let pool = unsafe {
            dpdk_sys::rte_pktmbuf_pool_create(
                c_name.as_ptr(),
                mbufs,
                cache,
                0,
                room_bytes,
                socket.map_or(ANY_SOCKET, i32::from),
            )
        };
        let Some(pool) = NonNull::new(pool) else {
            return Err(PoolError::Refused {
                name: name.to_owned(),
                mbufs,
                megabytes: (u64::from(mbufs) * (u64::from(room_bytes) + OVERHEAD_BYTES)) >> 20,
                reason: error::text(error::last()),
                huge_pages: environment.huge_pages,
                log: log::since(mark),
            });
        };
        Ok(Pool(Arc::new(Owned {
            pool,
            mbufs,
            data_room_bytes,
            environment: Some(environment),
        })))
    }

    /// An empty buffer; None: all are in use.
    #[inline]
    pub fn allocate(&self) -> Option<Mbuf> {
        // SAFETY: the pool lives as long as `self`; a buffer it returns is ours alone.
        NonNull::new(unsafe { dpdk_sys::weir_mbuf_alloc(self.as_ptr()) }).map(Mbuf::from_raw)
    }

    /// Adds `count` empty buffers to `into`, or none: false.
    pub fn allocate_bulk(&self, into: &mut Vec<Mbuf>, count: u32) -> bool {
        let wanted = count as usize;
        into.reserve(wanted);
        // SAFETY: room for `count` pointers was reserved, and Mbuf is a transparent pointer; on success all
        // of them are initialised and ours alone, on failure the length stays.
        unsafe {
            let end = into.as_mut_ptr().add(into.len()).cast();
            if dpdk_sys::weir_mbuf_alloc_bulk(self.as_ptr(), end, count) != 0 {
                return false;
            }
            into.set_len(into.len() + wanted);
        }
        true
    }

    /// Buffers not in use, those in threads' caches included. Walks all caches: not for every frame.
    pub fn available(&self) -> u32 {
        self.0.available()
    }

    /// Buffers in all.
    pub fn capacity(&self) -> u32 {
        self.0.mbufs
    }

    /// The longest frame a buffer holds.
    pub fn data_room_bytes(&self) -> u16 {
        self.0.data_room_bytes
    }

    pub(crate) fn as_ptr(&self) -> *mut dpdk_sys::rte_mempool {
        self.0.pool.as_ptr()
    }
}

impl Owned {
    fn available(&self) -> u32 {
        // SAFETY: the pool lives as long as its owner.
        unsafe { dpdk_sys::rte_mempool_avail_count(self.pool.as_ptr()) }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if self.available() == self.mbufs {
            // SAFETY: the last owner, and no buffer is out: nobody can reach this memory any more.
            unsafe { dpdk_sys::rte_mempool_free(self.pool.as_ptr()) };
        } else {
            // Buffers are still held somewhere: their memory has to stay, so the environment has to.
            std::mem::forget(self.environment.take());
        }
    }
}
