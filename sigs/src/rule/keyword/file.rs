//! Files on the wire, and sets that buffers are looked up in.

use std::sync::Arc;

use weir_l7::Buffer;

use super::Argument::{Needed, Optional};
use super::session::comparison;
use super::{Given, Keyword, row};
use crate::rule::build::Builder;
use crate::rule::matcher::{
    Content, Dataset, DatasetKind, DatasetOperation, Group, Matcher, Place, Range, Transform,
};
use crate::rule::refusal::Mistake;
use crate::rule::word::Word;

pub(super) const KEYWORDS: &[Keyword] = &[
    row("filename", Needed, file_name),
    row("fileext", Needed, file_extension),
    row("filemd5", Needed, file_sum),
    row("filesha1", Needed, file_sum),
    row("filesha256", Needed, file_sum),
    row("filestore", Optional, file_store),
    row("dataset", Needed, dataset),
    row("datarep", Needed, reputation),
];

fn file_name(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    name_content(builder, given, "", false)
}

fn file_extension(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    name_content(builder, given, ".", true)
}

fn name_content(
    builder: &mut Builder,
    given: &Given<'_>,
    before: &str,
    at_end: bool,
) -> Result<(), Mistake> {
    let (text, negated) = given.quoted()?;
    if text.text.is_empty() {
        return Err(text.malformed("the name is empty"));
    }
    let content = Content {
        bytes: format!("{before}{}", text.text).into_bytes(),
        nocase: true,
        negated,
        range: Range::ANYWHERE,
        at_end,
        fast_pattern: None,
    };
    builder.push_at(
        given.keyword,
        Place::Buffer(Buffer::FileName),
        Matcher::Content(content),
    )
}

fn file_sum(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (word, negated) = given.negated();
    let (transform, kind) = match given.name {
        "filemd5" => (Transform::ToMd5, DatasetKind::Md5),
        "filesha1" => (Transform::ToSha1, DatasetKind::Sha1),
        _ => (Transform::ToSha256, DatasetKind::Sha256),
    };
    let file: Arc<str> = word.text.into();
    let set = Dataset {
        name: Arc::clone(&file),
        kind,
        operation: match negated {
            true => DatasetOperation::IsNotSet,
            false => DatasetOperation::IsSet,
        },
        load: Some(file),
        subdomains: false,
    };
    let group = Group {
        place: Place::Buffer(Buffer::FileData),
        transforms: vec![transform],
        matchers: vec![Matcher::Dataset(set)],
    };
    builder.push_group(given.keyword, group)
}

/// Storing a file is beyond detection: the rule is loaded without it, and says so.
fn file_store(builder: &mut Builder, _: &Given<'_>) -> Result<(), Mistake> {
    builder.note("filestore: files are not stored; the alert tells of it");
    Ok(())
}

fn dataset(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let words: Vec<Word<'_>> = given.value.split(',').collect();
    let &[operation, name, ref options @ ..] = words.as_slice() else {
        return Err(given
            .value
            .malformed("dataset is set, unset, isset or isnotset, a name and options"));
    };
    let operation = match operation.text {
        "isset" => DatasetOperation::IsSet,
        "isnotset" => DatasetOperation::IsNotSet,
        "set" => DatasetOperation::Set,
        "unset" => DatasetOperation::Unset,
        _ => return Err(operation.malformed("the operations are set, unset, isset and isnotset")),
    };
    push_dataset(builder, given, name, operation, options)
}

fn reputation(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let words: Vec<Word<'_>> = given.value.split(',').collect();
    let &[name, operator, value, ref options @ ..] = words.as_slice() else {
        return Err(given
            .value
            .malformed("datarep is a name, an operator, a number and options"));
    };
    let test = comparison(operator, value, 65_535)?;
    push_dataset(
        builder,
        given,
        name,
        DatasetOperation::Reputation(test),
        options,
    )
}

fn push_dataset(
    builder: &mut Builder,
    given: &Given<'_>,
    name: Word<'_>,
    operation: DatasetOperation,
    options: &[Word<'_>],
) -> Result<(), Mistake> {
    if !builder.is_sticky() {
        let why = format!("{} follows the sticky buffer that is looked up", given.name);
        return Err(given.keyword.malformed(why));
    }
    if name.text.is_empty() || name.text.len() > 63 || name.text.contains(' ') {
        return Err(name.malformed("a set has a name of 1 to 63 letters without white space"));
    }
    let (mut kind, mut load, mut subdomains) = (None, None, false);
    for option in options {
        let (key, value) = option.first_word();
        match (key.text, value.text) {
            ("type", "string") => kind = Some(DatasetKind::String),
            ("type", "md5") => kind = Some(DatasetKind::Md5),
            ("type", "sha1") => kind = Some(DatasetKind::Sha1),
            ("type", "sha256") => kind = Some(DatasetKind::Sha256),
            ("type", "ip" | "ipv4") => kind = Some(DatasetKind::Address),
            ("load" | "state", file) if !file.is_empty() => load = Some(Arc::from(file)),
            ("match", "subdomain") => subdomains = true,
            ("save", file) if !file.is_empty() => {
                builder.note("dataset: what is learned is not saved to a file");
            }
            // The size of a set is bounded by Weir's configuration.
            ("memcap" | "hashsize", _) => drop(value.number()?),
            ("format", "csv") => {}
            ("format" | "context_key" | "value_key" | "array_key" | "remove_key", _) => {
                return Err(given
                    .unsupported("sets are read from lists, a member a line: JSON is not read"));
            }
            _ => {
                return Err(option.malformed("options are type string, md5, sha256, ip; load, save, state and a file; memcap, hashsize"));
            }
        }
    }
    let missing = || {
        given
            .value
            .malformed("type is missing: type string, md5, sha256 or ip")
    };
    let kind = kind.ok_or_else(missing)?;
    if subdomains && kind != DatasetKind::String {
        return Err(given
            .value
            .malformed("match subdomain is of sets of strings"));
    }
    let set = Dataset {
        name: name.text.into(),
        kind,
        operation,
        load,
        subdomains,
    };
    builder.push(given.keyword, Matcher::Dataset(set), false)
}
