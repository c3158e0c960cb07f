locals {
  # The server's policy contains the name even if the group is not created.
  agent_log_group = "/${var.name}/agents"
}

# The agents' own containers. A build's log goes to the server; this one helps if an agent cannot reach the server.
resource "aws_cloudwatch_log_group" "agents" {
  # checkov:skip=CKV_AWS_158: CloudWatch encrypts with its own key; your own key needs a policy for the logs service.
  # checkov:skip=CKV_AWS_338: It is about builds, whose logs the server keeps for 14 days; log_retention_days changes it.
  count = var.agent_logs ? 1 : 0

  name              = local.agent_log_group
  retention_in_days = var.log_retention_days
}

resource "aws_cloudwatch_log_group" "server" {
  # checkov:skip=CKV_AWS_158: CloudWatch encrypts with its own key; your own key needs a policy for the logs service.
  # checkov:skip=CKV_AWS_338: It is for troubleshooting, not for audits; log_retention_days changes it.
  count = var.run_server ? 1 : 0

  name              = "/${var.name}/server"
  retention_in_days = var.log_retention_days
}
