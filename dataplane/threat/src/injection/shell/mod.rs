//! Command injection: does a value, put into a command line, start a command of its own?
//!
//! What separates commands (`;`, `|`, `&`, a new line, `$(…)`, backticks) has to be followed by a
//! command that exists, spelled in any way a shell accepts (`w'h'oami`, `c\at`, `cat${IFS}x`), and by
//! arguments that fit it: prose has separators too, and *cat*, *find* and *make* are words of English.
//!
//! Trusts nothing. Time: [`MAX_STARTS`] places are looked at, each for two words.

mod command;
mod words;

use self::command::{Command, Fit};
use self::words::{Word, read_word};
use super::sighting::Sighting;

/// Places where a command may start that are looked at.
const MAX_STARTS: usize = 64;

/// How a command comes to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    /// `;`, `&`, `|`, a new line: behind a command.
    Chain,
    /// `|`: with its output as input.
    Pipe,
    /// `&&`, `||`: hardly prose.
    Both,
    NewLine,
    /// `$(`, `<(`
    Substitution,
    /// A backtick, which is markdown as well.
    Backtick,
}

/// What is telling in `value`, if a shell would run a command of it.
pub(super) fn look(value: &[u8]) -> Option<Sighting> {
    if let Some(sighting) = whole_command(value) {
        return Some(sighting);
    }
    let is_script = begins_as_command_line(value);
    let mut at = 0;
    let mut within_backticks = false;
    for _ in 0..MAX_STARTS {
        let rest = value.get(at..)?;
        let found = rest.iter().position(|byte| {
            matches!(
                byte,
                b';' | b'|' | b'&' | b'\n' | b'\r' | b'`' | b'(' | b'{'
            )
        })?;
        let place = at + found;
        at = place + 1;
        let Some((start, behind)) = start_at(value, place, &mut within_backticks) else {
            continue;
        };
        at = at.max(behind);
        let before = &value[..place];
        if let Some((sign, to)) = command_at(value, before, start, behind, is_script) {
            return Some(Sighting::new(sign, place, to));
        }
    }
    None
}

/// Which start the byte at `place` is, and where the command would begin.
fn start_at(value: &[u8], place: usize, within: &mut bool) -> Option<(Start, usize)> {
    let next = value.get(place + 1).copied();
    let before = place.checked_sub(1).map(|before| value[before]);
    Some(match value[place] {
        b'`' => {
            *within = !*within;
            return within.then_some((Start::Backtick, place + 1));
        }
        b'(' if matches!(before, Some(b'$' | b'<' | b'>')) => (Start::Substitution, place + 1),
        b'(' | b'{' => return None,
        b'|' if next == Some(b'|') => (Start::Both, place + 2),
        b'&' if next == Some(b'&') => (Start::Both, place + 2),
        b'|' => (Start::Pipe, place + 1),
        b'\n' | b'\r' => (Start::NewLine, place + 1),
        _ => (Start::Chain, place + 1),
    })
}

/// Judges the command that would begin at `from`.
fn command_at(
    value: &[u8],
    before: &[u8],
    start: Start,
    from: usize,
    is_script: bool,
) -> Option<(&'static str, usize)> {
    let word = read_word(value, from);
    let command = Command::of(&word)?;
    let (command, word) = command.behind_wrapper(value, word);
    let fit = command.fit(value, &word);
    let to = fit.to().min(value.len());
    let single = is_single(before);
    let fires = match (start, fit) {
        (_, Fit::No) => false,
        (_, Fit::Unmistakable(_)) => single || !is_script,
        (_, _) if is_script => false,
        (_, Fit::Weak(_)) if is_alternation(value, word.to) => false,
        (Start::Backtick, Fit::Weak(_)) => single && !is_markdown(value, before, from),
        (Start::Backtick, _) => !is_markdown(value, before, from),
        (Start::Substitution, Fit::Weak(_)) => single && !is_call(value, from),
        (Start::Substitution, _) => !is_call(value, from),
        (Start::NewLine | Start::Both, Fit::Strong(_)) => single,
        (_, Fit::Strong(_)) => single || is_one_line(value),
        (Start::Both, Fit::Weak(_)) => single,
        (Start::Pipe | Start::Chain | Start::NewLine, Fit::Weak(_)) => {
            let is_last = matches!(word.text.as_slice(), b"id" | b"dir") && to == value.len();
            single && (is_last || !command.is_a_word_of_english() || ends_a_value(before))
        }
    };
    let sign = match start {
        Start::Substitution | Start::Backtick => "command that is substituted",
        _ => "command behind a separator",
    };
    fires.then_some((sign, to))
}

