//! COPY's grammar, as far as Parquet goes: which options there are, and the refusals of the rest.

use crate::sql::cursor::{Cursor, names};
use crate::sql::error::SqlError;
use crate::sql::name::RelationName;
use crate::sql::token::Token;

/// An object, or the beginning of objects' keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) bucket: String,
    pub(crate) key: String,
}

impl Location {
    /// Reads `s3://bucket/key`.
    pub(crate) fn parse(url: &str) -> Option<Self> {
        let (bucket, key) = url.strip_prefix("s3://")?.split_once('/')?;
        (!bucket.is_empty() && !key.is_empty()).then(|| Self { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

/// Whose rights the load uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// The cluster's default role.
    Default,
    /// One role, or several chained.
    Arns(Vec<String>),
}

/// `COPY … FORMAT AS PARQUET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopyCommand {
    pub(crate) table: RelationName,
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) source: Location,
    pub(crate) role: Role,
    pub(crate) manifest: bool,
    pub(crate) fill_record: bool,
    /// What replaces invalid UTF-8.
    pub(crate) accept_invalid: Option<char>,
    pub(crate) explicit_ids: bool,
    pub(crate) serialize_to_json: bool,
    pub(crate) statistics: Option<bool>,
}

/// Options of COPY that columnar formats do not have. Developer guide, "COPY from columnar data formats" and "COPY parameter reference".
const NOT_COLUMNAR: &str = " region maxerror acceptanydate ignoreallerrors truncatecolumns compupdate noload dateformat timeformat delimiter gzip bzip2 lzop zstd \
escape null ignoreheader blanksasnull emptyasnull removequotes trimblanks roundec fixedwidth encoding ignoreblanklines quote comprows encrypted \
master_symmetric_key kms_key_id readratio ssh access_key_id secret_access_key session_token filltarget ";
const OTHER_FORMATS: [&str; 6] = ["csv", "json", "avro", "orc", "shapefile", "delimiter"];

impl CopyCommand {
    /// Reads the command, after `COPY`.
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, SqlError> {
        let table = cursor.relation()?;
        let columns = if cursor.is_symbol("(") { Some(names(cursor.group()?)?) } else { None };
        cursor.expect(&["from"])?;
        if cursor.is_word("stdin") {
            return Err(SqlError::unsupported("COPY from STDIN is not supported"));
        }
        let url = cursor.text()?;
        let Some(source) = Location::parse(&url) else {
            return Err(SqlError::new("22023", "Invalid S3 URI: a COPY source is written s3://bucket/key"));
        };
        let options = Options::parse(cursor)?;
        if !options.parquet {
            return Err(SqlError::beyond_double("COPY of other formats than Parquet"));
        }
        if let Some(refused) = options.refused {
            return Err(SqlError::unsupported(format!("{} argument is not supported for PARQUET based COPY", refused.to_uppercase())));
        }
        let Some(role) = options.role else {
            return Err(SqlError::new("22023", "COPY needs an IAM_ROLE: no credentials were supplied"));
        };
        Ok(Self {
            table,
            columns,
            source,
            role,
            manifest: options.manifest,
            fill_record: options.fill_record,
            accept_invalid: options.accept_invalid,
            explicit_ids: options.explicit_ids,
            serialize_to_json: options.serialize_to_json,
            statistics: options.statistics,
        })
    }
}

#[derive(Default)]
struct Options {
    parquet: bool,
    role: Option<Role>,
    manifest: bool,
    fill_record: bool,
    accept_invalid: Option<char>,
    explicit_ids: bool,
    serialize_to_json: bool,
    statistics: Option<bool>,
    refused: Option<String>,
}

impl Options {
    fn parse(cursor: &mut Cursor<'_>) -> Result<Self, SqlError> {
        let mut options = Self::default();
        let mut seen: Vec<&str> = Vec::new();
        while let Some(token) = cursor.peek() {
            let Token::Word(word) = token else { return Err(cursor.unexpected()) };
            cursor.take()?;
            if seen.contains(&word.as_str()) {
                return Err(SqlError::new("42601", format!("conflicting or redundant options: {}", word.to_uppercase())));
            }
            seen.push(word);
            options.read(word, cursor)?;
        }
        Ok(options)
    }

