//! Contexts that are not in the server's own store.

use std::time::Duration;

use bakery_context::s3::{S3Error, S3Store};
use bakery_core::reason::Reason;
use bakery_core::secret::Secret;
use futures_util::StreamExt as _;
use reqwest::StatusCode;

use super::{Chunks, FetchError, context_broken};
use crate::failure::Failure;

/// Maximum time between two reads from a store.
const READ_TIMEOUT: Duration = Duration::from_secs(45);

/// Reads one object by its URL. Errors never contain the URL, because whoever has it can read the object.
pub(super) async fn url(url: &Secret) -> Result<Chunks, FetchError> {
    let transient = |error: reqwest::Error| FetchError::Transient(error.without_url().to_string());
    let client =
        reqwest::Client::builder().http1_only().read_timeout(READ_TIMEOUT).build().map_err(transient)?;
    let response = client.get(url.expose()).send().await.map_err(transient)?;
    let status = response.status();
    if status.is_success() {
        let bytes = response.bytes_stream();
        return Ok(bytes.map(|chunk| chunk.map_err(|error| error.without_url().to_string())).boxed());
    }
    let text = format!("the context's store responded with {status}");
    if status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
    {
        return Err(FetchError::Transient(text));
    }
    Err(FetchError::Permanent(
        context_broken(text).with_hint(
            "the URL may have expired, or the object may have been deleted: submit the build again",
        ),
    ))
}

/// Reads one object from S3 with the identity that the platform gives to the container.
pub(super) async fn s3(
    endpoint: Option<&str>,
    region: &str,
    bucket: &str,
    key: &str,
) -> Result<Chunks, FetchError> {
    let classified = |error: &S3Error| {
        if error.is_transient() {
            FetchError::Transient(error.to_string())
        } else {
            FetchError::Permanent(Failure::of(Reason::ContextBroken, error))
        }
    };
    let store =
        S3Store::with_task_role(endpoint.map(str::to_owned), region.to_owned(), bucket.to_owned()).await;
    let object = store.get(key).await.map_err(|error| classified(&error))?;
    Ok(object.into_stream().map(|chunk| chunk.map_err(|error| error.to_string())).boxed())
}
