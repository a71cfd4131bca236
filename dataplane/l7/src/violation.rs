//! What parsers object to, word by word: detectors key on these, so each stands here once. A parser's
//! other objections say that the bytes contradict its protocol, and mean nothing more.

/// HTTP/1: Content-Length twice, with values that differ (CL.CL).
pub const HTTP_TWO_LENGTHS: &str = "two lengths of one body that differ (CL.CL)";
/// HTTP/1: Content-Length and Transfer-Encoding in one request (CL.TE, TE.CL): which of them counts is
/// each server's own choice.
pub const HTTP_LENGTH_AND_CODING: &str =
    "both a length and a transfer coding of one body (CL.TE, TE.CL)";
/// HTTP/1: several Transfer-Encodings, or one that servers read in different ways (TE.TE).
pub const HTTP_AMBIGUOUS_CODING: &str = "a transfer coding that servers read differently (TE.TE)";
/// HTTP/1: Transfer-Encoding in a request of HTTP/1.0, which does not know it.
pub const HTTP_CODING_TOO_OLD: &str = "a transfer coding in HTTP/1.0";
/// HTTP: a Content-Length below zero.
pub const HTTP_NEGATIVE_LENGTH: &str = "a negative length";
/// HTTP: a Content-Length that is no number, such as `+4`, `0x4` or `4 4`.
pub const HTTP_MALFORMED_LENGTH: &str = "a malformed length";
/// HTTP/1: a header that says where a request goes or ends, folded over lines.
pub const HTTP_FOLDED: &str = "a header folded over lines";
/// HTTP: a header whose name holds what no name may, such as a space before the colon.
pub const HTTP_HEADER_NAME: &str = "a malformed header name";
/// HTTP/1: a line among the headers of a request that has no colon.
pub const HTTP_NO_COLON: &str = "a header without a colon";
/// HTTP/1: NUL, or a CR that ends no line, in a header of a request.
pub const HTTP_CONTROL: &str = "a control character in a header";
/// HTTP/1: a chunk whose size is no hexadecimal number, or more than any.
pub const HTTP_CHUNK_SIZE: &str = "a malformed chunk size";
/// HTTP/1: a chunk that goes on where its size says that it ends.
pub const HTTP_CHUNK_END: &str = "a chunk that does not end where its size says";
/// HTTP/1: a line of a chunk's size without end.
pub const HTTP_CHUNK_LINE: &str = "a chunk size without end";
/// HTTP/1: more responses than requests, once and again: what the client takes for an answer is not.
pub const HTTP_UNASKED: &str = "answers that nobody asked for";
/// HTTP/2: a request's Content-Length is not what its DATA frames hold (H2.CL).
pub const HTTP2_LENGTH: &str = "a length that is not that of the body in HTTP/2 (H2.CL)";
/// HTTP/2: a request with Transfer-Encoding (H2.TE).
pub const HTTP2_CODING: &str = "a transfer coding in HTTP/2 (H2.TE)";
/// HTTP/2: another header that only HTTP/1 has, such as Connection.
pub const HTTP2_CONNECTION: &str = "a header of HTTP/1 in HTTP/2";
/// HTTP/2: CR, LF or NUL in the value of a request's header: behind a gateway it is more than one header.
pub const HTTP2_CONTROL: &str = "a control character in a header of HTTP/2";

/// What may smuggle a request, or an answer, past who reads the message in another way.
pub const HTTP_SMUGGLING: &[&str] = &[
    HTTP_TWO_LENGTHS,
    HTTP_LENGTH_AND_CODING,
    HTTP_AMBIGUOUS_CODING,
    HTTP_CODING_TOO_OLD,
    HTTP_MALFORMED_LENGTH,
    HTTP_FOLDED,
    HTTP_HEADER_NAME,
    HTTP_CONTROL,
    HTTP_CHUNK_SIZE,
    HTTP_CHUNK_END,
    HTTP_CHUNK_LINE,
    HTTP_UNASKED,
    HTTP2_LENGTH,
    HTTP2_CODING,
    HTTP2_CONNECTION,
    HTTP2_CONTROL,
];

/// DNS: a compression pointer that does not lead backwards.
pub const DNS_LOOP: &str = "a name whose compression leads in a circle";
/// DNS: a name beyond 255 bytes.
pub const DNS_LONG_NAME: &str = "a name longer than names may be";
/// DNS: a record whose data go beyond the message.
pub const DNS_LONG_RECORD: &str = "a record longer than its message";
/// DNS: a name put together from more pieces than any sender would.
pub const DNS_DEEP: &str = "a name of more compression pointers than names have";
/// DNS: anything else.
pub const DNS_MALFORMED: &str = "a malformed DNS message";

/// TLS: a list of cipher suites that goes beyond the ClientHello, or is of no even length.
pub const TLS_CIPHERS: &str = "a list of ciphers of an impossible length";

/// SMB: a compressed message whose sizes add up to more than a number holds, or lie beyond it.
pub const SMB_COMPRESSED: &str = "a compressed message whose sizes overflow";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_means_one_thing() {
        let all = [
            HTTP_SMUGGLING,
            &[HTTP_NEGATIVE_LENGTH, HTTP_NO_COLON],
            &[
                DNS_LOOP,
                DNS_LONG_NAME,
                DNS_LONG_RECORD,
                DNS_DEEP,
                DNS_MALFORMED,
            ],
            &[TLS_CIPHERS, SMB_COMPRESSED],
        ]
        .concat();
        for (at, what) in all.iter().enumerate() {
            assert!(!all[..at].contains(what), "{what}");
        }
    }
}
