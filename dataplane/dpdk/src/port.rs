//! A started device and its queues.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::eal::{self, CONTROL, Environment};
use crate::error::PortError;
use crate::lock;
use crate::pool::Pool;
use crate::queue::{self, RxQueue, TxQueue};
use crate::report::PortReport;
use crate::rings::{self, RingPair};
use setup::Setup;

mod setup;

/// How a port is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConfig {
    /// Receive queues: one per worker.
    pub rx_queues: u16,
    /// Transmit queues: one per worker.
    pub tx_queues: u16,
    /// Slots of a receive queue: what can wait for a worker.
    pub rx_descriptors: u16,
    /// Slots of a transmit queue.
    pub tx_descriptors: u16,
    /// Bytes of the longest IP packet.
    pub mtu: u16,
    /// Receive frames to any address.
    pub promiscuous: bool,
    /// With several queues: both directions of a connection on the same one.
    pub symmetric_rss: bool,
}

/// The link of a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Link {
    /// Frames can pass.
    pub up: bool,
    /// Mb/s; None: unknown.
    pub speed_mbps: Option<u32>,
}

/// The device's own counters, since it was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortStats {
    /// Frames handed to us.
    pub received: u64,
    /// Frames taken from us.
    pub transmitted: u64,
    /// Bytes of the received frames.
    pub received_bytes: u64,
    /// Bytes of the transmitted frames.
    pub transmitted_bytes: u64,
    /// Frames lost since no worker fetched them in time.
    pub missed: u64,
    /// Frames that arrived damaged.
    pub receive_errors: u64,
    /// Frames that could not be sent.
    pub transmit_errors: u64,
    /// Times no buffer was free for a frame.
    pub no_buffer: u64,
}

/// A started device. It is stopped, closed and detached when the port and all its queues are dropped;
/// [`Eal::attach`](crate::Eal::attach) brings it back.
pub struct Port {
    id: u16,
    /// None once it was given up.
    device: Mutex<Option<Arc<Device>>>,
    mac: [u8; 6],
    rx_queues: u16,
    tx_queues: u16,
}

/// What port and queues share: the running device.
pub(crate) struct Device {
    pub(crate) id: u16,
    stopping: AtomicBool,
    pub(crate) rx_taken: Vec<AtomicBool>,
    pub(crate) tx_taken: Vec<AtomicBool>,
    /// What must outlive it. The rings of a test port go first: they hold buffers of the pool.
    rings: Option<Arc<RingPair>>,
    _pool: Pool,
    _environment: Arc<Environment>,
}

/// Ports in use, so that none is started twice.
static RUNNING: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

impl Default for PortConfig {
    fn default() -> Self {
        PortConfig {
            rx_queues: 1,
            tx_queues: 1,
            rx_descriptors: 1024,
            tx_descriptors: 1024,
            mtu: 1500,
            promiscuous: true,
            symmetric_rss: true,
        }
    }
}

impl Port {
    /// Sets the device up and starts it, with `pool` for what it receives. Settings that it refuses are in
    /// the report; more queues than it has are cut to what it has.
    pub fn start(
        id: u16,
        config: &PortConfig,
        pool: &Pool,
    ) -> Result<(Port, PortReport), PortError> {
        let environment = eal::running().ok_or(PortError::NotStarted)?;
        let _control = lock(&CONTROL);
        if !eal::exists(id) {
            return Err(PortError::NoPort { port: id });
        }
        if !lock(&RUNNING).insert(id) {
            return Err(PortError::InUse { port: id });
        }
        let report = Setup::run(id, config, pool).inspect_err(|_| {
            lock(&RUNNING).remove(&id);
        })?;
        let free = |count: u16| (0..count).map(|_| AtomicBool::new(false)).collect();
        let device = Device {
            id,
            stopping: AtomicBool::new(false),
            rx_taken: free(report.rx_queues.given),
            tx_taken: free(report.tx_queues.given),
            rings: rings::of_port(id),
            _pool: pool.clone(),
            _environment: environment,
        };
        let port = Port {
            id,
            device: Mutex::new(Some(Arc::new(device))),
            mac: report.mac,
            rx_queues: report.rx_queues.given,
            tx_queues: report.tx_queues.given,
        };
        Ok((port, report))
    }

