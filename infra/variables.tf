variable "create" {
  description = "Whether to create anything."
  type        = bool
  default     = true
  nullable    = false
}

variable "create_function" {
  description = "Whether to create the function. Without it the module creates the queue, the rules, the hooks and their alarms for `decamp serve`."
  type        = bool
  default     = true
  nullable    = false
}

variable "name" {
  description = "The name of the resources, and the prefix of their names where there are several of a kind."
  type        = string
  default     = "decamp"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9-]{0,39}$", var.name))
    error_message = "name must begin with a letter and have at most 40 letters, digits and hyphens, because the module appends to it."
  }
}

variable "region" {
  description = "The Region of all resources. Null: the provider's Region."
  type        = string
  default     = null

  validation {
    condition     = var.region == null || can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region must be the name of a Region, such as eu-west-1."
  }
}

variable "autoscaling_groups" {
  description = "The Auto Scaling groups whose instances decamp drains. Each key is a label of your choice that must never change. name is the name of a group. name_prefix is the prefix that the group was created with: the rule, the role and the settings then cover every group with this prefix. target_group_arns lists all target groups that hold the group's instances, attached or not: decamp deregisters from these and from no others. create_hook says whether the module creates the hook (default: true, or false with name_prefix). With false, the group itself must have the hook (initial_lifecycle_hook)."
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
    error_message = "An entry of autoscaling_groups needs either name or name_prefix. It may have both only with create_hook = true: the module then creates the hook in the group called name, and the rule, the role and the settings cover name_prefix."
  }

  validation {
    condition     = alltrue([for group in values(var.autoscaling_groups) : group.name != null || group.create_hook != true])
    error_message = "An entry of autoscaling_groups has create_hook = true and no name: the module cannot create a hook in a group of which it knows only the prefix. Give the group the hook in the output initial_lifecycle_hooks."
  }

  validation {
    condition     = alltrue([for group in values(var.autoscaling_groups) : can(regex("^[^\\x00-\\x1f:,*?]{1,255}$", group.name == null ? group.name_prefix : group.name))])
    error_message = "A name in autoscaling_groups is empty, longer than 255 characters, or contains a colon, a comma, a star, a question mark or a line break: write the group's name, not its ARN, and a prefix without a star."
  }

  validation {
    condition     = length(distinct([for group in values(var.autoscaling_groups) : group.name == null ? group.name_prefix : group.name])) == length(var.autoscaling_groups)
    error_message = "Two labels of autoscaling_groups have the same name. A group has one hook for decamp: remove one of them."
  }

  validation {
    condition = alltrue(flatten([for label, group in var.autoscaling_groups : [
      for other, prefixed in var.autoscaling_groups : label == other || prefixed.name_prefix == null || !try(startswith(group.name == null ? group.name_prefix : group.name, prefixed.name_prefix), false)
    ]]))
    error_message = "A name_prefix of autoscaling_groups covers another entry, whose groups would be counted twice. Remove that entry, or choose a longer prefix."
  }

  validation {
    condition     = alltrue([for group in values(var.autoscaling_groups) : 30 <= group.heartbeat_timeout && group.heartbeat_timeout <= 7200 && floor(group.heartbeat_timeout) == group.heartbeat_timeout])
    error_message = "A heartbeat_timeout in autoscaling_groups must be 30 to 7200 whole seconds, the limits of Auto Scaling."
  }

  validation {
    condition     = alltrue([for group in values(var.autoscaling_groups) : contains(["CONTINUE", "ABANDON"], group.default_result)])
    error_message = "A default_result in autoscaling_groups must be CONTINUE or ABANDON."
  }

  validation {
    condition     = alltrue([for arn in flatten(values(var.autoscaling_groups)[*].target_group_arns) : can(regex("^arn:[a-z-]+:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:targetgroup/[^/]+/[0-9a-f]+$", arn))])
    error_message = "An entry of target_group_arns is not the ARN of a target group (arn:…:targetgroup/NAME/ID)."
  }

  validation {
    condition     = alltrue([for arn in flatten(values(var.autoscaling_groups)[*].target_group_arns) : startswith(arn, "arn:${local.partition}:elasticloadbalancing:${local.region}:${local.account}:")])
    error_message = "An entry of target_group_arns is in another Region or account than this module is applied in. One call of the module covers one Region of one account: call the module there too."
  }

  validation {
    condition     = alltrue([for group in values(var.autoscaling_groups) : length(jsonencode({ target_groups = group.target_group_arns })) <= 4000])
    error_message = "A group has more target_group_arns than fit into its hook's metadata (4000 characters, about 40 ARNs): set scan_target_groups = true instead."
  }
}

