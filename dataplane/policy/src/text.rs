//! A field's value as the text that patterns are compared with, without allocating.

use std::fmt::Write;

use weir_l7::Value;

/// The longest text of a number or an address is 45 bytes.
struct Scratch {
    bytes: [u8; 64],
    used: usize,
}

impl Write for Scratch {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.used + text.len();
        let room = self.bytes.get_mut(self.used..end).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.used = end;
        Ok(())
    }
}

/// Calls `judge` with the text of `value`.
pub(crate) fn with_text<R>(value: Value<'_>, judge: impl FnOnce(&[u8]) -> R) -> R {
    let mut scratch = Scratch {
        bytes: [0; 64],
        used: 0,
    };
    // Writing cannot fail: both kinds fit the scratch.
    let _ = match value {
        Value::Bytes(bytes) => return judge(bytes),
        Value::Name(name) => return judge(name.as_bytes()),
        Value::Number(number) => write!(scratch, "{number}"),
        Value::Address(address) => write!(scratch, "{address}"),
    };
    judge(&scratch.bytes[..scratch.used])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_as_people_write_them() {
        let text = |value| with_text(value, |bytes| String::from_utf8_lossy(bytes).into_owned());
        assert_eq!(text(Value::Bytes(b"/api")), "/api");
        assert_eq!(text(Value::Name("SELECT")), "SELECT");
        assert_eq!(text(Value::Number(u64::MAX)), u64::MAX.to_string());
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255"
            .parse::<std::net::IpAddr>()
            .unwrap();
        assert_eq!(text(Value::Address(longest)), longest.to_string());
        assert_eq!(
            text(Value::Address("10.0.0.1".parse().unwrap())),
            "10.0.0.1"
        );
    }
}
