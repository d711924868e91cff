//! The functions that models have beyond SQL's own.
//!
//! | subject | functions |
//! |---|---|
//! | [`geo`] | `h3_cell` `h3_parent` `h3_center_lat` `h3_center_lng` `h3_boundary_wkt` `h3_disk` `distance_m` |
//! | [`calendar`] | `business_date` `local_date` `local_hour` `known_time_zone` `next_birthday` `plus_days` `minutes_between` |
//! | [`lists`] | `list_sum` `list_find` `list_percentile` `list_mode` `list_count_distinct` `list_to_json` |
//! | [`allotment`] | `allotment`, a window function |
//! | [`bound`] | `as_of` `parameter` `parameter_text` `parameter_int` `parameter_ints` `keyed_hash` |
//!
//! All of them give NULL where an argument is NULL, unless they say otherwise, and all of them are pure: `as_of`, the
//! parameters and the key are bound when the session is made. So the optimizer computes calls with constant arguments once.

pub mod allotment;
pub mod bound;
pub mod calendar;
pub mod geo;
pub mod lists;

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, WindowUDF, create_udf};

/// A function as the reference page shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Description {
    /// Its name in SQL.
    pub name: &'static str,
    /// Arguments and result.
    pub signature: &'static str,
    /// What it gives, and when NULL or an error.
    pub meaning: &'static str,
}

/// Every function's description, by subject.
#[must_use]
pub fn descriptions() -> Vec<Description> {
    [geo::DESCRIPTIONS, calendar::DESCRIPTIONS, lists::DESCRIPTIONS, allotment::DESCRIPTIONS, bound::DESCRIPTIONS].concat()
}

/// Every function, bound to a run.
pub(crate) fn all(bindings: &Arc<bound::Bindings>) -> Vec<ScalarUDF> {
    let mut functions = geo::functions();
    functions.extend(calendar::functions());
    functions.extend(lists::functions());
    functions.extend(bound::functions(bindings));
    functions
}

/// Every window function.
pub(crate) fn windows() -> Vec<WindowUDF> {
    allotment::functions()
}

/// What a function refuses. Texts name the function and what its author controls, never a row's value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FunctionError {
    #[error("function \"{function}\" was given a time zone that the IANA database does not know")]
    TimeZone { function: &'static str },
    #[error("function \"{function}\" was given an H3 resolution that is not 0 to 15")]
    Resolution { function: &'static str },
    #[error("function \"h3_disk\" was given a distance that is not 0 to {}", geo::DISK_DISTANCE_MAX)]
    DiskDistance,
    #[error("function \"business_date\" was given a time of day that is not written as 04:00")]
    TimeOfDay,
    #[error("function \"next_birthday\" was given a rule for 29 February that is not feb28 or mar1")]
    LeapDay,
    #[error("function \"list_percentile\" was given a share that is not 0 to 1")]
    Share,
    #[error("function \"{function}\" was given {problem}")]
    Argument { function: &'static str, problem: String },
    #[error("parameter \"{name}\" is not in [parameters] of the configuration")]
    ParameterMissing { name: String },
    #[error("parameter \"{name}\" is not {wanted}")]
    ParameterType { name: String, wanted: &'static str },
    #[error("function \"keyed_hash\" needs the key of [project.privacy], which is not configured")]
    KeyMissing,
}

impl From<FunctionError> for DataFusionError {
    fn from(error: FunctionError) -> Self {
        Self::External(Box::new(error))
    }
}

/// Instants as every table has them.
pub(crate) fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A function of arrays; it is called with one row where all arguments are constants.
fn function(
    name: &'static str,
    arguments: Vec<DataType>,
    result: DataType,
    body: impl Fn(&[ArrayRef]) -> Result<ArrayRef> + Send + Sync + 'static,
) -> ScalarUDF {
    let body = move |arguments: &[ColumnarValue]| evaluate(arguments, &body);
    create_udf(name, arguments, result, Volatility::Immutable, Arc::new(body))
}

fn evaluate(arguments: &[ColumnarValue], body: &dyn Fn(&[ArrayRef]) -> Result<ArrayRef>) -> Result<ColumnarValue> {
    let constant = arguments.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
    let result = body(&ColumnarValue::values_to_arrays(arguments)?)?;
    if constant { Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)) } else { Ok(ColumnarValue::Array(result)) }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Functions called as SQL calls them.

    use std::collections::BTreeMap;
    use std::sync::Arc;

    use arrow::util::display::{ArrayFormatter, FormatOptions};
    use datafusion::prelude::SessionContext;
    use pipeline_core::privacy::PrivacyKey;

    use super::bound::Bindings;

    pub(crate) fn context() -> SessionContext {
        let parameters = [("horizon_days", "7"), ("leap_day", "feb28"), ("resolutions", "7, 8,9")];
        let bindings = Arc::new(Bindings {
            as_of: "2025-11-04T06:00:00Z".parse().unwrap(),
            parameters: parameters.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>(),
            key: Some(PrivacyKey::new(b"Jefe")),
        });
        let context = SessionContext::new();
        for function in super::all(&bindings) {
            context.register_udf(function);
        }
        for function in super::windows() {
            context.register_udwf(function);
        }
        context
    }

    /// The value of an expression as text, or the error's.
    pub(crate) async fn value(expression: &str) -> Result<String, String> {
        let frame = context().sql(&format!("SELECT {expression} AS value")).await.map_err(|error| error.to_string())?;
        let batches = frame.collect().await.map_err(|error| error.to_string())?;
        let options = FormatOptions::default().with_null("NULL");
        let formatter = ArrayFormatter::try_new(batches[0].column(0), &options).unwrap();
        Ok(formatter.value(0).to_string())
    }

    /// The same expression over a column instead of constants has the same value.
    pub(crate) async fn check(expression: &str, expected: &str) {
        assert_eq!(value(expression).await.as_deref(), Ok(expected), "{expression}");
    }

    pub(crate) async fn refuses(expression: &str, words: &str) {
        let error = value(expression).await.expect_err(expression);
        assert!(error.contains(words), "{expression}: {error}");
    }
}
