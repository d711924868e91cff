//! Splits SQL text into tokens, with Redshift's rules: backslash escapes in every string (so a quote may be written
//! `\'`; jOOQ issue 10628, sqlparser-rs pull request 1801), no `E''` strings, `#name` for temporary tables, quoted
//! identifiers folded to lower case unless the session asks otherwise.

use super::error::SqlError;

/// One token. Comments and white space are not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// An unquoted word, in lower case: a keyword or a name.
    Word(String),
    /// A name in double quotes, or a `#name`.
    Quoted(String),
    /// A string constant's value.
    Text(String),
    /// A numeric constant as written.
    Number(String),
    /// An operator or punctuation.
    Symbol(String),
    /// `:name`, a Data API parameter.
    Parameter(String),
    /// SQL for PostgreSQL that the rewriting has put in.
    Raw(String),
}

impl Token {
    pub(crate) fn symbol(text: &str) -> Self {
        Self::Symbol(text.to_owned())
    }

    pub(crate) fn word(text: &str) -> Self {
        Self::Word(text.to_owned())
    }

    pub(crate) fn is_word(&self, word: &str) -> bool {
        matches!(self, Self::Word(found) if found == word)
    }

    pub(crate) fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self, Self::Symbol(found) if found == symbol)
    }

    /// The token as an error message quotes it.
    pub(crate) fn near(&self) -> &str {
        match self {
            Self::Word(text)
            | Self::Quoted(text)
            | Self::Text(text)
            | Self::Number(text)
            | Self::Symbol(text)
            | Self::Parameter(text)
            | Self::Raw(text) => text,
        }
    }
}

/// How names and strings are read.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Reading {
    /// `enable_case_sensitive_identifier`: quoted names keep their case.
    pub(crate) case_sensitive: bool,
}

struct Scanner {
    characters: Vec<char>,
    position: usize,
    reading: Reading,
}

/// Splits `text` into tokens. A trailing semicolon stays a token.
pub(crate) fn tokenize(text: &str, reading: Reading) -> Result<Vec<Token>, SqlError> {
    let mut scanner = Scanner { characters: text.chars().collect(), position: 0, reading };
    let mut tokens = Vec::new();
    while let Some(token) = scanner.next_token()? {
        tokens.push(token);
    }
    Ok(tokens)
}

