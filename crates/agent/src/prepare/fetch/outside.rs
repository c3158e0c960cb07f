//! Contexts that do not come from the server's own store.

use std::time::Duration;

use bakery_context::s3::{S3Error, S3Store};
use bakery_core::secret::Secret;
use futures_util::StreamExt as _;
use reqwest::StatusCode;

use super::{Pieces, Trouble, broken};

/// How long a store may stay silent.
const SILENCE: Duration = Duration::from_secs(45);

/// Reads one object by its URL. No error names the URL: it opens the object to everybody who has it.
pub(super) async fn url(url: &Secret) -> Result<Pieces, Trouble> {
    let passing = |error: reqwest::Error| Trouble::Passing(error.without_url().to_string());
    let client = reqwest::Client::builder().http1_only().read_timeout(SILENCE).build().map_err(passing)?;
    let response = client.get(url.expose()).send().await.map_err(passing)?;
    let status = response.status();
    if status.is_success() {
        let bytes = response.bytes_stream();
        return Ok(bytes.map(|piece| piece.map_err(|error| error.without_url().to_string())).boxed());
    }
    let text = format!("the store answered {status} to the URL of the context");
    if status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
    {
        return Err(Trouble::Passing(text));
    }
    Err(Trouble::Final(
        broken(text).hint("the URL may have expired, or the object is gone: submit the build again"),
    ))
}

/// Reads one object with the identity that the platform gave to the container.
pub(super) async fn s3(
    endpoint: Option<&str>,
    region: &str,
    bucket: &str,
    key: &str,
) -> Result<Pieces, Trouble> {
    let judged = |error: &S3Error| {
        if error.is_transient() {
            Trouble::Passing(error.to_string())
        } else {
            Trouble::Final(broken(error.to_string()).hint(error.hint()))
        }
    };
    let store =
        S3Store::with_task_role(endpoint.map(str::to_owned), region.to_owned(), bucket.to_owned()).await;
    let object = store.get(key).await.map_err(|error| judged(&error))?;
    Ok(object.into_stream().map(|piece| piece.map_err(|error| error.to_string())).boxed())
}
