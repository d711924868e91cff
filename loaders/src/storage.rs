//! Places for landing and lake: a local folder, or a prefix in a bucket.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use object_store::aws::{AmazonS3Builder, AwsCredential, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::path::Path as StorePath;
use object_store::{BackoffConfig, CredentialProvider, ObjectStore, RetryConfig};
use pipeline_core::error::{Code, Error, ErrorKind, Result};
use pipeline_core::landing::Landing;
use url::Url;

use crate::s3::{AwsOptions, sdk_config};

/// A place for landing or lake cannot be used.
pub static STORAGE: Code = Code {
    name: "E-STORAGE",
    kind: ErrorKind::Usage,
    meaning: "The place of the landing or the lake is neither a folder that can be made nor a bucket's address.",
    remedy: "Give a folder, or s3://bucket/prefix with the region in [aws].",
};

/// The codes of this module.
pub const CODES: &[&Code] = &[&STORAGE];

/// Tries of one request to the store, over at most [`RETRY_TIMEOUT`].
const RETRIES_MAX: usize = 6;

/// Longest time that one request to the store is tried.
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);

/// An opened place.
#[derive(Debug, Clone)]
pub struct Storage {
    /// The store; its root is the disk's or the bucket's root.
    pub store: Arc<dyn ObjectStore>,
    /// The place in it.
    pub prefix: StorePath,
    /// The place as people and statements name it, with a slash at its end.
    pub url: Url,
}

impl Storage {
    /// Opens a place. A folder is made if need be; a bucket is not touched yet.
    ///
    /// # Errors
    /// [`STORAGE`] if the place cannot be one.
    pub async fn open(place: &str, aws: &AwsOptions, kms_key: Option<&str>) -> Result<Self> {
        match place.strip_prefix("s3://") {
            Some(rest) => Self::bucket(rest, aws, kms_key).await,
            None => Self::folder(place),
        }
    }

    fn folder(place: &str) -> Result<Self> {
        let failed = |cause: std::io::ErrorKind| {
            let code = if cause == std::io::ErrorKind::PermissionDenied { &pipeline_core::landing::LANDING_DENIED } else { &STORAGE };
            Error::new(code, format!("folder \"{place}\" could not be made")).caused_by(cause)
        };
        let local = place.strip_prefix("file://").unwrap_or(place);
        std::fs::create_dir_all(local).map_err(|error| failed(error.kind()))?;
        let folder = Path::new(local).canonicalize().map_err(|error| failed(error.kind()))?;
        let url = Url::from_directory_path(&folder).map_err(|()| failed(std::io::ErrorKind::InvalidInput))?;
        let prefix = StorePath::from_absolute_path(&folder).map_err(|_| failed(std::io::ErrorKind::InvalidInput))?;
        Ok(Self { store: Arc::new(LocalFileSystem::new()), prefix, url })
    }

    async fn bucket(rest: &str, aws: &AwsOptions, kms_key: Option<&str>) -> Result<Self> {
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let wrong = || Error::new(&STORAGE, format!("\"s3://{rest}\" is not the address of a place in a bucket"));
        if bucket.is_empty() {
            return Err(wrong());
        }
        let config = sdk_config(aws).await;
        let region = config.region().map_or_else(|| "us-east-1".to_owned(), ToString::to_string);
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_region(region)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_retry(RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT, backoff: BackoffConfig::default() });
        if let Some(endpoint) = &aws.endpoint {
            builder =
                builder.with_endpoint(endpoint).with_virtual_hosted_style_request(false).with_allow_http(endpoint.starts_with("http://"));
        }
        if let Some(key) = kms_key {
            builder = builder.with_sse_kms_encryption(key);
        }
        if let Some(provider) = credentials(&config) {
            builder = builder.with_credentials(Arc::new(provider));
        }
        let store = builder.build().map_err(|_| wrong())?;
        let prefix = StorePath::parse(prefix.trim_matches('/')).map_err(|_| wrong())?;
        let url = Url::parse(&format!("s3://{bucket}/{prefix}"))
            .and_then(|url| if prefix.as_ref().is_empty() { Ok(url) } else { Url::parse(&format!("{url}/")) });
        Ok(Self { store: Arc::new(store), prefix, url: url.map_err(|_| wrong())? })
    }

    /// The place as a landing.
    #[must_use]
    pub fn landing(&self) -> Landing {
        Landing::new(Arc::clone(&self.store), self.prefix.clone(), self.url.as_str().trim_end_matches('/'))
    }
}

fn credentials(config: &SdkConfig) -> Option<SdkCredentials> {
    config.credentials_provider().map(SdkCredentials)
}

/// The SDK's chain of credentials (environment, profiles, SSO, containers, machine roles) for the object store.
#[derive(Debug)]
struct SdkCredentials(SharedCredentialsProvider);

#[async_trait]
impl CredentialProvider for SdkCredentials {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        // The provider caches, and fetches anew before its credentials expire.
        let found = self
            .0
            .provide_credentials()
            .await
            .map_err(|error| object_store::Error::Unauthenticated { path: "credentials".to_owned(), source: Box::new(error) })?;
        Ok(Arc::new(AwsCredential {
            key_id: found.access_key_id().to_owned(),
            secret_key: found.secret_access_key().to_owned(),
            token: found.session_token().map(str::to_owned),
        }))
    }
}
