variable "create" {
  description = "Whether anything is created."
  type        = bool
  default     = true
  nullable    = false
}

variable "create_function" {
  description = "Whether the function is created. Without it the queue, the rules, the hooks and their alarms are left for the HTTP service."
  type        = bool
  default     = true
  nullable    = false
}

variable "name" {
  description = "The name of everything, and what it begins with where there are several."
  type        = string
  default     = "decamp"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9-]{0,39}$", var.name))
    error_message = "name must begin with a letter and have at most 40 letters, digits and hyphens: longer names do not fit with what is appended."
  }
}

variable "region" {
  description = "The Region of everything. Null: that of the provider."
  type        = string
  default     = null

  validation {
    condition     = var.region == null || can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region is none, such as eu-west-1."
  }
}

variable "autoscaling_groups" {
  description = "The Auto Scaling groups whose instances decamp drains, by a label of yours that never changes. A group is named by name, or by the name_prefix that it was made with: then rule, role and settings take every group with this prefix. target_group_arns are all target groups that hold their instances, attached or not: decamp deregisters from these and from no others. create_hook (default: true, but false with name_prefix) says whether the module creates the hook; false leaves it to the group itself (initial_lifecycle_hook)."
  type = map(object({
    name              = optional(string)
    name_prefix       = optional(string)
    heartbeat_timeout = optional(number, 900)
    default_result    = optional(string, "CONTINUE")
    target_group_arns = optional(list(string), [])
    create_hook       = optional(bool)
  }))
  nullable = false

  validation {
    condition     = 0 < length(var.autoscaling_groups) || !var.create
    error_message = "autoscaling_groups is empty: name at least one group, or set create = false."
  }

  validation {
    condition     = alltrue([for group in values(var.autoscaling_groups) : (group.name == null) != (group.name_prefix == null) || (group.name != null && group.create_hook == true)])
    error_message = "An entry of autoscaling_groups needs either name or name_prefix. Both only with create_hook = true: name is then the group that gets the hook, and name_prefix what it and its successors are known by."
  }

  validation {
    condition     = alltrue([for group in values(var.autoscaling_groups) : group.name != null || group.create_hook != true])
    error_message = "An entry of autoscaling_groups has create_hook = true and no name: the module cannot create a hook in a group that it knows by its prefix alone. Give the group the hook of the output initial_lifecycle_hooks."
  }

  validation {
    condition     = alltrue([for group in values(var.autoscaling_groups) : can(regex("^[^\\x00-\\x1f:,*?]{1,255}$", group.name == null ? group.name_prefix : group.name))])
    error_message = "A name in autoscaling_groups is empty, longer than 255 characters, or has a colon, a comma, a star, a question mark or a line break: write the group's name, not its ARN, and a prefix without a star."
  }

  validation {
    condition     = length(distinct([for group in values(var.autoscaling_groups) : group.name == null ? group.name_prefix : group.name])) == length(var.autoscaling_groups)
    error_message = "Two labels of autoscaling_groups have the same name: a group has one hook of decamp's."
  }

  validation {
    condition = alltrue(flatten([for label, group in var.autoscaling_groups : [
      for other, prefixed in var.autoscaling_groups : label == other || prefixed.name_prefix == null || !try(startswith(group.name == null ? group.name_prefix : group.name, prefixed.name_prefix), false)
    ]]))
    error_message = "A name_prefix of autoscaling_groups covers another entry: its groups would be counted twice. Take the entry that is covered out, or choose a longer prefix."
  }

  validation {
    condition     = alltrue([for group in values(var.autoscaling_groups) : 30 <= group.heartbeat_timeout && group.heartbeat_timeout <= 7200 && floor(group.heartbeat_timeout) == group.heartbeat_timeout])
    error_message = "A heartbeat_timeout in autoscaling_groups is outside of what AWS takes, 30 to 7200 whole seconds."
  }

  validation {
    condition     = alltrue([for group in values(var.autoscaling_groups) : contains(["CONTINUE", "ABANDON"], group.default_result)])
    error_message = "A default_result in autoscaling_groups is neither CONTINUE nor ABANDON."
  }

  validation {
    condition     = alltrue([for arn in flatten(values(var.autoscaling_groups)[*].target_group_arns) : can(regex("^arn:[a-z-]+:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:targetgroup/[^/]+/[0-9a-f]+$", arn))])
    error_message = "An entry of target_group_arns is not the ARN of a target group (arn:…:targetgroup/NAME/ID)."
  }

  validation {
    condition     = alltrue([for arn in flatten(values(var.autoscaling_groups)[*].target_group_arns) : startswith(arn, "arn:${local.partition}:elasticloadbalancing:${local.region}:${local.account}:")])
    error_message = "An entry of target_group_arns is of another Region or account than this module is applied in: decamp works in one of each, so call the module there."
  }

  validation {
    condition     = alltrue([for group in values(var.autoscaling_groups) : length(jsonencode({ target_groups = group.target_group_arns })) <= 4000])
    error_message = "A group has more target_group_arns than fit into its hook's metadata (4000 characters, some 40 ARNs): set scan_target_groups = true instead."
  }
}

