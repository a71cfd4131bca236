//! Groups and matchers as text.

use std::fmt::{self, Write};

use super::{apart, test};
use crate::rule::keyword::sticky_name;
use crate::rule::matcher::{
    Arithmetic, Base64, Base64Mode, ByteJump, ByteRead, Comparison, Content, Dataset, DatasetKind,
    DatasetOperation, Entropy, Group, JumpFrom, Matcher, NumberForm, Pcre, Range, Transform, Value,
    XorKey,
};
use crate::rule::number::NumberTest;

type Out<'a, 'b> = &'a mut fmt::Formatter<'b>;

/// The names of numbers put aside.
type Names<'a> = &'a [String];

pub(super) fn write_group(out: Out<'_, '_>, group: &Group, names: Names<'_>) -> fmt::Result {
    write_place(out, group)?;
    for (index, matcher) in group.matchers.iter().enumerate() {
        write_matcher(out, matcher, names)?;
        // What follows is of the buffer again, no more of what was decoded.
        let is_last = index + 1 == group.matchers.len();
        if matches!(matcher, Matcher::Base64(base64) if !base64.inside.is_empty()) && !is_last {
            write_place(out, group)?;
        }
    }
    Ok(())
}

fn write_place(out: Out<'_, '_>, group: &Group) -> fmt::Result {
    write!(out, " {};", sticky_name(group.place))?;
    for transform in &group.transforms {
        write!(out, " {};", transform_text(transform))?;
    }
    Ok(())
}

/// As written behind its sticky buffer.
pub(in crate::rule) fn transform_text(transform: &Transform) -> String {
    match transform {
        Transform::ToLowercase => "to_lowercase".to_owned(),
        Transform::ToUppercase => "to_uppercase".to_owned(),
        Transform::ToMd5 => "to_md5".to_owned(),
        Transform::ToSha1 => "to_sha1".to_owned(),
        Transform::ToSha256 => "to_sha256".to_owned(),
        Transform::StripWhitespace => "strip_whitespace".to_owned(),
        Transform::CompressWhitespace => "compress_whitespace".to_owned(),
        Transform::StripPseudoHeaders => "strip_pseudo_headers".to_owned(),
        Transform::HeaderLowercase => "header_lowercase".to_owned(),
        Transform::DotPrefix => "dotprefix".to_owned(),
        Transform::UrlDecode => "url_decode".to_owned(),
        Transform::Domain => "domain".to_owned(),
        Transform::PublicSuffix => "tld".to_owned(),
        Transform::Gunzip { max_bytes } => format!("gunzip:max-size {max_bytes}"),
        Transform::Inflate { max_bytes } => format!("zlib_deflate:max-size {max_bytes}"),
        Transform::Capture(pcre) => format!("pcrexform:\"{}\"", pcre.expression),
        Transform::Xor { key, offset } => {
            let key = match key {
                XorKey::Bytes(bytes) => format!("\"{}\"", hexadecimal(bytes, "")),
                XorKey::Within { offset, bytes } => format!("extract {bytes} {offset}"),
            };
            match offset {
                0 => format!("xor:{key}"),
                offset => format!("xor:offset {offset},{key}"),
            }
        }
        Transform::FromBase64 {
            bytes,
            offset,
            mode,
        } => {
            let mode = match mode {
                Base64Mode::Rfc4648 => "rfc4648",
                Base64Mode::Rfc2045 => "rfc2045",
                Base64Mode::Strict => "strict",
            };
            let bytes = bytes.map_or(String::new(), |bytes| format!("bytes {bytes}, "));
            format!("from_base64:{bytes}offset {offset}, mode {mode}")
        }
        Transform::Subslice {
            offset,
            bytes,
            truncate,
        } => {
            let bytes = bytes.map_or(String::new(), |bytes| format!(", {bytes}"));
            let truncate = if *truncate { ", truncate" } else { "" };
            format!("subslice:{offset}{bytes}{truncate}")
        }
    }
}

fn hexadecimal(bytes: &[u8], between: &str) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(between)
}

