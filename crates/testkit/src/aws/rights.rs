//! Which rights a call needs, with the resources and condition keys that AWS gives to each.
//!
//! <https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html>

use serde_json::Value;

use super::call::{AwsCall, Service};
use super::policy::Right;

/// All rights that a call needs. `roles` are those of the definition that `RunTask` names.
pub(super) fn rights(call: &AwsCall, account: &str, roles: &[String]) -> Vec<Right> {
    let action = call.action.as_str();
    if let Service::S3 { bucket, object } = &call.service {
        let bucket = format!("arn:aws:s3:::{bucket}");
        let resource = if object.is_empty() { bucket } else { format!("{bucket}/{}", decoded(object)) };
        return vec![Right::new(action, resource)];
    }
    let ecs = |rest: &str| format!("arn:aws:ecs:{}:{account}:{rest}", call.region);
    let cluster = match call.text("cluster") {
        "" => "default",
        cluster => cluster.rsplit('/').next().unwrap_or(cluster),
    };
    let in_cluster = |right: Right| right.when("ecs:cluster", ecs(&format!("cluster/{cluster}")));
    let task = |reference: &str| {
        let arn = if reference.starts_with("arn:") {
            reference.to_owned()
        } else {
            ecs(&format!("task/{cluster}/{reference}"))
        };
        in_cluster(Right::new(action, arn))
    };
    match action {
        "ecs:RunTask" => {
            let mut rights = vec![in_cluster(Right::new(action, definition(call, account)))];
            rights.extend(pass(roles));
            rights.extend(tagging(call, "RunTask", &ecs(&format!("task/{cluster}/*"))));
            rights
        }
        "ecs:RegisterTaskDefinition" => {
            let roles = roles_of(&call.body);
            let mut rights = vec![Right::new(action, "*")];
            rights.extend(pass(&roles));
            let own = ecs(&format!("task-definition/{}:*", call.text("family")));
            rights.extend(tagging(call, "RegisterTaskDefinition", &own));
            rights
        }
        "ecs:DescribeTasks" => {
            let tasks = call.body["tasks"].as_array().into_iter().flatten();
            tasks.filter_map(Value::as_str).map(task).collect()
        }
        "ecs:StopTask" => vec![task(call.text("task"))],
        "ecs:ListTasks" => vec![in_cluster(Right::new(action, "*"))],
        "ecs:TagResource" => vec![Right::new(action, call.text("resourceArn"))],
        "secretsmanager:CreateSecret" => {
            vec![Right::new(action, secret(call, account, call.text("Name"), ""))]
        }
        _ if action.starts_with("secretsmanager:") => {
            // A name means the ARN, which ends in six characters that AWS chooses.
            vec![Right::new(action, secret(call, account, call.text("SecretId"), "-AbCdEf"))]
        }
        _ => vec![Right::new(action, "*")],
    }
}

/// The role ARNs in a definition or in the overrides of `RunTask`.
pub(super) fn roles_of(value: &Value) -> Vec<String> {
    let roles = ["executionRoleArn", "taskRoleArn"].into_iter().filter_map(|role| value[role].as_str());
    roles.filter(|role| !role.is_empty()).map(str::to_owned).collect()
}

/// The resource as a denial names it: for a secret, by its name.
pub(super) fn shown(right: &Right) -> &str {
    if right.action == "secretsmanager:CreateSecret" {
        return right.resource.rsplit(":secret:").next().unwrap_or_default();
    }
    &right.resource
}

/// The ARN of the definition that `RunTask` names; without a revision, of its family.
pub(super) fn definition(call: &AwsCall, account: &str) -> String {
    let named = call.text("taskDefinition");
    if named.starts_with("arn:") {
        return named.to_owned();
    }
    let revision = if named.contains(':') { "" } else { ":*" };
    format!("arn:aws:ecs:{}:{account}:task-definition/{named}{revision}", call.region)
}

fn pass(roles: &[String]) -> impl Iterator<Item = Right> {
    roles.iter().map(|role| {
        Right::new("iam:PassRole", role.as_str()).when("iam:PassedToService", "ecs-tasks.amazonaws.com")
    })
}

