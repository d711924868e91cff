//! What the object store's interface lacks: one configuration for all of Amazon's clients, objects put only once, uploads that
//! nobody finished, and probes of a bucket.

mod config;
mod object;
mod probe;
mod upload;

pub(crate) use config::lacks_credentials;
pub use config::{AwsOptions, StaticCredentials, s3_client, sdk_config};
pub use object::{BucketPath, delete, delete_below, put_new};
pub use probe::probe_bucket;
pub use upload::abort_stale_uploads;

use pipeline_core::error::{Code, ErrorKind};

/// No credentials for Amazon's services.
pub static AWS_CREDENTIALS: Code = Code {
    name: "E-AWS-CREDENTIALS",
    kind: ErrorKind::Denied,
    meaning: "No credentials for Amazon Web Services were found, or those that were found are not accepted any more.",
    remedy: "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile, or run where a role is attached; an SSO session is renewed by `aws sso login`.",
};

/// S3 does not answer.
pub static S3: Code = Code {
    name: "E-S3",
    kind: ErrorKind::Unavailable,
    meaning: "S3 could not be reached, or did not answer as it should, after several tries.",
    remedy: "Check the network, the endpoint and the region, then run again; nothing was published.",
};

/// S3 refuses.
pub static S3_DENIED: Code = Code {
    name: "E-S3-DENIED",
    kind: ErrorKind::Denied,
    meaning: "S3 refuses an operation with these credentials, or the bucket does not exist.",
    remedy: "Grant s3:PutObject, s3:GetObject, s3:ListBucket, s3:DeleteObject and s3:AbortMultipartUpload on the bucket; `pipeline doctor` tries each.",
};

/// A URL is not a place in S3.
pub static S3_URL: Code = Code {
    name: "E-S3-URL",
    kind: ErrorKind::Usage,
    meaning: "A place that must lie in S3 lies elsewhere, or its URL cannot be read.",
    remedy: "Write it as s3://bucket/prefix.",
};

/// Every error of this module.
pub static CODES: &[&Code] = &[&AWS_CREDENTIALS, &S3, &S3_DENIED, &S3_URL];