variable "hook_name" {
  description = "The name of the lifecycle hooks. Null: that of `name`. To change it, see former_hook_names."
  type        = string
  default     = null

  validation {
    condition     = var.hook_name == null || can(regex("^[A-Za-z0-9_/-]{1,255}$", var.hook_name))
    error_message = "hook_name may have 1 to 255 letters, digits, hyphens, underscores and slashes."
  }
}

variable "former_hook_names" {
  description = "Names that the hooks had before hook_name was changed. These hooks are kept beside the new ones, and decamp completes both, until you take the names out: a hook that is deleted lets go of what waits in it."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.former_hook_names : can(regex("^[A-Za-z0-9_/-]{1,255}$", name))])
    error_message = "A name in former_hook_names is none that a hook may have: 1 to 255 letters, digits, hyphens, underscores and slashes."
  }
}

variable "scan_target_groups" {
  description = "Find target groups by looking through all of the account, and allow deregistration from all of them. For targets that no list can name beforehand."
  type        = bool
  default     = false
  nullable    = false
}

variable "classic_load_balancers" {
  description = "Names of the Classic Load Balancers that decamp may take instances out of. Needed only where one is attached to a group."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "lambda_package" {
  description = "The finished zip: a path, or a bucket and key with the object's version or its SHA-256 in base64 (without one of them an update is not seen). Null: that of the release that this version of the module belongs to, which is downloaded, and whose sum the module knows. Terraform never builds."
  type = object({
    path              = optional(string)
    s3_bucket         = optional(string)
    s3_key            = optional(string)
    s3_object_version = optional(string)
    source_code_hash  = optional(string)
  })
  default = null

  validation {
    condition     = var.lambda_package != null || local.release.version != null || !(var.create && var.create_function)
    error_message = "lambda_package is missing, and this version of the module is of no release whose zip could be downloaded: name the zip that `just package` made, use a released version of the module, or set create_function = false."
  }

  validation {
    condition     = var.lambda_package == null || (try(var.lambda_package.path, null) == null) != (try(var.lambda_package.s3_bucket, null) == null)
    error_message = "lambda_package needs either path or s3_bucket with s3_key, and not both."
  }

  validation {
    condition     = (try(var.lambda_package.s3_bucket, null) == null) == (try(var.lambda_package.s3_key, null) == null)
    error_message = "In lambda_package, s3_bucket and s3_key belong together."
  }

  validation {
    condition     = try(var.lambda_package.s3_bucket, null) == null || try(var.lambda_package.s3_object_version, null) != null || try(var.lambda_package.source_code_hash, null) != null
    error_message = "A zip in S3 needs s3_object_version or source_code_hash (base64 of its SHA-256): without one a new zip under the same key would never be deployed."
  }

  validation {
    condition     = try(var.lambda_package.path, null) == null || try(fileexists(var.lambda_package.path), false)
    error_message = "There is no file at the path of lambda_package: make it with `just package`, or fetch it from a release."
  }
}

variable "architecture" {
  description = "The processor that the zip is for."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64, as the zip's name says."
  }
}

variable "memory_size" {
  description = "The function's memory in MB. Its share of a processor grows with it."
  type        = number
  default     = 256
  nullable    = false

  validation {
    condition     = 128 <= var.memory_size && var.memory_size <= 10240
    error_message = "memory_size must be between 128 and 10240 MB."
  }
}

variable "layers" {
  description = "ARNs of Lambda layers, such as one with the authority's certificate for Nomad under /opt."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.layers : can(regex("^arn:[a-z-]+:lambda:[a-z0-9-]+:[0-9]{12}:layer:[A-Za-z0-9_-]+:[0-9]+$", arn))])
    error_message = "An entry of layers is not the ARN of a layer's version (arn:…:layer:NAME:VERSION)."
  }

  validation {
    condition     = alltrue([for arn in var.layers : try(split(":", arn)[3], "") == local.region])
    error_message = "A layer is of another Region than this module is applied in: Lambda takes layers of its own Region only."
  }
}

