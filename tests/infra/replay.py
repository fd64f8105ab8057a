"""Creates the resources of an applied example again in a simulation of AWS (moto) through boto3. A call that botocore or moto refuses is a fault.

Only the module's own resources are created. Those of the example itself (the group, the load balancer) come first, if a call needs them.
"""

import io
import json
import os
import sys
import zipfile

from rendered import Example

REGION = "eu-west-1"
EXAMPLES = ("minimal", "complete", "prefix", "service")


def set_only(**arguments):
    """Arguments without the empty ones."""
    return {name: value for name, value in arguments.items() if value not in (None, "", [], {})}


def tags(values):
    """Tags in the form that most services use."""
    return [{"Key": key, "Value": value} for key, value in (values.get("tags") or {}).items()]


def zipped():
    """Some zip, because moto's Lambda needs one."""
    place = io.BytesIO()
    with zipfile.ZipFile(place, "w") as archive:
        archive.writestr("bootstrap", "nothing")
    return place.getvalue()


class Account:
    """A simulated account, with the number of calls and the refused ones."""

    def __init__(self, boto3):
        self.clients, self.boto3, self.calls, self.refused = {}, boto3, 0, []

    def call(self, address, service, operation, **arguments):
        """Makes one call. A refused call is kept with its resource."""
        client = self.clients.setdefault(service, self.boto3.client(service, region_name=REGION))
        self.calls += 1
        try:
            return getattr(client, operation)(**arguments)
        except Exception as why:  # Any exception of boto3 is a refusal.
            self.refused.append(f"{address}: {service}.{operation}: {why}")
            return {}


def role(at, address, v):
    """A role."""
    at.call(address, "iam", "create_role", **set_only(RoleName=v["name"], Path=v["path"], Description=v["description"], AssumeRolePolicyDocument=v["assume_role_policy"], PermissionsBoundary=v["permissions_boundary"], Tags=tags(v)))


def role_policy(at, address, v):
    """A policy of a role."""
    at.call(address, "iam", "put_role_policy", RoleName=v["role"], PolicyName=v["name"], PolicyDocument=v["policy"])


def queue(at, address, v):
    """A queue without its redrive policy, which names the other queue and is set later."""
    attributes = set_only(VisibilityTimeout=v["visibility_timeout_seconds"], MessageRetentionPeriod=v["message_retention_seconds"], ReceiveMessageWaitTimeSeconds=v["receive_wait_time_seconds"], SqsManagedSseEnabled=v["sqs_managed_sse_enabled"], KmsMasterKeyId=v["kms_master_key_id"])
    at.call(address, "sqs", "create_queue", QueueName=v["name"], Attributes={name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in attributes.items()}, tags=v.get("tags") or {})
    return at.call(address, "sqs", "get_queue_url", QueueName=v["name"]).get("QueueUrl")


def rule(at, address, v):
    """A rule with a pattern or a schedule."""
    at.call(address, "events", "put_rule", **set_only(Name=v["name"], Description=v["description"], EventPattern=v["event_pattern"], ScheduleExpression=v["schedule_expression"], State=v["state"], Tags=tags(v)))


def target(at, address, v):
    """A target of a rule."""
    retry = {"MaximumEventAgeInSeconds": v["retry_policy"][0]["maximum_event_age_in_seconds"], "MaximumRetryAttempts": v["retry_policy"][0]["maximum_retry_attempts"]}
    letters = {"Arn": v["dead_letter_config"][0]["arn"]} if v["dead_letter_config"] else None
    at.call(address, "events", "put_targets", Rule=v["rule"], Targets=[set_only(Id=v["target_id"], Arn=v["arn"], Input=v["input"], RetryPolicy=retry, DeadLetterConfig=letters)])


def function(at, address, v, role_arn):
    """The function, with another zip."""
    vpc = {"SubnetIds": v["vpc_config"][0]["subnet_ids"], "SecurityGroupIds": v["vpc_config"][0]["security_group_ids"], "Ipv6AllowedForDualStack": bool(v["vpc_config"][0]["ipv6_allowed_for_dual_stack"])} if v["vpc_config"] else None
    log = v["logging_config"][0]
    at.call(address, "lambda", "create_function", **set_only(
        FunctionName=v["function_name"], Description=v["description"], Role=role_arn, Runtime=v["runtime"], Handler=v["handler"], Architectures=v["architectures"], MemorySize=v["memory_size"], Timeout=v["timeout"],
        Layers=v["layers"], KMSKeyArn=v["kms_key_arn"], Environment=v["environment"][0] and {"Variables": v["environment"][0]["variables"]}, VpcConfig=vpc, Code={"ZipFile": zipped()}, Tags=v.get("tags"),
        LoggingConfig=set_only(LogFormat=log["log_format"], LogGroup=log["log_group"], ApplicationLogLevel=log["application_log_level"], SystemLogLevel=log["system_log_level"]),
    ))


