//! Who may do what: owners, keys, tokens, sessions, secrets; and what is refused at submission.

use std::sync::atomic::AtomicU64;

use bakery_core::limits;
use bakery_core::message::{Hint as _, Message};
use bakery_core::wire::build::Verdict;

use super::*;

/// Waits until the build's actor has ended: its log is whole.
async fn forgotten(server: &ServerLife<'_>, build: BuildId) {
    let shown = server.builds.services.clients.actors.watch(build);
    if let Some(mut shown) = shown {
        while shown.changed().await.is_ok() {}
    }
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn secrets_are_encrypted_in_the_ledger_and_erased_at_the_end() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(single()).await;
        let run = run(build, 0, 1);
        server.launched(run).await;
        server.bind(run).await.unwrap();
        let (token, session) = (server.token(run), session_of(run));
        let check = |when: &str| {
            // While the server lives, so that the ledger's write-ahead log is among it.
            let stored = server.world.everything_stored();
            assert!(holds(&stored, b"reg.test:5000/shop/cart"), "the search does not work");
            for secret in [PASSWORD, "env-secret-value", token.expose(), session.expose()] {
                assert!(!holds(&stored, secret.as_bytes()), "{secret} {when}");
            }
        };
        check("in the middle");
        assert!(server.report(run, baked(run)).await);
        server.ended(build).await;
        assert!(
            server.builds.services.status.ledger.load(build).await.unwrap().is_none(),
            "the sealed spec is erased"
        );
        check("at the end");
    });
}

#[test]
fn the_same_submission_is_the_same_build() {
    BuildsWorld::new().life(async |server| {
        let key = "key of the first build";
        let first = server.submit(single()).await;
        assert_eq!(server.submit(single()).await, first);
        let other = server.builds.submit(OWNER, request(multi(), key)).await;
        assert!(matches!(other, Err(SubmitError::KeyReused)));
        let theirs = server.builds.submit("somebody", request(single(), key)).await.unwrap().id;
        assert_ne!(theirs, first);
        let twins = (request(single(), "key of the twins"), request(single(), "key of the twins"));
        let twins = tokio::join!(server.builds.submit(OWNER, twins.0), server.builds.submit(OWNER, twins.1));
        assert_eq!(twins.0.unwrap().id, twins.1.unwrap().id);
        for key in ["short", &"x".repeat(129), "with a\nline end in it"] {
            let refused = server.builds.submit(OWNER, request(single(), key)).await;
            assert!(matches!(refused, Err(SubmitError::BadKey)), "{key}");
        }
    });
}

#[test]
fn a_build_of_another_owner_does_not_exist() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(single()).await;
        assert!(matches!(server.builds.view("somebody", build).await, Err(BuildError::NoSuchBuild)));
        assert!(matches!(server.builds.cancel("somebody", build).await, Err(BuildError::NoSuchBuild)));
        assert!(server.builds.list("somebody").await.unwrap().builds.is_empty());
        assert_eq!(server.builds.list(OWNER).await.unwrap().builds[0].id, build);
        server.bake(run(build, 0, 1)).await;
        server.ended(build).await;
        assert!(matches!(server.builds.view("somebody", build).await, Err(BuildError::NoSuchBuild)));
    });
}

#[test]
fn a_second_agent_ends_the_run() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(single()).await;
        let run = run(build, 0, 1);
        server.launched(run).await;
        let request = OrderRequest { session: session_of(run), agent_version: "0.1.0".into() };
        let forged = server.builds.bind(run, &Secret::new("0".repeat(64)), request).await;
        assert!(matches!(forged, Err(RunError::Unauthorized)), "a wrong token does no harm");
        server.bind(run).await.unwrap();
        server.bind(run).await.unwrap();
        assert!(matches!(server.bind_as(run, &Secret::new("thief")).await, Err(RunError::SecondBinder)));
        let view = server.ended(build).await;
        assert_eq!(view.targets[0].tasks[0].reason, Some(Reason::SecondBinder));
        assert_eq!(view.outcome.unwrap().verdict, Verdict::Lost);
        server.world.platform.wait_stops(1).await;
    });
}

