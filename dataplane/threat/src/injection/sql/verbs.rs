//! Statements that stand where a value was expected.

use super::grammar::{Grammar, Nonsense, Read};
use super::signs::Sign;
use super::token::Token;
use super::word::{Verb, Word};

impl Grammar<'_> {
    /// `;` and the statement behind it.
    pub(super) fn stacked(&mut self) -> Read<()> {
        while self.accept(Token::Semicolon)? {}
        if self.ending().is_some() {
            return Ok(());
        }
        self.statement()
    }

    /// A statement that stands where a value was expected.
    pub(super) fn statement(&mut self) -> Read<()> {
        if self.is(Token::Word(Word::Select)) {
            let before = self.signs;
            let strength = self.deeper(Self::select)?;
            let telling = [Sign::Abuse, Sign::Catalog, Sign::Wanted];
            if strength.strong() || self.signs.gained(before, &telling) {
                self.signs.add(Sign::Stacked);
            }
            return Ok(());
        }
        if self.is(Token::Word(Word::End)) {
            return self.step();
        }
        let Some(Word::Begin(verb)) = self.word_ahead() else {
            return Err(Nonsense);
        };
        self.step()?;
        self.verb(verb)
    }

    fn verb(&mut self, verb: Verb) -> Read<()> {
        match verb {
            Verb::Drop | Verb::Create | Verb::Alter | Verb::Truncate => self.define(verb),
            Verb::Delete => {
                if !self.accept_word(Word::From)? {
                    return Err(Nonsense);
                }
                self.step_name()?;
                self.finish_statement(Sign::Stacked)
            }
            Verb::Insert | Verb::Replace => {
                if !self.accept_word(Word::Into)? {
                    return Err(Nonsense);
                }
                self.step_name()?;
                match self.ahead {
                    Token::Open | Token::Word(Word::Values | Word::Select) => {
                        self.rest(Sign::Stacked)
                    }
                    _ => Err(Nonsense),
                }
            }
            Verb::Update => {
                self.step_name()?;
                if self.word_ahead() != Some(Word::Begin(Verb::Set)) {
                    return Err(Nonsense);
                }
                self.step()?;
                self.step_name()?;
                if !self.is(Token::Compare) {
                    return Err(Nonsense);
                }
                self.rest(Sign::Stacked)
            }
            Verb::Execute | Verb::Call => self.execute(),
            Verb::Declare | Verb::Set => match self.ahead {
                Token::Variable { .. } => self.rest(Sign::Stacked),
                _ => Err(Nonsense),
            },
            Verb::Shutdown => match self.ahead {
                Token::End(_) | Token::Semicolon | Token::Word(Word::Begin(Verb::With)) => {
                    self.rest(Sign::Stacked)
                }
                _ => Err(Nonsense),
            },
            Verb::WaitFor => {
                self.step_name()?;
                match self.ahead {
                    Token::Text { .. } | Token::Variable { .. } => {
                        self.signs.add(Sign::Abuse);
                        self.rest(Sign::Stacked)
                    }
                    _ => Err(Nonsense),
                }
            }
            Verb::If => {
                self.logical(None)?;
                if self.ending().is_some() {
                    return Ok(());
                }
                self.deeper(Self::statement)
            }
            Verb::Copy | Verb::Load | Verb::Grant | Verb::Begin | Verb::Other => self.other(verb),
            Verb::Describe | Verb::Use => {
                self.step_name()?;
                self.finish_statement(Sign::Stacked)
            }
            Verb::With => Err(Nonsense),
        }
    }

    fn step_name(&mut self) -> Read<()> {
        match self.ahead {
            Token::Word(_) | Token::Variable { .. } => self.step(),
            _ => Err(Nonsense),
        }
    }

    /// `drop table name`
    fn define(&mut self, verb: Verb) -> Read<()> {
        let mut is_thing = false;
        for _ in 0..4 {
            let thing = self.tokens.bytes();
            if !matches!(self.ahead, Token::Word(_)) {
                break;
            }
            self.step()?;
            if super::is_kind_of_object(thing) {
                is_thing = true;
                break;
            }
        }
        if !is_thing && verb != Verb::Truncate {
            return Err(Nonsense);
        }
        while matches!(
            self.ahead,
            Token::Word(Word::Begin(Verb::If) | Word::Not | Word::Exists)
        ) {
            self.step()?;
        }
        if is_thing {
            self.step_name()?;
        }
        if verb == Verb::Drop || verb == Verb::Truncate {
            return self.finish_statement(Sign::Stacked);
        }
        self.rest(Sign::Stacked)
    }

    pub(super) fn execute(&mut self) -> Read<()> {
        let name = self.tokens.bytes();
        let telling = match self.ahead {
            Token::Open | Token::Variable { .. } | Token::Text { open: false } => true,
            Token::Word(Word::Abuse | Word::Catalog) => true,
            Token::Word(_) => super::is_stored_procedure(name),
            _ => return Err(Nonsense),
        };
        self.step()?;
        if telling || self.is(Token::Open) {
            return self.rest(Sign::Stacked);
        }
        Err(Nonsense)
    }

    /// Statements that are told by one of their next words.
    fn other(&mut self, verb: Verb) -> Read<()> {
        for _ in 0..6 {
            let word = self.tokens.bytes();
            if self.ending().is_some() {
                return Err(Nonsense);
            }
            self.step()?;
            let is_block = verb == Verb::Other && word.starts_with(b"$$");
            if is_block || super::is_telling(verb, word) {
                return self.rest(Sign::Stacked);
            }
        }
        Err(Nonsense)
    }

    /// The statement ends here, or goes on with a clause.
    fn finish_statement(&mut self, sign: Sign) -> Read<()> {
        match self.ahead {
            Token::End(_) | Token::Semicolon | Token::Comma => {}
            Token::Word(Word::Where | Word::Limit | Word::Order) => {}
            Token::Word(_) if super::is_drop_option(self.tokens.bytes()) => {}
            // A string may end it that the application's quote opens.
            Token::Text { open: true } => {}
            _ => return Err(Nonsense),
        }
        self.rest(sign)
    }

    /// What follows is passed; it makes no difference any more.
    fn rest(&mut self, sign: Sign) -> Read<()> {
        self.signs.add(sign);
        while self.ending().is_none() {
            if let Token::Word(Word::Abuse) = self.ahead {
                self.signs.add(Sign::Abuse);
            }
            self.step()?;
        }
        Ok(())
    }
}
