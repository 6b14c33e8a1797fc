"""Records in the shapes in which other systems write their audit logs, and a plain converter for each.

    for shape, text, event in records.all_records(): ...

`text` is the record as its system would write it, `event` the fields that a user would take from it; the
whole record becomes event_data. Everything is invented here and the same in each run: names, keys and
numbers mean nothing, but nesting, sizes, spelling and spacing are those of everyday.
"""

import datetime
import json
import random
import uuid

START = datetime.datetime(2026, 3, 2, 8, 30, tzinfo=datetime.timezone.utc)
USERS = ["amara.osei", "jürgen.groß", "田中-花子", "нина", "\u05d3\u05e0\u05d4\u200f", "o'neil \"oz\"",
         "svc-\U0001f680"]
KINDS = ["deployments", "configmaps", "secrets", "pods", "rolebindings"]
SEVERITIES = {1: "DEBUG", 9: "INFO", 13: "WARNING", 17: "ERROR", 21: "CRITICAL"}


class Number(str):
    """Written as it is spelled: JSON libraries would make another number of it."""


NUMBERS = [Number("1.10"), Number("-0"), Number("12345678901234567890.12345678901234567890"), Number("1E+2"),
           Number("6.02214076e23"), Number("100000000000000000000000000001")]


def write(record, rng):
    """The record as text, spaced in one of the ways that are in use."""
    item, name = rng.choice([(",", ":"), (", ", ": "), (" , ", " :\t"), (",  ", ":")])
    text = encode(record, item, name, ascii_only=rng.random() < 0.3)
    return text if rng.random() < 0.8 else text[0] + "  " + text[1:-1] + "\t" + text[-1]


def encode(value, item, name, ascii_only):
    if isinstance(value, Number):
        return value
    if isinstance(value, dict):
        members = (json.dumps(key, ensure_ascii=ascii_only) + name + encode(member, item, name, ascii_only)
                   for key, member in value.items())
        return "{" + item.join(members) + "}"
    if isinstance(value, list):
        return "[" + item.join(encode(element, item, name, ascii_only) for element in value) + "]"
    return json.dumps(value, ensure_ascii=ascii_only)


def depth_of(value):
    """How deep a value is nested, itself included."""
    members = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if members is None else 1 + max(map(depth_of, members), default=0)


def moment(rng):
    return START + datetime.timedelta(microseconds=rng.randrange(30 * 86400 * 10**6))


def rfc3339(time, digits=6):
    fraction = f"{time.microsecond:06d}"[:digits]
    return time.strftime("%Y-%m-%dT%H:%M:%S") + ("." + fraction if fraction else "") + "Z"


def an_id(rng):
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def address(rng):
    return rng.choice([f"203.0.113.{rng.randrange(256)}", f"2001:db8::{rng.randrange(1, 65536):x}"])


def words(rng, count):
    return " ".join("".join(rng.choice("aeioulmnrst") for _ in range(rng.randrange(2, 10))) for _ in range(count))


# ---- Kubernetes ----


def managed_fields(rng):
    """15 levels down, as the server notes who set what."""
    secret = {"f:env": {".": {}, 'k:{"name":"TOKEN"}': {".": {}, "f:name": {}, "f:valueFrom": {"f:secretKeyRef": {}}}}}
    return [{"manager": rng.choice(["kubectl-client-side-apply", "kube-controller-manager", "argocd-like"]),
             "operation": "Update", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
             "fieldsV1": {"f:metadata": {"f:annotations": {".": {}, "f:example.com/owner": {}}},
                          "f:spec": {"f:template": {"f:spec": {"f:containers": {'k:{"name":"app"}': secret}}}}}}
            for _ in range(rng.randrange(1, 4))]


def schema(rng, levels):
    """Of a custom resource: each level is two of JSON's."""
    if levels == 0:
        return {"type": rng.choice(["string", "integer"]), "description": words(rng, 12)}
    return {"type": "object", "properties": {words(rng, 1): schema(rng, levels - 1)}}