variable "nomad" {
  description = "How the function reaches Nomad. addresses are tried in turn. token_secret names the parameter (SSM) or secret (Secrets Manager) that holds the token; it is null where ACLs are off. The CA certificate that Nomad's certificate is checked against is PEM text (ca_certificate), kept in AWS (ca_certificate_secret), or a file of a layer (ca_certificate_path); without one the public authorities are believed. client_certificate_secret and client_key_secret hold what decamp shows where Nomad asks for a certificate (verify_https_client)."
  type = object({
    addresses           = list(string)
    token_secret        = optional(object({ arn = string, kms_key_arn = optional(string) }))
    region              = optional(string)
    tls_server_name     = optional(string)
    ca_certificate      = optional(string)
    ca_certificate_path = optional(string)

    ca_certificate_secret     = optional(object({ arn = string, kms_key_arn = optional(string) }))
    client_certificate_secret = optional(object({ arn = string, kms_key_arn = optional(string) }))
    client_key_secret         = optional(object({ arn = string, kms_key_arn = optional(string) }))
  })
  default = null

  validation {
    condition     = var.nomad != null || 0 < length(var.clusters) || !(var.create && var.create_function)
    error_message = "nomad is missing: say where Nomad's servers are, as in nomad = { addresses = [\"https://nomad.internal:4646\"] }."
  }

  validation {
    condition     = var.nomad == null || (try(0 < length(var.nomad.addresses), false) && alltrue([for address in try(var.nomad.addresses, []) : can(regex("^https?://[^/@?#, ]+/?$", address))]))
    error_message = "nomad.addresses needs at least one address such as https://nomad.internal:4646, without a user, a path or a comma."
  }

  validation {
    condition     = alltrue([for secret in [try(var.nomad.token_secret, null), try(var.nomad.ca_certificate_secret, null), try(var.nomad.client_certificate_secret, null), try(var.nomad.client_key_secret, null)] : can(regex("^arn:[a-z-]+:(ssm:[a-z0-9-]+:[0-9]{12}:parameter/.+|secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+)$", secret.arn)) if secret != null])
    error_message = "The arn of a secret of nomad is not that of an SSM parameter or a Secrets Manager secret. A token or a key itself has no place here: it would be in the state."
  }

  validation {
    condition     = alltrue([for secret in [try(var.nomad.token_secret, null), try(var.nomad.ca_certificate_secret, null), try(var.nomad.client_certificate_secret, null), try(var.nomad.client_key_secret, null)] : !startswith(try(split(":", secret.arn)[2], ""), "secretsmanager") || can(regex(":secret:.+-[A-Za-z0-9]{6}$", secret.arn)) if secret != null])
    error_message = "The arn of a secret of nomad lacks the end that Secrets Manager gave it, a hyphen and six characters: without it the role's policy is of no secret."
  }

  validation {
    condition     = alltrue([for secret in [try(var.nomad.token_secret, null), try(var.nomad.ca_certificate_secret, null), try(var.nomad.client_certificate_secret, null), try(var.nomad.client_key_secret, null)] : secret.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:${local.region}:[0-9]{12}:key/[0-9a-z-]+$", secret.kms_key_arn)) if secret != null])
    error_message = "The kms_key_arn of a secret of nomad is not the ARN of a key of this Region (arn:…:key/ID). An alias does not do: IAM does not know it."
  }

  validation {
    condition     = alltrue([for secret in [try(var.nomad.token_secret, null), try(var.nomad.ca_certificate_secret, null), try(var.nomad.client_certificate_secret, null), try(var.nomad.client_key_secret, null)] : try(join(":", slice(split(":", secret.arn), 3, 5)), "") == "${local.region}:${local.account}" if secret != null])
    error_message = "The arn of a secret of nomad is of another Region or account than this module is applied in: keep it beside the function."
  }

  validation {
    condition     = length([for one in [try(var.nomad.ca_certificate, null), try(var.nomad.ca_certificate_path, null), try(var.nomad.ca_certificate_secret.arn, null)] : one if one != null]) <= 1
    error_message = "nomad has its CA certificate in more than one of ca_certificate, ca_certificate_path and ca_certificate_secret: name one of them."
  }

  validation {
    condition     = try(var.nomad.ca_certificate, null) == null || (can(regex("-----BEGIN CERTIFICATE-----", var.nomad.ca_certificate)) && !can(regex("PRIVATE KEY", var.nomad.ca_certificate)) && try(length(var.nomad.ca_certificate) <= 8192, false))
    error_message = "nomad.ca_certificate is not PEM text of certificates (-----BEGIN CERTIFICATE-----), holds a private key, or has more than the 8192 characters that a parameter takes."
  }

  validation {
    condition     = var.nomad == null || length(var.clusters) == 0
    error_message = "nomad stands beside clusters: write the cluster that it is of as one of these."
  }

  validation {
    condition     = (try(var.nomad.client_certificate_secret, null) == null) == (try(var.nomad.client_key_secret, null) == null)
    error_message = "nomad has one of client_certificate_secret and client_key_secret: they belong together, set both or neither."
  }
}

variable "consul" {
  description = "How the function reaches Consul. Null: services are not registered there, and nobody looks. The attributes are those of `nomad`."
  type = object({
    addresses           = list(string)
    token_secret        = optional(object({ arn = string, kms_key_arn = optional(string) }))
    datacenter          = optional(string)
    tls_server_name     = optional(string)
    ca_certificate      = optional(string)
    ca_certificate_path = optional(string)

    ca_certificate_secret     = optional(object({ arn = string, kms_key_arn = optional(string) }))
    client_certificate_secret = optional(object({ arn = string, kms_key_arn = optional(string) }))
    client_key_secret         = optional(object({ arn = string, kms_key_arn = optional(string) }))
  })
  default = null

  validation {
    condition     = var.consul == null || (try(0 < length(var.consul.addresses), false) && alltrue([for address in try(var.consul.addresses, []) : can(regex("^https?://[^/@?#, ]+/?$", address))]))
    error_message = "consul.addresses needs at least one address such as https://consul.internal:8501, without a user, a path or a comma."
  }

  validation {
    condition     = alltrue([for secret in [try(var.consul.token_secret, null), try(var.consul.ca_certificate_secret, null), try(var.consul.client_certificate_secret, null), try(var.consul.client_key_secret, null)] : can(regex("^arn:[a-z-]+:(ssm:[a-z0-9-]+:[0-9]{12}:parameter/.+|secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+)$", secret.arn)) if secret != null])
    error_message = "The arn of a secret of consul is not that of an SSM parameter or a Secrets Manager secret. A token or a key itself has no place here: it would be in the state."
  }

  validation {
    condition     = alltrue([for secret in [try(var.consul.token_secret, null), try(var.consul.ca_certificate_secret, null), try(var.consul.client_certificate_secret, null), try(var.consul.client_key_secret, null)] : !startswith(try(split(":", secret.arn)[2], ""), "secretsmanager") || can(regex(":secret:.+-[A-Za-z0-9]{6}$", secret.arn)) if secret != null])
    error_message = "The arn of a secret of consul lacks the end that Secrets Manager gave it, a hyphen and six characters: without it the role's policy is of no secret."
  }

  validation {
    condition     = alltrue([for secret in [try(var.consul.token_secret, null), try(var.consul.ca_certificate_secret, null), try(var.consul.client_certificate_secret, null), try(var.consul.client_key_secret, null)] : secret.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:${local.region}:[0-9]{12}:key/[0-9a-z-]+$", secret.kms_key_arn)) if secret != null])
    error_message = "The kms_key_arn of a secret of consul is not the ARN of a key of this Region (arn:…:key/ID). An alias does not do: IAM does not know it."
  }

  validation {
    condition     = alltrue([for secret in [try(var.consul.token_secret, null), try(var.consul.ca_certificate_secret, null), try(var.consul.client_certificate_secret, null), try(var.consul.client_key_secret, null)] : try(join(":", slice(split(":", secret.arn), 3, 5)), "") == "${local.region}:${local.account}" if secret != null])
    error_message = "The arn of a secret of consul is of another Region or account than this module is applied in: keep it beside the function."
  }

  validation {
    condition     = length([for one in [try(var.consul.ca_certificate, null), try(var.consul.ca_certificate_path, null), try(var.consul.ca_certificate_secret.arn, null)] : one if one != null]) <= 1
    error_message = "consul has its CA certificate in more than one of ca_certificate, ca_certificate_path and ca_certificate_secret: name one of them."
  }

  validation {
    condition     = try(var.consul.ca_certificate, null) == null || (can(regex("-----BEGIN CERTIFICATE-----", var.consul.ca_certificate)) && !can(regex("PRIVATE KEY", var.consul.ca_certificate)) && try(length(var.consul.ca_certificate) <= 8192, false))
    error_message = "consul.ca_certificate is not PEM text of certificates (-----BEGIN CERTIFICATE-----), holds a private key, or has more than the 8192 characters that a parameter takes."
  }

  validation {
    condition     = var.consul == null || length(var.clusters) == 0
    error_message = "consul stands beside clusters: write the cluster that it is of as one of these."
  }

  validation {
    condition     = (try(var.consul.client_certificate_secret, null) == null) == (try(var.consul.client_key_secret, null) == null)
    error_message = "consul has one of client_certificate_secret and client_key_secret: they belong together, set both or neither."
  }
}

variable "clusters" {
  description = "Several Nomad clusters instead of the one of `nomad` and `consul`, by a name of yours. groups are labels of autoscaling_groups: each label belongs to one cluster. nomad and consul have the attributes of these inputs. How they are reached is kept in the parameter that `config` writes."
  type = map(object({
    groups = list(string)
    nomad = object({
      addresses           = list(string)
      token_secret        = optional(object({ arn = string, kms_key_arn = optional(string) }))
      region              = optional(string)
      tls_server_name     = optional(string)
      ca_certificate      = optional(string)
      ca_certificate_path = optional(string)

      ca_certificate_secret     = optional(object({ arn = string, kms_key_arn = optional(string) }))
      client_certificate_secret = optional(object({ arn = string, kms_key_arn = optional(string) }))
      client_key_secret         = optional(object({ arn = string, kms_key_arn = optional(string) }))
    })
    consul = optional(object({
      addresses           = list(string)
      token_secret        = optional(object({ arn = string, kms_key_arn = optional(string) }))
      datacenter          = optional(string)
      tls_server_name     = optional(string)
      ca_certificate      = optional(string)
      ca_certificate_path = optional(string)

      ca_certificate_secret     = optional(object({ arn = string, kms_key_arn = optional(string) }))
      client_certificate_secret = optional(object({ arn = string, kms_key_arn = optional(string) }))
      client_key_secret         = optional(object({ arn = string, kms_key_arn = optional(string) }))
    }))
  }))
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for name in keys(var.clusters) : can(regex("^[A-Za-z0-9_-]{1,64}$", name))])
    error_message = "A name in clusters is not made of at most 64 letters, digits, - and _."
  }

  validation {
    condition     = length(var.clusters) == 0 || jsonencode(sort(flatten(values(var.clusters)[*].groups))) == jsonencode(sort(keys(var.autoscaling_groups)))
    error_message = "The groups of clusters are not the labels of autoscaling_groups, each in one cluster."
  }

  validation {
    condition     = alltrue([for one in flatten([for cluster in values(var.clusters) : [for one in [cluster.nomad, cluster.consul] : one if one != null]]) : 0 < length(one.addresses) && alltrue([for address in one.addresses : can(regex("^https?://[^/@?#, ]+/?$", address))])])
    error_message = "The nomad or consul of a cluster needs at least one address such as https://nomad.internal:4646, without a user, a path or a comma."
  }

  validation {
    condition     = alltrue([for secret in flatten([for one in flatten([for cluster in values(var.clusters) : [for one in [cluster.nomad, cluster.consul] : one if one != null]]) : [for secret in [one.token_secret, one.ca_certificate_secret, one.client_certificate_secret, one.client_key_secret] : secret if secret != null]]) : can(regex("^arn:[a-z-]+:(ssm:${local.region}:${local.account}:parameter/.+|secretsmanager:${local.region}:${local.account}:secret:.+-[A-Za-z0-9]{6})$", secret.arn))])
    error_message = "The arn of a secret in clusters is not that of an SSM parameter or a Secrets Manager secret (with the six characters at its end) of this Region and account. A token or a key itself has no place here: it would be in the state."
  }

  validation {
    condition     = alltrue([for secret in flatten([for one in flatten([for cluster in values(var.clusters) : [for one in [cluster.nomad, cluster.consul] : one if one != null]]) : [for secret in [one.token_secret, one.ca_certificate_secret, one.client_certificate_secret, one.client_key_secret] : secret if secret != null]]) : secret.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:${local.region}:[0-9]{12}:key/[0-9a-z-]+$", secret.kms_key_arn))])
    error_message = "The kms_key_arn of a secret in clusters is not the ARN of a key of this Region (arn:…:key/ID). An alias does not do: IAM does not know it."
  }

  validation {
    condition     = alltrue([for one in flatten([for cluster in values(var.clusters) : [for one in [cluster.nomad, cluster.consul] : one if one != null]]) : length([for place in [one.ca_certificate, one.ca_certificate_path, one.ca_certificate_secret] : true if place != null]) <= 1])
    error_message = "The nomad or consul of a cluster has its CA certificate in more than one of ca_certificate, ca_certificate_path and ca_certificate_secret: name one of them."
  }

  validation {
    condition     = alltrue([for one in flatten([for cluster in values(var.clusters) : [for one in [cluster.nomad, cluster.consul] : one if one != null]]) : one.ca_certificate == null || (can(regex("-----BEGIN CERTIFICATE-----", one.ca_certificate)) && !can(regex("PRIVATE KEY", one.ca_certificate)) && try(length(one.ca_certificate) <= 8192, false))])
    error_message = "A ca_certificate in clusters is not PEM text of certificates (-----BEGIN CERTIFICATE-----), holds a private key, or has more than the 8192 characters that a parameter takes."
  }

  validation {
    condition     = alltrue([for one in flatten([for cluster in values(var.clusters) : [for one in [cluster.nomad, cluster.consul] : one if one != null]]) : (one.client_certificate_secret == null) == (one.client_key_secret == null)])
    error_message = "The nomad or consul of a cluster has one of client_certificate_secret and client_key_secret: they belong together, set both or neither."
  }
}

variable "mode" {
  description = "act, or observe: look, decide and log, and write nothing."
  type        = string
  default     = "act"
  nullable    = false

  validation {
    condition     = contains(["act", "observe"], var.mode)
    error_message = "mode must be act or observe."
  }
}

variable "departure" {
  description = "How long a departure may take (max, reserve; seconds), what happens at its end, and what the slowest one needs: the longest deregistration delay of its target groups (at least 120 for Network Load Balancers), the longest stop of an allocation (shutdown_delay and kill_timeout), and what one pass of the function has to wait by itself (guard): 0 with Nomad 1.5 and later, which keeps the beginning of that wait for the next pass; with an older Nomad 120 where a Network Load Balancer has a shorter deregistration delay, else 10."
  type = object({
    max                  = optional(number, 7200)
    reserve              = optional(number, 30)
    on_timeout           = optional(string, "continue")
    never_force          = optional(bool, false)
    ignore_system_jobs   = optional(bool, false)
    deregistration_delay = optional(number, 300)
    longest_stop         = optional(number, 120)
    guard                = optional(number, 0)
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.departure.max <= 172800
    error_message = "departure.max is longer than any lifecycle hook can wait: set at most 172800 (two days)."
  }

  validation {
    condition     = var.departure.reserve < var.departure.max
    error_message = "departure.reserve leaves nothing of departure.max: make the reserve shorter or the departure longer."
  }

  validation {
    condition     = 5 < var.departure.reserve
    error_message = "departure.reserve must be longer than one call may take, 5 s, or the last call would not land: set it to 30."
  }

  validation {
    condition     = contains(["continue", "abandon"], var.departure.on_timeout)
    error_message = "departure.on_timeout must be continue or abandon."
  }

  validation {
    condition     = 0 <= var.departure.deregistration_delay && var.departure.deregistration_delay <= 3600
    error_message = "departure.deregistration_delay is outside of what Elastic Load Balancing takes, 0 to 3600 s."
  }

  validation {
    condition     = 0 <= var.departure.longest_stop && 0 <= var.departure.guard && alltrue([for number in [var.departure.max, var.departure.reserve, var.departure.deregistration_delay, var.departure.longest_stop, var.departure.guard] : floor(number) == number])
    error_message = "The times of departure are whole seconds, and longest_stop and guard are not negative."
  }
}

variable "settings" {
  description = "Further settings of decamp by the names of their variables (see the README of the repository), for those that have no input of their own."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex("^((DECAMP|NOMAD|CONSUL)_[A-Z_]+|NO_PROXY)$", name))])
    error_message = "A name in settings is not one of decamp's: they begin with DECAMP_, NOMAD_ or CONSUL_, or are NO_PROXY."
  }

  validation {
    condition     = length(setintersection(keys(var.settings), ["NOMAD_TOKEN", "CONSUL_HTTP_TOKEN"])) == 0
    error_message = "settings holds a token, which would be in the state and in the function's environment: use nomad.token_secret or consul.token_secret."
  }

  validation {
    condition     = length(setintersection(keys(var.settings), keys(local.environment))) == 0
    error_message = "settings names a variable that an input of this module sets already: use the input."
  }
}

