//! Reads the settings of the bucket that client and server share.

use bakery_core::report::Mistake;
use bakery_core::secret::Secret;
use bakery_core::vars::Vars;

/// The bucket for contexts and the credentials for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Settings {
    /// `S3_BUCKET`.
    pub bucket: String,
    /// `S3_REGION`, else `AWS_REGION`, else `us-east-1`.
    pub region: String,
    /// URL of the store; `None` for AWS S3 in the region.
    pub endpoint: Option<String>,
    /// `S3_ACCESS_KEY`, `S3_SECRET_KEY` and `S3_SESSION_TOKEN`; `None` for the AWS credential chain.
    pub keys: Option<StaticKeys>,
}

/// Credentials from variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticKeys {
    /// `S3_ACCESS_KEY`.
    pub access: Secret,
    /// `S3_SECRET_KEY`.
    pub secret: Secret,
    /// `S3_SESSION_TOKEN`.
    pub session: Option<Secret>,
}

impl S3Settings {
    /// Reads the variables. `None` if `S3_BUCKET` is not set; an error contains all mistakes at once.
    pub fn from_vars(vars: &dyn Vars) -> Result<Option<Self>, Vec<Mistake>> {
        let Some(bucket) = vars.setting("S3_BUCKET") else { return Ok(None) };
        let mut mistakes = Vec::new();
        if !is_bucket(&bucket) {
            let text =
                format!("`{bucket}` is not a valid bucket name: 3 to 63 letters, digits, `-`, `.` and `_`");
            mistakes.push(Mistake::of_setting("S3_BUCKET", text));
        }
        let (source, region) = ["S3_REGION", "AWS_REGION"]
            .into_iter()
            .find_map(|name| vars.setting(name).map(|region| (name, region)))
            .unwrap_or(("S3_REGION", "us-east-1".to_owned()));
        if !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_') {
            let text = format!("`{region}` is not a valid region (example: `us-east-1`)");
            mistakes.push(Mistake::of_setting(source, text));
        }
        let endpoint = endpoint(vars, &region, &mut mistakes);
        let keys = keys(vars, &mut mistakes);
        if mistakes.is_empty() { Ok(Some(Self { bucket, region, endpoint, keys })) } else { Err(mistakes) }
    }
}

/// Whether the host belongs to AWS.
pub(super) fn is_aws(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    ["amazonaws.com", "amazonaws.com.cn"]
        .iter()
        .any(|aws| host.strip_suffix(aws).is_some_and(|before| before.is_empty() || before.ends_with('.')))
}

/// Whether `S3_ENDPOINT` names an address of AWS that everybody reaches, by HTTPS.
pub fn is_endpoint_of_aws(endpoint: &str) -> bool {
    let host = endpoint.strip_prefix("https://").unwrap_or(endpoint);
    is_aws(host.strip_suffix('/').unwrap_or(host)) && !host.contains("://") && !host.contains(".vpce.")
}

fn endpoint(vars: &dyn Vars, region: &str, mistakes: &mut Vec<Mistake>) -> Option<String> {
    let ssl = match vars.setting("S3_SSL").as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(other) => {
            mistakes.push(Mistake::of_setting("S3_SSL", format!("`{other}` is not true or false")));
            None
        }
    };
    let given = vars.setting("S3_ENDPOINT").unwrap_or_else(|| "s3.amazonaws.com".to_owned());
    let (scheme, host) = match given.split_once("://") {
        Some(("https", host)) => (Some(true), host),
        Some(("http", host)) => (Some(false), host),
        Some(_) => {
            mistakes.push(Mistake::of_setting("S3_ENDPOINT", "the scheme must be `http://` or `https://`"));
            return None;
        }
        None => (None, given.as_str()),
    };
    let host = host.strip_suffix('/').unwrap_or(host);
    if !is_host(host) {
        // Not repeated: it may contain credentials.
        let text = "expected HOST or HOST:PORT, without user, path and blanks";
        mistakes.push(Mistake::of_setting("S3_ENDPOINT", text));
        return None;
    }
    if let (Some(scheme), Some(ssl)) = (scheme, ssl)
        && scheme != ssl
    {
        mistakes.push(Mistake::of_setting("S3_ENDPOINT", format!("`{given}` contradicts S3_SSL={ssl}")));
    }
    let scheme = if scheme.or(ssl).unwrap_or(true) { "https" } else { "http" };
    // A VPC endpoint belongs to AWS, but has an address of its own.
    if !is_aws(host) || host.contains(".vpce.") {
        return Some(format!("{scheme}://{host}"));
    }
    let china = if host.to_ascii_lowercase().ends_with("amazonaws.com.cn") { ".cn" } else { "" };
    (scheme == "http").then(|| format!("http://s3.{region}.amazonaws.com{china}"))
}

