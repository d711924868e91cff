//! What can go wrong with models and queries, and how the query engine's errors become ours.
//!
//! The engine's texts can quote values (`cannot cast string '…'`), so of errors met while rows flow only the kind is kept.
//! Errors met before that, while a statement is parsed and planned, speak of the statement and are kept whole.

use arrow::error::ArrowError;
use datafusion::common::DataFusionError;
use pipeline_core::error::{BUG, Code, Error, ErrorKind};
use pipeline_core::landing::DISK_FULL;

use crate::functions::FunctionError;

/// A model's files cannot be read.
pub static MODEL_FILE: Code = Code {
    name: "E-MODEL-FILE",
    kind: ErrorKind::Usage,
    meaning: "A model's statement or contract is missing, cannot be read or contradicts itself.",
    remedy: "Correct the file at the line named; sql/README.md shows the form of a contract.",
};

/// A statement cannot be parsed or planned.
pub static SQL: Code = Code {
    name: "E-SQL",
    kind: ErrorKind::Usage,
    meaning: "A statement cannot be parsed, or names a table, column or function that does not exist.",
    remedy: "Correct the statement; `pipeline query` tries one out, sql/FUNCTIONS.md lists the functions.",
};

/// Models read each other in a circle.
pub static MODEL_CYCLE: Code = Code {
    name: "E-MODEL-CYCLE",
    kind: ErrorKind::Usage,
    meaning: "Models read each other in a circle, so none of them can be made first.",
    remedy: "Take one of the references out; a model may read its own former result as previous.NAME.",
};

/// A model reads what nobody makes.
pub static MODEL_INPUT: Code = Code {
    name: "E-MODEL-INPUT",
    kind: ErrorKind::Usage,
    meaning: "A model reads a table that is neither extracted nor made by a model, or that the lake does not hold yet.",
    remedy: "Declare the table under its source in the configuration, add the model, or run the pipeline that brings it.",
};

/// A rule of segments cannot be used.
pub static RULE: Code = Code {
    name: "E-SEGMENT-RULE",
    kind: ErrorKind::Usage,
    meaning: "A rule of segments has a predicate or a reason that cannot be used: it cannot be parsed, names an unknown column, gives no true or \
              false, or reads or does what a predicate may not.",
    remedy: "Correct it in [segments.NAME] of the configuration; docs/segments.md shows what a predicate may say.",
};

/// A model's statement gives other columns than its contract says.
pub static MODEL_SCHEMA: Code = Code {
    name: "E-MODEL-SCHEMA",
    kind: ErrorKind::Data,
    meaning: "A model's statement gives other columns, another order or other types than its contract declares.",
    remedy: "Make statement and contract agree; a CAST in the statement gives a column the declared type.",
};

/// A model's result breaks its contract or one of its data tests.
pub static MODEL_TEST: Code = Code {
    name: "E-MODEL-TEST",
    kind: ErrorKind::Data,
    meaning: "A model's result has rows that its contract or one of its data tests forbids; nothing of it was published.",
    remedy: "Look at the rows with the query shown, then correct the source or the model; a test of severity warn does not stop a run.",
};

/// A text is longer than its column.
pub static MODEL_TEXT: Code = Code {
    name: "E-MODEL-TEXT",
    kind: ErrorKind::Data,
    meaning: "A text has more bytes than its column's contract allows, so a warehouse could not hold it; nothing was published.",
    remedy: "Raise the limit in the contract, text(BYTES), or shorten the text in the statement.",
};

/// A parameter is missing or of another type.
pub static PARAMETER: Code = Code {
    name: "E-PARAMETER",
    kind: ErrorKind::Usage,
    meaning: "A model asks for a parameter or key that the configuration does not have, or has as another type.",
    remedy: "Set it in [parameters] of the configuration, or `key` in [project.privacy].",
};

/// A value could not be computed.
pub static VALUE: Code = Code {
    name: "E-VALUE",
    kind: ErrorKind::Data,
    meaning: "A value could not be computed: a cast, a division by zero, an overflow, or an argument that a function refuses.",
    remedy: "Guard the expression in the statement (nullif, coalesce, try_cast, known_time_zone); the value itself is not shown on purpose.",
};

/// The statement needs more memory than it may have.
pub static MEMORY: Code = Code {
    name: "E-MEMORY",
    kind: ErrorKind::Usage,
    meaning: "A statement needs more memory than `memory_limit` allows, although everything that can spill to disk did.",
    remedy: "Raise memory_limit in [project], or make the statement need less at once.",
};

/// A table or the spill folder could not be read or written.
pub static STORAGE: Code = Code {
    name: "E-MODEL-STORAGE",
    kind: ErrorKind::Unavailable,
    meaning: "A table's files or the folder for spilled data could not be read or written.",
    remedy: "Check free space and permissions of `work` in [project] and that the lake can be reached.",
};

