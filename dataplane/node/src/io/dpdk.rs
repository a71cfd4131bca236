//! Ports of DPDK: devices by PCI address, and virtual ones.

use std::sync::{Arc, Mutex, PoisonError};

use weir_dpdk::{Mbuf, Pool, Port, RxQueue, TxQueue};

use super::{BURST, Frame, FrameSource, Queue};

impl Frame for Mbuf {
    fn bytes(&self) -> &[u8] {
        Mbuf::bytes(self)
    }
}

/// Makes frames from a pool.
pub struct PoolFrames(pub Pool);

impl FrameSource for PoolFrames {
    type Frame = Mbuf;

    fn frame(&mut self, bytes: &[u8]) -> Option<Mbuf> {
        let mut mbuf = self.0.allocate()?;
        mbuf.copy_from(bytes).then_some(mbuf)
    }
}

/// One worker's end of a port: a receive queue where the device has one for it, and a transmit
/// queue, shared where the device has fewer than there are workers.
pub struct DpdkQueue {
    receive: Option<RxQueue>,
    /// None once the port is gone.
    transmit: Arc<Mutex<Option<TxQueue>>>,
}

impl DpdkQueue {
    /// The ends of a port for so many workers. A worker without a receive queue of its own gets its
    /// packets handed over by the others.
    pub fn split(port: &Port, workers: usize) -> Option<Vec<Self>> {
        let transmit: Vec<_> = (0..port.tx_queues())
            .filter_map(|queue| port.tx_queue(queue))
            .map(|queue| Arc::new(Mutex::new(Some(queue))))
            .collect();
        (0..workers)
            .map(|worker| {
                let receive = u16::try_from(worker)
                    .ok()
                    .and_then(|queue| port.rx_queue(queue));
                let transmit = Arc::clone(transmit.get(worker % transmit.len().max(1))?);
                Some(Self { receive, transmit })
            })
            .collect()
    }
}

impl Queue for DpdkQueue {
    type Frame = Mbuf;

    fn receive(&mut self, into: &mut Vec<Mbuf>) {
        let Some(queue) = &mut self.receive else {
            return;
        };
        if queue.receive(into, BURST) == 0 && queue.has_ended() {
            // The last who holds it lets the device go.
            self.receive = None;
            self.transmit
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .take();
        }
    }

    fn transmit(&mut self, from: &mut Vec<Mbuf>) {
        let mut queue = self.transmit.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queue.as_mut() {
            queue.transmit(from);
        }
    }

    fn refused(&self) -> u64 {
        self.receive
            .as_ref()
            .map_or(0, |queue| queue.counters().refused())
    }
}
