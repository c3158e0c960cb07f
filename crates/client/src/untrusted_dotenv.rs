//! What a `.env` of the working directory may decide if somebody else may have written it.
//!
//! Its own secrets go wherever it says. A secret of the environment goes only where the environment says: a checkout that
//! is built in CI would otherwise collect it.

use std::collections::BTreeMap;

use bakery_context::s3;
use bakery_core::compose::gather_dotenv;
use bakery_core::message::Message;
use bakery_core::report::Findings;
use bakery_core::vars::Vars as _;

use crate::variables::{LOCAL_URL, VARIABLES};

/// Settings that decide where something is sent, and how.
const SENT: [&str; 5] = ["CONTROLLER_URL", "S3_ENDPOINT", "S3_SSL", "S3_REGION", "S3_BUCKET"];
/// Settings that are secrets: the file may take them from the environment, but then they are not its own.
const SECRETS: [&str; 4] = ["BAKERY_TOKEN", S3_KEYS[0], S3_KEYS[1], S3_KEYS[2]];
/// Those of them that are credentials of the bucket.
const S3_KEYS: [&str; 3] = ["S3_ACCESS_KEY", "S3_SECRET_KEY", "S3_SESSION_TOKEN"];
/// What the bucket's region is taken from if `S3_REGION` is not set.
const REGION_OF_AWS: &str = "AWS_REGION";
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
    // What the file says without the environment is its own.
    let own = gather_dotenv("", text, &BTreeMap::new(), &mut Findings::default());
    let file = File { environment, values: &values, own: &own };
    let settings = VARIABLES.into_iter().filter(|name| !SECRETS.contains(name));
    let settings = settings.chain(file.takes_region_of_aws().then_some(REGION_OF_AWS));
    let taken: Vec<_> = settings.filter(|name| file.says(name).is_some() && !file.is_own(name)).collect();
    for name in &taken {
        // Its value may be a secret, and it would be sent, or shown in a message.
        let text = format!("{name} in .env has a variable of the environment in it");
        mistakes.push(refused(&text, &format!("set {name} in the environment")));
    }
    mistakes.extend(file.mistakes_of_token());
    mistakes.extend(file.mistakes_of_s3());
    let token_is_own = file.token_is_own();
    if !token_is_own {
        // What the file says for the rest of the settings still counts.
        values.retain(|name, _| name != "BAKERY_INSECURE");
    }
    if !mistakes.is_empty() {
        values.retain(|name, _| !SENT.contains(&name.as_str()) && !taken.contains(&name.as_str()));
    }
    UntrustedDotenv { values, mistakes }
}

/// A `.env` beside the environment.
struct File<'a> {
    environment: &'a BTreeMap<String, String>,
    /// Its variables.
    values: &'a BTreeMap<String, String>,
    /// Its variables without the environment.
    own: &'a BTreeMap<String, String>,
}

