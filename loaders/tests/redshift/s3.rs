//! The S3 edges against a real server.

use std::time::Duration;

use pipeline_core::window::Timestamp;
use pipeline_loaders::s3::{BucketPath, abort_stale_uploads, delete, probe_bucket, put_new, s3_client, sdk_config};

use crate::servers::{BUCKET, REGION, S3};

fn place(key: &str) -> BucketPath {
    BucketPath { bucket: BUCKET.to_owned(), key: key.to_owned() }
}

async fn client(options: &pipeline_loaders::s3::AwsOptions) -> aws_sdk_s3::Client {
    s3_client(&sdk_config(options).await)
}

#[tokio::test]
async fn an_object_is_put_once() {
    let client = client(&S3::get().owner()).await;
    let place = place("put-once/a.json");
    put_new(&client, &place, b"one", "application/json").await.unwrap();
    put_new(&client, &place, b"one", "application/json").await.unwrap();
    let error = put_new(&client, &place, b"two", "application/json").await.unwrap_err();
    assert!(format!("{error:?}").contains("other content"), "{error:?}");
    delete(&client, &place).await.unwrap();
    delete(&client, &place).await.unwrap();
    put_new(&client, &place, b"two", "application/json").await.unwrap();
}

#[tokio::test]
async fn refusals_name_the_place_and_the_code() {
    let s3 = S3::get();
    let error = put_new(&client(&s3.reader()).await, &place("denied"), b"x", "text/plain").await.unwrap_err();
    assert_eq!((error.code().name, error.kind().exit_code()), ("E-S3-DENIED", 3), "{error:?}");
    assert!(error.message().contains("s3://lake/denied"));
    let missing = BucketPath { bucket: "no-such-bucket".to_owned(), key: "x".to_owned() };
    let error = put_new(&client(&s3.owner()).await, &missing, b"x", "text/plain").await.unwrap_err();
    assert_eq!(error.code().name, "E-S3-DENIED", "{error:?}");
    let mut wrong = s3.owner();
    wrong.credentials.as_mut().unwrap().secret_access_key = "wrong".to_owned();
    let error = put_new(&client(&wrong).await, &place("denied"), b"x", "text/plain").await.unwrap_err();
    assert_eq!(error.code().name, "E-AWS-CREDENTIALS", "{error:?}");
    assert!(!format!("{error:?}").contains("wrong"), "{error:?}");
}

#[tokio::test]
async fn only_stale_uploads_below_the_prefix_are_aborted() {
    let client = client(&S3::get().owner()).await;
    for key in ["uploads/a", "uploads/deep/b", "elsewhere/c"] {
        client.create_multipart_upload().bucket(BUCKET).key(key).send().await.unwrap();
    }
    let open = || async {
        let found = client.list_multipart_uploads().bucket(BUCKET).send().await.unwrap();
        let mut keys: Vec<String> = found.uploads().iter().filter_map(|upload| upload.key().map(str::to_owned)).collect();
        keys.retain(|key| key.starts_with("uploads/") || key.starts_with("elsewhere/"));
        keys.sort();
        keys
    };
    assert_eq!(open().await, ["elsewhere/c", "uploads/a", "uploads/deep/b"]);
    let far = Timestamp::from_microseconds(4_000_000_000_000_000);
    let past = Timestamp::from_microseconds(1_000_000_000_000_000);
    // Begun after `past`: they may still be written to.
    assert_eq!(abort_stale_uploads(&client, &place("uploads"), past, Duration::from_secs(3600)).await.unwrap(), 0);
    assert_eq!(open().await.len(), 3);
    assert_eq!(abort_stale_uploads(&client, &place("uploads"), far, Duration::from_secs(3600)).await.unwrap(), 2);
    assert_eq!(open().await, ["elsewhere/c"]);
}

#[tokio::test]
async fn a_bucket_is_probed_with_the_operations_of_a_run() {
    let s3 = S3::get();
    let probes = probe_bucket(&client(&s3.owner()).await, &place("probed/landing"), Some(REGION), "one").await;
    let failed: Vec<_> = probes.iter().filter(|probe| !probe.ok).collect();
    assert!(failed.is_empty() && probes.len() >= 6, "{probes:?}");
    let left = client(&s3.owner()).await.list_objects_v2().bucket(BUCKET).prefix("probed/").send().await.unwrap();
    assert_eq!(left.key_count(), Some(0), "the probe left {:?}", left.contents());

    let probes = probe_bucket(&client(&s3.reader()).await, &place("probed/landing"), Some(REGION), "two").await;
    let write = probes.iter().find(|probe| probe.what.starts_with("write")).unwrap();
    assert!(!write.ok && write.fix.as_ref().unwrap().contains("s3:PutObject"), "{write:?}");
    assert!(probes.iter().any(|probe| probe.what.starts_with("list") && probe.ok), "{probes:?}");
}
