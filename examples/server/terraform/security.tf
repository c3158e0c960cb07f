locals {
  server_port = 3000
}

# --- Agents: no inbound traffic, all outbound traffic (S3, the server, registries wherever they are) ---

resource "aws_security_group" "agents" {
  # checkov:skip=CKV2_AWS_5: The server attaches it to each task that it launches: ECS_SECURITY_GROUPS.
  name        = "${var.name}-agents"
  description = "Bakery agents: no inbound traffic"
  vpc_id      = var.vpc_id

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_egress_rule" "agents" {
  # A Dockerfile can download from anywhere, on any port.
  security_group_id = aws_security_group.agents.id
  description       = "S3, the server, registries, and what a Dockerfile fetches"
  ip_protocol       = "-1"
  cidr_ipv4         = "0.0.0.0/0"
}

# --- Server ---

resource "aws_security_group" "server" {
  count = var.run_server ? 1 : 0

  name        = "${var.name}-server"
  description = "Bakery server: inbound on its port only"
  vpc_id      = var.vpc_id

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "server_cidr" {
  for_each = var.run_server ? toset(var.server_ingress_cidrs) : []

  security_group_id = aws_security_group.server[0].id
  description       = "Clients and agents, directly"
  ip_protocol       = "tcp"
  from_port         = local.server_port
  to_port           = local.server_port
  cidr_ipv4         = each.value
}

resource "aws_vpc_security_group_ingress_rule" "server_group" {
  # By index, because the ids may be unknown until apply.
  count = var.run_server ? length(var.server_ingress_security_group_ids) : 0

  security_group_id            = aws_security_group.server[0].id
  description                  = "The load balancer"
  ip_protocol                  = "tcp"
  from_port                    = local.server_port
  to_port                      = local.server_port
  referenced_security_group_id = var.server_ingress_security_group_ids[count.index]
}

# Only if agents reach the server inside the VPC; otherwise they use the load balancer, like clients.
resource "aws_vpc_security_group_ingress_rule" "server_agents" {
  count = var.run_server && var.server_registry_arn != null ? 1 : 0

  security_group_id            = aws_security_group.server[0].id
  description                  = "Agents, with the name in Cloud Map"
  ip_protocol                  = "tcp"
  from_port                    = local.server_port
  to_port                      = local.server_port
  referenced_security_group_id = aws_security_group.agents.id
}

resource "aws_vpc_security_group_egress_rule" "server" {
  for_each = var.run_server ? toset([for port in var.server_egress_ports : tostring(port)]) : []

  security_group_id = aws_security_group.server[0].id
  description       = "AWS, and registries for the index"
  ip_protocol       = "tcp"
  from_port         = tonumber(each.value)
  to_port           = tonumber(each.value)
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "server_data" {
  count = var.run_server ? 1 : 0

  security_group_id            = aws_security_group.server[0].id
  description                  = "The data folder"
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
  referenced_security_group_id = aws_security_group.data[0].id
}

# --- The server's data folder ---

resource "aws_security_group" "data" {
  count = var.run_server ? 1 : 0

  name        = "${var.name}-data"
  description = "Bakery data folder: NFS from the server only"
  vpc_id      = var.vpc_id

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_vpc_security_group_ingress_rule" "data" {
  count = var.run_server ? 1 : 0

  security_group_id            = aws_security_group.data[0].id
  description                  = "The server"
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
  referenced_security_group_id = aws_security_group.server[0].id
}