def permission(at, address, v):
    """A permission to invoke the function."""
    at.call(address, "lambda", "add_permission", FunctionName=v["function_name"], StatementId=v["statement_id"], Action=v["action"], Principal=v["principal"], SourceArn=v["source_arn"], SourceAccount=v["source_account"])


def invoke_config(at, address, v):
    """The retries of sweeps."""
    at.call(address, "lambda", "put_function_event_invoke_config", FunctionName=v["function_name"], MaximumEventAgeInSeconds=v["maximum_event_age_in_seconds"], MaximumRetryAttempts=v["maximum_retry_attempts"])


def mapping(at, address, v, queue_arn):
    """The event source mapping from the queue to the function."""
    at.call(address, "lambda", "create_event_source_mapping", FunctionName=v["function_name"].split(":")[-1], EventSourceArn=queue_arn, Enabled=v["enabled"], BatchSize=v["batch_size"], FunctionResponseTypes=v["function_response_types"], ScalingConfig={"MaximumConcurrency": v["scaling_config"][0]["maximum_concurrency"]})


def log_group(at, address, v):
    """The log group and its retention."""
    at.call(address, "logs", "create_log_group", **set_only(logGroupName=v["name"], kmsKeyId=v["kms_key_id"], tags=v.get("tags")))
    at.call(address, "logs", "put_retention_policy", logGroupName=v["name"], retentionInDays=v["retention_in_days"])


def alarm(at, address, v):
    """An alarm, of one metric or of an expression."""
    queries = [set_only(Id=q["id"], Expression=q["expression"], Label=q["label"], ReturnData=bool(q["return_data"]), MetricStat=q["metric"] and {
        "Metric": {"Namespace": q["metric"][0]["namespace"], "MetricName": q["metric"][0]["metric_name"], "Dimensions": [{"Name": n, "Value": d} for n, d in (q["metric"][0]["dimensions"] or {}).items()]},
        "Period": q["metric"][0]["period"], "Stat": q["metric"][0]["stat"],
    }) for q in v["metric_query"] or []]
    # `set_only` keeps False, but a missing ReturnData would mean True.
    queries = [dict(one, ReturnData=one.get("ReturnData", False)) for one in queries]
    at.call(address, "cloudwatch", "put_metric_alarm", **set_only(
        AlarmName=v["alarm_name"], AlarmDescription=v["alarm_description"], ComparisonOperator=v["comparison_operator"], EvaluationPeriods=v["evaluation_periods"], Threshold=v["threshold"], TreatMissingData=v["treat_missing_data"],
        AlarmActions=v["alarm_actions"], OKActions=v["ok_actions"], InsufficientDataActions=v["insufficient_data_actions"], Namespace=v["namespace"], MetricName=v["metric_name"], Statistic=v["statistic"], Period=v["period"],
        Dimensions=[{"Name": n, "Value": d} for n, d in (v["dimensions"] or {}).items()], Metrics=queries, Tags=tags(v),
    ))


def dashboard(at, address, v):
    """The dashboard."""
    at.call(address, "cloudwatch", "put_dashboard", DashboardName=v["dashboard_name"], DashboardBody=v["dashboard_body"])


def hook(at, address, v):
    """A hook, and its group if it does not exist yet."""
    name = v["autoscaling_group_name"]
    if not at.call(address, "autoscaling", "describe_auto_scaling_groups", AutoScalingGroupNames=[name]).get("AutoScalingGroups"):
        at.call(address, "autoscaling", "create_launch_configuration", LaunchConfigurationName=name, ImageId="ami-12c6146b", InstanceType="t3.micro")
        at.call(address, "autoscaling", "create_auto_scaling_group", AutoScalingGroupName=name, LaunchConfigurationName=name, MinSize=0, MaxSize=0, AvailabilityZones=[f"{REGION}a"])
    at.call(address, "autoscaling", "put_lifecycle_hook", **set_only(LifecycleHookName=v["name"], AutoScalingGroupName=name, LifecycleTransition=v["lifecycle_transition"], DefaultResult=v["default_result"], HeartbeatTimeout=v["heartbeat_timeout"], NotificationMetadata=v["notification_metadata"]))


def parameter(at, address, v):
    """A parameter."""
    at.call(address, "ssm", "put_parameter", **set_only(Name=v["name"], Description=v["description"], Type=v["type"], Tier=v["tier"], Value=v["insecure_value"], Tags=tags(v)))


