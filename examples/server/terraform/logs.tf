locals {
  # The name stands in the server's policy also where the group is not made.
  agent_log_group = "/${var.name}/agents"
}

# The agents' own containers. A build's log goes to the server; this one helps where an agent never reaches it.
resource "aws_cloudwatch_log_group" "agents" {
  # checkov:skip=CKV_AWS_158: CloudWatch encrypts with a key of its own; a key of yours needs a policy for the logs service.
  # checkov:skip=CKV_AWS_338: It belongs to builds, which the server keeps for 14 days; log_retention_days changes it.
  count = var.agent_logs ? 1 : 0

  name              = local.agent_log_group
  retention_in_days = var.log_retention_days
}

resource "aws_cloudwatch_log_group" "server" {
  # checkov:skip=CKV_AWS_158: CloudWatch encrypts with a key of its own; a key of yours needs a policy for the logs service.
  # checkov:skip=CKV_AWS_338: It is for finding faults, not for audits; log_retention_days changes it.
  count = var.run_server ? 1 : 0

  name              = "/${var.name}/server"
  retention_in_days = var.log_retention_days
}
