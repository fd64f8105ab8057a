#!/usr/bin/env python3
"""Reads and writes the sandbox with boto3, and compares the parsed answers with the state of the models.

usage: boto3_reads_and_writes.py http://127.0.0.1:PORT
Exit codes: 0 if everything matches, 1 if something differs, 77 if boto3 is not installed.
"""
import itertools
import json
import sys
import time
import urllib.request

try:
    import boto3
    import botocore.config
    import botocore.exceptions
except ImportError:
    print("skipped: boto3 is not installed")
    sys.exit(77)

ADDRESS = sys.argv[1].rstrip("/")
CONFIG = botocore.config.Config(retries={"total_max_attempts": 1}, proxies={}, read_timeout=20, connect_timeout=5)


def client(service):
    return boto3.client(
        service, endpoint_url=ADDRESS, region_name="eu-west-1", config=CONFIG,
        aws_access_key_id="AKIDSANDBOX", aws_secret_access_key="nothing")


def sandbox(method, path, body=None):
    request = urllib.request.Request(ADDRESS + path, method=method, data=body, headers={"content-type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as answer:
        text = answer.read()
        return json.loads(text) if text else None


def state():
    return sandbox("GET", "/sandbox/state")


def group_of(world):
    return world["auto_scaling_groups"][0]


compared = 0


def same(what, seen, held):
    global compared
    compared += 1
    if seen != held:
        print(f"{what}: boto3 read {seen!r}, the model holds {held!r}")
        sys.exit(1)


def refused(what, code, message, call, **fields):
    try:
        call(**fields)
    except botocore.exceptions.ClientError as error:
        same(f"{what}: code", error.response["Error"]["Code"], code)
        same(f"{what}: message", message in error.response["Error"]["Message"], True)
    else:
        same(f"{what}: refused", False, True)


asg, elb, classic = client("autoscaling"), client("elbv2"), client("elb")


def targets_of(arn):
    (held,) = [g for g in state()["target_groups"] if g["arn"] == arn]
    return [(t["id"], t["port"], t["zone"], t["state"], t["reason"]) for t in held["targets"]]


def reads():
    world = state()
    held = group_of(world)
    name = held["name"]

    listed = [i for page in asg.get_paginator("describe_auto_scaling_instances").paginate() for i in page["AutoScalingInstances"]]
    same("instances", [(i["InstanceId"], i["LifecycleState"], i["AvailabilityZone"], i["AutoScalingGroupName"]) for i in listed],
         [(i["id"], i["state"], i["zone"], name) for i in held["instances"]])
    one = asg.describe_auto_scaling_instances(InstanceIds=[held["instances"][0]["id"], "i-0123456789abcdef0"])
    same("an unknown id is passed over", len(one["AutoScalingInstances"]), 1)

    (group,) = asg.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    same("instances of the group", [i["InstanceId"] for i in group["Instances"]], [i["id"] for i in held["instances"]])
    same("tags", [{"key": t["Key"], "value": t["Value"]} for t in group["Tags"]], held["tags"])
    same("attached groups", group["TargetGroupARNs"], held["attached"])
    policy = group.get("InstanceLifecyclePolicy", {}).get("RetentionTriggers", {}).get("TerminateHookAbandon")
    same("retention", policy, "retain" if held["retains"] else None)
    (bare,) = asg.describe_auto_scaling_groups(AutoScalingGroupNames=[name], IncludeInstances=False)["AutoScalingGroups"]
    same("without instances", bare.get("Instances", []), [])

    hooks = asg.describe_lifecycle_hooks(AutoScalingGroupName=name)["LifecycleHooks"]
    same("hooks", [(h["LifecycleHookName"], h["LifecycleTransition"], h["HeartbeatTimeout"], h["GlobalTimeout"], h["DefaultResult"],
                    h.get("NotificationMetadata")) for h in hooks],
         [(h["name"], h["transition"], h["heartbeat_timeout"], h["global_timeout"], h["default_result"], h["metadata"])
          for h in held["hooks"]])
    sources = asg.describe_traffic_sources(AutoScalingGroupName=name, TrafficSourceType="elbv2")["TrafficSources"]
    same("traffic sources", [(s["Identifier"], s["Type"]) for s in sources], [(arn, "elbv2") for arn in held["attached"]])

    every = asg.describe_traffic_sources(AutoScalingGroupName=name)["TrafficSources"]
    same("traffic sources of every type", [s["Type"] for s in every], ["elbv2"] * len(held["attached"]) + ["vpc-lattice"] * len(held["lattice"]))

    pages = elb.get_paginator("describe_target_groups").paginate(PaginationConfig={"PageSize": 1})
    groups = [g for page in pages for g in page["TargetGroups"]]
    protocol = {"alb": "HTTP", "nlb": "TCP"}
    same("target groups", [(g["TargetGroupArn"], g["TargetGroupName"], g["Protocol"], g["Port"], bool(g["LoadBalancerArns"])) for g in groups],
         [(g["arn"], g["name"], protocol[g["kind"]], g["port"], g["in_use"]) for g in world["target_groups"]])
    for held in world["target_groups"]:
        arn = held["arn"]
        attributes = {a["Key"]: a["Value"] for a in elb.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]}
        same("delay", attributes["deregistration_delay.timeout_seconds"], str(held["delay"]))
        # Health may change between two looks: each row that boto3 reads must match the model before or after the call.
        before = targets_of(arn)
        rows = elb.describe_target_health(TargetGroupArn=arn)["TargetHealthDescriptions"]
        after = targets_of(arn)
        read = [(r["Target"]["Id"], r["Target"]["Port"], r["Target"].get("AvailabilityZone"), r["TargetHealth"]["State"],
                 r["TargetHealth"].get("Reason")) for r in rows]
        same("targets", read, [b if b == r else a for r, b, a in itertools.zip_longest(read, before, after)])
        (tags,) = elb.describe_tags(ResourceArns=[arn])["TagDescriptions"]
        same("tags of a target group", tags["ResourceArn"], arn)
        crosses_zones(arn, held)
    balancers = elb.describe_load_balancers()["LoadBalancers"]
    same("load balancers", [b["LoadBalancerName"] for b in balancers], [g["name"] for g in world["target_groups"] if g["in_use"]])


def attributes_of(answer):
    return {a["Key"]: a["Value"] for a in answer["Attributes"]}


def crosses_zones(arn, held):
    key = "load_balancing.cross_zone.enabled"
    set_to = lambda value: attributes_of(elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[{"Key": key, "Value": value}]))[key]
    read = lambda: attributes_of(elb.describe_target_group_attributes(TargetGroupArn=arn))[key]
    same("a group leaves it to its load balancer", read(), "use_load_balancer_configuration")
    same("it is turned off", (set_to("false"), read()), ("false", "false"))
    refused("a value that is none", "ValidationError", key, lambda: set_to("perhaps"))
    same("and left to the load balancer again", set_to("use_load_balancer_configuration"), "use_load_balancer_configuration")
    if not held["in_use"]:
        return
    (balancer,) = elb.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"][0]["LoadBalancerArns"]
    of_balancer = lambda: attributes_of(elb.describe_load_balancer_attributes(LoadBalancerArn=balancer))[key]
    turn = lambda value: elb.modify_load_balancer_attributes(LoadBalancerArn=balancer, Attributes=[{"Key": key, "Value": value}])
    if held["kind"] == "alb":
        same("an Application Load Balancer crosses zones", of_balancer(), "true")
        refused("which cannot be turned off", "ValidationError", "Application Load Balancer", lambda: turn("false"))
    else:
        same("a Network Load Balancer does not", of_balancer(), "false")
        same("but for being told to", attributes_of(turn("true"))[key], "true")
        same("as it then says", of_balancer(), "true")
        turn("false")