impl Scanner {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.characters.get(self.position + ahead).copied()
    }

    fn take_while(&mut self, keep: impl Fn(char) -> bool) -> String {
        let start = self.position;
        while self.peek(0).is_some_and(&keep) {
            self.position += 1;
        }
        self.characters[start..self.position].iter().collect()
    }

    fn skip_blank(&mut self) -> Result<(), SqlError> {
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some(character), _) if character.is_whitespace() => self.position += 1,
                (Some('-'), Some('-')) => {
                    self.take_while(|character| character != '\n');
                }
                (Some('/'), Some('*')) => self.skip_comment()?,
                _ => return Ok(()),
            }
        }
    }

    fn skip_comment(&mut self) -> Result<(), SqlError> {
        let mut depth = 0_usize;
        loop {
            match (self.peek(0), self.peek(1)) {
                (Some('/'), Some('*')) => {
                    depth += 1;
                    self.position += 2;
                }
                (Some('*'), Some('/')) => {
                    depth -= 1;
                    self.position += 2;
                    if depth == 0 {
                        return Ok(());
                    }
                }
                (Some(_), _) => self.position += 1,
                (None, _) => return Err(SqlError::new("42601", "unterminated /* comment")),
            }
        }
    }

    fn next_token(&mut self) -> Result<Option<Token>, SqlError> {
        self.skip_blank()?;
        let Some(character) = self.peek(0) else { return Ok(None) };
        let token = match character {
            '\'' => Token::Text(self.text()?),
            '"' => Token::Quoted(self.quoted()?),
            '$' if self.dollar_tag().is_some() => Token::Text(self.dollar_text()?),
            '#' if self.peek(1).is_some_and(starts_word) => {
                self.position += 1;
                let name = self.take_while(continues_word);
                Token::Quoted(format!("#{}", name.to_ascii_lowercase()))
            }
            ':' if self.peek(1) != Some(':') && self.peek(1).is_some_and(starts_word) => {
                self.position += 1;
                Token::Parameter(self.take_while(|character| character.is_ascii_alphanumeric() || character == '_'))
            }
            character if character.is_ascii_digit() || (character == '.' && self.peek(1).is_some_and(|next| next.is_ascii_digit())) => {
                Token::Number(self.number())
            }
            character if starts_word(character) => {
                let word = self.take_while(continues_word).to_ascii_lowercase();
                if word == "e" && self.peek(0) == Some('\'') {
                    return Err(SqlError::new("42704", "type \"e\" does not exist"));
                }
                Token::Word(word)
            }
            _ => Token::Symbol(self.operator()),
        };
        Ok(Some(token))
    }

    fn text(&mut self) -> Result<String, SqlError> {
        self.position += 1;
        let mut value = String::new();
        loop {
            let Some(character) = self.peek(0) else { return Err(SqlError::new("42601", "unterminated quoted string")) };
            self.position += 1;
            match character {
                '\'' if self.peek(0) == Some('\'') => {
                    self.position += 1;
                    value.push('\'');
                }
                '\'' => return Ok(value),
                '\\' => value.push(self.escape()?),
                other => value.push(other),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SqlError> {
        let Some(character) = self.peek(0) else { return Err(SqlError::new("42601", "unterminated quoted string")) };
        self.position += 1;
        Ok(match character {
            'n' => '\n',
            't' => '\t',
            'r' => '\r',
            'b' => '\u{8}',
            'f' => '\u{c}',
            other => other,
        })
    }

    fn quoted(&mut self) -> Result<String, SqlError> {
        self.position += 1;
        let mut name = String::new();
        loop {
            let Some(character) = self.peek(0) else { return Err(SqlError::new("42601", "unterminated quoted identifier")) };
            self.position += 1;
            match character {
                '"' if self.peek(0) == Some('"') => {
                    self.position += 1;
                    name.push('"');
                }
                '"' if name.is_empty() => return Err(SqlError::new("42601", "zero-length delimited identifier")),
                '"' if self.reading.case_sensitive => return Ok(name),
                '"' => return Ok(name.to_ascii_lowercase()),
                other => name.push(other),
            }
        }
    }

    /// The opening `$tag$` at the current place.
    fn dollar_tag(&self) -> Option<Vec<char>> {
        let rest = self.characters.get(self.position + 1..)?;
        let length = rest.iter().position(|character| *character == '$')?;
        let tag = rest.get(..length)?;
        let valid = tag.iter().all(|character| continues_word(*character)) && !tag.first().is_some_and(char::is_ascii_digit);
        valid.then(|| self.characters[self.position..self.position + length + 2].to_vec())
    }

    fn dollar_text(&mut self) -> Result<String, SqlError> {
        let tag = self.dollar_tag().unwrap_or_default();
        self.position += tag.len();
        let start = self.position;
        while self.position + tag.len() <= self.characters.len() {
            if self.characters[self.position..].starts_with(&tag) {
                let value = self.characters[start..self.position].iter().collect();
                self.position += tag.len();
                return Ok(value);
            }
            self.position += 1;
        }
        Err(SqlError::new("42601", "unterminated dollar-quoted string"))
    }

    fn number(&mut self) -> String {
        let mut number = self.take_while(|character| character.is_ascii_digit() || character == '.');
        let signed = matches!(self.peek(1), Some('+' | '-')) && self.peek(2).is_some_and(|digit| digit.is_ascii_digit());
        let plain = self.peek(1).is_some_and(|digit| digit.is_ascii_digit());
        if matches!(self.peek(0), Some('e' | 'E')) && (signed || plain) {
            number.push('e');
            self.position += 1;
            if signed && let Some(sign) = self.peek(0) {
                number.push(sign);
                self.position += 1;
            }
            number.push_str(&self.take_while(|character| character.is_ascii_digit()));
        }
        number
    }

    fn operator(&mut self) -> String {
        const PAIRS: [&str; 12] = ["::", "<=", ">=", "<>", "!=", "||", "!~", "~*", "~~", "->", "=>", ":="];
        let first = self.peek(0).unwrap_or_default();
        let two: String = [Some(first), self.peek(1)].into_iter().flatten().collect();
        if two == "!~" && self.peek(2) == Some('*') {
            self.position += 3;
            return "!~*".to_owned();
        }
        if PAIRS.contains(&two.as_str()) {
            self.position += 2;
            return two;
        }
        self.position += 1;
        first.to_string()
    }
}

fn starts_word(character: char) -> bool {
    character.is_ascii_alphabetic() || character == '_' || !character.is_ascii()
}

fn continues_word(character: char) -> bool {
    starts_word(character) || character.is_ascii_digit() || character == '$'
}

/// Splits tokens at semicolons; empty statements fall away.
pub(crate) fn split(tokens: &[Token]) -> Vec<&[Token]> {
    tokens.split(|token| token.is_symbol(";")).filter(|statement| !statement.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Token> {
        tokenize(text, Reading::default()).unwrap()
    }

    #[test]
    fn quoted_names_fold_to_lower_case_and_strings_do_not() {
        assert_eq!(
            read("SELECT \"Order Id\", 'Order'"),
            vec![Token::word("select"), Token::Quoted("order id".into()), Token::symbol(","), Token::Text("Order".into()),]
        );
        let kept = tokenize("\"Order\"", Reading { case_sensitive: true }).unwrap();
        assert_eq!(kept, vec![Token::Quoted("Order".into())]);
    }

    #[test]
    fn a_backslash_escapes_in_every_string() {
        assert_eq!(
            read(r"'l\'auto' 'a\\b' 'a''b' 'x\ny'"),
            vec![Token::Text("l'auto".into()), Token::Text(r"a\b".into()), Token::Text("a'b".into()), Token::Text("x\ny".into()),]
        );
        assert_eq!(tokenize("select E'x'", Reading::default()).unwrap_err().message, "type \"e\" does not exist");
    }

    #[test]
    fn comments_vanish_and_nest() {
        assert_eq!(read("/* load=1 /* step */ */ select -- all\n 1"), vec![Token::word("select"), Token::Number("1".into())]);
        assert!(tokenize("/* open", Reading::default()).is_err());
    }

    #[test]
    fn parameters_are_told_from_casts() {
        assert_eq!(read(":id::smallint"), vec![Token::Parameter("id".into()), Token::symbol("::"), Token::word("smallint")]);
    }

    #[test]
    fn semicolons_in_strings_do_not_split() {
        let tokens = read("select ';'; select $$;$$ ;");
        assert_eq!(split(&tokens).len(), 2);
    }

    #[test]
    fn hash_names_are_temporary_tables_names() {
        assert_eq!(read("#Stage"), vec![Token::Quoted("#stage".into())]);
    }

    #[test]
    fn numbers_with_exponents_stay_whole() {
        assert_eq!(
            read("1.5e-3 .5 2e"),
            vec![Token::Number("1.5e-3".into()), Token::Number(".5".into()), Token::Number("2".into()), Token::word("e")]
        );
    }
}
