//! Complete runs.

use std::path::Path;
use std::time::Duration;

use axum::http::StatusCode;
use bakery_agent::process_tree::Scope;
use bakery_agent::{AgentError, Layout, start};
use bakery_core::image::Digest;
use bakery_core::reason::Reason;
use bakery_core::secret::Secret;
use bakery_core::spec::Credential;
use bakery_core::wire::log::{Level, Source};
use bakery_core::wire::run::{Push, Stage, TaskResult};
use rustix::process::{Signal, getpid, kill_process};
use tokio::process::Command;
use tokio::time::Instant;

use crate::fake_server::{FakeServer, LAUNCH_TOKEN};
use crate::harness::{DIGEST, Harness, PUSHES, digest};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_runs_its_scripts_bakes_pushes_and_reports() {
    let harness = Harness::new(&format!("echo \"executor $*\"; env | sort; {PUSHES}")).await;
    harness.server.order(|order| {
        order.pre_script = Some("ls -A; echo made >made; pwd".to_owned());
        order.post_script = Some("cat made; env | sort".to_owned());
        order.env.insert("TIER".to_owned(), Secret::new("base"));
    });
    let report = harness.report().await;
    assert_eq!(report.result, TaskResult::Baked { digest: digest() });
    assert_eq!(report.stage, Stage::PostScript);
    assert!(report.millis.contains_key(&Stage::Prepare) && report.millis.contains_key(&Stage::Push));
    let received = harness.server.received();
    assert_eq!(report.lines, received.lines.len() as u64);
    let text = received.text();
    let source = harness.root.path().join("bakery/ctx");
    for line in [
        concat!("agent| bakery-agent ", env!("BAKERY_VERSION"), ": bk-"),
        "agent| context ",
        "pre-script| .dockerignore\npre-script| Dockerfile\npre-script| a.txt\n",
        &format!("pre-script| {}\n", source.display()),
        "kaniko| executor --context=dir://",
        "kaniko| TIER=base\n",
        "kaniko| BUILDER_OUTPUT=",
        "post-script| made\n",
        "post-script| TIER=base\n",
        &format!("agent| pushed reg.test/shop/cart:7_amd64 {DIGEST}\n"),
    ] {
        assert!(text.contains(line), "{line}\n---\n{text}");
    }
    assert!(!text.contains("drop.me") && !text.contains("BAKERY_") && !text.contains("TINI"), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn build_secrets_are_files_while_kaniko_runs_and_masked_in_the_log() {
    let each = r#"for arg; do
case $arg in --secret=*) echo "${arg%%,*}"; file="${arg##*src=}"; cat "$file"; echo; stat -c %a "$file"; esac
done
env | grep -c sesame
"#;
    let executor = format!("{each}{PUSHES}");
    let harness = Harness::new(&executor).await;
    let secrets = harness.root.path().join("bakery/secrets");
    harness.server.order(|order| {
        order.pre_script = Some(format!("test ! -e {}", secrets.display()));
        order.post_script = order.pre_script.clone();
        order.kaniko.secrets.insert("npm".to_owned(), Secret::new("sesame-open"));
    });
    let report = harness.report().await;
    assert_eq!(report.result, TaskResult::Baked { digest: digest() });
    let text = harness.server.received().text();
    assert!(text.contains("kaniko| --secret=id=npm\nkaniko| ***\nkaniko| 400\nkaniko| 0\n"), "{text}");
    assert!(!text.contains("sesame"), "{text}");
    assert!(!secrets.exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inline_dockerfile_is_a_file_of_the_agent_that_a_pre_script_cannot_change() {
    let each = r#"for arg; do
case $arg in --dockerfile=*) file="${arg#*=}"; echo "$file"; stat -c '%F %a' "$file"; cat "$file"; esac
done
ls -A
"#;
    let harness = Harness::new(&format!("{each}{PUSHES}")).await;
    let home = harness.root.path().join("bakery");
    let path = home.join("Dockerfile.inline").display().to_string();
    let source = home.join("ctx/a.txt").display().to_string();
    harness.server.order(|order| {
        // A Dockerfile of the source is not looked for.
        order.pre_script = Some(format!("rm Dockerfile; ln -s {source} {path}"));
        order.post_script = Some("cat a.txt; echo".to_owned());
        order.kaniko.dockerfile = "lost.Dockerfile".to_owned();
        order.kaniko.dockerfile_inline = Some("FROM scratch\nCOPY a.txt /\n".to_owned());
    });
    let report = harness.report().await;
    assert_eq!(report.result, TaskResult::Baked { digest: digest() });
    let text = harness.server.received().text();
    for lines in [
        &format!("kaniko| {path}\nkaniko| regular file 600\nkaniko| FROM scratch\nkaniko| COPY a.txt /\n"),
        "kaniko| .dockerignore\nkaniko| a.txt\n",
        "post-script| a\n",
    ] {
        assert!(text.contains(lines), "{lines}\n---\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_that_cannot_be_delivered_does_not_affect_the_result() {
    let harness = Harness::new(PUSHES).await;
    harness.server.order(|order| order.result_seconds = 2);
    harness.server.faults(|faults| faults.refuse_logs = true);
    let report = harness.report().await;
    assert_eq!(report.result, TaskResult::Baked { digest: digest() });
    assert!(report.cut && report.lines > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_responses_and_broken_downloads_do_not_affect_the_result() {
    let harness = Harness::new(PUSHES).await;
    harness.server.faults(|faults| {
        faults.lose_orders = 2;
        faults.break_contexts = 2;
        faults.lose_reports = 1;
        faults.forget = vec![(1, 2)];
    });
    let report = harness.run().await.unwrap();
    assert_eq!(report.result, TaskResult::Baked { digest: digest() });
    let received = harness.server.received();
    assert_eq!(received.context_reads, 3);
    assert_eq!(received.reports, [report.clone(), report]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_dockerfile_is_a_result_with_its_code_and_last_lines() {
    let harness = Harness::new(
        "for i in $(seq 40); do echo line $i; done
         echo 'error building image: error building stage: failed to execute command: waiting for process to exit: exit status 3' >&2; exit 3",
    )
    .await;
    harness.server.order(|order| order.post_script = Some("echo never".to_owned()));
    let (reason, message, code, tail) = harness.failure().await;
    assert_eq!((reason, code, tail.len()), (Reason::ExecutorFailed, Some(3), 20));
    assert!(message.text.contains("exit code 3") && tail[18] == "line 40", "{message:?} {tail:?}");
    assert_eq!(message.hint.as_deref(), Some("see its output above"));
    let received = harness.server.received();
    let logged = received.messages().into_iter().find(|line| line.lvl == Level::Error).unwrap();
    assert_eq!((logged.msg, logged.hint), (message.text, message.hint));
    drop(received);
    assert!(!harness.server.received().text().contains("never"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushing_a_cache_layer_does_not_start_the_push_stage() {
    for repository in ["cart/cache:", "cart:7_amd64"] {
        let cached = format!("echo 'INFO[0001] Pushing image to reg.test/shop/{repository}0123abcd'; exit 3");
        assert_eq!(Harness::new(&cached).await.report().await.stage, Stage::Bake);
    }
    let pushed = format!("{PUSHES} exit 3");
    assert_eq!(Harness::new(&pushed).await.report().await.stage, Stage::Push);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_code_0_without_the_images_digest_is_a_failure() {
    let other = PUSHES.replace("\"reg.test/shop/cart:7_amd64\"", "\"reg.test/shop/cart/cache:1\"");
    for executor in ["true", other.as_str()] {
        let (reason, ..) = Harness::new(executor).await.failure().await;
        assert_eq!(reason, Reason::NoDigest);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_push_the_digest_is_read_from_the_file() {
    let harness = Harness::new(&format!(
        "for a; do case $a in --digest-file=*) printf {DIGEST} >\"${{a#*=}}\";; esac; done"
    ))
    .await;
    harness.server.order(|order| {
        order.push_to = None;
        order.kaniko.no_push = true;
    });
    assert_eq!(harness.report().await.result, TaskResult::Baked { digest: digest() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failing_script_fails_the_task() {
    let harness = Harness::new("echo never").await;
    harness.server.order(|order| order.pre_script = Some("echo before\nfalse\necho after".to_owned()));
    let (reason, message, code, tail) = harness.failure().await;
    assert_eq!((reason, code), (Reason::PreScriptFailed, Some(1)));
    assert_eq!(
        (message.text.as_str(), tail),
        ("the pre-script failed (exit code 1)", vec!["before".to_owned()])
    );

    let harness = Harness::new(PUSHES).await;
    harness.server.order(|order| order.post_script = Some("exit 5".to_owned()));
    assert_eq!(harness.report().await.stage, Stage::PostScript);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_path_that_is_not_in_the_context_is_named() {
    let harness = Harness::new("echo never").await;
    harness.server.order(|order| order.kaniko.dockerfile = "Dockerfile.arm64".to_owned());
    let (reason, message, code, _) = harness.failure().await;
    assert_eq!((reason, code), (Reason::ContextIncomplete, None));
    assert_eq!(message.text, "the Dockerfile `Dockerfile.arm64` does not exist in the build context `.`");
    assert!(message.hint.unwrap().starts_with("paths are relative to the packed folder"));

    let harness = Harness::new("echo never").await;
    harness.server.order(|order| order.context.id = Digest::of(b"another"));
    assert_eq!(harness.failure().await.0, Reason::ContextBroken);

    let harness = Harness::new("echo never").await;
    harness.server.order(|order| order.push = Push::ByAgent);
    assert_eq!(harness.failure().await.0, Reason::Internal);
}

const ENDLESS: &str =
    "echo $$; trap : TERM; setsid sh -c 'echo $$; sleep 1000; :' & while :; do sleep 1; done";

/// Asserts that the processes whose ids Kaniko printed are gone.
fn assert_gone(server: &FakeServer) {
    for line in server.received().messages() {
        if line.src == Source::Kaniko && line.msg.parse::<u32>().is_ok() {
            let stat = std::fs::read_to_string(Path::new("/proc").join(&line.msg).join("stat"));
            assert!(stat.is_err() || stat.unwrap().contains(") Z "), "{} is alive", line.msg);
        }
    }
}

fn baking(received: &crate::fake_server::Received) -> bool {
    received.messages().iter().filter(|line| line.msg.parse::<u32>().is_ok()).count() == 2
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_terminates_all_processes_within_seconds_and_is_reported() {
    let harness = Harness::new(ENDLESS).await;
    let cancelling = async {
        harness.server.until(baking).await;
        harness.server.faults(|faults| faults.cancel = true);
        Instant::now()
    };
    let (report, asked) = tokio::join!(harness.report(), cancelling);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!((report.result, report.stage), (TaskResult::Cancelled, Stage::Bake));
    assert_gone(&harness.server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_names_the_limit_and_the_stage() {
    let harness = Harness::new(ENDLESS).await;
    harness.server.order(|order| order.deadline_seconds = 3);
    let (reason, message, ..) = harness.failure().await;
    assert_eq!(reason, Reason::TaskTimeout);
    assert_eq!(message.text, "the task exceeded its time limit of 3 s in stage `bake`");
    assert_gone(&harness.server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_the_server_rejects_ends_without_a_report() {
    let harness = Harness::new(ENDLESS).await;
    let rejecting = async {
        harness.server.until(baking).await;
        harness.server.faults(|faults| faults.refuse = Some(StatusCode::GONE));
    };
    let (outcome, ()) = tokio::join!(harness.run(), rejecting);
    assert!(matches!(outcome, Err(AgentError::Rejected(_))));
    assert_gone(&harness.server);
}

/// Set in the process that the agent has to itself.
const ALONE: &str = "BAKERY_TEST_ALONE";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sigterm_of_the_platform_terminates_all_processes_and_is_reported() {
    // Signals and children belong to the whole process, so this test runs itself in a process of its own.
    if std::env::var_os(ALONE).is_none() {
        let name = "runs::a_sigterm_of_the_platform_terminates_all_processes_and_is_reported";
        let mut command = Command::new(std::env::current_exe().unwrap());
        let ended = command.args(["--exact", name, "--nocapture"]).env(ALONE, "yes").status().await.unwrap();
        assert!(ended.success());
        return;
    }
    start::protect().unwrap();
    // The last process is an orphan.
    let harness = Harness::new(&ENDLESS.replace("setsid sh", "(setsid sh").replace(":' &", ":' &);")).await;
    let layout = Layout { scope: Scope::All, ..Layout::below(harness.root.path()) };
    let terminating = async {
        harness.server.until(baking).await;
        kill_process(getpid(), Signal::TERM).unwrap();
        Instant::now()
    };
    let (report, asked) = tokio::join!(harness.run_in(layout), terminating);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let TaskResult::Failed { reason, text, .. } = report.unwrap().result else { panic!("not a failure") };
    assert_eq!(reason, Reason::Evicted);
    assert_eq!(text, "the platform stopped the container (SIGTERM) in stage `bake`");
    assert_gone(&harness.server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_agent_gets_no_order() {
    let harness = Harness::new(PUSHES).await;
    harness.report().await;
    assert!(matches!(harness.run().await, Err(AgentError::NoOrder(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_reaches_the_log_or_the_report() {
    let password = "p4ss/w0rd+canary";
    // The executor prints every secret and fails, so that the report quotes its output.
    let harness = Harness::new(&format!(
        "cat \"$DOCKER_CONFIG/config.json\"; echo canary-{LAUNCH_TOKEN}; printf 'robot:{password}' | base64
         echo \"token $NPM_TOKEN\"; printf 'x%s' \"$NPM_TOKEN\" | base64; echo 'proxy pr0xy-pass'; echo \"{password}\" >&2; exit 1"
    ))
    .await;
    harness.server.order(|order| {
        order.push_credentials = vec![Credential {
            registry: "reg.test".to_owned(),
            username: "robot".to_owned(),
            password: Secret::new(password),
        }];
        order.env.insert("NPM_TOKEN".to_owned(), Secret::new("npm_canary_0123456789"));
        order.env.insert("HTTP_PROXY".to_owned(), Secret::new("http://me:pr0xy-pass@proxy:3128"));
        order.kaniko.build_args.insert("API_KEY".to_owned(), "arg-canary-1".to_owned());
    });
    let (_, message, _, tail) = harness.failure().await;
    let log = harness.server.received().text();
    assert!(log.contains("--build-arg=API_KEY=***") && log.contains("token ***"), "{log}");
    let session = harness.server.received().session.clone().unwrap();
    for output in [log, message.rendered(), tail.join("\n")] {
        for secret in [
            password,
            "npm_canary_0123456789",
            "arg-canary-1",
            "pr0xy-pass",
            LAUNCH_TOKEN,
            &session,
            "cm9ib3Q6cDRzcy93MHJkK2NhbmFyeQ", // robot:PASSWORD
            "bnBtX2NhbmFyeV8wMTIzNDU2Nzg5",
            "5wbV9jYW5hcnlfMDEyMzQ1Njc4O", // the token after one byte
        ] {
            assert!(!output.contains(secret), "{secret} in {output}");
        }
    }
}