/// The row that shall be explained cannot be found.
pub static WHY: Code = Code {
    name: "E-WHY",
    kind: ErrorKind::Usage,
    meaning: "The row whose origin is asked for does not exist, or its key is not given as the table has it.",
    remedy: "Name a model and the values of its key, in the order that docs/reference/marts.md shows.",
};

/// A cluster cannot be used, or failed.
pub static CLUSTER: Code = Code {
    name: "E-CLUSTER",
    kind: ErrorKind::Unavailable,
    meaning: "The cluster that models are computed on cannot be reached or failed; nothing was published.",
    remedy: "Check `scheduler` in [cluster], that its scheduler and executors run with this configuration, and their logs; or set engine = \"local\".",
};

/// Every code of this crate.
pub const CODES: &[&Code] = &[
    &MODEL_FILE,
    &SQL,
    &MODEL_CYCLE,
    &MODEL_INPUT,
    &RULE,
    &MODEL_SCHEMA,
    &MODEL_TEST,
    &MODEL_TEXT,
    &PARAMETER,
    &VALUE,
    &MEMORY,
    &STORAGE,
    &WHY,
    &CLUSTER,
];

/// Whether the memory limit is what an error is about.
pub(crate) fn is_memory(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::ResourcesExhausted(_))
}

/// The error of ours for one of the query engine's, about `what` (such as `model "orders" could not be computed`).
pub(crate) fn failure(what: impl Into<String>, error: DataFusionError) -> Error {
    let what = what.into();
    if is_disk_full(&error) {
        return Error::new(&DISK_FULL, what).caused_by("no space left on the device");
    }
    match error {
        DataFusionError::Context(_, inner) => failure(what, *inner),
        DataFusionError::Diagnostic(diagnostic, inner) => match diagnostic.span {
            Some(span) => failure(what, *inner).caused_by(format!("line {}, column {}", span.start.line, span.start.column)),
            None => failure(what, *inner),
        },
        DataFusionError::Collection(errors) => match errors.into_iter().next() {
            Some(first) => failure(what, first),
            None => Error::new(&BUG, what).caused_by("the query engine failed without an error"),
        },
        DataFusionError::Shared(shared) => match std::sync::Arc::try_unwrap(shared) {
            Ok(inner) => failure(what, inner),
            Err(shared) => shared_failure(what, &shared),
        },
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => ours.context(what),
            Err(inner) => match inner.downcast::<FunctionError>() {
                Ok(function) => function_failure(what, &function),
                Err(inner) => match inner.downcast::<DataFusionError>() {
                    Ok(nested) => failure(what, *nested),
                    Err(_) => Error::new(&STORAGE, what).caused_by("a table could not be read"),
                },
            },
        },
        DataFusionError::ArrowError(arrow, _) => match *arrow {
            ArrowError::ExternalError(inner) => failure(what, DataFusionError::External(inner)),
            arrow => arrow_failure(what, &arrow),
        },
        error => shared_failure(what, &error),
    }
}

/// The same, with line and column apart if the engine tells them.
pub(crate) fn located(what: impl Into<String>, error: DataFusionError) -> (Option<(u64, u64)>, Error) {
    match error {
        DataFusionError::Context(_, inner) => located(what, *inner),
        DataFusionError::Diagnostic(diagnostic, inner) => {
            let place = diagnostic.span.map(|span| (span.start.line, span.start.column));
            let (deeper, error) = located(what, *inner);
            (place.or(deeper), error)
        }
        DataFusionError::Collection(errors) if !errors.is_empty() => {
            let first = errors.into_iter().next().expect("the guard says that there is one");
            located(what, first)
        }
        error => (None, failure(what, error)),
    }
}

/// Whether it happened where results are written, and not where they are computed.
#[cfg(feature = "cluster")]
pub(crate) fn is_of_this_machine(error: &DataFusionError) -> bool {
    is_disk_full(error) || matches!(error.find_root(), DataFusionError::ParquetError(_) | DataFusionError::ExecutionJoin(_))
}

fn is_disk_full(error: &DataFusionError) -> bool {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(deeper) = source {
        let io = deeper.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| matches!(io.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)) {
            return true;
        }
        source = deeper.source();
    }
    false
}

