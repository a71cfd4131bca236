//! Ports made of rings, for tests: what is injected is received by the port, what the port transmits can
//! be taken. Everything between is the real thing.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use crate::eal::{self, CONTROL, Environment};
use crate::error::{self, DeviceError};
use crate::mbuf::Mbuf;
use crate::pool::Pool;
use crate::{lock, log, port};

/// RING_F_EXACT_SZ: the ring holds as many as asked, not one less than a power of two.
const EXACT_SIZE: u32 = 0x4;
const ANY_SOCKET: i32 = -1;

/// The far side of a port made of rings. Start its [`id`](Self::id) as any other port.
pub struct RingPort(Arc<RingPair>);

/// The rings of one port: they outlive it.
pub(crate) struct RingPair {
    id: u16,
    /// One each way for each queue.
    towards_port: Vec<Ring>,
    from_port: Vec<Ring>,
    closed: AtomicBool,
    _environment: Arc<Environment>,
}

#[repr(transparent)]
struct Ring(NonNull<dpdk_sys::rte_ring>);

// SAFETY: the rings are multi-producer and multi-consumer.
unsafe impl Send for Ring {}
// SAFETY: as above.
unsafe impl Sync for Ring {}

/// Where a port finds its rings when it is started.
static PAIRS: Mutex<BTreeMap<u16, Weak<RingPair>>> = Mutex::new(BTreeMap::new());

impl RingPort {
    /// Makes a port with `queues` queues each way; each holds up to `capacity` frames. DPDK calls the port
    /// `net_ring_` and `name`.
    pub fn new(name: &str, queues: u16, capacity: u32) -> Result<RingPort, DeviceError> {
        let refused = |reason: String, log: Vec<String>| DeviceError::Refused {
            device: name.to_owned(),
            action: "attached",
            reason,
            advice: "another name, 1 to 16 queues, a smaller capacity",
            log,
        };
        let environment =
            eal::running().ok_or_else(|| refused("DPDK is not running".to_owned(), Vec::new()))?;
        let c_name = CString::new(name).map_err(|_| DeviceError::Argument {
            device: name.to_owned(),
        })?;
        let _control = lock(&CONTROL);
        let mark = log::mark();
        let rings = || {
            (0..queues)
                .map(|_| Ring::new(capacity))
                .collect::<Option<Vec<Ring>>>()
        };
        let (Some(towards_port), Some(from_port)) = (rings(), rings()) else {
            return Err(refused(error::text(error::last()), log::since(mark)));
        };
        // SAFETY: arrays of `queues` rings, which DPDK copies; the rings live until the port is closed.
        let id = unsafe {
            let count = u32::from(queues);
            let (rx, tx) = (towards_port.as_ptr().cast(), from_port.as_ptr().cast());
            dpdk_sys::rte_eth_from_rings(c_name.as_ptr(), rx, count, tx, count, 0)
        };
        let Ok(id) = u16::try_from(id) else {
            return Err(refused(error::text(error::last()), log::since(mark)));
        };
        let pair = Arc::new(RingPair {
            id,
            towards_port,
            from_port,
            closed: AtomicBool::new(false),
            _environment: environment,
        });
        lock(&PAIRS).insert(id, Arc::downgrade(&pair));
        Ok(RingPort(pair))
    }

    /// Its number.
    pub fn id(&self) -> u16 {
        self.0.id
    }

    /// Lets the port receive `frame` on `queue`; gives it back if the queue is full or not there.
    pub fn inject(&self, queue: u16, frame: Mbuf) -> Result<(), Mbuf> {
        match self.0.towards_port.get(usize::from(queue)) {
            Some(ring) => ring.put(frame),
            None => Err(frame),
        }
    }

    /// Lets the port receive a copy of `frame`. False: the queue is full or not there, no buffer is free,
    /// or it does not fit one.
    pub fn inject_bytes(&self, queue: u16, pool: &Pool, frame: &[u8]) -> bool {
        let Some(mut mbuf) = pool.allocate() else {
            return false;
        };
        mbuf.copy_from(frame) && self.inject(queue, mbuf).is_ok()
    }