#[test]
fn a_session_is_identified_by_its_secret_only() {
    BuildsWorld::new().life(async |server| {
        let build = server.submit(single()).await;
        let run = run(build, 0, 1);
        server.launched(run).await;
        assert!(matches!(server.builds.session(run, &session_of(run)).await, Err(RunError::Unauthorized)));
        server.bind(run).await.unwrap();
        let session = server.builds.session(run, &session_of(run)).await.unwrap();
        assert_eq!(session.context.id, Digest::of(b"context"));
        assert!(matches!(server.builds.session(run, &Secret::new("x")).await, Err(RunError::Unauthorized)));
    });
}

#[test]
fn an_invalid_build_is_refused_with_all_its_mistakes() {
    let mut world = BuildsWorld::new();
    world.platform = FakePlatform::new([Arch::Amd64]);
    world.life(async |server| {
        let submit = async |spec| {
            server.builds.submit(OWNER, request(spec, "key of a refused build")).await.unwrap_err()
        };
        let error = submit(multi()).await;
        assert_eq!(
            error.to_string(),
            "task cart (arm64): docker cannot run arm64: no platform of this server runs this architecture"
        );
        assert!(error.hint().unwrap().contains("ALLOW_EMULATION"));

        let mut spec = single();
        spec.services[0].tasks[0].platform = Some(Platform::Ecs);
        let error = submit(spec).await;
        assert_eq!(error.to_string(), "task cart (amd64): platform ecs is not configured on this server");
        assert_eq!(error.hint().unwrap(), "set `platform` to one of: docker");

        let mut spec = single();
        spec.services[0].tasks[0].env.insert("KANIKO_DIR".into(), "/x".into());
        spec.services[0].tasks[0].kaniko.context_path = "../..".into();
        let error = submit(spec).await;
        assert_eq!(error.mistakes().len(), 2, "{error:?}");

        let mut spec = single();
        spec.services[0].tasks[0].kaniko.destination = Some("forbidden.test/cart:1".parse().unwrap());
        let error = submit(spec).await;
        let refused = Message::new("forbidden.test/cart:1: not here").with_hint("elsewhere");
        assert_eq!(error.mistakes(), [refused]);

        assert!(matches!(
            submit(BuildSpec { order: Order::Parallel, services: vec![] }).await,
            SubmitError::BadSpec(_)
        ));

        let mut unknown = request(single(), "key of a refused build");
        unknown.context.id = Digest::of(b"unknown");
        let error = server.builds.submit(OWNER, unknown).await.unwrap_err();
        assert_eq!((error.to_string(), error.hint()), ("it is not here".into(), Some("send it".into())));
        assert!(server.builds.list(OWNER).await.unwrap().builds.is_empty());
    });
}

#[test]
fn probe_19_a_flag_that_the_operator_forbids_is_refused_with_its_place() {
    let mut world = BuildsWorld::new();
    for flag in ["--insecure", "no-push"] {
        world.settings.refused_flags.add(flag).unwrap();
    }
    world.life(async |server| {
        let mut spec = single();
        spec.services[0].tasks[0].kaniko.extra_flags = vec!["--insecure=true".into(), "--git=depth=1".into()];
        let error = server.builds.submit(OWNER, request(spec, "key of a refused build")).await.unwrap_err();
        let [mistake] = error.mistakes() else { panic!("{error:?}") };
        assert_eq!(
            mistake.text,
            "service cart: entry 1: kaniko.extra-flags: the flag `--insecure` is refused by this server's operator"
        );
        assert!(mistake.hint.as_deref().unwrap().contains("REFUSED_KANIKO_FLAGS"));
        server.submit(single()).await;
    });
}

#[test]
fn probe_20_a_full_disk_refuses_new_builds_and_open_ones_continue() {
    let free = Arc::new(AtomicU64::new(1 << 40));
    let (mut world, seen) = (BuildsWorld::new(), Arc::clone(&free));
    world.disk =
        DataDisk::measured_by(move || Ok(DiskSpace { total: 1 << 40, free: seen.load(Ordering::Relaxed) }));
    world.life(async |server| {
        let build = server.submit(single()).await;
        free.store(limits::DISK_RESERVE_BYTES - 1, Ordering::Relaxed);
        let refused = server.builds.submit(OWNER, request(multi(), "key of a refused build")).await;
        assert!(matches!(refused, Err(SubmitError::DiskFull)), "{refused:?}");
        assert!(matches!(server.builds.ready().await, Err(NotReady::DiskFull)));
        // What is accepted already is answered, and is built.
        assert_eq!(server.submit(single()).await, build);
        server.bake(run(build, 0, 1)).await;
        free.store(limits::DISK_RESERVE_BYTES, Ordering::Relaxed);
        server.builds.submit(OWNER, request(multi(), "key of a refused build")).await.unwrap();
        server.builds.ready().await.unwrap();
    });
}