/// The same for an error that others hold too, so that nothing can be moved out of it.
fn shared_failure(what: String, error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => shared_failure(what, inner),
        DataFusionError::Shared(inner) => shared_failure(what, inner),
        DataFusionError::Collection(errors) => match errors.first() {
            Some(first) => shared_failure(what, first),
            None => Error::new(&BUG, what).caused_by("the query engine failed without an error"),
        },
        DataFusionError::SQL(error, _) => Error::new(&SQL, what).caused_by(error),
        DataFusionError::SchemaError(error, _) => Error::new(&SQL, what).caused_by(first_line(&error.to_string())),
        DataFusionError::Plan(text)
        | DataFusionError::NotImplemented(text)
        | DataFusionError::Configuration(text)
        | DataFusionError::Substrait(text) => Error::new(&SQL, what).caused_by(first_line(text)),
        DataFusionError::Execution(_) => Error::new(&VALUE, what).caused_by("a value could not be computed"),
        // These texts name operators and sizes only.
        DataFusionError::ResourcesExhausted(text) => Error::new(&MEMORY, what).caused_by(first_line(text)),
        DataFusionError::IoError(error) => Error::new(&STORAGE, what).caused_by(error.kind()),
        DataFusionError::ParquetError(_) => Error::new(&STORAGE, what).caused_by("a Parquet file cannot be read or written"),
        DataFusionError::ObjectStore(_) => Error::new(&STORAGE, what).caused_by("an object of the store cannot be read"),
        DataFusionError::ArrowError(error, _) => arrow_failure(what, error),
        DataFusionError::External(inner) => match inner.downcast_ref::<FunctionError>() {
            Some(function) => function_failure(what, function),
            None => match inner.downcast_ref::<Error>() {
                Some(ours) => Error::new(ours.code(), what).caused_by(ours).hint(ours.remedy()),
                None => Error::new(&STORAGE, what).caused_by("a table could not be read"),
            },
        },
        DataFusionError::Internal(text) | DataFusionError::Ffi(text) => Error::new(&BUG, what).caused_by(first_line(text)),
        DataFusionError::ExecutionJoin(_) => Error::new(&BUG, what).caused_by("a task of the query engine ended early"),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn arrow_failure(what: String, error: &ArrowError) -> Error {
    let (code, cause) = match error {
        ArrowError::DivideByZero => (&VALUE, "a division by zero"),
        ArrowError::ArithmeticOverflow(_) => (&VALUE, "a number too large for its type"),
        ArrowError::CastError(_) => (&VALUE, "a value that its cast cannot convert"),
        ArrowError::ParseError(_) => (&VALUE, "a text that cannot be read as its type"),
        ArrowError::ComputeError(_) | ArrowError::InvalidArgumentError(_) => (&VALUE, "a value that could not be computed"),
        ArrowError::IoError(_, error) => return Error::new(&STORAGE, what).caused_by(error.kind()),
        ArrowError::MemoryError(_) | ArrowError::OffsetOverflowError(_) => (&MEMORY, "a column too large for one batch"),
        _ => (&BUG, "columnar data that does not fit together"),
    };
    Error::new(code, what).caused_by(cause)
}

fn function_failure(what: String, error: &FunctionError) -> Error {
    let code = match error {
        FunctionError::TimeZone { .. } => &VALUE,
        FunctionError::Resolution { .. }
        | FunctionError::DiskDistance
        | FunctionError::TimeOfDay
        | FunctionError::LeapDay
        | FunctionError::Share => &PARAMETER,
        FunctionError::Argument { .. } => &SQL,
        FunctionError::ParameterMissing { .. } | FunctionError::ParameterType { .. } | FunctionError::KeyMissing => &PARAMETER,
    };
    Error::new(code, what).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_hidden_and_statements_are_shown() {
        let execution = DataFusionError::Execution("cannot cast 'anna@example.com'".to_owned());
        let error = failure("model \"customers\" could not be computed", execution.context("while casting"));
        assert_eq!(error.code(), &VALUE);
        assert!(!format!("{error:?}").contains("anna"));
        let cast = DataFusionError::from(ArrowError::CastError("cannot cast 'anna@example.com'".to_owned()));
        assert!(!format!("{:?}", failure("it", cast)).contains("anna"));
        let plan = failure("it", DataFusionError::Plan("no field named x".to_owned()));
        assert_eq!((plan.code(), plan.causes()), (&SQL, ["no field named x".to_owned()].as_slice()));
    }

    #[test]
    fn our_own_errors_come_back_as_they_were() {
        let inner = Error::new(&MODEL_INPUT, "table \"shop.orders\" is missing").hint("Run it.");
        let error = failure("outer", DataFusionError::External(Box::new(inner)));
        assert_eq!((error.code(), error.message(), error.remedy()), (&MODEL_INPUT, "outer", "Run it."));
        let function = failure("outer", FunctionError::ParameterMissing { name: "x".to_owned() }.into());
        assert_eq!(function.code(), &PARAMETER);
    }
}
