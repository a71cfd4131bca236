//! Reads what follows a break-out as SQL, and notes what is telling on the way.
//!
//! A parser of expressions and statements that keeps no tree: it goes on as long as the tokens make
//! sense and collects [`Signs`]. Prose ends it at its second word. Bounds: [`MAX_TOKENS`] tokens,
//! [`MAX_DEPTH`] parentheses.

use super::signs::{Sign, Signs};
use super::token::{Ending, Token, Tokens};
use super::word::{Verb, Word};

const MAX_TOKENS: u16 = 512;
const MAX_DEPTH: u8 = 24;

/// What an operand is, as far as judging it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operand {
    /// A literal number or a constant such as `true`; whether it is zero, `null` or `false`.
    Number,
    Text,
    Name,
    /// The result of something: a call, a subselect.
    Result,
}

impl Operand {
    pub(super) fn is_literal(self) -> bool {
        matches!(self, Self::Number | Self::Text)
    }
}

/// The sequence makes no sense as SQL from here on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Nonsense;

/// What reading gives.
pub(super) type Read<T> = Result<T, Nonsense>;

/// The parser: one token ahead.
pub(super) struct Grammar<'a> {
    pub(super) tokens: Tokens<'a>,
    pub(super) ahead: Token,
    pub(super) signs: Signs,
    left: u16,
    depth: u8,
}

impl<'a> Grammar<'a> {
    /// Reads `value` from `at` on.
    pub(super) fn new(value: &'a [u8], at: usize) -> Self {
        let mut tokens = Tokens::new(value, at);
        let ahead = tokens.next();
        Self {
            tokens,
            ahead,
            signs: Signs::default(),
            left: MAX_TOKENS,
            depth: 0,
        }
    }

    /// How far was read.
    pub(super) fn at(&self) -> usize {
        self.tokens.at()
    }

    /// Whether comments were passed.
    pub(super) fn had_comments(&self) -> bool {
        self.tokens.comments > 0
    }

    /// Where the token ahead begins.
    pub(super) fn from(&self) -> usize {
        self.tokens.from()
    }

    pub(super) fn word_ahead(&self) -> Option<Word> {
        match self.ahead {
            Token::Word(word) => Some(word),
            _ => None,
        }
    }

    pub(super) fn ending(&self) -> Option<Ending> {
        match self.ahead {
            Token::End(ending) => Some(ending),
            _ => None,
        }
    }

    pub(super) fn step(&mut self) -> Read<()> {
        self.left = self.left.checked_sub(1).ok_or(Nonsense)?;
        self.ahead = self.tokens.next();
        Ok(())
    }

    pub(super) fn is(&self, token: Token) -> bool {
        self.ahead == token
    }

    pub(super) fn accept(&mut self, token: Token) -> Read<bool> {
        let is = self.is(token);
        if is {
            self.step()?;
        }
        Ok(is)
    }

    pub(super) fn accept_word(&mut self, word: Word) -> Read<bool> {
        self.accept(Token::Word(word))
    }

