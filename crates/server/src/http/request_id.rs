//! Request ids: a caller's own where it is well-formed, else a new one.

use bakery_core::wire::REQUEST_ID_HEADER;
use http::{HeaderMap, HeaderValue};

use crate::random;

/// The longest id that is taken over from a caller.
const LONGEST: usize = 128;

/// The id of one request: at most [`LONGEST`] characters of an HTTP token (RFC 9110, section 5.6.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestId(HeaderValue);

impl RequestId {
    /// The id in the request's header, if there is exactly one and it is well-formed; else a new id.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let mut values = headers.get_all(REQUEST_ID_HEADER).into_iter();
        match (values.next(), values.next()) {
            (Some(value), None) if is_well_formed(value.as_bytes()) => Self(value.clone()),
            _ => Self::random(),
        }
    }

    /// 32 random hex digits. Without random numbers requests are served all the same, under an id that says so.
    fn random() -> Self {
        let id = random::hex::<16>().ok().and_then(|id| HeaderValue::try_from(id).ok());
        Self(id.unwrap_or_else(|| HeaderValue::from_static("unknown")))
    }

    pub(super) fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub(super) fn into_header(self) -> HeaderValue {
        self.0
    }
}

fn is_well_formed(id: &[u8]) -> bool {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    (1..=LONGEST).contains(&id.len()) && id.iter().all(is_token)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&[u8]]) -> RequestId {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(REQUEST_ID_HEADER, HeaderValue::from_bytes(value).unwrap());
        }
        RequestId::of(&headers)
    }

    #[test]
    fn a_well_formed_id_is_kept() {
        let longest = "x".repeat(LONGEST);
        for id in ["7", "01J-a_b.c~d", "4bf92f3577b34da6a3ce929d0e0e4736", &longest] {
            assert_eq!(of(&[id.as_bytes()]).as_str(), id);
        }
    }

    #[test]
    fn any_other_id_is_replaced_by_a_new_one() {
        let too_long = "x".repeat(LONGEST + 1);
        for wrong in ["", "two words", "a\tb", "semi;colon", "\"quoted\"", "caf\u{e9}", &too_long] {
            let id = of(&[wrong.as_bytes()]);
            assert!(id.as_str().len() == 32 && id.as_str().bytes().all(|b| b.is_ascii_hexdigit()), "{id:?}");
        }
        assert_ne!(of(&[b"one", b"two"]), of(&[b"one", b"two"]), "two ids are none");
        assert_ne!(of(&[]), of(&[]));
    }
}
