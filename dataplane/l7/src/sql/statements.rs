//! The statements found at the front of a text, and the names in them.

use arrayvec::ArrayVec;

use super::{Found, Kind, Scanner, is_word};

/// Names told of one statement.
const TABLES_MAX: usize = 8;

/// What a scan of a text's front found.
#[derive(Default)]
pub(crate) struct Statements {
    found: ArrayVec<Found, 32>,
    overflowed: bool,
}

impl Statements {
    /// Scans `text`; `whole`: nothing follows.
    pub(crate) fn read(scanner: &mut Scanner, text: &[u8], whole: bool) -> Self {
        let mut statements = Self::default();
        let mut keep = |item| statements.overflowed |= statements.found.try_push(item).is_err();
        scanner.feed(text, &mut keep);
        if whole {
            scanner.finish(&mut keep);
        }
        statements
    }

    /// Calls `tell` for each statement with the tables named in it; a text with more than are
    /// kept ends with one of the kind OTHER. Returns the first kind.
    pub(crate) fn each(&self, text: &[u8], tell: &mut dyn FnMut(Kind, &[&[u8]])) -> Option<Kind> {
        let mut first = None;
        for (place, item) in self.found.iter().enumerate() {
            let Found::Statement(kind) = item else {
                continue;
            };
            first = first.or(Some(*kind));
            let behind = self.found.get(place + 1..).unwrap_or_default().iter();
            let tables: ArrayVec<&[u8], TABLES_MAX> = behind
                .map_while(|item| match item {
                    Found::Table(at) => Some(*at),
                    Found::Statement(_) => None,
                })
                .filter_map(|at| table(text.get(usize::try_from(at).ok()?..)?))
                .take(TABLES_MAX)
                .collect();
            tell(*kind, &tables);
        }
        if self.overflowed {
            tell(Kind::OTHER, &[]);
        }
        first
    }
}

/// The table's name, behind `IF NOT EXISTS` and `ONLY`, unless a keyword stands in its place
/// (`INTO TABLE t` names it later).
fn table(mut text: &[u8]) -> Option<&[u8]> {
    let is =
        |name: &[u8], words: &[&[u8]]| words.iter().any(|word| name.eq_ignore_ascii_case(word));
    for _ in 0..4 {
        let name = identifier(text)?;
        if !is(name, &[b"IF", b"NOT", b"EXISTS", b"ONLY"]) {
            return (!is(name, &[b"TABLE", b"LATERAL", b"STDIN"])).then_some(name);
        }
        text = text.trim_ascii_start().get(name.len()..)?;
    }
    None
}

/// The identifier at the front of `text` after blanks: `photo`, `shop.photo`, `` `shop`.`photo` ``.
pub(crate) fn identifier(text: &[u8]) -> Option<&[u8]> {
    let start = text.iter().position(|byte| !byte.is_ascii_whitespace())?;
    let text = text.get(start..)?;
    let mut end = 0;
    let mut quote = None;
    let mut before = 0;
    for &byte in text.iter().take(200) {
        match quote {
            Some(mark) if byte == mark => quote = None,
            Some(_) => {}
            None if matches!(byte, b'"' | b'`') => quote = Some(byte),
            None if byte == b'[' && matches!(before, 0 | b'.') => quote = Some(b']'),
            None if byte == b'.' && end > 0 => {}
            None if is_word(byte) && !(end == 0 && byte.is_ascii_digit()) => {}
            None => break,
        }
        end += 1;
        before = byte;
    }
    (end > 0 && quote.is_none())
        .then(|| text.get(..end))
        .flatten()
}
