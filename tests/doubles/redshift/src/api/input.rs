//! A request's members, checked as the service's model says.

use serde_json::{Map, Value};

use crate::service::error::ServiceError;

/// A request's JSON object.
pub(super) struct Input(Map<String, Value>);

impl Input {
    pub(super) fn parse(body: &[u8]) -> Result<Self, ServiceError> {
        let malformed = || ServiceError::new("SerializationException", 400, "The request is not a JSON object");
        if body.is_empty() {
            return Ok(Self(Map::new()));
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            _ => Err(malformed()),
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    pub(super) fn is_given(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// A string of at least one character.
    pub(super) fn text(&self, name: &str, length_max: usize) -> Result<Option<String>, ServiceError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let text = value.as_str().ok_or_else(|| wrong_type(name))?;
        if text.is_empty() {
            return Err(constraint(name, "Member must have length greater than or equal to 1"));
        }
        if text.len() > length_max {
            return Err(constraint(name, &format!("Member must have length less than or equal to {length_max}")));
        }
        Ok(Some(text.to_owned()))
    }

    pub(super) fn required_text(&self, name: &str, length_max: usize) -> Result<String, ServiceError> {
        self.text(name, length_max)?.ok_or_else(|| constraint(name, "Member must not be null"))
    }

    pub(super) fn whole(&self, name: &str, least: i64, most: i64) -> Result<Option<i64>, ServiceError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_i64().ok_or_else(|| wrong_type(name))?;
        if number < least {
            return Err(constraint(name, &format!("Member must have value greater than or equal to {least}")));
        }
        if number > most {
            return Err(constraint(name, &format!("Member must have value less than or equal to {most}")));
        }
        Ok(Some(number))
    }

    /// One of some words.
    pub(super) fn choice(&self, name: &str, words: &[&str]) -> Result<Option<String>, ServiceError> {
        let Some(text) = self.text(name, usize::MAX)? else { return Ok(None) };
        if words.contains(&text.as_str()) {
            return Ok(Some(text));
        }
        Err(constraint(name, &format!("Member must satisfy enum value set: [{}]", words.join(", "))))
    }

    pub(super) fn texts(&self, name: &str, least: usize, most: usize) -> Result<Vec<String>, ServiceError> {
        let value = self.get(name).ok_or_else(|| constraint(name, "Member must not be null"))?;
        let items = value.as_array().ok_or_else(|| wrong_type(name))?;
        if items.len() < least || items.len() > most {
            return Err(constraint(name, &format!("Member must have length between {least} and {most}")));
        }
        items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(|| wrong_type(name))).collect()
    }

    /// `Parameters`: names of letters, digits and underscores; values that are not empty.
    pub(super) fn parameters(&self) -> Result<Vec<(String, String)>, ServiceError> {
        let Some(value) = self.get("Parameters") else { return Ok(Vec::new()) };
        let items = value.as_array().ok_or_else(|| wrong_type("Parameters"))?;
        if items.is_empty() {
            return Err(constraint("parameters", "Member must have length greater than or equal to 1"));
        }
        items
            .iter()
            .map(|item| {
                let member = |name: &str| {
                    item.get(name)
                        .and_then(Value::as_str)
                        .ok_or_else(|| constraint(&format!("parameters.member.{name}"), "Member must not be null"))
                };
                let (name, value) = (member("name")?, member("value")?);
                if name.is_empty() || !name.chars().all(|character| character.is_ascii_alphanumeric() || character == '_') {
                    return Err(constraint("parameters.member.name", "Member must satisfy regular expression pattern: [0-9a-zA-Z_]+"));
                }
                if value.is_empty() {
                    return Err(constraint("parameters.member.value", "Member must have length greater than or equal to 1"));
                }
                Ok((name.to_owned(), value.to_owned()))
            })
            .collect()
    }
}

fn wrong_type(name: &str) -> ServiceError {
    ServiceError::new("SerializationException", 400, format!("{name} has an unexpected type"))
}

fn constraint(name: &str, what: &str) -> ServiceError {
    let mut characters = name.chars();
    let member: String = characters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(characters).collect();
    ServiceError::validation(format!("1 validation error detected: Value at '{member}' failed to satisfy constraint: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(text: &str) -> Input {
        Input::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn members_are_checked() {
        assert_eq!(input(r#"{"Sql":"select 1"}"#).required_text("Sql", 100).unwrap(), "select 1");
        assert!(input("{}").required_text("Sql", 100).is_err());
        assert!(input(r#"{"Sql":""}"#).required_text("Sql", 100).is_err());
        assert!(input(r#"{"Sql":"1234"}"#).required_text("Sql", 3).is_err());
        assert!(input(r#"{"WaitTimeSeconds":31}"#).whole("WaitTimeSeconds", 1, 30).is_err());
        assert!(input(r#"{"Sqls":[]}"#).texts("Sqls", 1, 40).is_err());
        assert!(Input::parse(b"[]").is_err());
    }

    #[test]
    fn parameters_are_never_empty() {
        assert_eq!(input(r#"{"Parameters":[{"name":"a","value":"1"}]}"#).parameters().unwrap(), [("a".to_owned(), "1".to_owned())]);
        assert!(input(r#"{"Parameters":[{"name":"a","value":""}]}"#).parameters().is_err());
        assert!(input(r#"{"Parameters":[{"name":"a-b","value":"1"}]}"#).parameters().is_err());
        assert!(input(r#"{"Parameters":[{"name":"a"}]}"#).parameters().is_err());
    }
}
