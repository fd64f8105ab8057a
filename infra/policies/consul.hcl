# decamp only reads Consul, to see whether a node's registrations are gone. Nomad removes them.
node_prefix "" {
  policy = "read"
}

service_prefix "" {
  policy = "read"
}

agent_prefix "" {
  policy = "read"
}
