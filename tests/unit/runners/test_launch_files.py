"""Launch files: each is sound by the rules of its kind, and each ends in the same search."""

from __future__ import annotations

import copy
import json
import os
import re
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray.autoscaler
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema
from cli_case import Octnas, caller, in_folder_with_a_space
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
RUNNERS = ROOT / "runners"
LAUNCHERS = ("slurm.sbatch", "kuberay-rayjob.yaml", "cloud-cluster.yaml", "compose.yaml")
SCRIPTS = Path(sysconfig.get_path("scripts"))
RAYJOB_SCHEMA = json.loads((ROOT / "tests/data/kuberay-rayjob.schema.json").read_text(encoding="utf-8"))
RAY_SCHEMA = json.loads(
    (Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text(encoding="utf-8")
)


def text_of(name: str) -> str:
    return (RUNNERS / name).read_text(encoding="utf-8")


def line_of(name: str) -> str:
    """The one search of a launch file."""
    (line,) = re.findall(r"octnas search --budget.*--cluster.*$", text_of(name), flags=re.MULTILINE)
    return str(line)


# ---------------------------------------------------------------- the search
@pytest.mark.parametrize("name", LAUNCHERS)
def test_each_ends_in_the_same_search(name: str) -> None:
    last = text_of(name).rstrip().splitlines()[-1]
    assert last.endswith(line_of(name))
    assert line_of(name) == line_of("slurm.sbatch")


def test_it_is_the_readmes_search_with_more_options() -> None:
    assert line_of("README.md") == line_of("slurm.sbatch")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (main_job,) = set(re.findall(r"octnas search --budget-gflops [\d.]+(?=\n```)", readme))
    assert line_of("slurm.sbatch").startswith(main_job + " --")


def test_it_is_a_search_that_octnas_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    in_folder_with_a_space(tmp_path, monkeypatch)
    octnas: Octnas = caller(monkeypatch, capsys)
    monkeypatch.setenv("NAME", "first")
    monkeypatch.setenv("STORAGE", str(tmp_path / "shared"))
    command, *arguments = shlex.split(os.path.expandvars(line_of("slurm.sbatch")))
    assert command == "octnas"
    assert arguments[arguments.index("--storage") + 1] == str(tmp_path / "shared")
    done = octnas(*arguments, "--dry-run", "--no-estimate", "--json")
    assert done.code == 0, done.err
    assert done.document["reachable"] is True
    assert done.document["budget_gflops"] == 2.0


# ---------------------------------------------------------------- what each says of itself
@pytest.mark.parametrize("name", [*LAUNCHERS, "Dockerfile"])
def test_each_says_first_whether_it_was_run(name: str) -> None:
    first = [line for line in text_of(name).splitlines() if not line.startswith("#!")][:4]
    assert all(line.startswith("#") for line in first)
    assert re.search(r"# (Run on|Not run|Not built)", "\n".join(first)), first


def test_the_readme_lists_them_all() -> None:
    rows = re.findall(r"^\| \[`([^`]+)`\]\(([^)]+)\)", text_of("README.md"), flags=re.MULTILINE)
    files = {path.name for path in RUNNERS.iterdir() if path.suffix not in (".md", ".env")}
    assert {name for name, _ in rows} == {link for _, link in rows} == files


def test_versions_agree() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    wanted = {
        each.name: each.specifier for each in map(Requirement, re.findall(r'"([^"]+[<>]=?[^"]+)"', project))
    }
    (image,) = re.findall(
        r"^FROM rayproject/ray:([\d.]+)-py(\d)(\d+)", text_of("Dockerfile"), flags=re.MULTILINE
    )
    (server,) = re.findall(r"mlflow==([\d.]+)", text_of("compose.yaml"))
    assert cluster_of(rayjob())["rayVersion"] == image[0]
    assert image[0] in wanted["ray"]
    assert server in wanted["mlflow"]
    assert (int(image[1]), int(image[2])) >= (3, 11)


# ---------------------------------------------------------------- Slurm
def test_the_script_is_sound() -> None:
    path = str(RUNNERS / "slurm.sbatch")
    for command in (["bash", "-n", path], [str(SCRIPTS / "shellcheck"), "--shell=bash", path]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def test_slurm_reads_its_options() -> None:
    lines = text_of("slurm.sbatch").splitlines()
    first_command = next(i for i, line in enumerate(lines) if line and not line.startswith("#"))
    options = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    assert all(line.startswith("#") for line in lines[:first_command])
    assert {line for line in lines[:first_command] if line.startswith("#SBATCH")} == {
        f"#SBATCH {x}" for x in options
    }
    assert {"--signal=B:USR1@120", "--requeue", "--no-kill", "--ntasks-per-node=1"} <= set(options)


# ---------------------------------------------------------------- Kubernetes
def rayjob() -> dict[str, Any]:
    _, job = yaml.safe_load_all(text_of("kuberay-rayjob.yaml"))
    return dict(job)


def cluster_of(job: dict[str, Any]) -> dict[str, Any]:
    return dict(job["spec"]["rayClusterSpec"])


def pods(job: dict[str, Any]) -> list[dict[str, Any]]:
    cluster = cluster_of(job)
    return [cluster["headGroupSpec"]["template"], *(each["template"] for each in cluster["workerGroupSpecs"])]


def check_pod(template: dict[str, Any]) -> None:
    resource = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template}
    kubernetes_validate.validate(resource, "1.33", strict=True)


def test_kubernetes_takes_the_claim_and_the_pods() -> None:
    claim, job = yaml.safe_load_all(text_of("kuberay-rayjob.yaml"))
    kubernetes_validate.validate(claim, "1.33", strict=True)
    assert len(pods(job)) == 2
    for template in pods(job):
        check_pod(template)
        (claimed,) = [
            v["persistentVolumeClaim"]["claimName"]
            for v in template["spec"]["volumes"]
            if v["name"] == "shared"
        ]
        assert claimed == claim["metadata"]["name"]
        mounted = {mount["name"] for mount in template["spec"]["containers"][0]["volumeMounts"]}
        assert mounted == {volume["name"] for volume in template["spec"]["volumes"]}
    wrong = copy.deepcopy(pods(job)[0])
    wrong["spec"]["containers"][0]["volumeMount"] = []
    with pytest.raises(kubernetes_validate.ValidationError):
        check_pod(wrong)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("spec", "entryPoint"), "octnas"),
        (("spec", "submissionMode"), "HttpMode"),
        (("spec", "rayClusterSpec", "enableInTreeAutoScaling"), True),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "maxReplica"), 4),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams", "num-cpus"), 0),
    ],
)
def test_the_rayjob_has_documented_fields_only(place: tuple[str | int, ...], value: object) -> None:
    job = rayjob()
    jsonschema.validate(job, RAYJOB_SCHEMA)
    at: Any = job
    for key in place[:-1]:
        at = at[key]
    at[place[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job, RAYJOB_SCHEMA)


def test_the_rayjob_scales_gpus_and_keeps_trials_off_the_head() -> None:
    cluster = cluster_of(rayjob())
    (gpu,) = cluster["workerGroupSpecs"]
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["authOptions"] == {"mode": "token"}
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    assert 0 < gpu["minReplicas"] <= gpu["replicas"] < gpu["maxReplicas"]
    assert gpu["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_its_entrypoint_goes_on_with_a_search_that_is_there(tmp_path: Path) -> None:
    fake = tmp_path / "octnas"
    fake.write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    fake.chmod(0o755)
    head = pods(rayjob())[0]["spec"]["containers"][0]
    environment = {each["name"]: each["value"] for each in head["env"]}
    environment |= {"OCTNAS_HOME": str(tmp_path / "runs"), "PATH": f"{tmp_path}:/usr/bin:/bin"}

    def run() -> str:
        command = rayjob()["spec"]["entrypoint"]
        done = subprocess.run(
            command, shell=True, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert run() == line_of("slurm.sbatch").removeprefix("octnas ").replace('"$NAME"', "first").replace(
        '"$STORAGE"', "/shared/storage"
    )
    (tmp_path / "runs/first").mkdir(parents=True)
    assert run() == "resume first --cluster auto"


# ---------------------------------------------------------------- a cloud
def on_google_cloud() -> dict[str, Any]:
    """The file with the keys that its comments give for Google Cloud."""
    other = "\n".join(re.findall(r"^#gcp ?(.*)$", text_of("cloud-cluster.yaml"), flags=re.MULTILINE))
    return {**yaml.safe_load(text_of("cloud-cluster.yaml")), **yaml.safe_load(other)}


@pytest.mark.parametrize("cloud", ["aws", "gcp"])
def test_rays_launcher_takes_the_cluster(cloud: str) -> None:
    config = yaml.safe_load(text_of("cloud-cluster.yaml")) if cloud == "aws" else on_google_cloud()
    jsonschema.validate(config, RAY_SCHEMA)
    assert config["provider"]["type"] == cloud
    head, gpu = (config["available_node_types"][each] for each in (config["head_node_type"], "gpu"))
    assert head["resources"] == {"CPU": 0}
    assert 0 < gpu["min_workers"] < gpu["max_workers"] <= config["max_workers"]
    spot = {
        "aws": {"InstanceMarketOptions": {"MarketType": "spot"}},
        "gcp": {"scheduling": [{"preemptible": True}]},
    }
    for key, value in spot[cloud].items():
        found = gpu["node_config"][key]
        assert found == value or all(each in found for each in value)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "min_workers": 1}, RAY_SCHEMA)  # was a key once


# ---------------------------------------------------------------- MLflow on PostgreSQL
def test_compose_takes_the_servers() -> None:
    schema = get_builtin_schema("vendor.compose-spec")
    config = yaml.safe_load(text_of("compose.yaml"))
    jsonschema.validate(config, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**config, "service": {}}, schema)
    services = config["services"]
    assert services["mlflow"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert all("healthcheck" in each for each in services.values())
    used = {volume.split(":")[0] for each in services.values() for volume in each["volumes"]}
    assert used == config["volumes"].keys()


def test_its_servers_are_on_loopback_and_it_holds_no_password() -> None:
    config = yaml.safe_load(text_of("compose.yaml"))
    ports = [port for each in config["services"].values() for port in each.get("ports", ())]
    assert ports == ["127.0.0.1:5000:5000"]
    values = json.dumps([each.get("environment") for each in config["services"].values()])
    assert "PASSWORD" not in values
    assert re.search(r"//[^/]*:[^/]*@", values) is None
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert {f"runners/{name}" for each in config["services"].values() for name in each["env_file"]} <= set(
        ignored
    )


def test_mlflow_takes_its_servers_options() -> None:
    from mlflow.cli import server

    program, command, *options = yaml.safe_load(text_of("compose.yaml"))["services"]["mlflow"]["command"]
    context = server.make_context(command, list(options))
    assert (program, command) == ("mlflow", "server")
    assert (context.params["port"], context.params["workers"]) == (5000, "4")
    assert context.params["artifacts_destination"] == "/artifacts"


def test_mlflow_admits_the_names_by_which_it_is_called() -> None:
    from mlflow.server.security_utils import is_allowed_host_header

    compose, kubernetes = (text_of(name) for name in ("compose.yaml", "kuberay-rayjob.yaml"))
    (called,) = re.findall(r"^# export MLFLOW_TRACKING_URI=http://(\S+)$", compose, flags=re.MULTILINE)
    admitted = yaml.safe_load(compose)["services"]["mlflow"]["environment"]["MLFLOW_SERVER_ALLOWED_HOSTS"]
    assert is_allowed_host_header(admitted.split(","), called)
    assert not is_allowed_host_header(admitted.split(","), "elsewhere:5000")
    (called,) = re.findall(r"MLFLOW_TRACKING_URI=http://(\S+)$", kubernetes, flags=re.MULTILINE)
    (admitted,) = re.findall(r"MLFLOW_SERVER_ALLOWED_HOSTS=(\S+)", kubernetes)
    assert is_allowed_host_header(admitted.split(","), called)
    for line in (f"MLFLOW_SERVER_ALLOWED_HOSTS={admitted}`", f"MLFLOW_TRACKING_URI=http://{called}\n"):
        assert line in text_of("README.md")


# ---------------------------------------------------------------- the image
def test_the_dockerfiles_are_sound(tmp_path: Path) -> None:
    inline = tmp_path / "Dockerfile"
    build = yaml.safe_load(text_of("compose.yaml"))["services"]["mlflow"]["build"]
    inline.write_text(build["dockerfile_inline"], encoding="utf-8")
    for path in (RUNNERS / "Dockerfile", inline):
        command = [str(SCRIPTS / "hadolint"), "--no-color", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_image_copies_what_there_is() -> None:
    copied = re.findall(r"^COPY (?:--\S+ )*(.+) \S+$", text_of("Dockerfile"), flags=re.MULTILINE)
    sources = [source for each in copied for source in each.split()]
    assert {"octnas", "search_spaces", "pyproject.toml"} <= set(sources)
    assert all((ROOT / source).exists() for source in sources)
