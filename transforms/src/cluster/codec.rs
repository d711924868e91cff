//! Plans as bytes: what the engine's own codecs do not know, which is our functions and the lake's tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use ballista_core::serde::{BallistaLogicalExtensionCodec, BallistaPhysicalExtensionCodec};
use datafusion::catalog::TableProvider;
use datafusion::common::{DataFusionError, Result, TableReference, not_impl_err};
use datafusion::datasource::empty::EmptyTable;
use datafusion::datasource::file_format::FileFormatFactory;
use datafusion::execution::{FunctionRegistry, TaskContext};
use datafusion::logical_expr::{Extension, LogicalPlan, ScalarUDF, WindowUDF};
use datafusion::physical_plan::ExecutionPlan;
use datafusion_proto::logical_plan::LogicalExtensionCodec;
use datafusion_proto::physical_plan::{PhysicalExtensionCodec, PhysicalProtoConverterExtension};
use pipeline_core::privacy::PrivacyKey;
use pipeline_core::window::Timestamp;
use serde::{Deserialize, Serialize};

use super::files::FilesTable;
use crate::functions::bound::{BOUND, Bindings, KEYED};
use crate::functions::{self};
use crate::stored::{Files, Stored};

/// What is hashed with the privacy key to tell keys apart.
const FINGERPRINT_OF: &[u8] = b"pipeline: the key of a cluster";

/// What stands with each function that is ours.
const OURS: &[u8] = b"pipeline:";

/// Digits of a fingerprint: enough to tell keys apart, and too few to be worth anything.
const FINGERPRINT_DIGITS: usize = 16;

/// Our functions as every machine of a cluster has them.
#[derive(Debug)]
pub(super) struct Functions {
    scalar: BTreeMap<String, Arc<ScalarUDF>>,
    window: BTreeMap<String, Arc<WindowUDF>>,
    /// Of this machine's key; empty if it has none.
    fingerprint: String,
}

impl Functions {
    pub(super) fn new(key: Option<PrivacyKey>) -> Arc<Self> {
        let fingerprint = key.as_ref().map(|key| key.hash(FINGERPRINT_OF).chars().take(FINGERPRINT_DIGITS).collect()).unwrap_or_default();
        let bindings = Arc::new(Bindings { as_of: Timestamp::from_microseconds(0), parameters: BTreeMap::new(), key });
        let scalar = functions::all(&bindings).into_iter().map(|function| (function.name().to_owned(), Arc::new(function))).collect();
        let window = functions::windows().into_iter().map(|function| (function.name().to_owned(), Arc::new(function))).collect();
        Arc::new(Self { scalar, window, fingerprint })
    }

    pub(super) fn scalar(&self) -> impl Iterator<Item = &Arc<ScalarUDF>> {
        self.scalar.values()
    }

    pub(super) fn window(&self) -> impl Iterator<Item = &Arc<WindowUDF>> {
        self.window.values()
    }

    /// Makes the functions known to a session.
    pub(super) fn register(&self, registry: &mut dyn FunctionRegistry) -> Result<()> {
        for function in self.scalar.values() {
            registry.register_udf(Arc::clone(function))?;
        }
        for function in self.window.values() {
            registry.register_udwf(Arc::clone(function))?;
        }
        Ok(())
    }

    fn encode(&self, function: &ScalarUDF, bytes: &mut Vec<u8>) -> Result<()> {
        let name = function.name();
        if BOUND.contains(&name) {
            return not_impl_err!("function {name} needs constant arguments where statements run on a cluster");
        }
        if self.scalar.contains_key(name) {
            // By its name alone, the engine's own function of that name or alias could be taken for it.
            bytes.extend_from_slice(OURS);
        }
        if name == KEYED {
            bytes.extend_from_slice(self.fingerprint.as_bytes());
        }
        Ok(())
    }

    fn decode(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        if name == KEYED && bytes.strip_prefix(OURS).unwrap_or(bytes) != self.fingerprint.as_bytes() {
            return Err(DataFusionError::Configuration("the machines of the cluster have different privacy keys".to_owned()));
        }
        match self.scalar.get(name) {
            Some(function) => Ok(Arc::clone(function)),
            None => not_impl_err!("there is no function {name}"),
        }
    }

    fn decode_window(&self, name: &str) -> Result<Arc<WindowUDF>> {
        match self.window.get(name) {
            Some(function) => Ok(Arc::clone(function)),
            None => not_impl_err!("there is no window function {name}"),
        }
    }
}

