# --- Named after the variables that they fill ---

output "CONTROLLER_URL" {
  description = "Server and client: the server's public URL."
  value       = var.controller_url
}

output "S3_BUCKET" {
  description = "Server and client: bucket for contexts."
  value       = local.settings["S3_BUCKET"]
}

output "S3_REGION" {
  description = "Server and client: region of the bucket."
  value       = local.settings["S3_REGION"]
}

output "AWS_REGION" {
  description = "Server: region of ECS and Secrets Manager."
  value       = local.settings["AWS_REGION"]
}

output "ECS_CLUSTER" {
  description = "Server: the cluster. Setting it enables ECS."
  value       = local.settings["ECS_CLUSTER"]
}

output "ECS_SUBNETS" {
  description = "Server: the agents' subnets, comma-separated."
  value       = local.settings["ECS_SUBNETS"]
}

output "ECS_SECURITY_GROUPS" {
  description = "Server: the agents' security group."
  value       = local.settings["ECS_SECURITY_GROUPS"]
}

output "ECS_EXEC_ROLE_ARN" {
  description = "Server: execution role of the agents' task definitions."
  value       = local.settings["ECS_EXEC_ROLE_ARN"]
}

output "ECS_TASK_ROLE_ARN" {
  description = "Server: task role of the agents."
  value       = local.settings["ECS_TASK_ROLE_ARN"]
}

output "ECS_LOG_GROUP" {
  description = "Server: the agents' log group; none without agent_logs."
  value       = lookup(local.settings, "ECS_LOG_GROUP", null)
}

output "ECS_CAPACITY" {
  description = "Server: fargate, spot or spot-then-fargate."
  value       = local.settings["ECS_CAPACITY"]
}

output "ECS_PUBLIC_IP" {
  description = "Server: whether agents get a public IP."
  value       = local.settings["ECS_PUBLIC_IP"]
}

output "CLEANUP_ECS_TASK_DEFINITIONS" {
  description = "Server: whether old task definitions are deregistered at start."
  value       = local.settings["CLEANUP_ECS_TASK_DEFINITIONS"]
}

output "AGENT_TASK_FAMILY" {
  description = "Server: prefix of task definition families, which the policies contain."
  value       = local.settings["AGENT_TASK_FAMILY"]
}

output "AGENT_IMAGE" {
  description = "Server: the agent image."
  value       = local.settings["AGENT_IMAGE"]
}

output "AGENT_IMAGE_SECRET_ARN" {
  description = "Server: the pull secret; none without one."
  value       = lookup(local.settings, "AGENT_IMAGE_SECRET_ARN", null)
}

output "AGENT_IMAGE_SECRET_NAME" {
  description = "Server: the name under which it may create the pull secret itself; only with pull_secret = by-server."
  value       = lookup(local.settings, "AGENT_IMAGE_SECRET_NAME", null)
}

# --- The rest ---

output "dotenv" {
  description = "All of the above as lines of a .env file, for a server that runs elsewhere: terraform output -raw dotenv > .env"
  value       = join("", [for name, value in local.settings : "${name}=${value}\n"])
}

output "client_policy_arn" {
  description = "Attach it to the role of the CI jobs that run bakery-client."
  value       = aws_iam_policy.client.arn
}

output "server_policy_arn" {
  description = "The server's permissions, for your own role if it runs elsewhere."
  value       = aws_iam_policy.server.arn
}

output "server_extras_policy_arn" {
  description = "The server's extra permissions; none with server_extras = false."
  value       = one(aws_iam_policy.server_extras[*].arn)
}

output "server_security_group_id" {
  description = "The server's own security group."
  value       = one(aws_security_group.server[*].id)
}

output "server_log_group" {
  description = "Log group of the server's own log: aws logs tail NAME --follow"
  value       = one(aws_cloudwatch_log_group.server[*].name)
}

output "bakery_token_secret_arn" {
  description = "Secret of BAKERY_TOKEN. Read it with: aws secretsmanager get-secret-value --secret-id ARN --query SecretString --output text"
  value       = local.token_arn
}
