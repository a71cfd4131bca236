//! Words as a shell reads them: without quotes, escapes and empty expansions.

use arrayvec::ArrayVec;

/// Longest word that is read; the rest of it is passed.
const WORD_BYTES: usize = 96;

/// A word of a command line.
#[derive(Clone, Debug, Default)]
pub(super) struct Word {
    /// What the shell makes of it.
    pub(super) text: ArrayVec<u8, WORD_BYTES>,
    /// Where reading goes on.
    pub(super) to: usize,
    /// It was written in a way that only hides what it is.
    pub(super) disguised: bool,
}

/// Reads the word at `from`, passing blanks before it.
pub(super) fn read_word(value: &[u8], from: usize) -> Word {
    let mut word = Word {
        to: from,
        ..Word::default()
    };
    word.pass_blanks(value);
    let mut quote = None;
    let mut brace = false;
    while let Some(&byte) = value.get(word.to) {
        let rest = &value[word.to..];
        let taken = match (byte, quote) {
            (b'\'' | b'"', None) => {
                // A quote at the front or behind the last letter ends the application's text instead.
                let closes = memchr::memchr(byte, &rest[1..]).is_some();
                if !closes {
                    break;
                }
                word.disguised |= !word.text.is_empty() && !is_assigned(&word.text);
                quote = Some(byte);
                1
            }
            (byte, Some(open)) if byte == open => {
                quote = None;
                1
            }
            (byte, Some(_)) => {
                word.push(byte);
                1
            }
            (b'\\', None) => match rest.get(1) {
                // A path of Windows keeps its backslashes.
                Some(next) if is_windows(&word.text) => {
                    word.push(b'\\');
                    word.push(*next);
                    2
                }
                Some(next) => {
                    word.disguised |= !word.text.is_empty() && next.is_ascii_alphanumeric();
                    word.push(*next);
                    2
                }
                None if is_windows(&word.text) => {
                    word.push(b'\\');
                    1
                }
                None => 1,
            },
            (b'^', None) if rest.get(1).is_some_and(u8::is_ascii_alphanumeric) => {
                word.disguised = true;
                1
            }
            (b'$', None) => match expansion(rest) {
                Expansion::Blank(taken) => {
                    if word.text.is_empty() {
                        word.to += taken;
                        continue;
                    }
                    word.disguised = true;
                    break;
                }
                Expansion::Nothing(taken) => {
                    word.disguised = true;
                    taken
                }
                Expansion::Unknown => {
                    word.push(byte);
                    1
                }
            },
            (b'{', None) if word.text.is_empty() && is_brace_list(rest) => {
                brace = true;
                word.disguised = true;
                1
            }
            (b',', None) if brace => break,
            (b'}', None) if word.text.is_empty() => break,
            (0..=b' ' | b';' | b'|' | b'&' | b'<' | b'>' | b'(' | b')' | b'`', None) => break,
            _ => {
                word.push(byte);
                1
            }
        };
        word.to += taken;
    }
    word.to = word.to.min(value.len());
    word
}

impl Word {
    fn push(&mut self, byte: u8) {
        let _ = self.text.try_push(byte.to_ascii_lowercase());
    }

    fn pass_blanks(&mut self, value: &[u8]) {
        loop {
            let rest = value.get(self.to..).unwrap_or_default();
            match rest {
                [0..=b' ' | b',' | b'@', ..] if rest[0] != b'@' || self.to > 0 => self.to += 1,
                [b'$', ..] => match expansion(rest) {
                    Expansion::Blank(taken) => self.to += taken,
                    _ => return,
                },
                _ => return,
            }
        }
    }
}

enum Expansion {
    /// `${IFS}`
    Blank(usize),
    /// `$@`, `$1`, `${x}`: nothing in a fresh shell.
    Nothing(usize),
    Unknown,
}

fn expansion(rest: &[u8]) -> Expansion {
    match rest {
        [b'$', b'{', b'I', b'F', b'S', ..] => match memchr::memchr(b'}', rest) {
            Some(close) if close <= 16 => Expansion::Blank(close + 1),
            _ => Expansion::Unknown,
        },
        [b'$', b'I', b'F', b'S', b'$', b'0'..=b'9', ..] => Expansion::Blank(6),
        [b'$', b'I', b'F', b'S', ..] => Expansion::Blank(4),
        [b'$', b'@' | b'*' | b'1'..=b'9', ..] => Expansion::Nothing(2),
        [b'$', b'{', b'@' | b'*' | b'1'..=b'9', b'}', ..] => Expansion::Nothing(4),
        _ => Expansion::Unknown,
    }
}

/// `{cat,/etc/passwd}`
fn is_brace_list(rest: &[u8]) -> bool {
    let end = rest.iter().take(64).position(|byte| *byte == b'}');
    end.is_some_and(|end| {
        memchr::memchr(b',', &rest[..end]).is_some() && memchr::memchr(b' ', &rest[..end]).is_none()
    })
}

fn is_windows(text: &[u8]) -> bool {
    matches!(text, [b'a'..=b'z', b':', ..] | [b'\\', ..] | [b'%', ..])
}

fn is_assigned(text: &[u8]) -> bool {
    matches!(text.last(), Some(b'=' | b':' | b'-'))
}
