//! What a content is made of: parts within parts, mails within parts, each read as its head says.
//!
//! A chain of levels, outermost first: a multipart body is cut at its delimiters, a mail after its head,
//! and what a part holds goes to the next level or to the reader. Only so many levels are followed
//! ([`LEVELS`]); what is deeper is given as it stands. Memory: some 6 KiB a message.

mod delimiter;
mod head;
mod value;

use arrayvec::ArrayVec;

use crate::part::{Leaf, Writer};
use crate::piecewise::Emit;
use crate::readers::{Format, Reader};
use crate::{PartKind, Sink};
use delimiter::{Delimiter, Found};
use head::{Facts, Head, Transfer};
use value::Media;

/// Multipart bodies and mails within each other.
const LEVELS: usize = 6;
/// Decoded bytes of a part on their way to the next level.
const STAGED_BYTES: usize = 768;

/// What is read at a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// What comes before the first part, and after the last.
    Between,
    /// The head of a part, or of the mail.
    Head,
    /// What the part or the mail holds.
    Data,
}

struct Level {
    /// None for a mail, which has one part only.
    delimiter: Option<Delimiter>,
    place: Place,
    transfer: Transfer,
}

/// A content, and where in it reading is.
#[derive(Default)]
pub(crate) struct Mime {
    levels: ArrayVec<Level, LEVELS>,
    head: Head,
    reader: Reader,
    leaf: Leaf,
    /// A mail is around it all: parts are text or attachments, no fields.
    mail: bool,
    /// What the message says about its content.
    media: Facts,
    /// The reader of a content without parts is not chosen yet.
    pending: bool,
}

impl Mime {
    /// A message of this media type begins.
    pub(crate) fn begin(&mut self, media_type: &[u8]) {
        self.levels.clear();
        self.reader = Reader::default();
        self.leaf.reset();
        self.media = Facts::of_media_type(media_type);
        self.begin_content();
    }

    /// Whether it says that it is a mail or has parts; else there are no files in it.
    pub(crate) fn may_have_files(&self) -> bool {
        !matches!(self.media.media, Media::Content(_))
    }

    /// The content begins anew: what was read of it was not it.
    pub(crate) fn restart(&mut self, sink: &mut dyn Sink) {
        self.end(sink);
        self.begin_content();
    }

    fn begin_content(&mut self) {
        self.mail = false;
        match self.media.media {
            Media::Multipart => {
                if let Some(delimiter) = Delimiter::new(&self.media.boundary) {
                    self.push(Some(delimiter));
                }
            }
            Media::Mail => self.push(None),
            Media::Content(_) => {}
        }
        self.pending = true;
    }

    /// The next piece of the content.
    pub(crate) fn piece(&mut self, input: &[u8], sink: &mut dyn Sink) {
        self.begin_reading(sink);
        self.feed(0, input, sink);
        Writer::new(&mut self.leaf, sink).flush();
    }

    /// The content is over.
    pub(crate) fn end(&mut self, sink: &mut dyn Sink) {
        self.begin_reading(sink);
        self.end_from(0, sink);
    }

    /// A content without parts: the reader is chosen when there is somebody to tell.
    fn begin_reading(&mut self, sink: &mut dyn Sink) {
        let pending = std::mem::take(&mut self.pending);
        if let (true, Media::Content(format)) = (pending, self.media.media) {
            let mut writer = Writer::new(&mut self.leaf, sink);
            self.reader = Reader::begin(format, self.media.charset, &mut writer);
        }
    }

    fn push(&mut self, delimiter: Option<Delimiter>) {
        let place = match delimiter {
            Some(_) => Place::Between,
            None => Place::Head,
        };
        self.mail |= delimiter.is_none();
        self.head.begin();
        let _ = self.levels.try_push(Level {
            delimiter,
            place,
            transfer: Transfer::Identity,
        });
    }

    /// Bytes for a level; beyond the last they are for the reader.
    fn feed(&mut self, level: usize, input: &[u8], sink: &mut dyn Sink) {
        let mut rest = input;
        while !rest.is_empty() {
            let Some(current) = self.levels.get_mut(level) else {
                let mut writer = Writer::new(&mut self.leaf, sink);
                return self.reader.piece(rest, &mut writer);
            };
            let Some(delimiter) = &mut current.delimiter else {
                return self.data(level, rest, sink);
            };
            let (found, taken) = delimiter.next(rest);
            rest = rest.get(taken..).unwrap_or_default();
            self.found(level, found, sink);
        }
    }

    fn found(&mut self, level: usize, found: Found<'_>, sink: &mut dyn Sink) {
        match found {
            Found::Nothing => {}
            Found::Data(bytes) => self.data(level, bytes, sink),
            Found::Line(newline, seen) => {
                let seen = self
                    .levels
                    .get(level)
                    .and_then(|level| level.delimiter.as_ref())
                    .map(|delimiter| delimiter.seen(seen))
                    .unwrap_or_default();
                self.data(level, newline.bytes(), sink);
                self.data(level, &seen, sink);
            }
            Found::Delimiter => {
                self.end_part(level, sink);
                self.place(level, Place::Head);
                self.head.begin();
            }
            Found::Close => {
                self.end_part(level, sink);
                self.place(level, Place::Between);
            }
        }
    }

