//! Groups and matchers in words.

use crate::rule::matcher::{
    ByteJump, ByteRead, ByteTest, Comparison, Content, Dataset, DatasetOperation, Entropy, Group,
    IsDataAt, JumpFrom, Matcher, NumberForm, Pcre, Range, Value,
};
use crate::rule::number::NumberTest;
use crate::rule::write::{arithmetic, comparison, pcre_text, quoted_bytes, transform_text};

/// The buffer, with what is done to it.
pub(super) fn place(group: &Group) -> String {
    let mut text = group.place.to_string();
    for transform in &group.transforms {
        text.push_str(" · ");
        text.push_str(&transform_text(transform));
    }
    text
}

/// A sentence for each matcher.
pub(super) fn group(group: &Group, names: &[String]) -> Vec<String> {
    let sentences = group
        .matchers
        .iter()
        .map(|matcher| sentence(matcher, names));
    sentences.collect()
}

fn sentence(matcher: &Matcher, names: &[String]) -> String {
    match matcher {
        Matcher::Content(of) => content(of, names),
        Matcher::Pcre(of) => pcre(of),
        Matcher::IsDataAt(of) => ahead(of, names),
        Matcher::ByteTest(of) => byte_test(of, names),
        Matcher::ByteJump(of) => byte_jump(of, names),
        Matcher::ByteExtract(of) => {
            let times = match of.multiplier {
                1 => String::new(),
                times => format!(" times {times}"),
            };
            let name = value(Value::Variable(of.slot), names);
            format!("{}{times} is put aside as {name}", read(&of.read, names))
        }
        Matcher::ByteMath(of) => format!(
            "{} {} {} is put aside as {}",
            read(&of.read, names),
            arithmetic(of.operator),
            value(of.value, names),
            value(Value::Variable(of.slot), names)
        ),
        Matcher::Size(test) => format!("has {} bytes", number_test(*test)),
        Matcher::Dataset(of) => dataset(of),
        Matcher::Base64(of) => {
            let from = match of.relative {
                true => "behind the last match",
                false => "from the start",
            };
            let inside: Vec<String> = of
                .inside
                .iter()
                .map(|inner| sentence(inner, names))
                .collect();
            let inside = match inside.is_empty() {
                true => "anything".to_owned(),
                false => inside.join(", and "),
            };
            format!("decoded from base64 {from} (+{}): {inside}", of.offset)
        }
        Matcher::Entropy(of) => entropy(of),
        Matcher::Absent { or_else: false } => "is not there".to_owned(),
        Matcher::Absent { or_else: true } => "is not there, or what follows holds".to_owned(),
    }
}

fn value(of: Value, names: &[String]) -> String {
    match of {
        Value::Number(number) => number.to_string(),
        Value::Variable(slot) => names.get(usize::from(slot.0)).cloned().unwrap_or_default(),
    }
}

fn content(of: &Content, names: &[String]) -> String {
    let verb = match of.negated {
        true => "does not contain",
        false => "contains",
    };
    let mut text = format!("{verb} \"{}\"", quoted_bytes(&of.bytes));
    if of.nocase {
        text.push_str(" in upper or lower case");
    }
    let length = i64::try_from(of.bytes.len()).ok().map(Value::Number);
    match of.range {
        Range::Absolute { offset, depth } => {
            let from_start = offset == Value::Number(0);
            match depth {
                Some(_) if from_start && depth == length => text.push_str(" at its start"),
                Some(depth) if from_start => {
                    text.push_str(&format!(" within its first {} bytes", value(depth, names)));
                }
                Some(depth) => text.push_str(&format!(
                    " within {} bytes from byte {} on",
                    value(depth, names),
                    value(offset, names)
                )),
                None if from_start => {}
                None => text.push_str(&format!(" from byte {} on", value(offset, names))),
            }
        }
        Range::Relative { distance, within } => {
            match distance {
                Value::Number(0) => text.push_str(" behind the last match"),
                distance => text.push_str(&format!(
                    " behind the last match and {} bytes",
                    value(distance, names)
                )),
            }
            if let Some(within) = within {
                text.push_str(&format!(", within {} bytes", value(within, names)));
            }
        }
    }
    if of.at_end {
        text.push_str(", at the end");
    }
    text
}

fn pcre(of: &Pcre) -> String {
    let verb = match of.negated {
        true => "does not match",
        false => "matches",
    };
    let place = match of.relative {
        true => " behind the last match",
        false => "",
    };
    format!("{verb} {}{place}", pcre_text(of))
}

