//! Runs in which Kaniko is relocated to another folder.

use bakery_agent::Layout;
use bakery_core::wire::log::Level;
use bakery_core::wire::run::TaskResult;

use crate::fake_server::image;
use crate::harness::{Harness, PUSHES, digest};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_relocated_after_the_pre_script_and_before_kaniko_starts() {
    let harness = Harness::new("exit 1").await;
    let (old, new) = (harness.root.path().join("kaniko"), harness.root.path().join("kaniko2"));
    std::fs::create_dir(&old).unwrap();
    image(&old, &format!("echo \"$0 runs, $(ls -A {} | wc -l) files are left\"; {PUSHES}", old.display()));
    harness.server.order(|order| {
        order.kaniko.dir = Some(new.to_str().unwrap().to_owned());
        order.pre_script = Some(format!("test -x {}/executor && echo both are there", old.display()));
        order.post_script = Some("pwd".to_owned());
    });
    let report = harness.run_in(Layout::below(&old)).await.unwrap();
    assert_eq!(report.result, TaskResult::Baked { digest: digest() });
    let text = harness.server.received().text();
    let steps = [
        "pre-script| both are there\n".to_owned(),
        format!("agent| Kaniko was relocated from {} to {}\n", old.display(), new.display()),
        format!("kaniko| {}/executor runs, 0 files are left\n", new.display()),
        format!("post-script| {}/bakery/ctx\n", new.display()),
    ];
    let offsets: Vec<_> = steps.iter().map(|step| text.find(step)).collect();
    assert!(offsets.iter().all(Option::is_some) && offsets.is_sorted(), "{offsets:?}\n{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_kaniko_skips_are_reported() {
    let skips = "echo 'INFO[0002] Skipping copy targeting kaniko directory: /kaniko/notes'";
    let harness = Harness::new(&format!("{skips}; {PUSHES}")).await;
    assert_eq!(harness.report().await.result, TaskResult::Baked { digest: digest() });
    let received = harness.server.received();
    let warnings = received
        .messages()
        .into_iter()
        .filter(|line| line.lvl == Level::Warn)
        .map(|line| (line.msg, line.hint));
    let warnings: Vec<_> = warnings.collect();
    let text = format!(
        "files that the Dockerfile copies below {} are missing in the image: it is Kaniko's own folder",
        harness.root.path().display()
    );
    assert_eq!(warnings, [(text, Some("set `kaniko.dir` to another folder".to_owned()))]);
}