    fn read(&mut self, word: &str, cursor: &mut Cursor<'_>) -> Result<(), SqlError> {
        match word {
            "with" => {}
            "iam_role" => self.role = Some(role(cursor)?),
            "credentials" => {
                cursor.accept(&["as"]);
                self.role = Some(credentials(&cursor.text()?)?);
            }
            "format" => {
                cursor.accept(&["as"]);
                self.format(cursor)?;
            }
            "parquet" => self.parquet = true,
            "manifest" => self.manifest = true,
            "fillrecord" => self.fill_record = true,
            "explicit_ids" => self.explicit_ids = true,
            "serializetojson" => self.serialize_to_json = true,
            "statupdate" => self.statistics = Some(switch(cursor)),
            "acceptinvchars" => {
                cursor.accept(&["as"]);
                let text = if matches!(cursor.peek(), Some(Token::Text(_))) { cursor.text()? } else { "?".to_owned() };
                self.accept_invalid = Some(single_ascii(&text)?);
            }
            other if NOT_COLUMNAR.contains(&format!(" {other} ")) => {
                skip_arguments(cursor);
                self.refused.get_or_insert_with(|| other.to_owned());
            }
            other if OTHER_FORMATS.contains(&other) => return Err(SqlError::beyond_double(&format!("COPY of {}", other.to_uppercase()))),
            other => return Err(SqlError::syntax(other)),
        }
        Ok(())
    }

    fn format(&mut self, cursor: &mut Cursor<'_>) -> Result<(), SqlError> {
        let format = cursor.take()?.near().to_owned();
        if format != "parquet" {
            return Err(if OTHER_FORMATS.contains(&format.as_str()) {
                SqlError::beyond_double(&format!("COPY of {}", format.to_uppercase()))
            } else {
                SqlError::syntax(&format)
            });
        }
        self.parquet = true;
        Ok(())
    }
}

fn switch(cursor: &mut Cursor<'_>) -> bool {
    let off = cursor.accept(&["off"]) || cursor.accept(&["false"]);
    if !off && !cursor.accept(&["on"]) {
        cursor.accept(&["true"]);
    }
    !off
}

fn single_ascii(text: &str) -> Result<char, SqlError> {
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(character), None) if character.is_ascii() && character != '\0' => Ok(character),
        _ => Err(SqlError::new("22023", "ACCEPTINVCHARS takes one ASCII character")),
    }
}

/// An option's own arguments: `AS`, constants, ON, OFF, PRESET.
fn skip_arguments(cursor: &mut Cursor<'_>) {
    while match cursor.peek() {
        Some(Token::Text(_) | Token::Number(_)) => true,
        Some(Token::Word(word)) => ["as", "on", "off", "preset", "true", "false", "auto"].contains(&word.as_str()),
        _ => false,
    } {
        if cursor.take().is_err() {
            break;
        }
    }
}

fn role(cursor: &mut Cursor<'_>) -> Result<Role, SqlError> {
    cursor.accept(&["as"]);
    if cursor.accept(&["default"]) {
        return Ok(Role::Default);
    }
    arns(&cursor.text()?)
}

fn credentials(text: &str) -> Result<Role, SqlError> {
    match text.strip_prefix("aws_iam_role=") {
        Some(arn) => arns(arn),
        None => Err(SqlError::unsupported("ACCESS_KEY_ID and SECRET_ACCESS_KEY are not supported for PARQUET based COPY")),
    }
}

fn arns(text: &str) -> Result<Role, SqlError> {
    let arns: Vec<String> = text.split(',').map(str::to_owned).collect();
    if arns.iter().all(|arn| is_role(arn)) {
        Ok(Role::Arns(arns))
    } else {
        Err(SqlError::new("22023", "Invalid IAM_ROLE: a role is written arn:aws:iam::account:role/name"))
    }
}

