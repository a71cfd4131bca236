//! Content on its way from the parsers to those who look into it: decoded first.
//!
//! Trusts: the parsers' lengths. Distrusts: what a message says of its content. Memory: the decoders of
//! [`weir_content`] and a table of the contents that are being decoded, both of a fixed size. Content
//! that cannot be decoded is handed on as it is as far as it came, and told to be unreadable.

use std::collections::HashMap;

use weir_content::{ContentId, Decoders, Limits, Outcome, Part, PartKind, Sink};
use weir_l7::{AppId, Buffer, BufferSet, Content, Form, registry};
use weir_wire::Direction;

/// A content that is being decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    flow: u64,
    to_server: bool,
    stream: u32,
}

#[derive(Clone, Copy)]
struct Open {
    id: ContentId,
    buffer: Buffer,
    media_type: MediaType,
}

/// Longest media type that is handed on; of a longer one its beginning.
const MEDIA_TYPE_BYTES: usize = 128;

/// What a message says that its content is: kept, since the first decoded byte may come with a later piece.
#[derive(Clone, Copy)]
struct MediaType {
    bytes: [u8; MEDIA_TYPE_BYTES],
    length: usize,
}

impl MediaType {
    fn of(told: &[u8]) -> Self {
        let length = told.len().min(MEDIA_TYPE_BYTES);
        let mut bytes = [0; MEDIA_TYPE_BYTES];
        bytes[..length].copy_from_slice(&told[..length]);
        Self { bytes, length }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Decodes the contents of one worker's flows.
pub struct ContentDecoding {
    decoders: Decoders,
    open: HashMap<Key, Open, foldhash::fast::RandomState>,
    /// By direction.
    wanted: [BufferSet; 2],
    /// What is wanted, and what that is made from, by direction.
    needed: [BufferSet; 2],
    /// By the number of an application, a bit for each of its fields that is a needed buffer.
    fields: Box<[u128; 128]>,
}

/// Whose content it is.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// The flow's number.
    pub flow: u64,
    /// The way the content goes.
    pub direction: Direction,
}

impl ContentDecoding {
    /// Decodes nothing, since nobody looks.
    pub fn none() -> Self {
        let none = Limits {
            messages: 0,
            inflate: 0,
            brotli: 0,
            zstd: 0,
            ..Limits::default()
        };
        Self::new(none, [BufferSet::EMPTY; 2])
    }

    /// For those who look into these buffers, by direction.
    pub fn new(limits: Limits, wanted: [BufferSet; 2]) -> Self {
        let needed = needed(&wanted);
        let mut fields = Box::new([0; 128]);
        note_fields(&mut fields, &needed);
        Self {
            open: HashMap::with_capacity_and_hasher(
                limits.messages,
                foldhash::fast::RandomState::default(),
            ),
            decoders: Decoders::new(limits),
            needed,
            fields,
            wanted,
        }
    }

    /// Somebody looks into these buffers from now on.
    pub fn want(&mut self, wanted: [BufferSet; 2]) {
        self.needed = needed(&wanted);
        note_fields(&mut self.fields, &self.needed);
        self.wanted = wanted;
    }

    /// A bit for each field of this parser's events that is a buffer somebody looks into.
    #[inline]
    pub fn fields(&self, parser: AppId) -> u128 {
        self.fields[usize::from(parser.number()) & 127]
    }

    /// Whether a parser is to tell this buffer: it is wanted, or something wanted is made from it.
    pub fn wants(&self, buffer: Buffer) -> bool {
        self.needed.iter().any(|needed| needed.contains(buffer))
    }

    /// All that parsers are to tell of what goes this way.
    pub fn needed(&self, direction: Direction) -> BufferSet {
        self.needed[direction as usize]
    }

    /// Whether such content may travel coded, and has parts: of all others the bytes are what is meant.
    pub fn decodes(buffer: Buffer) -> bool {
        matches!(
            buffer,
            Buffer::HttpRequestBody | Buffer::HttpResponseBody | Buffer::Mail
        )
    }

    /// A piece of content: `each` is given what it says. Some: why it cannot be read to its end.
    pub fn content(
        &mut self,
        owner: Owner,
        content: &Content<'_>,
        each: &mut dyn FnMut(&Content<'_>),
    ) -> Option<&'static str> {
        if !Self::decodes(content.buffer) {
            each(content);
            return None;
        }
        let key = Key {
            flow: owner.flow,
            to_server: owner.direction == Direction::ToServer,
            stream: content.stream,
        };
        let mut unreadable = None;
        if let Some(form) = content.begins {
            self.end(&key);
            unreadable = self.begin(key, content.buffer, &form);
        }
        let Some(open) = self.open.get(&key).copied() else {
            each(content);
            return unreadable;
        };
        let mut sink = Parts {
            whole: open.buffer,
            media_type: open.media_type.as_slice(),
            stream: content.stream,
            wanted: self.wanted[owner.direction as usize],
            each,
        };
        let outcome = self
            .decoders
            .piece(open.id, content.bytes, content.ends, &mut sink);
        if content.ends {
            self.end(&key);
        }
        match outcome {
            Outcome::More | Outcome::Whole | Outcome::Over => None,
            Outcome::Undecoded(why) | Outcome::Corrupt(why) => Some(why),
            Outcome::Bomb => Some("a bomb: it grows beyond all proportion"),
            Outcome::Limit => Some("more than is decoded of one message"),
        }
    }

