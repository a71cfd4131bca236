//! `app-layer-event`: what Suricata calls the things that a parser of Weir objects to.

use weir_l7::violation::{
    DNS_DEEP, DNS_LONG_NAME, DNS_LONG_RECORD, DNS_LOOP, DNS_MALFORMED, HTTP_AMBIGUOUS_CODING,
    HTTP_CHUNK_LINE, HTTP_CHUNK_SIZE, HTTP_CODING_TOO_OLD, HTTP_CONTROL, HTTP_FOLDED,
    HTTP_HEADER_NAME, HTTP_MALFORMED_LENGTH, HTTP_NEGATIVE_LENGTH, HTTP_NO_COLON, HTTP_TWO_LENGTHS,
    HTTP_UNASKED, HTTP2_CODING, HTTP2_CONNECTION, HTTP2_CONTROL, SMB_COMPRESSED, TLS_CIPHERS,
};

const LENGTHS: &[&str] = &[HTTP_NEGATIVE_LENGTH, HTTP_MALFORMED_LENGTH];
const HEADERS: &[&str] = &[HTTP_HEADER_NAME, HTTP_CONTROL];
const CODINGS: &[&str] = &[HTTP_AMBIGUOUS_CODING, HTTP_CODING_TOO_OLD];
const CHUNKS: &[&str] = &[HTTP_CHUNK_SIZE, HTTP_CHUNK_LINE];

/// Name, and the objections of which each is meant.
const EVENTS: &[(&str, &[&str])] = &[
    ("http.invalid_content_length_field_in_request", LENGTHS),
    ("http.invalid_content_length_field_in_response", LENGTHS),
    (
        "http.duplicate_content_length_field_in_request",
        &[HTTP_TWO_LENGTHS],
    ),
    (
        "http.duplicate_content_length_field_in_response",
        &[HTTP_TWO_LENGTHS],
    ),
    ("http.invalid_transfer_encoding_value_in_request", CODINGS),
    ("http.invalid_transfer_encoding_value_in_response", CODINGS),
    ("http.invalid_request_chunk_len", CHUNKS),
    ("http.invalid_response_chunk_len", CHUNKS),
    ("http.request_field_missing_colon", &[HTTP_NO_COLON]),
    ("http.response_field_missing_colon", &[HTTP_NO_COLON]),
    ("http.request_header_invalid", HEADERS),
    ("http.response_header_invalid", HEADERS),
    ("http.invalid_request_field_folding", &[HTTP_FOLDED]),
    ("http.invalid_response_field_folding", &[HTTP_FOLDED]),
    ("http.unable_to_match_response_to_request", &[HTTP_UNASKED]),
    (
        "http2.invalid_header",
        &[HTTP2_CODING, HTTP2_CONNECTION, HTTP2_CONTROL],
    ),
    (
        "dns.malformed_data",
        &[
            DNS_LOOP,
            DNS_LONG_NAME,
            DNS_LONG_RECORD,
            DNS_DEEP,
            DNS_MALFORMED,
        ],
    ),
    ("dns.infinite_loop", &[DNS_LOOP, DNS_DEEP]),
    ("dns.name_too_long", &[DNS_LONG_NAME]),
    ("tls.invalid_handshake_message", &[TLS_CIPHERS]),
    ("smb.malformed_data", &[SMB_COMPRESSED]),
];

/// The objections that an event means; None of one that no parser tells.
pub(crate) fn objections(name: &str) -> Option<&'static [&'static str]> {
    let row = EVENTS.iter().find(|row| row.0 == name);
    row.map(|row| row.1)
}