variable "config" {
  description = "Further settings, as `settings` has them, that are kept in a parameter (SSM) instead of the function's environment, which has 4 KB. With it, if only {}, the lists that grow with the groups are kept there too (DECAMP_GROUPS, DECAMP_HOOKS, DECAMP_TARGET_GROUPS). Null: everything is in the environment."
  type        = map(string)
  default     = null

  validation {
    condition     = alltrue([for name in keys(coalesce(var.config, {})) : can(regex("^((DECAMP|NOMAD|CONSUL)_[A-Z_]+|NO_PROXY)$", name)) && name != "DECAMP_CONFIG"])
    error_message = "A name in config is not one of decamp's: they begin with DECAMP_, NOMAD_ or CONSUL_, or are NO_PROXY; DECAMP_CONFIG is the module's own."
  }

  validation {
    condition     = length(setintersection(keys(coalesce(var.config, {})), ["NOMAD_TOKEN", "CONSUL_HTTP_TOKEN"])) == 0
    error_message = "config holds a token, which would be in the state and in a parameter that is not encrypted: use nomad.token_secret or consul.token_secret."
  }

  validation {
    condition     = length(setintersection(keys(coalesce(var.config, {})), concat(keys(local.environment), keys(var.settings)))) == 0
    error_message = "config names a variable that another input of this module sets already."
  }
}

