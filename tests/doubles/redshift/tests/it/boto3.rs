//! The unmodified AWS SDK for Python works against the double.

use std::process::Command;

use crate::copy::{manifest, people};
use crate::harness::{double, schema, service};

#[test]
fn boto3_runs_loads_and_reads() {
    let double = double();
    let schema = schema(double);
    let url = manifest(&schema, &[&people(&[1, 2], &["ann", "bob"])]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/boto3_client.py");
    let output = Command::new(service("python"))
        .arg(script)
        .args([&format!("http://{}", double.address), &schema, &url])
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .unwrap();
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "every call was understood");
}
