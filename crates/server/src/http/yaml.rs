//! A build submitted as YAML: the user's own config.yaml, with curl alone.

use bakery_core::config::{self, Resolved};
use bakery_core::image::Digest;
use bakery_core::limits;
use bakery_core::report::Notice;
use bakery_core::spec::Order;
use bakery_core::wire::build::SubmitBuild;
use bakery_core::wire::context::{ContextLocation, ContextRef, object_key};
use bakery_core::wire::{CONTEXT_HEADER, IDEMPOTENCY_HEADER};
use http::HeaderMap;

use super::AppState;
use super::body::BodyReader;
use super::problem::{ProblemKind, ProblemResponse};
use crate::builds::Submission;
use crate::contexts::ContextError;

/// Media types that mean YAML (RFC 9512 and its forerunners).
pub(super) const TYPES: [&str; 3] = ["application/yaml", "application/x-yaml", "text/yaml"];

/// The build with its plan, and the notices about its config.
pub(super) async fn read(
    app: &AppState,
    owner: &str,
    headers: &HeaderMap,
    reader: BodyReader,
) -> Result<Submission, ProblemResponse> {
    let idempotency_key = header(headers, IDEMPOTENCY_HEADER, "16 to 128 printable characters")?.to_owned();
    let context = context(app, owner, headers).await?;
    let body = reader.whole(limits::SPEC_BYTES).await?;
    let text = String::from_utf8(body).map_err(|_| {
        ProblemResponse::new(ProblemKind::BadRequest, "the config is not UTF-8").hint("save it as UTF-8")
    })?;
    let work = move || {
        config::read(config::FILE, &text)
            .and_then(|file| file.resolve(Order::default(), &config::Naming::default()))
    };
    // Parsing a large file would block an async thread.
    let read = tokio::task::spawn_blocking(work).await.map_err(|panic| ProblemResponse::internal(&panic))?;
    let Resolved { spec, plan, notices, .. } = read?;
    let request = SubmitBuild { spec, context, idempotency_key };
    Ok(Submission { request, plan: Some(plan), notices: notices.iter().map(Notice::message).collect() })
}

/// The context that the header names: in the server's own store, else in its bucket.
async fn context(app: &AppState, owner: &str, headers: &HeaderMap) -> Result<ContextRef, ProblemResponse> {
    let expected = "`ID SHA256 LEN`, separated by blanks";
    let text = header(headers, CONTEXT_HEADER, expected)?;
    let mut context = parse(text).ok_or_else(|| {
        ProblemResponse::new(
            ProblemKind::BadRequest,
            format!("the header {CONTEXT_HEADER} is not {expected}"),
        )
        .hint("offer the context first: id, sha256 and len are those of the offer")
    })?;
    let contexts = &app.services.contexts;
    match (contexts.check(owner, &context).await, contexts.bucket()) {
        (Err(ContextError::Missing(_)), Some(bucket)) => {
            let key = object_key(&context.id);
            context.location = ContextLocation::S3 { bucket: bucket.name.clone(), key };
        }
        (checked, _) => checked?,
    }
    Ok(context)
}

fn parse(text: &str) -> Option<ContextRef> {
    let mut fields = text.split_ascii_whitespace();
    let mut digest = || {
        let field = fields.next()?;
        field.parse::<Digest>().or_else(|_| format!("sha256:{field}").parse()).ok()
    };
    let (id, sha256) = (digest()?, digest()?);
    let len = fields.next()?.parse().ok()?;
    fields.next().is_none().then_some(ContextRef { id, sha256, len, location: ContextLocation::Store })
}

fn header<'a>(headers: &'a HeaderMap, name: &str, expected: &str) -> Result<&'a str, ProblemResponse> {
    headers.get(name).and_then(|value| value.to_str().ok()).ok_or_else(|| {
        let detail = format!("a build submitted as YAML needs the header {name}: {expected}");
        ProblemResponse::new(ProblemKind::BadRequest, detail).hint("add the header, or submit as JSON")
    })
}
