//! The client's own settings.

use std::collections::BTreeMap;
use std::path::Path;

use bakery_context::s3::S3Settings;
use bakery_core::message::Message;
use bakery_core::secret::Secret;
use bakery_core::vars::{Layered, Vars};
use bakery_link::{Options, ServerApi};

use crate::dotenv_file::{DotenvFile, env_file};
use crate::exit::{Exit, Failure};
use crate::render::LogFormat;
use crate::untrusted_dotenv::{UntrustedDotenv, untrusted_dotenv};
use crate::variables::LOCAL_URL;

/// The settings of one command.
#[derive(Debug)]
pub struct Settings {
    /// The server.
    pub server: ServerApi,
    /// The format of the log.
    pub format: LogFormat,
    /// Whether colours are turned off.
    pub no_colour: bool,
    /// The bucket for contexts.
    pub s3: Option<S3Settings>,
}

impl Settings {
    /// Reads the environment and `.env` in the working directory, in this order of precedence. Reports all mistakes at
    /// once.
    ///
    /// A checkout may hold the `.env`: unless `trust_dotenv`, the file decides for its own secrets only, not where a
    /// secret of the environment goes.
    pub fn read(environment: &BTreeMap<String, String>, trust_dotenv: bool) -> Result<Self, Failure> {
        let DotenvFile { text, values } = env_file(Path::new(".env"), environment)?;
        if trust_dotenv {
            return Self::of(&Layered { upper: environment, lower: values }, Vec::new());
        }
        let UntrustedDotenv { values, mistakes } = untrusted_dotenv(environment, &text, values);
        Self::of(&Layered { upper: environment, lower: values }, mistakes)
    }

    fn of(vars: &dyn Vars, mut mistakes: Vec<Message>) -> Result<Self, Failure> {
        let format = match vars.setting("LOG_FORMAT").as_deref().map(str::parse) {
            None => LogFormat::default(),
            Some(Ok(format)) => format,
            Some(Err(())) => {
                let text = vars.setting("LOG_FORMAT").unwrap_or_default();
                mistakes.push(format!("LOG_FORMAT: `{text}` is not simple, plain or json").into());
                LogFormat::default()
            }
        };
        let insecure = match vars.setting("BAKERY_INSECURE").as_deref() {
            None | Some("false") => false,
            Some("true") => true,
            Some(text) => {
                mistakes.push(format!("BAKERY_INSECURE: `{text}` is not true or false").into());
                false
            }
        };
        let s3 = S3Settings::from_vars(vars).unwrap_or_else(|found| {
            mistakes.extend(found.into_iter().map(|one| Message { text: one.to_string(), hint: one.hint }));
            None
        });
        let token = vars.setting("BAKERY_TOKEN").map(Secret::from);
        if token.as_ref().is_some_and(|token| !token.expose().bytes().all(|byte| byte.is_ascii_graphic())) {
            let text = "BAKERY_TOKEN: contains a blank, a line break or a character that is not ASCII";
            mistakes.push(Message::new(text).with_hint("it must be exactly the server's token"));
        }
        let url = vars.setting("CONTROLLER_URL").unwrap_or_else(|| LOCAL_URL.to_owned());
        let server = ServerApi::new(&url, token, Options { insecure });
        let server = server.map_err(|error| mistakes.push(Message::of(&error)));
        match server {
            Ok(server) if mistakes.is_empty() => {
                let no_colour = vars.setting("NO_COLOR").is_some();
                Ok(Self { server, format, no_colour, s3 })
            }
            _ => {
                if let Some(last) = mistakes.last_mut().filter(|last| last.hint.is_none()) {
                    let hint =
                        "settings are read from the environment and from .env in the working directory";
                    last.hint = Some(hint.to_owned());
                }
                Err(Failure { exit: Exit::BadInput, messages: mistakes })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(vars: &[(&str, &str)]) -> Result<Settings, Failure> {
        let vars: BTreeMap<_, _> =
            vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::of(&vars, Vec::new())
    }

    #[test]
    fn the_default_server_is_on_this_machine() {
        let settings = read(&[("CONTROLLER_URL", ""), ("LOG_FORMAT", "")]).unwrap();
        assert_eq!(settings.server.url(), LOCAL_URL);
        assert_eq!((settings.format, settings.no_colour, settings.s3), (LogFormat::Simple, false, None));
    }

    #[test]
    fn a_token_that_a_header_cannot_carry_is_refused() {
        for token in ["hunter 2", "hünter2", "hunter2\n", " hunter2"] {
            insta::allow_duplicates! {
                insta::assert_snapshot!(read(&[("BAKERY_TOKEN", token)]).unwrap_err().rendered(), @r"
                BAKERY_TOKEN: contains a blank, a line break or a character that is not ASCII
                  hint: it must be exactly the server's token
                ");
            }
        }
        assert!(read(&[("BAKERY_TOKEN", "aZ09+/=_-.~")]).is_ok());
    }

    #[test]
    fn all_mistakes_are_reported_at_once_and_no_secret() {
        let vars = [
            ("LOG_FORMAT", "fancy"),
            ("BAKERY_INSECURE", "yes"),
            ("CONTROLLER_URL", "http://bakery.test"),
            ("BAKERY_TOKEN", "hunter2"),
        ];
        let failure = read(&vars).unwrap_err();
        assert_eq!(failure.exit, Exit::BadInput);
        insta::assert_snapshot!(failure.rendered(), @r"
        LOG_FORMAT: `fancy` is not simple, plain or json
        BAKERY_INSECURE: `yes` is not true or false
        BAKERY_TOKEN would be sent unencrypted to http://bakery.test (CONTROLLER_URL)
          hint: use https:// in CONTROLLER_URL, or allow it with BAKERY_INSECURE=true
        ");
    }
}