fn keys(vars: &dyn Vars, mistakes: &mut Vec<Mistake>) -> Option<StaticKeys> {
    let get = |name| vars.setting(name).map(Secret::new);
    match (get("S3_ACCESS_KEY"), get("S3_SECRET_KEY"), get("S3_SESSION_TOKEN")) {
        (Some(access), Some(secret), session) => Some(StaticKeys { access, secret, session }),
        (None, None, None) => None,
        (None, None, Some(_)) => {
            mistakes
                .push(Mistake::of_setting("S3_SESSION_TOKEN", "requires S3_ACCESS_KEY and S3_SECRET_KEY"));
            None
        }
        (access, _, _) => {
            let (present, missing) = match access {
                Some(_) => ("S3_ACCESS_KEY", "S3_SECRET_KEY"),
                None => ("S3_SECRET_KEY", "S3_ACCESS_KEY"),
            };
            mistakes.push(Mistake::of_setting(missing, format!("required because {present} is set")));
            None
        }
    }
}

fn is_bucket(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    (3..=63).contains(&name.len()) && name.bytes().all(word) && !name.contains("..")
}

fn is_host(text: &str) -> bool {
    let host = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            if port.parse::<u16>().is_err() {
                return false;
            }
            host
        }
        _ => text,
    };
    let v6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match v6 {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Option<S3Settings>, Vec<Mistake>> {
        let vars: BTreeMap<_, _> =
            vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        S3Settings::from_vars(&vars)
    }

    #[test]
    fn without_a_bucket_s3_is_not_used() {
        assert_eq!(read(&[("S3_ENDPOINT", "x"), ("S3_BUCKET", ""), ("S3_SSL", "maybe")]), Ok(None));
    }

    #[test]
    fn the_endpoint_is_that_of_aws_or_the_given_one() {
        for (host, ssl, url) in [
            ("", "", None),
            ("s3.amazonaws.com", "", None),
            ("s3.amazonaws.com", "true", None),
            ("https://s3.eu-west-1.amazonaws.com/", "", None),
            ("s3.amazonaws.com", "false", Some("http://s3.eu-west-1.amazonaws.com")),
            ("s3.cn-north-1.amazonaws.com.cn", "false", Some("http://s3.eu-west-1.amazonaws.com.cn")),
            ("notamazonaws.com", "", Some("https://notamazonaws.com")),
            (
                "bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com",
                "",
                Some("https://bucket.vpce-1.s3.eu-west-1.vpce.amazonaws.com"),
            ),
            ("store:9000", "", Some("https://store:9000")),
            ("store:9000", "false", Some("http://store:9000")),
            ("http://store:9000", "", Some("http://store:9000")),
            ("http://store:9000", "false", Some("http://store:9000")),
            ("[::1]:9000", "false", Some("http://[::1]:9000")),
        ] {
            let vars =
                [("S3_BUCKET", "builds"), ("S3_ENDPOINT", host), ("S3_SSL", ssl), ("S3_REGION", "eu-west-1")];
            let settings = read(&vars).unwrap().unwrap();
            assert_eq!(settings.endpoint.as_deref(), url, "{host} {ssl}");
        }
    }

    #[test]
    fn an_endpoint_is_that_of_aws_by_https_only() {
        for endpoint in ["s3.amazonaws.com", "https://s3.eu-west-1.amazonaws.com/", "s3.amazonaws.com.cn"] {
            assert!(is_endpoint_of_aws(endpoint), "{endpoint}");
        }
        for endpoint in [
            "http://s3.amazonaws.com",
            "notamazonaws.com",
            "https://amazonaws.com.evil.test",
            "b.vpce-1.s3.eu-west-1.vpce.amazonaws.com",
        ] {
            assert!(!is_endpoint_of_aws(endpoint), "{endpoint}");
        }
    }

    #[test]
    fn the_region_comes_from_the_first_variable_that_is_set() {
        let region = |vars: &[(&str, &str)]| {
            read(&[&[("S3_BUCKET", "builds")], vars].concat()).unwrap().unwrap().region
        };
        assert_eq!(region(&[]), "us-east-1");
        assert_eq!(region(&[("AWS_REGION", "a-1")]), "a-1");
        assert_eq!(region(&[("AWS_REGION", "a-1"), ("S3_REGION", "b-2")]), "b-2");
    }

    #[test]
    fn all_mistakes_are_reported_at_once_and_no_key_with_them() {
        let mistakes = read(&[
            ("S3_BUCKET", "a/b"),
            ("AWS_REGION", "nowhere at all"),
            ("S3_ENDPOINT", "user:hunter2@store/path"),
            ("S3_SSL", "yes"),
            ("S3_SECRET_KEY", "hunter2"),
        ])
        .unwrap_err();
        let named: Vec<_> = mistakes.iter().map(|mistake| &*mistake.location.source).collect();
        assert_eq!(named, ["S3_BUCKET", "AWS_REGION", "S3_SSL", "S3_ENDPOINT", "S3_ACCESS_KEY"]);
        assert!(!format!("{mistakes:?}").contains("hunter2"));
        for vars in [
            [("S3_ENDPOINT", "http://store"), ("S3_SSL", "true")],
            [("S3_ENDPOINT", "ftp://store"), ("S3_SSL", "true")],
            [("S3_ENDPOINT", "store:port"), ("S3_SSL", "true")],
            [("S3_SESSION_TOKEN", "x"), ("S3_SSL", "true")],
        ] {
            assert_eq!(
                read(&[&[("S3_BUCKET", "builds")], &vars[..]].concat()).unwrap_err().len(),
                1,
                "{vars:?}"
            );
        }
    }
}
