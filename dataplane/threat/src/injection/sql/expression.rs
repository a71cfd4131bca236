//! Expressions: operands, what joins them, calls and parentheses.

use super::grammar::{Grammar, Nonsense, Operand, Read};
use super::signs::Sign;
use super::token::Token;
use super::word::{Verb, Word};

impl Grammar<'_> {
    /// A boolean expression; the first operand may have been read.
    pub(super) fn logical(&mut self, first: Option<Operand>) -> Read<Operand> {
        let mut operand = self.comparison(first)?;
        while matches!(self.ahead, Token::Logical | Token::Word(Word::Logical)) {
            let joins = self.is(Token::Logical) && self.tokens.bytes() == b"||";
            self.step()?;
            self.signs
                .add(if joins { Sign::Joined } else { Sign::Logical });
            operand = self.comparison(None)?;
        }
        Ok(operand)
    }

    fn comparison(&mut self, first: Option<Operand>) -> Read<Operand> {
        let judged = first.is_none() && self.signs.any(&[Sign::Logical, Sign::Joined]);
        let mut negated = false;
        while first.is_none() && self.accept_word(Word::Not)? {
            negated = true;
        }
        let left_ahead = self.ahead;
        let left_bytes = self.tokens.bytes();
        let mut left = self.sum(first)?;
        let mut compared = false;
        loop {
            match self.ahead {
                Token::Compare => self.step()?,
                Token::Word(Word::Compare | Word::Not) => {
                    if self.accept_word(Word::Not)? && !self.is(Token::Word(Word::Compare)) {
                        return Err(Nonsense);
                    }
                    while matches!(
                        self.ahead,
                        Token::Word(Word::Compare | Word::Not | Word::All)
                    ) {
                        self.step()?;
                    }
                }
                _ => break,
            }
            // `is null` and `isnull` have their operand, or none.
            if self.ending().is_some() && compared {
                break;
            }
            compared = true;
            let right = self.sum(None)?;
            self.signs.add(Sign::Compared);
            if judged && left.is_literal() && right.is_literal() {
                self.signs.add(Sign::Tautology);
            }
            left = Operand::Result;
        }
        if judged && !compared {
            self.lone(left, left_ahead, left_bytes, negated);
        }
        Ok(left)
    }

    /// A condition that is a lone operand.
    fn lone(&mut self, operand: Operand, ahead: Token, bytes: &[u8], negated: bool) {
        match (operand, ahead) {
            (Operand::Number, Token::Number | Token::Word(Word::Constant)) => {
                self.signs.add(Sign::Constant);
            }
            (Operand::Text, Token::Text { .. })
                if bytes.get(1).is_some_and(u8::is_ascii_digit) && bytes.len() <= 4 =>
            {
                self.signs.add(Sign::Constant);
            }
            (Operand::Number, _) if negated => self.signs.add(Sign::Constant),
            _ => {}
        }
    }

    /// Operands with arithmetic between them.
    fn sum(&mut self, first: Option<Operand>) -> Read<Operand> {
        let mut left = match first {
            Some(first) => first,
            None => self.primary()?,
        };
        loop {
            match self.ahead {
                Token::Arithmetic | Token::Word(Word::Arithmetic) => {
                    self.step()?;
                    self.signs.add(Sign::Arithmetic);
                    let right = self.primary()?;
                    if !(left.is_literal() && right.is_literal()) {
                        left = Operand::Result;
                    }
                }
                Token::Cast => {
                    self.step()?;
                    self.step()?;
                }
                Token::Word(Word::Suffix) => {
                    self.step()?;
                    self.step()?;
                }
                _ => return Ok(left),
            }
        }
    }

    pub(super) fn primary(&mut self) -> Read<Operand> {
        while self.is(Token::Word(Word::Prefix))
            || (matches!(self.ahead, Token::Arithmetic | Token::Compare)
                && matches!(self.tokens.bytes(), b"+" | b"-" | b"!" | b"~"))
        {
            self.step()?;
        }
        match self.ahead {
            Token::Number | Token::Word(Word::Constant) => self.step().map(|()| Operand::Number),
            Token::Text { .. } => {
                // What separates the texts of a list is no literal.
                let text = self.tokens.bytes();
                let says = text.len() <= 2 || text.iter().any(u8::is_ascii_alphanumeric);
                // Literals that stand side by side are one.
                while let Token::Text { .. } = self.ahead {
                    self.step()?;
                }
                Ok(if says { Operand::Text } else { Operand::Result })
            }
            Token::Variable { system } => {
                self.signs
                    .add(if system { Sign::Asking } else { Sign::Named });
                self.step()?;
                Ok(if system {
                    Operand::Result
                } else {
                    Operand::Name
                })
            }
            Token::Open => self.deeper(Self::parenthesis),
            Token::OpenBrace => self.deeper(Self::braces),
            Token::Word(Word::Case) => self.deeper(Self::case),
            Token::Word(Word::Exists) => {
                self.step()?;
                if !self.is(Token::Open) {
                    return Err(Nonsense);
                }
                self.deeper(Self::parenthesis)
            }
            Token::Word(word) => self.named(word),
            _ => Err(Nonsense),
        }
    }

    /// `( … )`; what is missing at the end of the value, the application adds.
    fn parenthesis(&mut self) -> Read<Operand> {
        self.step()?;
        if self.is(Token::Word(Word::Select)) {
            self.subselect()?;
            while self.is(Token::Word(Word::Union)) {
                self.union()?;
            }
            self.close_or_end()?;
            return Ok(Operand::Result);
        }
        if self.accept(Token::Close)? {
            return Ok(Operand::Result);
        }
        let mut operand = self.logical(None)?;
        while self.accept(Token::Comma)? {
            let next = self.logical(None)?;
            operand = if next.is_literal() {
                operand
            } else {
                Operand::Result
            };
        }
        while self.is(Token::Word(Word::Union)) {
            self.union()?;
        }
        self.close_or_end()?;
        Ok(operand)
    }

    fn subselect(&mut self) -> Read<()> {
        let before = self.signs;
        let strength = self.deeper(Self::select)?;
        let strong = (strength.from && (strength.strong() || strength.clauses))
            || self.signs.gained(
                before,
                &[
                    Sign::Function,
                    Sign::Asking,
                    Sign::Abuse,
                    Sign::Catalog,
                    Sign::Wanted,
                ],
            );
        self.signs.add(if strong {
            Sign::Subselect
        } else {
            Sign::FaintSubselect
        });
        Ok(())
    }

    fn close_or_end(&mut self) -> Read<()> {
        match self.ahead {
            Token::Close => self.step(),
            Token::End(_) => Ok(()),
            _ => Err(Nonsense),
        }
    }

    /// ODBC's `{d '2001-01-01'}`, MySQL's `{a 1}`.
    fn braces(&mut self) -> Read<Operand> {
        self.step()?;
        if self.word_ahead().is_none() {
            return Err(Nonsense);
        }
        self.step()?;
        let operand = self.primary()?;
        if self.accept(Token::CloseBrace)? {
            return Ok(operand);
        }
        Err(Nonsense)
    }

    fn case(&mut self) -> Read<Operand> {
        self.step()?;
        if !self.is(Token::Word(Word::When)) {
            self.logical(None)?;
        }
        while self.accept_word(Word::When)? {
            self.logical(None)?;
            if !self.accept_word(Word::Then)? {
                return Err(Nonsense);
            }
            self.logical(None)?;
            self.signs.add(Sign::Case);
        }
        if self.accept_word(Word::Else)? {
            self.logical(None)?;
        }
        match self.ahead {
            Token::Word(Word::End) => self.step()?,
            Token::End(_) => {}
            _ => return Err(Nonsense),
        }
        Ok(Operand::Result)
    }

    /// A name, or a call.
    fn named(&mut self, word: Word) -> Read<Operand> {
        // Some of SQL's words are functions too.
        let word = match word {
            Word::Begin(Verb::If | Verb::Replace | Verb::Insert)
            | Word::Compare
            | Word::Arithmetic => Word::Function,
            Word::Begin(_) | Word::Name | Word::Wanted | Word::Catalog => word,
            word if word.is_function() => word,
            _ => return Err(Nonsense),
        };
        let bytes = self.tokens.bytes();
        self.step()?;
        if self.is(Token::Open) {
            match word {
                Word::Function => self.signs.add(Sign::Function),
                Word::Abuse => self.signs.add(Sign::Abuse),
                Word::Name | Word::Wanted => self.signs.add(Sign::Named),
                _ => {}
            }
            let asks = word == Word::Asking;
            return self.deeper(|grammar| grammar.arguments(asks, bytes.contains(&b'_')));
        }
        match word {
            Word::Asking if super::needs_no_call(bytes) => self.signs.add(Sign::Asking),
            Word::Catalog => self.signs.add(Sign::Catalog),
            Word::Wanted => {
                self.signs.add(Sign::Wanted);
                self.signs.add(Sign::Named);
            }
            Word::Begin(_) => return Err(Nonsense),
            _ => self.signs.add(Sign::Named),
        }
        Ok(Operand::Name)
    }

    /// The arguments of a call: with `from`, `as` and the like between them, as SQL's own have.
    fn arguments(&mut self, asks: bool, may_have_some: bool) -> Read<Operand> {
        self.step()?;
        // `version()` asks the server, `Version(package)` somebody else.
        if asks && (may_have_some || self.is(Token::Close)) {
            self.signs.add(Sign::Asking);
        }
        loop {
            match self.ahead {
                Token::Close => {
                    self.step()?;
                    return Ok(Operand::Result);
                }
                Token::End(_) => return Ok(Operand::Result),
                Token::Comma | Token::Compare | Token::Logical => self.step()?,
                Token::Arithmetic if self.tokens.bytes() == b"*" => self.step()?,
                Token::Word(Word::Select) => self.subselect()?,
                Token::Word(Word::Union) => self.union()?,
                Token::Word(
                    Word::As
                    | Word::From
                    | Word::All
                    | Word::Order
                    | Word::By
                    | Word::Compare
                    | Word::Limit
                    | Word::Join,
                ) => self.step()?,
                _ => {
                    self.logical(None)?;
                }
            }
        }
    }
}
