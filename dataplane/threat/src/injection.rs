//! Attacks hidden in what applications read: parameters, headers, bodies, statements.
//!
//! Every value is judged in each reading that the layers behind may make of it (`forms`), by one
//! detector a family: `sql`, `shell`, `path`, `script` (XSS), `address` (SSRF), `lookup`
//! (Log4Shell), `ognl` (Struts), `spring`, `shellshock`, `code`. None of them is a list of words:
//! each asks whether the value would *work*, since prose, code and search phrases use the same words.
//!
//! Trusts: that parsers told where a value begins and ends. Distrusts: every byte of it. Pure. Time:
//! bounded by `forms::FORM_BYTES` and the number of readings; a value without a suspicious byte costs
//! one pass of a table look-up. Memory: `Injection::new` allocates it all.

mod address;
mod clean;
mod code;
mod forms;
mod lookup;
mod ognl;
mod path;
mod script;
mod shell;
mod shellshock;
mod sighting;
mod split;
mod spring;
mod sql;
mod stream;

use weir_l7::{Buffer, BufferSet};

use self::clean::Clean;
use self::forms::{Bytes, Forms};
use self::sighting::Sighting;
use self::split::Media;
use self::stream::{Streams, Window};
use crate::{Config, Evidence, Found, Threat};

pub use self::stream::{MAX_STREAMS, WINDOW_BYTES};

/// Where a value stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The path of a request's target, still encoded.
    Path,
    /// A parameter: of the query, a form, a document, a cookie.
    Parameter,
    /// A header that applications log, store and look up: User-Agent, X-Forwarded-For, their own.
    Header,
    /// A header whose grammar has quotes, semicolons and parentheses: Accept, Date, If-None-Match.
    Grammar,
    /// Content-Type and Content-Disposition.
    MediaType,
    /// A whole statement of a database.
    Statement,
}

/// The buffers that are looked into.
pub const WANTED: BufferSet = BufferSet::EMPTY
    .with(Buffer::HttpUriRaw)
    .with(Buffer::HttpRequestHeader)
    .with(Buffer::HttpRequestBody)
    .with(Buffer::Form)
    .with(Buffer::FormName)
    .with(Buffer::FileName)
    .with(Buffer::Statement);

/// The detectors, and the buffers they decode into.
pub struct Injection {
    judge: Judge,
    streams: Streams,
    clean: Clean,
}

/// Looks at values.
struct Judge {
    forms: Forms,
}

/// Of which connection, direction and message a piece of content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// Number of the connection.
    pub connection: u64,
    /// Stream of HTTP/2, else 0.
    pub stream: u32,
    /// What it is.
    pub buffer: Buffer,
}

/// A piece of content.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Where it belongs.
    pub source: Source,
    /// The first piece, and the media type that the message tells.
    pub begins: Option<&'a [u8]>,
    /// The bytes.
    pub bytes: &'a [u8],
    /// The last piece.
    pub ends: bool,
}

impl Default for Injection {
    fn default() -> Self {
        Self::new()
    }
}

impl Injection {
    /// Allocates the windows and the buffers.
    pub fn new() -> Self {
        Self {
            judge: Judge {
                forms: Forms::new(),
            },
            streams: Streams::new(),
            clean: Clean::new(),
        }
    }

    /// One value. `name` may be empty.
    pub fn look(
        &mut self,
        config: &Config,
        place: Place,
        name: &[u8],
        value: &[u8],
        found: &mut Found,
    ) {
        self.judge.pair(config, place, name, value, found);
    }

    /// The target of a request as it was sent: its path, and each parameter of its query.
    pub fn look_request_target(&mut self, config: &Config, target: &[u8], found: &mut Found) {
        self.judge.target(config, target, found);
    }

    /// A header of a request: `Name: value`.
    pub fn look_header(&mut self, config: &Config, line: &[u8], found: &mut Found) {
        self.judge.header(config, line, found);
    }

    /// Whether nothing was seen in this header lately. Asked before a header is told it saves 7 % of the
    /// instructions of HTTP with five short headers, and 5 % more for all that is between; of browsers' headers
    /// far more.
    #[inline]
    pub fn is_clean_header(&self, line: &[u8]) -> bool {
        self.clean.has(line)
    }

    /// A piece of content. An attack is seen wherever the pieces are cut.
    pub fn content(&mut self, config: &Config, piece: &Piece<'_>, found: &mut Found) {
        let Self {
            judge,
            streams,
            clean,
        } = self;
        let buffer = piece.source.buffer;
        if buffer == Buffer::HttpUriRaw {
            return judge.target(config, piece.bytes, found);
        }
        if buffer == Buffer::HttpRequestHeader {
            let before = found.sightings();
            judge.header(config, piece.bytes, found);
            if found.sightings() == before {
                clean.keep(piece.bytes);
            }
            return;
        }
        if !WANTED.contains(buffer) {
            return;
        }
        streams.piece(piece, |window| judge.window(config, buffer, window, found));
    }
}

