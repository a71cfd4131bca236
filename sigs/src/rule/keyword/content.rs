//! `content` and what modifies it, and `pcre`.

use weir_l7::Buffer;

use super::Argument::{Needed, None as Nothing, Optional};
use super::{Given, Keyword, row, sticky_name};
use crate::rule::build::Builder;
use crate::rule::matcher::{Content, FastPattern, Matcher, Pcre, Place, Range, Value};
use crate::rule::refusal::{Cause, Mistake};
use crate::rule::word::Word;

pub(super) const KEYWORDS: &[Keyword] = &[
    row("content", Needed, content),
    row("uricontent", Needed, uri_content),
    row("nocase", Nothing, no_case),
    row("offset", Needed, offset),
    row("depth", Needed, depth),
    row("distance", Needed, distance),
    row("within", Needed, within),
    row("startswith", Nothing, starts_with),
    row("endswith", Nothing, ends_with),
    row("fast_pattern", Optional, fast_pattern),
    row("rawbytes", Nothing, raw_bytes),
    row("pcre", Needed, pcre),
];

/// Distances and the like beyond this are mistakes.
const REACH_MAX: i64 = 1 << 20;

fn content(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let content = read_content(given)?;
    builder.push(given.keyword, Matcher::Content(content), false)
}

fn uri_content(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let content = read_content(given)?;
    let place = Place::Buffer(Buffer::HttpUri);
    builder.push_at(given.keyword, place, Matcher::Content(content))
}

fn read_content(given: &Given<'_>) -> Result<Content, Mistake> {
    let (text, negated) = given.quoted()?;
    let bytes = parse_bytes(text)?;
    if bytes.is_empty() {
        return Err(text.malformed("the content is empty"));
    }
    Ok(Content {
        bytes,
        nocase: false,
        negated,
        range: Range::ANYWHERE,
        at_end: false,
        fast_pattern: None,
    })
}

/// `GET |0d 0a|` → bytes. A backslash quotes `"`, `;`, `:`, `\` and `|`.
pub(in crate::rule) fn parse_bytes(text: Word<'_>) -> Result<Vec<u8>, Mistake> {
    let mut bytes = Vec::with_capacity(text.text.len());
    let mut rest = text;
    while let Some(letter) = rest.text.chars().next() {
        let behind = rest.behind(letter.len_utf8());
        rest = match letter {
            '|' => {
                let Some(length) = behind.text.find('|') else {
                    return Err(rest.malformed(
                        "the | is not closed: hexadecimal bytes stand between two of them, |0d 0a|",
                    ));
                };
                parse_hexadecimal(behind.before(length), &mut bytes)?;
                behind.behind(length + 1)
            }
            '\\' => match behind.text.bytes().next() {
                Some(quoted @ (b'"' | b';' | b':' | b'\\' | b'|')) => {
                    bytes.push(quoted);
                    behind.behind(1)
                }
                _ => {
                    return Err(rest.malformed(
                        "a backslash quotes only \" ; : \\ and |: write the byte as |5c|",
                    ));
                }
            },
            '"' => {
                return Err(rest.malformed("a quotation mark inside is written \\\" or |22|"));
            }
            letter => {
                let mut buffer = [0; 4];
                bytes.extend_from_slice(letter.encode_utf8(&mut buffer).as_bytes());
                behind
            }
        };
    }
    Ok(bytes)
}

/// Pairs of digits; white space between pairs means nothing.
fn parse_hexadecimal(text: Word<'_>, bytes: &mut Vec<u8>) -> Result<(), Mistake> {
    let mut high: Option<u32> = None;
    for (index, letter) in text.text.char_indices() {
        if letter.is_whitespace() {
            continue;
        }
        let Some(digit) = letter.to_digit(16) else {
            return Err(Mistake::malformed(
                text.at + index,
                format!("{letter:?} is no hexadecimal digit"),
            ));
        };
        match high.take() {
            None => high = Some(digit),
            Some(high) => bytes.push(u8::try_from(high << 4 | digit).unwrap_or(0)),
        }
    }
    match high {
        Some(_) => Err(text.malformed("a byte has two hexadecimal digits")),
        None => Ok(()),
    }
}

fn no_case(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    builder.content(given.keyword, "nocase")?.nocase = true;
    Ok(())
}

