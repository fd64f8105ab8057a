# All that decamp does in Nomad: it reads nodes and drains them, and reads the jobs and allocations on them.
# `read-job` must hold in every namespace: a narrower rule hides allocations, and decamp then touches nothing.
node {
  policy = "write"
}

namespace "*" {
  capabilities = ["read-job"]
}
