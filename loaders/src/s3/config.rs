//! One configuration for all of Amazon's clients, and the S3 client made from it.

use std::fmt;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

/// Longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest wait for an answer: more than the 30 seconds for which the Data API holds a request open.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(75);

/// Tries of one request, the first included, that the client makes by itself.
const ATTEMPTS_MAX: u32 = 4;

/// How to reach Amazon's services, or servers that speak like them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AwsOptions {
    /// The region; None: from the environment, the profile or the machine.
    pub region: Option<String>,
    /// Another server than Amazon's, for all services.
    pub endpoint: Option<String>,
    /// Credentials; None: the usual chain of environment, profile, SSO, container and machine role.
    pub credentials: Option<StaticCredentials>,
    /// The profile of the shared configuration files.
    pub profile: Option<String>,
}

/// Credentials that were given. They never show themselves.
#[derive(Clone, PartialEq, Eq)]
pub struct StaticCredentials {
    /// The access key's id.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// The session's token, for temporary credentials.
    pub session_token: Option<String>,
}

impl fmt::Debug for StaticCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StaticCredentials(…)")
    }
}

/// The configuration that every client of Amazon's services here is made from: TLS by rustls with ring, bounded retries and
/// timeouts, credentials resolved once. Opens no connection.
pub async fn sdk_config(options: &AwsOptions) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .timeout_config(timeouts)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX));
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(given) = &options.credentials {
        let credentials =
            Credentials::new(&given.access_key_id, &given.secret_access_key, given.session_token.clone(), None, "configuration");
        loader = loader.credentials_provider(credentials);
    }
    loader.load().await
}

/// A client for S3. Other servers than Amazon's get the bucket in the path: few of them serve a host name per bucket.
#[must_use]
pub fn s3_client(config: &SdkConfig) -> aws_sdk_s3::Client {
    let settings = aws_sdk_s3::config::Builder::from(config).force_path_style(config.endpoint_url().is_some()).build();
    aws_sdk_s3::Client::from_conf(settings)
}

/// Whether a request never left because there were no credentials to sign it with.
pub(crate) fn lacks_credentials(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut deeper = Some(error);
    while let Some(error) = deeper {
        if error.is::<aws_credential_types::provider::error::CredentialsError>() {
            return true;
        }
        deeper = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_show_themselves() {
        let credentials = StaticCredentials { access_key_id: "AKIA1".into(), secret_access_key: "hush".into(), session_token: None };
        let options = AwsOptions { credentials: Some(credentials), ..AwsOptions::default() };
        let text = format!("{options:?}");
        assert!(!text.contains("AKIA1") && !text.contains("hush"), "{text}");
    }
}
