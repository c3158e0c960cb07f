# Neither value is stored in a plan or in the state: Terraform's input is ephemeral, and `secret_string_wo` is write-only.
# So Terraform cannot detect that a value has changed: a higher version number writes it again.

# --- Login for pulling the agent image ---

resource "aws_secretsmanager_secret" "agent_image" {
  # checkov:skip=CKV_AWS_149: Encrypted with AWS's key. Your own key needs kms:Decrypt in the execution role.
  # checkov:skip=CKV2_AWS_57: It is a registry's password: AWS cannot rotate it. Use agent_image_login_version.
  count = var.pull_secret == "create" ? 1 : 0

  name        = local.secret_name
  description = "Login for the image of Bakery's agents"

  # Deleted immediately on destroy: the registry still has the login, and the name is free for the next apply.
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "agent_image" {
  count = var.pull_secret == "create" ? 1 : 0

  secret_id = aws_secretsmanager_secret.agent_image[0].id
  secret_string_wo = jsonencode({
    username = var.agent_image_username
    password = var.agent_image_password
  })
  secret_string_wo_version = var.agent_image_login_version
}

# --- BAKERY_TOKEN ---

locals {
  make_token   = var.run_server && var.bakery_token_secret_arn == null
  token_in_ssm = var.bakery_token_secret_arn != null && can(regex("^arn:aws:ssm:", var.bakery_token_secret_arn))
  token_arn    = local.make_token ? aws_secretsmanager_secret.token[0].arn : var.bakery_token_secret_arn
}

# A new one at every run, discarded unless the version below has changed.
ephemeral "aws_secretsmanager_random_password" "token" {
  count = local.make_token ? 1 : 0

  password_length     = 64
  exclude_punctuation = true
}

resource "aws_secretsmanager_secret" "token" {
  # checkov:skip=CKV_AWS_149: Encrypted with AWS's key. Your own key needs kms:Decrypt in the server's execution role.
  # checkov:skip=CKV2_AWS_57: Clients have it too: rotate it yourself, with bakery_token_version.
  count = local.make_token ? 1 : 0

  name                    = "${var.name}-token"
  description             = "BAKERY_TOKEN, the token of clients"
  recovery_window_in_days = 0
}

resource "aws_secretsmanager_secret_version" "token" {
  count = local.make_token ? 1 : 0

  secret_id                = aws_secretsmanager_secret.token[0].id
  secret_string_wo         = ephemeral.aws_secretsmanager_random_password.token[0].random_password
  secret_string_wo_version = var.bakery_token_version
}
