//! Who logs in with SASL (RFC 4422), as SMTP, IMAP and POP3 carry it: only the name is taken, never
//! a password, a digest or a token.

use arrayvec::ArrayVec;

/// Names that do not fit are left out: half a name could be somebody else's.
pub(crate) const USER_MAX: usize = 64;
/// Decoded bytes that are looked at; the name stands in front.
const DECODED_MAX: usize = 192;

/// A user's name.
pub(crate) type User = ArrayVec<u8, USER_MAX>;

/// A login of several steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mechanism {
    /// Authorization name, name and password, with NUL between (RFC 4616).
    Plain,
    /// The name, then the password (draft-murchison-sasl-login).
    Login,
    /// The name and a digest (RFC 2195).
    CramMd5,
    /// `user=` name and a token (Google, Microsoft), or `n,a=` name (RFC 7628).
    Bearer,
    /// `n,,n=` name and a nonce (RFC 5802).
    Scram,
    /// The name is not told in a way that is read.
    #[default]
    Other,
}

impl Mechanism {
    /// The mechanism of that name.
    pub(crate) fn of(name: &[u8]) -> Self {
        const KNOWN: [(&[u8], Mechanism); 5] = [
            (b"PLAIN", Mechanism::Plain),
            (b"LOGIN", Mechanism::Login),
            (b"CRAM-MD5", Mechanism::CramMd5),
            (b"XOAUTH2", Mechanism::Bearer),
            (b"OAUTHBEARER", Mechanism::Bearer),
        ];
        if name
            .get(..6)
            .is_some_and(|front| front.eq_ignore_ascii_case(b"SCRAM-"))
        {
            return Self::Scram;
        }
        KNOWN
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map_or(Self::Other, |(_, mechanism)| *mechanism)
    }

    /// The user named in the client's first response, in base64.
    pub(crate) fn user(self, response: &[u8]) -> User {
        let decoded = decode(response);
        let mut parts = decoded.split(|&byte| byte == 0);
        let name = match self {
            Self::Plain => parts.nth(1),
            Self::Login => parts.next(),
            Self::CramMd5 => decoded
                .iter()
                .rposition(|&byte| byte == b' ')
                .and_then(|end| decoded.get(..end)),
            Self::Bearer => decoded
                .split(|&byte| byte == 1 || byte == b',')
                .find_map(|part| part.strip_prefix(b"user=").or(part.strip_prefix(b"a="))),
            Self::Scram => decoded
                .split(|&byte| byte == b',')
                .find_map(|part| part.strip_prefix(b"n=")),
            Self::Other => None,
        };
        User::try_from(name.unwrap_or_default()).unwrap_or_default()
    }
}

fn decode(text: &[u8]) -> ArrayVec<u8, DECODED_MAX> {
    let mut decoded = ArrayVec::new();
    let mut bits = 0_u32;
    for (place, &byte) in text.trim_ascii().iter().enumerate() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => break,
        };
        bits = bits << 6 | u32::from(value);
        let shift = match place % 4 {
            0 => continue,
            1 => 4,
            2 => 2,
            _ => 0,
        };
        if decoded.try_push((bits >> shift) as u8).is_err() {
            break;
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_nothing_else() {
        for (mechanism, response, user) in [
            (
                &b"plain"[..],
                &b"AHRpbQB0YW5zdGFhZnRhbnN0YWFm"[..],
                &b"tim"[..],
            ),
            (b"PLAIN", b"=", b""),
            (b"LOGIN", b"YWxpY2U=", b"alice"),
            (
                b"CRAM-MD5",
                b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw",
                b"tim",
            ),
            (b"XOAUTH2", b"dXNlcj1hQGIBYXV0aD1CZWFyZXIgeAEB", b"a@b"),
            (
                b"SCRAM-SHA-256",
                b"biwsbj11c2VyLHI9ck9wck5HZndFYmVSV2diTkVrcU8=",
                b"user",
            ),
            (b"NTLM", b"TlRMTVNTUAABAAAA", b""),
        ] {
            assert_eq!(Mechanism::of(mechanism).user(response).as_slice(), user);
        }
    }
}
