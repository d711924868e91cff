//! Whether a bucket allows what a run needs, tried with the very operations.

use aws_sdk_s3::Client;
use pipeline_core::error::Result;
use pipeline_core::probe::Probe;

use super::object::{BucketPath, delete, get, put_new, s3_error};

/// Tries to write, read, list, upload in parts and remove below `place`, and looks at region, versioning and life cycle. What
/// it writes, it removes. `name` makes the probe's objects unique.
pub async fn probe_bucket(client: &Client, place: &BucketPath, region: Option<&str>, name: &str) -> Vec<Probe> {
    let prefix = if place.key.is_empty() { String::new() } else { format!("{}/", place.key) };
    let object = place.with_key(format!("{prefix}.pipeline-probe/{name}"));
    let resource = format!("arn:aws:s3:::{}/{prefix}*", place.bucket);
    let bucket = format!("arn:aws:s3:::{}", place.bucket);
    let mut probes = Vec::new();

    let written = put_new(client, &object, name.as_bytes(), "text/plain").await;
    let is_there = written.is_ok();
    probes.push(tried("write", place, written, &statement("s3:PutObject", &resource)));
    if is_there {
        let read = get(client, &object).await.map(|_| ());
        probes.push(tried("read", place, read, &statement("s3:GetObject", &resource)));
        probes.push(tried("remove", place, delete(client, &object).await, &statement("s3:DeleteObject", &resource)));
    }
    probes.push(tried("list", place, list(client, place, &prefix).await, &statement("s3:ListBucket", &bucket)));
    let parts = upload(client, &place.with_key(format!("{}.parts", object.key))).await;
    probes.push(tried("upload in parts to", place, parts, &statement("s3:AbortMultipartUpload\", \"s3:PutObject", &resource)));
    probes.extend(region_of(client, place, region).await);
    probes.extend(versioning_of(client, place).await);
    probes.extend(life_cycle_of(client, place).await);
    probes
}

fn statement(action: &str, resource: &str) -> String {
    format!(r#"Allow it by IAM: {{"Effect": "Allow", "Action": ["{action}"], "Resource": "{resource}"}}"#)
}

fn tried(what: &str, place: &BucketPath, result: Result<()>, fix: &str) -> Probe {
    let what = format!("{what} {}", place.url());
    match result {
        Ok(()) => Probe { what, ok: true, detail: "allowed".to_owned(), fix: None },
        Err(error) => {
            let detail = error.causes().first().cloned().unwrap_or_else(|| error.message().to_owned());
            let is_grant = error.code() == &super::S3_DENIED;
            Probe { what, ok: false, detail, fix: Some(if is_grant { fix.to_owned() } else { error.remedy().to_owned() }) }
        }
    }
}

async fn list(client: &Client, place: &BucketPath, prefix: &str) -> Result<()> {
    let sent = client.list_objects_v2().bucket(&place.bucket).prefix(prefix).max_keys(1).send().await;
    sent.map(|_| ()).map_err(|error| s3_error("bucket could not be listed", &error))
}

async fn upload(client: &Client, object: &BucketPath) -> Result<()> {
    let what = "an upload in parts could not be begun and aborted";
    let begun = client.create_multipart_upload().bucket(&object.bucket).key(&object.key).send().await;
    let begun = begun.map_err(|error| s3_error(what, &error))?;
    let id = begun.upload_id().unwrap_or_default();
    let aborted = client.abort_multipart_upload().bucket(&object.bucket).key(&object.key).upload_id(id).send().await;
    aborted.map(|_| ()).map_err(|error| s3_error(what, &error))
}

/// COPY has no REGION with Parquet: bucket and warehouse must stand in one.
async fn region_of(client: &Client, place: &BucketPath, region: Option<&str>) -> Option<Probe> {
    let wanted = region?;
    let found = client.head_bucket().bucket(&place.bucket).send().await.ok()?;
    let found = found.bucket_region()?.to_owned();
    let ok = found == wanted;
    Some(Probe {
        what: format!("region of bucket {}", place.bucket),
        ok,
        detail: if ok { found } else { format!("the bucket is in {found}, the warehouse in {wanted}") },
        fix: (!ok).then(|| format!("Land in a bucket of {wanted}: COPY cannot read Parquet from another region.")),
    })
}

async fn versioning_of(client: &Client, place: &BucketPath) -> Option<Probe> {
    let found = client.get_bucket_versioning().bucket(&place.bucket).send().await.ok()?;
    let detail = match found.status() {
        Some(status) if status.as_str() == "Enabled" => "on: removed snapshots stay as old versions until a life cycle removes them",
        Some(_) | None => "off",
    };
    Some(Probe { what: format!("versioning of bucket {}", place.bucket), ok: true, detail: detail.to_owned(), fix: None })
}

async fn life_cycle_of(client: &Client, place: &BucketPath) -> Option<Probe> {
    let found = client.get_bucket_lifecycle_configuration().bucket(&place.bucket).send().await.ok();
    let aborts = found.is_some_and(|found| found.rules().iter().any(|rule| rule.abort_incomplete_multipart_upload().is_some()));
    Some(Probe {
        what: format!("life cycle of bucket {}", place.bucket),
        ok: true,
        detail: if aborts {
            "unfinished uploads are removed".to_owned()
        } else {
            "no rule removes unfinished uploads; runs abort their own, a rule (AbortIncompleteMultipartUpload after 7 days) would catch the rest".to_owned()
        },
        fix: None,
    })
}
