//! The action of a request, its service and its caller.

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use serde_json::{Value, json};

/// The service that is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Service {
    /// ECS, Secrets Manager: JSON bodies, the action in a header.
    Json,
    /// S3: methods, paths and queries. The path without its first `/`, still percent-encoded.
    S3 { bucket: String, object: String },
}

/// A request, from its head.
#[derive(Debug, Clone)]
pub(super) struct AwsCall {
    pub(super) service: Service,
    /// `service:Action`, as policies write it.
    pub(super) action: String,
    /// The access key id in the signature's scope; `None` if nothing is signed.
    pub(super) key: Option<String>,
    pub(super) region: String,
    /// The body of a JSON call; for S3 `{"method", "path", "query"}`.
    pub(super) body: Value,
}

impl AwsCall {
    /// Reads the head; the caller adds the body of a JSON call.
    pub(super) fn read(head: &Parts) -> Self {
        let query = head.uri.query().unwrap_or_default();
        let (key, region) = scope(&head.headers, query).unzip();
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        if let Some((service, name)) = target(&head.headers) {
            let action = format!("{service}:{name}");
            return Self { service: Service::Json, action, key, region, body: Value::Null };
        }
        let path = head.uri.path().trim_start_matches('/');
        let (bucket, object) = path.split_once('/').unwrap_or((path, ""));
        let action = format!("s3:{}", s3_action(&head.method, object, query));
        let shown: Vec<_> = query.split('&').filter(|pair| !is_signature(pair)).collect();
        let body =
            json!({ "method": head.method.as_str(), "path": head.uri.path(), "query": shown.join("&") });
        let service = Service::S3 { bucket: bucket.to_owned(), object: object.to_owned() };
        Self { service, action, key, region, body }
    }

    /// A member of the body as text; empty if it is missing.
    pub(super) fn text(&self, member: &str) -> &str {
        self.body[member].as_str().unwrap_or_default()
    }
}

/// `X-Amz-Target: AmazonEC2ContainerServiceV20141113.RunTask`.
fn target(headers: &HeaderMap) -> Option<(&'static str, &str)> {
    let (service, name) = headers.get("x-amz-target")?.to_str().ok()?.split_once('.')?;
    let service = if service.starts_with("AmazonEC2ContainerService") {
        "ecs"
    } else if service == "secretsmanager" {
        "secretsmanager"
    } else {
        "unknown"
    };
    Some((service, name))
}

/// Key id and region: `Credential=KEY/DATE/REGION/SERVICE/aws4_request`, in the header or in a presigned query.
fn scope(headers: &HeaderMap, query: &str) -> Option<(String, String)> {
    let header = headers.get("authorization").and_then(|value| value.to_str().ok());
    let signed = header.and_then(|header| header.split_once("Credential=")?.1.split(',').next());
    let presigned = query.split('&').find_map(|pair| pair.strip_prefix("X-Amz-Credential="));
    let scope = signed.or(presigned)?.replace("%2F", "/").replace("%2f", "/");
    let mut parts = scope.split('/');
    let (key, region) = (parts.next()?, parts.nth(1)?);
    Some((key.to_owned(), region.to_owned()))
}

fn is_signature(pair: &str) -> bool {
    ["X-Amz-Signature=", "X-Amz-Security-Token="].iter().any(|secret| pair.starts_with(secret))
}

/// <https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html>
fn s3_action(method: &Method, object: &str, query: &str) -> &'static str {
    let has = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
    if object.is_empty() {
        return match *method {
            Method::PUT if query.is_empty() => "CreateBucket",
            Method::GET | Method::HEAD if has("lifecycle") => "GetLifecycleConfiguration",
            Method::PUT if has("lifecycle") => "PutLifecycleConfiguration",
            Method::POST if has("delete") => "DeleteObject",
            Method::GET | Method::HEAD => "ListBucket",
            _ => "Unknown",
        };
    }
    match *method {
        Method::GET if has("uploadId") => "ListMultipartUploadParts",
        Method::GET | Method::HEAD if has("tagging") => "GetObjectTagging",
        Method::GET | Method::HEAD => "GetObject",
        Method::PUT if has("tagging") => "PutObjectTagging",
        Method::PUT | Method::POST => "PutObject",
        Method::DELETE if has("uploadId") => "AbortMultipartUpload",
        Method::DELETE => "DeleteObject",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;

    use super::*;

    fn call(method: &str, uri: &str, headers: &[(&str, &str)]) -> AwsCall {
        let request = Request::builder().method(method).uri(uri);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        AwsCall::read(&request.body(Body::empty()).unwrap().into_parts().0)
    }

    #[test]
    fn a_json_call_is_named_by_its_target_and_its_caller_by_the_scope() {
        let signed = "AWS4-HMAC-SHA256 Credential=AKIASERVER/20261125/eu-west-1/ecs/aws4_request, SignedHeaders=host, Signature=0";
        let target = "AmazonEC2ContainerServiceV20141113.RunTask";
        let run = call("POST", "/", &[("X-Amz-Target", target), ("Authorization", signed)]);
        assert_eq!((run.action.as_str(), run.key.as_deref()), ("ecs:RunTask", Some("AKIASERVER")));
        assert_eq!((run.region.as_str(), run.service), ("eu-west-1", Service::Json));
        let create = call("POST", "/", &[("X-Amz-Target", "secretsmanager.CreateSecret")]);
        assert_eq!((create.action.as_str(), create.key), ("secretsmanager:CreateSecret", None));
    }

    #[test]
    fn an_s3_call_is_named_by_method_path_and_query() {
        for (method, uri, action) in [
            ("GET", "/b/k/l", "s3:GetObject"),
            ("HEAD", "/b/k", "s3:GetObject"),
            ("PUT", "/b/k", "s3:PutObject"),
            ("POST", "/b/k?uploads", "s3:PutObject"),
            ("PUT", "/b/k?partNumber=1&uploadId=x", "s3:PutObject"),
            ("DELETE", "/b/k?uploadId=x", "s3:AbortMultipartUpload"),
            ("DELETE", "/b/k", "s3:DeleteObject"),
            ("GET", "/b?list-type=2", "s3:ListBucket"),
            ("PUT", "/b", "s3:CreateBucket"),
            ("PATCH", "/b/k", "s3:Unknown"),
        ] {
            assert_eq!(call(method, uri, &[]).action, action, "{method} {uri}");
        }
        let presigned =
            call("GET", "/b/k?X-Amz-Credential=AKIA%2F1%2Feu%2Fs3%2Faws4_request&X-Amz-Signature=feed", &[]);
        assert_eq!(presigned.key.as_deref(), Some("AKIA"));
        assert!(!presigned.body.to_string().contains("feed"));
    }
}
