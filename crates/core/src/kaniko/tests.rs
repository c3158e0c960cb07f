use std::collections::BTreeMap;

use super::*;
use crate::spec::SnapshotMode;

fn run(kaniko: &KanikoSpec, push: Push, facts: &ExecutorFacts) -> (String, Vec<String>) {
    let image: ImageRef = "reg.test:5000/shop/cart:7_arm64".parse().unwrap();
    let insecure = ["reg.test:5000".to_owned(), "10.0.0.9:5000".to_owned()];
    let input = ArgvInput {
        arch: Arch::Arm64,
        push_to: (!kaniko.no_push).then_some(&image),
        also_push_to: &[],
        push,
        insecure_registries: &insecure,
        paths: &Paths::of(None),
    };
    let (args, notices) = argv(kaniko, &input, facts);
    (args.join("\n"), notices)
}

fn full() -> KanikoSpec {
    KanikoSpec {
        context_path: "./svc/cart/".to_owned(),
        dockerfile: "docker/Dockerfile.arm64".to_owned(),
        destination: Some("reg.test:5000/shop/cart:7".parse().unwrap()),
        build_args: BTreeMap::from([("A".to_owned(), "x y 'z' $(id)".to_owned())]),
        cache: CacheSpec {
            enable: true,
            repo: Some("reg.test:5000/cache".to_owned()),
            ttl_seconds: Some(5400),
            copy_layers: Some(true),
            run_layers: Some(false),
            compressed: Some(false),
        },
        snapshot_mode: Some(SnapshotMode::Redo),
        use_new_run: true,
        cleanup: true,
        custom_platform: Some("linux/arm64/v8".to_owned()),
        ignore_path: vec!["/product_uuid".to_owned()],
        extra_flags: vec!["--label=a=b".to_owned(), "--push-retry=1".to_owned()],
        ..KanikoSpec::default()
    }
}