#[test]
fn probe_20_a_ledger_that_cannot_grow_is_a_full_disk() {
    BuildsWorld::new().life(async |server| {
        server.builds.services.status.ledger.stop_growing().await;
        let mut refused = None;
        for nth in 0..1000 {
            let key = format!("key of the build number {nth}");
            if let Err(error) = server.builds.submit(OWNER, request(multi(), &key)).await {
                refused = Some(error);
                break;
            }
        }
        assert!(matches!(refused, Some(SubmitError::DiskFull)), "{refused:?}");
    });
}

#[test]
fn a_list_is_read_at_once_however_many_builds_there_are() {
    BuildsWorld::new().life(async |server| {
        let reads = || server.builds.services.status.ledger.reads();
        let first = server.submit(single()).await;
        server.bake(run(first, 0, 1)).await;
        forgotten(&server, first).await;
        let mut builds = vec![first];
        for count in 1..=12 {
            let before = reads();
            let list = server.builds.list(OWNER).await.unwrap().builds;
            assert_eq!((reads() - before, list.len()), (1, count));
            let key = format!("key of build number {count}");
            builds.push(server.builds.submit(OWNER, request(multi(), &key)).await.unwrap().id);
        }
        let list = server.builds.list(OWNER).await.unwrap().builds;
        builds.sort_by_key(|build| std::cmp::Reverse(build.to_string()));
        assert_eq!(list.iter().map(|view| view.id).collect::<Vec<_>>(), builds, "newest first");
        let stored = list.iter().find(|view| view.id == first).unwrap();
        assert_eq!(stored, &server.builds.view(OWNER, first).await.unwrap());
        assert!(list.iter().filter(|view| view.id != first).all(|view| view.targets[0].tasks.len() == 2));
    });
}

#[test]
fn a_submitted_build_is_not_read_back_from_the_ledger() {
    let world = BuildsWorld::new();
    world.life(async |_| {});
    // From now on what is sealed is spoilt as it is stored.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let file = world.folder.path().join("ledger.sqlite");
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file);
        let mut ledger = sqlx::ConnectOptions::connect(&options).await.unwrap();
        let spoil = "CREATE TRIGGER spoil AFTER INSERT ON builds BEGIN UPDATE builds SET sealed = zeroblob(64) \
                     WHERE id = NEW.id; END";
        sqlx::raw_sql(spoil).execute(&mut ledger).await.unwrap();
    });
    drop(runtime);
    let open = world.life(async |server| {
        let build = server.submit(single()).await;
        server.bake(run(build, 0, 1)).await;
        assert_eq!(server.builds.services.status.ledger.reads(), 0);
        assert_eq!(server.ended(build).await.outcome.unwrap().verdict, Verdict::Baked);
        server.builds.submit(OWNER, request(single(), "key of the second build")).await.unwrap().id
    });
    world.life(async |server| {
        let refused = server.builds.cancel(OWNER, open).await;
        assert!(matches!(refused, Err(BuildError::Internal(InternalError::Ledger(_)))), "{refused:?}");
    });
}

#[test]
fn a_data_folder_has_one_server_and_one_key() {
    let world = BuildsWorld::new();
    world.life(async |server| {
        let second = Ledger::open(server.world.folder.path(), None, Clock::system()).await;
        assert!(matches!(second, Err(ledger::LedgerError::Locked(_))));
        let checked = Ledger::check(server.world.folder.path(), None).await;
        assert!(matches!(checked, Err(ledger::LedgerError::Locked(_))));
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (folder, other) = (world.folder.path(), Secret::new("k".repeat(32)));
        // While the WAL of the killed server lies there, and after a start has taken it over.
        for _ in 0..2 {
            Ledger::check(folder, None).await.unwrap();
            let checked = Ledger::check(folder, Some(&other)).await.unwrap_err();
            let opened = Ledger::open(folder, Some(&other), Clock::system()).await.err().unwrap();
            assert!(matches!(opened, ledger::LedgerError::ForeignKey(_)));
            assert_eq!(checked.to_string(), opened.to_string());
        }
        std::fs::remove_file(folder.join("data.key")).unwrap();
        let checked = Ledger::check(folder, None).await;
        assert!(matches!(checked, Err(ledger::LedgerError::ForeignKey(_))));
        assert!(!folder.join("data.key").exists(), "a check makes nothing");
    });
}

