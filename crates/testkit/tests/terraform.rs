//! The promises of docs/aws.md and the README about `examples/server/terraform/`, compared with its files. Terraform itself needs
//! AWS's provider to read them, which no package registry has.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use bakery_core::image::Digest;
use bakery_core::wire::context::object_key;
use bakery_server::contexts::EXPIRY;
use bakery_server::settings::vars;
use bakery_testkit::repository;
use hcl::expr::{Expression, ObjectKey};
use serde_json::{Value, json};

const FOLDER: &str = "examples/server/terraform";

type NameSet = BTreeSet<String>;

/// All files as one module, as Terraform reads them.
fn module() -> Result<hcl::Body> {
    let mut text = String::new();
    for file in std::fs::read_dir(repository::path(FOLDER))? {
        let path = file?.path();
        if path.extension().is_some_and(|it| it == "tf") {
            text += &std::fs::read_to_string(path)?;
        }
    }
    Ok(hcl::parse(&text)?)
}

/// The same as a tree; anything but a literal is a text, `${...}`.
fn tree() -> Result<Value> {
    Ok(hcl::from_body(module()?)?)
}

/// The resources of a kind, by their names.
fn resources<'a>(tree: &'a Value, kind: &str) -> impl Iterator<Item = (&'a str, &'a Value)> {
    tree["resource"][kind].as_object().into_iter().flatten().map(|(name, body)| (name.as_str(), body))
}

fn text<'a>(body: &'a Value, attribute: &str) -> &'a str {
    body[attribute].as_str().unwrap_or_default()
}

/// The expression of a local value.
fn local(name: &str) -> Result<Expression> {
    let module = module()?;
    let mut attributes = module
        .blocks()
        .filter(|block| block.identifier() == "locals")
        .flat_map(|block| block.body().attributes());
    let found = attributes.find(|attribute| attribute.key() == name);
    Ok(found.with_context(|| format!("no local.{name}"))?.expr().clone())
}

/// The keys of an object expression, including its conditional parts.
fn keys(expression: &Expression) -> NameSet {
    match expression {
        Expression::Object(object) => object
            .keys()
            .filter_map(|key| match key {
                ObjectKey::Identifier(name) => Some(name.to_string()),
                _ => None,
            })
            .collect(),
        Expression::FuncCall(call) => call.args.iter().flat_map(keys).collect(),
        Expression::Conditional(either) => {
            keys(&either.true_expr).union(&keys(&either.false_expr)).cloned().collect()
        }
        _ => NameSet::new(),
    }
}

/// The variables that are named between backticks; `_END` replaces the end of the variable before it, from its last `_`.
fn variables(text: &str) -> NameSet {
    let named: Vec<&str> = text.split('`').skip(1).step_by(2).collect();
    let stem = named.first().and_then(|first| first.rsplit_once('_')).map_or("", |(stem, _)| stem);
    named
        .iter()
        .map(|name| if name.starts_with('_') { format!("{stem}{name}") } else { (*name).to_owned() })
        .collect()
}

#[test]
fn the_cluster_has_fargate_and_fargate_spot() -> Result<()> {
    let tree = tree()?;
    let (_, providers) =
        resources(&tree, "aws_ecs_cluster_capacity_providers").next().context("no capacity providers")?;
    assert_eq!(providers["cluster_name"], "${aws_ecs_cluster.this.name}");
    assert_eq!(providers["capacity_providers"], json!(["FARGATE", "FARGATE_SPOT"]));
    assert_eq!(providers["count"], Value::Null, "whoever sets ECS_CAPACITY finds both");
    Ok(())
}

#[test]
fn agents_accept_no_connections_and_may_connect_anywhere() -> Result<()> {
    let tree = tree()?;
    let group = &tree["resource"]["aws_security_group"]["agents"];
    assert_eq!(
        (&group["ingress"], &group["egress"]),
        (&Value::Null, &Value::Null),
        "rules have resources of their own"
    );
    let id = "${aws_security_group.agents.id}";
    let mut rules = Vec::new();
    for (kind, of_kind) in tree["resource"].as_object().context("no resources")? {
        let of_kind = of_kind.as_object().into_iter().flatten();
        rules.extend(
            of_kind
                .filter(|(_, body)| body["security_group_id"] == id)
                .map(|(_, body)| (kind.as_str(), body)),
        );
    }
    let [("aws_vpc_security_group_egress_rule", rule)] = rules[..] else {
        anyhow::bail!("not one egress rule and nothing else: {rules:?}")
    };
    assert_eq!((text(rule, "ip_protocol"), text(rule, "cidr_ipv4")), ("-1", "0.0.0.0/0"));
    for narrower in ["count", "from_port", "to_port"] {
        assert_eq!(rule[narrower], Value::Null, "{narrower}");
    }
    Ok(())
}

#[test]
fn the_bucket_expires_contexts_and_aborts_uploads() -> Result<()> {
    let tree = tree()?;
    let (_, lifecycle) =
        resources(&tree, "aws_s3_bucket_lifecycle_configuration").next().context("no lifecycle")?;
    assert_eq!(lifecycle["bucket"], "${aws_s3_bucket.contexts.id}");
    let rules = lifecycle["rule"].as_array().context("not several rules")?;
    let rule = |what: &str| {
        let mut enabled = rules.iter().filter(|rule| rule["status"] == "Enabled");
        enabled.find(|rule| rule.get(what).is_some()).with_context(|| format!("no rule of {what}"))
    };
    let expire = rule("expiration")?;
    assert_eq!(expire["expiration"]["days"], "${var.context_days}");
    assert_eq!(expire["filter"]["prefix"], "${local.context_prefix}");
    let abort = rule("abort_incomplete_multipart_upload")?;
    assert_eq!(abort["abort_incomplete_multipart_upload"]["days_after_initiation"], 1);
    assert_eq!(abort["filter"], json!({}), "of every object");
    // The expiry that the server relies on.
    assert_eq!(tree["variable"]["context_days"]["default"], EXPIRY.as_secs() / (24 * 60 * 60));
    let Expression::String(prefix) = local("context_prefix")? else {
        anyhow::bail!("the prefix is not a literal")
    };
    assert!(object_key(&Digest::of(b"bread")).starts_with(&prefix), "{prefix}");
    Ok(())
}

