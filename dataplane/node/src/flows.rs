//! The flows of one worker: table, timers, and the number that names each.

use weir_flow::{FlowTable, TimerWheel};

use crate::connection::Connection;
use crate::limits::Limits;

/// The flows of one worker.
pub struct Flows {
    /// Key → hot line and [`Connection`].
    pub table: FlowTable<Connection>,
    /// When a flow is looked at again; it may have been active since.
    pub timers: TimerWheel,
    next_number: u64,
}

impl Flows {
    /// Allocates table and timers.
    pub fn new(limits: &Limits, worker: usize) -> Self {
        Self {
            // In large pages a settled datagram takes 13 % less time with 10,000 flows, 8 % with a million.
            table: FlowTable::prepared(limits.flows, limits.secret, &weir_dpdk::prefer_huge_pages),
            timers: TimerWheel::new(limits.flows),
            next_number: (worker as u64) << 56,
        }
    }

    /// Numbers begin behind this one, which another process gave out.
    pub fn go_on_from(&mut self, number_of_worker: u64) {
        self.next_number = self.next_number >> 56 << 56 | number_of_worker;
    }

    /// The newest number.
    pub fn last_number(&self) -> u64 {
        self.next_number
    }

    /// How many numbers were given: flows that began.
    pub fn made(&self) -> u64 {
        self.next_number & ((1 << 56) - 1)
    }

    /// A number that no other flow of this node had since it started.
    pub fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}