variable "hook_name" {
  description = "The name of the lifecycle hooks. Null: the value of `name`. To change it, see former_hook_names."
  type        = string
  default     = null

  validation {
    condition     = var.hook_name == null || can(regex("^[A-Za-z0-9_/-]{1,255}$", var.hook_name))
    error_message = "hook_name must have 1 to 255 letters, digits, hyphens, underscores and slashes."
  }
}

variable "former_hook_names" {
  description = "Names that the hooks had before hook_name was changed. The module keeps these hooks beside the new ones, and decamp completes both. Remove a name only when no instance waits in its hook: when a hook is deleted, Auto Scaling terminates the instances that wait in it."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for name in var.former_hook_names : can(regex("^[A-Za-z0-9_/-]{1,255}$", name))])
    error_message = "A name in former_hook_names must have 1 to 255 letters, digits, hyphens, underscores and slashes."
  }
}

variable "scan_target_groups" {
  description = "Search every target group in the account for the instance, and allow deregistration from all of them. For target groups that you cannot list beforehand."
  type        = bool
  default     = false
  nullable    = false
}

variable "classic_load_balancers" {
  description = "Names of the Classic Load Balancers that decamp may deregister instances from. Needed only if one is attached to a group."
  type        = list(string)
  default     = []
  nullable    = false
}

variable "lambda_package" {
  description = "The function's zip: a path, or a bucket and key with the object's version or the SHA-256 of the zip in base64 (Terraform notices an update by one of these). Null: the module downloads the zip of its own release and checks its sum. Terraform never builds a zip."
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
    error_message = "lambda_package is missing, and this version of the module belongs to no release whose zip could be downloaded: name the zip that `just package` made, use a released version of the module, or set create_function = false."
  }

  validation {
    condition     = var.lambda_package == null || (try(var.lambda_package.path, null) == null) != (try(var.lambda_package.s3_bucket, null) == null)
    error_message = "lambda_package needs either path, or s3_bucket with s3_key, and not both."
  }

  validation {
    condition     = (try(var.lambda_package.s3_bucket, null) == null) == (try(var.lambda_package.s3_key, null) == null)
    error_message = "In lambda_package, set both s3_bucket and s3_key or neither."
  }

  validation {
    condition     = try(var.lambda_package.s3_bucket, null) == null || try(var.lambda_package.s3_object_version, null) != null || try(var.lambda_package.source_code_hash, null) != null
    error_message = "A zip in S3 needs s3_object_version or source_code_hash (base64 of its SHA-256). Without one, Terraform would never deploy a new zip under the same key."
  }

  validation {
    condition     = try(var.lambda_package.path, null) == null || try(fileexists(var.lambda_package.path), false)
    error_message = "There is no file at the path of lambda_package: make it with `just package`, or download it from a release."
  }
}

variable "architecture" {
  description = "The processor architecture of the zip."
  type        = string
  default     = "arm64"
  nullable    = false

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "architecture must be arm64 or x86_64, as in the zip's name."
  }
}

variable "memory_size" {
  description = "The function's memory in MB. Lambda assigns processor time in proportion to it."
  type        = number
  default     = 256
  nullable    = false

  validation {
    condition     = 128 <= var.memory_size && var.memory_size <= 10240
    error_message = "memory_size must be between 128 and 10240 MB."
  }
}

variable "layers" {
  description = "ARNs of Lambda layers, such as one that contains the CA certificate for Nomad under /opt."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.layers : can(regex("^arn:[a-z-]+:lambda:[a-z0-9-]+:[0-9]{12}:layer:[A-Za-z0-9_-]+:[0-9]+$", arn))])
    error_message = "An entry of layers is not the ARN of a layer's version (arn:…:layer:NAME:VERSION)."
  }

  validation {
    condition     = alltrue([for arn in var.layers : try(split(":", arn)[3], "") == local.region])
    error_message = "A layer is in another Region than this module is applied in: Lambda accepts only layers of its own Region."
  }
}