    /// Its number.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Whether it was given up.
    pub fn is_given_up(&self) -> bool {
        lock(&self.device).is_none()
    }

    /// Takes receive queue `n`; None: there is no such queue, or someone has it.
    pub fn rx_queue(&self, n: u16) -> Option<RxQueue> {
        let device = lock(&self.device).clone()?;
        queue::take(&device.rx_taken, n).then(|| RxQueue::new(device, n))
    }

    /// Takes transmit queue `n`; None: there is no such queue, or someone has it.
    pub fn tx_queue(&self, n: u16) -> Option<TxQueue> {
        let device = lock(&self.device).clone()?;
        queue::take(&device.tx_taken, n).then(|| TxQueue::new(device, n))
    }

    /// How many receive queues there are.
    pub fn rx_queues(&self) -> u16 {
        self.rx_queues
    }

    /// How many transmit queues there are.
    pub fn tx_queues(&self) -> u16 {
        self.tx_queues
    }

    /// Its MAC address.
    pub fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// The link as the device sees it now; down once it was given up.
    pub fn link(&self) -> Link {
        let Some(device) = lock(&self.device).clone() else {
            return Link::default();
        };
        // Ends before the device may.
        let _control = lock(&CONTROL);
        link_of(device.id)
    }

    /// The device's counters; all zero if it keeps none.
    pub fn stats(&self) -> PortStats {
        let mut stats = dpdk_sys::rte_eth_stats::default();
        if let Some(device) = lock(&self.device).clone() {
            let _control = lock(&CONTROL);
            // SAFETY: fills the struct it is given; zeroes remain if the device has no counters.
            let _ = unsafe { dpdk_sys::rte_eth_stats_get(device.id, &mut stats) };
        }
        PortStats {
            received: stats.ipackets,
            transmitted: stats.opackets,
            received_bytes: stats.ibytes,
            transmitted_bytes: stats.obytes,
            missed: stats.imissed,
            receive_errors: stats.ierrors,
            transmit_errors: stats.oerrors,
            no_buffer: stats.rx_nombuf,
        }
    }

    /// Ends the port: its queues receive and take nothing from now on, and the device stops when the last
    /// of them is dropped.
    pub fn stop(self) {
        self.give_up();
    }

    /// The same of a port that others look at as well.
    pub fn give_up(&self) {
        if let Some(device) = lock(&self.device).take() {
            device.stopping.store(true, Ordering::Release);
        }
    }
}

impl Device {
    #[inline]
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        let _control = lock(&CONTROL);
        // SAFETY: started by `Port::start`, and no queue handle is left to poll it.
        let _ = unsafe { dpdk_sys::rte_eth_dev_stop(self.id) };
        close(self.id);
        if let Some(rings) = &self.rings {
            rings.mark_closed();
        }
        lock(&RUNNING).remove(&self.id);
    }
}

/// Whether the port was started and is not yet closed.
pub(crate) fn is_running(id: u16) -> bool {
    lock(&RUNNING).contains(&id)
}

/// Closes a stopped port, and detaches its device unless another port still needs it. With the control
/// lock held.
pub(crate) fn close(id: u16) {
    let device = eal::device_of(id);
    // SAFETY: the port is stopped or was never started, and nobody polls it. Failure leaves it as it is,
    // which nobody can reach any more.
    unsafe {
        let _ = dpdk_sys::rte_eth_dev_close(id);
        let shared = eal::port_ids()
            .into_iter()
            .any(|other| eal::device_of(other) == device);
        if !device.is_null() && !shared {
            let _ = dpdk_sys::rte_dev_remove(device);
        }
    }
}

/// With the control lock held.
fn link_of(id: u16) -> Link {
    let mut link = dpdk_sys::rte_eth_link::default();
    // SAFETY: fills the struct it is given; it stays zero (down) on failure.
    let code = unsafe { dpdk_sys::rte_eth_link_get_nowait(id, &mut link) };
    if code != 0 {
        return Link::default();
    }
    let speed = Some(link.link_speed);
    Link {
        up: link.link_status() != 0,
        speed_mbps: speed.filter(|mbps| *mbps != 0 && *mbps != dpdk_sys::WEIR_LINK_SPEED_UNKNOWN),
    }
}
