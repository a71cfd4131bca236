//! Cross-site scripting: would a browser that is shown this value run script?
//!
//! A value is read as a browser reads markup: tags and their attributes, in whatever case and with
//! whatever stands between them. Bold text, links and pictures are what people enter; handlers, scripts
//! and addresses that are script are not. Also read: what breaks out of an attribute or of a string of a
//! script, an address that is script, and expressions of client-side templates.
//!
//! Trusts nothing. Time: linear in the value for each of a bounded number of tags. Memory: a few names.

use arrayvec::ArrayVec;
use memchr::memmem;

use super::sighting::Sighting;

const MAX_TAGS: usize = 64;
const MAX_ATTRIBUTES: usize = 32;

/// What in `value` is script, if anything is.
pub(super) fn look(value: &[u8]) -> Option<Sighting> {
    address(value)
        .map(|to| Sighting::new("address that is script", 0, to))
        .or_else(|| tags(value))
        .or_else(|| break_out(value))
        .or_else(|| template(value))
}

/// `<name …>`
fn tags(value: &[u8]) -> Option<Sighting> {
    for start in memchr::memchr_iter(b'<', value).take(MAX_TAGS) {
        let rest = &value[start + 1..];
        let name_end = rest
            .iter()
            .position(|byte| {
                !(byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'?' | b'!' | 0))
            })
            .unwrap_or(rest.len());
        let name = lower(&rest[..name_end]);
        if !name
            .first()
            .is_some_and(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'?' | b'!'))
        {
            continue;
        }
        let local = name.rsplit(|byte| *byte == b':').next().unwrap_or(&name);
        let attributes = &rest[name_end..];
        if let Some(sign) = by_name(local, attributes).or_else(|| by_attributes(attributes)) {
            let end = memchr::memchr(b'>', attributes)
                .map_or(value.len(), |end| start + name_end + end + 2);
            return Some(Sighting::new(sign, start, end.min(value.len())));
        }
    }
    None
}

fn lower(name: &[u8]) -> ArrayVec<u8, 32> {
    name.iter()
        .filter(|byte| **byte != 0)
        .take(32)
        .map(u8::to_ascii_lowercase)
        .collect()
}

/// Tags that are script whatever they say.
fn by_name(name: &[u8], attributes: &[u8]) -> Option<&'static str> {
    // The name has to end: `<scripts>` is none.
    let ends = matches!(
        attributes.first(),
        None | Some(b'>' | b'/' | 0..=b' ' | b'"' | b'\'' | b'<')
    );
    if !ends {
        return None;
    }
    let is_open = !attributes.is_empty();
    match name {
        b"script" if is_open => Some("script in markup"),
        b"applet" | b"vmlframe" | b"xss" if is_open => Some("element that runs something"),
        b"object" | b"embed" if has_attribute(attributes, &[b"data", b"src", b"code"]) => {
            Some("element that runs something")
        }
        b"base" if has_attribute(attributes, &[b"href"]) => Some("element that redirects links"),
        b"meta" if redirects(attributes) => Some("element that redirects"),
        b"iframe" | b"frame" if has_attribute(attributes, &[b"srcdoc"]) => {
            Some("frame with a document of its own")
        }
        b"?xml-stylesheet" | b"?import" => Some("stylesheet of XML"),
        _ => None,
    }
}

fn has_attribute(attributes: &[u8], names: &[&[u8]]) -> bool {
    Attributes::new(attributes).any(|(name, _)| names.contains(&name.as_slice()))
}

/// `<meta http-equiv=refresh …>`
fn redirects(attributes: &[u8]) -> bool {
    Attributes::new(attributes).any(|(name, value)| {
        name.as_slice() == b"http-equiv"
            && (value.eq_ignore_ascii_case(b"refresh") || value.eq_ignore_ascii_case(b"set-cookie"))
    })
}

/// Handlers of events, and addresses that are script.
fn by_attributes(attributes: &[u8]) -> Option<&'static str> {
    Attributes::new(attributes).find_map(|(name, value)| judge_attribute(&name, value))
}

