#!/bin/sh
# Installs decamp for the Auto Scaling group @ASG@: queue, rule, role, function, sweep, hook. Fill in the next two lines.
set -eu
subnets=
security_groups=
zip=decamp-lambda-arm64.zip
: "${subnets:?fill in the subnets that reach Nomad, Consul and AWS, with commas}"
: "${security_groups:?fill in the security groups of the function, with commas}"
export AWS_REGION=@REGION@
cd "$(dirname "$0")"

# The hook's events go to a queue. Events that cannot be delivered or handled become dead letters.
aws sqs create-queue --queue-name decamp-dead-letters --attributes file://dead-letters.json
aws sqs create-queue --queue-name decamp --attributes file://queue.json
aws events put-rule --name decamp-terminate --event-pattern file://event-pattern.json
aws events put-targets --rule decamp-terminate --targets file://queue-target.json

# The function and its role.
aws iam create-role --role-name decamp-@REGION@ --assume-role-policy-document file://role-trust.json
aws iam put-role-policy --role-name decamp-@REGION@ --policy-name decamp --policy-document file://role-policy.json
aws logs create-log-group --log-group-name /aws/lambda/decamp
aws logs put-retention-policy --log-group-name /aws/lambda/decamp --retention-in-days 90
sleep "${DECAMP_ROLE_WAIT:-15}" # Lambda can use a new role only after some seconds.
aws lambda create-function --function-name decamp --runtime provided.al2023 --handler bootstrap --architectures arm64 \
    --memory-size 256 --timeout 60 --role @ROLE@ --zip-file "fileb://$zip" \
    --environment file://environment.json \
    --vpc-config "SubnetIds=$subnets,SecurityGroupIds=$security_groups"
aws lambda wait function-active-v2 --function-name decamp
aws lambda create-event-source-mapping --function-name decamp --event-source-arn @QUEUE@ \
    --batch-size 1 --function-response-types ReportBatchItemFailures --scaling-config MaximumConcurrency=20

# The sweep, every minute: it finds instances whose event was lost, and keeps all hooks alive.
aws events put-rule --name decamp-sweep --schedule-expression 'rate(1 minute)'
aws lambda add-permission --function-name decamp --statement-id Sweep --action lambda:InvokeFunction \
    --principal events.amazonaws.com --source-arn @SWEEP@ --source-account @ACCOUNT@
aws lambda put-function-event-invoke-config --function-name decamp --maximum-retry-attempts 0 --maximum-event-age-in-seconds 60
aws events put-targets --rule decamp-sweep --targets file://sweep-target.json
@hook 
@hook # The hook comes last: from now on instances wait for decamp.
@hook aws autoscaling put-lifecycle-hook --auto-scaling-group-name @ASG@ --lifecycle-hook-name decamp \
@hook     --lifecycle-transition autoscaling:EC2_INSTANCE_TERMINATING --heartbeat-timeout 900 --default-result CONTINUE
