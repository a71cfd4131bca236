//! What a rule says of itself: number, message, class, references.

use super::Argument::{Needed, None as Nothing};
use super::{Given, Keyword, row};
use crate::rule::build::Builder;
use crate::rule::condition::{Tag, TagMetric, Target, Track};
use crate::rule::refusal::Mistake;

pub(super) const KEYWORDS: &[Keyword] = &[
    row("msg", Needed, message),
    row("sid", Needed, sid),
    row("gid", Needed, gid),
    row("rev", Needed, revision),
    row("classtype", Needed, class),
    row("priority", Needed, priority),
    row("reference", Needed, reference),
    row("metadata", Needed, metadata),
    row("target", Needed, target),
    row("tag", Needed, tag),
    row("noalert", Nothing, no_alert),
    row("alert", Nothing, alert),
    row("requires", Needed, requires),
    row("prefilter", Nothing, prefilter),
];

fn message(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    builder.once(given.keyword, "msg")?;
    let (text, negated) = given.quoted()?;
    if negated {
        return Err(given.value.malformed("a message is not negated"));
    }
    let mut message = String::with_capacity(text.text.len());
    let mut letters = text.text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => message.extend(letters.next()),
            letter => message.push(letter),
        }
    }
    builder.rule.message = message;
    Ok(())
}

fn sid(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    builder.once(given.keyword, "sid")?;
    builder.rule.sid = given.unquoted().number_u32()?;
    if builder.rule.sid == 0 {
        return Err(given.value.malformed("sid is above 0"));
    }
    Ok(())
}

fn gid(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    builder.once(given.keyword, "gid")?;
    builder.rule.gid = given.unquoted().number_u32()?;
    Ok(())
}

fn revision(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    builder.once(given.keyword, "rev")?;
    builder.rule.revision = given.unquoted().number_u32()?;
    Ok(())
}

fn class(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    builder.once(given.keyword, "classtype")?;
    let name = given.unquoted().text;
    match given.classes.get(name) {
        Some(class) if !builder.has("priority") => builder.rule.priority = class.priority,
        Some(_) => {}
        None => builder.note(format!(
            "the class {name} is in no classification: its priority is 3"
        )),
    }
    builder.rule.class = Some(name.to_owned());
    Ok(())
}

fn priority(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    builder.once(given.keyword, "priority")?;
    let number = given.unquoted().number_to(255)?;
    if number == 0 {
        return Err(given
            .value
            .malformed("a priority is 1 to 255; 1 is the most urgent"));
    }
    builder.rule.priority = u8::try_from(number).unwrap_or(u8::MAX);
    Ok(())
}

fn reference(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (kind, value) = given.unquoted().split_once(',').ok_or_else(|| {
        given
            .value
            .malformed("a reference is a kind, a comma and a value: cve,2021-44228")
    })?;
    let reference = (kind.text.to_owned(), value.text.to_owned());
    builder.rule.references.push(reference);
    Ok(())
}

fn metadata(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    for entry in given.unquoted().split(',') {
        if entry.text.is_empty() {
            continue;
        }
        let (key, value) = entry.first_word();
        let pair = (key.text.to_owned(), value.text.to_owned());
        builder.rule.metadata.push(pair);
    }
    Ok(())
}

fn target(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    builder.once(given.keyword, "target")?;
    builder.rule.target = Some(match given.value.text {
        "src_ip" => Target::Source,
        "dest_ip" => Target::Destination,
        _ => return Err(given.value.malformed("target is src_ip or dest_ip")),
    });
    Ok(())
}

fn tag(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    builder.once(given.keyword, "tag")?;
    let wrong = || {
        given.value.malformed(
            "tag is session,COUNT,UNIT or host,COUNT,UNIT,src; units are packets, seconds, bytes",
        )
    };
    let words: Vec<_> = given.value.split(',').collect();
    let host = match (
        words.first().map(|word| word.text),
        words.get(3).map(|word| word.text),
    ) {
        (Some("session"), None) => None,
        (Some("host"), Some("src")) => Some(Track::Source),
        (Some("host"), Some("dst")) => Some(Track::Destination),
        _ => return Err(wrong()),
    };
    let count = words.get(1).map_or(Ok(0), |word| word.number_u32())?;
    let metric = match words.get(2).map(|word| word.text) {
        Some("packets") => TagMetric::Packets,
        Some("seconds") => TagMetric::Seconds,
        Some("bytes") => TagMetric::Bytes,
        _ => return Err(wrong()),
    };
    if count == 0 || words.len() > 4 {
        return Err(wrong());
    }
    builder.rule.tag = Some(Tag {
        host,
        count,
        metric,
    });
    Ok(())
}

fn no_alert(builder: &mut Builder, _: &Given<'_>) -> Result<(), Mistake> {
    builder.rule.silent = true;
    Ok(())
}

fn alert(_: &mut Builder, _: &Given<'_>) -> Result<(), Mistake> {
    Ok(())
}

/// `requires: version >= 7` and features: the rule says what it needs of Suricata; what Weir lacks of
/// that, it refuses by name.
fn requires(_: &mut Builder, _: &Given<'_>) -> Result<(), Mistake> {
    Ok(())
}

/// A hint where to begin; Weir chooses by itself.
fn prefilter(_: &mut Builder, _: &Given<'_>) -> Result<(), Mistake> {
    Ok(())
}
