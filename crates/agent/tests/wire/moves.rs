//! Runs whose image has files where Kaniko lives.

use bakery_agent::Layout;
use bakery_core::wire::log::Level;
use bakery_core::wire::run::TaskResult;

use crate::fake::image;
use crate::oven::{Oven, PUSHES, digest};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_has_moved_before_kaniko_begins_and_nothing_before_the_pre_script_has_ended() {
    let oven = Oven::new("exit 1").await;
    let (old, new) = (oven.root.path().join("kaniko"), oven.root.path().join("kaniko2"));
    std::fs::create_dir(&old).unwrap();
    image(&old, &format!("echo \"$0 runs, $(ls -A {} | wc -l) files are left\"; {PUSHES}", old.display()));
    oven.controller.order(|order| {
        order.kaniko.dir = Some(new.to_str().unwrap().to_owned());
        order.pre_script = Some(format!("test -x {}/executor && echo both are there", old.display()));
        order.post_script = Some("pwd".to_owned());
    });
    let report = oven.run_in(Layout::below(&old)).await.unwrap();
    assert_eq!(report.result, TaskResult::Baked { digest: digest() });
    let text = oven.controller.seen().text();
    let steps = [
        "pre-script| both are there\n".to_owned(),
        format!("agent| Kaniko has moved from {} to {}\n", old.display(), new.display()),
        format!("kaniko| {}/executor runs, 0 files are left\n", new.display()),
        format!("post-script| {}/bakery/ctx\n", new.display()),
    ];
    let places: Vec<_> = steps.iter().map(|step| text.find(step)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{places:?}\n{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_kaniko_leaves_out_of_the_image_is_said() {
    let skips = "echo 'INFO[0002] Skipping copy targeting kaniko directory: /kaniko/notes'";
    let oven = Oven::new(&format!("{skips}; {PUSHES}")).await;
    assert_eq!(oven.report().await.result, TaskResult::Baked { digest: digest() });
    let seen = oven.controller.seen();
    let warned = seen.messages().into_iter().filter(|line| line.lvl == Level::Warn).map(|line| line.msg);
    let warned: Vec<_> = warned.collect();
    let text = format!(
        "the image lacks what its Dockerfile copies below {}, where Kaniko itself lives (hint: name another folder as `kaniko.dir`)",
        oven.root.path().display()
    );
    assert_eq!(warned, [text]);
}
