//! Refuses a build that uses keys which the server does not know, before anything is packed.

use bakery_core::spec::BuildSpec;
use bakery_core::wire::keys;
use bakery_link::ServerApi;

use crate::exit::Failure;
use crate::submit::retry;

/// Asks the server which keys it supports, if the build uses any that not every server supports.
pub(crate) async fn check(server: &ServerApi, spec: &BuildSpec) -> Result<(), Failure> {
    let used = keys::added(spec);
    if used.is_empty() {
        return Ok(());
    }
    let info = retry(false, || server.info()).await?;
    let unknown: Vec<_> =
        used.into_iter().filter(|key| !info.keys.iter().any(|known| known == key)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let text =
        format!("not supported by the server, whose version is {}: {}", info.version, unknown.join(", "));
    Err(Failure::input(
        text,
        "upgrade the server, or remove what sets them (in a Compose file: the attributes of `build`)",
    ))
}