    /// Lets the port receive one frame scattered over several buffers, as devices deliver long ones. False:
    /// the queue is full or not there, or there are no segments.
    pub fn inject_segments(&self, queue: u16, segments: Vec<Mbuf>) -> bool {
        let mut segments = segments.into_iter();
        let Some(head) = segments.next() else {
            return false;
        };
        for tail in segments {
            let tail = tail.into_raw();
            // SAFETY: both are ours alone; once chained the head owns the tail.
            if unsafe { dpdk_sys::weir_mbuf_chain(head.as_ptr(), tail) } != 0 {
                // SAFETY: not chained, so still ours alone.
                unsafe { dpdk_sys::weir_mbuf_free(tail) };
                return false;
            }
        }
        self.inject(queue, head).is_ok()
    }

    /// The oldest frame the port has transmitted on `queue` that was not taken yet.
    pub fn take(&self, queue: u16) -> Option<Mbuf> {
        self.0.from_port.get(usize::from(queue))?.take()
    }
}

/// Takes the frame's VLAN tag off and notes it beside the frame, as a device does that strips tags: a
/// service tag together with the tag behind it, or else a single tag. False: it has none.
pub fn strip_tags(frame: &mut Mbuf) -> bool {
    // SAFETY: ours alone, in one segment; both functions check the length.
    unsafe {
        dpdk_sys::weir_qinq_strip(frame.as_ptr()) == 0
            || dpdk_sys::weir_vlan_strip(frame.as_ptr()) == 0
    }
}

/// The rings of a port that is made of rings.
pub(crate) fn of_port(id: u16) -> Option<Arc<RingPair>> {
    lock(&PAIRS)
        .get(&id)
        .and_then(Weak::upgrade)
        .filter(|pair| !pair.closed.load(Ordering::Acquire))
}

impl RingPair {
    /// The port is closed: its number may belong to another from now on.
    pub(crate) fn mark_closed(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

impl Drop for RingPair {
    fn drop(&mut self) {
        let _control = lock(&CONTROL);
        if !self.closed.load(Ordering::Acquire) {
            port::close(self.id);
        }
        let mut pairs = lock(&PAIRS);
        if pairs
            .get(&self.id)
            .is_some_and(|pair| pair.strong_count() == 0)
        {
            pairs.remove(&self.id);
        }
    }
}

impl Ring {
    fn new(capacity: u32) -> Option<Ring> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let name = CString::new(format!(
            "weir_ring{}",
            NUMBER.fetch_add(1, Ordering::Relaxed)
        ))
        .ok()?;
        // SAFETY: the environment runs (the caller holds it); the name is copied.
        let ring =
            unsafe { dpdk_sys::rte_ring_create(name.as_ptr(), capacity, ANY_SOCKET, EXACT_SIZE) };
        NonNull::new(ring).map(Ring)
    }

    fn put(&self, frame: Mbuf) -> Result<(), Mbuf> {
        // SAFETY: the ring lives; if it takes the frame it owns it, which `into_raw` then gives up.
        if unsafe { dpdk_sys::weir_ring_put(self.0.as_ptr(), frame.as_ptr()) } == 1 {
            let _owned_by_the_ring = frame.into_raw();
            Ok(())
        } else {
            Err(frame)
        }
    }

    fn take(&self) -> Option<Mbuf> {
        // SAFETY: the ring lives; it holds owned frames only, and gives each out once.
        NonNull::new(unsafe { dpdk_sys::weir_ring_take(self.0.as_ptr()) }).map(Mbuf::from_raw)
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        while let Some(frame) = self.take() {
            drop(frame);
        }
        // SAFETY: the port is closed, or was never made, and the far side is gone.
        unsafe { dpdk_sys::rte_ring_free(self.0.as_ptr()) };
    }
}
