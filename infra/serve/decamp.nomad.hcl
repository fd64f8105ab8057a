# decamp as a job of the cluster that it looks after: two replicas on distinct hosts, of which one moves at a time. decamp keeps no state. If
# one replica dies, the other reads the live systems and continues.
#
#   nomad acl policy apply -description "decamp" -namespace default -job decamp decamp ../policies/nomad.hcl
#   nomad var put nomad/jobs/decamp consul_token=…
#   nomad job run -var image=… -var queue_arn=… -var role_arn=… decamp.nomad.hcl
#
# The first command attaches the policy to the job's workload identity, so that nobody creates or stores a Nomad token. For another
# namespace, name it in each command (the third takes -var namespace=…). If Nomad's ACLs are off, skip the first command. If Consul's ACLs
# are off, any word works as its token.

variable "image" {
  description = "The image of a release, in your registry, with its digest."
  type        = string
}

variable "queue_arn" {
  description = "The queue that the Terraform module creates (its output queue_arn, with create_function = false)."
  type        = string
}

variable "role_arn" {
  description = "The AWS role that this task assumes with its workload identity (infra/examples/service). Do not use the role of the nodes: every task on them could use it."
  type        = string
}

variable "groups" {
  description = "The Auto Scaling groups that decamp may change, separated by commas. A * at the end matches any rest."
  type        = string
  default     = "workers"
}

variable "region" {
  description = "The AWS Region."
  type        = string
  default     = "eu-west-1"
}

variable "nomad_addresses" {
  description = "The addresses of Nomad's servers, separated by commas. Do not use the agent of the same node, because it leaves with the node."
  type        = string
  default     = "https://nomad.service.consul:4646"
}

variable "consul_addresses" {
  description = "The addresses of Consul's servers, separated by commas."
  type        = string
  default     = "https://consul.service.consul:8501"
}

variable "config" {
  description = "Settings that have no variable, as TOML: receivers of notifications, webhooks, preferences of refreshes (docs/service.md). Refer to secrets by their file."
  type        = string
  default     = ""
}

variable "namespace" {
  description = "The namespace of the job. The role's trust policy names it."
  type        = string
  default     = "default"
}

job "decamp" {
  namespace = var.namespace
  type      = "service"
  # If the cluster has too little room, decamp should be the last job without a place.
  priority = 90

  group "decamp" {
    count = 2

    constraint {
      operator = "distinct_hosts"
      value    = "true"
    }

    # Both of its nodes may leave at once. The second replica stops only when the first is healthy elsewhere.
    migrate {
      max_parallel     = 1
      health_check     = "checks"
      min_healthy_time = "10s"
      healthy_deadline = "2m"
    }

    update {
      max_parallel     = 1
      health_check     = "checks"
      min_healthy_time = "10s"
      healthy_deadline = "2m"
      auto_revert      = true
    }

    restart {
      attempts = 10
      interval = "5m"
      delay    = "5s"
      mode     = "delay"
    }

    network {
      port "webhooks" {}
      port "admin" {}
    }

    # The admin listener is on loopback, where only its host can reach it: the Nomad agent, and a metrics collector that runs on every node.
    # For a Prometheus elsewhere the port needs a certificate and a token: set DECAMP_ADMIN_LISTEN = "0.0.0.0:${NOMAD_PORT_admin}",
    # DECAMP_ADMIN_CERT, DECAMP_ADMIN_KEY and DECAMP_ADMIN_TOKEN_FILE below (with templates like those of the tokens), remove `address` here,
    # and set protocol = "https" and tls_skip_verify = true in the check. An outage of Nomad or Consul makes no replica unready.
    service {
      name     = "decamp-admin"
      provider = "nomad"
      port     = "admin"
      address  = "127.0.0.1"
      # Prometheus' nomad_sd_configs has these tags in __meta_nomad_service_tags.
      tags = ["prometheus.io/scrape=true", "prometheus.io/path=/metrics"]

      check {
        type     = "http"
        path     = "/readyz"
        interval = "10s"
        timeout  = "5s"
      }
    }

    task "decamp" {
      driver = "docker"

      config {
        image        = var.image
        args         = var.config == "" ? ["serve"] : ["serve", "--config", "${NOMAD_TASK_DIR}/decamp.toml"]
        network_mode = "host"
        ports        = ["webhooks", "admin"]
      }

      # The task's token for Nomad. It is valid while the allocation runs, and has the rights of the job's policy.
      identity {
        file = true
      }

      # The token with which the task assumes the AWS role. Nomad renews it, and decamp reads it again.
      identity {
        name = "aws"
        aud  = ["sts.amazonaws.com"]
        file = true
        ttl  = "1h"
      }

      env {
        AWS_REGION                  = var.region
        AWS_ROLE_ARN                = var.role_arn
        AWS_WEB_IDENTITY_TOKEN_FILE = "${NOMAD_SECRETS_DIR}/nomad_aws.jwt"
        DECAMP_GROUPS               = var.groups
        DECAMP_QUEUES               = var.queue_arn
        # The memory below is enough for this number: 43 MiB for each thousand.
        DECAMP_MOST_DEPARTURES = "3000"
        DECAMP_WEBHOOKS_LISTEN = "127.0.0.1:${NOMAD_PORT_webhooks}"
        DECAMP_ADMIN_LISTEN    = "127.0.0.1:${NOMAD_PORT_admin}"
        DECAMP_LOG_FORMAT      = "json"
        NOMAD_ADDR             = var.nomad_addresses
        NOMAD_TOKEN_FILE       = "${NOMAD_SECRETS_DIR}/nomad_token"
        CONSUL_HTTP_ADDR       = var.consul_addresses
        CONSUL_HTTP_TOKEN_FILE = "${NOMAD_SECRETS_DIR}/consul-token"
      }

      # For a cluster with a private CA: store its certificate as ca in the Nomad variable, uncomment this template, and set
      # NOMAD_CACERT and CONSUL_CACERT to "${NOMAD_TASK_DIR}/ca.pem" above.
      # template {
      #   destination = "local/ca.pem"
      #   data        = "{{ with nomadVar \"nomad/jobs/decamp\" }}{{ .ca }}{{ end }}"
      # }

      dynamic "template" {
        for_each = var.config == "" ? [] : [var.config]
        content {
          destination = "local/decamp.toml"
          data        = template.value
        }
      }

      # decamp reads a token again when it is refused, so a new token needs no restart. The image runs as this user. Without uid and gid
      # the file would belong to root.
      template {
        destination = "secrets/consul-token"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65532
        gid         = 65532
        data        = "{{ with nomadVar \"nomad/jobs/decamp\" }}{{ .consul_token }}{{ end }}"
      }

      # decamp exits within 10 s of its signal. The rest is for a busy machine.
      kill_timeout = "30s"

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}
