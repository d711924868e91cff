//! Lists, without taking them apart into rows: sums and look-ups in nested lists, and exact statistics of collected values.
//!
//! NULL elements do not count. A list that is NULL gives NULL. The statistics sort their values first, so that the result does
//! not depend on the order in which a parallel plan collected them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Decimal128Array, Float64Array, Int64Array, ListArray, StringBuilder, UInt32Array};
use arrow::compute::{cast, take};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Decimal128Type, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};

use super::{Description, FunctionError};

/// The functions of this subject.
pub const DESCRIPTIONS: &[Description] = &[
    Description {
        name: "list_sum",
        signature: "list_sum(list list<number>) or list_sum(list list<struct>, field text)",
        meaning: "The sum of a list's numbers, or of one field of its structs; 0 if it is empty. Decimals keep their scale, whole \
                  numbers give bigint.",
    },
    Description {
        name: "list_find",
        signature: "list_find(list list<struct>, field text, value text, result text)",
        meaning: "The field `result` of the first element whose text `field` is `value`; NULL if there is none.",
    },
    Description {
        name: "list_percentile",
        signature: "list_percentile(list list<number>, share double) -> double",
        meaning: "The value below which that share of the numbers lies, interpolated between neighbours (SQL's percentile_cont); \
                  NULL if there are no numbers.",
    },
    Description {
        name: "list_mode",
        signature: "list_mode(list list<integer>) -> the elements' type",
        meaning: "The most frequent number, of equally frequent ones the smallest; NULL if there are no numbers.",
    },
    Description {
        name: "list_count_distinct",
        signature: "list_count_distinct(list list<text or integer>) -> bigint",
        meaning: "How many different values the list has; 0 if it is empty.",
    },
    Description { name: "list_to_json", signature: "list_to_json(list list<text>) -> text", meaning: "The texts as a JSON array." },
];

pub(super) fn functions() -> Vec<ScalarUDF> {
    let arities: [(Kind, &[usize]); 6] = [
        (Kind::Sum, &[1, 2]),
        (Kind::Find, &[4]),
        (Kind::Percentile, &[2]),
        (Kind::Mode, &[1]),
        (Kind::CountDistinct, &[1]),
        (Kind::ToJson, &[1]),
    ];
    let function = |(kind, arities): (Kind, &[usize])| {
        let arities = arities.iter().map(|arity| TypeSignature::Any(*arity)).collect();
        ScalarUDF::from(ListFunction { kind, signature: Signature::one_of(arities, Volatility::Immutable) })
    };
    arities.into_iter().map(function).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Sum,
    Find,
    Percentile,
    Mode,
    CountDistinct,
    ToJson,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Sum => "list_sum",
            Self::Find => "list_find",
            Self::Percentile => "list_percentile",
            Self::Mode => "list_mode",
            Self::CountDistinct => "list_count_distinct",
            Self::ToJson => "list_to_json",
        }
    }

    fn wrong(self, problem: impl Into<String>) -> FunctionError {
        FunctionError::Argument { function: self.name(), problem: problem.into() }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct ListFunction {
    kind: Kind,
    signature: Signature,
}

impl ScalarUDFImpl for ListFunction {
    fn name(&self) -> &str {
        self.kind.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Err(self.kind.wrong("types without values, on which its own type depends").into())
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        let list = arguments.arg_fields.first().map(|field| field.data_type());
        let element = match list {
            Some(DataType::List(element)) => element.data_type().clone(),
            Some(DataType::Null) => DataType::Null,
            _ => return Err(self.kind.wrong("no list").into()),
        };
        let text = |index: usize| match arguments.scalar_arguments.get(index).copied().flatten() {
            Some(ScalarValue::Utf8(Some(text)) | ScalarValue::Utf8View(Some(text)) | ScalarValue::LargeUtf8(Some(text))) => {
                Ok(text.clone())
            }
            _ => Err(self.kind.wrong("no constant name of a field")),
        };
        let data_type = match self.kind {
            Kind::Sum if arguments.arg_fields.len() == 1 => sum_type(&element)?,
            Kind::Sum => sum_type(&field_type(self.kind, &element, &text(1)?)?)?,
            Kind::Find => {
                field_type(self.kind, &element, &text(1)?)?;
                field_type(self.kind, &element, &text(3)?)?
            }
            Kind::Percentile => DataType::Float64,
            Kind::Mode if element.is_integer() => element,
            Kind::Mode => return Err(self.kind.wrong("a list of other than whole numbers").into()),
            Kind::CountDistinct if element.is_integer() || element == DataType::Utf8 || element == DataType::Null => DataType::Int64,
            Kind::CountDistinct => return Err(self.kind.wrong("a list of other than texts or whole numbers").into()),
            Kind::ToJson => DataType::Utf8,
        };
        Ok(Arc::new(Field::new(self.name(), data_type, true)))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let result_type = arguments.return_field.data_type().clone();
        let constant = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { arguments.number_rows };
        let list = arguments.args[0].to_array(rows)?;
        let Some(list) = list.as_list_opt::<i32>() else {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_new_null(&result_type)?));
        };
        let text = |index: usize| match arguments.args.get(index) {
            Some(ColumnarValue::Scalar(value)) => match value.try_as_str() {
                Some(Some(text)) => Ok(text.to_owned()),
                _ => Err(self.kind.wrong("no constant text")),
            },
            _ => Err(self.kind.wrong("no constant text")),
        };
        let result: ArrayRef = match self.kind {
            Kind::Sum if arguments.args.len() == 1 => sums(list, list.values(), &result_type)?,
            Kind::Sum => sums(list, &field(self.kind, list, &text(1)?)?, &result_type)?,
            Kind::Find => find(list, (&text(1)?, &text(2)?, &text(3)?))?,
            Kind::Percentile => {
                let shares = cast(&arguments.args[1].to_array(rows)?, &DataType::Float64)?;
                percentiles(list, shares.as_primitive())?
            }
            Kind::Mode => modes(list, &result_type)?,
            Kind::CountDistinct => counts_distinct(list)?,
            Kind::ToJson => json(list)?,
        };
        if constant { Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&result, 0)?)) } else { Ok(ColumnarValue::Array(result)) }
    }
}