variable "function_timeout" {
  description = "Seconds after which a pass ends and the message is handed back."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = 1 <= var.function_timeout && var.function_timeout <= 900 && floor(var.function_timeout) == var.function_timeout
    error_message = "function_timeout is outside of what Lambda takes, 1 to 900 whole seconds."
  }
}

variable "visibility_timeout" {
  description = "Seconds for which a message is hidden while a pass has it; the time after which a pass that crashed is made up for."
  type        = number
  default     = 360
  nullable    = false

  validation {
    condition     = 0 <= var.visibility_timeout && var.visibility_timeout <= 43200 && floor(var.visibility_timeout) == var.visibility_timeout
    error_message = "visibility_timeout is outside of what SQS takes, 0 to 43200 whole seconds."
  }
}

variable "sweep_period" {
  description = "Minutes between two sweeps, which find the instances whose event was lost and keep all hooks alive."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = 1 <= var.sweep_period && var.sweep_period <= 60 && floor(var.sweep_period) == var.sweep_period
    error_message = "sweep_period must be a whole number of minutes from 1 to 60."
  }
}

variable "max_receive_count" {
  description = "How often a message is received before it becomes a dead letter. Each pass of a departure is one."
  type        = number
  default     = 500
  nullable    = false

  validation {
    condition     = 5 <= var.max_receive_count && floor(var.max_receive_count) == var.max_receive_count
    error_message = "max_receive_count must be a whole number of at least 5: throttled invocations count as receives too."
  }
}

