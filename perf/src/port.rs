//! A load as the two ports of a pair, in memory: what a worker polls in place of devices.

use std::sync::{Arc, Mutex, PoisonError};

use weir_node::io::memory::MemoryFrame;
use weir_node::io::{BURST, Queue};

use crate::load::{Load, Sender};

/// One port. The packets of its end come in, in the order of the load over both; what goes out is counted.
pub struct LoadQueue {
    end: Sender,
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    load: Box<dyn Load>,
    /// The next packet, while it is not taken.
    next: Option<(Sender, Vec<u8>)>,
    /// Packets that are still to come.
    left: u64,
    transmitted: [u64; 2],
}

/// The ports of a load, client's first, which give so many packets and then nothing.
pub fn pair(load: Box<dyn Load>, packets: u64) -> [LoadQueue; 2] {
    let shared = Arc::new(Mutex::new(Shared {
        load,
        next: None,
        left: packets,
        transmitted: [0; 2],
    }));
    [Sender::Client, Sender::Server].map(|end| LoadQueue {
        end,
        shared: Arc::clone(&shared),
    })
}

impl LoadQueue {
    /// Packets still to come at either port, and those that went out at each.
    pub fn left_and_transmitted(&self) -> (u64, [u64; 2]) {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        (shared.left, shared.transmitted)
    }
}

impl Shared {
    /// The next packet, if that end sends it.
    fn take(&mut self, end: Sender) -> Option<Vec<u8>> {
        if self.left == 0 {
            return None;
        }
        let load = &mut self.load;
        let next = self.next.take().unwrap_or_else(|| {
            let mut frame = Vec::new();
            (load.next(&mut frame), frame)
        });
        if next.0 != end {
            self.next = Some(next);
            return None;
        }
        self.left -= 1;
        Some(next.1)
    }
}

impl Queue for LoadQueue {
    type Frame = MemoryFrame;

    fn receive(&mut self, into: &mut Vec<MemoryFrame>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = std::iter::from_fn(|| shared.take(self.end));
        into.extend(taken.take(BURST).map(MemoryFrame));
    }

    fn transmit(&mut self, from: &mut Vec<MemoryFrame>) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        shared.transmitted[self.end as usize] += from.len() as u64;
        from.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Packets, Shape, open};

    #[test]
    fn both_ports_give_the_load_in_its_order() {
        let made = || {
            open(
                "http",
                &Shape {
                    flows: 3,
                    ..Shape::default()
                },
            )
            .unwrap()
        };
        let mut ports = pair(made(), 500);
        let mut wanted = Packets(made()).take(500);
        let mut received = Vec::new();
        while ports[0].left_and_transmitted().0 > 0 {
            for port in &mut ports {
                port.receive(&mut received);
                for frame in received.drain(..) {
                    assert_eq!(wanted.next(), Some((port.end, frame.0)));
                }
            }
        }
        assert!(wanted.next().is_none());
        ports[1].transmit(&mut vec![MemoryFrame(vec![])]);
        assert_eq!(ports[0].left_and_transmitted(), (0, [0, 1]));
    }
}
