//! What a run fixes for all its models: the instant they are made as of, parameters and the key of hashes.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, Int64Builder, ListBuilder, StringBuilder};
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility, create_udf};
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::window::Timestamp;

use super::{Description, FunctionError, function, instant};

/// The functions of this subject.
pub const DESCRIPTIONS: &[Description] = &[
    Description {
        name: "as_of",
        signature: "as_of() -> timestamp",
        meaning: "The instant that the run calls now (`--as-of`). A model that asks is made again whenever the instant differs.",
    },
    Description { name: "parameter", signature: "parameter(name text [, default text]) -> text", meaning: "The same as parameter_text." },
    Description {
        name: "parameter_text",
        signature: "parameter_text(name text [, default text]) -> text",
        meaning: "A value of [parameters] in the configuration. Without a default, a missing one is an error.",
    },
    Description {
        name: "parameter_int",
        signature: "parameter_int(name text [, default bigint]) -> bigint",
        meaning: "The same as a whole number.",
    },
    Description {
        name: "parameter_ints",
        signature: "parameter_ints(name text [, default text]) -> list<bigint>",
        meaning: "The same as whole numbers, written with commas between: 7,8,9.",
    },
    Description {
        name: "keyed_hash",
        signature: "keyed_hash(value text) -> text",
        meaning: "HMAC-SHA256 of the value's UTF-8 bytes with the project's key, as 64 lower-case hexadecimal digits: the hash that \
                  personal columns have, so that both join. Without a key it is an error.",
    },
];

/// Functions that read a parameter by name, as [`crate::model`] looks for them in a statement.
pub(crate) const PARAMETER_FUNCTIONS: &[&str] = &["parameter", "parameter_text", "parameter_int", "parameter_ints"];

/// Functions that give what a run fixes; on another machine they would give something else.
#[cfg(feature = "cluster")]
pub(crate) const BOUND: &[&str] = &["as_of", "parameter", "parameter_text", "parameter_int", "parameter_ints"];

/// The function that the privacy key is bound to.
#[cfg(feature = "cluster")]
pub(crate) const KEYED: &str = "keyed_hash";

/// What the functions of this subject are bound to.
#[derive(Debug, Clone)]
pub struct Bindings {
    /// What `as_of()` gives.
    pub as_of: Timestamp,
    /// What `parameter…('name')` gives, as written in the configuration.
    pub parameters: BTreeMap<String, String>,
    /// The key of `keyed_hash`.
    pub key: Option<PrivacyKey>,
}

pub(super) fn functions(bindings: &Arc<Bindings>) -> Vec<ScalarUDF> {
    let as_of = ScalarValue::TimestampMicrosecond(Some(bindings.as_of.microseconds()), Some("UTC".into()));
    let as_of = move |_: &[ColumnarValue]| Ok(ColumnarValue::Scalar(as_of.clone()));
    let mut functions = vec![create_udf("as_of", vec![], instant(), Volatility::Immutable, Arc::new(as_of))];
    for (name, kind) in
        [("parameter", Kind::Text), ("parameter_text", Kind::Text), ("parameter_int", Kind::Integer), ("parameter_ints", Kind::Integers)]
    {
        functions.push(ScalarUDF::from(Parameter {
            name,
            kind,
            signature: Signature::variadic_any(Volatility::Immutable),
            parameters: bindings.parameters.clone(),
        }));
    }
    let key = bindings.key.clone();
    functions.push(function("keyed_hash", vec![DataType::Utf8], DataType::Utf8, move |columns| {
        let key = key.as_ref().ok_or(FunctionError::KeyMissing)?;
        let values = columns[0].as_string::<i32>();
        let mut builder = StringBuilder::with_capacity(values.len(), values.len() * 64);
        for value in values {
            builder.append_option(value.map(|value| key.hash(value.as_bytes())));
        }
        Ok(Arc::new(builder.finish()))
    }));
    functions
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Text,
    Integer,
    Integers,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Parameter {
    name: &'static str,
    kind: Kind,
    signature: Signature,
    parameters: BTreeMap<String, String>,
}

impl Parameter {
    fn integer(name: &str, text: &str, wanted: &'static str) -> Result<i64, FunctionError> {
        text.trim().parse().map_err(|_| FunctionError::ParameterType { name: name.to_owned(), wanted })
    }
}

fn constant(value: &ColumnarValue) -> Option<String> {
    let array = match value {
        ColumnarValue::Scalar(value) => value.to_array().ok()?,
        ColumnarValue::Array(_) => return None,
    };
    let text = arrow::compute::cast(&array, &DataType::Utf8).ok()?;
    text.is_valid(0).then(|| text.as_string::<i32>().value(0).to_owned())
}

impl ScalarUDFImpl for Parameter {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.kind {
            Kind::Text => DataType::Utf8,
            Kind::Integer => DataType::Int64,
            Kind::Integers => DataType::List(Arc::new(Field::new("element", DataType::Int64, true))),
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let problem = || FunctionError::Argument { function: self.name, problem: "no constant name of a parameter".to_owned() };
        let name = arguments.args.first().and_then(constant).ok_or_else(problem)?;
        let default = || arguments.args.get(1).and_then(constant);
        let text = self.parameters.get(&name).cloned().or_else(default);
        let text = text.ok_or_else(|| FunctionError::ParameterMissing { name: name.clone() })?;
        Ok(ColumnarValue::Scalar(match self.kind {
            Kind::Text => ScalarValue::Utf8(Some(text)),
            Kind::Integer => ScalarValue::Int64(Some(Self::integer(&name, &text, "a whole number")?)),
            Kind::Integers => {
                let element = Arc::new(Field::new("element", DataType::Int64, true));
                let mut list = ListBuilder::new(Int64Builder::new()).with_field(element);
                for part in text.split(',') {
                    list.values().append_value(Self::integer(&name, part, "a list of whole numbers such as 7,8,9")?);
                }
                list.append(true);
                ScalarValue::List(Arc::new(list.finish()))
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, refuses};

    #[tokio::test]
    async fn the_instant_is_the_runs() {
        check("as_of()", "2025-11-04T06:00:00Z").await;
        check("as_of() - INTERVAL '365 days'", "2024-11-04T06:00:00Z").await;
    }

    #[tokio::test]
    async fn parameters_come_with_their_type_or_a_default() {
        check("parameter_int('horizon_days') + 1", "8").await;
        check("parameter('leap_day')", "feb28").await;
        check("parameter_text('absent', 'given')", "given").await;
        check("parameter_int('absent', 3)", "3").await;
        check("array_max(parameter_ints('resolutions'))", "9").await;
        refuses("parameter_text('absent')", "parameter \"absent\" is not in [parameters]").await;
        refuses("parameter_int('leap_day')", "parameter \"leap_day\" is not a whole number").await;
    }

    #[tokio::test]
    async fn hashes_are_keyed() {
        // RFC 4231, test case 2.
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        check("keyed_hash('what do ya want for nothing?')", expected).await;
        check("keyed_hash(NULL)", "NULL").await;
    }
}