impl File<'_> {
    /// The value of a setting that the environment does not have.
    fn says(&self, name: &str) -> Option<String> {
        self.environment.setting(name).is_none().then(|| self.values.setting(name)).flatten()
    }

    /// Whether the value of a variable has nothing of the environment in it.
    fn is_own(&self, name: &str) -> bool {
        self.own.get(name) == self.values.get(name)
    }

    /// Whether the environment or the file has a value.
    fn is_set(&self, name: &str) -> bool {
        self.environment.setting(name).or_else(|| self.values.setting(name)).is_some()
    }

    /// Whether `AWS_REGION` is a setting here: it becomes a part of the bucket's address.
    fn takes_region_of_aws(&self) -> bool {
        self.is_set("S3_BUCKET") && !self.is_set("S3_REGION")
    }

    /// Whether no token of the environment is sent.
    fn token_is_own(&self) -> bool {
        self.environment.setting("BAKERY_TOKEN").is_none() && self.is_own("BAKERY_TOKEN")
    }

    /// Why the token of the environment is not sent where the file says.
    fn mistakes_of_token(&self) -> Vec<Message> {
        let mut mistakes = Vec::new();
        if self.token_is_own() {
            return mistakes;
        }
        if self.says("CONTROLLER_URL").is_some_and(|url| url != LOCAL_URL) && self.is_own("CONTROLLER_URL") {
            let text = "CONTROLLER_URL in .env is not used for BAKERY_TOKEN of the environment: whoever wrote the file would get the token";
            mistakes.push(refused(text, "set CONTROLLER_URL in the environment as well"));
        }
        let insecure = self.says("BAKERY_INSECURE").is_some_and(|value| value == "true");
        let encrypted =
            self.environment.setting("CONTROLLER_URL").is_none_or(|url| url.starts_with("https:"));
        if insecure && !encrypted {
            let text = "BAKERY_INSECURE in .env does not count for BAKERY_TOKEN of the environment";
            mistakes.push(refused(text, "set BAKERY_INSECURE in the environment as well"));
        }
        mistakes
    }

    /// Why the S3 credentials of the environment, or of the machine, are not used where the file says.
    fn mistakes_of_s3(&self) -> Vec<Message> {
        let is_of_file = |name: &str| self.environment.setting(name).is_none() && self.is_own(name);
        let keys_are_own =
            S3_KEYS.iter().all(|name| is_of_file(name)) && self.says("S3_SECRET_KEY").is_some();
        if keys_are_own || !self.is_set("S3_BUCKET") {
            return Vec::new();
        }
        let elsewhere = self.says("S3_ENDPOINT").is_some_and(|endpoint| !s3::is_endpoint_of_aws(&endpoint));
        let plain = self.says("S3_SSL").is_some_and(|value| value == "false");
        let refuse = [("S3_ENDPOINT", elsewhere), ("S3_SSL", plain)].into_iter();
        let names = refuse.filter(|(name, refuse)| *refuse && self.is_own(name));
        names
            .map(|(name, _)| {
                let text = format!(
                    "{name} in .env is not used for S3 credentials of the environment: whoever wrote the file would get them"
                );
                refused(&text, &format!("set {name} in the environment as well"))
            })
            .collect()
    }
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
    fn nothing_of_the_environment_is_a_part_of_a_setting() {
        for text in [
            "CONTROLLER_URL=https://${CI_REPOSITORY_URL}.evil.test",
            "S3_ENDPOINT=${GITHUB_TOKEN:?}.evil.test",
            "LOG_FORMAT=${DATABASE_URL}",
            "CONTROLLER_URL=https://${GITHUB_TOKEN:+set}.evil.test",
            "S3_BUCKET=b\nAWS_REGION=$GITHUB_TOKEN",
        ] {
            let environment =
                ["CI_REPOSITORY_URL", "GITHUB_TOKEN", "DATABASE_URL"].map(|name| (name, "hunter2"));
            let (refused, values) = read(&environment, text);
            assert!(refused[0].contains("in .env has a variable of the environment in it"), "{refused:?}");
            assert!(values.is_empty() && !refused[0].contains("hunter2"));
        }
        // A token that is made of a variable with an innocent name is none of the file.
        let text = "CONTROLLER_URL=https://evil.test\nBAKERY_TOKEN=${CI_REPOSITORY_URL}\n";
        let (refused, _) = read(&[("CI_REPOSITORY_URL", "https://ci:hunter2@git.test")], text);
        assert!(refused[0].starts_with("CONTROLLER_URL in .env is not used for BAKERY_TOKEN"), "{refused:?}");
    }

    #[test]
    fn probe_23_3_s3_credentials_of_the_environment_do_not_go_to_an_endpoint_of_the_checkout() {
        let keys =
            [("S3_ACCESS_KEY", "a"), ("S3_SECRET_KEY", "s"), ("S3_SESSION_TOKEN", "t"), ("S3_BUCKET", "b")];
        let (refused, values) = read(&keys, "S3_ENDPOINT=https://evil.test\nS3_SSL=false\nLOG_FORMAT=json\n");
        insta::assert_snapshot!(refused.join("\n"), @r"
        S3_ENDPOINT in .env is not used for S3 credentials of the environment: whoever wrote the file would get them
        hint: set S3_ENDPOINT in the environment as well, or trust everything in this folder with --trust-dotenv
        S3_SSL in .env is not used for S3 credentials of the environment: whoever wrote the file would get them
        hint: set S3_SSL in the environment as well, or trust everything in this folder with --trust-dotenv
        ");
        assert_eq!(values, BTreeMap::from([("LOG_FORMAT".to_owned(), "json".to_owned())]));
        // Those of the machine's role count as the environment's; the session of the environment goes with any key.
        let file = "S3_BUCKET=b\nS3_ENDPOINT=http://s3.test:9000\n";
        let own = "S3_ACCESS_KEY=a\nS3_SECRET_KEY=s\n";
        assert_eq!(read(&[], file).0.len(), 1);
        assert_eq!(read(&[], &format!("{file}{own}")).0, [""; 0]);
        assert_eq!(read(&[("S3_SESSION_TOKEN", "t")], &format!("{file}{own}")).0.len(), 1);
        assert_eq!(read(&[("X", "s")], &format!("{file}S3_ACCESS_KEY=a\nS3_SECRET_KEY=$X\n")).0.len(), 1);
        for aws in ["s3.amazonaws.com", "https://s3.eu-west-1.amazonaws.com"] {
            assert_eq!(read(&keys, &format!("S3_ENDPOINT={aws}\n")).0, [""; 0], "{aws}");
        }
        let plain = "S3_ENDPOINT=http://s3.amazonaws.com\n";
        assert_eq!(read(&keys, plain).0.len(), 1, "not encrypted");
        // Without a bucket it is a variable of the project.
        assert_eq!(read(&[("X", "r")], "AWS_REGION=$X\n").0, [""; 0]);
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
        let both = "PART=own\nCONTROLLER_URL=http://bakery.test\nBAKERY_TOKEN=$PART-token\nBAKERY_INSECURE=true\nS3_BUCKET=b\n";
        for (environment, text, count) in [
            (vec![("NAME", "x")], both, 5),
            (vec![("NAME", "x"), ("CONTROLLER_URL", "https://bakery.test")], both, 5),
            (
                vec![TOKEN, ("CONTROLLER_URL", "https://bakery.test")],
                "CONTROLLER_URL=https://other.test\nS3_BUCKET=b",
                2,
            ),
            (vec![TOKEN], "CONTROLLER_URL=http://127.0.0.1:3000\nS3_BUCKET=b\n", 2),
            (vec![TOKEN], "", 0),
        ] {
            let (refused, values) = read(&environment, text);
            assert!(refused.is_empty(), "{text}: {refused:?}");
            assert_eq!(values.len(), count, "{text}");
        }
    }
}
