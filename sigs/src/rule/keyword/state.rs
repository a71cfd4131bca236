//! What is remembered of connections and hosts, and how often a rule may fire.

use std::sync::Arc;

use super::Argument::Needed;
use super::{Given, Keyword, row};
use crate::rule::build::Builder;
use crate::rule::condition::{
    BitKind, BitOperation, IntegerOperation, IntegerValue, StateStep, Threshold, ThresholdKind,
    Track,
};
use crate::rule::matcher::Comparison;
use crate::rule::refusal::Mistake;
use crate::rule::word::Word;

pub(super) const KEYWORDS: &[Keyword] = &[
    row("flowbits", Needed, flow_bits),
    row("xbits", Needed, x_bits),
    row("hostbits", Needed, host_bits),
    row("flowint", Needed, flow_integer),
    row("threshold", Needed, threshold),
    row("detection_filter", Needed, detection_filter),
];

fn flow_bits(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let Some((operation, names)) = given.value.split_once(',') else {
        return no_alert(builder, given);
    };
    let operation = bits(operation, names)?;
    builder.rule.state.push(StateStep::Flow(operation));
    Ok(())
}

/// `flowbits:noalert`.
fn no_alert(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    if given.value.text != "noalert" {
        let why = "it is set, unset, toggle, isset or isnotset, a comma and a name; or noalert";
        return Err(given.value.malformed(why));
    }
    builder.rule.silent = true;
    Ok(())
}

fn bits(operation: Word<'_>, names: Word<'_>) -> Result<BitOperation, Mistake> {
    let kind = match operation.text {
        "set" => BitKind::Set,
        "unset" => BitKind::Unset,
        "toggle" => BitKind::Toggle,
        "isset" => BitKind::IsSet,
        "isnotset" | "notset" => BitKind::IsNotSet,
        _ => {
            return Err(
                operation.malformed("the operations are set, unset, toggle, isset and isnotset")
            );
        }
    };
    let names = names.split('|').map(name).collect::<Result<Vec<_>, _>>()?;
    if names.len() > 1 && !matches!(kind, BitKind::IsSet | BitKind::IsNotSet) {
        return Err(operation.malformed("several bits are only asked for, with isset or isnotset"));
    }
    Ok(BitOperation { kind, names })
}

fn name(word: Word<'_>) -> Result<Arc<str>, Mistake> {
    if word.text.is_empty() || word.text.contains([',', ' ']) || word.text.len() > 255 {
        return Err(word.malformed("a name has 1 to 255 letters and no white space"));
    }
    Ok(word.text.into())
}

fn x_bits(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let words: Vec<Word<'_>> = given.value.split(',').collect();
    let &[operation, names, ref options @ ..] = words.as_slice() else {
        return no_alert(builder, given);
    };
    let (mut track, mut expire_s) = (None, 30);
    for option in options {
        let (key, value) = option.first_word();
        match (key.text, value.text) {
            ("track", "ip_src") => track = Some(Track::Source),
            ("track", "ip_dst") => track = Some(Track::Destination),
            ("track", "ip_pair") => track = Some(Track::Pair),
            ("track", "tx") => {
                return Err(given.unsupported(
                    "bits of one message (track tx) are not kept: track ip_src, ip_dst or ip_pair",
                ));
            }
            ("expire", _) => {
                expire_s = value.number_u32()?;
                if expire_s == 0 {
                    return Err(value.malformed("expire is above 0"));
                }
            }
            _ => {
                return Err(option.malformed(
                    "behind the name stand track ip_src, ip_dst or ip_pair, and expire",
                ));
            }
        }
    }
    let track = track.ok_or_else(|| {
        given
            .value
            .malformed("track is missing: track ip_src, ip_dst or ip_pair")
    })?;
    let operation = bits(operation, names)?;
    builder.rule.state.push(StateStep::Host {
        operation,
        track,
        expire_s,
    });
    Ok(())
}

fn host_bits(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let words: Vec<Word<'_>> = given.value.split(',').collect();
    let &[operation, names, ref rest @ ..] = words.as_slice() else {
        return no_alert(builder, given);
    };
    let track = match rest {
        [] => Track::Source,
        [side] => match side.text {
            "src" => Track::Source,
            "dst" => Track::Destination,
            "both" => {
                return Err(given.unsupported("bits of both hosts are not kept: write src or dst, or xbits with track ip_pair"));
            }
            _ => return Err(side.malformed("behind the name stands src or dst")),
        },
        [_, more, ..] => return Err(more.malformed("behind the side stands nothing")),
    };
    let operation = bits(operation, names)?;
    builder.rule.state.push(StateStep::Host {
        operation,
        track,
        expire_s: 300,
    });
    Ok(())
}

