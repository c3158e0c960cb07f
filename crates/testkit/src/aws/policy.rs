//! IAM policies: the part of their language that the example's policies use; anything else is an error.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html>

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Map, Value};

use crate::repository;

/// The prefix of the `Sid` of statements beyond the baseline.
const EXTRA: &str = "Extra";

/// One right that a call needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Right {
    /// `service:Action`.
    pub action: String,
    /// The ARN that policies match, or `*` if the action has no resources.
    pub resource: String,
    /// Condition keys and their values.
    pub context: Vec<(String, String)>,
}

impl Right {
    /// A right without condition keys.
    pub fn new(action: &str, resource: impl Into<String>) -> Self {
        Self { action: action.to_owned(), resource: resource.into(), context: Vec::new() }
    }

    /// With a condition key.
    pub fn when(mut self, key: &str, value: impl Into<String>) -> Self {
        self.context.push((key.to_owned(), value.into()));
        self
    }
}

/// The decision of policies about a right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// A statement allows it and none denies it.
    Granted,
    /// No statement allows it.
    Ungranted,
    /// A statement denies it.
    Denied,
}

/// The values of the placeholders in the example's policy files.
#[derive(Debug, Clone)]
pub struct PolicyNames {
    /// `${region}`
    pub region: String,
    /// `${account}`
    pub account: String,
    /// `${cluster}`
    pub cluster: String,
    /// `${bucket}`
    pub bucket: String,
    /// `${family}`
    pub family: String,
    /// `${execution_role_arn}`
    pub execution_role_arn: String,
    /// `${task_role_arn}`
    pub task_role_arn: String,
    /// `${secret_name}`
    pub secret_name: String,
    /// `${log_group}`
    pub log_group: String,
}

impl PolicyNames {
    /// Fills a template like Terraform's `templatefile`. An unknown placeholder is an error.
    pub fn fill(&self, template: &str) -> Result<String> {
        let mut filled = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) = after.split_once('}').context("a placeholder without an end")?;
            filled.push_str(before);
            filled.push_str(match name {
                "region" => &self.region,
                "account" => &self.account,
                "cluster" => &self.cluster,
                "bucket" => &self.bucket,
                "family" => &self.family,
                "execution_role_arn" => &self.execution_role_arn,
                "task_role_arn" => &self.task_role_arn,
                "secret_name" => &self.secret_name,
                "log_group" => &self.log_group,
                _ => bail!("no name for the placeholder {name}"),
            });
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// All statements of a principal's policies.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    statements: Vec<Statement>,
}

#[derive(Debug, Clone)]
struct Statement {
    sid: String,
    allow: bool,
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone)]
struct Condition {
    wildcards: bool,
    key: String,
    values: Vec<String>,
}

impl Policy {
    /// Allows everything: for tests of something else.
    pub fn everything() -> Self {
        let any = vec!["*".to_owned()];
        let (actions, resources, conditions) = (any.clone(), any, Vec::new());
        Self {
            statements: vec![Statement { sid: String::new(), allow: true, actions, resources, conditions }],
        }
    }

    /// Reads a policy document.
    pub fn parse(text: &str) -> Result<Self> {
        let document: Value = serde_json::from_str(text)?;
        ensure!(document["Version"] == "2012-10-17", "not a policy of version 2012-10-17");
        let statements = document["Statement"].as_array().context("no list of statements")?;
        let statements = statements.iter().map(|statement| {
            Statement::parse(statement).with_context(|| format!("the statement {}", statement["Sid"]))
        });
        Ok(Self { statements: statements.collect::<Result<_>>()? })
    }

    /// Reads `examples/server/terraform/policies/NAME.json` and fills it.
    pub fn example(name: &str, names: &PolicyNames) -> Result<Self> {
        let text = repository::read(&format!("examples/server/terraform/policies/{name}.json"))?;
        Self::parse(&names.fill(&text)?).context(name.to_owned())
    }

    /// The statements of both.
    pub fn and(mut self, other: Self) -> Self {
        self.statements.extend(other.statements);
        self
    }

    /// Without the statements that are marked as extras.
    pub fn baseline(mut self) -> Self {
        self.statements.retain(|statement| !statement.sid.starts_with(EXTRA));
        self
    }

    /// Without an action; other actions of a statement stay.
    pub fn without(mut self, action: &str) -> Self {
        for statement in &mut self.statements {
            statement.actions.retain(|allowed| !allowed.eq_ignore_ascii_case(action));
        }
        self
    }