#[test]
fn a_ledger_that_is_no_database_is_refused_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        Ledger::check(folder.path(), None).await.unwrap();
        std::fs::write(folder.path().join("ledger.sqlite"), "flour and water\n".repeat(400)).unwrap();
        let checked = Ledger::check(folder.path(), None).await.unwrap_err();
        let opened = Ledger::open(folder.path(), None, Clock::system()).await.err().unwrap();
        assert_eq!(checked.to_string(), opened.to_string());
        assert!(opened.to_string().contains("ledger.sqlite cannot be read: file is not a database"));
        assert!(opened.hint().is_some());
    });
}

#[test]
fn leftovers_and_old_builds_are_swept() {
    let mut world = BuildsWorld::new();
    world.clock = Clock::standing_at("2026-01-01T00:00:00Z".parse().unwrap());
    let stranger = run(BuildId::new(1_000, 7), 0, 1);
    let young = run(BuildId::new(u64::try_from(world.clock.now().as_millisecond()).unwrap(), 7), 0, 1);
    world.platform.leave(stranger);
    world.platform.leave(young);
    world.life(async |server| {
        assert_eq!(server.world.platform.wait_stops(1).await, [stranger]);
        let build = server.submit(single()).await;
        server.bake(run(build, 0, 1)).await;
        forgotten(&server, build).await;
        server.world.clock.advance(Duration::from_hours(13 * 24));
        server.builds.services.sweeper.round().await;
        assert_eq!(server.builds.list(OWNER).await.unwrap().builds.len(), 1);
        server.world.clock.advance(Duration::from_hours(2 * 24));
        server.builds.services.sweeper.round().await;
        assert!(server.builds.list(OWNER).await.unwrap().builds.is_empty());
        assert!(server.logs.sizes().unwrap().is_empty());
    });
}

#[test]
fn what_has_just_ended_is_kept_however_big_the_logs_are() {
    let mut world = BuildsWorld::new();
    world.clock = Clock::standing_at("2026-01-01T00:00:00Z".parse().unwrap());
    world.settings.retention.log_bytes = 0;
    world.life(async |server| {
        let build = server.submit(single()).await;
        server.bake(run(build, 0, 1)).await;
        forgotten(&server, build).await;
        server.world.clock.advance(Duration::from_mins(59));
        server.builds.services.sweeper.round().await;
        assert_eq!(server.builds.list(OWNER).await.unwrap().builds.len(), 1);
        server.world.clock.advance(Duration::from_mins(2));
        server.builds.services.sweeper.round().await;
        assert!(server.builds.list(OWNER).await.unwrap().builds.is_empty());
    });
}

#[test]
fn a_build_is_kept_until_its_log_is_whole_and_ends_without_one() {
    let mut world = BuildsWorld::new();
    world.clock = Clock::standing_at("2026-01-01T00:00:00Z".parse().unwrap());
    world.settings.timing.vacate = Duration::from_mins(5);
    world.life(async |server| {
        let build = server.submit(single()).await;
        let run = run(build, 0, 1);
        server.launched(run).await;
        server.bind(run).await.unwrap();
        server.report(run, failed(Reason::ExecutorFailed)).await;
        server.ended(build).await;
        // Its container lives, so the log has no end yet.
        server.world.clock.advance(Duration::from_hours(30 * 24));
        server.builds.services.sweeper.round().await;
        assert_eq!(server.builds.list(OWNER).await.unwrap().builds.len(), 1);
        // Somebody else has removed it.
        server.logs.remove(build).await.unwrap();
        server.world.platform.exit(run, 1);
        forgotten(&server, build).await;
    });
}

#[test]
fn the_server_lists_what_it_can_run() {
    BuildsWorld::new().life(async |server| {
        let info = server.builds.info();
        assert_eq!(info.platforms, BTreeMap::from([("docker".to_owned(), Arch::ALL.to_vec())]));
        assert!(server.builds.ready().await.is_ok());
    });
}
