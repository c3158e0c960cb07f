//! What a `.env` of the working directory may decide if somebody else may have written it.
//!
//! Its own token goes wherever it says. A token of the environment goes only to a URL of the environment: a checkout
//! that is built in CI would otherwise collect it.

use std::collections::BTreeMap;

use bakery_core::compose::gather_dotenv;
use bakery_core::mask::name_suggests_secret;
use bakery_core::message::Message;
use bakery_core::report::Findings;
use bakery_core::vars::Vars as _;

/// Default of `CONTROLLER_URL`.
pub(crate) const LOCAL_URL: &str = "http://127.0.0.1:3000";
/// Settings that are sent to others, or that decide where something is sent.
const SENT: [&str; 4] = ["CONTROLLER_URL", "S3_ENDPOINT", "S3_REGION", "S3_BUCKET"];
/// What allows everything that is refused here.
const ALLOW: &str = "--trust-dotenv";

/// The part of a `.env` that counts.
pub(crate) struct UntrustedDotenv {
    /// Its variables.
    pub(crate) values: BTreeMap<String, String>,
    /// What the environment has to say in its place.
    pub(crate) mistakes: Vec<Message>,
}

/// The part of a `.env` that counts. Its text is `text`, and its variables are `values`.
pub(crate) fn untrusted_dotenv(
    environment: &BTreeMap<String, String>,
    text: &str,
    mut values: BTreeMap<String, String>,
) -> UntrustedDotenv {
    let mut mistakes = Vec::new();
    // A value that is another one without the environment's secrets has one of them in it.
    let mut public = environment.clone();
    public.retain(|name, _| !name_suggests_secret(name));
    let own = gather_dotenv("", text, &public, &mut Findings::default());
    let of_file = |name: &str| environment.setting(name).is_none().then(|| values.setting(name)).flatten();
    let is_own = |name: &str| own.get(name) == values.get(name);
    for name in SENT.into_iter().filter(|name| of_file(name).is_some() && !is_own(name)) {
        let text = format!("{name} in .env contains a secret of the environment");
        mistakes.push(refused(&text, &format!("set {name} in the environment")));
    }
    let has_token = environment.setting("BAKERY_TOKEN").is_some() || values.setting("BAKERY_TOKEN").is_some();
    let token_is_own = environment.setting("BAKERY_TOKEN").is_none() && is_own("BAKERY_TOKEN");
    if has_token && !token_is_own {
        if of_file("CONTROLLER_URL").is_some_and(|url| url != LOCAL_URL) && is_own("CONTROLLER_URL") {
            let text = "CONTROLLER_URL in .env is not used for BAKERY_TOKEN of the environment: whoever wrote the file would get the token";
            mistakes.push(refused(text, "set CONTROLLER_URL in the environment as well"));
        }
        let insecure = of_file("BAKERY_INSECURE").is_some_and(|value| value == "true");
        let encrypted = environment.setting("CONTROLLER_URL").is_none_or(|url| url.starts_with("https:"));
        if insecure && !encrypted {
            let text = "BAKERY_INSECURE in .env does not count for BAKERY_TOKEN of the environment";
            mistakes.push(refused(text, "set BAKERY_INSECURE in the environment as well"));
        }
        // What the file says for the rest of the settings still counts.
        values.retain(|name, _| name != "BAKERY_INSECURE");
    }
    if !mistakes.is_empty() {
        values.retain(|name, _| !SENT.contains(&name.as_str()));
    }
    UntrustedDotenv { values, mistakes }
}