/// Range, length of the content, and whether it is negated.
fn reach(builder: &Builder, word: Word<'_>, lowest: i64) -> Result<Value, Mistake> {
    let value = builder.value(word)?;
    if let Value::Number(number) = value
        && !(lowest..=REACH_MAX).contains(&number)
    {
        return Err(word.malformed(format!("{number} is not from {lowest} to {REACH_MAX}")));
    }
    Ok(value)
}

const MIXED: &str = "offset and depth count from the start of the buffer, distance and within from the last match: use one pair for a content";

fn offset(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let value = reach(builder, given.value, 0)?;
    let content = builder.content(given.keyword, "offset")?;
    match &mut content.range {
        Range::Absolute { offset, .. } if *offset == Value::Number(0) => *offset = value,
        Range::Absolute { .. } => return Err(given.keyword.malformed("offset stands twice")),
        Range::Relative { .. } => return Err(given.keyword.malformed(MIXED)),
    }
    Ok(())
}

fn depth(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let value = reach(builder, given.value, 0)?;
    let content = builder.content(given.keyword, "depth")?;
    long_enough(given, value, content, "depth")?;
    match &mut content.range {
        Range::Absolute { depth, .. } if depth.is_none() => *depth = Some(value),
        Range::Absolute { .. } => return Err(given.keyword.malformed("depth stands twice")),
        Range::Relative { .. } => return Err(given.keyword.malformed(MIXED)),
    }
    Ok(())
}

fn distance(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let value = reach(builder, given.value, -REACH_MAX)?;
    let content = builder.content(given.keyword, "distance")?;
    match &mut content.range {
        range if *range == Range::ANYWHERE => {
            *range = Range::Relative {
                distance: value,
                within: None,
            };
        }
        Range::Relative { distance, .. } if *distance == Value::Number(0) => *distance = value,
        Range::Relative { .. } => return Err(given.keyword.malformed("distance stands twice")),
        Range::Absolute { .. } => return Err(given.keyword.malformed(MIXED)),
    }
    Ok(())
}

fn within(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let value = reach(builder, given.value, 0)?;
    let content = builder.content(given.keyword, "within")?;
    long_enough(given, value, content, "within")?;
    match &mut content.range {
        range if *range == Range::ANYWHERE => {
            *range = Range::Relative {
                distance: Value::Number(0),
                within: Some(value),
            };
        }
        Range::Relative { within, .. } if within.is_none() => *within = Some(value),
        Range::Relative { .. } => return Err(given.keyword.malformed("within stands twice")),
        Range::Absolute { .. } => return Err(given.keyword.malformed(MIXED)),
    }
    Ok(())
}

fn long_enough(
    given: &Given<'_>,
    value: Value,
    content: &Content,
    modifier: &str,
) -> Result<(), Mistake> {
    let length = content.bytes.len();
    match value.number() {
        Some(number) if usize::try_from(number).is_ok_and(|number| number < length) => {
            let why = format!(
                "{modifier} {number} is shorter than the content, which has {length} bytes: it can never be found"
            );
            Err(Mistake::impossible(given.value.at, why))
        }
        _ => Ok(()),
    }
}

fn starts_with(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let content = builder.content(given.keyword, "startswith")?;
    let length = i64::try_from(content.bytes.len()).unwrap_or(i64::MAX);
    let start = Range::Absolute {
        offset: Value::Number(0),
        depth: Some(Value::Number(length)),
    };
    if content.range != Range::ANYWHERE && content.range != start {
        let why = "startswith is offset 0 and a depth: it does not go with another range";
        return Err(given.keyword.malformed(why));
    }
    content.range = start;
    Ok(())
}

fn ends_with(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    builder.content(given.keyword, "endswith")?.at_end = true;
    Ok(())
}

fn fast_pattern(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let content = builder.content(given.keyword, "fast_pattern")?;
    let (mut only, mut part) = (false, None);
    match given.value.text {
        "" => {}
        "only" => only = true,
        _ => {
            let (first, length) = given.value.split_once(',').ok_or_else(|| {
                given
                    .value
                    .malformed("fast_pattern takes nothing, only, or OFFSET,LENGTH")
            })?;
            let short = |word: Word<'_>| {
                let number = word.number_to(u64::from(u16::MAX))?;
                Ok::<u16, Mistake>(u16::try_from(number).unwrap_or(u16::MAX))
            };
            let (first, length) = (short(first)?, short(length)?);
            if length == 0 || usize::from(first) + usize::from(length) > content.bytes.len() {
                return Err(given
                    .value
                    .malformed("this part lies outside of the content"));
            }
            part = Some((first, length));
        }
    }
    content.fast_pattern = Some(FastPattern { only, part });
    Ok(())
}

