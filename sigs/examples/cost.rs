//! What signatures cost: nanoseconds a byte of HTTP with no rules, with a thousand and with all, beside
//! Hyperscan's streaming scan of the same bytes for one literal of each rule.
//!
//! `cargo run --release -p weir-sigs --example cost -- FOLDER-OF-RULES [CACHE]`

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperscan::{Builder, Matching, Pattern, PatternFlags, Patterns, StreamingDatabase};
use weir_l7::{Buffer, Content, Form};
use weir_sigs::rule::{self, Matcher, Rule, RuleReader};
use weir_sigs::{Facts, Hits, Limits, Options, PacketFacts, RuleSet, Scanner};
use weir_wire::Direction::{self, ToClient, ToServer};

/// Bytes of a segment.
const SEGMENT: usize = 1_460;
/// How long each figure is measured.
const TIME: Duration = Duration::from_secs(2);

/// A request and its response, with what a parser tells of them.
struct Exchange {
    request: Vec<u8>,
    response: Vec<u8>,
    uri: String,
    headers: String,
    names: String,
    body_at: usize,
}

fn exchanges() -> Vec<Exchange> {
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
    (0..64)
        .map(|number| {
            let uri = format!("/catalogue/items/{}/view.php?id={number}&session=ab{}cd&lang=en", number * 37, number * 7919);
            let headers = format!(
                "Host: shop.example.org\r\nUser-Agent: {agent}\r\nAccept: text/html,application/xhtml+xml\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nReferer: http://shop.example.org/catalogue/index.php\r\nConnection: keep-alive\r\n"
            );
            let names = headers.split("\r\n").filter_map(|line| line.split_once(':')).map(|(name, _)| format!("{name}\r\n"));
            let names = format!("\r\n{}\r\n", names.collect::<String>());
            let request = format!("GET {uri} HTTP/1.1\r\n{headers}Cookie: sid={number:032x}\r\n\r\n");
            let body: String = (0..120)
                .map(|line| format!("<tr><td class=\"name\">Item {} of {number}</td><td>{}.99</td></tr>\n", line * number, line * 13 % 97))
                .collect();
            let head = format!("HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\n\r\n", body.len());
            Exchange {
                request: request.into_bytes(),
                body_at: head.len(),
                response: (head + &body).into_bytes(),
                uri,
                headers,
                names,
            }
        })
        .collect()
}

fn facts() -> Facts<'static> {
    Facts {
        client: [10, 0, 0, 1].into(),
        server: [192, 0, 2, 1].into(),
        client_port: 40_000,
        server_port: 80,
        protocol: 6,
        application: weir_l7::registry::by_name("http"),
        established: true,
        session: None,
    }
}

/// One connection's exchange, told as the node tells it.
fn tell(scanner: &mut Scanner, exchange: &Exchange, hits: &mut Hits, now_us: u64) {
    let facts = facts();
    let Some(flow) = scanner.open() else { return };
    scanner.message(flow, &facts, ToServer, 0, now_us, hits);
    for (buffer, bytes) in [
        (Buffer::HttpMethod, "GET"),
        (Buffer::HttpUri, &exchange.uri),
        (Buffer::HttpUriRaw, &exchange.uri),
        (Buffer::HttpProtocol, "HTTP/1.1"),
        (Buffer::HttpHeader, &exchange.headers),
        (Buffer::HttpHeaderNames, &exchange.names),
        (Buffer::HttpHost, "shop.example.org"),
        (
            Buffer::HttpUserAgent,
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        ),
        (Buffer::HttpCookie, "sid=00000000000000000000000000000001"),
        (
            Buffer::HttpReferer,
            "http://shop.example.org/catalogue/index.php",
        ),
    ] {
        let content = Content::whole(buffer, 0, bytes.as_bytes());
        scanner.buffer(flow, &facts, ToServer, &content, now_us, hits);
    }
    packets(
        scanner,
        flow,
        &facts,
        ToServer,
        &exchange.request,
        hits,
        now_us,
    );
    scanner.message(flow, &facts, ToClient, 0, now_us, hits);
    for (buffer, bytes) in [
        (Buffer::HttpStatusCode, "200"),
        (Buffer::HttpServer, "nginx"),
        (Buffer::HttpContentType, "text/html; charset=utf-8"),
    ] {
        let content = Content::whole(buffer, 0, bytes.as_bytes());
        scanner.buffer(flow, &facts, ToClient, &content, now_us, hits);
    }
    let body = &exchange.response[exchange.body_at..];
    let pieces = body.chunks(SEGMENT);
    let last = pieces.len() - 1;
    for (index, bytes) in pieces.enumerate() {
        for buffer in [Buffer::HttpResponseBody, Buffer::FileData] {
            let content = Content {
                buffer,
                stream: 0,
                begins: (index == 0).then(Form::default),
                bytes,
                ends: index == last,
            };
            scanner.buffer(flow, &facts, ToClient, &content, now_us, hits);
        }
    }
    packets(
        scanner,
        flow,
        &facts,
        ToClient,
        &exchange.response,
        hits,
        now_us,
    );
    scanner.close(flow, &facts, now_us, hits);
}

