//! The fields of HTTP in all its versions, and of what is carried by it: one table, so that
//! conditions and events mean the same whatever the connection turns out to be.

use crate::FieldSpec;

pub(crate) const METHOD: u8 = 0;
pub(crate) const HOST: u8 = 1;
pub(crate) const PATH: u8 = 2;
pub(crate) const TARGET: u8 = 3;
pub(crate) const VERSION: u8 = 4;
pub(crate) const USER_AGENT: u8 = 5;
pub(crate) const CONTENT_TYPE: u8 = 6;
pub(crate) const STATUS: u8 = 7;
pub(crate) const SERVER: u8 = 8;
pub(crate) const PRODUCT: u8 = 9;
pub(crate) const PRODUCT_VERSION: u8 = 10;
pub(crate) const GRPC_SERVICE: u8 = 11;
pub(crate) const GRPC_METHOD: u8 = 12;
pub(crate) const GRPC_STATUS: u8 = 13;
pub(crate) const WEBSOCKET_OPCODE: u8 = 14;
pub(crate) const WEBSOCKET_CLOSE_CODE: u8 = 15;
pub(crate) const STREAM: u8 = 16;

const COUNT: usize = 17;

/// The table.
pub(crate) const FIELDS: [FieldSpec; COUNT] = [
    FieldSpec::condition(
        "method",
        "Request method as sent: methods are case-sensitive (RFC 9110, 9.1).",
    ),
    FieldSpec::condition(
        "host",
        "Host the request is for, of the target or else the Host header: lower case, without port.",
    ),
    FieldSpec::condition(
        "path",
        "Path without query, percent-decoded once, `//`, `/./` and `/../` resolved: what the server acts on.",
    ),
    FieldSpec::text("target", "Request target as sent."),
    FieldSpec::text("version", "Protocol version of the message."),
    FieldSpec::text("user_agent", "User-Agent header."),
    FieldSpec::text("content_type", "Content-Type header of the message."),
    FieldSpec::number("status", "Status code of the response."),
    FieldSpec::text("server", "Server header of the response."),
    FieldSpec::text(
        "product",
        "Software behind the response: the server, then what it runs, where headers tell.",
    ),
    FieldSpec::text("product_version", "Version of that software."),
    FieldSpec::condition(
        "grpc_service",
        "gRPC service that is called, with its package.",
    ),
    FieldSpec::condition("grpc_method", "gRPC method that is called."),
    FieldSpec::number(
        "grpc_status",
        "gRPC status code of the answer: 0 is success.",
    ),
    FieldSpec::text(
        "websocket_opcode",
        "Kind of a WebSocket message: text, binary or close (RFC 6455, 5.2).",
    ),
    FieldSpec::number(
        "websocket_close_code",
        "Why a WebSocket is closed (RFC 6455, 7.4).",
    ),
    FieldSpec::number("stream", "HTTP/2 stream: joins a response to its request."),
];

/// The table as a connection of gRPC has it.
pub(crate) const GRPC_FIELDS: [FieldSpec; COUNT] = renamed(&[
    (METHOD, "http_method"),
    (STATUS, "http_status"),
    (GRPC_SERVICE, "service"),
    (GRPC_METHOD, "method"),
    (GRPC_STATUS, "status"),
]);

/// The table as a WebSocket has it.
pub(crate) const WEBSOCKET_FIELDS: [FieldSpec; COUNT] = renamed(&[
    (WEBSOCKET_OPCODE, "opcode"),
    (WEBSOCKET_CLOSE_CODE, "close_code"),
]);

const fn renamed(names: &[(u8, &'static str)]) -> [FieldSpec; COUNT] {
    let mut fields = FIELDS;
    let mut at = 0;
    while at < names.len() {
        fields[names[at].0 as usize].name = names[at].1;
        at += 1;
    }
    fields
}