variable "nomad" {
  description = "How the function reaches Nomad. It tries addresses in turn. token_secret names the parameter (SSM) or secret (Secrets Manager) that holds the token; it is null if ACLs are off. The CA certificate for Nomad's certificate is PEM text (ca_certificate), a parameter or secret (ca_certificate_secret), or a file in a layer (ca_certificate_path). Without one the function trusts the public authorities. If Nomad requires a client certificate (verify_https_client), client_certificate_secret and client_key_secret hold decamp's certificate and key."
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
    error_message = "nomad is missing: give the addresses of Nomad's servers, as in nomad = { addresses = [\"https://nomad.internal:4646\"] }."
  }

  validation {
    condition     = var.nomad == null || (try(0 < length(var.nomad.addresses), false) && alltrue([for address in try(var.nomad.addresses, []) : can(regex("^https?://[^/@?#, ]+/?$", address))]))
    error_message = "nomad.addresses needs at least one address such as https://nomad.internal:4646, without a user, a path or a comma."
  }

  validation {
    condition     = alltrue([for secret in [try(var.nomad.token_secret, null), try(var.nomad.ca_certificate_secret, null), try(var.nomad.client_certificate_secret, null), try(var.nomad.client_key_secret, null)] : can(regex("^arn:[a-z-]+:(ssm:[a-z0-9-]+:[0-9]{12}:parameter/.+|secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+)$", secret.arn)) if secret != null])
    error_message = "The arn of a secret of nomad is not the ARN of an SSM parameter or a Secrets Manager secret. Do not write a token or a key itself: Terraform would store it in its state."
  }

  validation {
    condition     = alltrue([for secret in [try(var.nomad.token_secret, null), try(var.nomad.ca_certificate_secret, null), try(var.nomad.client_certificate_secret, null), try(var.nomad.client_key_secret, null)] : !startswith(try(split(":", secret.arn)[2], ""), "secretsmanager") || can(regex(":secret:.+-[A-Za-z0-9]{6}$", secret.arn)) if secret != null])
    error_message = "The arn of a secret of nomad lacks the suffix that Secrets Manager appended, a hyphen and six characters. Without it the role's policy matches no secret."
  }

  validation {
    condition     = alltrue([for secret in [try(var.nomad.token_secret, null), try(var.nomad.ca_certificate_secret, null), try(var.nomad.client_certificate_secret, null), try(var.nomad.client_key_secret, null)] : secret.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:${local.region}:[0-9]{12}:key/[0-9a-z-]+$", secret.kms_key_arn)) if secret != null])
    error_message = "The kms_key_arn of a secret of nomad is not the ARN of a key of this Region (arn:…:key/ID). An alias does not work in an IAM policy."
  }

  validation {
    condition     = alltrue([for secret in [try(var.nomad.token_secret, null), try(var.nomad.ca_certificate_secret, null), try(var.nomad.client_certificate_secret, null), try(var.nomad.client_key_secret, null)] : try(join(":", slice(split(":", secret.arn), 3, 5)), "") == "${local.region}:${local.account}" if secret != null])
    error_message = "The arn of a secret of nomad is in another Region or account than this module is applied in: keep the secret where the function is."
  }

  validation {
    condition     = length([for one in [try(var.nomad.ca_certificate, null), try(var.nomad.ca_certificate_path, null), try(var.nomad.ca_certificate_secret.arn, null)] : one if one != null]) <= 1
    error_message = "nomad has its CA certificate in more than one of ca_certificate, ca_certificate_path and ca_certificate_secret: name one of them."
  }

  validation {
    condition     = try(var.nomad.ca_certificate, null) == null || (can(regex("-----BEGIN CERTIFICATE-----", var.nomad.ca_certificate)) && !can(regex("PRIVATE KEY", var.nomad.ca_certificate)) && try(length(var.nomad.ca_certificate) <= 8192, false))
    error_message = "nomad.ca_certificate must be PEM text of certificates (-----BEGIN CERTIFICATE-----), without a private key, and at most 8192 characters, the limit of a parameter."
  }

  validation {
    condition     = var.nomad == null || length(var.clusters) == 0
    error_message = "nomad and clusters are both set: move nomad into an entry of clusters."
  }

  validation {
    condition     = (try(var.nomad.client_certificate_secret, null) == null) == (try(var.nomad.client_key_secret, null) == null)
    error_message = "nomad has only one of client_certificate_secret and client_key_secret: set both or neither."
  }
}

variable "consul" {
  description = "How the function reaches Consul. The attributes are those of `nomad`, with datacenter instead of region. Null: no service is registered in Consul, and decamp does not call it."
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
    error_message = "The arn of a secret of consul is not the ARN of an SSM parameter or a Secrets Manager secret. Do not write a token or a key itself: Terraform would store it in its state."
  }

  validation {
    condition     = alltrue([for secret in [try(var.consul.token_secret, null), try(var.consul.ca_certificate_secret, null), try(var.consul.client_certificate_secret, null), try(var.consul.client_key_secret, null)] : !startswith(try(split(":", secret.arn)[2], ""), "secretsmanager") || can(regex(":secret:.+-[A-Za-z0-9]{6}$", secret.arn)) if secret != null])
    error_message = "The arn of a secret of consul lacks the suffix that Secrets Manager appended, a hyphen and six characters. Without it the role's policy matches no secret."
  }

  validation {
    condition     = alltrue([for secret in [try(var.consul.token_secret, null), try(var.consul.ca_certificate_secret, null), try(var.consul.client_certificate_secret, null), try(var.consul.client_key_secret, null)] : secret.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:${local.region}:[0-9]{12}:key/[0-9a-z-]+$", secret.kms_key_arn)) if secret != null])
    error_message = "The kms_key_arn of a secret of consul is not the ARN of a key of this Region (arn:…:key/ID). An alias does not work in an IAM policy."
  }

  validation {
    condition     = alltrue([for secret in [try(var.consul.token_secret, null), try(var.consul.ca_certificate_secret, null), try(var.consul.client_certificate_secret, null), try(var.consul.client_key_secret, null)] : try(join(":", slice(split(":", secret.arn), 3, 5)), "") == "${local.region}:${local.account}" if secret != null])
    error_message = "The arn of a secret of consul is in another Region or account than this module is applied in: keep the secret where the function is."
  }

  validation {
    condition     = length([for one in [try(var.consul.ca_certificate, null), try(var.consul.ca_certificate_path, null), try(var.consul.ca_certificate_secret.arn, null)] : one if one != null]) <= 1
    error_message = "consul has its CA certificate in more than one of ca_certificate, ca_certificate_path and ca_certificate_secret: name one of them."
  }

  validation {
    condition     = try(var.consul.ca_certificate, null) == null || (can(regex("-----BEGIN CERTIFICATE-----", var.consul.ca_certificate)) && !can(regex("PRIVATE KEY", var.consul.ca_certificate)) && try(length(var.consul.ca_certificate) <= 8192, false))
    error_message = "consul.ca_certificate must be PEM text of certificates (-----BEGIN CERTIFICATE-----), without a private key, and at most 8192 characters, the limit of a parameter."
  }

  validation {
    condition     = var.consul == null || length(var.clusters) == 0
    error_message = "consul and clusters are both set: move consul into an entry of clusters."
  }

  validation {
    condition     = (try(var.consul.client_certificate_secret, null) == null) == (try(var.consul.client_key_secret, null) == null)
    error_message = "consul has only one of client_certificate_secret and client_key_secret: set both or neither."
  }
}

variable "clusters" {
  description = "Several Nomad clusters instead of the one in `nomad` and `consul`. Each key is a name of your choice. groups are labels of autoscaling_groups; each label belongs to one cluster. nomad and consul have the attributes of these inputs. The module stores them in the parameter that `config` writes."
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
    error_message = "A name in clusters must have 1 to 64 letters, digits, - and _."
  }

  validation {
    condition     = length(var.clusters) == 0 || jsonencode(sort(flatten(values(var.clusters)[*].groups))) == jsonencode(sort(keys(var.autoscaling_groups)))
    error_message = "The groups of clusters must be the labels of autoscaling_groups, each in exactly one cluster."
  }

  validation {
    condition     = alltrue([for one in flatten([for cluster in values(var.clusters) : [for one in [cluster.nomad, cluster.consul] : one if one != null]]) : 0 < length(one.addresses) && alltrue([for address in one.addresses : can(regex("^https?://[^/@?#, ]+/?$", address))])])
    error_message = "The nomad or consul of a cluster needs at least one address such as https://nomad.internal:4646, without a user, a path or a comma."
  }

  validation {
    condition     = alltrue([for secret in flatten([for one in flatten([for cluster in values(var.clusters) : [for one in [cluster.nomad, cluster.consul] : one if one != null]]) : [for secret in [one.token_secret, one.ca_certificate_secret, one.client_certificate_secret, one.client_key_secret] : secret if secret != null]]) : can(regex("^arn:[a-z-]+:(ssm:${local.region}:${local.account}:parameter/.+|secretsmanager:${local.region}:${local.account}:secret:.+-[A-Za-z0-9]{6})$", secret.arn))])
    error_message = "The arn of a secret in clusters is not the ARN of an SSM parameter or a Secrets Manager secret (with the six characters at its end) of this Region and account. Do not write a token or a key itself: Terraform would store it in its state."
  }

  validation {
    condition     = alltrue([for secret in flatten([for one in flatten([for cluster in values(var.clusters) : [for one in [cluster.nomad, cluster.consul] : one if one != null]]) : [for secret in [one.token_secret, one.ca_certificate_secret, one.client_certificate_secret, one.client_key_secret] : secret if secret != null]]) : secret.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:${local.region}:[0-9]{12}:key/[0-9a-z-]+$", secret.kms_key_arn))])
    error_message = "The kms_key_arn of a secret in clusters is not the ARN of a key of this Region (arn:…:key/ID). An alias does not work in an IAM policy."
  }

  validation {
    condition     = alltrue([for one in flatten([for cluster in values(var.clusters) : [for one in [cluster.nomad, cluster.consul] : one if one != null]]) : length([for place in [one.ca_certificate, one.ca_certificate_path, one.ca_certificate_secret] : true if place != null]) <= 1])
    error_message = "The nomad or consul of a cluster has its CA certificate in more than one of ca_certificate, ca_certificate_path and ca_certificate_secret: name one of them."
  }

  validation {
    condition     = alltrue([for one in flatten([for cluster in values(var.clusters) : [for one in [cluster.nomad, cluster.consul] : one if one != null]]) : one.ca_certificate == null || (can(regex("-----BEGIN CERTIFICATE-----", one.ca_certificate)) && !can(regex("PRIVATE KEY", one.ca_certificate)) && try(length(one.ca_certificate) <= 8192, false))])
    error_message = "A ca_certificate in clusters must be PEM text of certificates (-----BEGIN CERTIFICATE-----), without a private key, and at most 8192 characters, the limit of a parameter."
  }

  validation {
    condition     = alltrue([for one in flatten([for cluster in values(var.clusters) : [for one in [cluster.nomad, cluster.consul] : one if one != null]]) : (one.client_certificate_secret == null) == (one.client_key_secret == null)])
    error_message = "The nomad or consul of a cluster has only one of client_certificate_secret and client_key_secret: set both or neither."
  }
}

variable "mode" {
  description = "act or observe. With observe decamp looks, decides and logs, and writes nothing."
  type        = string
  default     = "act"
  nullable    = false

  validation {
    condition     = contains(["act", "observe"], var.mode)
    error_message = "mode must be act or observe."
  }
}

variable "departure" {
  description = "The limits of a departure; times are in seconds. max is its longest time. reserve is how long before the hook's end decamp completes the action. on_timeout, never_force and ignore_system_jobs are DECAMP_ON_TIMEOUT, DECAMP_NEVER_FORCE and DECAMP_IGNORE_SYSTEM_JOBS. The others say what the slowest departure needs. deregistration_delay is the longest delay of the target groups (at least 120 for Network Load Balancers). longest_stop is the longest stop of an allocation (shutdown_delay and kill_timeout). guard is how long one pass of the function has to wait by itself: 0 with Nomad 1.5 and later, which stores the beginning of that wait for the next pass; with an older Nomad 120 if a Network Load Balancer has a shorter deregistration delay, otherwise 10."
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
    error_message = "departure.max is longer than any lifecycle hook can wait: set it to at most 172800 (two days)."
  }

  validation {
    condition     = var.departure.reserve < var.departure.max
    error_message = "departure.reserve must be shorter than departure.max."
  }

  validation {
    condition     = 5 < var.departure.reserve
    error_message = "departure.reserve must be longer than 5 s, the time that one call may take, or the last call would be too late: set it to 30."
  }

  validation {
    condition     = contains(["continue", "abandon"], var.departure.on_timeout)
    error_message = "departure.on_timeout must be continue or abandon."
  }

  validation {
    condition     = 0 <= var.departure.deregistration_delay && var.departure.deregistration_delay <= 3600
    error_message = "departure.deregistration_delay must be 0 to 3600 s, the limits of Elastic Load Balancing."
  }

  validation {
    condition     = 0 <= var.departure.longest_stop && 0 <= var.departure.guard && alltrue([for number in [var.departure.max, var.departure.reserve, var.departure.deregistration_delay, var.departure.longest_stop, var.departure.guard] : floor(number) == number])
    error_message = "The times of departure must be whole seconds, and longest_stop and guard must not be negative."
  }
}

variable "settings" {
  description = "Further settings of decamp by the names of their variables (docs/settings.md), for those without an input of their own."
  type        = map(string)
  default     = {}
  nullable    = false

  validation {
    condition     = alltrue([for name in keys(var.settings) : can(regex("^((DECAMP|NOMAD|CONSUL)_[A-Z_]+|NO_PROXY)$", name))])
    error_message = "A name in settings must begin with DECAMP_, NOMAD_ or CONSUL_, or be NO_PROXY."
  }

  validation {
    condition     = length(setintersection(keys(var.settings), ["NOMAD_TOKEN", "CONSUL_HTTP_TOKEN"])) == 0
    error_message = "settings contains a token, which Terraform would store in its state and in the function's environment: use nomad.token_secret or consul.token_secret."
  }

  validation {
    condition     = length(setintersection(keys(var.settings), keys(local.environment))) == 0
    error_message = "settings names a variable that an input of this module already sets: use the input."
  }
}

variable "config" {
  description = "Further settings, as in `settings`, that the module stores in a parameter (SSM) instead of the function's environment, which has room for 4 KB. If it is set, even to {}, the lists that grow with the groups are stored there too (DECAMP_GROUPS, DECAMP_HOOKS, DECAMP_TARGET_GROUPS). Null: all settings are in the environment."
  type        = map(string)
  default     = null

  validation {
    condition     = alltrue([for name in keys(coalesce(var.config, {})) : can(regex("^((DECAMP|NOMAD|CONSUL)_[A-Z_]+|NO_PROXY)$", name)) && name != "DECAMP_CONFIG"])
    error_message = "A name in config must begin with DECAMP_, NOMAD_ or CONSUL_, or be NO_PROXY. The module itself sets DECAMP_CONFIG."
  }

  validation {
    condition     = length(setintersection(keys(coalesce(var.config, {})), ["NOMAD_TOKEN", "CONSUL_HTTP_TOKEN"])) == 0
    error_message = "config contains a token, which Terraform would store in its state and in a parameter that is not encrypted: use nomad.token_secret or consul.token_secret."
  }

  validation {
    condition     = length(setintersection(keys(coalesce(var.config, {})), concat(keys(local.environment), keys(var.settings)))) == 0
    error_message = "config names a variable that another input of this module already sets."
  }
}

variable "function_timeout" {
  description = "The function's time-out in seconds. A pass hands its message back before it."
  type        = number
  default     = 60
  nullable    = false

  validation {
    condition     = 1 <= var.function_timeout && var.function_timeout <= 900 && floor(var.function_timeout) == var.function_timeout
    error_message = "function_timeout must be 1 to 900 whole seconds, the limits of Lambda."
  }
}

variable "visibility_timeout" {
  description = "Seconds for which SQS hides a message while a pass works on it. If a pass crashes, another one receives its message after this time."
  type        = number
  default     = 360
  nullable    = false

  validation {
    condition     = 0 <= var.visibility_timeout && var.visibility_timeout <= 43200 && floor(var.visibility_timeout) == var.visibility_timeout
    error_message = "visibility_timeout must be 0 to 43200 whole seconds, the limits of SQS."
  }
}

variable "sweep_period" {
  description = "Minutes between two sweeps. A sweep finds the instances whose event was lost, and keeps all hooks alive."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = 1 <= var.sweep_period && var.sweep_period <= 60 && floor(var.sweep_period) == var.sweep_period
    error_message = "sweep_period must be a whole number of minutes from 1 to 60."
  }
}

variable "max_receive_count" {
  description = "How often a message is received before it becomes a dead letter. Each pass of a departure receives it once."
  type        = number
  default     = 500
  nullable    = false

  validation {
    condition     = 5 <= var.max_receive_count && floor(var.max_receive_count) == var.max_receive_count
    error_message = "max_receive_count must be a whole number of at least 5, because throttled invocations count as receives too."
  }
}

variable "message_retention" {
  description = "Seconds that the queue keeps a message."
  type        = number
  default     = 345600
  nullable    = false

  validation {
    condition     = 60 <= var.message_retention && var.message_retention <= 1209600
    error_message = "message_retention must be 60 to 1209600 s, the limits of SQS."
  }
}

variable "dead_letter_retention" {
  description = "Seconds that the dead-letter queue keeps a message, counted from when it was first sent."
  type        = number
  default     = 1209600
  nullable    = false

  validation {
    condition     = 60 <= var.dead_letter_retention && var.dead_letter_retention <= 1209600
    error_message = "dead_letter_retention must be 60 to 1209600 s, the limits of SQS."
  }
}

variable "batch_size" {
  description = "Messages in one invocation. With 1, a departure never waits for another."
  type        = number
  default     = 1
  nullable    = false

  validation {
    condition     = 1 <= var.batch_size && var.batch_size <= 10
    error_message = "batch_size must be between 1 and 10."
  }
}

variable "maximum_concurrency" {
  description = "How many departures the function works on at the same time. For further ones each sweep takes one step."
  type        = number
  default     = 20
  nullable    = false

  validation {
    condition     = 2 <= var.maximum_concurrency && var.maximum_concurrency <= 1000
    error_message = "maximum_concurrency must be 2 to 1000, the limits of Lambda for a queue."
  }
}

variable "events" {
  description = "Further events that the function receives: spot interruptions (it drains the instance as far as two minutes allow), rebalance recommendations and scheduled changes (it logs and counts them; see replace). These events name no group, so the function asks Auto Scaling for it."
  type = object({
    spot_interruption = optional(bool, false)
    rebalance         = optional(bool, false)
    scheduled_change  = optional(bool, false)
  })
  default  = {}
  nullable = false
}

variable "replace" {
  description = "Which of these events make decamp ask Auto Scaling to replace the instance, which then leaves through its hook: never, rebalance, scheduled or both. The module creates the rules for these events. Do not use rebalance if the group has capacity_rebalance, which replaces such instances itself."
  type        = string
  default     = "never"
  nullable    = false

  validation {
    condition     = contains(["never", "rebalance", "scheduled", "both"], var.replace)
    error_message = "replace must be never, rebalance, scheduled or both."
  }
}

variable "replace_ahead" {
  description = "How many seconds before a scheduled change decamp asks for the replacement. Until then the event waits on the queue. If message_retention is shorter than that, decamp asks half a day before the queue drops the event."
  type        = number
  default     = 86400
  nullable    = false

  validation {
    condition     = 0 <= var.replace_ahead && floor(var.replace_ahead) == var.replace_ahead
    error_message = "replace_ahead must be a whole number of seconds, 0 or more."
  }
}

variable "service" {
  description = "What service_policy_json allows in addition, for `decamp serve`. topic_arns are the SNS topics whose subscriptions it confirms. secrets are the parameters and secrets that its settings name, besides those of `nomad` and `consul`. refresh allows it to start instance refreshes of the groups for a webhook or a notification of HCP Terraform. look_back allows it to read the load balancers' counts from CloudWatch (DECAMP_LOOK_BACK)."
  type = object({
    topic_arns = optional(list(string), [])
    refresh    = optional(bool, false)
    look_back  = optional(bool, false)
    secrets    = optional(list(object({ arn = string, kms_key_arn = optional(string) })), [])
  })
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for arn in var.service.topic_arns : can(regex("^arn:[a-z-]+:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}(\\.fifo)?$", arn))])
    error_message = "An entry of service.topic_arns is not the ARN of an SNS topic."
  }

  validation {
    condition     = alltrue([for secret in var.service.secrets : can(regex("^arn:[a-z-]+:(ssm:[a-z0-9-]+:[0-9]{12}:parameter/.+|secretsmanager:[a-z0-9-]+:[0-9]{12}:secret:.+)$", secret.arn))])
    error_message = "An arn in service.secrets is not the ARN of an SSM parameter or a Secrets Manager secret. Do not write a secret itself: Terraform would store it in its state."
  }

  validation {
    condition     = alltrue([for secret in var.service.secrets : !startswith(try(split(":", secret.arn)[2], ""), "secretsmanager") || can(regex(":secret:.+-[A-Za-z0-9]{6}$", secret.arn))])
    error_message = "An ARN in service.secrets lacks the suffix that Secrets Manager appended, a hyphen and six characters. Without it the role's policy matches no secret."
  }

  validation {
    condition     = alltrue([for secret in var.service.secrets : secret.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:${local.region}:[0-9]{12}:key/[0-9a-z-]+$", secret.kms_key_arn))])
    error_message = "A kms_key_arn in service.secrets is not the ARN of a key of this Region (arn:…:key/ID). An alias does not work in an IAM policy."
  }

  validation {
    condition     = alltrue([for secret in var.service.secrets : try(join(":", slice(split(":", secret.arn), 3, 5)), "") == "${local.region}:${local.account}"])
    error_message = "An ARN in service.secrets is in another Region or account than this module is applied in: keep the secret where the service is."
  }
}

variable "vpc_config" {
  description = "The subnets from which the function reaches Nomad and Consul. Null: the function is in no VPC. security_group_ids are security groups of your own. Without them the module creates one in vpc_id, with the rules in `egress` (each key is a label of your choice) and no ingress. ipv6 lets the function use IPv6 in dual-stack subnets."
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
    error_message = "vpc_config.subnet_ids is empty: name at least one subnet, or two for two zones."
  }

  validation {
    condition     = var.vpc_config == null || try(0 < length(var.vpc_config.security_group_ids), false) || (try(var.vpc_config.vpc_id, null) != null && try(0 < length(var.vpc_config.egress), false))
    error_message = "vpc_config needs security_group_ids, or vpc_id and egress for a security group of the module's. Without egress the function reaches nothing."
  }

  validation {
    condition     = try(length(var.vpc_config.security_group_ids), 0) == 0 || try(length(var.vpc_config.egress), 0) == 0
    error_message = "vpc_config has both egress and security_group_ids. The module adds egress rules only to its own security group: remove one of the two."
  }

  validation {
    condition     = try(var.vpc_config.ipv6, true) || alltrue([for rule in try(values(var.vpc_config.egress), []) : rule.cidr_ipv6 == null])
    error_message = "A rule of vpc_config.egress has cidr_ipv6, but the function has no IPv6: set vpc_config.ipv6 = true if the subnets have it."
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
  description = "A KMS key of your own for the queues, the log and the function's environment. Its policy must allow events.amazonaws.com and logs.REGION.amazonaws.com to use it. Null: keys that AWS owns."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[0-9a-z-]+$", var.kms_key_arn))
    error_message = "kms_key_arn is not the ARN of a key (arn:…:key/ID). An alias does not work in an IAM policy."
  }

  validation {
    condition     = var.kms_key_arn == null || try(split(":", var.kms_key_arn)[3], "") == local.region
    error_message = "kms_key_arn is in another Region than this module is applied in: the queues could not use it."
  }
}

