//! Tokens.

use super::ParseError;
use std::fmt;

/// One token, borrowing from the text where it can.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token<'a> {
    /// `[A-Za-z_][A-Za-z0-9_@]*`.
    Ident(&'a str),
    /// A number with its sign, `-inf` included.
    Number(&'a str),
    /// A string without quotes and escapes.
    Str(String),
    /// `->`.
    Arrow,
    /// One of `()[]{}<>,;=?`.
    Punct(char),
    /// End of the text.
    End,
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 40;
        match self {
            Token::Ident(s) | Token::Number(s) => write!(f, "`{:.SHOWN$}`", s),
            Token::Str(s) => write!(f, "the string {:.SHOWN$?}", s),
            Token::Arrow => f.write_str("`->`"),
            Token::Punct(c) => write!(f, "`{c}`"),
            Token::End => f.write_str("the end of the text"),
        }
    }
}

/// Reads tokens one by one; white space and `//` comments separate them.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0 }
    }

    /// The next token and the offset where it starts.
    pub(super) fn next(&mut self) -> Result<(usize, Token<'a>), ParseError> {
        self.skip_space();
        let start = self.at;
        let rest = &self.text[start..];
        let mut chars = rest.chars();
        let Some(first) = chars.next() else { return Ok((start, Token::End)) };
        let second = chars.next();
        let token = match first {
            '"' => self.string()?,
            '-' if second == Some('>') => {
                self.at += 2;
                Token::Arrow
            }
            '-' | '.' | '0'..='9' => self.number(rest),
            'A'..='Z' | 'a'..='z' | '_' => {
                let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '@'));
                let word = &rest[..end.unwrap_or(rest.len())];
                self.at += word.len();
                Token::Ident(word)
            }
            '(' | ')' | '[' | ']' | '{' | '}' | '<' | '>' | ',' | ';' | '=' | '?' => {
                self.at += 1;
                Token::Punct(first)
            }
            other => {
                return Err(error_at(
                    self.text,
                    start,
                    format!("the character {other:?} begins nothing in MIL text"),
                ));
            }
        };
        Ok((start, token))
    }

    /// The byte that comes next, white space skipped, without taking it.
    pub(super) fn peek(&mut self) -> Option<u8> {
        self.skip_space();
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_ascii_start();
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with("//") {
                return;
            }
            self.at += trimmed.find('\n').unwrap_or(trimmed.len());
        }
    }

    fn number(&mut self, rest: &'a str) -> Token<'a> {
        let hex = rest.trim_start_matches('-').starts_with("0x");
        let bytes = rest.as_bytes();
        let mut len = 1;
        while let Some(&b) = bytes.get(len) {
            let exponent = match bytes[len - 1] {
                b'p' | b'P' => true,
                b'e' | b'E' => !hex,
                _ => false,
            };
            if !(b.is_ascii_alphanumeric() || b == b'.' || (exponent && matches!(b, b'+' | b'-'))) {
                break;
            }
            len += 1;
        }
        self.at += len;
        Token::Number(&rest[..len])
    }

    fn string(&mut self) -> Result<Token<'a>, ParseError> {
        let start = self.at;
        let mut out = String::new();
        let mut chars = self.text[start..].char_indices().skip(1);
        while let Some((i, c)) = chars.next() {
            let fault = |message: String| Err(error_at(self.text, start + i, message));
            match c {
                '"' => {
                    self.at = start + i + 1;
                    return Ok(Token::Str(out));
                }
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('r') => out.push('\r'),
                    Some('t') => out.push('\t'),
                    Some('x') => {
                        let mut digit = || chars.next().and_then(|(_, c)| c.to_digit(16));
                        let code = digit().zip(digit()).and_then(|(a, b)| char::from_u32(a * 16 + b));
                        match code.filter(char::is_ascii) {
                            Some(c) => out.push(c),
                            None => return fault("expected two digits below 80 after `\\x`".into()),
                        }
                    }
                    Some(c @ ('"' | '\\' | '\'' | '/')) => out.push(c),
                    Some(c) => {
                        return fault(format!(
                            "unknown escape `\\{c}`; known are \\\" \\\\ \\n \\r \\t \\xNN"
                        ));
                    }
                    None => break,
                },
                c => out.push(c),
            }
        }
        Err(error_at(self.text, start, "this string has no closing quote".into()))
    }
}

/// An error at a byte offset.
pub(super) fn error_at(text: &str, offset: usize, message: String) -> ParseError {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    ParseError {
        line: before.bytes().filter(|&b| b == b'\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        message,
    }
}
