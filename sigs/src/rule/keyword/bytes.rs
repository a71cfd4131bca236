//! Numbers in the bytes and lengths of them.

use super::Argument::{Needed, None as Nothing, Optional};
use super::{Given, Keyword, row};
use crate::rule::build::Builder;
use crate::rule::matcher::{
    Arithmetic, Base64, ByteExtract, ByteJump, ByteMath, ByteRead, ByteTest, Comparison, Entropy,
    IsDataAt, JumpFrom, Matcher, NumberForm, Value,
};
use crate::rule::number::NumberTest;
use crate::rule::refusal::Mistake;
use crate::rule::word::{Word, compare};

pub(super) const KEYWORDS: &[Keyword] = &[
    row("isdataat", Needed, is_data_at),
    row("byte_test", Needed, byte_test),
    row("byte_jump", Needed, byte_jump),
    row("byte_extract", Needed, byte_extract),
    row("byte_math", Needed, byte_math),
    row("bsize", Needed, size),
    row("absent", Optional, absent),
    row("entropy", Needed, entropy),
    row("base64_decode", Optional, base64_decode),
    row("base64_data", Nothing, base64_data),
];

fn is_data_at(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (value, negated) = given.negated();
    let mut words = value.split(',');
    let first = words.next().unwrap_or(value);
    let at = builder.value(first)?;
    if at
        .number()
        .is_some_and(|at| !(0..=0xffff_ffff).contains(&at))
    {
        return Err(first.malformed("isdataat looks ahead: a number from 0"));
    }
    let mut relative = false;
    for word in words {
        match word.text {
            "relative" => relative = true,
            "rawbytes" => {}
            _ => return Err(word.malformed("behind the number stand relative and rawbytes")),
        }
    }
    let matcher = Matcher::IsDataAt(IsDataAt {
        at,
        relative,
        negated,
    });
    builder.push(given.keyword, matcher, relative)
}

fn byte_test(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let words: Vec<Word<'_>> = given.value.split(',').collect();
    let &[count, operator, value, offset, ref options @ ..] = words.as_slice() else {
        return Err(given.value.malformed(
            "byte_test is COUNT,OPERATOR,VALUE,OFFSET and options: 2,>,100,0,relative",
        ));
    };
    let (bare, negated) = match operator.strip_prefix("!") {
        Some(rest) => (rest, true),
        None => (operator, false),
    };
    let comparison = match bare.text {
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        "=" | "==" => Comparison::Equal,
        // As in `!,5`: not equal.
        "" if negated => Comparison::Equal,
        ">=" => Comparison::GreaterOrEqual,
        ">" => Comparison::Greater,
        "&" => Comparison::And,
        "^" => Comparison::Xor,
        _ => {
            return Err(
                operator.malformed("an operator is < <= = >= > & ^, with ! before it turned round")
            );
        }
    };
    let mut parts = Parts::new(builder, count, offset)?;
    for option in options {
        if !parts.common(*option)? {
            return Err(option.malformed(COMMON));
        }
    }
    let matcher = Matcher::ByteTest(ByteTest {
        read: parts.finish(given, false)?,
        operator: comparison,
        negated,
        value: builder.operand(value)?,
    });
    builder.push(given.keyword, matcher, parts.read.relative)
}

const COMMON: &str =
    "options are relative, big, little, dce, string with hex, dec or oct, and bitmask";

/// The parts that all of them share, while they are read.
struct Parts {
    read: ByteRead,
    text: bool,
    base: Option<u8>,
}

impl Parts {
    fn new(builder: &Builder, count: Word<'_>, offset: Word<'_>) -> Result<Self, Mistake> {
        let count_value = builder.value(count)?;
        if count_value
            .number()
            .is_some_and(|count| !(0..=23).contains(&count))
        {
            return Err(count.malformed("a number takes 1 to 8 bytes, as text up to 23"));
        }
        let read = ByteRead {
            count: count_value,
            offset: builder.value(offset)?,
            relative: false,
            form: NumberForm::Big,
            bitmask: None,
        };
        Ok(Self {
            read,
            text: false,
            base: None,
        })
    }

