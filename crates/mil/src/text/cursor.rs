//! The parser's place in the text.

use super::lex::{Lexer, Token, error_at};
use super::{MAX_DEPTH, ParseError, Resolver};
use crate::Name;

pub(super) type Result<T, E = ParseError> = std::result::Result<T, E>;

pub(super) struct Parser<'a, 'r> {
    pub(super) text: &'a str,
    pub(super) lexer: Lexer<'a>,
    /// The token to be taken next, and where it starts.
    pub(super) token: Token<'a>,
    pub(super) at: usize,
    pub(super) depth: usize,
    pub(super) resolver: &'r Resolver<'r>,
}

impl<'a> Parser<'a, '_> {
    pub(super) fn advance(&mut self) -> Result<()> {
        (self.at, self.token) = self.lexer.next()?;
        Ok(())
    }

    pub(super) fn eat(&mut self, c: char) -> Result<bool> {
        let found = self.token == Token::Punct(c);
        if found {
            self.advance()?;
        }
        Ok(found)
    }

    pub(super) fn punct(&mut self, c: char) -> Result<()> {
        if self.eat(c)? { Ok(()) } else { self.expected(&format!("`{c}`")) }
    }

    /// A comma, unless at the first item.
    pub(super) fn separator(&mut self, first: bool) -> Result<()> {
        if first { Ok(()) } else { self.punct(',') }
    }

    pub(super) fn word(&mut self, word: &str) -> Result<()> {
        if self.token != Token::Ident(word) {
            return self.expected(&format!("`{word}`"));
        }
        self.advance()
    }

    pub(super) fn ident(&mut self, what: &str) -> Result<Name> {
        let Token::Ident(word) = self.token else { return self.expected(what) };
        self.advance()?;
        Ok(word.into())
    }

    /// One level deeper; the caller steps back out.
    pub(super) fn enter(&mut self, what: &str) -> Result<()> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return self.fail(self.at, format!("{what} are nested deeper than {MAX_DEPTH}"));
        }
        Ok(())
    }

    pub(super) fn expected<T>(&self, what: &str) -> Result<T> {
        self.fail(self.at, format!("expected {what}, found {}", self.token))
    }

    pub(super) fn fail<T>(&self, at: usize, message: String) -> Result<T> {
        Err(error_at(self.text, at, message))
    }
}