/// A table as it travels.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Shipped {
    Files(Files),
    Empty,
}

/// Statements as bytes.
#[derive(Debug)]
pub(super) struct StatementCodec {
    inner: BallistaLogicalExtensionCodec,
    functions: Arc<Functions>,
}

impl StatementCodec {
    pub(super) fn new(functions: Arc<Functions>) -> Self {
        Self { inner: BallistaLogicalExtensionCodec::default(), functions }
    }
}

impl LogicalExtensionCodec for StatementCodec {
    fn try_decode(&self, bytes: &[u8], inputs: &[LogicalPlan], context: &TaskContext) -> Result<Extension> {
        self.inner.try_decode(bytes, inputs, context)
    }

    fn try_encode(&self, node: &Extension, bytes: &mut Vec<u8>) -> Result<()> {
        self.inner.try_encode(node, bytes)
    }

    fn try_decode_table_provider(
        &self,
        bytes: &[u8],
        _table: &TableReference,
        schema: SchemaRef,
        _context: &TaskContext,
    ) -> Result<Arc<dyn TableProvider>> {
        let shipped = serde_json::from_slice(bytes).map_err(|error| DataFusionError::External(Box::new(error)))?;
        Ok(match shipped {
            Shipped::Files(files) => Arc::new(FilesTable::new(schema, files)),
            Shipped::Empty => Arc::new(EmptyTable::new(schema)),
        })
    }

    fn try_encode_table_provider(&self, table: &TableReference, provider: Arc<dyn TableProvider>, bytes: &mut Vec<u8>) -> Result<()> {
        let shipped = if let Some(stored) = provider.downcast_ref::<Stored>() {
            Shipped::Files(stored.files().clone())
        } else if let Some(files) = provider.downcast_ref::<FilesTable>() {
            Shipped::Files(files.files().clone())
        } else if provider.is::<EmptyTable>() {
            Shipped::Empty
        } else {
            return not_impl_err!("table {table} is not in files that a cluster could read");
        };
        serde_json::to_writer(bytes, &shipped).map_err(|error| DataFusionError::External(Box::new(error)))
    }

    fn try_decode_file_format(&self, bytes: &[u8], context: &TaskContext) -> Result<Arc<dyn FileFormatFactory>> {
        self.inner.try_decode_file_format(bytes, context)
    }

    fn try_encode_file_format(&self, bytes: &mut Vec<u8>, format: Arc<dyn FileFormatFactory>) -> Result<()> {
        self.inner.try_encode_file_format(bytes, format)
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.functions.decode(name, bytes)
    }

    fn try_encode_udf(&self, function: &ScalarUDF, bytes: &mut Vec<u8>) -> Result<()> {
        self.functions.encode(function, bytes)
    }

    fn try_decode_udwf(&self, name: &str, _bytes: &[u8]) -> Result<Arc<WindowUDF>> {
        self.functions.decode_window(name)
    }
}

/// Parts of statements as bytes.
#[derive(Debug)]
pub(super) struct PartCodec {
    inner: BallistaPhysicalExtensionCodec,
    functions: Arc<Functions>,
}

impl PartCodec {
    pub(super) fn new(functions: Arc<Functions>) -> Self {
        Self { inner: BallistaPhysicalExtensionCodec::default(), functions }
    }
}

impl PhysicalExtensionCodec for PartCodec {
    fn try_decode(
        &self,
        bytes: &[u8],
        inputs: &[Arc<dyn ExecutionPlan>],
        context: &TaskContext,
        converter: &dyn PhysicalProtoConverterExtension,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.inner.try_decode(bytes, inputs, context, converter)
    }

    fn try_encode(&self, node: Arc<dyn ExecutionPlan>, bytes: &mut Vec<u8>, converter: &dyn PhysicalProtoConverterExtension) -> Result<()> {
        self.inner.try_encode(node, bytes, converter)
    }

    fn try_decode_udf(&self, name: &str, bytes: &[u8]) -> Result<Arc<ScalarUDF>> {
        self.functions.decode(name, bytes)
    }

    fn try_encode_udf(&self, function: &ScalarUDF, bytes: &mut Vec<u8>) -> Result<()> {
        self.functions.encode(function, bytes)
    }

    fn try_decode_udwf(&self, name: &str, _bytes: &[u8]) -> Result<Arc<WindowUDF>> {
        self.functions.decode_window(name)
    }
}