fn field_type(kind: Kind, element: &DataType, name: &str) -> Result<DataType, FunctionError> {
    match element {
        DataType::Null => Ok(DataType::Null),
        DataType::Struct(fields) => match fields.find(name) {
            Some((_, field)) => Ok(field.data_type().clone()),
            None => Err(kind.wrong(format!("field \"{name}\", which the list's elements do not have"))),
        },
        _ => Err(kind.wrong("a field of elements that have none")),
    }
}

fn sum_type(element: &DataType) -> Result<DataType, FunctionError> {
    match element {
        DataType::Decimal128(_, scale) => Ok(DataType::Decimal128(DECIMAL128_MAX_PRECISION, *scale)),
        element if element.is_integer() => Ok(DataType::Int64),
        element if element.is_floating() => Ok(DataType::Float64),
        _ => Err(Kind::Sum.wrong("elements that are no numbers")),
    }
}

/// A field of a list's structs, NULL where the struct is.
fn field(kind: Kind, list: &ListArray, name: &str) -> Result<ArrayRef> {
    let structs = list.values().as_struct_opt().ok_or_else(|| kind.wrong("a field of elements that have none"))?;
    let column = structs.column_by_name(name).ok_or_else(|| kind.wrong(format!("unknown field \"{name}\"")))?;
    match structs.nulls() {
        Some(nulls) => {
            let hidden = arrow::array::BooleanArray::new(!nulls.inner(), None);
            Ok(arrow::compute::nullif(column, &hidden)?)
        }
        None => Ok(Arc::clone(column)),
    }
}

/// The elements of each list as a range of the values; None where the list is NULL.
fn ranges(list: &ListArray) -> impl Iterator<Item = Option<std::ops::Range<usize>>> + '_ {
    let offsets = list.value_offsets();
    (0..list.len()).map(move |row| list.is_valid(row).then(|| offsets[row] as usize..offsets[row + 1] as usize))
}