fn ahead(of: &IsDataAt, names: &[String]) -> String {
    let at = value(of.at, names);
    match (of.relative, of.negated) {
        (true, false) => format!("goes on for at least {at} bytes behind the last match"),
        (true, true) => format!("ends within {at} bytes behind the last match"),
        (false, false) => format!("has more than {at} bytes"),
        (false, true) => format!("has at most {at} bytes"),
    }
}

/// "the number of 2 bytes at byte 4".
fn read(of: &ByteRead, names: &[String]) -> String {
    let form = match of.form {
        NumberForm::Big => "",
        NumberForm::Little => ", least byte first,",
        NumberForm::Dce => ", in the order of DCE/RPC,",
        NumberForm::Text(8) => ", written in octal,",
        NumberForm::Text(10) => ", written in decimal,",
        NumberForm::Text(_) => ", written in hexadecimal,",
    };
    let mask = of
        .bitmask
        .map_or(String::new(), |mask| format!(" under the mask {mask:#x}"));
    let offset = value(of.offset, names);
    let place = match of.relative {
        true => format!("{offset} bytes behind the last match"),
        false => format!("at byte {offset}"),
    };
    let count = match of.count {
        Value::Number(0) => "the number".to_owned(),
        count => format!("the number of {} bytes", value(count, names)),
    };
    format!("{count}{form} {place}{mask}")
}

fn byte_test(of: &ByteTest, names: &[String]) -> String {
    let (number, wanted) = (read(&of.read, names), value(of.value, names));
    let sense = match (of.operator, of.negated) {
        (Comparison::And, false) => format!("shares a bit with {wanted}"),
        (Comparison::And, true) => format!("shares no bit with {wanted}"),
        (Comparison::Xor, false) => format!("differs in some bit from {wanted}"),
        (Comparison::Xor, true) => format!("equals {wanted}"),
        (operator, false) => format!("is {} {wanted}", comparison(operator)),
        (operator, true) => format!("is not {} {wanted}", comparison(operator)),
    };
    format!("{number} {sense}")
}

fn byte_jump(of: &ByteJump, names: &[String]) -> String {
    let number = match of.read.count {
        Value::Number(0) => "0".to_owned(),
        _ => read(&of.read, names),
    };
    let from = match of.from {
        JumpFrom::Here => "behind the number",
        JumpFrom::Beginning => "from the start",
        JumpFrom::End => "from the end",
    };
    let times = match of.multiplier {
        1 => String::new(),
        times => format!(" times {times}"),
    };
    let further = match of.post_offset {
        Value::Number(0) => String::new(),
        post_offset => format!(" and {} further", value(post_offset, names)),
    };
    format!("looking goes on {from}, by {number}{times}{further}")
}

/// "more than 4", "5".
pub(super) fn number_test(test: NumberTest) -> String {
    match test {
        NumberTest::Within(low, high) if low == high => low.to_string(),
        NumberTest::Within(low, u64::MAX) => format!("at least {low}"),
        NumberTest::Within(0, high) => format!("at most {high}"),
        NumberTest::Within(low, high) => format!("{low} to {high}"),
        NumberTest::Outside(low, high) if low == high => format!("not {low}"),
        NumberTest::Outside(low, high) => format!("not {low} to {high}"),
        NumberTest::Masked { mask, value, equal } => {
            let sense = if equal { "equal to" } else { "other than" };
            format!("(under the mask {mask:#x}) {sense} {value:#x}")
        }
    }
}

fn dataset(of: &Dataset) -> String {
    let name = &of.name;
    match of.operation {
        DatasetOperation::IsSet => format!("is a member of the set {name}"),
        DatasetOperation::IsNotSet => format!("is no member of the set {name}"),
        DatasetOperation::Set => format!("becomes a member of the set {name}"),
        DatasetOperation::Unset => format!("is taken out of the set {name}"),
        DatasetOperation::Reputation(test) => {
            format!(
                "has in the set {name} a reputation of {}",
                number_test(test)
            )
        }
    }
}

fn entropy(of: &Entropy) -> String {
    let test = number_test(of.test);
    match of.bytes {
        Some(bytes) => format!(
            "{bytes} bytes from byte {} on have an entropy of {test} thousandths of a bit",
            of.offset
        ),
        None => format!("has an entropy of {test} thousandths of a bit a byte"),
    }
}