fn write_matcher(out: Out<'_, '_>, matcher: &Matcher, names: Names<'_>) -> fmt::Result {
    match matcher {
        Matcher::Content(content) => write_content(out, content, names),
        Matcher::Pcre(pcre) => write_pcre(out, pcre),
        Matcher::IsDataAt(ahead) => {
            let negated = not(ahead.negated);
            write!(out, " isdataat:{negated}{}", value(ahead.at, names))?;
            out.write_str(if ahead.relative { ",relative;" } else { ";" })
        }
        Matcher::ByteTest(byte_test) => {
            let read = byte_test.read;
            write!(
                out,
                " byte_test:{},{}{},{},{}",
                value(read.count, names),
                not(byte_test.negated),
                comparison(byte_test.operator),
                value(byte_test.value, names),
                value(read.offset, names)
            )?;
            write_read(out, &read)
        }
        Matcher::ByteJump(jump) => write_jump(out, jump, names),
        Matcher::ByteExtract(extract) => {
            let (count, offset) = (extract.read.count, extract.read.offset);
            let (count, offset) = (value(count, names), value(offset, names));
            let name = value(Value::Variable(extract.slot), names);
            write!(out, " byte_extract:{count},{offset},{name}")?;
            if extract.multiplier != 1 {
                write!(out, ",multiplier {}", extract.multiplier)?;
            }
            if extract.align != 0 {
                write!(out, ",align {}", extract.align)?;
            }
            write_read(out, &extract.read)
        }
        Matcher::ByteMath(math) => {
            write!(
                out,
                " byte_math:bytes {},offset {},oper {},rvalue {},result {}",
                value(math.read.count, names),
                value(math.read.offset, names),
                arithmetic(math.operator),
                value(math.value, names),
                value(Value::Variable(math.slot), names)
            )?;
            write_read(out, &math.read)
        }
        Matcher::Size(size) => write!(out, " bsize:{};", test(*size)),
        Matcher::Dataset(set) => write_dataset(out, set),
        Matcher::Base64(base64) => write_base64(out, base64, names),
        Matcher::Entropy(entropy) => write_entropy(out, entropy),
        Matcher::Absent { or_else: false } => out.write_str(" absent;"),
        Matcher::Absent { or_else: true } => out.write_str(" absent:or_else;"),
    }
}

const fn not(negated: bool) -> &'static str {
    if negated { "!" } else { "" }
}

fn value(of: Value, names: Names<'_>) -> String {
    match of {
        Value::Number(number) => number.to_string(),
        Value::Variable(slot) => names.get(usize::from(slot.0)).cloned().unwrap_or_default(),
    }
}

/// Bytes as a content writes them, without quotation marks.
pub(crate) fn quoted_bytes(bytes: &[u8]) -> String {
    let (mut out, mut inside) = (String::new(), false);
    for &byte in bytes {
        let plain = (byte.is_ascii_graphic() || byte == b' ') && !b"\";:\\|".contains(&byte);
        match (plain, inside) {
            (true, true) => {
                out.push('|');
                inside = false;
            }
            (false, false) => {
                out.push('|');
                inside = true;
            }
            (false, true) => out.push(' '),
            (true, false) => {}
        }
        if plain {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
        }
    }
    if inside {
        out.push('|');
    }
    out
}

fn write_content(out: Out<'_, '_>, content: &Content, names: Names<'_>) -> fmt::Result {
    let negated = not(content.negated);
    write!(
        out,
        " content:{negated}\"{}\";",
        quoted_bytes(&content.bytes)
    )?;
    if content.nocase {
        out.write_str(" nocase;")?;
    }
    let length = i64::try_from(content.bytes.len()).ok().map(Value::Number);
    match content.range {
        Range::Absolute {
            offset: Value::Number(0),
            depth,
        } if depth.is_some() && depth == length => out.write_str(" startswith;")?,
        Range::Absolute { offset, depth } => {
            if offset != Value::Number(0) {
                write!(out, " offset:{};", value(offset, names))?;
            }
            if let Some(depth) = depth {
                write!(out, " depth:{};", value(depth, names))?;
            }
        }
        Range::Relative { distance, within } => {
            write!(out, " distance:{};", value(distance, names))?;
            if let Some(within) = within {
                write!(out, " within:{};", value(within, names))?;
            }
        }
    }
    if content.at_end {
        out.write_str(" endswith;")?;
    }
    match content.fast_pattern {
        Some(fast) if fast.only => out.write_str(" fast_pattern:only;"),
        Some(fast) => match fast.part {
            Some((first, length)) => write!(out, " fast_pattern:{first},{length};"),
            None => out.write_str(" fast_pattern;"),
        },
        None => Ok(()),
    }
}

/// `/a+b/i`, without quotation marks.
pub(crate) fn pcre_text(pcre: &Pcre) -> String {
    let flags = [
        (pcre.caseless, 'i'),
        (pcre.dot_all, 's'),
        (pcre.multi_line, 'm'),
        (pcre.extended, 'x'),
        (pcre.anchored, 'A'),
        (pcre.dollar_is_end, 'E'),
        (pcre.ungreedy, 'G'),
        (pcre.relative, 'R'),
    ];
    let flags = flags.into_iter().filter(|flag| flag.0).map(|flag| flag.1);
    format!("/{}/{}", pcre.expression, flags.collect::<String>())
}

fn write_pcre(out: Out<'_, '_>, pcre: &Pcre) -> fmt::Result {
    write!(out, " pcre:{}\"{}\";", not(pcre.negated), pcre_text(pcre))
}