variable "log_level" {
  description = "How much the function logs: info, debug or trace."
  type        = string
  default     = "info"
  nullable    = false

  validation {
    condition     = contains(["info", "debug", "trace"], var.log_level)
    error_message = "log_level must be info, debug or trace. The function writes its metrics to the log without a level, which Lambda treats as info: a higher level would drop them and silence every alarm."
  }
}

variable "log_retention_in_days" {
  description = "How many days CloudWatch keeps the log."
  type        = number
  default     = 30
  nullable    = false

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_in_days)
    error_message = "log_retention_in_days must be one of the numbers that CloudWatch accepts: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653."
  }
}

variable "alarm_actions" {
  description = "ARNs that alarms notify, such as SNS topics."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for arn in var.alarm_actions : can(regex("^arn:[a-z-]+:[a-z0-9-]+:", arn))])
    error_message = "An entry of alarm_actions is not an ARN."
  }

  validation {
    condition     = alltrue([for arn in var.alarm_actions : contains(["", local.region], try(split(":", arn)[3], "none"))])
    error_message = "An entry of alarm_actions is in another Region than this module is applied in: CloudWatch notifies only in its own Region."
  }
}

variable "create_alarms" {
  description = "Whether to create alarms."
  type        = bool
  default     = true
  nullable    = false
}