impl Judge {
    fn window(&mut self, config: &Config, buffer: Buffer, window: &Window<'_>, found: &mut Found) {
        match buffer {
            Buffer::Statement => {
                return self.pair(config, Place::Statement, b"", window.bytes, found);
            }
            Buffer::FormName => {
                return self.pair(config, Place::Parameter, window.bytes, b"", found);
            }
            Buffer::Form | Buffer::FileName => {
                return self.pair(config, Place::Parameter, b"", window.bytes, found);
            }
            _ => {}
        }
        if buffer == Buffer::HttpRequestBody {
            note(
                config,
                Threat::Struts,
                window.bytes,
                ognl::look_xml(window.bytes),
                found,
            );
            note(
                config,
                Threat::PathTraversal,
                window.bytes,
                path::look_xml(window.bytes),
                found,
            );
        }
        split::values(
            window.media,
            window.bytes,
            window.continued,
            &mut |name, value| {
                self.pair(config, Place::Parameter, name, value, found);
            },
        );
    }

    fn target(&mut self, config: &Config, target: &[u8], found: &mut Found) {
        let end = memchr::memchr(b'#', target).unwrap_or(target.len());
        let (path, query) = match memchr::memchr(b'?', &target[..end]) {
            Some(mark) => (&target[..mark], &target[mark + 1..]),
            None => (target, &[] as &[u8]),
        };
        self.pair(config, Place::Path, b"", without_authority(path), found);
        split::values(Media::Form, query, false, &mut |name, value| {
            self.pair(config, Place::Parameter, name, value, found);
        });
    }

    fn header(&mut self, config: &Config, line: &[u8], found: &mut Found) {
        let colon = memchr::memchr(b':', line).unwrap_or(line.len());
        let name = line[..colon].trim_ascii();
        let value = line.get(colon + 1..).unwrap_or_default().trim_ascii();
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        if is(b"cookie") {
            self.pair(config, Place::Grammar, name, value, found);
            return split::values(Media::Cookie, value, false, &mut |name, value| {
                // The semicolon within a function is no cookie's end to bash.
                note(
                    config,
                    Threat::Shellshock,
                    value,
                    shellshock::look(value, false),
                    found,
                );
                self.pair(config, Place::Parameter, name, value, found);
            });
        }
        if is(b"referer") {
            self.pair(config, Place::Grammar, name, value, found);
            let query = memchr::memchr(b'?', value).map_or(value, |mark| &value[mark + 1..]);
            return split::values(Media::Form, query, false, &mut |_, value| {
                self.pair(config, Place::Header, b"", value, found);
            });
        }
        if is(b"authorization")
            && value
                .get(..6)
                .is_some_and(|start| start.eq_ignore_ascii_case(b"basic "))
        {
            return self.credentials(config, &value[6..], found);
        }
        let place = if is(b"content-type") || is(b"content-disposition") {
            Place::MediaType
        } else if has_grammar(name) {
            Place::Grammar
        } else {
            Place::Header
        };
        self.pair(config, place, b"", value, found);
    }

    /// What stands encoded in `Authorization: Basic`.
    fn credentials(&mut self, config: &Config, encoded: &[u8], found: &mut Found) {
        let mut plain = [0; 512];
        let rules = weir_content::transform::Base64Rules::default();
        let written =
            weir_content::transform::base64_decode(encoded.trim_ascii(), rules, &mut plain);
        let plain = plain.get(..written.length).unwrap_or_default();
        for part in plain.splitn(2, |byte| *byte == b':') {
            self.pair(config, Place::Header, b"", part, found);
        }
    }

    /// A name and its value.
    fn pair(
        &mut self,
        config: &Config,
        place: Place,
        name: &[u8],
        value: &[u8],
        found: &mut Found,
    ) {
        let is_parameter = place == Place::Parameter;
        if is_parameter && name.len() >= 5 {
            self.forms.each(name, |form, bytes| {
                note(
                    config,
                    Threat::Spring4Shell,
                    form,
                    spring::look(form),
                    found,
                );
                if bytes.any(
                    Bytes::BRACE
                        .or(Bytes::PARENTHESIS)
                        .or(Bytes::ANGLE)
                        .or(Bytes::QUOTE),
                ) {
                    judge(config, place, form, bytes, found);
                }
                false
            });
        }
        if place == Place::Statement {
            return note(
                config,
                Threat::SqlInjection,
                value,
                sql::statement::look(value),
                found,
            );
        }
        self.forms.each(value, |form, bytes| {
            judge(config, place, form, bytes, found);
            false
        });
    }
}

