//! The S3 server that loads read from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, ObjectStoreExt, RetryConfig};

use super::command::Location;
use super::failure::LoadFailure;

/// How S3 is reached, and what the cluster may not read.
#[derive(Clone)]
pub(crate) struct StorageSettings {
    pub(crate) endpoint: String,
    pub(crate) region: String,
    pub(crate) access_key_id: Option<String>,
    pub(crate) secret_access_key: Option<String>,
    /// Buckets that stand for ones of another Region.
    pub(crate) foreign_buckets: Vec<String>,
}

/// An object found under a prefix or named by a manifest.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) location: Location,
    pub(crate) bytes: u64,
}

/// Clients of the S3 server, one a bucket.
pub(crate) struct Storage {
    settings: StorageSettings,
    buckets: Mutex<HashMap<String, Arc<AmazonS3>>>,
}

impl Storage {
    pub(crate) fn new(settings: StorageSettings) -> Self {
        Self { settings, buckets: Mutex::new(HashMap::new()) }
    }

    /// The object's address as failures name it, percent-encoded.
    pub(crate) fn url(&self, location: &Location) -> String {
        format!("https://s3.{}.amazonaws.com/{}/{}", self.settings.region, location.bucket, location.key.replace('=', "%3D"))
    }

    fn bucket(&self, bucket: &str) -> Result<Arc<AmazonS3>, LoadFailure> {
        if self.settings.foreign_buckets.iter().any(|foreign| foreign == bucket) {
            let text = "S3ServiceException:The bucket you are attempting to access must be addressed using the specified endpoint. Please send all future requests to this endpoint.,Status 301,Error PermanentRedirect";
            return Err(LoadFailure::storage(bucket, text));
        }
        let mut buckets = self.buckets.lock().map_err(|_| LoadFailure::storage(bucket, "S3 client is unavailable"))?;
        if let Some(client) = buckets.get(bucket) {
            return Ok(Arc::clone(client));
        }
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(bucket)
            .with_endpoint(&self.settings.endpoint)
            .with_region(&self.settings.region)
            .with_virtual_hosted_style_request(false)
            .with_retry(RetryConfig { max_retries: 3, ..RetryConfig::default() })
            .with_client_options(ClientOptions::new().with_allow_http(true));
        match (&self.settings.access_key_id, &self.settings.secret_access_key) {
            (Some(id), Some(secret)) => builder = builder.with_access_key_id(id).with_secret_access_key(secret),
            _ => builder = builder.with_skip_signature(true),
        }
        let client = Arc::new(builder.build().map_err(|error| LoadFailure::storage(bucket, format!("S3 client cannot be made: {error}")))?);
        buckets.insert(bucket.to_owned(), Arc::clone(&client));
        Ok(client)
    }

    /// Objects whose key begins with the location's, in key order.
    pub(crate) async fn list(&self, prefix: &Location) -> Result<Vec<Found>, LoadFailure> {
        let client = self.bucket(&prefix.bucket)?;
        let missing = || LoadFailure::storage(&prefix.key, format!("The specified S3 prefix '{}' does not exist", prefix.key));
        // The client lists whole path segments: the last one, perhaps the beginning of a name, is compared here.
        let folder = match prefix.key.rsplit_once('/') {
            Some((folder, _)) => Some(Path::parse(folder).map_err(|_| missing())?),
            None => None,
        };
        let listed: Vec<_> = client.list(folder.as_ref()).try_collect().await.map_err(|error| failure(prefix, &error))?;
        let mut found: Vec<Found> = listed
            .into_iter()
            .map(|meta| Found { location: Location { bucket: prefix.bucket.clone(), key: meta.location.to_string() }, bytes: meta.size })
            .filter(|found| found.location.key.starts_with(&prefix.key))
            .collect();
        found.sort_by(|left, right| left.location.key.cmp(&right.location.key));
        if found.is_empty() { Err(missing()) } else { Ok(found) }
    }

    /// The object's size, or none when it does not exist.
    pub(crate) async fn size(&self, location: &Location) -> Result<Option<u64>, LoadFailure> {
        let client = self.bucket(&location.bucket)?;
        let Ok(path) = Path::parse(&location.key) else { return Ok(None) };
        match client.head(&path).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failure(location, &error)),
        }
    }

    /// The object's bytes, or none when it does not exist.
    pub(crate) async fn read(&self, location: &Location) -> Result<Option<Bytes>, LoadFailure> {
        let client = self.bucket(&location.bucket)?;
        let Ok(path) = Path::parse(&location.key) else { return Ok(None) };
        match client.get(&path).await {
            Ok(result) => result.bytes().await.map(Some).map_err(|error| failure(location, &error)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(failure(location, &error)),
        }
    }
}

/// What S3 answered, in the service's words. The client's own text is left out: it may hold addresses.
fn failure(location: &Location, error: &object_store::Error) -> LoadFailure {
    let text = match error {
        object_store::Error::NotFound { .. } => "S3ServiceException:The specified bucket does not exist,Status 404,Error NoSuchBucket",
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
            "S3ServiceException:Access Denied,Status 403,Error AccessDenied"
        }
        _ => "S3ServiceException:Retries exceeded",
    };
    LoadFailure::storage(&location.key, text)
}