fn judge_attribute(name: &[u8], value: &[u8]) -> Option<&'static str> {
    let local = name.rsplit(|byte| *byte == b':').next().unwrap_or(name);
    if is_handler(name) && !value.is_empty() {
        return Some("handler of an event");
    }
    let holds_address = matches!(
        local,
        b"href"
            | b"src"
            | b"action"
            | b"formaction"
            | b"data"
            | b"background"
            | b"poster"
            | b"to"
            | b"from"
            | b"values"
            | b"content"
            | b"dynsrc"
            | b"lowsrc"
            | b"code"
            | b"srcset"
            | b"manifest"
    );
    if holds_address
        && value
            .split(|byte| *byte == b';')
            .any(|part| address(part).is_some())
    {
        return Some("address that is script");
    }
    if local == b"style" && is_active_style(value) {
        return Some("style that runs something");
    }
    None
}

fn is_handler(name: &[u8]) -> bool {
    name.len() >= 5
        && name.starts_with(b"on")
        && name[2..].iter().all(|byte| byte.is_ascii_alphabetic())
}

fn is_active_style(value: &[u8]) -> bool {
    let value = lower_text::<256>(value);
    [
        b"expression(".as_slice(),
        b"javascript:",
        b"-moz-binding",
        b"behavior:",
    ]
    .into_iter()
    .any(|active| memmem::find(&value, active).is_some())
}

fn lower_text<const N: usize>(value: &[u8]) -> ArrayVec<u8, N> {
    value
        .iter()
        .filter(|byte| **byte > b' ')
        .take(N)
        .map(u8::to_ascii_lowercase)
        .collect()
}

/// Reads attributes as browsers do: anything between them, any quotes or none.
struct Attributes<'a> {
    text: &'a [u8],
    left: usize,
}

impl<'a> Attributes<'a> {
    fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            left: MAX_ATTRIBUTES,
        }
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (ArrayVec<u8, 32>, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let skip = self
            .text
            .iter()
            .position(|byte| !matches!(byte, 0..=b' ' | b'/' | b'"' | b'\'' | b'='))?;
        self.text = &self.text[skip..];
        if matches!(self.text.first(), None | Some(b'>')) {
            return None;
        }
        let name_end = self
            .text
            .iter()
            .position(|byte| matches!(byte, 0..=b' ' | b'/' | b'=' | b'>'))
            .unwrap_or(self.text.len());
        let name = lower(&self.text[..name_end]);
        self.text = &self.text[name_end..];
        let rest = trim_start(self.text);
        let Some(rest) = rest.strip_prefix(b"=") else {
            return Some((name, &[]));
        };
        let rest = trim_start(rest);
        let (value, rest) = match rest {
            [quote @ (b'"' | b'\'' | b'`'), inner @ ..] => match memchr::memchr(*quote, inner) {
                Some(end) => (&inner[..end], &inner[end + 1..]),
                None => (inner, &[] as &[u8]),
            },
            rest => {
                let end = rest
                    .iter()
                    .position(|byte| matches!(byte, 0..=b' ' | b'>'))
                    .unwrap_or(rest.len());
                rest.split_at(end)
            }
        };
        self.text = rest;
        Some((name, value))
    }
}

fn trim_start(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| **byte <= b' ').count();
    &text[blanks..]
}

/// `javascript:` and kin, with whatever browsers pass over within; how long it is.
fn address(value: &[u8]) -> Option<usize> {
    let mut plain: ArrayVec<u8, 24> = ArrayVec::new();
    let mut at = 0;
    while let Some(byte) = value.get(at) {
        at += 1;
        match byte {
            0..=b' ' => {}
            b':' => {
                let runs = match plain.as_slice() {
                    b"javascript" | b"vbscript" | b"livescript" => {
                        !trim_start(&value[at..]).is_empty()
                    }
                    b"data" => {
                        let rest = lower_text::<64>(&value[at..]);
                        [
                            b"text/html".as_slice(),
                            b"image/svg+xml",
                            b"text/xml",
                            b"application/xhtml",
                            b"text/javascript",
                        ]
                        .into_iter()
                        .any(|kind| rest.starts_with(kind))
                            && memchr::memchr(b',', &rest).is_some()
                    }
                    _ => false,
                };
                // "JavaScript: the good parts" is a title.
                let is_title = value.get(at) == Some(&b' ') && !has_call(&value[at..]);
                return (runs && !is_title).then_some(value.len());
            }
            byte if byte.is_ascii_alphabetic() => plain.try_push(byte.to_ascii_lowercase()).ok()?,
            _ => return None,
        }
    }
    None
}

