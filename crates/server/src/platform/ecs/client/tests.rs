use bakery_core::message::Hint as _;

use super::*;

fn failed(code: &str, text: &str) -> AwsCallError {
    AwsCallError {
        code: code.to_owned(),
        text: format!("{code}: {text}"),
        hint: None,
        doing: "starting the task bk-1".to_owned(),
    }
}

#[test]
fn a_denial_names_the_action_that_is_missing() {
    let text = "User: arn:aws:sts::123456789012:assumed-role/bakery/x is not authorized to perform: ecs:RunTask on resource: \
                arn:aws:ecs:r:123456789012:task-definition/f because no identity-based policy allows the ecs:RunTask action";
    let denied = failed("AccessDeniedException", text);
    assert_eq!((denied.is_denied(), denied.denied_action()), (true, Some("ecs:RunTask")));
    let error = denied.error();
    assert_eq!((error.reason, error.retryable), (Reason::LaunchRefused, false));
    let hint = "the server's role lacks ecs:RunTask; docs/aws.md lists what it needs";
    assert_eq!(error.message.hint.as_deref(), Some(hint), "{error}");
}

#[test]
fn what_may_pass_is_retried() {
    for (code, retryable) in [
        ("ThrottlingException", true),
        ("ServerException", true),
        ("", true),
        ("ClusterNotFoundException", false),
        ("InvalidParameterException", false),
        ("ClientException", false),
        ("ExpiredTokenException", false),
    ] {
        let error = failed(code, "why").error();
        assert_eq!(error.retryable, retryable, "{code}");
        assert!(error.message.text.starts_with("starting the task bk-1: "), "{error}");
    }
    assert!(failed("ClusterNotFoundException", "x").error().hint().unwrap().contains("ECS_CLUSTER"));
}

#[test]
fn a_used_up_quota_is_missing_capacity() {
    let text = "You've reached the limit on the number of vCPUs you can run concurrently";
    let error = failed("ClientException", text).error();
    assert_eq!((error.reason, error.retryable), (Reason::NoCapacity, true));
    assert!(error.hint().unwrap().contains("MAX_RUNS"), "{error:?}");
}

#[test]
fn a_missing_definition_differs_from_other_errors() {
    for text in
        ["TaskDefinition not found.", "TaskDefinition is inactive", "Unable to describe task definition."]
    {
        assert!(failed("ClientException", text).lacks_definition(), "{text}");
    }
    assert!(!failed("ClientException", "ECS was unable to assume the role").lacks_definition());
    assert!(!failed("InvalidParameterException", "TaskDefinition not found.").lacks_definition());
}

#[test]
fn what_aws_may_have_done_differs_from_what_it_rejected() {
    assert!(failed("", "timed out").is_doubtful());
    assert!(failed("ServerException", "x").is_doubtful());
    for code in ["ThrottlingException", "ClientException", "AccessDeniedException"] {
        assert!(!failed(code, "x").is_doubtful(), "{code}");
    }
    let nobody = failed("", "the credential provider was not enabled: no credentials");
    assert!(!nobody.is_doubtful());
    assert!(nobody.error().hint().unwrap().contains("AWS_ACCESS_KEY_ID"), "{:?}", nobody.error());
}