/// Tagging a new resource needs a right of its own.
fn tagging(call: &AwsCall, creator: &str, resource: &str) -> Option<Right> {
    let tagged = call.body["tags"].as_array().is_some_and(|tags| !tags.is_empty());
    tagged.then(|| Right::new("ecs:TagResource", resource).when("ecs:CreateAction", creator))
}

fn secret(call: &AwsCall, account: &str, named: &str, suffix: &str) -> String {
    if named.starts_with("arn:") {
        return named.to_owned();
    }
    format!("arn:aws:secretsmanager:{}:{account}:secret:{named}{suffix}", call.region)
}

/// A percent-decoded path: policies contain decoded keys.
fn decoded(path: &str) -> String {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        if let (b'%', Some(byte)) = (first, code.and_then(|code| u8::from_str_radix(code, 16).ok())) {
            bytes.push(byte);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const ECS: &str = "arn:aws:ecs:eu-west-1:123456789012:";

    fn asked(action: &str, body: Value) -> Vec<Right> {
        let service = Service::Json;
        let call =
            AwsCall { service, action: action.to_owned(), key: None, region: "eu-west-1".to_owned(), body };
        rights(&call, "123456789012", &["arn:role/a".to_owned()])
    }

    fn ecs(action: &str, rest: &str) -> Right {
        Right::new(action, format!("{ECS}{rest}"))
    }

    #[test]
    fn a_launch_needs_the_definition_the_roles_and_the_right_to_tag() {
        let body = json!({ "cluster": "c", "taskDefinition": "f:3", "tags": [{ "key": "k", "value": "v" }] });
        let cluster = format!("{ECS}cluster/c");
        let wanted = [
            ecs("ecs:RunTask", "task-definition/f:3").when("ecs:cluster", cluster),
            Right::new("iam:PassRole", "arn:role/a").when("iam:PassedToService", "ecs-tasks.amazonaws.com"),
            ecs("ecs:TagResource", "task/c/*").when("ecs:CreateAction", "RunTask"),
        ];
        assert_eq!(asked("ecs:RunTask", body), wanted);
        let all = asked("ecs:RunTask", json!({ "taskDefinition": "f", "tags": [] }));
        assert_eq!(all[0].resource, format!("{ECS}task-definition/f:*"));
        assert_eq!(all.len(), 2, "no tags, no right to tag");
    }

    #[test]
    fn tasks_are_named_in_full() {
        let body =
            json!({ "cluster": format!("{ECS}cluster/c"), "tasks": ["t1", format!("{ECS}task/c/t2")] });
        let cluster = format!("{ECS}cluster/c");
        let wanted = ["task/c/t1", "task/c/t2"]
            .map(|task| ecs("ecs:DescribeTasks", task).when("ecs:cluster", cluster.clone()));
        assert_eq!(asked("ecs:DescribeTasks", body), wanted);
    }

    #[test]
    fn registering_passes_the_roles_and_an_existing_secret_has_a_suffix() {
        let body = json!({ "family": "f", "executionRoleArn": "arn:e", "taskRoleArn": "" });
        let actions: Vec<_> =
            asked("ecs:RegisterTaskDefinition", body).into_iter().map(|right| right.resource).collect();
        assert_eq!(actions, ["*", "arn:e"]);
        let named = |action: &str, body: Value| asked(action, body)[0].resource.clone();
        let secret = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:pull";
        assert_eq!(named("secretsmanager:CreateSecret", json!({ "Name": "pull" })), secret);
        let described = named("secretsmanager:DescribeSecret", json!({ "SecretId": "pull" }));
        assert_eq!(described, format!("{secret}-AbCdEf"));
    }

    #[test]
    fn an_object_is_named_as_it_is() {
        let service = Service::S3 { bucket: "b".to_owned(), object: "a%20b/c%".to_owned() };
        let (action, region) = ("s3:GetObject".to_owned(), String::new());
        let call = AwsCall { service, action, key: None, region, body: Value::Null };
        assert_eq!(rights(&call, "1", &[]), [Right::new("s3:GetObject", "arn:aws:s3:::b/a b/c%")]);
    }
}