/// The payload is always as sent.
fn raw_bytes(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    builder.content(given.keyword, "rawbytes").map(drop)
}

/// The letters of `pcre` that name a buffer.
const BUFFER_LETTERS: &[(char, Buffer)] = &[
    ('U', Buffer::HttpUri),
    ('I', Buffer::HttpUriRaw),
    ('P', Buffer::HttpRequestBody),
    ('Q', Buffer::HttpResponseBody),
    ('H', Buffer::HttpHeader),
    ('D', Buffer::HttpHeaderRaw),
    ('M', Buffer::HttpMethod),
    ('C', Buffer::HttpCookie),
    ('S', Buffer::HttpStatusCode),
    ('Y', Buffer::HttpStatusMessage),
    ('V', Buffer::HttpUserAgent),
    ('W', Buffer::HttpHost),
    ('Z', Buffer::HttpHostRaw),
];

fn pcre(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (text, negated) = given.quoted()?;
    let (mut pcre, buffer) = parse_pcre(text)?;
    pcre.negated = negated;
    let relative = pcre.relative;
    let matcher = Matcher::Pcre(pcre);
    let Some(buffer) = buffer else {
        // Without a letter it is of what is selected; not, if nothing is, of an older modifier's buffer.
        return builder.push(given.keyword, matcher, false);
    };
    let place = Place::Buffer(buffer);
    if builder.is_sticky() && builder.place() != place {
        let why = format!(
            "this letter names {}, and {} is selected: leave the letter out, or write pkt_data; before",
            sticky_name(place),
            sticky_name(builder.place())
        );
        return Err(text.malformed(why));
    }
    if builder.is_sticky() {
        return builder.push(given.keyword, matcher, relative);
    }
    builder.push_at(given.keyword, place, matcher)
}

/// `/expression/flags`.
pub(in crate::rule) fn parse_pcre(text: Word<'_>) -> Result<(Pcre, Option<Buffer>), Mistake> {
    let body = text
        .strip_prefix_untrimmed("/")
        .ok_or_else(|| text.malformed("an expression stands between slashes: /a+b/i"))?;
    let Some(end) = body.text.rfind('/') else {
        return Err(text.malformed("the slash behind the expression is missing"));
    };
    let (expression, letters) = (body.before(end), body.behind(end + 1));
    if expression.text.is_empty() {
        return Err(text.malformed("the expression is empty"));
    }
    let mut pcre = Pcre {
        expression: expression.text.to_owned(),
        caseless: false,
        dot_all: false,
        multi_line: false,
        extended: false,
        anchored: false,
        dollar_is_end: false,
        ungreedy: false,
        relative: false,
        negated: false,
    };
    let mut buffer = None;
    for (index, letter) in letters.text.char_indices() {
        match letter {
            'i' => pcre.caseless = true,
            's' => pcre.dot_all = true,
            'm' => pcre.multi_line = true,
            'x' => pcre.extended = true,
            'A' => pcre.anchored = true,
            'E' => pcre.dollar_is_end = true,
            'G' => pcre.ungreedy = true,
            'R' => pcre.relative = true,
            // The payload is always as sent; the bound on the work is Weir's own.
            'B' | 'O' => {}
            ',' => {
                let why = "what an expression captures is not put into variables: only Lua and ip variables would use them";
                return Err(Mistake::unsupported(
                    letters.at + index,
                    "pcre capture",
                    why,
                ));
            }
            letter => {
                let named = BUFFER_LETTERS.iter().find(|row| row.0 == letter);
                let Some(&(_, named)) = named else {
                    let why = format!(
                        "{letter:?} is no flag of pcre: flags are i s m x A E G R B O, and the letters of buffers"
                    );
                    return Err(Mistake::malformed(letters.at + index, why));
                };
                if buffer.is_some_and(|buffer| buffer != named) {
                    let at = letters.at + index;
                    return Err(Mistake::at(
                        at,
                        Cause::Malformed,
                        "two letters name two buffers",
                    ));
                }
                buffer = Some(named);
            }
        }
    }
    Ok((pcre, buffer))
}
