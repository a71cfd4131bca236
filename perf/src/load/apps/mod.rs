//! What the ends of a flow say, by application.

mod bulk;
mod dns;
mod grpc;
mod http;
mod mysql;
mod redis;
mod tls;
mod web;

pub(super) use bulk::Bulk;
pub(super) use dns::{Dns, message as dns_message};
pub(super) use grpc::Grpc;
pub(super) use http::Http;
pub(super) use mysql::Mysql;
pub(super) use redis::Redis;
pub(super) use tls::{Tls, client_hello};
pub(super) use web::Web;

use super::mix;

/// So many bytes that nothing can be read out of.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let words = (0_u64..).flat_map(|place| mix(seed ^ place << 20).to_le_bytes());
    words.take(length).collect()
}
