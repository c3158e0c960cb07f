//! The part of signatures (version 4) that a session's calls of S3 need.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html>

use std::fmt::Write as _;

use aws_lc_rs::{digest, hmac};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use bakery_core::hex;

const TOKEN: &str = "x-amz-security-token";

/// Checks a call's token and signature, and signs it again without the token. The error is the name of S3's error.
pub(super) fn leave_session(head: &mut Parts, secret: &str, token: &str) -> Result<(), &'static str> {
    let sent = head.headers.get(TOKEN).ok_or("InvalidAccessKeyId")?;
    if sent.as_bytes() != token.as_bytes() {
        return Err("InvalidToken");
    }
    let given = text(head, header::AUTHORIZATION.as_str()).to_owned();
    let member = |name: &str| {
        let (_, rest) = given.split_once(name)?;
        rest.split(',').next().map(str::trim)
    };
    let names = ["Credential=", "SignedHeaders=", "Signature="].map(member);
    let [Some(credential), Some(signed), Some(signature)] = names else { return Err("AccessDenied") };
    // A token that is not signed could belong to another caller.
    if !signed.split(';').any(|name| name == TOKEN) || signature != sign(head, credential, signed, secret) {
        return Err("SignatureDoesNotMatch");
    }
    head.headers.remove(TOKEN);
    let signed: Vec<_> = signed.split(';').filter(|name| *name != TOKEN).collect();
    let signed = signed.join(";");
    let signature = sign(head, credential, &signed, secret);
    let again =
        format!("AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={signed}, Signature={signature}");
    let again = HeaderValue::from_str(&again).map_err(|_| "AccessDenied")?;
    head.headers.insert(header::AUTHORIZATION, again);
    Ok(())
}

/// The signature of a head, in hexadecimal digits.
fn sign(head: &Parts, credential: &str, signed: &str, secret: &str) -> String {
    let mut query: Vec<_> =
        head.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).collect();
    query.sort_unstable();
    let query: Vec<_> = query
        .iter()
        .map(|pair| if pair.contains('=') { (*pair).to_owned() } else { format!("{pair}=") })
        .collect();
    let mut request = format!("{}\n{}\n{}\n", head.method, head.uri.path(), query.join("&"));
    for name in signed.split(';') {
        let value: Vec<_> = text(head, name).split_whitespace().collect();
        let _ = writeln!(request, "{name}:{}", value.join(" "));
    }
    let payload = match text(head, "x-amz-content-sha256") {
        // Old versions of curl omit it; a session's calls of S3 have no body.
        "" => hex::encode(digest::digest(&digest::SHA256, b"").as_ref()),
        payload => payload.to_owned(),
    };
    let _ = write!(request, "\n{signed}\n{payload}");
    let scope = credential.split_once('/').map_or("", |(_, scope)| scope);
    let hash = hex::encode(digest::digest(&digest::SHA256, request.as_bytes()).as_ref());
    let string = format!("AWS4-HMAC-SHA256\n{}\n{scope}\n{hash}", text(head, "x-amz-date"));
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in scope.split('/') {
        key = mac(&key, part);
    }
    hex::encode(&mac(&key, &string))
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes()).as_ref().to_vec()
}

fn text<'a>(head: &'a Parts, name: &str) -> &'a str {
    head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;

    use super::*;

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    const CREDENTIAL: &str = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request";
    const SIGNED: &str = "host;range;x-amz-content-sha256;x-amz-date";
    const SIGNATURE: &str = "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";

    /// The first example of the page above.
    fn example() -> Parts {
        let request = Request::get("/test.txt")
            .header("host", "examplebucket.s3.amazonaws.com")
            .header("range", "bytes=0-9")
            .header("x-amz-date", "20130524T000000Z")
            .header(
                "x-amz-content-sha256",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            );
        request.body(Body::empty()).unwrap().into_parts().0
    }

    #[test]
    fn the_example_of_the_documentation_is_signed_as_documented() {
        assert_eq!(sign(&example(), CREDENTIAL, SIGNED, SECRET), SIGNATURE);
    }

    #[test]
    fn a_session_is_accepted_with_its_token_and_its_signature_only() {
        let mut head = example();
        assert_eq!(leave_session(&mut head, SECRET, "t"), Err("InvalidAccessKeyId"));
        head.headers.insert(TOKEN, HeaderValue::from_static("t"));
        assert_eq!(leave_session(&mut head, SECRET, "u"), Err("InvalidToken"));
        let signed = format!("{SIGNED};{TOKEN}");
        let own = sign(&head, CREDENTIAL, &signed, SECRET);
        let with = |signature: &str| {
            format!("AWS4-HMAC-SHA256 Credential={CREDENTIAL}, SignedHeaders={signed}, Signature={signature}")
                .parse()
        };
        head.headers.insert(header::AUTHORIZATION, with("00").unwrap());
        assert_eq!(leave_session(&mut head, SECRET, "t"), Err("SignatureDoesNotMatch"));
        head.headers.insert(header::AUTHORIZATION, with(&own).unwrap());
        assert_eq!(leave_session(&mut head, SECRET, "t"), Ok(()));
        assert!(!head.headers.contains_key(TOKEN));
        assert!(text(&head, "authorization").ends_with(SIGNATURE));
    }
}