    /// Takes an option that all of them have.
    fn common(&mut self, option: Word<'_>) -> Result<bool, Mistake> {
        let (name, value) = option.first_word();
        match (name.text, value.text) {
            ("relative", "") => self.read.relative = true,
            ("big", "") | ("endian", "big") => self.read.form = NumberForm::Big,
            ("little", "") | ("endian", "little") => self.read.form = NumberForm::Little,
            ("dce", "") | ("endian", "dce") => self.read.form = NumberForm::Dce,
            ("string", "") => self.text = true,
            ("string", _) => {
                self.text = true;
                self.base = Some(base(value)?);
            }
            ("hex" | "dec" | "oct", "") => self.base = Some(base(name)?),
            ("bitmask", _) => {
                let mask = value.number_u32()?;
                if mask == 0 {
                    return Err(value.malformed("a bitmask has a bit that is set"));
                }
                self.read.bitmask = Some(mask);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The number. Only a jump may have none to read: `none` is true for it.
    fn finish(&mut self, given: &Given<'_>, none: bool) -> Result<ByteRead, Mistake> {
        if self.base.is_some() && !self.text {
            return Err(given
                .value
                .malformed("hex, dec and oct stand behind string"));
        }
        if self.text {
            self.read.form = NumberForm::Text(self.base.unwrap_or(10));
        } else if let Some(count) = self.read.count.number()
            && !(i64::from(!none)..=8).contains(&count)
        {
            return Err(given.value.malformed("a number takes 1 to 8 bytes"));
        }
        Ok(self.read)
    }
}

fn base(word: Word<'_>) -> Result<u8, Mistake> {
    match word.text {
        "hex" => Ok(16),
        "dec" => Ok(10),
        "oct" => Ok(8),
        _ => Err(word.malformed("the base of a number written as text is hex, dec or oct")),
    }
}

fn byte_jump(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let words: Vec<Word<'_>> = given.value.split(',').collect();
    let &[count, offset, ref options @ ..] = words.as_slice() else {
        return Err(given
            .value
            .malformed("byte_jump is COUNT,OFFSET and options: 2,0,relative"));
    };
    let mut parts = Parts::new(builder, count, offset)?;
    let (mut multiplier, mut align) = (1, false);
    let (mut from, mut post_offset) = (JumpFrom::Here, Value::Number(0));
    for option in options {
        let (name, value) = option.first_word();
        match name.text {
            "multiplier" => multiplier = above_zero(value)?,
            "align" if value.text.is_empty() => align = true,
            "from_beginning" if value.text.is_empty() => from = JumpFrom::Beginning,
            "from_end" if value.text.is_empty() => from = JumpFrom::End,
            "post_offset" => post_offset = builder.value(value)?,
            _ if parts.common(*option)? => {}
            _ => {
                return Err(option.malformed(format!(
                    "{COMMON}; multiplier, align, from_beginning, from_end, post_offset"
                )));
            }
        }
    }
    let matcher = Matcher::ByteJump(ByteJump {
        read: parts.finish(given, true)?,
        multiplier,
        align,
        from,
        post_offset,
    });
    builder.push(given.keyword, matcher, parts.read.relative)
}

fn above_zero(word: Word<'_>) -> Result<u32, Mistake> {
    match word.number_to(65_535)? {
        0 => Err(word.malformed("a multiplier is 1 to 65535")),
        number => Ok(u32::try_from(number).unwrap_or(1)),
    }
}

fn byte_extract(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let words: Vec<Word<'_>> = given.value.split(',').collect();
    let &[count, offset, name, ref options @ ..] = words.as_slice() else {
        return Err(given
            .value
            .malformed("byte_extract is COUNT,OFFSET,NAME and options: 2,0,length,relative"));
    };
    let mut parts = Parts::new(builder, count, offset)?;
    let (mut multiplier, mut align) = (1, 0);
    for option in options {
        let (word, value) = option.first_word();
        match (word.text, value.text) {
            ("multiplier", _) => multiplier = above_zero(value)?,
            ("align", "2") => align = 2,
            ("align", "4") => align = 4,
            _ if parts.common(*option)? => {}
            _ => return Err(option.malformed(format!("{COMMON}; multiplier, align 2 or 4"))),
        }
    }
    let read = parts.finish(given, false)?;
    let matcher = Matcher::ByteExtract(ByteExtract {
        read,
        multiplier,
        align,
        slot: builder.declare(name)?,
    });
    builder.push(given.keyword, matcher, read.relative)
}

fn byte_math(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let mut found = MathWords::default();
    let mut options = Vec::new();
    for option in given.value.split(',') {
        let (name, value) = option.first_word();
        let place = match name.text {
            "bytes" => &mut found.bytes,
            "offset" => &mut found.offset,
            "oper" => &mut found.operator,
            "rvalue" => &mut found.value,
            "result" => &mut found.result,
            _ => {
                options.push(option);
                continue;
            }
        };
        if place.replace(value).is_some() {
            return Err(name.malformed(format!("{} stands twice", name.text)));
        }
    }
    let missing = |name: &str| given.value.malformed(format!("byte_math lacks {name}"));
    let count = found.bytes.ok_or_else(|| missing("bytes"))?;
    let offset = found.offset.ok_or_else(|| missing("offset"))?;
    let value_word = found.value.ok_or_else(|| missing("rvalue"))?;
    let operator = found.operator.ok_or_else(|| missing("oper"))?;
    let mut parts = Parts::new(builder, count, offset)?;
    for option in options {
        if !parts.common(option)? {
            return Err(option.malformed(COMMON));
        }
    }
    let operator = arithmetic(operator)?;
    let value = builder.operand(value_word)?;
    if operator == Arithmetic::Divide && value == Value::Number(0) {
        return Err(Mistake::impossible(
            value_word.at,
            "nothing is divided by 0",
        ));
    }
    let read = parts.finish(given, false)?;
    let result = found.result.ok_or_else(|| missing("result"))?;
    let matcher = Matcher::ByteMath(ByteMath {
        read,
        operator,
        value,
        slot: builder.declare(result)?,
    });
    builder.push(given.keyword, matcher, read.relative)
}

/// The named parts of `byte_math`.
#[derive(Default)]
struct MathWords<'a> {
    bytes: Option<Word<'a>>,
    offset: Option<Word<'a>>,
    operator: Option<Word<'a>>,
    value: Option<Word<'a>>,
    result: Option<Word<'a>>,
}

fn arithmetic(word: Word<'_>) -> Result<Arithmetic, Mistake> {
    Ok(match word.text {
        "+" => Arithmetic::Add,
        "-" => Arithmetic::Subtract,
        "*" => Arithmetic::Multiply,
        "/" => Arithmetic::Divide,
        "<<" => Arithmetic::ShiftLeft,
        ">>" => Arithmetic::ShiftRight,
        _ => return Err(word.malformed("oper is + - * / << or >>")),
    })
}

fn size(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    if !builder.is_sticky() {
        let why = "bsize is the length of a sticky buffer; that of a packet's payload is dsize";
        return Err(given.keyword.malformed(why));
    }
    let test = given.value.test(u64::MAX)?;
    builder.push(given.keyword, Matcher::Size(test), false)
}

fn absent(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    if !builder.is_sticky() {
        return Err(given
            .keyword
            .malformed("absent follows the sticky buffer that it is of"));
    }
    let or_else = match given.value.text {
        "" => false,
        "or_else" => true,
        _ => return Err(given.value.malformed("absent takes nothing, or or_else")),
    };
    builder.push(given.keyword, Matcher::Absent { or_else }, false)
}

fn entropy(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (mut bytes, mut offset, mut test) = (None, 0, None);
    for option in given.value.split(',') {
        let (name, value) = option.first_word();
        match name.text {
            "bytes" => bytes = Some(value.number_u32()?).filter(|&bytes| bytes > 0),
            "offset" => offset = value.number_u32()?,
            "value" => test = Some(entropy_test(value)?),
            _ => return Err(option.malformed("entropy takes bytes, offset and value")),
        }
    }
    let test = test.ok_or_else(|| {
        given
            .value
            .malformed("value is missing: entropy:value > 7.5")
    })?;
    let matcher = Matcher::Entropy(Entropy {
        bytes,
        offset,
        test,
    });
    builder.push(given.keyword, matcher, false)
}

fn entropy_test(word: Word<'_>) -> Result<NumberTest, Mistake> {
    let operators = ["<=", ">=", "!=", "<", ">", "="];
    for operator in operators {
        if let Some(rest) = word.strip_prefix(operator) {
            let number = thousandths(rest)?;
            let never = || Mistake::impossible(word.at, "no entropy is so low");
            return compare(operator, number).ok_or_else(never);
        }
    }
    let (range, negated) = match word.strip_prefix("!") {
        Some(rest) => (rest, true),
        None => (word, false),
    };
    let Some((low, high)) = range.split_once('-') else {
        return Ok(NumberTest::equals(thousandths(range)?));
    };
    let (low, high) = (thousandths(low)? + 1, thousandths(high)?.saturating_sub(1));
    if low > high {
        return Err(Mistake::impossible(word.at, "nothing lies between these"));
    }
    Ok(if negated {
        NumberTest::Outside(low, high)
    } else {
        NumberTest::Within(low, high)
    })
}

/// `7.25` → 7,250.
fn thousandths(word: Word<'_>) -> Result<u64, Mistake> {
    let wrong = || word.malformed("an entropy is 0 to 8 bits a byte: 7.25");
    let (whole, fraction) = word.text.split_once('.').unwrap_or((word.text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 1 || !digits(whole) || !digits(fraction) {
        return Err(wrong());
    }
    let three: String = fraction.chars().chain("000".chars()).take(3).collect();
    let number = format!("{whole}{three}").parse().map_err(|_| wrong())?;
    if number > 8_000 {
        Err(wrong())
    } else {
        Ok(number)
    }
}

fn base64_decode(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    let (mut bytes, mut offset, mut relative) = (None, 0, false);
    for option in given.value.split(',') {
        let (name, value) = option.first_word();
        match name.text {
            "bytes" => bytes = Some(value.number_u32()?),
            "offset" => offset = value.number_u32()?,
            "relative" => relative = true,
            "" => {}
            _ => return Err(option.malformed("base64_decode takes bytes, offset and relative")),
        }
    }
    if bytes == Some(0) {
        return Err(given.value.malformed("bytes is above 0"));
    }
    let matcher = Matcher::Base64(Base64 {
        bytes,
        offset,
        relative,
        inside: Vec::new(),
    });
    builder.push(given.keyword, matcher, relative)
}

fn base64_data(builder: &mut Builder, given: &Given<'_>) -> Result<(), Mistake> {
    builder.enter_base64(given.keyword)
}