variable "message_retention" {
  description = "Seconds that the queue keeps a message."
  type        = number
  default     = 345600
  nullable    = false

  validation {
    condition     = 60 <= var.message_retention && var.message_retention <= 1209600
    error_message = "message_retention is outside of what SQS takes, 60 to 1209600 s."
  }
}

variable "dead_letter_retention" {
  description = "Seconds that the dead-letter queue keeps a message, counted from when it was first sent."
  type        = number
  default     = 1209600
  nullable    = false

  validation {
    condition     = 60 <= var.dead_letter_retention && var.dead_letter_retention <= 1209600
    error_message = "dead_letter_retention is outside of what SQS takes, 60 to 1209600 s."
  }
}

variable "batch_size" {
  description = "Messages that one invocation gets. With one, a departure never waits for another."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = 1 <= var.batch_size && var.batch_size <= 10
    error_message = "batch_size must be between 1 and 10."
  }
}

variable "maximum_concurrency" {
  description = "Departures that are walked at the same time. Further ones are moved by the sweep, a step a minute."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = 2 <= var.maximum_concurrency && var.maximum_concurrency <= 1000
    error_message = "maximum_concurrency is outside of what Lambda takes for a queue, 2 to 1000."
  }
}

variable "events" {
  description = "Further events that the function hears: spot interruptions (it makes the best of two minutes), rebalance recommendations and scheduled changes (it logs and counts them; see replace). None of them says whose instance it is; the function looks it up."
  type = object({
    spot_interruption = optional(bool, false)
    rebalance         = optional(bool, false)
    scheduled_change  = optional(bool, false)
  })
  default  = {}
  nullable = false
}

