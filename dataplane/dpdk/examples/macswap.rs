//! Swaps the MAC addresses of everything received on the first port and sends it out of the second, as
//! `dpdk-testpmd --forward-mode=macswap` does: what the wrapper itself costs.
//!
//! `macswap SECONDS [hugepages] [-- DPDK arguments]`, with two devices among the DPDK arguments:
//! `macswap 5 -- --vdev=net_pcap0,rx_pcap=x.pcap,infinite_rx=1 --vdev=net_null1,no-rx=1`

use std::env;
use std::error::Error;
use std::fs;
use std::time::{Duration, Instant};

use weir_dpdk::{
    Eal, EalOptions, HugePages, Mbuf, Pool, Port, PortConfig, RxQueue, TxQueue, free_bulk,
    register_thread,
};

const BURST: usize = 32;
/// The two addresses in a frame's first 16 bytes.
const ADDRESSES: u128 = (1 << 96) - 1;
const SLICE: Duration = Duration::from_secs(1);
const BURSTS_BETWEEN_CLOCK_READS: usize = 4096;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (own, extra) = match arguments.iter().position(|argument| argument == "--") {
        Some(at) => (&arguments[..at], arguments[at + 1..].to_vec()),
        None => (&arguments[..], Vec::new()),
    };
    let seconds: f64 = own.first().map_or(Ok(5.0), |text| text.parse())?;
    let huge_pages = if own.iter().any(|argument| argument == "hugepages") {
        HugePages::Required
    } else {
        HugePages::Never
    };
    let eal = Eal::start(&EalOptions {
        huge_pages,
        extra,
        ..EalOptions::default()
    })?;
    let ports = eal.ports();
    let [input, output, ..] = &ports[..] else {
        return Err("two devices are needed, as --vdev or -a after `--`".into());
    };
    let pool = Pool::new("macswap", 65_535, 250, 2048, None)?;
    let config = PortConfig {
        rx_descriptors: 512,
        tx_descriptors: 512,
        ..PortConfig::default()
    };
    let (input, _) = Port::start(input.id, &config, &pool)?;
    let (output, _) = Port::start(output.id, &config, &pool)?;
    let (Some(mut rx), Some(mut tx)) = (input.rx_queue(0), output.tx_queue(0)) else {
        return Err("a device has no queue".into());
    };
    register_thread()?;
    let mut rates: Vec<f64> = Vec::new();
    let start = Instant::now();
    while start.elapsed().as_secs_f64() < seconds {
        rates.push(forward(&mut rx, &mut tx, SLICE));
    }
    rates.sort_by(f64::total_cmp);
    let median = rates.get(rates.len() / 2).ok_or("no time to measure")?;
    println!("{median:.3} Mpps of processor time");
    Ok(())
}

/// Time this thread has run: on a busy machine the clock says nothing about the wrapper.
fn processor_time() -> Duration {
    let nanoseconds = fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok());
    Duration::from_nanos(nanoseconds.unwrap_or_default())
}

/// Forwards for some time; millions of frames a second.
fn forward(rx: &mut RxQueue, tx: &mut TxQueue, time: Duration) -> f64 {
    let mut burst: Vec<Mbuf> = Vec::with_capacity(BURST);
    let mut sent = 0;
    let (start, start_processor) = (Instant::now(), processor_time());
    while start.elapsed() < time {
        for _ in 0..BURSTS_BETWEEN_CLOCK_READS {
            rx.receive(&mut burst, BURST);
            swap(&mut burst);
            sent += tx.transmit(&mut burst);
            free_bulk(&mut burst);
        }
    }
    sent as f64 / (processor_time() - start_processor).as_secs_f64() / 1e6
}

fn swap(burst: &mut [Mbuf]) {
    for at in 0..burst.len() {
        if let Some(next) = burst.get(at + 4) {
            next.prefetch();
        }
        if let Some(start) = burst[at].bytes_mut().first_chunk_mut::<16>() {
            let all = u128::from_le_bytes(*start);
            let both = all & ADDRESSES;
            let swapped = (both >> 48) | (both << 48) & ADDRESSES;
            *start = (all & !ADDRESSES | swapped).to_le_bytes();
        }
    }
}
