//! AWS Signature Version 4, for the few requests that the harness itself makes to the S3 server.
//!
//! Own code, so that what tests look at the bucket with is not the client they test. The steps are those of "Create a signed AWS
//! API request" in the IAM User Guide (docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).

use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use ureq::http::Method;

use crate::s3::Credentials;

/// What is signed.
#[derive(Debug)]
pub(crate) struct Signable<'a> {
    pub(crate) method: &'a Method,
    /// As in the Host header.
    pub(crate) host: &'a str,
    /// Already encoded, with the slash at its beginning.
    pub(crate) path: &'a str,
    /// Names and values, not yet encoded.
    pub(crate) query: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a [u8],
}

/// The query as it is sent and signed: encoded and sorted.
pub(crate) fn query_text(query: &[(&str, &str)]) -> String {
    let mut pairs: Vec<String> = query.iter().map(|(name, value)| format!("{}={}", encode(name, false), encode(value, false))).collect();
    pairs.sort_unstable();
    pairs.join("&")
}

/// A path as it is sent and signed.
pub(crate) fn path_text(path: &str) -> String {
    encode(path, true)
}

fn encode(text: &str, keep_slashes: bool) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (keep_slashes && byte == b'/') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// The headers that sign a request for service `s3`.
pub(crate) fn headers(request: &Signable<'_>, credentials: &Credentials, region: &str, time: DateTime<Utc>) -> Vec<(String, String)> {
    let timestamp = time.format("%Y%m%dT%H%M%SZ").to_string();
    let date = time.format("%Y%m%d").to_string();
    let body_digest = hex::encode(Sha256::digest(request.body));
    let signed = "host;x-amz-content-sha256;x-amz-date";
    let canonical = format!(
        "{}\n{}\n{}\nhost:{}\nx-amz-content-sha256:{body_digest}\nx-amz-date:{timestamp}\n\n{signed}\n{body_digest}",
        request.method,
        request.path,
        query_text(request.query),
        request.host,
    );
    let scope = format!("{date}/{region}/s3/aws4_request");
    let text = format!("AWS4-HMAC-SHA256\n{timestamp}\n{scope}\n{}", hex::encode(Sha256::digest(canonical)));
    let mut key = keyed(format!("AWS4{}", credentials.secret_access_key).as_bytes(), &date);
    for part in [region, "s3", "aws4_request"] {
        key = keyed(&key, part);
    }
    let signature = hex::encode(keyed(&key, &text));
    let authorization =
        format!("AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}", credentials.access_key_id);
    vec![
        ("x-amz-content-sha256".to_owned(), body_digest),
        ("x-amz-date".to_owned(), timestamp),
        ("authorization".to_owned(), authorization),
    ]
}

fn keyed(key: &[u8], text: &str) -> Vec<u8> {
    let mut code = <Hmac<Sha256> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    code.update(text.as_bytes());
    code.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_example_is_signed_as_published() {
        // "Example: GET Bucket (List Objects)" of the Amazon S3 API Reference, "Signature Calculations for the Authorization Header".
        let credentials = Credentials {
            access_key_id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".to_owned(),
        };
        let request = Signable {
            method: &Method::GET,
            host: "examplebucket.s3.amazonaws.com",
            path: "/",
            query: &[("max-keys", "2"), ("prefix", "J")],
            body: b"",
        };
        let time = DateTime::parse_from_rfc3339("2013-05-24T00:00:00Z").unwrap().to_utc();
        let headers = headers(&request, &credentials, "us-east-1", time);
        let (_, authorization) = headers.last().unwrap();
        assert!(authorization.ends_with("Signature=34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"), "{authorization}");
    }

    #[test]
    fn paths_keep_their_slashes_and_queries_do_not() {
        assert_eq!(path_text("/bucket/a b/ż"), "/bucket/a%20b/%C5%BC");
        assert_eq!(query_text(&[("prefix", "a/b"), ("list-type", "2")]), "list-type=2&prefix=a%2Fb");
    }
}