variable "replace" {
  description = "Which of these events make decamp ask Auto Scaling to replace the instance, which then leaves through its hook: never, rebalance, scheduled or both. Their rules come with it. Not rebalance where the group has capacity_rebalance, which replaces such instances itself."
  type        = string
  default     = "never"
  nullable    = false

  validation {
    condition     = contains(["never", "rebalance", "scheduled", "both"], var.replace)
    error_message = "replace must be never, rebalance, scheduled or both."
  }
}

variable "replace_ahead" {
  description = "Seconds before a scheduled change at which its instance is replaced. Until then the event waits on the queue; if message_retention is shorter than that, the instance is replaced half a day before the queue drops the event."
  type        = number
  default     = 86400
  nullable    = false

  validation {
    condition     = 0 <= var.replace_ahead && floor(var.replace_ahead) == var.replace_ahead
    error_message = "replace_ahead must be a whole number of seconds, 0 or more."
  }
}

variable "service" {
  description = "What service_policy_json allows besides, for decamp as a service: topic_arns are the topics whose subscriptions it confirms, secrets the parameters and secrets that its settings name (Nomad's and Consul's are of `nomad` and `consul`); with refresh it may start instance refreshes of the groups, when a webhook or Terraform's notification says so."
  type = object({
    topic_arns = optional(list(string), [])
    refresh    = optional(bool, false)
    secrets    = optional(list(object({ arn = string, kms_key_arn = optional(string) })), [])
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for arn in var.service.topic_arns : can(regex("^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\\.fifo)?$", arn))])
    error_message = "service.topic_arns has what is not the ARN of an SNS topic."
  }

  validation {
    condition     = alltrue([for secret in var.service.secrets : can(regex("^arn:[a-z-]+:(ssm:[a-z0-9-]+:[0-9]{12}:parameter/.+|secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+)$", secret.arn))])
    error_message = "service.secrets has what is not the ARN of an SSM parameter or a Secrets Manager secret. A secret itself has no place here: it would be in the state."
  }

  validation {
    condition     = alltrue([for secret in var.service.secrets : !startswith(try(split(":", secret.arn)[2], ""), "secretsmanager") || can(regex(":secret:.+-[A-Za-z0-9]{6}$", secret.arn))])
    error_message = "An ARN in service.secrets lacks the end that Secrets Manager gave it, a hyphen and six characters: without it the role's policy is of no secret."
  }

  validation {
    condition     = alltrue([for secret in var.service.secrets : secret.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:${local.region}:[0-9]{12}:key/[0-9a-z-]+$", secret.kms_key_arn))])
    error_message = "A kms_key_arn in service.secrets is not the ARN of a key of this Region (arn:…:key/ID). An alias does not do: IAM does not know it."
  }

  validation {
    condition     = alltrue([for secret in var.service.secrets : try(join(":", slice(split(":", secret.arn), 3, 5)), "") == "${local.region}:${local.account}"])
    error_message = "service.secrets has the ARN of another Region or account than this module is applied in: keep secrets beside the service."
  }
}

variable "vpc_config" {
  description = "The subnets to reach Nomad and Consul from. Null: the function is in no VPC. With security_group_ids these groups are yours; without, one is created in vpc_id with `egress` (by a label of yours) and no ingress. ipv6 lets the function use IPv6 in subnets that have both."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = optional(list(string), [])
    vpc_id             = optional(string)
    ipv6               = optional(bool, false)
    egress = optional(map(object({
      port                         = number
      description                  = optional(string)
      cidr_ipv4                    = optional(string)
      cidr_ipv6                    = optional(string)
      prefix_list_id               = optional(string)
      referenced_security_group_id = optional(string)
    })), {})
  })
  default = null

  validation {
    condition     = var.vpc_config == null || try(0 < length(var.vpc_config.subnet_ids), false)
    error_message = "vpc_config.subnet_ids is empty: name at least one subnet, two for two zones."
  }

  validation {
    condition     = var.vpc_config == null || try(0 < length(var.vpc_config.security_group_ids), false) || (try(var.vpc_config.vpc_id, null) != null && try(0 < length(var.vpc_config.egress), false))
    error_message = "vpc_config needs security_group_ids, or vpc_id and egress for a security group of its own: without a way out the function reaches nothing."
  }

  validation {
    condition     = try(length(var.vpc_config.security_group_ids), 0) == 0 || try(length(var.vpc_config.egress), 0) == 0
    error_message = "vpc_config has egress beside security_group_ids, and nothing would come of it: a group of yours has rules of yours. Take one of them out."
  }

  validation {
    condition     = try(var.vpc_config.ipv6, true) || alltrue([for rule in try(values(var.vpc_config.egress), []) : rule.cidr_ipv6 == null])
    error_message = "A rule of vpc_config.egress has cidr_ipv6, and the function has no IPv6: set vpc_config.ipv6 = true where the subnets have it."
  }

  validation {
    condition     = alltrue([for rule in try(values(var.vpc_config.egress), []) : 1 <= rule.port && rule.port <= 65535])
    error_message = "A port in vpc_config.egress is not between 1 and 65535."
  }

  validation {
    condition     = alltrue([for rule in try(values(var.vpc_config.egress), []) : length([for to in [rule.cidr_ipv4, rule.cidr_ipv6, rule.prefix_list_id, rule.referenced_security_group_id] : to if to != null]) == 1])
    error_message = "A rule of vpc_config.egress needs exactly one of cidr_ipv4, cidr_ipv6, prefix_list_id and referenced_security_group_id."
  }
}