fn flow_integer(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let words: Vec<Word<'_>> = given.value.split(',').collect();
    let &[named, operator, ref rest @ ..] = words.as_slice() else {
        return Err(given
            .value
            .malformed("flowint is a name, an operator and a number or name"));
    };
    let value = |index: usize| -> Result<IntegerValue, Mistake> {
        let missing = || operator.malformed("a number or name is missing behind the operator");
        let word: Word<'_> = *rest.get(index).ok_or_else(missing)?;
        if word
            .text
            .starts_with(|letter: char| letter.is_ascii_digit())
        {
            return Ok(IntegerValue::Number(word.number_u32()?));
        }
        Ok(IntegerValue::Named(name(word)?))
    };
    let operation = match operator.text {
        "isset" => IntegerOperation::IsSet,
        "notset" | "isnotset" => IntegerOperation::IsNotSet,
        "=" => IntegerOperation::Assign(value(0)?),
        "+" => IntegerOperation::Add(value(0)?),
        "-" => IntegerOperation::Subtract(value(0)?),
        "==" => IntegerOperation::Test(Comparison::Equal, value(0)?),
        "!=" => IntegerOperation::Differs(value(0)?),
        "<" => IntegerOperation::Test(Comparison::Less, value(0)?),
        "<=" => IntegerOperation::Test(Comparison::LessOrEqual, value(0)?),
        ">" => IntegerOperation::Test(Comparison::Greater, value(0)?),
        ">=" => IntegerOperation::Test(Comparison::GreaterOrEqual, value(0)?),
        _ => return Err(operator.malformed("an operator is + - = == != < <= > >= isset or notset")),
    };
    if rest.len() > 1 || (rest.len() == 1 && operator.text.ends_with("set")) {
        return Err(given
            .value
            .malformed("there is more than a name, an operator and a number"));
    }
    builder.rule.state.push(StateStep::Integer {
        name: name(named)?,
        operation,
    });
    Ok(())
}

fn threshold(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    read_threshold(builder, given, None)
}

fn detection_filter(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    read_threshold(builder, given, Some(ThresholdKind::Filter))
}

fn read_threshold(
    builder: &mut Builder,
    given: &Given<'_>,
    mut kind: Option<ThresholdKind>,
) -> Result<(), Mistake> {
    if builder.rule.threshold.is_some() {
        return Err(given
            .keyword
            .malformed("a rule has one threshold or detection_filter"));
    }
    let is_filter = kind.is_some();
    let (mut track, mut count, mut seconds, mut multiplier) = (None, None, None, 1);
    for option in given.value.split(',') {
        let (key, value) = option.first_word();
        match (key.text, value.text) {
            ("type", "limit") if !is_filter => kind = Some(ThresholdKind::Limit),
            ("type", "threshold") if !is_filter => kind = Some(ThresholdKind::Threshold),
            ("type", "both") if !is_filter => kind = Some(ThresholdKind::Both),
            ("type", "backoff") if !is_filter => kind = Some(ThresholdKind::Backoff),
            ("track", "by_src") => track = Some(Track::Source),
            ("track", "by_dst") => track = Some(Track::Destination),
            ("track", "by_both") => track = Some(Track::Pair),
            ("track", "by_rule") => track = Some(Track::Rule),
            ("track", "by_flow") => track = Some(Track::Flow),
            ("count", _) => count = Some(value.number_u32()?),
            ("seconds", _) => seconds = Some(value.number_u32()?),
            ("multiplier", _) => multiplier = value.number_u32()?,
            ("", _) => {}
            ("unique_on", _) => {
                return Err(given.unsupported(
                    "distinct ports are not counted (unique_on): the threat detectors for scans do",
                ));
            }
            _ => {
                return Err(option.malformed(
                    "it takes type (limit, threshold, both, backoff), track (by_src, by_dst, by_both, by_rule, by_flow), count and seconds",
                ));
            }
        }
    }
    let missing = |what: &str| given.value.malformed(format!("{what} is missing"));
    let kind = kind.ok_or_else(|| missing("type"))?;
    let seconds = match kind {
        ThresholdKind::Backoff => seconds.unwrap_or(0),
        _ => seconds.ok_or_else(|| missing("seconds"))?,
    };
    let count = count.ok_or_else(|| missing("count"))?;
    if count == 0 || multiplier == 0 {
        return Err(given.value.malformed("count and multiplier are above 0"));
    }
    builder.rule.threshold = Some(Threshold {
        kind,
        track: track.ok_or_else(|| missing("track"))?,
        count,
        seconds,
        multiplier,
    });
    Ok(())
}
