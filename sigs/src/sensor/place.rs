//! Where a pattern looks: a few words for people, or the name of a buffer.

use weir_l7::{Buffer, BufferSet};

/// One row a word: the word, its buffers.
const PLACES: [(&str, &[Buffer]); 6] = [
    (
        "url",
        &[Buffer::HttpUri, Buffer::HttpUriRaw, Buffer::SipUri],
    ),
    (
        "header",
        &[Buffer::HttpHeader, Buffer::HttpCookie, Buffer::Http2Header],
    ),
    (
        "body",
        &[
            Buffer::HttpRequestBody,
            Buffer::HttpResponseBody,
            Buffer::Form,
            Buffer::Mail,
            Buffer::MqttMessage,
        ],
    ),
    ("statement", &[Buffer::Statement, Buffer::RedisCommand]),
    ("file", &[Buffer::FileData]),
    ("stream", &[Buffer::Payload]),
];

/// The words, each with the buffers that it stands for.
pub fn places() -> impl Iterator<Item = (&'static str, &'static [Buffer])> {
    PLACES.iter().copied()
}

/// The buffers that a word or a name stands for; None for one that is not known.
pub(super) fn buffers(word: &str) -> Option<BufferSet> {
    match PLACES.iter().find(|(place, _)| *place == word) {
        Some((_, buffers)) => Some(buffers.iter().copied().collect()),
        None => Some(BufferSet::EMPTY.with(Buffer::by_name(word)?)),
    }
}
