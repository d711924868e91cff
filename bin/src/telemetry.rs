//! Logs and traces. Logs go to standard error with `-v`; spans go to an OTLP receiver when one is configured.

use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::runtime::Tokio;
use opentelemetry_sdk::trace::SdkTracerProvider;
use opentelemetry_sdk::trace::span_processor_with_async_runtime::BatchSpanProcessor;
use pipeline_core::config::{CONFIG, Options};
use pipeline_core::error::{Error, Result};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::secrets::environment;

/// Ends with the process: sends what spans are still waiting.
#[derive(Debug, Default)]
pub(crate) struct Telemetry(Option<SdkTracerProvider>);

/// Reads `[telemetry]`: `otlp_endpoint = "http://127.0.0.1:4318"`. The standard variable `OTEL_EXPORTER_OTLP_ENDPOINT`
/// (OpenTelemetry specification, "OTLP exporter") counts too, below the file.
pub(crate) fn endpoint(mut options: Options) -> Result<Option<String>> {
    let configured = options.text("otlp_endpoint")?;
    options.end()?;
    Ok(configured.or_else(|| environment("OTEL_EXPORTER_OTLP_ENDPOINT")))
}

impl Telemetry {
    /// Begins logging and, with an endpoint, tracing.
    ///
    /// # Errors
    /// [`CONFIG`] if the endpoint cannot be used.
    pub(crate) fn start(verbose: u8, quiet: bool, endpoint: Option<&str>, colors: bool) -> Result<Self> {
        // What the crates of a cluster write holds plans with their constants, and errors with their values.
        let level = match (quiet, verbose) {
            (true, _) => "off",
            (false, 0) => "error,pipeline_core=off,ballista_core=off,ballista_executor=off,ballista_scheduler=off",
            (false, 1) => {
                "warn,pipeline=info,pipeline_core=info,pipeline_extractors=info,pipeline_loaders=info,pipeline_transforms=info,\
                 ballista_core=off,ballista_executor=off,ballista_scheduler=off"
            }
            (false, 2) => {
                "info,pipeline=debug,pipeline_core=debug,pipeline_extractors=debug,pipeline_loaders=debug,pipeline_transforms=debug,\
                 ballista_core=off,ballista_executor=off,ballista_scheduler=off"
            }
            (false, _) => "debug",
        };
        let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(colors).with_target(verbose > 1);
        let log = tracing_subscriber::Layer::with_filter(log, EnvFilter::new(level));
        let provider = endpoint.map(provider).transpose()?;
        let traces = provider.as_ref().map(|provider| {
            let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("pipeline"));
            // Only our own spans: drivers' internals are not what people look for in a trace.
            tracing_subscriber::Layer::with_filter(
                layer,
                EnvFilter::new(
                    "off,pipeline=debug,pipeline_core=debug,pipeline_extractors=debug,pipeline_loaders=debug,pipeline_transforms=debug",
                ),
            )
        });
        tracing_subscriber::registry().with(log).with(traces).try_init().map_err(|_| Error::new(&CONFIG, "logging was started twice"))?;
        Ok(Self(provider))
    }

    /// Sends the spans that wait, for a bounded time. A receiver that does not answer loses them, and nothing else.
    pub(crate) async fn finish(self) {
        let Some(provider) = self.0 else { return };
        // Not on a worker: it waits for the exporter, which needs one.
        let sent = tokio::task::spawn_blocking(move || provider.force_flush().and_then(|()| provider.shutdown())).await;
        if !matches!(sent, Ok(Ok(()))) {
            tracing::warn!("not all spans could be sent to the OTLP receiver");
        }
    }
}

fn provider(endpoint: &str) -> Result<SdkTracerProvider> {
    let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(url)
        .with_timeout(std::time::Duration::from_secs(5))
        .build()
        .map_err(|_| {
            Error::new(&CONFIG, "the OTLP endpoint cannot be used").hint("Give `otlp_endpoint` in [telemetry] as http://host:4318.")
        })?;
    let resource = Resource::builder().with_service_name("pipeline").build();
    Ok(SdkTracerProvider::builder()
        .with_span_processor(BatchSpanProcessor::builder(exporter, Tokio).build())
        .with_resource(resource)
        .build())
}
