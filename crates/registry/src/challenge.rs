//! Parses the challenge of a 401 response (RFC 9110, section 11.6.1; the distribution project's token authentication).

use std::collections::BTreeMap;

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

/// One way to log in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password with every request.
    Basic,
    /// A token of a token service.
    Bearer {
        /// The URL of the token service.
        realm: String,
        /// The service that the token is for.
        service: Option<String>,
        /// The access that the token must grant, in the registry's notation.
        scope: Option<String>,
        /// What was wrong with the token that was sent.
        error: Option<String>,
    },
}

/// The challenge to answer: a token where one is offered, else basic; `None` where neither is offered.
pub(crate) fn read(headers: &HeaderMap) -> Option<Challenge> {
    let all = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let challenges: Vec<_> = all.flat_map(parse).collect();
    let bearer = challenges.iter().find_map(|(scheme, params)| {
        let param = |name: &str| params.get(name).cloned();
        (scheme == "bearer").then(|| param("realm")).flatten().map(|realm| Challenge::Bearer {
            realm,
            service: param("service"),
            scope: param("scope"),
            error: param("error"),
        })
    });
    let basic = || challenges.iter().any(|(scheme, _)| scheme == "basic").then_some(Challenge::Basic);
    bearer.or_else(basic)
}

/// Splits a header into schemes (lower case) and their parameters (names in lower case).
fn parse(header: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let mut found: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return found;
        }
        let end = rest.find(['=', ' ', '\t', ',']).unwrap_or(rest.len());
        let token = rest[..end].to_ascii_lowercase();
        let after = rest[end..].trim_start_matches([' ', '\t']);
        match (after.strip_prefix('='), found.last_mut()) {
            (Some(value), Some((_, params))) => {
                let (value, left) = value_of(value.trim_start_matches([' ', '\t']));
                params.entry(token).or_insert(value);
                rest = left;
            }
            // A parameter without a scheme, or a lone `=`: skip a character, so that the loop ends for every input.
            (Some(left), None) => rest = left,
            (None, _) => {
                found.push((token, BTreeMap::new()));
                rest = after;
            }
        }
    }
}

/// A token or a quoted string, and what follows it.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return (value, &quoted[at + 1..]),
            c => {
                value.push(c);
                escaped = false;
            }
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (WWW_AUTHENTICATE, value.parse().unwrap())).collect()
    }

    #[test]
    fn reads_what_registries_send() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#;
        let Some(Challenge::Bearer { realm, service, scope, error }) = read(&headers(&[hub])) else {
            panic!()
        };
        assert_eq!(realm, "https://auth.docker.io/token");
        assert_eq!(service.as_deref(), Some("registry.docker.io"));
        assert_eq!(scope.as_deref(), Some("repository:a/b:pull,push"));
        assert_eq!(error, None);
        assert_eq!(read(&headers(&["basic realm=\"x, y=\\\"z\\\"\""])), Some(Challenge::Basic));
        assert_eq!(read(&headers(&["Negotiate", "Basic realm=x"])), Some(Challenge::Basic));
        let both = read(&headers(&["Basic realm=a, Bearer realm=\"https://t/\" , error=\"invalid_token\""]));
        let Some(Challenge::Bearer { realm, error, .. }) = both else { panic!() };
        assert_eq!((realm.as_str(), error.as_deref()), ("https://t/", Some("invalid_token")));
        for nothing in ["", "Negotiate abc==", "Bearer", "Bearer service=x", "=,=\"", "realm=\"x\""] {
            assert_eq!(read(&headers(&[nothing])), None, "{nothing}");
        }
    }

    proptest! {
        #[test]
        fn parsing_of_any_header_ends(text in "[ -~]{0,80}") {
            parse(&text);
        }
    }
}
