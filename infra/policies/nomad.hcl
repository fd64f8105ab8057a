# decamp reads and drains nodes, and reads the jobs and allocations on them, and the CSI volumes that these claim.
# `read-job` must hold in every namespace. A narrower rule hides allocations, and decamp then drains nothing.
node {
  policy = "write"
}

namespace "*" {
  capabilities = ["read-job", "csi-read-volume"]
}
