//! HTTP of browsers, kept alive: requests with the heads that browsers send, pages of two segments, one request in
//! eight a form; 878 bytes a frame in the mean. Memory: 64 pages.

use std::io::Write;

use crate::load::dialogue::Dialogue;
use crate::load::{Sender, mix};

const WORDS: [&str; 16] = [
    "delivery",
    "basket",
    "colour",
    "<b>offer</b>",
    "size",
    "review",
    "stars",
    "<a href=\"/catalogue\">more</a>",
    "price",
    "shipping",
    "return",
    "within",
    "days",
    "customer",
    "warranty",
    "stock",
];
const TYPES: [&str; 4] = [
    "text/html; charset=utf-8",
    "application/json",
    "text/css",
    "application/javascript",
];
const PAGES: u64 = 64;
/// Two segments, less the head of the answer.
const PAGE_BYTES: usize = 2_650;

/// A request and its page, over and over.
pub(in crate::load) struct Web {
    pages: Vec<String>,
}

impl Web {
    pub fn new(seed: u64) -> Self {
        let page = |number| {
            let words =
                (0_u64..).map(|place| WORDS[(mix(seed ^ number << 32 ^ place) % 16) as usize]);
            let mut page = String::from("<html><body><p>");
            for word in words {
                if page.len() + word.len() + 1 > PAGE_BYTES {
                    break;
                }
                page.push_str(word);
                page.push(' ');
            }
            page.extend(std::iter::repeat_n(' ', PAGE_BYTES - page.len()));
            page
        };
        Self {
            pages: (0..PAGES).map(page).collect(),
        }
    }
}

impl Dialogue for Web {
    fn server_port(&self, _flow: u64) -> u16 {
        80
    }

    fn turns(&self) -> Option<u32> {
        None
    }

    fn opening_turns(&self) -> u32 {
        4
    }

    fn say(&self, flow: u64, turn: u32, said: &mut Vec<u8>) -> Sender {
        let number = mix(flow << 32 ^ u64::from(turn / 2));
        if turn.is_multiple_of(2) {
            request(flow, number, said);
            return Sender::Client;
        }
        let page = &self.pages[(number % PAGES) as usize];
        let kind = TYPES[(number / PAGES % 4) as usize];
        let _ = write!(
            said,
            "HTTP/1.1 200 OK\r\nServer: nginx/1.24.0\r\nDate: Sun, 22 Nov 2026 10:00:00 GMT\r\nContent-Type: \
             {kind}\r\nContent-Length: {PAGE_BYTES}\r\nConnection: keep-alive\r\nCache-Control: max-age=60\r\nETag: \
             \"{number:x}\"\r\n\r\n{page}"
        );
        Sender::Server
    }
}

fn request(flow: u64, number: u64, said: &mut Vec<u8>) {
    let form = format!(
        "item={}&quantity={}&note=leave+at+the+door",
        number % 9_000,
        number % 9 + 1
    );
    let is_form = number.is_multiple_of(8);
    let path = format!(
        "/catalogue/{}/view.php?id={}&lang=en",
        number / 7 % 900,
        number % 10_000
    );
    let method = if is_form { "POST" } else { "GET" };
    let _ = write!(
        said,
        "{method} {path} HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; \
         rv:128.0) Gecko/20100101 Firefox/128.0\r\nAccept: text/html,application/xhtml+xml,*/*;q=0.8\r\n\
         Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nReferer: \
         http://shop.example.com/catalogue/index.php\r\nCookie: session={flow:032x}\r\nConnection: keep-alive\r\n"
    );
    let _ = match is_form {
        true => write!(
            said,
            "Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            form.len()
        ),
        false => write!(said, "\r\n"),
    };
}
