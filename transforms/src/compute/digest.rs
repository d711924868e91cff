//! A row's digest, by which two versions of it are compared.

use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryBuilder};
use arrow::datatypes::DataType;
use arrow::row::{RowConverter, SortField};
use datafusion::common::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

/// Bytes of a digest. Two versions of a row are compared with each other only, so that of 10⁹ changed rows one would be missed
/// with a probability of 10⁻²⁹.
const DIGEST_BYTES: i32 = 16;

/// `row_digest(columns…)`: equal exactly if all columns are, bit by bit in floats, NULL being equal to NULL. Never NULL.
pub(super) fn row_digest() -> ScalarUDF {
    ScalarUDF::from(RowDigest { signature: Signature::variadic_any(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct RowDigest {
    signature: Signature,
}

impl ScalarUDFImpl for RowDigest {
    fn name(&self) -> &str {
        "row_digest"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::FixedSizeBinary(DIGEST_BYTES))
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let columns: Vec<ArrayRef> =
            arguments.args.iter().map(|argument| argument.to_array(arguments.number_rows)).collect::<Result<_>>()?;
        let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
        let rows = RowConverter::new(fields)?.convert_columns(&columns)?;
        let mut digests = FixedSizeBinaryBuilder::with_capacity(arguments.number_rows, DIGEST_BYTES);
        for row in &rows {
            // The standard hasher has fixed keys when it is made like this; the second one begins with another byte.
            let (mut first, mut second) = (DefaultHasher::new(), DefaultHasher::new());
            second.write_u8(1);
            first.write(row.as_ref());
            second.write(row.as_ref());
            let digest = (u128::from(first.finish()) << 64) | u128::from(second.finish());
            digests.append_value(digest.to_be_bytes())?;
        }
        Ok(ColumnarValue::Array(Arc::new(digests.finish())))
    }
}