    /// The flow is over. Call it where [`Self::content`] was called.
    pub fn close(&mut self, flow: u64) {
        let decoders = &mut self.decoders;
        self.open.retain(|key, open| {
            let stays = key.flow != flow;
            if !stays {
                decoders.close(open.id);
            }
            stays
        });
    }

    /// A message that says nothing of its content has a decoder too: JSON shows itself.
    fn begin(&mut self, key: Key, buffer: Buffer, form: &Form<'_>) -> Option<&'static str> {
        let media_type = match buffer {
            Buffer::Mail => b"message/rfc822",
            _ => form.media_type,
        };
        let form = weir_content::Form {
            coding: form.coding,
            media_type,
        };
        match self.decoders.begin(&form) {
            Ok(id) => {
                let media_type = MediaType::of(media_type);
                let open = Open {
                    id,
                    buffer,
                    media_type,
                };
                self.open.insert(key, open);
                None
            }
            // Nothing was to be undone: without a decoder it is handed on as it is.
            Err(_) if form.coding.is_empty() && form.media_type.is_empty() => None,
            Err(Outcome::Undecoded(why)) => Some(why),
            Err(_) => Some("its coding"),
        }
    }

    fn end(&mut self, key: &Key) {
        if let Some(open) = self.open.remove(key) {
            self.decoders.close(open.id);
        }
    }
}

/// The buffers that are made from bodies and mails.
const MADE: [Buffer; 4] = [
    Buffer::FileData,
    Buffer::FileName,
    Buffer::Form,
    Buffer::FormName,
];

fn wants_made(wanted: BufferSet) -> bool {
    MADE.iter().any(|&made| wanted.contains(made))
}

/// By application, its fields that are among these buffers.
fn note_fields(fields: &mut [u128; 128], needed: &[BufferSet; 2]) {
    let both = needed[0].union(needed[1]);
    for info in registry::applications() {
        let specs = info.fields.iter().enumerate().take(128);
        let wanted = specs
            .filter(|(_, spec)| spec.buffer.is_some_and(|buffer| both.contains(buffer)))
            .fold(0, |bits, (index, _)| bits | 1 << index);
        fields[usize::from(info.id.number()) & 127] = wanted;
    }
}

/// What is wanted, and what that is made from.
fn needed(wanted: &[BufferSet; 2]) -> [BufferSet; 2] {
    let with_body = |wanted: BufferSet, body| match wants_made(wanted) {
        true => wanted.with(body).with(Buffer::Mail),
        false => wanted,
    };
    [
        with_body(wanted[0], Buffer::HttpRequestBody),
        with_body(wanted[1], Buffer::HttpResponseBody),
    ]
}

/// Decoded parts on their way, as the buffers that they are.
struct Parts<'a, 'e> {
    /// What they are parts of.
    whole: Buffer,
    media_type: &'a [u8],
    stream: u32,
    wanted: BufferSet,
    each: &'a mut (dyn FnMut(&Content<'_>) + 'e),
}

impl Sink for Parts<'_, '_> {
    fn wants_parts(&self) -> bool {
        self.wants_fields() || self.wanted.contains(Buffer::FileName)
    }

    fn wants_fields(&self) -> bool {
        // Texts of requests and mails are told as files; of what else a server sends they are within the body.
        let of_texts = match self.whole {
            Buffer::HttpResponseBody => BufferSet::EMPTY,
            _ => BufferSet::EMPTY.with(Buffer::FileData),
        };
        let fields = of_texts.with(Buffer::Form).with(Buffer::FormName);
        !self.wanted.intersection(fields).is_empty()
    }