#[test]
fn defaults_name_context_platform_destination_and_digest() {
    insta::assert_snapshot!(run(&KanikoSpec::default(), Push::ByKaniko, &ExecutorFacts::pinned()).0, @r"
    --context=dir:///kaniko/bakery/ctx
    --dockerfile=/kaniko/bakery/ctx/Dockerfile
    --custom-platform=linux/arm64
    --destination=reg.test:5000/shop/cart:7_arm64
    --digest-file=/kaniko/bakery/digest
    --insecure-registry=reg.test:5000
    --insecure-registry=10.0.0.9:5000
    --push-retry=5
    --image-download-retry=3
    --image-fs-extract-retry=3
    --log-format=color
    --log-timestamp=false
    ");
}

#[test]
fn every_option_is_one_argument_and_extra_flags_go_last() {
    let (args, notices) = run(&full(), Push::ByKaniko, &ExecutorFacts::pinned());
    assert_eq!(notices, Vec::<String>::new());
    insta::assert_snapshot!(args, @r"
    --context=dir:///kaniko/bakery/ctx/svc/cart
    --dockerfile=/kaniko/bakery/ctx/svc/cart/docker/Dockerfile.arm64
    --custom-platform=linux/arm64/v8
    --build-arg=A=x y 'z' $(id)
    --snapshot-mode=redo
    --use-new-run
    --cleanup
    --ignore-path=/product_uuid
    --destination=reg.test:5000/shop/cart:7_arm64
    --digest-file=/kaniko/bakery/digest
    --cache=true
    --cache-repo=reg.test:5000/cache
    --cache-ttl=1h30m
    --cache-copy-layers=true
    --cache-run-layers=false
    --compressed-caching=false
    --insecure-registry=reg.test:5000
    --insecure-registry=10.0.0.9:5000
    --push-retry=5
    --image-download-retry=3
    --image-fs-extract-retry=3
    --log-format=color
    --log-timestamp=false
    --label=a=b
    --push-retry=1
    ");
}

#[test]
fn typed_keys_become_flags_before_the_extra_ones() {
    let pair = |a: &str, b: &str| BTreeMap::from([(a.to_owned(), b.to_owned())]);
    let kaniko = KanikoSpec {
        target: Some("prod".to_owned()),
        labels: pair("a", "b; c=d"),
        annotations: pair("e", "f"),
        registry_mirrors: vec!["mirror.test:5000".to_owned()],
        registry_map: BTreeMap::from([
            ("docker.io".to_owned(), vec!["a.test".to_owned(), "b.test/hub".to_owned()]),
            ("quay.io".to_owned(), vec!["c.test".to_owned()]),
        ]),
        certificates: BTreeMap::from([
            ("docker.io".to_owned(), "certs/ca.pem".to_owned()),
            ("reg.test:5000".to_owned(), "/kaniko/ssl/own.pem".to_owned()),
        ]),
        compression: Some(crate::spec::Compression::Zstd),
        reproducible: true,
        single_snapshot: true,
        push_retry: Some(0),
        extra_flags: vec!["--label=x=y".to_owned()],
        ..KanikoSpec::default()
    };
    // What changes the image is never left out, also for an executor without the flag.
    let old = ExecutorFacts::read("Kaniko version :  v1.9.0\n", "Flags:\n      --push-retry int  x\n");
    let (args, notices) = run(&kaniko, Push::ByKaniko, &old);
    assert!(notices.iter().all(|notice| !notice.contains("--target")), "{notices:?}");
    insta::assert_snapshot!(args, @r"
    --context=dir:///kaniko/bakery/ctx
    --dockerfile=/kaniko/bakery/ctx/Dockerfile
    --target=prod
    --label=a=b; c=d
    --annotation=e=f
    --compression=zstd
    --reproducible
    --single-snapshot
    --registry-mirror=mirror.test:5000
    --registry-map=index.docker.io=a.test
    --registry-map=index.docker.io=b.test/hub
    --registry-map=quay.io=c.test
    --registry-certificate=index.docker.io=/kaniko/bakery/ctx/certs/ca.pem
    --registry-certificate=reg.test:5000=/kaniko/ssl/own.pem
    --push-retry=0
    --destination=reg.test:5000/shop/cart:7_arm64
    --digest-file=/kaniko/bakery/digest
    --label=x=y
    ");
}

#[test]
fn without_a_push_there_is_no_destination_but_a_digest() {
    let kaniko = KanikoSpec { no_push: true, ..KanikoSpec::default() };
    let (args, _) = run(&kaniko, Push::ByKaniko, &ExecutorFacts::pinned());
    assert!(args.contains("--no-push\n--digest-file=") && !args.contains("--destination"), "{args}");
}

#[test]
fn an_agent_that_pushes_gets_a_layout_or_with_a_cache_a_tar() {
    let facts = ExecutorFacts::pinned();
    let (plain, _) = run(&KanikoSpec::default(), Push::ByAgent, &facts);
    assert!(plain.contains("\n--no-push\n--oci-layout-path=/kaniko/bakery/oci\n"), "{plain}");
    let mut kaniko = full();
    kaniko.cache.repo = None;
    let (cached, _) = run(&kaniko, Push::ByAgent, &facts);
    assert!(cached.contains("\n--no-push\n--tar-path=/kaniko/bakery/image.tar\n"), "{cached}");
    assert!(cached.contains("\n--cache-repo=reg.test:5000/shop/cart/cache\n"), "{cached}");
}

#[test]
fn a_flag_that_a_version_does_not_support_is_omitted_with_a_notice() {
    let help = "Flags:\n  -c, --context string   Path\n      --log-format string  x\n      --cleanup  y\n";
    let facts = ExecutorFacts::read("Kaniko version :  v1.9.0\n", help);
    let (args, notices) = run(&full(), Push::ByKaniko, &facts);
    assert!(args.contains("--cleanup") && args.contains("--log-format=color"), "{args}");
    assert!(!args.contains("--insecure-registry") && args.contains("--destination="), "{args}");
    let expected = "Kaniko v1.9.0 does not support --insecure-registry: omitted";
    assert_eq!(notices.iter().filter(|notice| *notice == expected).count(), 1, "{notices:?}");
}

#[test]
fn an_executor_without_help_counts_as_the_pinned_one() {
    assert_eq!(ExecutorFacts::read("Kaniko version :  v1.27.5\n", ""), ExecutorFacts::pinned());
    assert_eq!(ExecutorFacts::read("", "").version, "unknown");
}

#[test]
fn reserved_flags_are_refused_however_they_are_written() {
    for flag in [
        "--destination",
        "--destination=a",
        "-d",
        "-dfoo",
        "-d=foo",
        "-c",
        "--tarPath=x",
        "--no-push",
        "--",
        "-h",
        "--verbosity",
        "--verbosity=warn",
        "-v",
        "-verror",
        "-v=fatal",
    ] {
        assert!(refuse_extra_flag(flag).is_some(), "{flag}");
    }
    for flag in [
        "--label",
        "--no-push-cache",
        "destination",
        "a=--context",
        "--context-sub-path=x",
        "-",
        "--verbosity=debug",
        "-vTrace",
        "-v=info",
        "--verbosity-x",
    ] {
        assert!(refuse_extra_flag(flag).is_none(), "{flag}");
    }
}

#[test]
fn case_16_a_variable_of_a_secret_is_known_by_its_use() {
    let flags = "--secret id=tok,env=DEPLOY --secret=id=a,type=env,src=B --secret id=file,src=/x --secret id=C --secret";
    let flags: Vec<String> = flags.split(' ').map(str::to_owned).collect();
    assert_eq!(secret_variables(&flags), ["B", "C", "DEPLOY"].into());
}