/// Functions and properties that attacks begin with.
const SINKS: &[&[u8]] = &[
    b"alert",
    b"confirm",
    b"prompt",
    b"eval",
    b"document.cookie",
    b"document.write",
    b"document.domain",
    b"document.location",
    b"window.location",
    b"settimeout",
    b"setinterval",
    b"string.fromcharcode",
    b"location.href",
    b"location=",
    b"fetch",
    b"import",
    b"atob",
    b"function",
    b"console.log",
    b"window[",
    b"self[",
    b"top[",
    b"this[",
    b"$.getscript",
    b"xmlhttprequest",
];

/// A call of one of them, or an assignment to one.
fn has_call(value: &[u8]) -> bool {
    let text = lower_text::<512>(value);
    SINKS.iter().any(|sink| {
        memmem::find_iter(&text, sink).any(|at| {
            let free = at == 0 || !(text[at - 1].is_ascii_alphanumeric() || text[at - 1] == b'_');
            let calls = matches!(
                text.get(at + sink.len()),
                Some(b'(' | b'`' | b'[' | b'.' | b'?')
            );
            let is_property = sink.contains(&b'.') || matches!(sink.last(), Some(b'=' | b'['));
            free && (calls || is_property)
        })
    })
}

/// Out of an attribute (`" onfocus=…`), or out of a string of a script (`';alert(1)//`).
fn break_out(value: &[u8]) -> Option<Sighting> {
    for quote in [b'"', b'\'', b'`'] {
        let Some(from) = memchr::memchr(quote, value) else {
            continue;
        };
        let rest = &value[from + 1..];
        if let Some((name, handler)) = Attributes::new(rest)
            .take(4)
            .find(|(name, _)| is_handler(name))
            && has_call(handler)
        {
            let _ = name;
            return Some(Sighting::new(
                "attribute that breaks out",
                from,
                value.len(),
            ));
        }
        // The string ends, and something runs that was not part of it.
        let joins = trim_start(rest).trim_ascii_start();
        let joins = joins.strip_prefix(b")").unwrap_or(joins);
        let begins = matches!(
            joins.first(),
            Some(b';' | b'+' | b'-' | b'*' | b'/' | b'^' | b'|' | b'&' | b',' | b'}' | b'%' | b'?')
        );
        let near = joins.get(..48).unwrap_or(joins);
        if begins
            && near.len() > 1
            && starts_with_call(&near[1..])
            && ends_as_break_out(value, quote)
        {
            return Some(Sighting::new(
                "script behind a closed string",
                from,
                value.len(),
            ));
        }
    }
    None
}

/// Nothing but operators stands before the call.
fn starts_with_call(text: &[u8]) -> bool {
    let skip = text
        .iter()
        .take_while(|byte| {
            matches!(
                byte,
                0..=b' '
                    | b';'
                    | b'+'
                    | b'-'
                    | b'*'
                    | b'/'
                    | b'('
                    | b'!'
                    | b'|'
                    | b'&'
                    | b'}'
                    | b')'
            )
        })
        .count();
    let text = lower_text::<64>(&text[skip..]);
    SINKS.iter().any(|sink| {
        text.starts_with(sink)
            && (matches!(text.get(sink.len()), Some(b'(' | b'`' | b'['))
                || sink.contains(&b'.')
                || sink.ends_with(b"="))
    })
}

/// What follows in the page is taken care of: a comment, or a string that is open again.
fn ends_as_break_out(value: &[u8], quote: u8) -> bool {
    let end = value.trim_ascii_end();
    let comment = end.ends_with(b"//") || end.ends_with(b"<!--") || end.ends_with(b"/*");
    let opens = memchr::memrchr(quote, end)
        .is_some_and(|last| last + 3 >= end.len() && memchr::memchr_iter(quote, end).count() >= 2);
    comment || opens || end.ends_with(b")")
}

/// Expressions of templates that leave their sandbox.
fn template(value: &[u8]) -> Option<Sighting> {
    const DEEDS: &[&[u8]] = &[
        b"constructor.constructor",
        b"constructor(",
        b"['constructor']",
        b"[\"constructor\"]",
        b"$eval(",
        b"__proto__",
        b"$on.constructor",
        b"alert(",
        b"alert`",
    ];
    memchr::memchr2(b'{', b'[', value)?;
    [b"{{".as_slice(), b"${", b"#{", b"[["]
        .into_iter()
        .find_map(|open| {
            let start = memmem::find(value, open)?;
            let inner = &value[start + open.len()..];
            let text = lower_text::<512>(inner);
            DEEDS
                .iter()
                .any(|deed| memmem::find(&text, deed).is_some())
                .then_some(start)
        })
        .map(|start| Sighting::new("expression of a template", start, value.len()))
}