/// Headers whose own grammar looks like code.
fn has_grammar(name: &[u8]) -> bool {
    const NAMES: &[&[u8]] = &[
        b"accept",
        b"accept-charset",
        b"accept-encoding",
        b"accept-language",
        b"cache-control",
        b"connection",
        b"content-length",
        b"content-encoding",
        b"date",
        b"etag",
        b"if-match",
        b"if-modified-since",
        b"if-none-match",
        b"if-range",
        b"if-unmodified-since",
        b"keep-alive",
        b"pragma",
        b"range",
        b"te",
        b"transfer-encoding",
        b"upgrade",
        b"via",
        b"priority",
        b"sec-ch-ua",
        b"sec-ch-ua-platform",
        b"sec-ch-ua-mobile",
        b"forwarded",
        b"link",
        b"authorization",
        b"proxy-authorization",
        b"content-security-policy",
        b"expect",
        b"upgrade-insecure-requests",
        b"alt-used",
        b"baggage",
        b"tracestate",
    ];
    NAMES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// The path of a target that names scheme and host.
fn without_authority(path: &[u8]) -> &[u8] {
    if path.first() == Some(&b'/') {
        return path;
    }
    let start = path.get(..8).unwrap_or(path);
    match memchr::memmem::find(start, b"://") {
        Some(at) => {
            let rest = &path[at + 3..];
            memchr::memchr(b'/', rest).map_or(b"/", |slash| &rest[slash..])
        }
        None => path,
    }
}

fn note(
    config: &Config,
    threat: Threat,
    form: &[u8],
    sighting: Option<Sighting>,
    found: &mut Found,
) {
    if let Some(sighting) = sighting {
        found.note(config, threat, || {
            let bytes = form.get(sighting.from..sighting.to.min(form.len()));
            Evidence::sign(sighting.sign).bytes(bytes.unwrap_or(form))
        });
    }
}

/// Judges one reading of a value. What its bytes rule out is not asked.
fn judge(config: &Config, place: Place, form: &[u8], bytes: Bytes, found: &mut Found) {
    let mut tell = |threat, sighting| note(config, threat, form, sighting, found);
    if bytes.any(Bytes::BRACE) {
        if bytes.any(Bytes::DOLLAR) {
            tell(Threat::Log4Shell, lookup::look(form));
        }
        let strict = matches!(place, Place::Parameter | Place::Path);
        tell(Threat::Shellshock, shellshock::look(form, strict));
    }
    if bytes.any(Bytes::BRACE.or(Bytes::PARENTHESIS)) {
        tell(Threat::Struts, ognl::look(form, place == Place::MediaType));
    }
    match place {
        Place::Path => {
            if bytes.any(Bytes::SLASH) {
                let climbs = bytes.any(Bytes::DOT);
                tell(Threat::PathTraversal, path::look_target(form, climbs));
            }
            if bytes.any(IN_PATH) {
                tell(Threat::CrossSiteScripting, script::look(form));
                for segment in split::tails(form) {
                    tell(Threat::SqlInjection, sql::look(segment));
                    tell(Threat::CommandInjection, shell::look(segment));
                }
            }
        }
        Place::Parameter | Place::Header => free_text(place, form, bytes, tell),
        Place::MediaType => {
            if bytes.any(Bytes::SLASH)
                && let Some(name) = split::file_name(form)
            {
                tell(Threat::PathTraversal, path::look(name));
            }
        }
        Place::Grammar | Place::Statement => {}
    }
}

/// What paths have only when something is done with them.
const IN_PATH: Bytes = Bytes::QUOTE
    .or(Bytes::BLANK)
    .or(Bytes::ANGLE)
    .or(Bytes::SEPARATOR)
    .or(Bytes::BRACE);

fn free_text(
    place: Place,
    form: &[u8],
    bytes: Bytes,
    mut tell: impl FnMut(Threat, Option<Sighting>),
) {
    const SQL: Bytes = Bytes::QUOTE
        .or(Bytes::BLANK)
        .or(Bytes::PARENTHESIS)
        .or(Bytes::SEPARATOR)
        .or(Bytes::EQUALS)
        .or(Bytes::STAR);
    const SHELL: Bytes = Bytes::SEPARATOR
        .or(Bytes::PARENTHESIS)
        .or(Bytes::SLASH)
        .or(Bytes::DOLLAR);
    const SCRIPT: Bytes = Bytes::ANGLE
        .or(Bytes::QUOTE)
        .or(Bytes::COLON)
        .or(Bytes::BRACE);
    const CODE: Bytes = Bytes::PARENTHESIS.or(Bytes::BRACE);
    if bytes.any(SQL) {
        tell(Threat::SqlInjection, sql::look(form));
    }
    if bytes.any(SHELL) {
        tell(Threat::CommandInjection, shell::look(form));
    }
    if bytes.any(CODE) {
        tell(Threat::CommandInjection, code::look(form));
    }
    if bytes.any(SCRIPT) {
        tell(Threat::CrossSiteScripting, script::look(form));
    }
    if place == Place::Parameter {
        if bytes.any(Bytes::SLASH.or(Bytes::COLON)) {
            tell(Threat::PathTraversal, path::look(form));
        }
        if bytes.any(Bytes::SLASH.or(Bytes::COLON).or(Bytes::DOT)) {
            tell(Threat::MetadataForgery, address::look(form));
        }
    }
}