/// `arn:partition:iam::twelve digits:role/name`.
fn is_role(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    let [start, partition, service, region, account, resource] = parts.as_slice() else { return false };
    let name = resource.strip_prefix("role/").unwrap_or_default();
    *start == "arn"
        && ["aws", "aws-cn", "aws-us-gov"].contains(partition)
        && *service == "iam"
        && region.is_empty()
        && account.len() == 12
        && account.chars().all(|digit| digit.is_ascii_digit())
        && !name.is_empty()
        && !name.contains(char::is_whitespace)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::token::{Reading, tokenize};

    fn parsed(text: &str) -> Result<CopyCommand, SqlError> {
        let tokens = tokenize(text, Reading::default()).unwrap();
        let mut cursor = Cursor::new(&tokens);
        cursor.expect(&["copy"])?;
        CopyCommand::parse(&mut cursor)
    }

    const ROLE: &str = "iam_role 'arn:aws:iam::111122223333:role/load'";

    #[test]
    fn the_documented_form_passes() {
        let command = parsed(&format!("copy mart.t (a, \"B\") from 's3://lake/run=1/load.manifest' {ROLE} format as parquet manifest fillrecord statupdate off acceptinvchars '^'")).unwrap();
        assert_eq!(command.columns.unwrap(), ["a", "b"]);
        assert_eq!(command.source, Location { bucket: "lake".into(), key: "run=1/load.manifest".into() });
        assert!(command.manifest && command.fill_record);
        assert_eq!(command.statistics, Some(false));
        assert_eq!(command.accept_invalid, Some('^'));
        assert!(parsed(&format!("copy t from 's3://lake/p' {ROLE} format parquet serializetojson")).unwrap().serialize_to_json);
        assert_eq!(parsed("copy t from 's3://lake/p' iam_role default format as parquet").unwrap().role, Role::Default);
    }

    #[test]
    fn other_options_are_refused_in_redshifts_words() {
        for (option, name) in [
            ("region 'eu-west-1'", "REGION"),
            ("truncatecolumns", "TRUNCATECOLUMNS"),
            ("maxerror 10", "MAXERROR"),
            ("compupdate off", "COMPUPDATE"),
            ("acceptanydate", "ACCEPTANYDATE"),
            ("ignoreallerrors", "IGNOREALLERRORS"),
            ("noload", "NOLOAD"),
            ("dateformat as 'auto'", "DATEFORMAT"),
            ("timeformat 'auto'", "TIMEFORMAT"),
            ("gzip", "GZIP"),
            ("delimiter as '|'", "DELIMITER"),
        ] {
            let error = parsed(&format!("copy t from 's3://lake/p' {ROLE} format as parquet {option}")).unwrap_err();
            assert_eq!(error.message, format!("{name} argument is not supported for PARQUET based COPY"));
            assert_eq!(error.code, "0A000");
            assert!(parsed(&format!("copy t from 's3://lake/p' {ROLE} {option} format as parquet")).is_err());
        }
    }

    #[test]
    fn a_role_is_needed_and_well_formed() {
        assert!(parsed("copy t from 's3://lake/p' format as parquet").unwrap_err().message.contains("IAM_ROLE"));
        for role in [
            "load",
            "arn:aws:iam::1:role/load",
            "arn:aws:iam::111122223333:user/load",
            "arn:aws:iam::111122223333:role/a, arn:aws:iam::111122223333:role/b",
        ] {
            assert!(parsed(&format!("copy t from 's3://lake/p' iam_role '{role}' format as parquet")).is_err(), "{role}");
        }
        assert!(
            parsed(
                "copy t from 's3://lake/p' iam_role 'arn:aws:iam::111122223333:role/a,arn:aws:iam::111122223333:role/b' format as parquet"
            )
            .is_ok()
        );
        assert!(parsed("copy t from 's3://lake/p' access_key_id 'a' secret_access_key 'b' format as parquet").is_err());
    }

    #[test]
    fn sources_are_s3_urls() {
        for url in ["lake/p", "s3://lake", "s3:///p", "https://lake/p"] {
            assert!(parsed(&format!("copy t from '{url}' {ROLE} format as parquet")).is_err(), "{url}");
        }
    }

    #[test]
    fn unknown_words_are_syntax_errors() {
        assert_eq!(parsed(&format!("copy t from 's3://lake/p' {ROLE} format as parquet quickly")).unwrap_err().code, "42601");
        assert!(parsed(&format!("copy t from 's3://lake/p' {ROLE} format as parquet manifest manifest")).is_err());
        assert!(parsed(&format!("copy t from 's3://lake/p' {ROLE} csv")).unwrap_err().message.contains("double"));
    }
}
