locals {
  server_subnets = var.server_subnet_ids == null ? var.agent_subnet_ids : var.server_subnet_ids
  data_dir       = "/var/lib/bakery"

  pull_secret_arn = (
    var.pull_secret == "create"
    ? one(aws_secretsmanager_secret.agent_image[*].arn)
    : var.agent_image_secret_arn
  )

  # The server's settings, wherever it runs: outputs.tf exports the same. A setting without a value is omitted because of the
  # input variables, not because of its value, which is unknown in a first plan.
  settings = merge(
    {
      S3_BUCKET                    = aws_s3_bucket.contexts.bucket
      S3_REGION                    = var.region
      AWS_REGION                   = var.region
      ECS_CLUSTER                  = aws_ecs_cluster.this.name
      ECS_SUBNETS                  = join(",", var.agent_subnet_ids)
      ECS_SECURITY_GROUPS          = aws_security_group.agents.id
      ECS_EXEC_ROLE_ARN            = aws_iam_role.agent_execution.arn
      ECS_TASK_ROLE_ARN            = aws_iam_role.agent_task.arn
      ECS_CAPACITY                 = var.agent_capacity
      ECS_PUBLIC_IP                = tostring(var.agent_public_ip)
      CLEANUP_ECS_TASK_DEFINITIONS = tostring(var.cleanup_task_definitions)
      AGENT_TASK_FAMILY            = local.family
      AGENT_IMAGE                  = var.agent_image
    },
    var.controller_url == null ? {} : { CONTROLLER_URL = var.controller_url },
    var.agent_logs ? { ECS_LOG_GROUP = aws_cloudwatch_log_group.agents[0].name } : {},
    contains(["create", "existing"], var.pull_secret) ? { AGENT_IMAGE_SECRET_ARN = local.pull_secret_arn } : {},
    var.pull_secret == "by-server" ? { AGENT_IMAGE_SECRET_NAME = local.secret_name } : {},
  )

  server_environment = merge(
    local.settings,
    # TLS is terminated at the load balancer, and traffic from there to the task is plain HTTP inside the VPC. This suppresses
    # the server's warning at start, and has no other effect.
    var.server_target_group_arn == null ? {} : { BAKERY_INSECURE = "true" },
    var.server_environment,
    {
      BAKERY_LISTEN   = "0.0.0.0:${local.server_port}"
      BAKERY_DATA_DIR = local.data_dir
      # The root file system is read-only, and the image has no /tmp: SQLite stores temporary files of large statements here.
      SQLITE_TMPDIR = local.data_dir
    },
  )
}

# --- Data folder: ledger, logs, the key that seals secrets ---

# Fargate has two kinds of disk for a service: one that is deleted with the task (its own, or an EBS volume), and EFS. Only
# EFS is kept for the next task. One task mounts it, and a lock in the data folder makes a second server exit.
resource "aws_efs_file_system" "data" {
  # checkov:skip=CKV_AWS_184: Encrypted with AWS's key; your own key needs a policy for EFS.
  # No backup: losing it loses logs and running builds, but no image. Back it up if you need the logs.
  count = var.run_server ? 1 : 0

  encrypted        = true
  performance_mode = "generalPurpose"
  throughput_mode  = "elastic"

  tags = { Name = "${var.name}-data" }
}

# With this policy a mount needs the server's role, TLS and the mount target; without it everyone with network access could
# mount it.
resource "aws_efs_file_system_policy" "data" {
  count = var.run_server ? 1 : 0

  file_system_id = aws_efs_file_system.data[0].id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Server"
        Effect    = "Allow"
        Principal = { AWS = aws_iam_role.server[0].arn }
        Action    = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
        Resource  = aws_efs_file_system.data[0].arn
        Condition = {
          Bool         = { "elasticfilesystem:AccessedViaMountTarget" = "true" }
          StringEquals = { "elasticfilesystem:AccessPointArn" = aws_efs_access_point.data[0].arn }
        }
      },
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "*"
        Resource  = aws_efs_file_system.data[0].arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

# The server is user 65532 in its image, and has access to this folder of the file system only.
resource "aws_efs_access_point" "data" {
  count = var.run_server ? 1 : 0

  file_system_id = aws_efs_file_system.data[0].id

  posix_user {
    uid = 65532
    gid = 65532
  }

  root_directory {
    path = "/bakery"

    creation_info {
      owner_uid   = 65532
      owner_gid   = 65532
      permissions = "0700"
    }
  }
}

