//! One queue of a port, in the hands of one worker.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::mbuf::Mbuf;
use crate::port::Device;

/// Receives from one queue. Dropping it gives the queue back to its port.
pub struct RxQueue {
    device: Arc<Device>,
    queue: u16,
    counters: dpdk_sys::weir_rx_counters,
    /// Send, not Sync: a queue is polled by one thread at a time.
    _one_owner: PhantomData<Cell<()>>,
}

/// Transmits on one queue. Dropping it gives the queue back to its port.
pub struct TxQueue {
    device: Arc<Device>,
    queue: u16,
    _one_owner: PhantomData<Cell<()>>,
}

/// What receiving had to mend or refuse since the queue was taken. Refused frames are gone; they are
/// counted as received by the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RxCounters {
    /// Frames in several buffers that were put into one.
    pub linearised: u64,
    /// VLAN tags the device had taken off that were put back.
    pub tags_restored: u64,
    /// Frames longer than one buffer.
    pub refused_long: u64,
    /// Frames without room to put their tag back.
    pub refused_tag: u64,
    /// Frames in a buffer that something else holds too.
    pub refused_shared: u64,
}

impl RxCounters {
    /// Frames lost here.
    pub fn refused(&self) -> u64 {
        self.refused_long + self.refused_tag + self.refused_shared
    }
}

impl RxQueue {
    pub(crate) fn new(device: Arc<Device>, queue: u16) -> RxQueue {
        RxQueue {
            device,
            queue,
            counters: dpdk_sys::weir_rx_counters::default(),
            _one_owner: PhantomData,
        }
    }

    /// Adds up to `max` frames to `into` and returns how many. Allocates only if `into` lacks the capacity.
    /// Each frame is whole, in one buffer, with the VLAN tags it had on the wire. 0 once the port stops.
    #[inline]
    pub fn receive(&mut self, into: &mut Vec<Mbuf>, max: usize) -> usize {
        if self.device.is_stopping() {
            return 0;
        }
        let count = u16::try_from(max).unwrap_or(u16::MAX);
        into.reserve(usize::from(count));
        // SAFETY: room for `count` pointers was reserved and Mbuf is a transparent pointer; the device runs
        // while `self` holds it, this is its only handle for the queue, and what it wrote is ours alone.
        unsafe {
            let end = into.as_mut_ptr().add(into.len()).cast();
            let received =
                dpdk_sys::weir_rx_burst(self.device.id, self.queue, end, count, &mut self.counters);
            into.set_len(into.len() + usize::from(received));
            usize::from(received)
        }
    }

    /// Whether the port was given up: nothing comes any more, and its device waits for this to be dropped.
    pub fn has_ended(&self) -> bool {
        self.device.is_stopping()
    }

    /// What was mended and refused.
    pub fn counters(&self) -> RxCounters {
        let counters = &self.counters;
        RxCounters {
            linearised: counters.linearised,
            tags_restored: counters.tags_restored,
            refused_long: counters.refused_long,
            refused_tag: counters.refused_tag,
            refused_shared: counters.refused_shared,
        }
    }

    /// The port's number.
    pub fn port(&self) -> u16 {
        self.device.id
    }
}

impl TxQueue {
    pub(crate) fn new(device: Arc<Device>, queue: u16) -> TxQueue {
        TxQueue {
            device,
            queue,
            _one_owner: PhantomData,
        }
    }

    /// Hands frames to the device, oldest first, and returns how many it took: these leave `from` at its
    /// front, the rest stays for the caller to retry or drop. 0 once the port stops.
    #[inline]
    pub fn transmit(&mut self, from: &mut Vec<Mbuf>) -> usize {
        if self.device.is_stopping() || from.is_empty() {
            return 0;
        }
        let count = u16::try_from(from.len()).unwrap_or(u16::MAX);
        // SAFETY: `count` initialised transparent pointers, each the only owner of its buffer; the device
        // owns the first `sent` of them afterwards, and they are moved out of the vector without a drop.
        unsafe {
            let start = from.as_mut_ptr();
            let sent = dpdk_sys::weir_tx_burst(self.device.id, self.queue, start.cast(), count);
            let sent = usize::from(sent);
            let left = from.len() - sent;
            if left > 0 {
                std::ptr::copy(start.add(sent), start, left);
            }
            from.set_len(left);
            sent
        }
    }

    /// Whether the port was given up: nothing leaves any more, and its device waits for this to be dropped.
    pub fn has_ended(&self) -> bool {
        self.device.is_stopping()
    }

    /// The port's number.
    pub fn port(&self) -> u16 {
        self.device.id
    }
}

impl Drop for RxQueue {
    fn drop(&mut self) {
        give_back(&self.device.rx_taken, self.queue);
    }
}

impl Drop for TxQueue {
    fn drop(&mut self) {
        give_back(&self.device.tx_taken, self.queue);
    }
}

/// True: the queue was free and is now taken.
pub(crate) fn take(taken: &[AtomicBool], queue: u16) -> bool {
    taken
        .get(usize::from(queue))
        .is_some_and(|taken| !taken.swap(true, Ordering::AcqRel))
}

fn give_back(taken: &[AtomicBool], queue: u16) {
    if let Some(taken) = taken.get(usize::from(queue)) {
        taken.store(false, Ordering::Release);
    }
}