    fn part(&mut self, part: &Part<'_>) {
        match part.kind {
            PartKind::Body => {
                self.tell(part, self.whole);
                // What a server sends is a file to whoever receives it.
                if self.whole == Buffer::HttpResponseBody {
                    self.tell(part, Buffer::FileData);
                }
            }
            PartKind::Key => self.tell(part, Buffer::FormName),
            PartKind::Field | PartKind::Header => self.tell(part, Buffer::Form),
            // Its parts are within it, and not told beside it.
            PartKind::Text | PartKind::File if self.whole == Buffer::HttpResponseBody => {}
            PartKind::Text | PartKind::File => self.tell(part, Buffer::FileData),
        }
        if part.begins && !part.name.is_empty() {
            let named = match part.kind {
                PartKind::File => Buffer::FileName,
                _ => Buffer::FormName,
            };
            if self.wanted.contains(named) {
                (self.each)(&Content::whole(named, self.stream, part.name));
            }
        }
    }
}

impl Parts<'_, '_> {
    fn tell(&mut self, part: &Part<'_>, buffer: Buffer) {
        let form = Form {
            coding: b"",
            media_type: match part.kind {
                PartKind::Body => self.media_type,
                _ => b"",
            },
        };
        if self.wanted.contains(buffer) {
            (self.each)(&Content {
                buffer,
                stream: self.stream,
                begins: part.begins.then_some(form),
                bytes: part.bytes,
                ends: part.ends,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWNER: Owner = Owner {
        flow: 7,
        direction: Direction::ToServer,
    };

    fn decoding() -> ContentDecoding {
        let wanted = BufferSet::EMPTY
            .with(Buffer::HttpRequestBody)
            .with(Buffer::FileData);
        ContentDecoding::new(Limits::default(), [wanted; 2])
    }

    fn body<'a>(coding: &'a [u8], bytes: &'a [u8]) -> Content<'a> {
        Content {
            buffer: Buffer::HttpRequestBody,
            stream: 0,
            begins: Some(Form {
                coding,
                media_type: b"",
            }),
            bytes,
            ends: true,
        }
    }

    fn told(decoding: &mut ContentDecoding, content: &Content<'_>) -> (Vec<u8>, bool) {
        let mut all = Vec::new();
        let why = decoding.content(OWNER, content, &mut |piece| all.extend(piece.bytes));
        (all, why.is_some())
    }

    #[test]
    fn what_is_coded_is_decoded_and_gives_its_memory_back() {
        let mut decoding = decoding();
        // `printf hello | gzip -n`
        let coded = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcbH\xcd\xc9\xc9\x07\0\x86\xa6\x106\x05\0\0\0";
        for _ in 0..10_000 {
            let (bytes, unreadable) = told(&mut decoding, &body(b"gzip", coded));
            assert_eq!((bytes.as_slice(), unreadable), (&b"hello"[..], false));
        }
        assert_eq!(decoding.decoders.in_use(), 0);
    }

    #[test]
    fn what_cannot_be_decoded_is_handed_on_and_told() {
        let (bytes, unreadable) = told(&mut decoding(), &body(b"rot13", b"uryyb"));
        assert_eq!((bytes.as_slice(), unreadable), (&b"uryyb"[..], true));
    }

    /// Each piece: its buffer, the media type it begins with, its bytes.
    fn pieces(wanted: &[Buffer], content: &Content<'_>) -> Vec<(Buffer, Option<String>, String)> {
        let wanted = wanted
            .iter()
            .fold(BufferSet::EMPTY, |all, &one| all.with(one));
        let mut all = Vec::new();
        ContentDecoding::new(Limits::default(), [wanted; 2]).content(
            OWNER,
            content,
            &mut |piece| {
                let media_type = piece.begins.map(|form| text(form.media_type));
                all.push((piece.buffer, media_type, text(piece.bytes)));
            },
        );
        all
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    #[test]
    fn json_is_read_where_nothing_says_that_it_is() {
        let told = pieces(&[Buffer::Form], &body(b"", br#"{"name":"O'Neil"}"#));
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((told[0].0, told[0].2.as_str()), (Buffer::Form, "O'Neil"));
    }

    #[test]
    fn a_body_begins_with_its_media_type() {
        let mut content = body(b"", b"GIF89a");
        content.begins = Some(Form {
            coding: b"",
            media_type: b"image/gif",
        });
        let told = pieces(&[Buffer::HttpRequestBody], &content);
        assert_eq!(told[0].1.as_deref(), Some("image/gif"));
    }

    const ATTACHED: &[u8] =
        b"--x\r\nContent-Disposition: attachment; filename=a.exe\r\n\r\nMZ\r\n--x--\r\n";

    /// What a server sends, with a file in it.
    fn attached() -> Content<'static> {
        let mut content = body(b"", ATTACHED);
        content.buffer = Buffer::HttpResponseBody;
        content.begins = Some(Form {
            coding: b"",
            media_type: b"multipart/mixed; boundary=x",
        });
        content
    }

    #[test]
    fn parts_of_what_a_server_sends_are_not_files_beside_it() {
        let told = pieces(&[Buffer::FileData], &attached());
        let all: String = told.iter().map(|(_, _, bytes)| bytes.as_str()).collect();
        assert_eq!(all, text(ATTACHED));
    }

    #[test]
    fn names_of_files_in_what_a_server_sends_are_told() {
        let told = pieces(&[Buffer::FileName], &attached());
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].2, "a.exe");
    }

    #[test]
    fn a_flow_that_ends_gives_back_what_it_had() {
        let mut decoding = decoding();
        let mut content = body(b"gzip", b"\x1f\x8b");
        content.ends = false;
        told(&mut decoding, &content);
        assert_eq!(decoding.decoders.in_use(), 1);
        decoding.close(OWNER.flow);
        assert_eq!(decoding.decoders.in_use(), 0);
    }
}