def reads_and_writes_classic_ones():
    for held in state()["classic_load_balancers"]:
        name = held["name"]
        (seen,) = classic.describe_load_balancers(LoadBalancerNames=[name])["LoadBalancerDescriptions"]
        ids = sorted({t["id"] for t in held["targets"]})
        same("instances of a classic one", [i["InstanceId"] for i in seen["Instances"]], ids)
        same("its ports", [row["Listener"]["InstancePort"] for row in seen["ListenerDescriptions"]], sorted({t["port"] for t in held["targets"]}))
        draining = classic.describe_load_balancer_attributes(LoadBalancerName=name)["LoadBalancerAttributes"]["ConnectionDraining"]
        zones = {"CrossZoneLoadBalancing": {"Enabled": False}, "ConnectionDraining": {"Enabled": True, "Timeout": held["delay"]}}
        crosses = lambda: classic.describe_load_balancer_attributes(LoadBalancerName=name)["LoadBalancerAttributes"]["CrossZoneLoadBalancing"]["Enabled"]
        same("it crosses zones", crosses(), True)
        classic.modify_load_balancer_attributes(LoadBalancerName=name, LoadBalancerAttributes=zones)
        same("until it is told not to", crosses(), False)
        same("its connection draining", (draining["Enabled"], draining["Timeout"]), (True, held["delay"]))
        rows = classic.describe_instance_health(LoadBalancerName=name)["InstanceStates"]
        same("its instances' health", [(r["InstanceId"], r["State"]) for r in rows], [(i, "InService") for i in ids])
        left = classic.deregister_instances_from_load_balancer(LoadBalancerName=name, Instances=[{"InstanceId": ids[0]}])["Instances"]
        same("what is left", [i["InstanceId"] for i in left], ids[1:])
        (row,) = classic.describe_instance_health(LoadBalancerName=name, Instances=[{"InstanceId": ids[0]}])["InstanceStates"]
        same("while it drains", (row["State"], row["Description"]), ("InService", "Instance deregistration currently in progress."))
        (after,) = [g for g in state()["classic_load_balancers"] if g["name"] == name]
        same("all its ports are left", {t["state"] for t in after["targets"] if t["id"] == ids[0]}, {"draining"})
        absent = {"InstanceId": "i-0123456789abcdef0"}
        (row,) = classic.describe_instance_health(LoadBalancerName=name, Instances=[absent])["InstanceStates"]
        same("what is not there", (row["State"], row["Description"]), ("OutOfService", "Instance is not currently registered with the LoadBalancer."))
    refused("a classic one that is not there", "LoadBalancerNotFound", "no ACTIVE Load Balancer", classic.describe_instance_health, LoadBalancerName="nobody")


