# The permissions of each role are in policies/*.json only: the tests read the same files, and compare docs/aws.md with
# them. Their placeholders are filled in here.
locals {
  # In an ARN the name is between `secret:` and the six characters that Secrets Manager adds.
  secret_name = (
    var.agent_image_secret_arn == null
    ? coalesce(var.agent_image_secret_name, "${var.name}-agent-image")
    : regex(":secret:(.+)-[A-Za-z0-9]{6}$", var.agent_image_secret_arn)[0]
  )

  placeholders = {
    region             = var.region
    account            = local.account
    cluster            = local.cluster
    bucket             = local.bucket
    family             = local.family
    secret_name        = local.secret_name
    log_group          = local.agent_log_group
    execution_role_arn = aws_iam_role.agent_execution.arn
    task_role_arn      = aws_iam_role.agent_task.arn
  }

  # Only ECS can assume these roles, for tasks of this account and region.
  ecs_tasks_trust = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnLike      = { "aws:SourceArn" = "arn:aws:ecs:${var.region}:${local.account}:*" }
      }
    }]
  })

  # Pulls from ECR, writes to CloudWatch.
  execution_policy = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

# --- Agents: execution role (ECS itself, outside the container) ---

resource "aws_iam_role" "agent_execution" {
  name               = "${var.name}-agent-execution"
  description        = "ECS pulls the agent image and writes the agents' log group"
  assume_role_policy = local.ecs_tasks_trust
}

resource "aws_iam_role_policy_attachment" "agent_execution" {
  role       = aws_iam_role.agent_execution.name
  policy_arn = local.execution_policy
}

resource "aws_iam_role_policy" "agent_execution_secret" {
  count = var.pull_secret == "none" ? 0 : 1

  name   = "pull-secret"
  role   = aws_iam_role.agent_execution.id
  policy = templatefile("${path.module}/policies/execution-role.json", local.placeholders)
}

# --- Agents: task role (bakery-agent, and every RUN step of a build) ---

resource "aws_iam_role" "agent_task" {
  name               = "${var.name}-agent-task"
  description        = "bakery-agent reads build contexts"
  assume_role_policy = local.ecs_tasks_trust
}

resource "aws_iam_role_policy" "agent_task" {
  name   = "read-contexts"
  role   = aws_iam_role.agent_task.id
  policy = templatefile("${path.module}/policies/task-role.json", local.placeholders)
}

# --- Server and client: policies that can be attached anywhere ---

resource "aws_iam_policy" "server" {
  name        = "${var.name}-server"
  description = "bakery-server: permissions that builds need"
  policy      = templatefile("${path.module}/policies/server.json", local.placeholders)
}

resource "aws_iam_policy" "server_extras" {
  # `*` for ListTasks, restricted to the cluster by a condition: its resources are container instances, which Fargate lacks.
  count = var.server_extras ? 1 : 0

  name        = "${var.name}-server-extras"
  description = "bakery-server: stop and tag tasks, find leftover ones, sign URLs of contexts"
  policy      = templatefile("${path.module}/policies/server-extras.json", local.placeholders)
}

resource "aws_iam_policy" "client" {
  name        = "${var.name}-client"
  description = "bakery-client: upload contexts; for the CI's role"
  policy      = templatefile("${path.module}/policies/client.json", local.placeholders)
}

# --- Server: its own two roles, if it runs here ---

resource "aws_iam_role" "server" {
  count = var.run_server ? 1 : 0

  name               = "${var.name}-server"
  description        = "bakery-server launches and watches agents"
  assume_role_policy = local.ecs_tasks_trust
}

resource "aws_iam_role_policy_attachment" "server" {
  count = var.run_server ? 1 : 0

  role       = aws_iam_role.server[0].name
  policy_arn = aws_iam_policy.server.arn
}

resource "aws_iam_role_policy_attachment" "server_extras" {
  count = var.run_server && var.server_extras ? 1 : 0

  role       = aws_iam_role.server[0].name
  policy_arn = aws_iam_policy.server_extras[0].arn
}

resource "aws_iam_role" "server_execution" {
  count = var.run_server ? 1 : 0

  name               = "${var.name}-server-execution"
  description        = "ECS pulls the server image, writes its log and passes BAKERY_TOKEN"
  assume_role_policy = local.ecs_tasks_trust
}

resource "aws_iam_role_policy_attachment" "server_execution" {
  count = var.run_server ? 1 : 0

  role       = aws_iam_role.server_execution[0].name
  policy_arn = local.execution_policy
}

resource "aws_iam_role_policy" "server_execution_token" {
  count = var.run_server ? 1 : 0

  name = "token"
  role = aws_iam_role.server_execution[0].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = local.token_in_ssm ? "ssm:GetParameters" : "secretsmanager:GetSecretValue"
      Resource = local.token_arn
    }]
  })
}