variable "kms_key_arn" {
  description = "A key of yours for the queues, the log and the function's environment. Its policy must let events.amazonaws.com and logs.REGION.amazonaws.com use it. Null: AWS's own keys."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[0-9a-z-]+$", var.kms_key_arn))
    error_message = "kms_key_arn is not the ARN of a key (arn:…:key/ID). An alias does not do: IAM does not know it."
  }

  validation {
    condition     = var.kms_key_arn == null || try(split(":", var.kms_key_arn)[3], "") == local.region
    error_message = "kms_key_arn is of another Region than this module is applied in: the queues could not use it."
  }
}

variable "log_level" {
  description = "How much the function logs: info, debug or trace."
  type        = string
  default     = "info"
  nullable    = false

  validation {
    condition     = contains(["info", "debug", "trace"], var.log_level)
    error_message = "log_level must be info, debug or trace: the metrics travel in the log without a level, which Lambda takes for info, so that a higher level would silence every alarm."
  }
}

variable "log_retention_in_days" {
  description = "Days that the log is kept."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_in_days)
    error_message = "log_retention_in_days is none of the numbers that CloudWatch takes: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "alarm_actions" {
  description = "What alarms notify: ARNs of SNS topics and the like."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.alarm_actions : can(regex("^arn:[a-z-]+:[a-z0-9-]+:", arn))])
    error_message = "An entry of alarm_actions is not an ARN."
  }

  validation {
    condition     = alltrue([for arn in var.alarm_actions : contains(["", local.region], try(split(":", arn)[3], "none"))])
    error_message = "An entry of alarm_actions is of another Region than this module is applied in: CloudWatch notifies its own Region only."
  }
}

variable "create_alarms" {
  description = "Whether alarms are created."
  type        = bool
  default     = true
  nullable    = false
}

variable "alarms" {
  description = "When alarms go off: the age of the oldest message that was received three times at most, in seconds (null: departure.max and one visibility_timeout; with replace of scheduled changes, six hours less than message_retention, because their events wait on the queue), the minutes without a sweep, and the outcomes of departures that a person should look at."
  type = object({
    message_age            = optional(number)
    minutes_without_sweeps = optional(number, 15)
    outcomes               = optional(list(string), ["forced", "unconfirmed", "timed-out", "retained", "agent-dead", "no-node", "expired"])
  })
  default  = {}
  nullable = false

  validation {
    condition     = var.alarms.message_age == null || try(0 < var.alarms.message_age, false)
    error_message = "alarms.message_age must be a positive number of seconds."
  }

  validation {
    condition     = 5 <= var.alarms.minutes_without_sweeps && var.alarms.minutes_without_sweeps % 5 == 0 && var.sweep_period < var.alarms.minutes_without_sweeps
    error_message = "alarms.minutes_without_sweeps must be a multiple of 5, and longer than sweep_period."
  }

  validation {
    condition     = var.alarms.minutes_without_sweeps <= 1440
    error_message = "alarms.minutes_without_sweeps is longer than a day (1440), the most that CloudWatch looks back for an alarm."
  }

  validation {
    condition     = 1 <= length(var.alarms.outcomes) && length(var.alarms.outcomes) <= 9 && length(setsubtract(var.alarms.outcomes, local.outcomes)) == 0
    error_message = "alarms.outcomes must be 1 to 9 of decamp's outcomes, which its README lists."
  }
}

variable "create_dashboard" {
  description = "Whether a dashboard is created."
  type        = bool
  default     = true
  nullable    = false
}

variable "role_arn" {
  description = "The function's role, where it is yours: no role is created, and this one needs the output role_policy_json. Null: one is created."
  type        = string
  default     = null

  validation {
    condition     = var.role_arn == null || can(regex("^arn:[a-z-]+:iam::${local.account}:role/.+$", var.role_arn))
    error_message = "role_arn is not the ARN of a role of this account."
  }

  validation {
    condition     = var.role_arn == null || (var.permissions_boundary_arn == null && var.role_path == "/")
    error_message = "role_arn is a role of yours, which has its own boundary and path: take permissions_boundary_arn and role_path out."
  }
}

variable "role_statements" {
  description = "Further statements of the role's policy."
  type = list(object({
    sid       = string
    effect    = optional(string, "Allow")
    actions   = list(string)
    resources = list(string)
  }))
  default  = []
  nullable = false

  validation {
    condition     = alltrue([for statement in var.role_statements : can(regex("^[A-Za-z0-9]+$", statement.sid)) && contains(["Allow", "Deny"], statement.effect)])
    error_message = "An entry of role_statements has a sid with other characters than letters and digits, or an effect other than Allow and Deny."
  }
}

variable "permissions_boundary_arn" {
  description = "The permissions boundary of the function's role."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:[a-z-]+:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn is not the ARN of a policy."
  }
}

variable "role_path" {
  description = "The path of the function's role."
  type        = string
  default     = "/"
  nullable    = false

  validation {
    condition     = can(regex("^/([A-Za-z0-9._-]+/)*$", var.role_path))
    error_message = "role_path must begin and end with a slash."
  }
}

variable "tags" {
  description = "Tags of everything."
  type        = map(string)
  default     = {}
  nullable    = false
}