def kubernetes_object(rng, number, kind):
    metadata = {"name": f"{words(rng, 1)}-{number}", "namespace": "shop", "uid": an_id(rng),
                "managedFields": managed_fields(rng)}
    if number % 5 == 1:
        applied = json.dumps({"kind": kind, "data": {"motd": words(rng, 30) + "\n\t\"quoted\"\n"}})
        metadata["annotations"] = {"example.com/last-applied-configuration": applied}
    made = {"kind": kind, "apiVersion": "v1", "metadata": metadata}
    if number % 10 == 3:
        made["spec"] = {"versions": [{"schema": {"openAPIV3Schema": schema(rng, 7)}}]}
    if kind == "configmaps":
        size = 340_000 if number == 11 else 220_000 if number == 21 else 100 * number
        made["data"] = {"app.conf": "\n".join(words(rng, 8) for _ in range(size // 50))}
    return made


def kubernetes(rng, number):
    kind = KINDS[number % len(KINDS)]
    received = moment(rng)
    record = {
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "RequestResponse", "auditID": an_id(rng),
        "stage": "ResponseComplete", "requestURI": f"/apis/apps/v1/namespaces/shop/{kind}?fieldManager=kubectl&x=%2F",
        "verb": rng.choice(["create", "patch", "update", "delete"]),
        "user": {"username": f"system:serviceaccount:shop:{rng.choice(USERS)}", "groups": ["system:authenticated"],
                 "extra": {"example.com/pod-name": [words(rng, 1)]}},
        "sourceIPs": [address(rng), "10.1.2.3"], "userAgent": f"kubectl/v1.{number} (linux/amd64)",
        "objectRef": {"resource": kind, "namespace": "shop", "name": f"web-{number}", "apiGroup": "apps"},
        "responseStatus": {"metadata": {}, "code": 403 if number % 7 == 0 else 200},
        "requestReceivedTimestamp": rfc3339(received),
        "stageTimestamp": rfc3339(received + datetime.timedelta(milliseconds=number)),
        "annotations": {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""}}
    if number % 9:
        record["requestObject"] = kubernetes_object(rng, number, kind)
    return write(record, rng)


def from_kubernetes(record):
    ref, code = record["objectRef"], record["responseStatus"]["code"]
    return {"event_id": record["auditID"], "event_time": record["stageTimestamp"],
            "event_type": f"k8s.{ref['resource']}.{record['verb']}", "event_category": "kubernetes",
            "event_action": record["verb"], "outcome": "SUCCESS" if code < 400 else "FAILURE",
            "actor": {"type": "user", "id": record["user"]["username"], "ip": record["sourceIPs"][0]},
            "resource": {"type": ref["resource"], "id": ref["name"], "namespace": ref["namespace"]}}


# ---- CloudTrail ----


def run_instances(rng):
    """Its answer takes 11 levels."""
    def interface(index):
        return {"networkInterfaceId": f"eni-{rng.getrandbits(64):016x}", "groupSet": {"items": [{"groupId": "sg-1"}]},
                "privateIpAddressesSet": {"item": [{"privateIpAddress": f"10.0.{index}.7"}]}}
    return {"requestsId": an_id(rng), "instancesSet": {"items": [
        {"instanceId": f"i-{rng.getrandbits(64):017x}", "imageId": "ami-0", "cpuOptions": {"coreCount": 2},
         "networkInterfaceSet": {"items": [interface(index) for index in range(rng.randrange(1, 4))]}}]}}


def bucket_policy(rng, number):
    return {"bucketName": f"invented-{number}", "Host": ["s3.example.com"], "bucketPolicy": {
        "Version": "2012-10-17", "Statement": [
            {"Sid": words(rng, 1), "Effect": "Allow", "Principal": {"AWS": [long_arn(rng, index)]},
             "Action": ["s3:GetObject", "s3:List*"], "Resource": "arn:aws:s3:::invented/*",
             "Condition": {"StringLike": {"aws:PrincipalTag/team": ["*-ops", "${aws:username}"]}}}
            for index in range(rng.randrange(1, 60))]}}


def long_arn(rng, number):
    path = "/".join(words(rng, 1) for _ in range(rng.randrange(1, 25)))
    return f"arn:aws:sts::{number:012d}:assumed-role/{path}/{words(rng, 1)}"[:255]


def cloudtrail(rng, number):
    action = ["RunInstances", "PutBucketPolicy", "AssumeRoleWithWebIdentity", "GetObject", "ConsoleLogin"][number % 5]
    arn = long_arn(rng, number)
    record = {
        "eventVersion": "1.09", "userIdentity": {"type": "AssumedRole", "arn": arn, "accountId": f"{number:012d}",
                                                 "sessionContext": {"attributes": {"mfaAuthenticated": "false"}}},
        "eventTime": rfc3339(moment(rng), 0), "eventSource": "ec2.example.com", "eventName": action,
        "awsRegion": "eu-central-1", "userAgent": "[tool/2.0 (\u201cquoted\u201d)]",
        "sourceIPAddress": "autoscaling.example.com" if number % 6 == 0 else address(rng),
        "requestParameters": None, "responseElements": None, "additionalEventData": {
            "bytesTransferredIn": rng.choice(NUMBERS), "bytesTransferredOut": rng.choice(NUMBERS), "ratio": NUMBERS[0]},
        "eventID": an_id(rng), "readOnly": False, "eventType": "AwsApiCall", "recipientAccountId": f"{number:012d}"}
    if action == "RunInstances":
        record["responseElements"] = run_instances(rng)
    elif action == "PutBucketPolicy":
        record["requestParameters"] = bucket_policy(rng, number)
    elif action == "GetObject":
        record["errorCode"], record["errorMessage"] = "AccessDenied", f"User: {arn} isn't authorized\n(\u202d)"
    return write(record, rng)


def from_cloudtrail(record):
    identity = record["userIdentity"]
    event = {"event_id": record["eventID"], "event_time": record["eventTime"], "event_category": "cloudtrail",
             "event_type": f"{record['eventSource']}.{record['eventName']}", "event_action": record["eventName"],
             "outcome": "FAILURE" if "errorCode" in record else "SUCCESS",
             "actor": {"type": identity["type"], "id": identity["arn"]},
             "resource": {"type": "account", "id": record["recipientAccountId"]}}
    if not record["sourceIPAddress"].endswith(".com"):
        event["actor"]["ip"] = record["sourceIPAddress"]
    if "errorCode" in record:
        event["error"] = {"code": record["errorCode"], "message": record["errorMessage"]}
    return event


# ---- auditd ----


def auditd(rng, number):
    time = moment(rng)
    place = f"audit({int(time.timestamp())}.{time.microsecond // 1000:03d}:{4000 + number})"
    command = "".join(f"{byte:02X}" for byte in f"/usr/bin/env\0{words(rng, 3)}".encode())
    kinds = [f"type=SYSCALL msg={place}: arch=c000003e syscall=59 success={rng.choice(['yes', 'no'])} exit=0 "
             f"a0=55d0 ppid=1 pid={number} auid=1000 comm=\"{words(rng, 1)}\" exe=\"/usr/bin/env\" key=(null)",
             f"type=USER_LOGIN msg={place}: pid={number} uid=0 auid=4294967295 msg='op=login acct=\"root\" "
             f"exe=\"/usr/sbin/sshd\" hostname=? addr={rng.choice(['?', '192.0.2.77'])} terminal=ssh res=failed'",
             f"type=PROCTITLE msg={place}: proctitle={command}",
             f"node=host\\{number} type=PATH msg={place}: item=0 name=\"/tmp/{rng.choice(USERS[:4])}\""
             "\x1dOUID=\"root\""]
    return kinds[number % 4]


def from_auditd(text):
    kind = text[text.index("type=") + 5:].split(" ")[0]
    seconds, serial = text[text.index("audit(") + 6:text.index("):")].split(":")
    time = datetime.datetime.fromtimestamp(int(seconds[:-4]), datetime.timezone.utc)
    event = {"event_time": rfc3339(time, 0)[:-1] + f".{seconds[-3:]}Z", "event_type": f"auditd.{kind}",
             "event_category": "auditd", "event_action": kind, "correlation_id": serial,
             "outcome": "FAILURE" if "success=no" in text or "res=failed" in text else "SUCCESS"}
    if "addr=" in text and "addr=?" not in text:
        event["actor"] = {"type": "host", "ip": text[text.index("addr=") + 5:].split(" ")[0]}
    return event


# ---- GitHub, Okta ----


def github(rng, number):
    action = ["repo.change_merge_setting", "protected_branch.policy_override", "org.invite_member"][number % 3]
    return write({"@timestamp": int(moment(rng).timestamp() * 1000), "_document_id": words(rng, 1) + "==",
                  "action": action, "actor": rng.choice(USERS), "actor_ip": address(rng),
                  "actor_location": {"country_code": "NO"}, "org": "invented", "repo": f"invented/{words(rng, 1)}",
                  "data": {"old": {"merge": [True, None, rng.choice(NUMBERS)]}, "new": {}, "": []},
                  "user_agent": words(rng, 5), "external_identity_nameid": rng.choice(USERS) + "@example.com"}, rng)


def from_github(record):
    time = datetime.datetime.fromtimestamp(record["@timestamp"] / 1000, datetime.timezone.utc)
    return {"event_time": rfc3339(time, 3), "event_type": f"github.{record['action']}", "event_category": "github",
            "event_action": record["action"], "outcome": "UNKNOWN", "resource": {"type": "repo", "id": record["repo"]},
            "actor": {"type": "user", "id": record["actor"], "ip": record["actor_ip"]}}


def okta(rng, number):
    who = rng.choice(USERS)
    return write({"actor": {"id": f"00u{number}", "type": "User", "alternateId": f"{who}@example.com",
                            "displayName": who},
                  "client": {"userAgent": {"rawUserAgent": words(rng, 9), "os": "\u00b5OS"}, "ipAddress": address(rng),
                             "geographicalContext": {"geolocation": {"lat": Number("59.91390"),
                                                                     "lon": Number("10.75e0")}}},
                  "eventType": "policy.evaluate_sign_on." + "_".join(words(rng, number % 25 + 1).split()),
                  "displayMessage": words(rng, 6), "published": rfc3339(moment(rng), 3), "uuid": an_id(rng),
                  "outcome": {"result": ["SUCCESS", "FAILURE", "CHALLENGE"][number % 3], "reason": None},
                  "severity": "WARN" if number % 4 == 0 else "INFO", "transaction": {"id": words(rng, 1), "detail": {}},
                  "debugContext": {"debugData": {"behaviors": "{New IP=NEGATIVE, New Device=POSITIVE}",
                                                 "tunnels": json.dumps([{"anonymous": True}])}},
                  "target": [{"id": "rul1", "detailEntry": {"policyRuleFactorMode": "2FA"}}],
                  "legacyEventType": None}, rng)


def from_okta(record):
    outcome = {"SUCCESS": "SUCCESS", "FAILURE": "FAILURE"}.get(record["outcome"]["result"], "PENDING")
    return {"event_id": record["uuid"], "event_time": record["published"], "event_type": record["eventType"][:255],
            "event_category": "okta", "event_action": record["eventType"][:255], "outcome": outcome,
            "severity": {"WARN": "WARNING"}.get(record["severity"], record["severity"]),
            "correlation_id": record["transaction"]["id"],
            "actor": {"type": "User", "id": record["actor"]["alternateId"], "ip": record["client"]["ipAddress"]}}


# ---- OpenTelemetry ----


def attribute_value(rng, levels):
    """Three of JSON's levels each."""
    if levels == 0:
        return {"stringValue": words(rng, 4) + rng.choice(["\u2028", "\x7f", "\x85", "\u200b", ""])}
    return {"kvlistValue": {"values": [{"key": words(rng, 1), "value": attribute_value(rng, levels - 1)}]}}


def opentelemetry(rng, number):
    nanos = int(moment(rng).timestamp()) * 10**9 + rng.randrange(10**9)
    return write({"timeUnixNano": str(nanos), "observedTimeUnixNano": str(nanos + 5),
                  "severityNumber": [1, 9, 13, 17, 21][number % 5], "severityText": "Information",
                  "eventName": "payment.authorised", "body": attribute_value(rng, number % 13),
                  "attributes": [{"key": "http.status", "value": {"intValue": "9007199254740993"}},
                                 {"key": "ratio", "value": {"doubleValue": rng.choice(NUMBERS)}}],
                  "droppedAttributesCount": 0, "flags": 1, "traceId": f"{rng.getrandbits(128) | 1:032x}",
                  "spanId": f"{rng.getrandbits(64) | 1:016x}"}, rng)


def from_opentelemetry(record):
    seconds, nanos = divmod(int(record["timeUnixNano"]), 10**9)
    time = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return {"event_time": rfc3339(time, 0)[:-1] + f".{nanos:09d}Z", "event_type": record["eventName"],
            "event_category": "otel", "event_action": "log", "outcome": "UNKNOWN",
            "severity": SEVERITIES[record["severityNumber"]], "trace_id": record["traceId"],
            "span_id": record["spanId"]}


# ---- all of them ----

JSON_SHAPES = {"kubernetes": (50, kubernetes, from_kubernetes), "cloudtrail": (50, cloudtrail, from_cloudtrail),
               "github": (20, github, from_github), "okta": (26, okta, from_okta),
               "opentelemetry": (26, opentelemetry, from_opentelemetry)}


def all_records():
    """[(shape, the record's text as a JSON object, the fields taken from it)]"""
    found = []
    for shape, (count, make, convert) in JSON_SHAPES.items():
        rng = random.Random(shape)
        for number in range(count):
            text = make(rng, number)
            found.append((shape, text, convert(json.loads(text))))
    rng = random.Random("auditd")
    for number in range(40):
        text = auditd(rng, number)
        found.append(("auditd", json.dumps({"raw": text}, ensure_ascii=False), from_auditd(text)))
    return found
