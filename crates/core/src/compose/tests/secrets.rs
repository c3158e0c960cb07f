//! Build secrets of a Compose file.

use super::*;
use crate::mask::Mask;
use crate::secret::Secret;

/// One file with a secret; the others cannot be read.
struct Npmrc;

impl OtherFiles for Npmrc {
    fn exists(&self, _: &str) -> bool {
        false
    }

    fn read(&self, _: &str, _: &str) -> Result<String, Message> {
        Err("not a Compose file".into())
    }

    fn secret(&self, name: &str, path: &str) -> Result<Secret, Message> {
        if path == "/work/shop/deploy/npmrc" {
            return Ok(Secret::new("token of the file"));
        }
        Err(Message::new(format!("`{name}` does not exist")))
    }
}

fn resolved(build: &str, top: &str) -> Result<Resolved, Report> {
    let text = format!(
        "services:\n  web:\n    image: reg.test/web\n    build:\n      context: .\n{build}secrets:\n{top}"
    );
    let withheld = Withheld::of(&env(), &[], "");
    read("compose.yaml", &text)?
        .resolve(&Request { files: &Npmrc, ..request(&env(), &withheld, &Naming::default()) })
}

const TOP: &str = "
  npm: { file: ./npmrc }
  db: { environment: SECRET }
  gh: { environment: GITHUB_TOKEN }
  far: { external: true }
  lost: { environment: NOT_SET }
  none: {}
  gone: { file: gone.txt, x-a: 1 }
";

#[test]
fn secrets_come_from_files_and_variables_and_are_never_shown() {
    let build = "
      secrets:
      - npm
      - { source: db, target: pw, mode: 0440 }
      x-bake: { secret: 'id=other,env=SECRET id=npm,src=./npmrc' }
";
    let Resolved { spec, notices, .. } = resolved(build, TOP).unwrap_or_else(|report| panic!("{report}"));
    let notices: Vec<_> = notices.iter().map(Notice::rendered).collect();
    insta::assert_snapshot!(notices.join("\n"), @"
    compose.yaml:9:41: services.web.build.secrets[1].mode: has no effect here
      hint: write it where the secret is used: RUN --mount=type=secret,id=...,mode=...
    ");
    let task = &spec.services[0].tasks[0];
    let secrets: Vec<_> =
        task.kaniko.secrets.iter().map(|(id, value)| format!("{id}={}", value.expose())).collect();
    assert_eq!(secrets, ["npm=token of the file", "other=hunter2", "pw=hunter2"]);
    assert!(!format!("{spec:?}").contains("hunter2"));
    let masked = Mask::of([task], &[]).arguments(&["echo hunter2 token of the file".to_owned()]);
    assert_eq!(masked, ["echo *** ***"]);
}

#[test]
fn what_cannot_be_a_secret_is_a_mistake() {
    let build = "
      secrets: [gh, far, lost, none, gone, nowhere, npm, npm, { source: db, target: ../x, uit: 1 }, { target: a }]
      x-bake: { secret: ['src=npmrc', 'id=a,b'] }
";
    let report = resolved(build, TOP).map(|_| ()).expect_err("mistakes").to_string();
    assert!(!report.contains("hunter2"), "{report}");
    insta::assert_snapshot!(report, @r"
    compose.yaml:7:44: services.web.build.secrets[5]: there is no secret `nowhere`
      hint: one of npm, db, gh, far, lost, none, gone
    compose.yaml:7:58: services.web.build.secrets[7]: a second secret with this id
      hint: keep one
    compose.yaml:7:63: services.web.build.secrets[8]: not a valid id of a secret
      hint: use letters, digits, `.`, `_` and `-`, with no dot first; at most 64
    compose.yaml:7:96: services.web.build.secrets[8].uit: unknown key
      hint: did you mean `uid`?
    compose.yaml:7:101: services.web.build.secrets[9]: `source` is missing
    compose.yaml:8:26: services.web.build.x-bake.secret[0]: `id` is missing
      hint: id=ID,env=NAME or id=ID,src=FILE
    compose.yaml:8:39: services.web.build.x-bake.secret[1]: not a secret of buildx
      hint: id=ID,env=NAME or id=ID,src=FILE
    compose.yaml:13:22: secrets.gh.environment: the variable GITHUB_TOKEN is a secret of the environment: a build does not get it
      hint: if the build needs it, allow it with --allow-env GITHUB_TOKEN
    compose.yaml:14:20: secrets.far.external: an external secret is not supported: Bakery has no store of secrets
      hint: give it a `file` or an `environment`
    compose.yaml:15:24: secrets.lost.environment: the variable NOT_SET is not set
      hint: set it, or remove the secret
    compose.yaml:16:9: secrets.none: needs a `file` or an `environment`, and not both
    compose.yaml:17:17: secrets.gone.file: `gone.txt` does not exist
    ");
}