fn sums(list: &ListArray, values: &ArrayRef, result: &DataType) -> Result<ArrayRef> {
    let values = cast(values, result)?;
    let overflow = || Kind::Sum.wrong("numbers whose sum is too large");
    Ok(match result {
        DataType::Decimal128(precision, scale) => {
            let numbers = values.as_primitive::<Decimal128Type>();
            let mut sums: Vec<Option<i128>> = Vec::with_capacity(list.len());
            for range in ranges(list) {
                let sum = |mut range: std::ops::Range<usize>| {
                    range.try_fold(
                        0_i128,
                        |sum, index| if numbers.is_valid(index) { sum.checked_add(numbers.value(index)) } else { Some(sum) },
                    )
                };
                sums.push(range.map(|range| sum(range).ok_or_else(overflow)).transpose()?);
            }
            Arc::new(Decimal128Array::from(sums).with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Int64 => {
            let numbers = values.as_primitive::<Int64Type>();
            let mut sums: Vec<Option<i64>> = Vec::with_capacity(list.len());
            for range in ranges(list) {
                let sum = |mut range: std::ops::Range<usize>| {
                    range.try_fold(
                        0_i64,
                        |sum, index| if numbers.is_valid(index) { sum.checked_add(numbers.value(index)) } else { Some(sum) },
                    )
                };
                sums.push(range.map(|range| sum(range).ok_or_else(overflow)).transpose()?);
            }
            Arc::new(Int64Array::from(sums))
        }
        _ => {
            let numbers = values.as_primitive::<Float64Type>();
            let sum = |range: std::ops::Range<usize>| sorted(numbers, range).iter().sum::<f64>();
            Arc::new(ranges(list).map(|range| range.map(sum)).collect::<Float64Array>())
        }
    })
}

fn find(list: &ListArray, (key, value, result): (&str, &str, &str)) -> Result<ArrayRef> {
    let keys = cast(&field(Kind::Find, list, key)?, &DataType::Utf8)?;
    let keys = keys.as_string::<i32>();
    let results = field(Kind::Find, list, result)?;
    let first = |mut range: std::ops::Range<usize>| range.find(|index| keys.is_valid(*index) && keys.value(*index) == value);
    let indices = ranges(list).map(|range| range.and_then(first).and_then(|index| u32::try_from(index).ok()));
    Ok(take(&results, &indices.collect::<UInt32Array>(), None)?)
}

fn sorted(numbers: &Float64Array, range: std::ops::Range<usize>) -> Vec<f64> {
    let mut sorted: Vec<f64> = range.filter(|index| numbers.is_valid(*index)).map(|index| numbers.value(index)).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

fn percentiles(list: &ListArray, shares: &Float64Array) -> Result<ArrayRef> {
    let values = cast(list.values(), &DataType::Float64)?;
    let numbers = values.as_primitive::<Float64Type>();
    let mut percentiles = Vec::with_capacity(list.len());
    for (row, range) in ranges(list).enumerate() {
        let share = shares.is_valid(row).then(|| shares.value(row));
        if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
            return Err(FunctionError::Share.into());
        }
        percentiles.push(range.zip(share).and_then(|(range, share)| percentile(&sorted(numbers, range), share)));
    }
    Ok(Arc::new(Float64Array::from(percentiles)))
}

fn percentile(sorted: &[f64], share: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = share * last as f64;
    let below = (position.floor() as usize).min(last);
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    Some((high - low).mul_add(position - below as f64, low))
}

fn modes(list: &ListArray, result: &DataType) -> Result<ArrayRef> {
    let values = cast(list.values(), &DataType::Int64)?;
    let numbers = values.as_primitive::<Int64Type>();
    let mode = |range: std::ops::Range<usize>| {
        let mut sorted: Vec<i64> = range.filter(|index| numbers.is_valid(*index)).map(|index| numbers.value(index)).collect();
        sorted.sort_unstable();
        let mut best: Option<(usize, i64)> = None;
        for equal in sorted.chunk_by(|a, b| a == b) {
            if best.is_none_or(|(count, _)| equal.len() > count) {
                best = Some((equal.len(), equal[0]));
            }
        }
        best.map(|(_, number)| number)
    };
    let modes: Int64Array = ranges(list).map(|range| range.and_then(mode)).collect();
    Ok(cast(&modes, result)?)
}

fn counts_distinct(list: &ListArray) -> Result<ArrayRef> {
    fn count<T: Ord>(mut values: Vec<T>) -> i64 {
        values.sort_unstable();
        values.dedup();
        i64::try_from(values.len()).unwrap_or(i64::MAX)
    }
    let counts: Int64Array = if let Some(texts) = list.values().as_string_opt::<i32>() {
        let present = |range: std::ops::Range<usize>| range.filter(|index| texts.is_valid(*index));
        ranges(list).map(|range| range.map(|range| count(present(range).map(|index| texts.value(index)).collect()))).collect()
    } else {
        let values = cast(list.values(), &DataType::Int64)?;
        let numbers = values.as_primitive::<Int64Type>();
        let present = |range: std::ops::Range<usize>| range.filter(|index| numbers.is_valid(*index));
        ranges(list).map(|range| range.map(|range| count(present(range).map(|index| numbers.value(index)).collect()))).collect()
    };
    Ok(Arc::new(counts))
}

fn json(list: &ListArray) -> Result<ArrayRef> {
    let values = cast(list.values(), &DataType::Utf8)?;
    let texts = values.as_string::<i32>();
    let mut builder = StringBuilder::new();
    for range in ranges(list) {
        builder.append_option(range.map(|range| {
            let elements: Vec<Option<&str>> = range.map(|index| texts.is_valid(index).then(|| texts.value(index))).collect();
            serde_json::to_string(&elements).expect("texts have a JSON form")
        }));
    }
    Ok(Arc::new(builder.finish()))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{check, refuses};

    const LINES: &str = "[named_struct('at', 3, 'status', 'a', 'price', 1.25::decimal(18,2)), \
                         named_struct('at', 5, 'status', 'b', 'price', NULL::decimal(18,2)), \
                         named_struct('at', 7, 'status', 'b', 'price', 0.80::decimal(18,2))]";

    #[tokio::test]
    async fn sums_keep_the_scale_and_skip_nulls() {
        check(&format!("list_sum({LINES}, 'price')"), "2.05").await;
        check(&format!("arrow_typeof(list_sum({LINES}, 'price'))"), "Decimal128(38, 2)").await;
        check(&format!("list_sum({LINES}, 'at')"), "15").await;
        check("list_sum([1, 2, NULL])", "3").await;
        check("list_sum(arrow_cast([], 'List(Int32)'))", "0").await;
        check("list_sum(arrow_cast(NULL, 'List(Int32)'))", "NULL").await;
        refuses(&format!("list_sum({LINES}, 'cost')"), "field \"cost\"").await;
        refuses("list_sum(1)", "no list").await;
    }

    #[tokio::test]
    async fn the_first_match_is_found() {
        check(&format!("list_find({LINES}, 'status', 'b', 'at')"), "5").await;
        check(&format!("list_find({LINES}, 'status', 'c', 'at')"), "NULL").await;
        refuses(&format!("list_find({LINES}, 'status', 'b', 'cost')"), "field \"cost\"").await;
    }

    #[tokio::test]
    async fn percentiles_interpolate() {
        check("list_percentile([4.0, 1.0, 2.0, 3.0], 0.5)", "2.5").await;
        check("list_percentile([1.0, 2.0], 0.9)", "1.9").await;
        check("list_percentile([7], 0.95)", "7.0").await;
        check("list_percentile([3, NULL, 1], 1.0)", "3.0").await;
        check("list_percentile([3, 1], 0.0)", "1.0").await;
        check("list_percentile(arrow_cast([], 'List(Float64)'), 0.5)", "NULL").await;
        refuses("list_percentile([1.0], 1.5)", "0 to 1").await;
    }

    #[tokio::test]
    async fn the_mode_prefers_the_smallest_of_the_most_frequent() {
        check("list_mode([5, 3, 3, 5, 9, NULL])", "3").await;
        check("list_mode([9, 9, 1])", "9").await;
        check("list_mode(arrow_cast([], 'List(Int32)'))", "NULL").await;
        refuses("list_mode(['a'])", "whole numbers").await;
    }

    #[tokio::test]
    async fn different_values_are_counted_once() {
        check("list_count_distinct([5, 3, 5, NULL])", "2").await;
        check("list_count_distinct(['a', 'B', 'a', NULL, 'b'])", "3").await;
        check("list_count_distinct(arrow_cast([], 'List(Utf8)'))", "0").await;
        check("list_count_distinct(arrow_cast(NULL, 'List(Utf8)'))", "NULL").await;
        refuses("list_count_distinct([1.5])", "texts or whole numbers").await;
    }

    #[tokio::test]
    async fn texts_become_json() {
        check("list_to_json(['a \"b\"', NULL, 'ż'])", "[\"a \\\"b\\\"\",null,\"ż\"]").await;
        check("list_to_json(arrow_cast([], 'List(Utf8)'))", "[]").await;
        check("list_to_json(arrow_cast(NULL, 'List(Utf8)'))", "NULL").await;
    }

    #[tokio::test]
    async fn columns_and_constants_agree() {
        check("array_agg(list_percentile([column1, column1 + 1.0], 0.5)) FROM (VALUES (1.0), (5.0)) AS lists(column1) --", "[1.5, 5.5]")
            .await;
    }
}