fn refused(text: &str, instead: &str) -> Message {
    Message::new(text).with_hint(format!("{instead}, or trust everything in this folder with {ALLOW}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use bakery_core::compose;

    /// What is refused, each with its hint; and what the file still sets.
    fn read(environment: &[(&str, &str)], text: &str) -> (Vec<String>, BTreeMap<String, String>) {
        let owned = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
        let environment: BTreeMap<_, _> = environment.iter().map(owned).collect();
        let values = compose::dotenv(".env", text, &environment).unwrap();
        let UntrustedDotenv { values, mistakes } = untrusted_dotenv(&environment, text, values);
        (mistakes.iter().map(Message::rendered).collect(), values)
    }

    const TOKEN: (&str, &str) = ("BAKERY_TOKEN", "of-the-environment");

    #[test]
    fn probe_23_1_a_token_of_the_environment_does_not_go_to_a_url_of_the_checkout() {
        let (refused, values) = read(&[TOKEN], "CONTROLLER_URL=https://evil.test\nLOG_FORMAT=json\n");
        insta::assert_snapshot!(refused.join("\n"), @r"
        CONTROLLER_URL in .env is not used for BAKERY_TOKEN of the environment: whoever wrote the file would get the token
        hint: set CONTROLLER_URL in the environment as well, or trust everything in this folder with --trust-dotenv
        ");
        assert_eq!(values, BTreeMap::from([("LOG_FORMAT".to_owned(), "json".to_owned())]));
        // A token that the file only takes from the environment is not its own.
        let disguises = [
            "BAKERY_TOKEN\nCONTROLLER_URL=https://evil.test",
            "BAKERY_TOKEN=${BAKERY_TOKEN}\nCONTROLLER_URL=https://evil.test",
            "BAKERY_TOKEN=of-the-environment\nCONTROLLER_URL=https://evil.test",
        ];
        for text in disguises {
            assert_eq!(read(&[TOKEN], text).0.len(), 1, "{text}");
        }
        let taken = "BAKERY_TOKEN=x${GITHUB_TOKEN}\nCONTROLLER_URL=https://evil.test";
        assert_eq!(read(&[("GITHUB_TOKEN", "hunter2")], taken).0.len(), 1);
    }

    #[test]
    fn no_secret_of_the_environment_is_a_part_of_where_something_is_sent() {
        for text in
            ["CONTROLLER_URL=https://${GITHUB_TOKEN}.evil.test", "S3_ENDPOINT=${GITHUB_TOKEN:?}.evil.test"]
        {
            let (refused, values) = read(&[("GITHUB_TOKEN", "hunter2")], text);
            assert!(refused[0].contains("in .env contains a secret of the environment"), "{refused:?}");
            assert!(values.is_empty() && !refused[0].contains("hunter2"));
        }
    }

    #[test]
    fn probe_23_2_plain_http_is_not_allowed_by_the_checkout() {
        let url = ("CONTROLLER_URL", "http://bakery.test");
        let (refused, values) = read(&[TOKEN, url], "BAKERY_INSECURE=true\n");
        insta::assert_snapshot!(refused.join("\n"), @r"
        BAKERY_INSECURE in .env does not count for BAKERY_TOKEN of the environment
        hint: set BAKERY_INSECURE in the environment as well, or trust everything in this folder with --trust-dotenv
        ");
        assert!(values.is_empty());
        let (refused, values) = read(&[TOKEN], "CONTROLLER_URL=http://evil.test\nBAKERY_INSECURE=true\n");
        assert!(refused.len() == 1 && values.is_empty(), "{refused:?}");
    }

    #[test]
    fn a_checkout_with_its_own_token_and_settings_works_as_documented() {
        let both = "CONTROLLER_URL=http://bakery.test\nBAKERY_TOKEN=own-${NAME}\nBAKERY_INSECURE=true\nS3_BUCKET=b\n";
        for (environment, text, count) in [
            (vec![("NAME", "x")], both, 4),
            (vec![("NAME", "x"), ("CONTROLLER_URL", "https://bakery.test")], both, 4),
            (
                vec![TOKEN, ("CONTROLLER_URL", "https://bakery.test")],
                "CONTROLLER_URL=https://other.test\nS3_BUCKET=b",
                2,
            ),
            (vec![TOKEN], "CONTROLLER_URL=http://127.0.0.1:3000\nS3_BUCKET=b\n", 2),
            (vec![TOKEN], "", 0),
            (vec![("NAME", "x")], "CONTROLLER_URL=https://$NAME.test", 1),
        ] {
            let (refused, values) = read(&environment, text);
            assert!(refused.is_empty(), "{text}: {refused:?}");
            assert_eq!(values.len(), count, "{text}");
        }
    }
}
