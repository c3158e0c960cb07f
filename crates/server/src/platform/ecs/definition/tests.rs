use super::super::wire_tests::bodies;
use super::*;

fn template() -> DefinitionTemplate {
    DefinitionTemplate {
        family: "bakery-agent".to_owned(),
        image: "docker.io/me/agent:1".to_owned(),
        execution_role: "arn:aws:iam::123456789012:role/bakery-agent-execution".to_owned(),
        task_role: Some("arn:aws:iam::123456789012:role/bakery-agent-task".to_owned()),
        log_group: Some(("/bakery/agents".to_owned(), "ap-northeast-2".to_owned())),
        pull_secret: Some("arn:aws:secretsmanager:ap-northeast-2:123456789012:secret:pull".to_owned()),
        storage: Some(50),
        capabilities: Capabilities::default(),
    }
}

const SIZE: Size = Size { cpu: 512, memory: 2048, disk: None };

/// The definition as AWS would return it: what was registered, and fields of its own.
fn registered(template: &DefinitionTemplate, arch: Arch) -> TaskDefinition {
    of_size(template, arch, SIZE)
}

fn of_size(template: &DefinitionTemplate, arch: Arch, size: Size) -> TaskDefinition {
    let input = template.input(arch, size).build().unwrap();
    TaskDefinition::builder()
        .set_family(input.family)
        .set_cpu(input.cpu)
        .set_memory(input.memory)
        .set_network_mode(input.network_mode)
        .set_requires_compatibilities(input.requires_compatibilities)
        .set_runtime_platform(input.runtime_platform)
        .set_execution_role_arn(input.execution_role_arn)
        .set_task_role_arn(input.task_role_arn)
        .set_ephemeral_storage(input.ephemeral_storage)
        .set_container_definitions(input.container_definitions)
        .revision(7)
        .build()
}

#[tokio::test]
async fn a_definition_holds_all_that_fargate_requires() {
    let sent = bodies("RegisterTaskDefinition", async |ecs| {
        template().input(Arch::Arm64, SIZE).send_with(&ecs).await.unwrap();
    });
    insta::assert_snapshot!(serde_json::to_string_pretty(&sent.await[0]).unwrap());
}

#[test]
fn what_is_registered_is_found_again_until_a_setting_changes() {
    let template = template();
    let found = registered(&template, Arch::Amd64);
    assert!(template.matches(&found, Arch::Amd64, SIZE));
    assert!(!template.matches(&found, Arch::Arm64, SIZE));
    assert!(!template.matches(&found, Arch::Amd64, Size { cpu: 1024, ..SIZE }));
    let changes: [fn(&mut DefinitionTemplate); 6] = [
        |it| it.image.push('2'),
        |it| it.execution_role.push('2'),
        |it| it.task_role = None,
        |it| it.log_group = None,
        |it| it.pull_secret = None,
        |it| it.storage = None,
    ];
    for change in changes {
        let mut other = template.clone();
        change(&mut other);
        assert!(!other.matches(&found, Arch::Amd64, SIZE), "{other:?}");
    }
}

#[tokio::test]
async fn the_disk_of_a_task_takes_precedence_over_the_operators() {
    let sent = bodies("RegisterTaskDefinition", async |ecs| {
        for disk in [None, Some(20), Some(200)] {
            template().input(Arch::Amd64, Size { disk, ..SIZE }).send_with(&ecs).await.unwrap();
        }
    });
    let shown = |body: &serde_json::Value| format!("{} {}", body["family"], body["ephemeralStorage"]);
    let sent: Vec<String> = sent.await.iter().map(shown).collect();
    insta::assert_snapshot!(sent.join("\n"), @r#"
    "bakery-agent-amd64-512-2048" {"sizeInGiB":50}
    "bakery-agent-amd64-512-2048-20" null
    "bakery-agent-amd64-512-2048-200" {"sizeInGiB":200}
    "#);
}

#[test]
fn definitions_of_different_disks_are_told_apart() {
    let template = template();
    for disk in [None, Some(20), Some(40)] {
        let found = of_size(&template, Arch::Amd64, Size { disk, ..SIZE });
        for other in [None, Some(20), Some(40)] {
            let matches = template.matches(&found, Arch::Amd64, Size { disk: other, ..SIZE });
            assert_eq!(matches, disk == other, "{disk:?} {other:?}");
        }
    }
}

#[test]
fn a_family_is_ours_by_its_whole_name() {
    let template = template();
    assert_eq!(template.family(Arch::Arm64, SIZE), "bakery-agent-arm64-512-2048");
    assert_eq!(template.parse_family("bakery-agent-arm64-512-2048"), Some((Arch::Arm64, SIZE)));
    let disk = Size { disk: Some(40), ..SIZE };
    assert_eq!(template.family(Arch::Arm64, disk), "bakery-agent-arm64-512-2048-40");
    assert_eq!(template.parse_family("bakery-agent-arm64-512-2048-40"), Some((Arch::Arm64, disk)));
    for other in [
        "bakery-agent",
        "bakery-agent-of-a-colleague",
        "bakery-agent-arm64-512",
        "bakery-agent-arm64-512-2048-x",
        "bakery-agent-arm64-512-2048-40-1",
        "bakery-agent-x86-1-2",
        "web-amd64-512-2048",
    ] {
        assert_eq!(template.parse_family(other), None, "{other}");
    }
}
