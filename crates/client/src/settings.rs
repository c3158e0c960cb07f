//! The client's own settings.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use bakery_context::s3::S3Settings;
use bakery_core::compose;
use bakery_core::secret::Secret;
use bakery_core::vars::{Layered, Vars};
use bakery_link::{Options, ServerApi};

use crate::exit::{Exit, Failure};
use crate::render::LogFormat;

/// Where the server is unless a setting says otherwise.
const LOCAL: &str = "http://127.0.0.1:3000";

/// The settings of one call.
#[derive(Debug)]
pub struct Settings {
    /// The server.
    pub server: ServerApi,
    /// The form of the log.
    pub format: LogFormat,
    /// Colours are not wanted.
    pub no_colour: bool,
    /// The bucket for contexts.
    pub s3: Option<S3Settings>,
}

impl Settings {
    /// Reads the environment over `.env` in the working directory; says all mistakes at once.
    pub fn read(environment: &BTreeMap<String, String>) -> Result<Self, Failure> {
        let file = env_file(Path::new(".env"), environment)?;
        Self::of(&Layered { upper: environment, lower: file })
    }

    fn of(vars: &dyn Vars) -> Result<Self, Failure> {
        let mut wrong = Vec::new();
        let format = match vars.setting("LOG_FORMAT").as_deref().map(str::parse) {
            None => LogFormat::default(),
            Some(Ok(format)) => format,
            Some(Err(())) => {
                let text = vars.setting("LOG_FORMAT").unwrap_or_default();
                wrong.push(format!("LOG_FORMAT: `{text}` is not simple, plain or json"));
                LogFormat::default()
            }
        };
        let insecure = match vars.setting("BAKERY_INSECURE").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(text) => {
                wrong.push(format!("BAKERY_INSECURE: `{text}` is not true or false"));
                false
            }
        };
        let s3 = S3Settings::from_vars(vars).unwrap_or_else(|mistakes| {
            wrong.extend(mistakes);
            None
        });
        let url = vars.setting("CONTROLLER_URL").unwrap_or_else(|| LOCAL.to_owned());
        let mut hint =
            "these are read from the environment and from .env in the working directory".to_owned();
        let token = vars.setting("BAKERY_TOKEN").map(Secret::from);
        if token.as_ref().is_some_and(|token| !token.expose().bytes().all(|byte| byte.is_ascii_graphic())) {
            wrong.push("BAKERY_TOKEN: has a blank, a line end or a letter beyond ASCII".to_owned());
            "a token is printable ASCII without blanks: is it the server's, whole and alone?"
                .clone_into(&mut hint);
        }
        let server = ServerApi::new(&url, token, Options { insecure });
        let server = server.map_err(|error| {
            if let Some(specific) = error.hint() {
                hint = specific;
            }
            wrong.push(error.to_string());
        });
        match server {
            Ok(server) if wrong.is_empty() => {
                let no_colour = vars.setting("NO_COLOR").is_some();
                Ok(Self { server, format, no_colour, s3 })
            }
            _ => Err(Failure { exit: Exit::Input, text: wrong.join("\n"), hint: Some(hint) }),
        }
    }
}

/// A `.env` file; one that is not there is empty.
pub fn env_file(path: &Path, environment: &dyn Vars) -> Result<BTreeMap<String, String>, Failure> {
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(compose::dotenv(&name, &text, environment)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(error) => {
            Err(Failure::input(format!("{name}: cannot be read: {error}"), "make it readable, or remove it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Settings, Failure> {
        let vars: BTreeMap<_, _> =
            vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::of(&vars)
    }

    #[test]
    fn nothing_set_is_a_server_on_this_machine() {
        let settings = read(&[("CONTROLLER_URL", ""), ("LOG_FORMAT", "")]).unwrap();
        assert_eq!(settings.server.url(), LOCAL);
        assert_eq!((settings.format, settings.no_colour, settings.s3), (LogFormat::Simple, false, None));
    }

    #[test]
    fn a_token_that_no_header_carries_is_refused() {
        for token in ["hunter 2", "hünter2", "hunter2\n", " hunter2"] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(read(&[("BAKERY_TOKEN", token)]).unwrap_err(), @r"
                BAKERY_TOKEN: has a blank, a line end or a letter beyond ASCII
                  hint: a token is printable ASCII without blanks: is it the server's, whole and alone?
                ");
            }
        }
        assert!(read(&[("BAKERY_TOKEN", "aZ09+/=_-.~")]).is_ok());
    }

    #[test]
    fn all_mistakes_are_said_at_once_and_no_secret() {
        let vars = [
            ("LOG_FORMAT", "fancy"),
            ("BAKERY_INSECURE", "yes"),
            ("CONTROLLER_URL", "http://bakery.test"),
            ("BAKERY_TOKEN", "hunter2"),
        ];
        let failure = read(&vars).unwrap_err();
        assert_eq!(failure.exit, Exit::Input);
        insta::assert_snapshot!(failure, @r"
        LOG_FORMAT: `fancy` is not simple, plain or json
        BAKERY_INSECURE: `yes` is not true or false
        BAKERY_TOKEN would be sent unencrypted to http://bakery.test (CONTROLLER_URL)
          hint: use https:// in CONTROLLER_URL, or allow it with BAKERY_INSECURE=true
        ");
    }
}