def writes():
    held = group_of(state())
    name, instance = held["name"], held["instances"][0]["id"]
    attached = set(held["attached"])
    event = sandbox("POST", f"/sandbox/terminate?instance={instance}&wait=30")
    same("the event's instance", event["detail"]["EC2InstanceId"], instance)
    token, hook = event["detail"]["LifecycleActionToken"], event["detail"]["LifecycleHookName"]
    (row,) = asg.describe_auto_scaling_instances(InstanceIds=[instance])["AutoScalingInstances"]
    same("the state in its hook", row["LifecycleState"], "Terminating:Wait")
    activity = asg.describe_scaling_activities(AutoScalingGroupName=name)["Activities"][0]
    same("its activity", (activity["StatusCode"], instance in activity["Description"]), ("MidLifecycleAction", True))
    began = group_of(state())["instances"][0]["activity_began"]
    same("when it began", activity["StartTime"].strftime("%Y-%m-%dT%H:%M:%SZ"), began)

    for held in state()["target_groups"]:
        ours = [{"Id": t["id"], "Port": t["port"]} for t in held["targets"] if t["id"] == instance]
        if held["arn"] in attached:
            same("AWS deregistered it from what is attached", ours, [])
        if not ours:
            continue
        wrong = [{"Id": instance, "Port": 1}]
        elb.deregister_targets(TargetGroupArn=held["arn"], Targets=wrong)
        same("a wrong port changes nothing", [t for g in state()["target_groups"] if g["arn"] == held["arn"] for t in g["targets"]], held["targets"])
        (absent,) = elb.describe_target_health(TargetGroupArn=held["arn"], Targets=wrong)["TargetHealthDescriptions"]
        same("what is not there", (absent["TargetHealth"]["State"], absent["TargetHealth"]["Reason"]), ("unused", "Target.NotRegistered"))
        elb.deregister_targets(TargetGroupArn=held["arn"], Targets=ours)
        rows = elb.describe_target_health(TargetGroupArn=held["arn"])["TargetHealthDescriptions"]
        same("draining", {(r["TargetHealth"]["State"], r["TargetHealth"]["Reason"]) for r in rows if r["Target"]["Id"] == instance},
             {("draining", "Target.DeregistrationInProgress")})
        elb.register_targets(TargetGroupArn=held["arn"], Targets=ours[:1])
        rows = elb.describe_target_health(TargetGroupArn=held["arn"], Targets=ours[:1])["TargetHealthDescriptions"]
        same("registered again", rows[0]["TargetHealth"]["State"], "initial" if held["in_use"] else "unused")

    by = dict(AutoScalingGroupName=name, LifecycleHookName=hook)
    asg.record_lifecycle_action_heartbeat(**by, LifecycleActionToken=token)
    asg.record_lifecycle_action_heartbeat(**by, InstanceId=instance)
    other = "00000000-0000-4000-8000-000000000000"
    refused("another token", "ValidationError", f"No active Lifecycle Action found with token {other}",
            asg.complete_lifecycle_action, **by, LifecycleActionToken=other, LifecycleActionResult="CONTINUE")
    asg.complete_lifecycle_action(**by, LifecycleActionToken=token, LifecycleActionResult="CONTINUE")
    refused("a second completion", "ValidationError", f"No active Lifecycle Action found with instance ID {instance}",
            asg.complete_lifecycle_action, **by, InstanceId=instance, LifecycleActionResult="CONTINUE")
    rows = asg.describe_auto_scaling_instances(InstanceIds=[instance])["AutoScalingInstances"]
    same("past its hook", all(r["LifecycleState"] in ("Terminating:Proceed", "Terminated") for r in rows), True)


