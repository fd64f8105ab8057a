# decamp as a job of the cluster that it looks after: two replicas, never on one host, one of which moves at a time. Nothing is stored, so
# either of them may die: the other goes on from what is true.
#
#   nomad acl policy apply -description "decamp" -namespace default -job decamp decamp ../policies/nomad.hcl
#   nomad var put nomad/jobs/decamp consul_token=…
#   nomad job run -var image=… -var queue_arn=… -var role_arn=… decamp.nomad.hcl
#
# The first command gives the policy to the job's own identity: no token of Nomad's is made or kept. In
# another namespace name that one, to the second as well (-namespace) and to the third by -var namespace=…. Where Nomad's ACLs are off the
# first is not needed; where Consul's are off any word will do as its token.

variable "image" {
  description = "The image of a release, in your registry, with its digest."
  type        = string
}

variable "queue_arn" {
  description = "The queue that the Terraform module makes (its output queue_arn, with create_function = false)."
  type        = string
}

variable "role_arn" {
  description = "The role that this task may take (infra/examples/service), by a token of Nomad's. Never the nodes' own: whatever runs there has it."
  type        = string
}

variable "groups" {
  description = "The Auto Scaling groups that may be touched, with commas; a * at the end stands for any rest."
  type        = string
  default     = "workers"
}

variable "region" {
  description = "The AWS Region."
  type        = string
  default     = "eu-west-1"
}

variable "nomad_addresses" {
  description = "Nomad's servers, with commas. Not the agent of the same node: it leaves with it."
  type        = string
  default     = "https://nomad.service.consul:4646"
}

variable "consul_addresses" {
  description = "Consul's servers, with commas."
  type        = string
  default     = "https://consul.service.consul:8501"
}

variable "config" {
  description = "Settings that have no variable of their own, as TOML: receivers of notifications, webhooks, preferences of refreshes (docs/service.md). Secrets are named in it by file, not written into it."
  type        = string
  default     = ""
}

variable "namespace" {
  description = "The namespace of the job. The trust of the role names it."
  type        = string
  default     = "default"
}

job "decamp" {
  namespace = var.namespace
  type      = "service"
  # When there is little room, what takes nodes out of service is the last to be without any.
  priority = 90

  group "decamp" {
    count = 2

    constraint {
      operator = "distinct_hosts"
      value    = "true"
    }

    # Both of its nodes may leave at once. The second replica waits until the first is up elsewhere.
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

    # Loopback of its host, where nothing but that host asks: its Nomad agent, and a collector of metrics that runs on every node. For a
    # Prometheus elsewhere the port needs a certificate and a token: set DECAMP_ADMIN_LISTEN = "0.0.0.0:${NOMAD_PORT_admin}",
    # DECAMP_ADMIN_CERT, DECAMP_ADMIN_KEY and DECAMP_ADMIN_TOKEN_FILE below (templates like those of the tokens), take `address` out here,
    # and give the check protocol = "https" and tls_skip_verify = true. A system that is away takes no replica out of service.
    service {
      name     = "decamp-admin"
      provider = "nomad"
      port     = "admin"
      address  = "127.0.0.1"
      # What Prometheus' nomad_sd_configs finds in __meta_nomad_service_tags.
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

      # What Nomad knows this task by: its token, good for as long as the allocation runs, and with the rights of the job's policy.
      identity {
        file = true
      }

      # The token that AWS takes for the role. It is renewed, and decamp reads it again.
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
        # As many as the memory below is enough for: 43 MiB a thousand.
        DECAMP_MOST_DEPARTURES = "3000"
        DECAMP_WEBHOOKS_LISTEN = "127.0.0.1:${NOMAD_PORT_webhooks}"
        DECAMP_ADMIN_LISTEN    = "127.0.0.1:${NOMAD_PORT_admin}"
        DECAMP_LOG_FORMAT      = "json"
        NOMAD_ADDR             = var.nomad_addresses
        NOMAD_TOKEN_FILE       = "${NOMAD_SECRETS_DIR}/nomad_token"
        CONSUL_HTTP_ADDR       = var.consul_addresses
        CONSUL_HTTP_TOKEN_FILE = "${NOMAD_SECRETS_DIR}/consul-token"
      }

      # For a cluster with an authority of its own: put its certificate into the variable as ca, and take the marks away here and for
      # NOMAD_CACERT and CONSUL_CACERT = "${NOMAD_TASK_DIR}/ca.pem" above.
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

      # decamp reads a token again when it is refused: a new one needs no restart. The image runs as this user (distroless' nonroot), and
      # what Nomad writes for nobody in particular is root's.
      template {
        destination = "secrets/consul-token"
        change_mode = "noop"
        perms       = "0400"
        uid         = 65532
        gid         = 65532
        data        = "{{ with nomadVar \"nomad/jobs/decamp\" }}{{ .consul_token }}{{ end }}"
      }

      # It is gone within 10 s of its signal; the rest is for a machine that is busy.
      kill_timeout = "30s"

      resources {
        cpu    = 200
        memory = 256
      }
    }
  }
}