/// The options that all that read numbers have.
fn write_read(out: Out<'_, '_>, read: &ByteRead) -> fmt::Result {
    if read.relative {
        out.write_str(",relative")?;
    }
    out.write_str(match read.form {
        NumberForm::Big => "",
        NumberForm::Little => ",little",
        NumberForm::Dce => ",dce",
        NumberForm::Text(8) => ",string,oct",
        NumberForm::Text(10) => ",string,dec",
        NumberForm::Text(_) => ",string,hex",
    })?;
    if let Some(mask) = read.bitmask {
        write!(out, ",bitmask {mask:#x}")?;
    }
    out.write_str(";")
}

fn write_jump(out: Out<'_, '_>, jump: &ByteJump, names: Names<'_>) -> fmt::Result {
    let (count, offset) = (jump.read.count, jump.read.offset);
    write!(
        out,
        " byte_jump:{},{}",
        value(count, names),
        value(offset, names)
    )?;
    if jump.multiplier != 1 {
        write!(out, ",multiplier {}", jump.multiplier)?;
    }
    if jump.align {
        out.write_str(",align")?;
    }
    out.write_str(match jump.from {
        JumpFrom::Here => "",
        JumpFrom::Beginning => ",from_beginning",
        JumpFrom::End => ",from_end",
    })?;
    if jump.post_offset != Value::Number(0) {
        write!(out, ",post_offset {}", value(jump.post_offset, names))?;
    }
    write_read(out, &jump.read)
}

/// As written in rules.
pub(in crate::rule) const fn comparison(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Equal => "=",
        Comparison::GreaterOrEqual => ">=",
        Comparison::Greater => ">",
        Comparison::And => "&",
        Comparison::Xor => "^",
    }
}

/// As written in rules.
pub(in crate::rule) const fn arithmetic(arithmetic: Arithmetic) -> &'static str {
    match arithmetic {
        Arithmetic::Add => "+",
        Arithmetic::Subtract => "-",
        Arithmetic::Multiply => "*",
        Arithmetic::Divide => "/",
        Arithmetic::ShiftLeft => "<<",
        Arithmetic::ShiftRight => ">>",
    }
}

fn write_dataset(out: Out<'_, '_>, set: &Dataset) -> fmt::Result {
    let name = &set.name;
    match set.operation {
        DatasetOperation::IsSet => write!(out, " dataset:isset,{name}"),
        DatasetOperation::IsNotSet => write!(out, " dataset:isnotset,{name}"),
        DatasetOperation::Set => write!(out, " dataset:set,{name}"),
        DatasetOperation::Unset => write!(out, " dataset:unset,{name}"),
        DatasetOperation::Reputation(test) => write!(out, " datarep:{name},{}", apart(test)),
    }?;
    let kind = match set.kind {
        DatasetKind::String => "string",
        DatasetKind::Md5 => "md5",
        DatasetKind::Sha1 => "sha1",
        DatasetKind::Sha256 => "sha256",
        DatasetKind::Address => "ip",
    };
    write!(out, ",type {kind}")?;
    if let Some(file) = &set.load {
        write!(out, ",load {file}")?;
    }
    out.write_str(if set.subdomains {
        ",match subdomain;"
    } else {
        ";"
    })
}

fn write_base64(out: Out<'_, '_>, base64: &Base64, names: Names<'_>) -> fmt::Result {
    out.write_str(" base64_decode:")?;
    if let Some(bytes) = base64.bytes {
        write!(out, "bytes {bytes}, ")?;
    }
    write!(out, "offset {}", base64.offset)?;
    out.write_str(if base64.relative { ", relative;" } else { ";" })?;
    if !base64.inside.is_empty() {
        out.write_str(" base64_data;")?;
    }
    for matcher in &base64.inside {
        write_matcher(out, matcher, names)?;
    }
    Ok(())
}

fn write_entropy(out: Out<'_, '_>, entropy: &Entropy) -> fmt::Result {
    out.write_str(" entropy:")?;
    if let Some(bytes) = entropy.bytes {
        write!(out, "bytes {bytes}, ")?;
    }
    if entropy.offset > 0 {
        write!(out, "offset {}, ", entropy.offset)?;
    }
    let number = |thousandths: u64| format!("{}.{:03}", thousandths / 1000, thousandths % 1000);
    let text = match entropy.test {
        NumberTest::Within(low, high) if low == high => number(low),
        NumberTest::Within(low, u64::MAX) => format!(">={}", number(low)),
        NumberTest::Within(0, high) => format!("<={}", number(high)),
        NumberTest::Within(low, high) => format!("{}-{}", number(low - 1), number(high + 1)),
        NumberTest::Outside(low, high) if low == high => format!("!={}", number(low)),
        NumberTest::Outside(low, high) => {
            let (low, high) = (low.saturating_sub(1), high.saturating_add(1));
            format!("!{}-{}", number(low), number(high))
        }
        NumberTest::Masked { value, .. } => number(value),
    };
    write!(out, "value {text};")
}