variable "alarms" {
  description = "When alarms fire. message_age is the age in seconds of the oldest message that was received at most three times. Null: departure.max plus one visibility_timeout; if replace includes scheduled changes, whose events wait on the queue, at least six hours less than message_retention. minutes_without_sweeps is how long no sweep may have seen all groups. outcomes are the outcomes of departures that a person should look at."
  type = object({
    message_age            = optional(number)
    minutes_without_sweeps = optional(number, 15)
    outcomes               = optional(list(string), ["forced", "unconfirmed", "data-left", "timed-out", "retained", "agent-dead", "no-node", "expired"])
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
    error_message = "alarms.minutes_without_sweeps must be at most 1440, a day, which is as far back as a CloudWatch alarm looks."
  }

  validation {
    condition     = 1 <= length(var.alarms.outcomes) && length(var.alarms.outcomes) <= 9 && length(setsubtract(var.alarms.outcomes, local.outcomes)) == 0
    error_message = "alarms.outcomes must be 1 to 9 of decamp's outcomes (docs/outcomes.md)."
  }
}

variable "create_dashboard" {
  description = "Whether to create a dashboard."
  type        = bool
  default     = true
  nullable    = false
}

variable "role_arn" {
  description = "A role of your own for the function. The module then creates no role, and yours needs the policy in the output role_policy_json. Null: the module creates the role."
  type        = string
  default     = null

  validation {
    condition     = var.role_arn == null || can(regex("^arn:[a-z-]+:iam::${local.account}:role/.+$", var.role_arn))
    error_message = "role_arn is not the ARN of a role of this account."
  }

  validation {
    condition     = var.role_arn == null || (var.permissions_boundary_arn == null && var.role_path == "/")
    error_message = "role_arn names a role of your own, which has its own boundary and path: remove permissions_boundary_arn and role_path."
  }
}

variable "role_statements" {
  description = "Further statements for the role's policy."
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
    error_message = "An entry of role_statements has a sid with characters other than letters and digits, or an effect other than Allow and Deny."
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
  description = "Tags for all resources."
  type        = map(string)
  default     = {}
  nullable    = false
}
