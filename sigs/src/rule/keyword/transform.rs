//! What is done to a buffer before it is looked into.

use super::Argument::{Needed, None as Nothing, Optional};
use super::content::parse_pcre;
use super::{Given, Keyword, row};
use crate::rule::build::Builder;
use crate::rule::matcher::{Base64Mode, Transform, XorKey};
use crate::rule::refusal::Mistake;
use crate::rule::word::Word;

pub(super) const KEYWORDS: &[Keyword] = &[
    row("to_lowercase", Nothing, plain),
    row("to_uppercase", Nothing, plain),
    row("to_md5", Nothing, plain),
    row("to_sha1", Nothing, plain),
    row("to_sha256", Nothing, plain),
    row("strip_whitespace", Nothing, plain),
    row("compress_whitespace", Nothing, plain),
    row("strip_pseudo_headers", Nothing, plain),
    row("header_lowercase", Nothing, plain),
    row("dotprefix", Nothing, plain),
    row("url_decode", Nothing, plain),
    row("domain", Nothing, plain),
    row("tld", Nothing, plain),
    row("xor", Needed, xor),
    row("from_base64", Optional, from_base64),
    row("pcrexform", Needed, capture),
    row("gunzip", Optional, inflate),
    row("zlib_deflate", Optional, inflate),
    row("subslice", Needed, subslice),
];

fn plain(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let transform = match given.name {
        "to_lowercase" => Transform::ToLowercase,
        "to_uppercase" => Transform::ToUppercase,
        "to_md5" => Transform::ToMd5,
        "to_sha1" => Transform::ToSha1,
        "to_sha256" => Transform::ToSha256,
        "strip_whitespace" => Transform::StripWhitespace,
        "compress_whitespace" => Transform::CompressWhitespace,
        "strip_pseudo_headers" => Transform::StripPseudoHeaders,
        "header_lowercase" => Transform::HeaderLowercase,
        "dotprefix" => Transform::DotPrefix,
        "url_decode" => Transform::UrlDecode,
        "domain" => Transform::Domain,
        _ => Transform::PublicSuffix,
    };
    builder.transform(given.keyword, transform)
}

fn xor(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let mut offset = 0;
    let mut key = given.value;
    if let Some(rest) = key.strip_prefix("offset ") {
        let (number, rest) = rest.split_once(',').ok_or_else(|| {
            rest.malformed("behind the offset stands the key: xor:offset 1,\"0d0a\"")
        })?;
        offset = number.number_u32()?;
        key = rest;
    }
    let key = match key.strip_prefix("extract ") {
        Some(rest) => {
            let (bytes, at) = rest.first_word();
            let (bytes, at) = (bytes.number_to(255)?, at.number_u32()?);
            if bytes == 0 {
                return Err(rest.malformed("a key has a byte at least"));
            }
            XorKey::Within {
                offset: at,
                bytes: u32::try_from(bytes).unwrap_or(1),
            }
        }
        None => XorKey::Bytes(hexadecimal_key(key)?),
    };
    builder.transform(given.keyword, Transform::Xor { key, offset })
}

fn hexadecimal_key(word: Word<'_>) -> Result<Vec<u8>, Mistake> {
    let inner = word
        .strip_prefix("\"")
        .and_then(|open| open.strip_suffix("\""));
    let word = inner.unwrap_or(word);
    let wrong =
        || word.malformed("a key is an even number of hexadecimal digits: xor:\"0d0ac8ff\"");
    let text = word.text.as_bytes();
    if text.is_empty() || !text.len().is_multiple_of(2) || text.len() > 510 {
        return Err(wrong());
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |pair: &[u8]| {
        let (high, low) = (digit(*pair.first()?)?, digit(*pair.get(1)?)?);
        u8::try_from(high << 4 | low).ok()
    };
    text.chunks(2)
        .map(byte)
        .collect::<Option<Vec<u8>>>()
        .ok_or_else(wrong)
}

fn from_base64(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (mut bytes, mut offset, mut mode) = (None, 0, Base64Mode::Rfc4648);
    for option in given.value.split(',') {
        let (name, value) = option.first_word();
        match name.text.trim_end_matches(':') {
            "" => {}
            "bytes" => bytes = Some(value.number_u32()?),
            "offset" => offset = u32::try_from(value.number_to(65_535)?).unwrap_or(0),
            "mode" => {
                mode = match value.text {
                    "rfc4648" => Base64Mode::Rfc4648,
                    "rfc2045" => Base64Mode::Rfc2045,
                    "strict" => Base64Mode::Strict,
                    _ => return Err(value.malformed("mode is rfc4648, rfc2045 or strict")),
                };
            }
            _ => return Err(option.malformed("from_base64 takes bytes, offset and mode")),
        }
    }
    let transform = Transform::FromBase64 {
        bytes: bytes.filter(|&bytes| bytes > 0),
        offset,
        mode,
    };
    builder.transform(given.keyword, transform)
}

fn capture(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (text, negated) = given.quoted()?;
    if negated {
        return Err(given.value.malformed("a transform is not negated"));
    }
    if !text.text.contains('(') {
        return Err(
            text.malformed("the expression has no group: what stands in ( ) is what is kept")
        );
    }
    // The expression stands bare: without slashes, and so without flags.
    let (mut pcre, _) = parse_pcre(Word::new("/./", text.at))?;
    pcre.expression = text.text.to_owned();
    builder.transform(given.keyword, Transform::Capture(pcre))
}

fn inflate(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let mut max_bytes = 1024;
    if !given.value.text.is_empty() {
        let (name, value) = given.value.first_word();
        if name.text != "max-size" {
            return Err(name.malformed("it takes max-size and a number of bytes"));
        }
        max_bytes = u32::try_from(value.number_to(16 << 20)?).unwrap_or(1024);
        if max_bytes == 0 {
            return Err(value.malformed("max-size is above 0"));
        }
    }
    let transform = match given.name {
        "gunzip" => Transform::Gunzip { max_bytes },
        _ => Transform::Inflate { max_bytes },
    };
    builder.transform(given.keyword, transform)
}

fn subslice(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (mut numbers, mut truncate) = (Vec::new(), false);
    for word in given.value.split(',') {
        if word.text == "truncate" && !truncate && !numbers.is_empty() {
            truncate = true;
            continue;
        }
        let number = i32::try_from(word.signed()?).ok();
        let number = number.filter(|number| (-(1 << 20)..=1 << 20).contains(number));
        numbers.push(number.ok_or_else(|| word.malformed("this is too far"))?);
        if truncate || numbers.len() > 2 {
            return Err(word.malformed("subslice is OFFSET, BYTES, truncate"));
        }
    }
    let transform = Transform::Subslice {
        offset: numbers.first().copied().unwrap_or(0),
        bytes: numbers.get(1).copied(),
        truncate,
    };
    builder.transform(given.keyword, transform)
}