#[test]
fn each_role_has_its_policy_file_and_no_other() -> Result<()> {
    let tree = tree()?;
    let file = |body: &Value| {
        let (_, rest) = text(body, "policy").split_once("${templatefile(\"${path.module}/policies/")?;
        Some(rest.strip_suffix(".json\", local.placeholders)}")?.to_owned())
    };
    // Separate policies first, then the policies of each role: attached ones, its own, and inline ones.
    let apart: BTreeMap<String, String> = resources(&tree, "aws_iam_policy")
        .filter_map(|(name, body)| Some((format!("${{aws_iam_policy.{name}.arn}}"), file(body)?)))
        .collect();
    let mut held: BTreeMap<&str, NameSet> = BTreeMap::new();
    let mut holds = |body, what| {
        let role = text(body, "role").trim_start_matches("${aws_iam_role.");
        held.entry(role.split(['.', '[']).next().unwrap_or_default()).or_default().insert(what);
    };
    for (name, body) in resources(&tree, "aws_iam_role_policy") {
        holds(body, file(body).unwrap_or_else(|| name.to_owned()));
    }
    for (_, body) in resources(&tree, "aws_iam_role_policy_attachment") {
        let arn = text(body, "policy_arn").replace("[0]", "");
        holds(body, apart.get(&arn).cloned().unwrap_or(arn));
    }
    let expected = [
        ("agent_execution", ["${local.execution_policy}", "execution-role"].as_slice()),
        ("agent_task", &["task-role"]),
        ("server", &["server", "server-extras"]),
        ("server_execution", &["${local.execution_policy}", "server_execution_token"]),
    ];
    let expected: BTreeMap<_, _> = expected
        .map(|(role, what)| (role, what.iter().map(|it| (*it).to_owned()).collect::<NameSet>()))
        .into();
    assert_eq!(held, expected);
    assert_eq!(
        local("execution_policy")?,
        Expression::from("arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy")
    );
    assert_eq!(apart.get("${aws_iam_policy.client.arn}").map(String::as_str), Some("client"));
    assert_eq!(tree["output"]["client_policy_arn"]["value"], "${aws_iam_policy.client.arn}");

    // Every policy file is used, and every placeholder is filled.
    let used: NameSet = held.into_values().flatten().chain(apart.into_values()).collect();
    let filled = keys(&local("placeholders")?);
    for file in std::fs::read_dir(repository::path(FOLDER).join("policies"))? {
        let path = file?.path();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        ensure!(used.contains(&name), "nobody holds {name}.json");
        let policy = std::fs::read_to_string(path)?;
        let asked = policy.split("${").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0));
        for placeholder in asked {
            ensure!(filled.contains(placeholder), "{name}.json: nobody fills {placeholder}");
        }
    }
    Ok(())
}

#[test]
fn every_variable_of_the_page_is_set_or_listed_as_unset() -> Result<()> {
    let page = repository::read("docs/aws.md")?;
    let (_, rest) = page.split_once("\n## Settings\n").context("no settings")?;
    let (section, _) = rest.split_once("\n## ").context("no end of the settings")?;
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |"));
    let documented: NameSet = rows.flat_map(|(cell, _)| variables(&format!("`{cell}"))).collect();

    let set = keys(&local("settings")?);
    let readme = repository::read(&format!("{FOLDER}/README.md"))?;
    let (_, left) = readme.split_once("\nNot set here: ").context("what is not set")?;
    let left = variables(left.split_once(';').context("where that ends")?.0);
    assert_eq!(set.union(&left).cloned().collect::<NameSet>(), documented);
    assert_eq!(set.intersection(&left).next(), None, "set, and listed as unset");

    // The server reads each of them, and the page omits none that concerns AWS.
    let known: NameSet =
        [vars::COMMON, vars::SERVER].into_iter().flatten().map(|var| var.name.to_owned()).collect();
    assert_eq!(documented.difference(&known).next(), None, "not read by the server");
    let of_aws = |name: &&String| {
        ["AWS_", "ECS_", "AGENT_IMAGE", "AGENT_TASK"].iter().any(|it| name.starts_with(it))
            || name.contains("_ECS_")
    };
    let missing: Vec<_> = known.iter().filter(of_aws).filter(|name| !documented.contains(*name)).collect();
    ensure!(missing.is_empty(), "not in docs/aws.md: {missing:?}");

    // The service has them, and the outputs have them for a server elsewhere.
    let tree = tree()?;
    let containers = text(&tree["resource"]["aws_ecs_task_definition"]["server"], "container_definitions");
    ensure!(containers.contains("for name, value in local.server_environment"), "{containers}");
    let Expression::FuncCall(environment) = local("server_environment")? else {
        anyhow::bail!("not a merge")
    };
    assert_eq!(environment.args.first().map(ToString::to_string).as_deref(), Some("local.settings"));
    let outputs = tree["output"].as_object().context("no outputs")?.keys();
    let outputs: NameSet = outputs.filter(|name| name.chars().all(|c| !c.is_lowercase())).cloned().collect();
    assert_eq!(outputs, set);
    Ok(())
}
