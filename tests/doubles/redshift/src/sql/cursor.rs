//! Walks over tokens, for the statements that are parsed rather than scanned.

use super::error::SqlError;
use super::name::{self, RelationName};
use super::token::Token;

/// A place in a statement's tokens.
#[derive(Debug, Clone)]
pub(crate) struct Cursor<'a> {
    tokens: &'a [Token],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(tokens: &'a [Token]) -> Self {
        Self { tokens, position: 0 }
    }

    pub(crate) fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.position)
    }

    pub(crate) fn peek_after(&self, ahead: usize) -> Option<&'a Token> {
        self.tokens.get(self.position + ahead)
    }

    pub(crate) fn at_end(&self) -> bool {
        self.position >= self.tokens.len()
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'a [Token] {
        self.tokens.get(self.position..).unwrap_or_default()
    }

    pub(crate) fn position(&self) -> usize {
        self.position
    }

    pub(crate) fn take(&mut self) -> Result<&'a Token, SqlError> {
        let token = self.peek().ok_or_else(SqlError::end_of_input)?;
        self.position += 1;
        Ok(token)
    }

    /// The error of meeting this token here.
    pub(crate) fn unexpected(&self) -> SqlError {
        self.peek().map_or_else(SqlError::end_of_input, |token| SqlError::syntax(token.near()))
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        self.peek().is_some_and(|token| token.is_word(word))
    }

    pub(crate) fn is_symbol(&self, symbol: &str) -> bool {
        self.peek().is_some_and(|token| token.is_symbol(symbol))
    }

    /// Whether these words stand here, one after the other.
    pub(crate) fn is_words(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(ahead, word)| self.peek_after(ahead).is_some_and(|token| token.is_word(word)))
    }

    /// Reads the words if they all stand here.
    pub(crate) fn accept(&mut self, words: &[&str]) -> bool {
        let found = self.is_words(words);
        if found {
            self.position += words.len();
        }
        found
    }

    pub(crate) fn accept_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        if found {
            self.position += 1;
        }
        found
    }

    pub(crate) fn expect(&mut self, words: &[&str]) -> Result<(), SqlError> {
        for word in words {
            if !self.accept(&[word]) {
                return Err(self.unexpected());
            }
        }
        Ok(())
    }

    pub(crate) fn expect_symbol(&mut self, symbol: &str) -> Result<(), SqlError> {
        if self.accept_symbol(symbol) { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(crate) fn expect_end(&self) -> Result<(), SqlError> {
        if self.at_end() { Ok(()) } else { Err(self.unexpected()) }
    }

    pub(crate) fn text(&mut self) -> Result<String, SqlError> {
        match self.peek() {
            Some(Token::Text(value)) => {
                self.position += 1;
                Ok(value.clone())
            }
            _ => Err(self.unexpected()),
        }
    }

    pub(crate) fn number(&mut self) -> Result<i64, SqlError> {
        let negative = self.accept_symbol("-");
        match self.peek() {
            Some(Token::Number(digits)) => {
                let value: i64 = digits.parse().map_err(|_| self.unexpected())?;
                self.position += 1;
                Ok(if negative { -value } else { value })
            }
            _ => Err(self.unexpected()),
        }
    }

    pub(crate) fn name(&mut self) -> Result<String, SqlError> {
        name::given(self.take()?)
    }

    /// `[database.][schema.]name`.
    pub(crate) fn relation(&mut self) -> Result<RelationName, SqlError> {
        let mut parts = vec![self.name()?];
        while self.is_symbol(".") && parts.len() < 3 {
            self.position += 1;
            parts.push(self.name()?);
        }
        let name = parts.pop().ok_or_else(SqlError::end_of_input)?;
        Ok(RelationName { schema: parts.pop(), name })
    }

    /// The tokens between a parenthesis that opens here and the one that closes it.
    pub(crate) fn group(&mut self) -> Result<&'a [Token], SqlError> {
        if !self.is_symbol("(") {
            return Err(self.unexpected());
        }
        let length = closing(self.rest()).ok_or_else(SqlError::end_of_input)?;
        let inside = self.tokens.get(self.position + 1..self.position + length).unwrap_or_default();
        self.position += length + 1;
        Ok(inside)
    }

    /// Everything up to the first of `words` outside parentheses, or the end.
    pub(crate) fn until(&mut self, words: &[&str]) -> Result<&'a [Token], SqlError> {
        let start = self.position;
        while let Some(token) = self.peek() {
            if words.iter().any(|word| token.is_word(word)) {
                break;
            }
            if token.is_symbol("(") {
                self.group()?;
            } else {
                self.position += 1;
            }
        }
        Ok(self.tokens.get(start..self.position).unwrap_or_default())
    }
}

/// The index of the parenthesis that closes the one at index 0.
pub(crate) fn closing(tokens: &[Token]) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate() {
        if token.is_symbol("(") {
            depth += 1;
        } else if token.is_symbol(")") {
            depth = depth.checked_sub(1)?;
            if depth == 0 {
                return Some(index);
            }
        }
    }
    None
}

/// Splits at the commas outside parentheses.
pub(crate) fn list(tokens: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0_usize;
    tokens
        .split(|token| {
            if token.is_symbol("(") {
                depth += 1;
            } else if token.is_symbol(")") {
                depth = depth.saturating_sub(1);
            }
            depth == 0 && token.is_symbol(",")
        })
        .collect()
}

/// A parenthesised list of column names.
pub(crate) fn names(group: &[Token]) -> Result<Vec<String>, SqlError> {
    list(group)
        .into_iter()
        .map(|item| {
            let mut cursor = Cursor::new(item);
            let name = cursor.name()?;
            cursor.expect_end()?;
            Ok(name)
        })
        .collect()
}