def hooks_health_and_errors():
    name = group_of(state())["name"]
    asg.put_lifecycle_hook(AutoScalingGroupName=name, LifecycleHookName="second", HeartbeatTimeout=60,
                           LifecycleTransition="autoscaling:EC2_INSTANCE_TERMINATING", DefaultResult="CONTINUE", NotificationMetadata="a <b> & c")
    hook = [h for h in group_of(state())["hooks"] if h["name"] == "second"]
    (seen,) = asg.describe_lifecycle_hooks(AutoScalingGroupName=name, LifecycleHookNames=["second"])["LifecycleHooks"]
    same("a hook that was put", (seen["HeartbeatTimeout"], seen["NotificationMetadata"]), (hook[0]["heartbeat_timeout"], hook[0]["metadata"]))
    asg.delete_lifecycle_hook(AutoScalingGroupName=name, LifecycleHookName="second")
    instance = group_of(state())["instances"][-1]["id"]
    asg.set_instance_health(InstanceId=instance, HealthStatus="Unhealthy", ShouldRespectGracePeriod=False)
    same("an unhealthy instance leaves", group_of(state())["instances"][-1]["state"] in ("Terminating", "Terminating:Wait"), True)
    refused("terminating it once more", "ScalingActivityInProgress", "", asg.terminate_instance_in_auto_scaling_group,
            InstanceId=instance, ShouldDecrementDesiredCapacity=False)
    missing = state()["target_groups"][0]["arn"][:-4] + "dead"
    refused("a group that is not there", "TargetGroupNotFound", "", elb.describe_target_health, TargetGroupArn=missing)
    arn = state()["target_groups"][0]["arn"]
    elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "17"}])
    same("a delay that was changed", state()["target_groups"][0]["delay"], 17)
    sandbox("PUT", "/sandbox/faults", json.dumps([{"operation": "DescribeTargetHealth", "times": 1, "fault": "throttled"}]).encode())
    refused("throttled", "ThrottlingException", "Rate exceeded", elb.describe_target_health, TargetGroupArn=arn)
    elb.describe_target_health(TargetGroupArn=arn)


