# --- Location ---

variable "region" {
  description = "Region of all resources. Sets AWS_REGION and S3_REGION. The policies name the partition `aws`: not for China or GovCloud."
  type        = string

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region)) && !can(regex("^(cn|us-gov)-", var.region))
    error_message = "A region of the partition aws, for example ap-northeast-2."
  }
}

variable "vpc_id" {
  description = "VPC of agents and server. It must exist; it is not changed."
  type        = string

  validation {
    condition     = startswith(var.vpc_id, "vpc-")
    error_message = "A VPC id, for example vpc-0123456789abcdef0."
  }
}

variable "agent_subnet_ids" {
  description = "Subnets of the agents, with outbound access (public, or NAT) to S3, the server and registries. Sets ECS_SUBNETS."
  type        = list(string)

  validation {
    condition     = length(var.agent_subnet_ids) > 0 && alltrue([for id in var.agent_subnet_ids : startswith(id, "subnet-")])
    error_message = "At least one subnet id, for example subnet-0123456789abcdef0."
  }
}

variable "name" {
  description = "First part of every name. A second installation in one account needs another."
  type        = string
  default     = "bakery"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,23}$", var.name))
    error_message = "Lower-case letters, digits and -, at most 24 characters."
  }
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = { project = "bakery" }
}

# --- Cluster and agents ---

variable "cluster_name" {
  description = "Name of the ECS cluster. Sets ECS_CLUSTER. Not set: NAME-cluster."
  type        = string
  default     = null
}

variable "container_insights" {
  description = "Container Insights of the cluster: metrics for each task, which cost money."
  type        = bool
  default     = false
}

variable "agent_image" {
  description = "Image of the agents, with a tag. Sets AGENT_IMAGE."
  type        = string
  default     = "docker.io/rayshoo/bakery-agent:0.1.0"
}

variable "agent_capacity" {
  description = "Sets ECS_CAPACITY: fargate, spot or spot-then-fargate."
  type        = string
  default     = "fargate"

  validation {
    condition     = contains(["fargate", "spot", "spot-then-fargate"], var.agent_capacity)
    error_message = "One of fargate, spot, spot-then-fargate."
  }
}

variable "agent_public_ip" {
  description = "Sets ECS_PUBLIC_IP. false if the subnets have NAT; without NAT and without a public IP agents have no outbound access."
  type        = bool
  default     = true
}

variable "agent_task_family" {
  description = "Prefix of the agents' task definition families. Sets AGENT_TASK_FAMILY. Not set: NAME-agent."
  type        = string
  default     = null
}

variable "agent_logs" {
  description = "true: a log group for the agents' containers, /NAME/agents. Sets ECS_LOG_GROUP. A build's log does not need it: it goes to the server."
  type        = bool
  default     = false
}

variable "cleanup_task_definitions" {
  description = "Sets CLEANUP_ECS_TASK_DEFINITIONS: the server deregisters old task definitions of its prefix when it starts."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "Retention of the CloudWatch log groups in days. The server keeps builds and their logs for 14 days, which cannot be set."
  type        = number
  default     = 14

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "A number of days that CloudWatch supports, such as 7, 14, 30, 90, 365."
  }
}

# --- Permissions ---

variable "server_extras" {
  description = "true: the server also gets policies/server-extras.json: stop tasks, tag them, find leftover ones, and sign URLs of contexts. false: builds still work; docs/aws.md lists what is missing."
  type        = bool
  default     = true
}

# --- Contexts ---

variable "bucket_name" {
  description = "Bucket for build contexts. Sets S3_BUCKET. Not set: NAME-contexts-ACCOUNT-REGION."
  type        = string
  default     = null
}

variable "bucket_force_destroy" {
  description = "true: `terraform destroy` deletes the bucket including its contexts."
  type        = bool
  default     = false
}

variable "context_days" {
  description = "Days after which S3 deletes a context. The server relies on 7."
  type        = number
  default     = 7

  validation {
    condition     = var.context_days >= 7
    error_message = "At least 7: the server assumes for half a week that a context still exists."
  }
}

# --- A private agent image ---

variable "pull_secret" {
  description = <<-EOT
    Login for pulling a private agent image from a registry that is not ECR (ECR needs none):
    none      the image is public, or in ECR
    create    Terraform makes the secret from agent_image_username and agent_image_password
    existing  agent_image_secret_arn names one that is there
    by-server a server elsewhere makes it from AGENT_IMAGE_SECRET_NAME, _USERNAME and _PASSWORD; here are only the rights
  EOT
  type        = string
  default     = "none"

  validation {
    condition     = contains(["none", "create", "existing", "by-server"], var.pull_secret)
    error_message = "One of none, create, existing, by-server."
  }
  validation {
    condition     = !(var.pull_secret == "by-server" && var.run_server)
    error_message = "by-server is for a server elsewhere (run_server = false): here its password would be in the task definition. Use create."
  }
}

variable "agent_image_secret_name" {
  description = "Name of the secret with pull_secret create or by-server; the policies always contain it. Not set: NAME-agent-image."
  type        = string
  default     = null
}

variable "agent_image_secret_arn" {
  description = "The secret of pull_secret = existing, of this region and account. Its value is {\"username\": ..., \"password\": ...}."
  type        = string
  default     = null

  validation {
    condition     = (var.pull_secret == "existing") == (var.agent_image_secret_arn != null)
    error_message = "Required with pull_secret = \"existing\", and only allowed with it."
  }
  validation {
    condition     = var.agent_image_secret_arn == null || can(regex("^arn:aws:secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:[^:]+-[A-Za-z0-9]{6}$", var.agent_image_secret_arn))
    error_message = "The complete ARN of a secret, with the six characters at its end."
  }
}

