locals {
  account = data.aws_caller_identity.this.account_id
  cluster = coalesce(var.cluster_name, "${var.name}-cluster")
  family  = coalesce(var.agent_task_family, "${var.name}-agent")
}

resource "aws_ecs_cluster" "this" {
  # checkov:skip=CKV_AWS_65: Container Insights costs for each task; container_insights enables it.
  name = local.cluster

  setting {
    name  = "containerInsights"
    value = var.container_insights ? "enabled" : "disabled"
  }
}

# Both are always configured: ECS_CAPACITY chooses for each launch.
resource "aws_ecs_cluster_capacity_providers" "this" {
  cluster_name       = aws_ecs_cluster.this.name
  capacity_providers = ["FARGATE", "FARGATE_SPOT"]

  default_capacity_provider_strategy {
    capacity_provider = "FARGATE"
    weight            = 1
  }
}
