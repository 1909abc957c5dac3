"""What Ray's launcher makes of the cloud file: its own set-up and provider, against a simulated AWS."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private.aws import config as rays_config
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.commands import _bootstrap_config
from ray.autoscaler.tags import NODE_KIND_WORKER, TAG_RAY_NODE_KIND, TAG_RAY_USER_NODE_TYPE

FILE = Path(__file__).parents[3] / "runners/cloud-cluster.yaml"


@pytest.fixture
def aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A region of a simulated AWS, and a home for the keys that Ray makes."""
    region = yaml.safe_load(FILE.read_text(encoding="utf-8"))["provider"]["region"]
    (tmp_path / ".ssh").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    monkeypatch.setattr(rays_config.time, "sleep", lambda seconds: None)  # the real AWS needs time
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        yield region


@pytest.mark.slow
def test_a_small_head_and_a_gpu_worker_at_spot_price(aws: str) -> None:
    boto3.client("iam").create_instance_profile(InstanceProfileName="octnas-storage")
    config = _bootstrap_config(yaml.safe_load(FILE.read_text(encoding="utf-8")), no_config_cache=True)
    head, gpu = (config["available_node_types"][name] for name in ("head", "gpu"))
    assert head["resources"] == {"CPU": 0}
    assert head["max_workers"] == 0
    assert {key: gpu["resources"][key] for key in ("CPU", "GPU")} == {"CPU": 8, "GPU": 1}
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    tags = {TAG_RAY_NODE_KIND: NODE_KIND_WORKER, TAG_RAY_USER_NODE_TYPE: "gpu"}
    provider.create_node(gpu["node_config"], tags, 1)
    found: list[dict[str, Any]] = [
        instance
        for each in boto3.client("ec2", region_name=aws).describe_instances()["Reservations"]
        for instance in each["Instances"]
    ]
    assert [(each["InstanceType"], each["InstanceLifecycle"]) for each in found] == [("g5.2xlarge", "spot")]
    assert found[0]["IamInstanceProfile"]["Arn"].endswith("/octnas-storage")
    (group,) = boto3.client("ec2", region_name=aws).describe_security_groups(
        GroupIds=gpu["node_config"]["SecurityGroupIds"]
    )["SecurityGroups"]
    from_anywhere = [
        rule["FromPort"] for rule in group["IpPermissions"] if {"CidrIp": "0.0.0.0/0"} in rule["IpRanges"]
    ]
    assert from_anywhere == [22]  # SSH; Ray's ports are open to the group's own machines only