def refreshes():
    name = group_of(state())["name"]

    def last():
        return group_of(state())["refreshes"][0]

    def listed(**more):
        return asg.describe_instance_refreshes(AutoScalingGroupName=name, **more)["InstanceRefreshes"]

    def compare(what):
        # The models move between two looks: the values that were read must lie between them.
        before, (row, *_), after = last(), listed(), last()
        same(f"{what}: id", row["InstanceRefreshId"], after["id"])
        same(f"{what}: status", row["Status"] in (before["status"], after["status"]), True)
        same(f"{what}: progress", row["PercentageComplete"] in (before["percentage"], after["percentage"]), True)
        same(f"{what}: left", row["InstancesToUpdate"] in (before["to_update"], after["to_update"]), True)
        same(f"{what}: began", row["StartTime"].strftime("%Y-%m-%dT%H:%M:%SZ"), after["began"])
        same(f"{what}: over", "EndTime" in row, after["ended"] is not None)
        same(f"{what}: why", row.get("StatusReason"), after["reason"])
        return row

    def until(*statuses):
        for _ in range(300):
            if last()["status"] in statuses:
                return
            time.sleep(0.1)
        same(f"waited for {statuses}", last()["status"], statuses)

    by = dict(AutoScalingGroupName=name)
    (group,) = asg.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    same("its launch template", group["LaunchTemplate"]["Version"], str(group_of(state())["version"]))
    same("none yet", listed(), [])
    refused("nothing to cancel", "ActiveInstanceRefreshNotFound", "No in progress or pending Instance Refresh found for Auto Scaling group",
            asg.cancel_instance_refresh, **by)
    refused("nothing to roll back", "ActiveInstanceRefreshNotFound", "", asg.rollback_instance_refresh, **by)
    refused("of no group", "ValidationError", "", asg.start_instance_refresh, AutoScalingGroupName="nobody")
    refused("a share that cannot be", "ValidationError", "", asg.start_instance_refresh, **by,
            Preferences={"MinHealthyPercentage": 90, "MaxHealthyPercentage": 201})

    matching = asg.start_instance_refresh(**by, Preferences={"SkipMatching": True})["InstanceRefreshId"]
    same("it was started", last()["id"], matching)
    until("Successful")
    row = compare("all match")
    same("all match", (row["Status"], row["PercentageComplete"], row["InstancesToUpdate"]), ("Successful", 100, 0))

    version = str(group_of(state())["version"] + 1)
    asg.update_auto_scaling_group(**by, LaunchTemplate={"LaunchTemplateName": name, "Version": version})
    same("a new version", str(group_of(state())["version"]), version)
    preferences = {"SkipMatching": True, "MinHealthyPercentage": 100, "MaxHealthyPercentage": 150, "InstanceWarmup": 1,
                   "CheckpointPercentages": [50, 100], "CheckpointDelay": 60}
    asg.start_instance_refresh(**by, Preferences=preferences)
    refused("a second one", "InstanceRefreshInProgress", "An Instance Refresh is already in progress", asg.start_instance_refresh, **by)
    until("InProgress")
    row = compare("in progress")
    same("what it was asked for", {k: row["Preferences"][k] for k in preferences}, preferences)
    same("it names no version", row.get("DesiredConfiguration"), None)
    refused("without a version", "IrreversibleInstanceRefresh", "", asg.rollback_instance_refresh, **by)
    same("cancelled", asg.cancel_instance_refresh(**by, WaitForTransitioningInstances=False)["InstanceRefreshId"], last()["id"])
    same("cancelled at once", compare("cancelled")["Status"], "Cancelled")

    desired = {"LaunchTemplate": {"LaunchTemplateName": name, "Version": "77"}}
    started = asg.start_instance_refresh(**by, DesiredConfiguration=desired, Preferences={"SkipMatching": True})["InstanceRefreshId"]
    until("InProgress")
    same("its version", compare("to a version")["DesiredConfiguration"]["LaunchTemplate"]["Version"], "77")
    same("cancelling", asg.cancel_instance_refresh(**by)["InstanceRefreshId"], started)
    same("it waits for what is under way", compare("cancelling")["Status"] in ("Cancelling", "Cancelled"), True)
    sandbox("PUT", "/sandbox/faults", json.dumps([{"operation": "StartInstanceRefresh", "times": 1, "fault": "throttled"}]).encode())
    refused("throttled", "Throttling", "Rate exceeded", asg.start_instance_refresh, **by)

    same("the newest first", [r["InstanceRefreshId"] for r in listed()], [r["id"] for r in group_of(state())["refreshes"]])
    same("by id", [r["InstanceRefreshId"] for r in listed(InstanceRefreshIds=[matching])], [matching])
    paged, token = [], {}
    while token is not None:
        page = asg.describe_instance_refreshes(**by, MaxRecords=1, **token)
        paged += page["InstanceRefreshes"]
        token = {"NextToken": page["NextToken"]} if "NextToken" in page else None
    same("by pages", [r["InstanceRefreshId"] for r in paged], [r["InstanceRefreshId"] for r in listed()])


def other_services():
    value = client("ssm").get_parameter(Name="/decamp/nomad-token", WithDecryption=True)["Parameter"]["Value"]
    same("a parameter", value, "parameter-value")
    secret = client("secretsmanager").get_secret_value(SecretId="decamp/consul-token")["SecretString"]
    same("a secret", secret, "secret-value")
    sqs = client("sqs")
    sqs.change_message_visibility(QueueUrl=ADDRESS + "/123456789012/decamp", ReceiptHandle="receipt", VisibilityTimeout=5)
    refused("a parameter that is not there", "ParameterNotFound", "", client("ssm").get_parameter, Name="/nothing")
    same("who we are", client("sts").get_caller_identity()["Account"], state()["account"])


for part in (reads, reads_and_writes_classic_ones, writes, reads, hooks_health_and_errors, refreshes, other_services):
    part()
print(f"boto3 {boto3.__version__}: {compared} comparisons, no difference")