def security_group(at, address, v):
    """The function's security group, in a new VPC."""
    vpc = at.call(address, "ec2", "create_vpc", CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    return at.call(address, "ec2", "create_security_group", GroupName=v["name"], Description=v["description"], VpcId=vpc).get("GroupId")


def egress(at, address, v, group):
    """An egress rule of the security group."""
    ranges = {"IpRanges": [set_only(CidrIp=v["cidr_ipv4"], Description=v["description"])] if v["cidr_ipv4"] else None, "Ipv6Ranges": [set_only(CidrIpv6=v["cidr_ipv6"], Description=v["description"])] if v["cidr_ipv6"] else None}
    at.call(address, "ec2", "authorize_security_group_egress", GroupId=group, IpPermissions=[set_only(IpProtocol=v["ip_protocol"], FromPort=v["from_port"], ToPort=v["to_port"], **ranges)])


# In the order in which Terraform would create them.
PLAIN = [
    ("aws_iam_role", role), ("aws_iam_role_policy", role_policy), ("aws_cloudwatch_log_group", log_group), ("aws_ssm_parameter", parameter), ("aws_cloudwatch_event_rule", rule),
]
LATER = [
    ("aws_lambda_permission", permission), ("aws_lambda_function_event_invoke_config", invoke_config), ("aws_cloudwatch_event_target", target), ("aws_autoscaling_lifecycle_hook", hook),
    ("aws_cloudwatch_metric_alarm", alarm), ("aws_cloudwatch_dashboard", dashboard),
]
KNOWN = {kind for kind, _ in PLAIN + LATER} | {
    "aws_sqs_queue", "aws_sqs_queue_policy", "aws_sqs_queue_redrive_allow_policy", "aws_lambda_function", "aws_lambda_event_source_mapping", "aws_security_group", "aws_vpc_security_group_egress_rule", "terraform_data",
}


def replay(example, at):
    """Creates every resource of the module in an example."""
    of = lambda kind: [(address, values) for address, values in example.all.items() if address.startswith(f"module.decamp.{kind}.")]
    kinds = {address.split(".")[2] for address in example.all if address.startswith("module.decamp.") and not address.startswith("module.decamp.data.") and not address.startswith("module.decamp.module.")}
    if kinds - KNOWN:
        raise SystemExit(f"tests/infra/replay.py does not create {sorted(kinds - KNOWN)}: add it there")
    for kind, make in PLAIN:
        for address, values in of(kind):
            make(at, address, values)
    urls = {values["name"]: queue(at, address, values) for address, values in of("aws_sqs_queue")}
    for address, values in of("aws_sqs_queue"):
        if values["redrive_policy"]:
            at.call(address, "sqs", "set_queue_attributes", QueueUrl=urls[values["name"]], Attributes={"RedrivePolicy": values["redrive_policy"]})
    for kind, attribute in (("aws_sqs_queue_policy", "policy"), ("aws_sqs_queue_redrive_allow_policy", "redrive_allow_policy")):
        for address, values in of(kind):
            name = values["queue_url"].split("/")[-1]
            at.call(address, "sqs", "set_queue_attributes", QueueUrl=urls.get(name, values["queue_url"]), Attributes={"Policy" if attribute == "policy" else "RedriveAllowPolicy": values[attribute]})
    groups = [security_group(at, address, values) for address, values in of("aws_security_group")]
    for address, values in of("aws_vpc_security_group_egress_rule"):
        egress(at, address, values, groups[0])
    for address, values in of("aws_lambda_function"):
        function(at, address, values, values["role"])
        for source, more in of("aws_lambda_event_source_mapping"):
            mapping(at, source, dict(more, function_name=values["function_name"]), more["event_source_arn"])
    for kind, make in LATER:
        for address, values in of(kind):
            make(at, address, values)


def main():
    """Replays every applied example. Fails if a call was refused."""
    try:
        import boto3
        from moto import mock_aws
    except ImportError:
        print("skipped: moto is not installed")
        return 0
    os.environ.update(AWS_ACCESS_KEY_ID="testing", AWS_SECRET_ACCESS_KEY="testing", AWS_DEFAULT_REGION=REGION, MOTO_ACCOUNT_ID="123456789012")
    calls, refused = 0, []
    for name in EXAMPLES:
        with mock_aws(config={"lambda": {"use_docker": False}}):
            at = Account(boto3)
            replay(Example(name), at)
            calls += at.calls
            refused += [f"{name}: {one}" for one in at.refused]
    print(f"{calls} calls, {len(refused)} refused")
    for one in refused:
        print(f"  {one}")
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
