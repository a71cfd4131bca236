//! JSON in one form only (RFC 8785): equal values have equal bytes, whatever they were read from.
//!
//! Numbers are those that every reader of JSON takes alike: what a double does not hold is refused.

use serde_json::{Number, Value};

/// Above this a double no longer tells every integer from its neighbour (2^53).
const INTEGER_MAX: u64 = 1 << 53;

/// Why a value has no canonical form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is a number that not every reader of JSON takes alike; write it as text")]
pub struct NotCanonical(String);

/// The canonical form of a value.
pub fn canonical(value: &Value) -> Result<String, NotCanonical> {
    let mut text = String::new();
    write(value, &mut text)?;
    Ok(text)
}

fn write(value: &Value, text: &mut String) -> Result<(), NotCanonical> {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
        Value::Number(value) => text.push_str(&number(value)?),
        Value::String(value) => string(value, text),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, text)?;
            }
            text.push(']');
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            // The order of UTF-16 code units, which is not that of UTF-8 bytes.
            fields.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
            text.push('{');
            for (index, (key, value)) in fields.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                string(key, text);
                text.push(':');
                write(value, text)?;
            }
            text.push('}');
        }
    }
    Ok(())
}

fn number(number: &Number) -> Result<String, NotCanonical> {
    let refused = || NotCanonical(number.to_string());
    if let Some(integer) = number.as_i64() {
        let fits = integer.unsigned_abs() <= INTEGER_MAX;
        return fits.then(|| integer.to_string()).ok_or_else(refused);
    }
    if number.is_u64() {
        return Err(refused());
    }
    let value = number.as_f64().filter(|value| value.is_finite());
    let value = value.ok_or_else(refused)?;
    // ECMA-262, Number::toString: the shortest digits, with an exponent outside this range.
    Ok(match value.abs() {
        0.0 => "0".to_owned(),
        1e-6..1e21 => value.to_string(),
        _ => match format!("{value:e}").split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                format!("{digits}e+{exponent}")
            }
            Some((digits, exponent)) => format!("{digits}e{exponent}"),
            None => return Err(refused()),
        },
    })
}

fn string(string: &str, text: &mut String) {
    text.push('"');
    for character in string.chars() {
        match character {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\u{8}' => text.push_str("\\b"),
            '\t' => text.push_str("\\t"),
            '\n' => text.push_str("\\n"),
            '\u{c}' => text.push_str("\\f"),
            '\r' => text.push_str("\\r"),
            '\0'..='\u{1f}' => text.push_str(&format!("\\u{:04x}", u32::from(character))),
            other => text.push(other),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> String {
        canonical(&serde_json::from_str(text).unwrap()).unwrap()
    }

    /// RFC 8785, 3.2.2 and 3.2.3.
    #[test]
    fn the_examples_of_the_standard() {
        let text = r#"{
          "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
          "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
          "literals": [null, true, false]
        }"#;
        let expected = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,\
            0.002,1e-27],\"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(of(text), expected);
        let keys = r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
        let places: Vec<_> = of(keys)
            .matches(char::is_numeric)
            .map(str::to_owned)
            .collect();
        // The key "1" brings a digit of its own.
        assert_eq!(places.concat(), "21467153");
    }

    /// RFC 8785, appendix B.
    #[test]
    fn numbers_of_the_standard() {
        for (bits, expected) in [
            (0x0000000000000000_u64, "0"),
            (0x8000000000000000, "0"),
            (0x0000000000000001, "5e-324"),
            (0x7fefffffffffffff, "1.7976931348623157e+308"),
            (0x4340000000000001, "9007199254740994"),
            (0x444b1ae4d6e2ef4f, "999999999999999900000"),
            (0x444b1ae4d6e2ef50, "1e+21"),
            (0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"),
            (0x3eb0c6f7a0b5ed8d, "0.000001"),
            (0x41b3de4355555557, "333333333.33333343"),
            (0xbecbf647612f3696, "-0.0000033333333333333333"),
        ] {
            let number = Number::from_f64(f64::from_bits(bits)).unwrap();
            assert_eq!(super::number(&number).unwrap(), expected, "{bits:016x}");
        }
    }

    #[test]
    fn numbers_that_readers_take_differently_are_refused() {
        for text in [
            "9007199254740993",
            "-9007199254740993",
            "18446744073709551615",
        ] {
            assert!(
                canonical(&serde_json::from_str(text).unwrap()).is_err(),
                "{text}"
            );
        }
        assert_eq!(of("9007199254740992"), "9007199254740992");
    }
}