    pub(super) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        if self.depth == MAX_DEPTH {
            return Err(Nonsense);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// What may follow an operand of the application's: operators, closing parentheses, clauses.
    pub(super) fn continuation(&mut self, first: Option<Operand>) -> Read<()> {
        if let Some(first) = first {
            self.logical(Some(first))?;
        }
        loop {
            match self.ahead {
                Token::End(_) => return Ok(()),
                Token::Close => self.close()?,
                Token::Logical | Token::Word(Word::Logical) => {
                    self.logical(Some(Operand::Name))?;
                }
                Token::Semicolon => self.stacked()?,
                Token::Comma => {
                    self.step()?;
                    self.list(false)?;
                }
                // A column to order by, and the next.
                Token::Word(Word::Begin(Verb::Describe)) => {
                    self.step()?;
                    if !self.is(Token::Comma) && self.ending().is_none() {
                        return Err(Nonsense);
                    }
                }
                Token::Word(word) => self.clause(word)?,
                _ => return Err(Nonsense),
            }
        }
    }

    /// Closes what the application opened; the operand goes on behind it.
    fn close(&mut self) -> Read<()> {
        while self.accept(Token::Close)? {}
        if self.is(Token::Word(Word::As)) {
            self.alias()?;
        }
        self.logical(Some(Operand::Name)).map(|_| ())
    }

    fn clause(&mut self, word: Word) -> Read<()> {
        match word {
            Word::Union => self.union(),
            Word::Order | Word::Group => {
                self.step()?;
                if !self.accept_word(Word::By)? {
                    return Err(Nonsense);
                }
                self.signs.add(Sign::Order);
                self.list(false).map(|_| ())
            }
            Word::Having | Word::Where => {
                self.step()?;
                let before = self.signs;
                self.signs.remove(Sign::Compared);
                self.logical(None)?;
                if self.signs.has(Sign::Compared) {
                    self.signs.add(Sign::Clause);
                }
                self.signs = self.signs.and_all(before);
                Ok(())
            }
            Word::Limit => {
                self.step()?;
                if !matches!(
                    self.ahead,
                    Token::Number | Token::Open | Token::Variable { .. }
                ) {
                    return Err(Nonsense);
                }
                self.signs.add(Sign::Order);
                self.list(false).map(|_| ())
            }
            Word::Into => self.outfile(),
            Word::Procedure => {
                self.step()?;
                if self.primary()? != Operand::Result {
                    return Err(Nonsense);
                }
                self.signs.add(Sign::Order);
                Ok(())
            }
            // SQL Server needs no semicolon.
            Word::Begin(Verb::If | Verb::WaitFor | Verb::Declare) => self.statement(),
            Word::Begin(Verb::Execute) => {
                self.step()?;
                match self.ahead {
                    Token::Word(word)
                        if word == Word::Abuse
                            || super::is_stored_procedure(self.tokens.bytes()) =>
                    {
                        self.execute()
                    }
                    _ => Err(Nonsense),
                }
            }
            _ => Err(Nonsense),
        }
    }

    fn outfile(&mut self) -> Read<()> {
        self.step()?;
        if let Token::Variable { .. } = self.ahead {
            return self.step();
        }
        if !super::is_file_word(self.tokens.bytes()) {
            return Err(Nonsense);
        }
        self.step()?;
        if let Token::Text { .. } | Token::Number = self.ahead {
            self.signs.add(Sign::File);
            return self.step();
        }
        Err(Nonsense)
    }

    /// `union all select …`, also `union (select …)`.
    pub(super) fn union(&mut self) -> Read<()> {
        self.step()?;
        let all = self.accept_word(Word::All)?;
        let mut parentheses = 0u8;
        while self.accept(Token::Open)? {
            parentheses = parentheses.saturating_add(1);
        }
        let read = if self.is(Token::Word(Word::Values)) {
            self.step()?;
            self.signs.add(Sign::Union);
            self.list(false).map(|_| ())
        } else if self.is(Token::Word(Word::Select)) {
            let before = self.signs;
            let strength = self.deeper(Self::select)?;
            let strong = strength.strong()
                || (strength.named && (all || parentheses > 0))
                || self
                    .signs
                    .gained(before, &[Sign::Abuse, Sign::Catalog, Sign::Wanted]);
            self.signs.add(if strong {
                Sign::Union
            } else {
                Sign::FaintUnion
            });
            Ok(())
        } else {
            Err(Nonsense)
        };
        for _ in 0..parentheses {
            self.accept(Token::Close)?;
        }
        read
    }

    /// `select` and what belongs to it.
    pub(super) fn select(&mut self) -> Read<Strength> {
        self.step()?;
        while self.accept_word(Word::All)? {
            // `top 1`
            if self.is(Token::Number) {
                self.step()?;
            }
        }
        let mut strength = self.list(true)?;
        if self.is(Token::Word(Word::Into)) {
            self.outfile()?;
        }
        if self.accept_word(Word::From)? {
            self.tables(&mut strength)?;
        }
        loop {
            match self.ahead {
                Token::Word(Word::Where | Word::Having) => {
                    self.step()?;
                    self.logical(None)?;
                    strength.clauses = true;
                }
                Token::Word(
                    word @ (Word::Group | Word::Order | Word::Limit | Word::Procedure | Word::Into),
                ) => {
                    self.clause(word)?;
                    strength.clauses = true;
                }
                Token::Word(Word::Union) => self.union()?,
                _ => return Ok(strength),
            }
        }
    }

    /// What `from` names.
    fn tables(&mut self, strength: &mut Strength) -> Read<()> {
        loop {
            match self.ahead {
                Token::Open => {
                    self.primary()?;
                }
                Token::Word(Word::Catalog) => {
                    self.signs.add(Sign::Catalog);
                    strength.telling = true;
                    self.step()?;
                }
                Token::Word(Word::Wanted) => {
                    self.signs.add(Sign::Wanted);
                    self.step()?;
                }
                Token::Word(_) | Token::Variable { .. } => {
                    self.primary()?;
                }
                _ => return Err(Nonsense),
            }
            strength.from = true;
            self.alias()?;
            while self.accept_word(Word::Join)? {
                if self.is(Token::Open) {
                    self.primary()?;
                }
            }
            if let Token::Compare = self.ahead {
                self.logical(Some(Operand::Name))?;
            }
            match self.ahead {
                Token::Comma => self.step()?,
                Token::Word(Word::Name | Word::Catalog | Word::Wanted) => {}
                Token::Open => {}
                _ => return Ok(()),
            }
        }
    }

    /// `as name`, or just a name.
    fn alias(&mut self) -> Read<()> {
        let named = self.accept_word(Word::As)?;
        match self.ahead {
            Token::Word(Word::Name | Word::Wanted) | Token::Text { open: false } => self.step(),
            _ if named => Err(Nonsense),
            _ => Ok(()),
        }
    }

    /// Expressions with commas between them.
    fn list(&mut self, of_select: bool) -> Read<Strength> {
        let mut strength = Strength::default();
        loop {
            if of_select && self.is(Token::Arithmetic) && self.tokens.bytes() == b"*" {
                self.step()?;
                strength.telling = true;
            } else {
                strength.weigh(self.ahead);
                let before = self.signs;
                let runs_out = self.is(Token::Text { open: true });
                let operand = self.logical(None)?;
                strength.telling |= operand != Operand::Name && !runs_out;
                strength.telling |= self
                    .signs
                    .gained(before, &[Sign::Function, Sign::Asking, Sign::Abuse]);
            }
            strength.items = strength.items.saturating_add(1);
            // A number is given another name only by prose: "select 2 members".
            if !(strength.items == 1 && strength.is_number) || self.is(Token::Word(Word::As)) {
                self.alias()?;
            }
            if !of_select && let Token::Word(Word::Begin(Verb::Describe)) = self.ahead {
                self.step()?;
            }
            if !self.accept(Token::Comma)? {
                return Ok(strength);
            }
        }
    }
}

/// How much a list of columns looks like one.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strength {
    items: u16,
    /// A number, text, function, variable or star is in it.
    telling: bool,
    named: bool,
    pub(super) from: bool,
    pub(super) clauses: bool,
    is_number: bool,
}

impl Strength {
    fn weigh(&mut self, ahead: Token) {
        self.is_number = ahead == Token::Number;
        match ahead {
            Token::Word(Word::Catalog | Word::Constant) | Token::Variable { .. } => {
                self.telling = true
            }
            Token::Word(Word::Name | Word::Wanted) => self.named = true,
            _ => {}
        }
    }

    pub(super) fn strong(&self) -> bool {
        self.telling || (self.items > 1 && self.from) || (self.from && self.clauses)
    }
}
