//! Uploads that nobody finished: they cost money and cannot be seen in a listing.

use std::time::Duration;

use aws_sdk_s3::Client;
use pipeline_core::error::Result;
use pipeline_core::window::Timestamp;

use super::object::{BucketPath, s3_error};

/// Aborts multipart uploads below `place` that were begun more than `age` before `now`; returns how many. Younger ones may
/// belong to a run that is still writing.
///
/// # Errors
/// [`super::S3`] and kin.
pub async fn abort_stale_uploads(client: &Client, place: &BucketPath, now: Timestamp, age: Duration) -> Result<u64> {
    let what = format!("unfinished uploads below \"{}\" could not be listed", place.url());
    let age_us = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    let begun_before = now.microseconds().saturating_sub(age_us) / 1_000_000;
    let mut aborted = 0;
    let mut key_marker = None;
    let mut upload_marker = None;
    loop {
        let page = client
            .list_multipart_uploads()
            .bucket(&place.bucket)
            .prefix(&place.key)
            .set_key_marker(key_marker)
            .set_upload_id_marker(upload_marker)
            .send()
            .await
            .map_err(|error| s3_error(&what, &error))?;
        for upload in page.uploads() {
            let (Some(key), Some(id), Some(begun)) = (upload.key(), upload.upload_id(), upload.initiated()) else { continue };
            if begun.secs() >= begun_before {
                continue;
            }
            let sent = client.abort_multipart_upload().bucket(&place.bucket).key(key).upload_id(id).send().await;
            match sent {
                Ok(_) => aborted += 1,
                // It was finished or aborted meanwhile.
                Err(error) if error.raw_response().is_some_and(|response| response.status().as_u16() == 404) => {}
                Err(error) => return Err(s3_error(&format!("upload of \"{}\" could not be aborted", place.with_key(key).url()), &error)),
            }
        }
        if !page.is_truncated().unwrap_or(false) || page.next_key_marker().is_none() {
            return Ok(aborted);
        }
        key_marker = page.next_key_marker().map(str::to_owned);
        upload_marker = page.next_upload_id_marker().map(str::to_owned);
    }
}