variable "agent_image_username" {
  description = "User name of pull_secret = create. Ephemeral: neither in the plan nor in the state. Set TF_VAR_agent_image_username for every plan and apply."
  type        = string
  default     = null
  sensitive   = true
  ephemeral   = true

  validation {
    condition     = var.pull_secret != "create" || var.agent_image_username != null
    error_message = "pull_secret = \"create\" needs it at every plan and apply: set TF_VAR_agent_image_username."
  }
}

variable "agent_image_password" {
  description = "Password of pull_secret = create. Ephemeral like the user name: TF_VAR_agent_image_password."
  type        = string
  default     = null
  sensitive   = true
  ephemeral   = true

  validation {
    condition     = var.pull_secret != "create" || var.agent_image_password != null
    error_message = "pull_secret = \"create\" needs it at every plan and apply: set TF_VAR_agent_image_password."
  }
}

variable "agent_image_login_version" {
  description = "Terraform cannot detect that an ephemeral value has changed: a higher number writes user name and password again."
  type        = number
  default     = 1
}

# --- The server ---

variable "run_server" {
  description = "true: bakery-server runs here as an ECS service. false: it runs elsewhere; the outputs contain its settings, and its policies can be attached to its role."
  type        = bool
  default     = true
}

variable "controller_url" {
  description = "The server's public URL, for clients and agents. Sets CONTROLLER_URL."
  type        = string
  default     = null

  validation {
    condition     = var.controller_url == null ? !var.run_server : can(regex("^https?://[^/]+/?$", var.controller_url))
    error_message = "Required with run_server: a URL such as https://bakery.example.com."
  }
}

variable "server_image" {
  description = "Image of the server, of the same version as the agents'. A private image must be in ECR."
  type        = string
  default     = "docker.io/rayshoo/bakery-server:0.1.0"
}

variable "server_architecture" {
  description = "X86_64 or ARM64. Agents are not affected."
  type        = string
  default     = "X86_64"

  validation {
    condition     = contains(["X86_64", "ARM64"], var.server_architecture)
    error_message = "X86_64 or ARM64."
  }
}

variable "server_cpu" {
  description = "CPU units of the server's task; 1024 is one vCPU."
  type        = number
  default     = 512

  validation {
    condition     = contains([256, 512, 1024, 2048, 4096], var.server_cpu)
    error_message = "One of 256, 512, 1024, 2048, 4096."
  }
}

variable "server_memory" {
  description = "Memory of the server's task in MiB; Fargate must support the combination with server_cpu."
  type        = number
  default     = 1024
}

variable "server_subnet_ids" {
  description = "Subnets of the server and of its data, at most one per zone. Not set: the agents' subnets."
  type        = list(string)
  default     = null
}

variable "server_public_ip" {
  description = "A public IP for the server's task, for outbound access. false if its subnets have NAT."
  type        = bool
  default     = true
}

variable "server_ingress_cidrs" {
  description = "IPv4 blocks that may reach the server's port 3000 directly. Plain HTTP: use it only inside your own network."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.server_ingress_cidrs : can(cidrnetmask(cidr)) && cidr != "0.0.0.0/0"])
    error_message = "IPv4 blocks such as 10.0.0.0/16. Not 0.0.0.0/0: the port uses plain HTTP; put a load balancer with a certificate in front of it."
  }
}

variable "server_ingress_security_group_ids" {
  description = "Security groups that may reach the server's port 3000: the load balancer's."
  type        = list(string)
  default     = []
}

variable "server_egress_ports" {
  description = "TCP ports of the server's outbound traffic: 443 for AWS, and the ports of registries to which it pushes an index."
  type        = list(number)
  default     = [443]

  validation {
    condition     = contains(var.server_egress_ports, 443)
    error_message = "443 must be included: without it the server cannot reach AWS."
  }
}

variable "server_target_group_arn" {
  description = "Target group of your load balancer (target type ip, HTTP, health check /livez). README.md lists the other settings, which streams need."
  type        = string
  default     = null
}

variable "server_registry_arn" {
  description = "Cloud Map service (A record) that resolves to the server inside the VPC, as an alternative to a load balancer. Allows agents to reach port 3000."
  type        = string
  default     = null
}

variable "server_environment" {
  description = "Additional variables of .env.example for the server, or other values than the outputs'. No secrets: they would be in the task definition."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setintersection(keys(var.server_environment), ["BAKERY_TOKEN", "BAKERY_DATA_KEY", "AGENT_IMAGE_SECRET_PASSWORD", "S3_SECRET_KEY", "S3_SESSION_TOKEN"])) == 0
    error_message = "Secrets are not allowed here: use bakery_token_secret_arn for the token, pull_secret for the login, the role for S3."
  }
}

variable "bakery_token_secret_arn" {
  description = "ARN of a Secrets Manager secret, or of an SSM parameter, with BAKERY_TOKEN. Not set: a random token is created."
  type        = string
  default     = null

  validation {
    condition     = var.bakery_token_secret_arn == null || can(regex("^arn:aws:(secretsmanager:[^:]+:[0-9]{12}:secret:|ssm:[^:]+:[0-9]{12}:parameter/).+$", var.bakery_token_secret_arn))
    error_message = "The ARN of a Secrets Manager secret or of an SSM parameter."
  }
}

variable "bakery_token_version" {
  description = "A higher number creates another random token. The server uses it from its next start; agents have tokens of their own."
  type        = number
  default     = 1
}