resource "aws_efs_mount_target" "data" {
  for_each = var.run_server ? toset(local.server_subnets) : []

  file_system_id  = aws_efs_file_system.data[0].id
  subnet_id       = each.value
  security_groups = [aws_security_group.data[0].id]
}

# --- The service ---

resource "aws_ecs_task_definition" "server" {
  count = var.run_server ? 1 : 0

  # Not below the agents' prefix: the clean-up of task definitions must not include it.
  family                   = "${var.name}-server"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.server_cpu
  memory                   = var.server_memory
  execution_role_arn       = aws_iam_role.server_execution[0].arn
  task_role_arn            = aws_iam_role.server[0].arn

  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = var.server_architecture
  }

  volume {
    name = "data"

    efs_volume_configuration {
      file_system_id     = aws_efs_file_system.data[0].id
      transit_encryption = "ENABLED"

      authorization_config {
        access_point_id = aws_efs_access_point.data[0].id
        iam             = "ENABLED"
      }
    }
  }

  container_definitions = jsonencode([{
    name      = "server"
    image     = var.server_image
    essential = true
    user      = "65532:65532"

    readonlyRootFilesystem = true
    linuxParameters        = { capabilities = { drop = ["ALL"] } }

    portMappings = [{ containerPort = local.server_port, protocol = "tcp" }]
    mountPoints  = [{ sourceVolume = "data", containerPath = local.data_dir, readOnly = false }]

    environment = [for name, value in local.server_environment : { name = name, value = value }]
    secrets     = [{ name = "BAKERY_TOKEN", valueFrom = local.token_arn }]

    # Liveness, not readiness: a restart does not help if a platform is unavailable. A starting server loads every open build
    # before it listens; ECS allows at most these 300 s.
    healthCheck = {
      command     = ["CMD", "/usr/local/bin/bakery-server", "health", "--live"]
      interval    = 30
      timeout     = 5
      retries     = 3
      startPeriod = 300
    }

    # A stop commits pending changes and syncs the logs: a few seconds, at most 15 s for each of its steps.
    stopTimeout = 60

    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.server[0].name
        awslogs-region        = var.region
        awslogs-stream-prefix = "server"
      }
    }
  }])

  lifecycle {
    precondition {
      condition     = !startswith("${var.name}-server", local.family)
      error_message = "agent_task_family must not be a prefix of the server's own family: the clean-up would deregister the server's own task definitions."
    }
  }
}

resource "aws_ecs_service" "server" {
  # checkov:skip=CKV_AWS_333: In subnets without NAT outbound access needs a public IP (server_public_ip); the security group allows no inbound access to it.
  count = var.run_server ? 1 : 0

  name            = "${var.name}-server"
  cluster         = aws_ecs_cluster.this.id
  task_definition = aws_ecs_task_definition.server[0].arn
  launch_type     = "FARGATE"
  propagate_tags  = "SERVICE"

  # Only one server can use the data folder: the old task stops before the new one starts. Builds continue while there is
  # none.
  desired_count                      = 1
  deployment_minimum_healthy_percent = 0
  deployment_maximum_percent         = 100
  availability_zone_rebalancing      = "DISABLED"

  # A starting server loads every open build before it listens.
  health_check_grace_period_seconds = var.server_target_group_arn == null ? null : 300

  network_configuration {
    subnets          = local.server_subnets
    security_groups  = [aws_security_group.server[0].id]
    assign_public_ip = var.server_public_ip
  }

  dynamic "load_balancer" {
    for_each = var.server_target_group_arn[*]

    content {
      target_group_arn = load_balancer.value
      container_name   = "server"
      container_port   = local.server_port
    }
  }

  dynamic "service_registries" {
    for_each = var.server_registry_arn[*]

    content {
      registry_arn = service_registries.value
    }
  }

  lifecycle {
    precondition {
      condition     = length(var.server_ingress_security_group_ids) + length(var.server_ingress_cidrs) > 0 || var.server_registry_arn != null
      error_message = "The server could not be reached: set the load balancer's group in server_ingress_security_group_ids, or blocks in server_ingress_cidrs."
    }
  }

  # The first task needs these before it starts.
  depends_on = [
    aws_efs_mount_target.data,
    aws_efs_file_system_policy.data,
    aws_secretsmanager_secret_version.token,
    aws_iam_role_policy_attachment.server,
    aws_iam_role_policy_attachment.server_execution,
    aws_iam_role_policy.server_execution_token,
    aws_vpc_security_group_egress_rule.server,
    aws_vpc_security_group_egress_rule.server_data,
    aws_vpc_security_group_ingress_rule.data,
  ]
}
