//! Where secrets are fetched: the environment, files, AWS Secrets Manager. The only code that reads the environment.

use std::path::Path;

use async_trait::async_trait;
use pipeline_core::config::{SECRET, Secret, SecretSource};
use pipeline_core::error::{Error, Result};
use pipeline_loaders::s3::{AwsOptions, sdk_config};

/// An environment variable's value.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
pub(crate) fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Fetches secrets for one configuration.
#[derive(Debug, Clone)]
pub(crate) struct Secrets {
    folder: std::path::PathBuf,
    aws: AwsOptions,
}

impl Secrets {
    /// Relative paths start at `folder`.
    pub(crate) fn new(folder: &Path, aws: AwsOptions) -> Self {
        Self { folder: folder.to_path_buf(), aws }
    }

    async fn fetch_managed(&self, id: &str, key: Option<&str>) -> Result<String> {
        let config = sdk_config(&self.aws).await;
        let client = aws_sdk_secretsmanager::Client::new(&config);
        let failed = |cause: String| {
            Error::new(&SECRET, format!("secret \"{id}\" of AWS Secrets Manager could not be fetched"))
                .caused_by(cause)
                .hint("Check its name and region, and grant secretsmanager:GetSecretValue on it.")
        };
        let answer = client.get_secret_value().secret_id(id).send().await.map_err(|error| {
            let service = error.as_service_error().and_then(|service| service.meta().code()).unwrap_or("the service did not answer");
            failed(service.to_owned())
        })?;
        let text = answer.secret_string().ok_or_else(|| failed("it is binary".to_owned()))?.to_owned();
        let Some(key) = key else { return Ok(text) };
        serde_json::from_str::<serde_json::Value>(&text)
            .ok()
            .and_then(|object| object.get(key)?.as_str().map(str::to_owned))
            .ok_or_else(|| failed(format!("it has no key \"{key}\"")))
    }
}

#[async_trait]
impl SecretSource for Secrets {
    async fn fetch(&self, secret: &Secret) -> Result<String> {
        match secret {
            Secret::Environment(name) => environment(name).ok_or_else(|| {
                Error::new(&SECRET, format!("environment variable \"{name}\" is not set"))
                    .hint(format!("Set it, for example with `export {name}=…`, or choose another profile with --profile."))
            }),
            Secret::File(path) => {
                let file = self.folder.join(path);
                let text = std::fs::read_to_string(&file).map_err(|error| {
                    Error::new(&SECRET, format!("secret file \"{}\" could not be read", file.display())).caused_by(error.kind())
                })?;
                Ok(text.strip_suffix('\n').unwrap_or(&text).to_owned())
            }
            Secret::SecretsManager { id, key } => self.fetch_managed(id, key.as_deref()).await,
        }
    }
}