    /// The actions that are allowed for some resource, as written in the policy.
    pub fn actions(&self) -> Vec<String> {
        let allowed = self.statements.iter().filter(|statement| statement.allow);
        allowed.flat_map(|statement| statement.actions.clone()).collect()
    }

    /// Decides about a right.
    pub fn judge(&self, right: &Right) -> Verdict {
        let mut verdict = Verdict::Ungranted;
        for statement in self.statements.iter().filter(|statement| statement.covers(right)) {
            if !statement.allow {
                return Verdict::Denied;
            }
            verdict = Verdict::Granted;
        }
        verdict
    }
}

impl Statement {
    fn parse(value: &Value) -> Result<Self> {
        let statement = value.as_object().context("not an object")?;
        let known = ["Sid", "Effect", "Action", "Resource", "Condition"];
        let unknown = statement.keys().find(|key| !known.contains(&key.as_str()));
        ensure!(unknown.is_none(), "{unknown:?} is beyond this reader");
        let none = Map::new();
        let mut conditions = Vec::new();
        for (operator, keys) in statement.get("Condition").and_then(Value::as_object).unwrap_or(&none) {
            let wildcards = match operator.as_str() {
                "StringEquals" => false,
                "StringLike" | "ArnEquals" | "ArnLike" => true,
                _ => bail!("the operator {operator} is beyond this reader"),
            };
            for (key, values) in keys.as_object().context("a condition without keys")? {
                conditions.push(Condition { wildcards, key: key.clone(), values: texts(values)? });
            }
        }
        Ok(Self {
            sid: value["Sid"].as_str().unwrap_or_default().to_owned(),
            allow: match value["Effect"].as_str() {
                Some("Allow") => true,
                Some("Deny") => false,
                other => bail!("the effect {other:?}"),
            },
            actions: texts(&value["Action"])?,
            resources: texts(&value["Resource"])?,
            conditions,
        })
    }

    fn covers(&self, right: &Right) -> bool {
        let action = right.action.to_ascii_lowercase();
        self.actions.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), &action))
            && self.resources.iter().any(|pattern| matches(pattern, &right.resource))
            && self.conditions.iter().all(|condition| condition.holds(right))
    }
}

impl Condition {
    /// False if the call lacks the key.
    fn holds(&self, right: &Right) -> bool {
        let found = right.context.iter().find(|(key, _)| key.eq_ignore_ascii_case(&self.key));
        found.is_some_and(|(_, value)| {
            let equal =
                |wanted: &String| if self.wildcards { matches(wanted, value) } else { wanted == value };
            self.values.iter().any(equal)
        })
    }
}

/// One text or a list of texts.
fn texts(value: &Value) -> Result<Vec<String>> {
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(list) => {
            list.iter().map(|text| text.as_str().map(str::to_owned).context("not a text")).collect()
        }
        _ => bail!("neither a text nor a list of texts: {value}"),
    }
}

