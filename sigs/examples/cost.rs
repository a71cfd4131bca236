//! What signatures cost: nanoseconds a byte of HTTP with no rules, with a thousand and with all, beside
//! Hyperscan's streaming scan of the same bytes for one literal of each rule; a line of JSON each, with
//! the rounds of both as they lay side by side. `perf/signatures` reads it.
//!
//! `cargo run --release -p weir-sigs --example cost -- [--rounds=N] [--cache=FOLDER] [FOLDER-OF-RULES]`

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyperscan::{Builder, Matching, Pattern, PatternFlags, Patterns, Scratch, StreamingDatabase};
use weir_l7::{Buffer, Content, Form};
use weir_sigs::rule::{self, Matcher, Rule, RuleReader};
use weir_sigs::{Facts, Hits, Limits, Options, PacketFacts, RuleSet, Scanner};
use weir_wire::Direction::{self, ToClient, ToServer};

/// Bytes of a segment.
const SEGMENT: usize = 1_460;
/// How long each round measures either.
const TIME: Duration = Duration::from_millis(500);

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
        None,
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
    packets(
        scanner,
        flow,
        &facts,
        ToClient,
        &exchange.response,
        hits,
        now_us,
        Some(exchange.body_at),
    );
    scanner.close(flow, &facts, now_us, hits);
}

/// Segment by segment: what the node reads ahead, the body that its parser tells, and the segment itself.
#[expect(clippy::too_many_arguments, reason = "what is told of a segment")]
fn packets(
    scanner: &mut Scanner,
    flow: weir_sigs::ScanFlow,
    facts: &Facts<'_>,
    direction: Direction,
    bytes: &[u8],
    hits: &mut Hits,
    now_us: u64,
    body_at: Option<usize>,
) {
    let mut network = [0; 20];
    (network[0], network[8]) = (0x45, 64);
    let mut transport = [0; 20];
    transport[13] = 0x18;
    for (number, payload) in bytes.chunks(SEGMENT).enumerate() {
        scanner.forget_ahead();
        scanner.ahead(flow, direction, payload);
        if let Some(body_at) = body_at {
            let body = match number {
                0 => &payload[body_at..],
                _ => payload,
            };
            let content = Content {
                buffer: Buffer::HttpResponseBody,
                stream: 0,
                begins: (number == 0).then(Form::default),
                bytes: body,
                ends: (number + 1) * SEGMENT >= bytes.len(),
            };
            scanner.buffer(flow, facts, direction, &content, now_us, hits);
        }
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

/// The bare scan for one literal of each rule.
struct Bare {
    database: StreamingDatabase,
    scratch: Scratch,
}

impl Bare {
    fn new(rules: &[Rule]) -> Option<Self> {
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
        Some(Self { database, scratch })
    }

    fn round(&self, exchanges: &[Exchange], bytes: usize) -> Option<f64> {
        let streams = [
            self.database.open_stream().ok()?,
            self.database.open_stream().ok()?,
        ];
        let mut found = 0_u64;
        let cost = measure(bytes, |_| {
            for exchange in exchanges {
                for (stream, bytes) in streams.iter().zip([&exchange.request, &exchange.response]) {
                    for piece in bytes.chunks(SEGMENT) {
                        let on_match = |_: u32, _: u64, _: u64, _: u32| {
                            found += 1;
                            Matching::Continue
                        };
                        let _ = stream.scan(piece, &self.scratch, on_match);
                    }
                    let _ = stream.reset(&self.scratch, ());
                }
            }
        });
        black_box(found);
        for stream in streams {
            let _ = stream.close(&self.scratch, ());
        }
        Some(cost)
    }
}

/// The longest literal of a rule.
fn longest(rule: &Rule) -> Option<&rule::Content> {
    let matchers = rule.groups.iter().flat_map(|group| &group.matchers);
    let contents = matchers.filter_map(|matcher| match matcher {
        Matcher::Content(content) if !content.negated => Some(content),
        _ => None,
    });
    contents.max_by_key(|content| content.bytes.len())
}

/// The rules of a folder, those that are switched off too; without one those that Weir brings.
fn rules(folder: Option<&str>) -> Result<Vec<Rule>, std::io::Error> {
    let mut reader = RuleReader::new(rule::Options {
        commented: true,
        ..rule::Options::default()
    });
    match folder {
        Some(folder) => {
            let mut files: Vec<_> = std::fs::read_dir(folder)?
                .filter_map(|entry| Some(entry.ok()?.path()))
                .collect();
            files.sort();
            for file in files {
                reader.read(&file.display().to_string(), &std::fs::read(&file)?);
            }
        }
        None => {
            for file in weir_sigs::shipped_rules() {
                reader.read(&file.name, &file.bytes);
            }
        }
    }
    let (rules, refused) = reader.finish();
    eprintln!("{} rules read, {} refused", rules.len(), refused.len());
    Ok(rules)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut rounds, mut cache, mut folder) = (5, None, None);
    for argument in std::env::args().skip(1) {
        match argument.split_once('=') {
            Some(("--rounds", number)) => rounds = number.parse()?,
            Some(("--cache", path)) => cache = Some(path.to_owned()),
            _ => folder = Some(argument),
        }
    }
    let rules = rules(folder.as_deref())?;
    let exchanges = exchanges();
    let bytes = exchanges
        .iter()
        .map(|one| one.request.len() + one.response.len())
        .sum();
    let mut counts = [0, 1_000.min(rules.len()), rules.len()].to_vec();
    counts.dedup();
    for count in counts {
        let some: Vec<Rule> = rules
            .iter()
            .step_by((rules.len() / count.max(1)).max(1))
            .take(count)
            .cloned()
            .collect();
        let bare = Bare::new(&some).filter(|_| count > 0);
        let options = Options {
            cache: cache.as_deref().map(Path::new),
            threads: 2,
            ..Options::default()
        };
        let (set, uncompiled) = RuleSet::compile(some, &options)?;
        eprintln!("{}; {} not compiled", set.report(), uncompiled.len());
        let limits = Limits {
            flows: 1_024,
            ..Limits::default()
        };
        let mut scanner = Scanner::new(Arc::new(set), &limits)?;
        let mut hits = Hits::new();
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            ours.push(measure(bytes, |now_us| {
                for exchange in &exchanges {
                    tell(&mut scanner, exchange, &mut hits, now_us);
                    hits.clear();
                }
            }));
            theirs.extend(bare.as_ref().and_then(|bare| bare.round(&exchanges, bytes)));
        }
        eprintln!("{:?}", scanner.stats());
        println!(r#"{{"rules":{count},"ns_per_byte":{ours:?},"bare_ns_per_byte":{theirs:?}}}"#);
    }
    Ok(())
}
