//! `RUN` steps that try to take or forge what is not theirs. Each test has the number of the attack that it repeats.

use std::time::Duration;

use anyhow::{Result, ensure};
use bakery_testkit::client::Ended;
use bakery_testkit::hostile;
use bakery_testkit::project::{Project, single};

use tokio::io::AsyncWriteExt as _;

use crate::world::{Log, World};

/// Kaniko's list of pushed images, from which the agent takes the digest.
const LIST: &str = "/kaniko/bakery/out/images";
/// A digest that no image has.
const FORGED: &str = "sha256:7777777777777777777777777777777777777777777777777777777777777777";

async fn bake(world: &World, image: &str, steps: &str, keys: &str) -> Result<Ended> {
    let config = single(image).replace("global:\n", &format!("global:\n{keys}"));
    let project = Project::new(&world.parts, steps, &config)?;
    let ended = world.client(&project).run(&[]).await?;
    world.gone(&ended.build()?, Duration::from_secs(5)).await?;
    Ok(ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_03_and_28_a_run_step_has_eight_capabilities_and_cannot_end_the_agent() -> Result<()> {
    let world = World::start(&[]).await?;
    let limit = "RUN cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null; true";
    let steps = format!("{}\n{limit}", hostile::STEPS);
    let ended = bake(&world, &world.image("hostile/caps:1"), &steps, "").await?;
    ensure!(ended.code == Some(0), "{}\n{}", ended.out, ended.err);
    hostile::check(&ended.lines()?)?;
    ensure!(ended.said("4096")?, "{}", ended.out);
    Ok(())
}

/// Without the session there is nothing that a RUN could send; what it guesses is refused, and its task ends as the agent says.
#[tokio::test(flavor = "multi_thread")]
async fn probe_03_a_run_step_cannot_report_for_its_agent() -> Result<()> {
    let world = World::start(&[]).await?;
    let report = format!(
        r#"{{"result":{{"kind":"baked","digest":"{FORGED}"}},"stage":"report","lines":0,"millis":{{}}}}"#
    );
    // It knows more than a RUN can read: the name of its run is sent to it. The kernel lists the connections of agent and
    // Kaniko, so the registry is asked too, which answers 404.
    let steps = format!(
        r#"RUN echo address:$(hostname -i | cut -d' ' -f1); run=$(timeout 60 nc -l -p 9998); \
    for peer in $(awk '$4 == "01" {{print $3}}' /proc/1/net/tcp | sort -u); do \
    ip=$(echo $peer | sed 's/\(..\)\(..\)\(..\)\(..\):.*/0x\4 0x\3 0x\2 0x\1/'); \
    url=http://$(printf '%d.%d.%d.%d' $ip):$(printf '%d' 0x${{peer#*:}}); \
    for session in x {session} $run; do for path in report order logs context; do \
    timeout 10 wget -S -O - --header "Authorization: Bearer $session" --header 'Content-Type: application/json' \
    --post-data '{report}' $url/v1/runs/$run/$path 2>&1 | grep -o 'HTTP/1.1 [0-9]*' | sed 's/^/answered:/'; done; done; done; echo answered:all; false"#,
        session = "0".repeat(64),
    );
    let project = Project::new(&world.parts, &steps, &single(&world.image("hostile/report:1")))?;
    let mut child = world.client(&project).spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let (build, address) = log.address(Duration::from_mins(1)).await?;
    let run = format!("bk-{build}-0-1");
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let mut stream = loop {
        match tokio::net::TcpStream::connect((address, 9998)).await {
            Ok(stream) => break stream,
            Err(error) => ensure!(tokio::time::Instant::now() < deadline, "{address}: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    stream.write_all(run.as_bytes()).await?;
    drop(stream);
    let mut statuses = Vec::new();
    loop {
        let line = log.until_contains("answered:", Duration::from_mins(1)).await?;
        match line.message.trim().strip_prefix("answered:") {
            Some("all") => break,
            Some(status) => statuses.push(status.to_owned()),
            // The command line is logged too.
            None => {}
        }
    }
    let of = |code: &str| statuses.iter().filter(|status| *status == &format!("HTTP/1.1 {code}")).count();
    ensure!(of("401") >= 9 && of("401") + of("404") + of("405") == statuses.len(), "{statuses:?}");
    let ended = child.wait().await?;
    ensure!(ended.code() == Some(1), "{ended}");
    world.gone(&build, Duration::from_secs(5)).await
}

/// Signals to process 1 that end or stop others, and a log that is emptied, rewritten and removed below the agent.
#[tokio::test(flavor = "multi_thread")]
async fn probe_28_a_run_step_ends_no_agent_and_loses_no_line() -> Result<()> {
    let world = World::start(&[]).await?;
    let steps = "RUN kill -KILL 1; kill -STOP 1; kill -ABRT 1; kill -SEGV 1; echo it was SIGNALLED; \
                 echo score:$(cat /proc/self/oom_score_adj)\n\
                 RUN for n in $(seq 1 200); do echo counted:$n; done; : > /kaniko/bakery/spool; \
                 for n in $(seq 201 400); do echo counted:$n; done\n\
                 RUN rm -f /kaniko/bakery/spool; for n in $(seq 401 600); do echo counted:$n; done";
    let ended = bake(&world, &world.image("hostile/signals:1"), steps, "").await?;
    ensure!(ended.code == Some(0), "{}\n{}", ended.out, ended.err);
    let lines = ended.lines()?;
    let said = |start: &str| -> Vec<String> {
        lines.iter().filter_map(|line| line.message.trim().strip_prefix(start)).map(str::to_owned).collect()
    };
    ensure!(ended.said("it was SIGNALLED")? && said("score:").contains(&"500".to_owned()), "{}", ended.out);
    let counted: Vec<u32> = said("counted:").iter().filter_map(|n| n.parse().ok()).collect();
    ensure!(counted == (1..=600).collect::<Vec<_>>(), "{counted:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn probe_04_a_run_step_does_not_reach_its_neighbour() -> Result<()> {
    let world = World::start(&[]).await?;
    let steps = "RUN echo address:$(hostname -i | cut -d' ' -f1); timeout 60 nc -l -p 9999 >/dev/null; true";
    let victim = Project::new(&world.parts, steps, &single(&world.image("hostile/victim:1")))?;
    let mut child = world.client(&victim).spawn(&[])?;
    let mut log = Log::of(&mut child)?;
    let (build, address) = log.address(Duration::from_mins(1)).await?;

    let steps = format!("RUN nc -w 3 {address} 9999 </dev/null && echo it is REACHED || echo it is SAFE");
    let ended = bake(&world, &world.image("hostile/neighbour:1"), &steps, "").await?;
    ensure!(ended.code == Some(0), "{}\n{}", ended.out, ended.err);
    ensure!(ended.said("it is SAFE")? && !ended.said("it is REACHED")?, "{}", ended.out);
    child.kill().await?;
    world.client(&victim).run(&["cancel", &build]).await?;
    world.gone(&build, Duration::from_secs(5)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn probe_06_a_run_step_cannot_forge_the_digest() -> Result<()> {
    let world = World::start(&[]).await?;
    let race = format!(
        "RUN (setsid sh -c 'while ! grep -q name {LIST} 2>/dev/null; do :; done; \
         sed -i s/sha256:[0-9a-f]*/{FORGED}/ {LIST}' </dev/null >/dev/null 2>&1 &); true"
    );
    let pipe = format!(
        "RUN rm -f {LIST}; mkfifo {LIST}; (setsid sh -c 'exec 3<>{LIST}; read l <&3; \
         echo \"$l\" | sed s/sha256:[0-9a-f]*/{FORGED}/ >&3; sleep 60' </dev/null >/dev/null 2>&1 &); true"
    );
    let endless = format!("RUN rm -f {LIST}; ln -s /dev/zero {LIST}");
    for (name, steps) in [("race", race), ("pipe", pipe), ("endless", endless)] {
        let image = world.image(&format!("hostile/{name}:1"));
        let ended = bake(&world, &image, &steps, "").await?;
        let details = format!("{name}: {:?}\n{}\n{}", ended.code, ended.out, ended.err);
        if ended.code == Some(0) {
            let reference = format!("docker://{image}");
            let stored =
                world.skopeo(&["inspect", "--tls-verify=false", "--format={{.Digest}}", &reference]).await?;
            ensure!(ended.out.contains(&format!("{image} {}", stored.trim())), "{details}");
        } else {
            let contradicted = ended.err.contains("does not have the image that the task reported");
            ensure!(contradicted || ended.err.contains("list of pushed images"), "{details}");
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn probe_06_no_process_of_the_build_is_left_when_its_result_is_read() -> Result<()> {
    let world = World::start(&[]).await?;
    // It leaves Kaniko's session and ignores every request to end. The check's own command line is not what it looks for.
    let steps = "RUN (setsid sh -c 'trap \"\" TERM INT HUP; sleep 4711' </dev/null >/dev/null 2>&1 &); sleep 1; \
                 cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -q 'sleep 471[1]' && echo it was STARTED";
    let check = "cat /proc/[0-9]*/cmdline | tr '\\0' ' ' | grep -q 'sleep 471[1]' && echo it was LEFT; echo it was CHECKED";
    let keys = format!("  post-script: \"{}\"\n", check.replace('\\', "\\\\"));
    let ended = bake(&world, &world.image("hostile/left:1"), steps, &keys).await?;
    ensure!(ended.code == Some(0), "{}\n{}", ended.out, ended.err);
    ensure!(ended.said("it was STARTED")? && ended.said("it was CHECKED")?, "{}", ended.out);
    ensure!(!ended.said("it was LEFT")?, "{}", ended.out);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn probe_06_a_run_step_cannot_replace_the_shell_of_the_post_script() -> Result<()> {
    let world = World::start(&[]).await?;
    let steps = "RUN rm -f /kaniko/bin/sh && cp /bin/busybox /kaniko/bin/sh";
    let keys = "  post-script: echo it was RUN\n";
    let ended = bake(&world, &world.image("hostile/shell:1"), steps, keys).await?;
    ensure!(ended.code == Some(1), "{}\n{}", ended.out, ended.err);
    ensure!(ended.err.contains("the build changed `/kaniko/bin/sh`"), "{}", ended.err);
    ensure!(!ended.said("it was RUN")?, "{}", ended.out);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn probe_08_a_run_step_cannot_read_the_agent() -> Result<()> {
    let world = World::start(&[]).await?;
    let steps = "RUN for file in environ mem maps auxv stack syscall; do \
                 dd if=/proc/1/$file of=/dev/null bs=64 count=1 2>/dev/null && echo \"it was READ: $file\"; done; \
                 ls -l /proc/1/fd 2>/dev/null | grep -q spool && echo it was SEEN; \
                 grep -qs BAKERY_LAUNCH /proc/[0-9]*/environ && echo it was FOUND; \
                 for path in /dev/mem /proc/kcore /var/run/docker.sock /run/docker.sock \
                 /var/run/secrets/kubernetes.io /sys/kernel/debug/sched; do \
                 ls $path/. >/dev/null 2>&1 && echo \"it was THERE: $path\"; \
                 dd if=$path of=/dev/null bs=64 count=1 2>/dev/null && echo \"it was READ: $path\"; done; \
                 dmesg >/dev/null 2>&1 && echo it was LOGGED; echo it was TRIED";
    let ended = bake(&world, &world.image("hostile/recon:1"), steps, "").await?;
    ensure!(ended.code == Some(0), "{}\n{}", ended.out, ended.err);
    let lines = ended.lines()?;
    let found: Vec<_> =
        lines.iter().map(|line| line.message.trim()).filter(|it| it.starts_with("it was ")).collect();
    ensure!(found == ["it was TRIED"], "{found:?}");
    Ok(())
}