    fn place(&mut self, level: usize, place: Place) {
        if let Some(level) = self.levels.get_mut(level) {
            level.place = place;
        }
    }

    /// Bytes between two delimiters.
    fn data(&mut self, level: usize, input: &[u8], sink: &mut dyn Sink) {
        let Some(current) = self.levels.get_mut(level) else {
            return;
        };
        match current.place {
            _ if input.is_empty() => {}
            Place::Between => {}
            Place::Data => self.decoded(level, input, sink),
            Place::Head => {
                let is_mail = current.delimiter.is_none();
                let Self { head, leaf, .. } = self;
                let mut writer = Writer::new(leaf, sink);
                let after = head.piece(input, |line| show(line, is_mail, &mut writer));
                if let Some(after) = after {
                    self.begin_part(level, sink);
                    self.decoded(level, after, sink);
                }
            }
        }
    }

    /// Undoes how a part travels, and feeds it to the next level.
    fn decoded(&mut self, level: usize, input: &[u8], sink: &mut dyn Sink) {
        let Some(current) = self.levels.get_mut(level) else {
            return;
        };
        if matches!(current.transfer, Transfer::Identity) {
            return self.feed(level + 1, input, sink);
        }
        let mut transfer = std::mem::take(&mut current.transfer);
        let mut staged = Staged::new(self, level + 1, sink);
        transfer.piece(input, &mut staged);
        staged.flush();
        if let Some(current) = self.levels.get_mut(level) {
            current.transfer = transfer;
        }
    }

    /// The head is over: what the part holds is read as it says.
    fn begin_part(&mut self, level: usize, sink: &mut dyn Sink) {
        let facts = std::mem::take(&mut self.head.facts);
        if let Some(current) = self.levels.get_mut(level) {
            current.place = Place::Data;
            current.transfer = match self.mail {
                true => facts.transfer,
                false => facts.transfer.doubted(),
            };
        }
        let next = match facts.media {
            _ if self.levels.is_full() => None,
            Media::Multipart => Delimiter::new(&facts.boundary).map(Some),
            Media::Mail => Some(None),
            _ => None,
        };
        if let Some(delimiter) = next {
            return self.push(delimiter);
        }
        let format = match facts.media {
            Media::Content(format) => format,
            Media::Multipart | Media::Mail => Format::Other,
        };
        let is_attached = facts.is_file || self.mail && format == Format::Other;
        let (kind, name) = match (is_attached, self.mail) {
            (true, _) if facts.file.is_empty() => (PartKind::File, facts.name),
            (true, _) => (PartKind::File, facts.file),
            (false, true) => (PartKind::Text, facts.file),
            (false, false) => (PartKind::Field, facts.name),
        };
        let mut writer = Writer::new(&mut self.leaf, sink);
        self.reader = Reader::begin_part(format, facts.charset, kind, name.as_slice(), &mut writer);
    }

    /// A part is over: everything within it ends.
    fn end_part(&mut self, level: usize, sink: &mut dyn Sink) {
        let Some(current) = self.levels.get_mut(level) else {
            return;
        };
        match current.place {
            Place::Between => {}
            Place::Head => {
                let is_mail = current.delimiter.is_none();
                let Self { head, leaf, .. } = self;
                let mut writer = Writer::new(leaf, sink);
                head.end(|line| show(line, is_mail, &mut writer));
            }
            Place::Data => {
                let mut transfer = std::mem::take(&mut current.transfer);
                let mut staged = Staged::new(self, level + 1, sink);
                transfer.end(&mut staged);
                staged.flush();
                self.end_from(level + 1, sink);
            }
        }
    }

    /// Ends this level and those within it.
    fn end_from(&mut self, level: usize, sink: &mut dyn Sink) {
        let Some(current) = self.levels.get_mut(level) else {
            let mut writer = Writer::new(&mut self.leaf, sink);
            return self.reader.end(&mut writer);
        };
        if let Some(delimiter) = &mut current.delimiter {
            let found = delimiter.end();
            self.found(level, found, sink);
        }
        self.end_part(level, sink);
        self.levels.truncate(level);
    }
}

/// A header line of a mail is told; one of a part is only about the part.
fn show(line: &head::Line<'_>, is_mail: bool, writer: &mut Writer<'_>) {
    if is_mail {
        writer.open(PartKind::Header, line.name);
        value::encoded_words(line.value, writer);
        writer.close();
    }
}

/// Gathers decoded bytes for the next level.
struct Staged<'a> {
    mime: &'a mut Mime,
    level: usize,
    sink: &'a mut dyn Sink,
    bytes: ArrayVec<u8, STAGED_BYTES>,
}

impl<'a> Staged<'a> {
    fn new(mime: &'a mut Mime, level: usize, sink: &'a mut dyn Sink) -> Self {
        Self {
            mime,
            level,
            sink,
            bytes: ArrayVec::new(),
        }
    }

    fn flush(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.mime.feed(self.level, &bytes, self.sink);
    }
}

impl Emit for Staged<'_> {
    fn bytes(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let taken = rest.len().min(self.bytes.remaining_capacity());
            let (now, after) = rest.split_at(taken);
            let _ = self.bytes.try_extend_from_slice(now);
            rest = after;
            if self.bytes.is_full() {
                self.flush();
            }
        }
    }
}