/// Whether the whole text matches a pattern with `*` and `?`.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut seen) = (0, 0);
    // The position of the last `*`, and how much of the text it matches.
    let mut star: Option<(usize, usize)> = None;
    while seen < text.len() {
        if pattern.get(at) == Some(&'*') {
            star = Some((at, seen));
            at += 1;
        } else if pattern.get(at).is_some_and(|&wanted| wanted == '?' || wanted == text[seen]) {
            at += 1;
            seen += 1;
        } else if let Some((back, taken)) = star {
            star = Some((back, taken + 1));
            at = back + 1;
            seen = taken + 1;
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(|&rest| rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn names() -> PolicyNames {
        PolicyNames {
            region: "eu-west-1".to_owned(),
            account: "123456789012".to_owned(),
            cluster: "bakery".to_owned(),
            bucket: "contexts".to_owned(),
            family: "bakery-agent".to_owned(),
            execution_role_arn: "arn:aws:iam::123456789012:role/exec".to_owned(),
            task_role_arn: "arn:aws:iam::123456789012:role/task".to_owned(),
            secret_name: "bakery/pull".to_owned(),
            log_group: "/bakery".to_owned(),
        }
    }

    fn run(definition: &str, cluster: &str) -> Right {
        let arn = |rest: &str| format!("arn:aws:ecs:eu-west-1:123456789012:{rest}");
        Right::new("ecs:RunTask", arn(&format!("task-definition/{definition}")))
            .when("ecs:cluster", arn(&format!("cluster/{cluster}")))
    }

    #[test]
    fn wildcards_match_whole_texts() {
        for (pattern, text) in
            [("*", ""), ("a*c", "abbc"), ("a?c", "abc"), ("*b*", "abc"), ("a**", "a"), ("é?", "éa")]
        {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in
            [("", "a"), ("a?c", "ac"), ("a*c", "abcd"), ("?", ""), ("ab", "abc"), ("a*b*c", "ac")]
        {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn the_server_runs_its_own_family_in_its_own_cluster() -> Result<()> {
        let server = Policy::example("server", &names())?;
        assert_eq!(server.judge(&run("bakery-agent-arm64-512-1024:7", "bakery")), Verdict::Granted);
        assert_eq!(server.judge(&run("bakery-agent-arm64-512-1024:7", "other")), Verdict::Ungranted);
        assert_eq!(server.judge(&run("other:7", "bakery")), Verdict::Ungranted);
        let mut bare = run("bakery-agent-arm64-512-1024:7", "bakery");
        bare.context.clear();
        assert_eq!(server.judge(&bare), Verdict::Ungranted, "a condition without its key is false");
        Ok(())
    }

    #[test]
    fn only_the_two_roles_are_passed_and_only_to_tasks() -> Result<()> {
        let server = Policy::example("server", &names())?;
        let pass = |role: &str, service: &str| {
            let right = Right::new("iam:PassRole", format!("arn:aws:iam::123456789012:role/{role}"));
            server.judge(&right.when("iam:PassedToService", service))
        };
        assert_eq!(pass("exec", "ecs-tasks.amazonaws.com"), Verdict::Granted);
        assert_eq!(pass("task", "ecs-tasks.amazonaws.com"), Verdict::Granted);
        assert_eq!(pass("admin", "ecs-tasks.amazonaws.com"), Verdict::Ungranted);
        assert_eq!(pass("exec", "ec2.amazonaws.com"), Verdict::Ungranted);
        Ok(())
    }

    #[test]
    fn extras_are_apart_from_the_baseline() -> Result<()> {
        let names = names();
        let put = Right::new("s3:PutObject", "arn:aws:s3:::contexts/a/b");
        let abort = Right::new("s3:AbortMultipartUpload", "arn:aws:s3:::contexts/a/b");
        let client = Policy::example("client", &names)?;
        assert_eq!(client.judge(&abort), Verdict::Granted);
        assert_eq!(client.clone().baseline().judge(&abort), Verdict::Ungranted);
        assert_eq!(client.clone().without("s3:PutObject").judge(&put), Verdict::Ungranted);
        assert_eq!(client.baseline().actions(), ["s3:PutObject"]);
        let get = Right::new("s3:GetObject", "arn:aws:s3:::contexts/a/b");
        let server = Policy::example("server", &names)?;
        assert_eq!(server.judge(&get), Verdict::Ungranted);
        let all = server.and(Policy::example("server-extras", &names)?);
        assert_eq!((all.judge(&get), all.judge(&put)), (Verdict::Granted, Verdict::Ungranted));
        assert_eq!(all.baseline().judge(&get), Verdict::Ungranted);
        Ok(())
    }

    #[test]
    fn every_policy_of_the_example_can_be_read() -> Result<()> {
        for file in ["server", "server-extras", "execution-role", "task-role", "client"] {
            assert!(!Policy::example(file, &names())?.actions().is_empty(), "{file}");
        }
        Ok(())
    }

    #[test]
    fn a_denial_wins_and_unknown_elements_are_an_error() -> Result<()> {
        let with = |statement: &str| {
            Policy::parse(&format!(r#"{{"Version": "2012-10-17", "Statement": [{statement}]}}"#))
        };
        let deny = with(r#"{"Effect": "Deny", "Action": "s3:*", "Resource": ["*"]}"#)?;
        let all = Policy::everything().and(deny);
        assert_eq!(all.judge(&Right::new("s3:GetObject", "x")), Verdict::Denied);
        assert_eq!(all.judge(&Right::new("ecs:RunTask", "x")), Verdict::Granted);
        assert!(with(r#"{"Effect": "Allow", "NotAction": "s3:*", "Resource": "*"}"#).is_err());
        let operator =
            r#"{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"Bool": {"a": "b"}}}"#;
        assert!(with(operator).is_err());
        assert!(names().fill("${nobody}").is_err());
        Ok(())
    }
}
