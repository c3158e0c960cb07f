//! Names that suggest that a value is a secret.

/// True for names that people give to secrets (`NPM_TOKEN`, `db-password`, `GITHUB_PAT`, `SENTRY_DSN`, ...): their
/// values are masked wherever Bakery prints them, and a build argument with such a name gets a warning, because it
/// becomes part of the image's history.
pub fn name_suggests_secret(name: &str) -> bool {
    // Anywhere in a name ...
    const PARTS: [&str; 7] = ["TOKEN", "PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "CREDENTIAL", "APIKEY"];
    // ... or as a part of its own between separators: `PATH` and `COMPASS` are not secrets ...
    const WORDS: [&str; 7] = ["PAT", "DSN", "PASS", "PWD", "PW", "JWT", "CREDS"];
    // ... or before `KEY`: `CACHE_KEY` and `PUBLIC_KEY` are not secrets.
    const KEYS: [&str; 10] =
        ["API", "PRIVATE", "ACCESS", "SIGNING", "ENCRYPTION", "MASTER", "DEPLOY", "SSH", "AUTH", "DATA"];
    // A tokenizer splits text: it is not a token.
    let name = name.to_ascii_uppercase().replace(['-', '.'], "_").replace("TOKENIZE", "");
    // The shell's own name for the working directory.
    if name == "PWD" {
        return false;
    }
    let words: Vec<&str> =
        name.split('_').map(|word| word.trim_end_matches(|c: char| c.is_ascii_digit())).collect();
    PARTS.iter().any(|part| name.contains(part))
        || words.iter().any(|word| WORDS.contains(word))
        || words.windows(2).any(|pair| pair[1] == "KEY" && KEYS.contains(&pair[0]))
        || words.last() == Some(&"AUTH")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_recognised() {
        for name in [
            "npm_token",
            "_authToken",
            "DB_PASSWORD",
            "reg-password",
            "GITHUB_PAT",
            "PAT1",
            "SENTRY_DSN",
            "DB_PASS",
            "DB_PWD",
            "X-Api-Key",
            "APIKEY",
            "AWS_SECRET_ACCESS_KEY",
            "SSH_KEY",
            "NPM_AUTH",
        ] {
            assert!(name_suggests_secret(name), "{name}");
        }
        for name in [
            "GO_VERSION",
            "PATH",
            "GOPATH",
            "COMPASS_URL",
            "PWD",
            "OLDPWD",
            "CACHE_KEY",
            "PUBLIC_KEY",
            "SSH_AUTH_SOCK",
            "AUTHOR",
            "TOKENIZERS_PARALLELISM",
            "PATCH",
        ] {
            assert!(!name_suggests_secret(name), "{name}");
        }
    }
}
