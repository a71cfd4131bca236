//! Following connections: defragmentation, flow table, TCP state, timers, reassembly