/// `(get|set|exec)`: choices, as regular expressions and documentation have them.
fn is_alternation(value: &[u8], behind: usize) -> bool {
    value.get(behind) == Some(&b'|') && memchr::memchr_iter(b'|', value).nth(2).is_some()
}

/// What came before is a value such as an address or a name, not a sentence.
fn is_single(before: &[u8]) -> bool {
    let before = before.trim_ascii();
    before.len() <= 128 && !before.iter().any(u8::is_ascii_whitespace)
}

/// What came before is nothing, a number, an address, a file or something closed.
fn ends_a_value(before: &[u8]) -> bool {
    let before = before.trim_ascii();
    match before.last() {
        None => true,
        Some(last) => {
            matches!(last, b'\'' | b'"' | b')' | b'}' | b'|' | b';' | b'&')
                || last.is_ascii_digit()
                || memchr::memchr2(b'.', b'/', before).is_some()
        }
    }
}

fn is_one_line(value: &[u8]) -> bool {
    memchr::memchr2(b'\n', b'\r', value.trim_ascii()).is_none()
}

/// "Use `ls -l` to list": words around a piece of code.
fn is_markdown(value: &[u8], before: &[u8], from: usize) -> bool {
    let prose_before = matches!(before, [.., letter, b' '] if letter.is_ascii_alphabetic() || matches!(letter, b',' | b':' | b'.'))
        || matches!(before.last(), Some(b'\n' | b'`' | b'('));
    let rest = value.get(from..).unwrap_or_default();
    let behind = memchr::memchr(b'`', rest).map(|close| &rest[close + 1..]);
    let prose_behind = matches!(behind, Some([b' ' | b',' | b'.', next, ..]) if next.is_ascii_alphabetic() || *next == b' ')
        || matches!(behind, Some([b'`' | b'\n' | b')', ..]));
    prose_before || prose_behind
}

/// `$(id).hide()` is no command but jQuery.
fn is_call(value: &[u8], from: usize) -> bool {
    let rest = value.get(from..).unwrap_or_default();
    let Some(close) = memchr::memchr(b')', rest) else {
        return false;
    };
    match rest.get(close + 1..) {
        Some([b'.', behind @ ..]) => {
            let name = behind
                .iter()
                .take_while(|byte| byte.is_ascii_alphanumeric())
                .count();
            behind.get(name) == Some(&b'(') || matches!(behind.get(name..), Some([b' ', b'=', ..]))
        }
        Some([b'[' | b'(', ..]) => true,
        _ => false,
    }
}

/// A line as documentation shows it: it begins with a command or a prompt of its own.
fn begins_as_command_line(value: &[u8]) -> bool {
    let line = value.trim_ascii_start();
    if matches!(
        line,
        [b'$' | b'#' | b'>' | b'%', b' ', ..] | [b'#', b'!', ..]
    ) {
        return true;
    }
    let word = read_word(value, 0);
    let argument = read_word(value, word.to);
    !word.disguised
        && !argument.text.is_empty()
        && (command::is_tool(&word.text) || Command::of(&word).is_some())
}

/// A value that is nothing but a command, and one that nobody types into a form.
fn whole_command(value: &[u8]) -> Option<Sighting> {
    let word = read_word(value, 0);
    let command = Command::of(&word)?;
    let (command, word) = command.behind_wrapper(value, word);
    match command.fit(value, &word) {
        Fit::Unmistakable(to) => Some(Sighting::new(
            "command in place of a value",
            0,
            to.min(value.len()),
        )),
        _ => None,
    }
}

/// Whether a word read behind another is one of options.
fn is_option(word: &Word) -> bool {
    word.text.first() == Some(&b'-') && word.text.len() > 1
}
