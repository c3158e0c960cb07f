use bakery_core::message::Hint as _;

use super::*;

fn refused(code: &str, said: &str) -> Refused {
    Refused {
        code: code.to_owned(),
        said: format!("{code}: {said}"),
        hint: None,
        doing: "starting the task bk-1".to_owned(),
    }
}

#[test]
fn a_denial_names_the_action_that_is_missing() {
    let said = "User: arn:aws:sts::123456789012:assumed-role/bakery/x is not authorized to perform: ecs:RunTask on resource: \
                arn:aws:ecs:r:123456789012:task-definition/f because no identity-based policy allows the ecs:RunTask action";
    let denied = refused("AccessDeniedException", said);
    assert_eq!((denied.is_denied(), denied.denied_action()), (true, Some("ecs:RunTask")));
    let error = denied.error();
    assert_eq!((error.reason, error.retryable), (Reason::LaunchRefused, false));
    let hint = "the server's role lacks ecs:RunTask; docs/aws.md lists what it needs";
    assert_eq!(error.message.hint.as_deref(), Some(hint), "{error}");
}

#[test]
fn what_may_pass_is_tried_again() {
    for (code, retryable) in [
        ("ThrottlingException", true),
        ("ServerException", true),
        ("", true),
        ("ClusterNotFoundException", false),
        ("InvalidParameterException", false),
        ("ClientException", false),
        ("ExpiredTokenException", false),
    ] {
        let error = refused(code, "why").error();
        assert_eq!(error.retryable, retryable, "{code}");
        assert!(error.message.text.starts_with("starting the task bk-1: "), "{error}");
    }
    assert!(refused("ClusterNotFoundException", "x").error().hint().unwrap().contains("ECS_CLUSTER"));
}

#[test]
fn a_quota_that_is_used_up_is_want_of_capacity() {
    let said = "You've reached the limit on the number of vCPUs you can run concurrently";
    let error = refused("ClientException", said).error();
    assert_eq!((error.reason, error.retryable), (Reason::NoCapacity, true));
    assert!(error.hint().unwrap().contains("MAX_RUNS"), "{error:?}");
}

#[test]
fn a_definition_that_is_gone_is_told_from_other_mistakes() {
    for said in
        ["TaskDefinition not found.", "TaskDefinition is inactive", "Unable to describe task definition."]
    {
        assert!(refused("ClientException", said).lacks_definition(), "{said}");
    }
    assert!(!refused("ClientException", "ECS was unable to assume the role").lacks_definition());
    assert!(!refused("InvalidParameterException", "TaskDefinition not found.").lacks_definition());
}

#[test]
fn what_aws_may_have_done_is_told_from_what_it_has_refused() {
    assert!(refused("", "no answer in time").is_doubtful());
    assert!(refused("ServerException", "x").is_doubtful());
    for code in ["ThrottlingException", "ClientException", "AccessDeniedException"] {
        assert!(!refused(code, "x").is_doubtful(), "{code}");
    }
    let nobody = refused("", "the credential provider was not enabled: no credentials");
    assert!(!nobody.is_doubtful());
    assert!(nobody.error().hint().unwrap().contains("AWS_ACCESS_KEY_ID"), "{:?}", nobody.error());
}