fn packets(
    scanner: &mut Scanner,
    flow: weir_sigs::ScanFlow,
    facts: &Facts<'_>,
    direction: Direction,
    bytes: &[u8],
    hits: &mut Hits,
    now_us: u64,
) {
    let mut network = [0; 20];
    (network[0], network[8]) = (0x45, 64);
    let mut transport = [0; 20];
    transport[13] = 0x18;
    for payload in bytes.chunks(SEGMENT) {
        let packet = PacketFacts {
            direction,
            network: &network,
            transport: &transport,
            payload_bytes: payload.len() as u32,
            fragmented: false,
        };
        scanner.stream(flow, facts, direction, payload, now_us, hits);
        scanner.packet(Some(flow), facts, &packet, payload, now_us, hits);
    }
}

/// Nanoseconds a byte of repeated work on so many bytes: of this thread alone, whatever else runs.
fn measure(bytes: usize, mut work: impl FnMut(u64)) -> f64 {
    work(0);
    let (begun, began_ns) = (Instant::now(), thread_ns());
    let mut rounds = 0;
    while begun.elapsed() < TIME {
        rounds += 1;
        work(rounds);
    }
    (thread_ns() - began_ns) / (rounds as f64 * bytes as f64)
}

/// How long this thread ran.
fn thread_ns() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let ran = text
        .split_whitespace()
        .next()
        .and_then(|ran| ran.parse().ok());
    ran.unwrap_or(0.0)
}

/// One literal of each rule.
fn raw(rules: &[Rule], exchanges: &[Exchange], bytes: usize) -> Option<f64> {
    let longest = |rule: &Rule| {
        let matchers = rule.groups.iter().flat_map(|group| &group.matchers);
        let contents = matchers.filter_map(|matcher| match matcher {
            Matcher::Content(content) if !content.negated => Some(content),
            _ => None,
        });
        contents.max_by_key(|content| content.bytes.len()).cloned()
    };
    let patterns: Patterns = rules
        .iter()
        .filter_map(longest)
        .filter_map(|content| {
            let text: String = content
                .bytes
                .iter()
                .take(24)
                .map(|byte| format!("\\x{byte:02x}"))
                .collect();
            let mut flags = PatternFlags::DOTALL;
            flags.set(PatternFlags::CASELESS, content.nocase);
            Pattern::with_flags(text, flags).ok()
        })
        .collect();
    let database: StreamingDatabase = patterns.build().ok()?;
    let scratch = database.alloc_scratch().ok()?;
    let streams = [database.open_stream().ok()?, database.open_stream().ok()?];
    Some(measure(bytes, |_| {
        let mut found = 0_u64;
        for exchange in exchanges {
            for (stream, bytes) in streams.iter().zip([&exchange.request, &exchange.response]) {
                for piece in bytes.chunks(SEGMENT) {
                    let _ = stream.scan(piece, &scratch, |_: u32, _: u64, _: u64, _: u32| {
                        found += 1;
                        Matching::Continue
                    });
                }
                let _ = stream.reset(&scratch, ());
            }
        }
        black_box(found);
    }))
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let Some(folder) = arguments.next() else {
        eprintln!("give a folder of rules");
        return;
    };
    let cache = arguments.next();
    let mut reader = RuleReader::new(rule::Options {
        commented: true,
        ..rule::Options::default()
    });
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if let Ok(bytes) = std::fs::read(entry.path()) {
            reader.read(&entry.path().display().to_string(), &bytes);
        }
    }
    let (rules, refused) = reader.finish();
    println!("{} rules read, {} refused", rules.len(), refused.len());
    let exchanges = exchanges();
    let bytes = exchanges
        .iter()
        .map(|one| one.request.len() + one.response.len())
        .sum();
    for count in [0, 1_000, rules.len()] {
        let some: Vec<Rule> = rules
            .iter()
            .step_by((rules.len() / count.max(1)).max(1))
            .take(count)
            .cloned()
            .collect();
        let options = Options {
            cache: cache.as_deref().map(Path::new),
            threads: 2,
            ..Options::default()
        };
        let (set, uncompiled) = match RuleSet::compile(some.clone(), &options) {
            Ok(compiled) => compiled,
            Err(error) => {
                println!("{error}");
                continue;
            }
        };
        println!("{}; {} not compiled", set.report(), uncompiled.len());
        let limits = Limits {
            flows: 1_024,
            ..Limits::default()
        };
        let Ok(mut scanner) = Scanner::new(Arc::new(set), &limits) else {
            continue;
        };
        let mut hits = Hits::new();
        let ours = measure(bytes, |now_us| {
            for exchange in &exchanges {
                tell(&mut scanner, exchange, &mut hits, now_us);
                hits.clear();
            }
        });
        println!("  {ours:.3} ns a byte; {:?}", scanner.stats());
        if let Some(raw) = raw(&some, &exchanges, bytes).filter(|_| count > 0) {
            println!(
                "  {raw:.3} ns a byte for Hyperscan alone: ratio {:.2}",
                ours / raw
            );
        }
    }
}
