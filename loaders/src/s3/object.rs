//! Small objects: put once, read, removed.

use aws_sdk_s3::Client;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use pipeline_core::error::{Error, Result};

use super::{AWS_CREDENTIALS, S3, S3_DENIED, S3_URL};

/// Tries of a conditional put that runs into another one.
const PUT_CONFLICTS_MAX: u32 = 3;

/// A place in a bucket: a key, or the beginning of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketPath {
    /// The bucket.
    pub bucket: String,
    /// The key, without a slash at its beginning.
    pub key: String,
}

impl BucketPath {
    /// Parses `s3://bucket/key`.
    ///
    /// # Errors
    /// [`S3_URL`] if it is another kind of URL or names no bucket.
    pub fn parse(url: &str) -> Result<Self> {
        let wrong = || Error::new(&S3_URL, format!("\"{}\" is not a place in S3", url.split('?').next().unwrap_or_default()));
        let rest = url.strip_prefix("s3://").ok_or_else(wrong)?;
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() || bucket.contains(['@', '?', ':']) {
            return Err(wrong());
        }
        Ok(Self { bucket: bucket.to_owned(), key: key.trim_matches('/').to_owned() })
    }

    /// The same bucket with another key.
    #[must_use]
    pub fn with_key(&self, key: impl Into<String>) -> Self {
        Self { bucket: self.bucket.clone(), key: key.into() }
    }

    /// The URL, as COPY wants it.
    #[must_use]
    pub fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.key)
    }
}

/// Writes an object that must not exist yet (`If-None-Match: *`). An object of the same content is no error: that is how an
/// answer looks that was lost after the object was written.
///
/// # Errors
/// [`S3`] if it exists with other content or S3 cannot be reached, [`S3_DENIED`], [`AWS_CREDENTIALS`].
pub async fn put_new(client: &Client, place: &BucketPath, content: &[u8], content_type: &str) -> Result<()> {
    let what = || format!("S3 object \"{}\" could not be written", place.url());
    for _ in 0..PUT_CONFLICTS_MAX {
        let sent = client
            .put_object()
            .bucket(&place.bucket)
            .key(&place.key)
            .if_none_match("*")
            .content_type(content_type)
            .body(ByteStream::from(content.to_vec()))
            .send()
            .await;
        match sent {
            Ok(_) => return Ok(()),
            Err(error) => match status(&error) {
                // Somebody else is writing this very key at this moment (ConditionalRequestConflict): the put is tried again.
                Some(409) => {}
                Some(412) => {
                    if get(client, place).await? == content {
                        return Ok(());
                    }
                    return Err(Error::new(&S3, what()).caused_by("it exists with other content"));
                }
                _ => return Err(s3_error(&what(), &error)),
            },
        }
    }
    Err(Error::new(&S3, what()).caused_by("another writer holds this key"))
}

/// Reads a small object.
///
/// # Errors
/// [`S3`] and kin.
pub(super) async fn get(client: &Client, place: &BucketPath) -> Result<Vec<u8>> {
    let what = || format!("S3 object \"{}\" could not be read", place.url());
    let found = client.get_object().bucket(&place.bucket).key(&place.key).send().await.map_err(|error| s3_error(&what(), &error))?;
    let bytes = found.body.collect().await.map_err(|_| Error::new(&S3, what()).caused_by("the answer ended too early"))?;
    Ok(bytes.into_bytes().to_vec())
}

/// Removes an object; one that does not exist is no error.
///
/// # Errors
/// [`S3`] and kin.
pub async fn delete(client: &Client, place: &BucketPath) -> Result<()> {
    let sent = client.delete_object().bucket(&place.bucket).key(&place.key).send().await;
    match sent {
        Ok(_) => Ok(()),
        Err(error) if status(&error) == Some(404) && error.code() != Some("NoSuchBucket") => Ok(()),
        Err(error) => Err(s3_error(&format!("S3 object \"{}\" could not be removed", place.url()), &error)),
    }
}

/// Removes everything in the folder `place`.
///
/// # Errors
/// [`S3`] and kin.
pub async fn delete_below(client: &Client, place: &BucketPath) -> Result<()> {
    let what = format!("S3 folder \"{}\" could not be listed", place.url());
    loop {
        let request = client.list_objects_v2().bucket(&place.bucket).prefix(format!("{}/", place.key));
        let page = request.send().await.map_err(|error| s3_error(&what, &error))?;
        for object in page.contents().iter().filter_map(|object| object.key()) {
            delete(client, &place.with_key(object)).await?;
        }
        // What was removed is not listed again, so every page is the first.
        if !page.is_truncated().unwrap_or(false) {
            return Ok(());
        }
    }
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// Classifies an error of S3 by its code. Only the code is shown: texts can hold signed URLs.
pub(super) fn s3_error<E>(what: &str, error: &SdkError<E>) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let named = |code| match error.code() {
        Some(name) => Error::new(code, what).caused_by(format!("S3 says {name}")),
        None => Error::new(code, what).caused_by(match status(error) {
            Some(status) => format!("S3 answers with status {status}"),
            None => "S3 cannot be reached".to_owned(),
        }),
    };
    if super::lacks_credentials(error) {
        return Error::new(&AWS_CREDENTIALS, what);
    }
    match error.code() {
        Some("ExpiredToken" | "InvalidToken" | "InvalidAccessKeyId" | "SignatureDoesNotMatch") => named(&AWS_CREDENTIALS),
        Some("AccessDenied" | "NoSuchBucket" | "AllAccessDisabled") => named(&S3_DENIED),
        _ if matches!(status(error), Some(401 | 403)) => named(&S3_DENIED),
        _ => named(&S3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_parsed() {
        let place = BucketPath::parse("s3://lake/a/b/").unwrap();
        assert_eq!((place.bucket.as_str(), place.key.as_str()), ("lake", "a/b"));
        assert_eq!(place.with_key("c").url(), "s3://lake/c");
        assert_eq!(BucketPath::parse("s3://lake").unwrap().key, "");
        for bad in ["file:///lake", "s3://", "s3:///key", "s3://key:secret@bucket/x", "lake"] {
            assert!(BucketPath::parse(bad).is_err(), "{bad}");
        }
    }
}
