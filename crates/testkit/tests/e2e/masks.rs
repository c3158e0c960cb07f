//! Secrets that a build prints in every way it can think of, with the real executor. The log and `plan` must not show them,
//! and what is harmless must stay readable.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bakery_testkit::client::Ended;
use bakery_testkit::project::Project;

use crate::world::World;

/// Runs a build and its plan; returns how it ended, and all that people can read of it.
async fn bake(world: &World, project: &Project) -> Result<(Ended, String)> {
    let client = world.client(project);
    let plan = client.run(&["plan"]).await?;
    ensure!(plan.code == Some(0), "{}", plan.err);
    let ended = client.run(&[]).await?;
    world.gone(&ended.build()?, Duration::from_secs(5)).await?;
    let seen = [&plan.out, &plan.err, &ended.out, &ended.err].map(String::as_str).join("\n");
    Ok((ended, seen))
}

#[tokio::test(flavor = "multi_thread")]
async fn case_16_a_mounted_secret_is_used_in_two_stages_and_shown_nowhere() -> Result<()> {
    let world = World::start(&[]).await?;
    let image = world.image("masks/mounts:1");
    let config = format!(
        r#"global:
  arch: amd64
  env: {{ DEPLOY: tok-4711-do-not-show }}
  pre-script: |
    echo "::add-mask::file-0815-do-not-show"
    mkdir -p /kaniko/bakery-input
    printf 'file-0815-do-not-show' > /kaniko/bakery-input/s
  kaniko:
    destination: "{image}"
    extra-flags: --secret id=tok,env=DEPLOY --secret id=file,src=/kaniko/bakery-input/s
"#
    );
    let steps = format!(
        r#"RUN --mount=type=secret,id=tok --mount=type=secret,id=file echo "one sees $(cat /run/secrets/tok) and $(cat /run/secrets/file)"; echo 1 > /one.done
FROM {base}
COPY --from=0 /one.done /one.done
RUN --mount=type=secret,id=tok,target=/root/.token,required=true test "$(wc -c < /root/.token)" = 20 && echo second stage ok
RUN test ! -e /root/.token && test ! -e /run/secrets/tok && echo nothing left
"#,
        base = world.parts.base_image
    );
    let project = Project::new(&world.parts, &steps, &config)?;
    let (ended, seen) = bake(&world, &project).await?;
    ensure!(ended.code == Some(0), "{seen}");
    for line in ["one sees *** and ***", "second stage ok", "nothing left"] {
        ensure!(ended.said(line)?, "no line {line:?}\n{seen}");
    }
    ensure!(!seen.contains("tok-4711") && !ended.out.contains("file-0815"), "{seen}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_secret_of_the_config_is_mounted_in_each_stage_and_shown_nowhere() -> Result<()> {
    let world = World::start(&[]).await?;
    let image = world.image("masks/secrets:1");
    let config = format!(
        "global:\n  arch: amd64\n  post-script: test ! -e /kaniko/bakery/secrets && test ! -e /kaniko/secrets && echo none kept\n  \
         kaniko:\n    destination: \"{image}\"\n    secrets: [{{ id: tok, file: tok.txt }}]\n"
    );
    let steps = format!(
        "RUN --mount=type=secret,id=tok echo \"it is $(cat /run/secrets/tok)\"; stat -c 'mode %a' /run/secrets/tok; echo 1 >/done\n\
         FROM {base}\nCOPY --from=0 /done /done\n\
         RUN --mount=type=secret,id=tok,required=true,uid=7,mode=0440 stat -c 'second %u %a' /run/secrets/tok\n\
         RUN test ! -e /run/secrets/tok && echo nothing left\n",
        base = world.parts.base_image
    );
    let project = Project::new(&world.parts, &steps, &config)?;
    project.write("tok.txt", "tok-4711-do-not-show")?;
    project.write(".dockerignore", "tok.txt\nconfig.yaml\n")?;
    let (ended, seen) = bake(&world, &project).await?;
    ensure!(ended.code == Some(0), "{seen}");
    for line in ["it is ***", "mode 400", "second 7 440", "nothing left", "none kept"] {
        ensure!(ended.said(line)?, "no line {line:?}\n{seen}");
    }
    ensure!(!seen.contains("tok-4711"), "{seen}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn case_22_a_json_password_is_masked_however_it_is_printed_and_braces_stay() -> Result<()> {
    let world = World::start(&[]).await?;
    let host = &world.registry.host;
    let image = world.image("masks/jsonkey:1");
    let config = format!(
        r#"global:
  arch: amd64
  kaniko-credentials:
  - registry: "{host}"
    username: _json_key
    password: |-
      {{
        "type": "service_account",
        "project_id": "demo",
        "private_key": "-----BEGIN PRIVATE KEY-----\nQmFrZXJ5IHRlc3QgdGV4dCwgbm8ga2V5IGF0IGFsbCAwMTIzNDU2Nzg5QUJDREVG\nc2Vjb25kIGxpbmUgb2YgYSB0ZXh0IHRoYXQgaXMgbm8ga2V5IDk4NzY1NDMyMTA=\n-----END PRIVATE KEY-----\n",
        "client_email": "ci@demo.test"
      }}
  pre-script: |
    cfg="$DOCKER_CONFIG/config.json"
    auth() {{ sed 's/.*"auth": *"\([^"]*\)".*/\1/' "$cfg" | grep -v '[{{}}]'; }}
    cat "$cfg"; echo
    auth; auth | base64 -d; echo
    auth | base64 -d | sed 's/^_json_key://' | tr -d '\n'; echo
    auth | base64 -d | sed 's/\\n/\n/g'; echo
    printf '%s\n' '{{' '  "name": "innocent", "list": [1, 2]' '}}'
  kaniko: {{ destination: "{image}" }}
"#
    );
    let project = Project::new(&world.parts, "RUN echo '{\"status\":\"ok\"}'", &config)?;
    let (ended, seen) = bake(&world, &project).await?;
    ensure!(ended.code == Some(0), "{seen}");
    for line in [r#"{"status":"ok"}"#, r#""name": "innocent", "list": [1, 2]"#, "{", "}"] {
        ensure!(ended.said(line)?, "no line {line:?}\n{seen}");
    }
    ensure!(seen.contains("_json_key"), "the script has printed nothing\n{seen}");
    for secret in ["QmFrZXJ5IHRlc3QgdGV4dC", "c2Vjb25kIGxpbmUgb2YgYSB0", "X2pzb25fa2V5O"] {
        ensure!(!seen.contains(secret), "{secret}\n{seen}");
    }
    Ok(())
}

/// What else a build may do with a secret: each line prints it in another form, and each has to come out masked.
const SIBLINGS: &str = r#"printf '%s' "$KEY" | base64 -w 20 | sed 's/^/ /'
printf '%s' "$KEY" | base64 -w 0 | tr '+/' '-_'
printf '%s' "$KEY" | od -An -v -tx1 | tr -d ' \n'; echo
printf 'pw-4\033[0m7\00011 "a&b@c\n'
printf '%s' "$KEY" | sed 's/ /%20/g; s/"/%22/g; s/&/%26/g; s/@/%40/g'; echo
printf '%s' "$KEY" | sed 's/&/\&amp;/g; s/"/\&#34;/g'; echo
printf '%s' "$KEY" | sed 's/"/\\"/g'; echo
printf '%s\n' "$PEM" | tr -d '\n'; echo
printf '%s\n' "$PEM"
echo "cannot open http://baker:$KEY@127.0.0.1:1/""#;

#[tokio::test(flavor = "multi_thread")]
async fn cases_16_and_22_siblings_no_form_of_a_secret_shows() -> Result<()> {
    let world = World::start(&[]).await?;
    let image = world.image("masks/siblings:1");
    let secret = r#"pw-4711 "a&b@c"#;
    let script = SIBLINGS.replace('\n', "\n    ");
    let config = format!(
        r#"global:
  arch: amd64
  env:
    KEY: 'pw-4711 "a&b@c'
    PEM: |
      -----BEGIN RSA PRIVATE KEY-----
      c2libGluZyBvZiBhIGtleSwgbm90IG9uZTAwMQ==
      -----END RSA PRIVATE KEY-----
  pre-script: |
    {script}
    echo "::add-mask::made-at-run-time"
    echo the end
  post-script: echo made-at-run-time $(printf made-at-run-time | base64)
  kaniko:
    destination: "{image}"
    extra-flags: --secret id=key,env=KEY --secret id=pem,env=PEM
"#
    );
    let steps = "RUN --mount=type=secret,id=key cat /run/secrets/key; echo; echo made-at-run-time";
    let project = Project::new(&world.parts, steps, &config)?;
    let (ended, seen) = bake(&world, &project).await.context("the siblings")?;
    ensure!(ended.code == Some(0), "{seen}");
    ensure!(ended.said("the end")? && ended.said("*** ***==")?, "{seen}");
    let lines = ended.lines()?;
    let text: Vec<_> = lines.iter().map(|line| line.message.as_str()).collect();
    let text = text.join("\n");
    let visible: String = text.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    for form in
        [secret, "4711", "a&b@c", "cHctND", "70772d34", "c2libGluZy", "made-at-run", "a&amp;b", "a%26b"]
    {
        ensure!(!visible.contains(form) && !ended.err.contains(form), "{form} is shown\n{text}");
    }
    Ok(())
}
