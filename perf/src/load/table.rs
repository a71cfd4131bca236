//! The loads, one row each.

use anyhow::{Result, bail};

use super::apps::{Bulk, Dns, Grpc, Http, Mysql, Redis, Tls, Web};
use super::capture_file::CaptureFile;
use super::churn::Churn;
use super::dialogue::Dialogues;
use super::hostile::{Colliding, OutOfOrder, RegexHostile, SynFlood, TinyFragments};
use super::mixed::Mixed;
use super::settled::{Arrivals, SettledTcp, SettledUdp};
use super::{Load, Shape};

/// A load that can be asked for by name.
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// Made to hurt: a node may drop of it.
    pub hostile: bool,
    make: fn(&Shape) -> Result<Box<dyn Load>>,
}

macro_rules! load {
    ($name:literal, $about:literal, $make:expr) => {
        load!($name, $about, $make, false)
    };
    ($name:literal, $about:literal, $make:expr, $hostile:literal) => {
        Entry {
            name: $name,
            about: $about,
            hostile: $hostile,
            make: |shape| Ok(Box::new($make(shape))),
        }
    };
}

/// All of them.
pub const TABLE: &[Entry] = &[
    load!(
        "settled-udp",
        "datagrams of no application in settled flows; of any size",
        SettledUdp::new
    ),
    load!(
        "settled-tcp",
        "connections of no application, 512 bytes each way in turn, settled",
        SettledTcp::new
    ),
    load!(
        "arrivals",
        "settled-udp, among which new flows come, so many packets in a thousand",
        Arrivals::new
    ),
    load!(
        "churn",
        "new flows of five small packets: half DNS, a quarter HTTP, a quarter TLS",
        Churn::new
    ),
    load!(
        "connections",
        "HTTP connections of nine packets, from SYN to the last acknowledgement",
        |shape| { Dialogues::new(shape, Http { turns: Some(2) }) }
    ),
    load!(
        "http",
        "kept-alive HTTP between services: small requests, answers of 1,400 bytes",
        |shape| { Dialogues::new(shape, Http { turns: None }) }
    ),
    load!(
        "web",
        "kept-alive HTTP of browsers: pages of two segments, forms; 878 bytes in the mean",
        |shape| { Dialogues::new(shape, Web::new(seed(shape))) }
    ),
    load!(
        "tls",
        "TLS 1.3: hellos, then small records both ways",
        |shape| { Dialogues::new(shape, Tls::new(seed(shape))) }
    ),
    load!(
        "mysql",
        "MySQL: login, then statements and result sets",
        |shape| Dialogues::new(shape, Mysql)
    ),
    load!(
        "redis",
        "Redis: commands by two, and their answers",
        |shape| Dialogues::new(shape, Redis)
    ),
    load!(
        "grpc",
        "gRPC over HTTP/2: unary calls on one connection",
        |shape| Dialogues::new(shape, Grpc)
    ),
    load!(
        "dns",
        "DNS: a question and its answer, from a new port each time",
        |shape| Dialogues::new(shape, Dns)
    ),
    load!(
        "bulk",
        "few big transfers over TLS: two full segments, an acknowledgement; 1,029 bytes in the mean",
        |shape| { Dialogues::new(shape, Bulk::new(seed(shape))) }
    ),
    Entry {
        name: "mixed",
        about: "the samples of every application over TCP and UDP, again and again as new flows; mixed:APP has one alone",
        hostile: false,
        make: |shape| Ok(Box::new(Mixed::new(shape, None)?)),
    },
    load!(
        "syn-flood",
        "SYNs of senders that do not exist",
        SynFlood::new,
        true
    ),
    load!(
        "tiny-fragments",
        "datagrams in fragments of 24 bytes, back to front, some never whole",
        TinyFragments::new,
        true
    ),
    load!(
        "out-of-order",
        "connections whose segments wait for the first of eight, which comes last",
        OutOfOrder::new,
        true
    ),
    load!(
        "regex-hostile",
        "HTTP full of what patterns begin with and none ends with",
        |shape| { Dialogues::new(shape, RegexHostile) },
        true
    ),
    load!(
        "colliding",
        "settled-udp in flows that share one bucket of a table whose secret is known",
        Colliding::new,
        true
    ),
];

fn seed(shape: &Shape) -> u64 {
    super::mix(shape.seed)
}

/// A load by name; `mixed:APP` is one application's samples, and the path of a capture its packets.
pub fn open(name: &str, shape: &Shape) -> Result<Box<dyn Load>> {
    if let Some(application) = name.strip_prefix("mixed:") {
        return Ok(Box::new(Mixed::new(shape, Some(application))?));
    }
    if let Some(entry) = TABLE.iter().find(|entry| entry.name == name) {
        return (entry.make)(shape);
    }
    if name.contains('.') || name.contains('/') {
        return Ok(Box::new(CaptureFile::open(name.as_ref())?));
    }
    let names: Vec<_> = TABLE.iter().map(|entry| entry.name).collect();
    bail!(
        "{name} is no load; there are {}, mixed:APPLICATION, and the path of a capture",
        names.join(", ")
    )
}

/// Whether a node is to let all of a load pass. Of captures nobody knows.
pub fn is_honest(name: &str) -> bool {
    match TABLE.iter().find(|entry| entry.name == name) {
        Some(entry) => !entry.hostile,
        None => name.starts_with("mixed:"),
    }
}
