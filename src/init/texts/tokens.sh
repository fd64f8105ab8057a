#!/bin/sh
# Creates the policies and tokens, and stores the tokens in AWS Secrets Manager. It needs management tokens: NOMAD_TOKEN, and for Consul CONSUL_HTTP_TOKEN.
# Without ACLs, skip this file and remove the token settings from the others.
set -eu
export AWS_REGION=@REGION@
cd "$(dirname "$0")"

# The tokens appear on no command line.
store() { aws secretsmanager create-secret --name "$1" --secret-string file:///dev/stdin >/dev/null && echo "$1 is stored"; }

nomad acl policy apply -description "decamp" decamp nomad-policy.hcl
nomad acl token create -name decamp -type client -policy decamp |
    awk '/^Secret ID/ { printf "%s", $NF }' | store decamp/nomad-token
@consul 
@consul consul acl policy create -name decamp -description "decamp" -rules @consul-policy.hcl
@consul consul acl token create -description decamp -policy-name decamp |
@consul     awk '/^SecretID/ { printf "%s", $NF }' | store decamp/consul-token
