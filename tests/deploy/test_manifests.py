"""Rendered manifests: valid for KubeRay, Kubernetes and systemd, counted from the spec, or not rendered at all."""

import re
import shlex
import shutil
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from deploy.endpoint import config
from deploy.manifests import cron, kubernetes, pods, schedule
from tlg.cli import app
from tlg.errors import SpecError
from tlg.spec import AnnotateSpec, WorkersSpec, load_annotate_spec

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / "configs/jobs"
NIGHTLY = "0 2 * * *"
KUBERNETES_TARGETS = [target for target in kubernetes.TARGETS if target != "compose"]
EXAMPLES = [*sorted((REPOSITORY / "deploy/files/kuberay").glob("*.yaml")), REPOSITORY / "deploy/files/compose.yaml"]


def spec_of(name: str) -> AnnotateSpec:
    return load_annotate_spec(str(CONFIGS / f"{name}.yaml"))


def rendered(spec: AnnotateSpec, target: str) -> list[dict]:
    line = NIGHTLY if target in kubernetes.SCHEDULED else None
    return list(yaml.safe_load_all(kubernetes.render(spec, target, line, "Europe/Berlin")))


def one(documents: list[dict], kind: str) -> dict:
    (found,) = [document for document in documents if document["kind"] == kind]
    return found


@pytest.mark.parametrize("name", ["camera-traps", "camera-traps-gpu"])
@pytest.mark.parametrize("target", KUBERNETES_TARGETS)
def test_ray_resources_pass_kuberays_crds(crds, name, target):
    checked = 0
    for document in rendered(spec_of(name), target):
        if validator := crds.get((document["apiVersion"], document["kind"])):
            assert [error.message for error in validator.iter_errors(document)] == []
            checked += 1
    assert checked == 1


@pytest.mark.parametrize("target", KUBERNETES_TARGETS)
def test_other_resources_pass_kubernetes_own_schemas(target):
    for document in rendered(spec_of("camera-traps-gpu"), target):
        if not document["apiVersion"].startswith("ray.io/"):
            kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_examples_are_what_their_command_prints(example, monkeypatch):
    monkeypatch.chdir(REPOSITORY)
    first_line, text = example.read_text().split("\n", 1)
    printed = CliRunner().invoke(app, shlex.split(first_line.removeprefix("# tlg ")), catch_exceptions=False)
    assert printed.output == text, f"render it again: {first_line.removeprefix('# ')}"


def test_worker_counts_come_from_the_spec_and_are_said_once():
    spec = spec_of("camera-traps").model_copy(update={"workers": WorkersSpec(min=3, max=17, cpus=3, memory_gb=6)})
    job = one(rendered(spec, "rayjob"), "RayJob")["spec"]
    (group,) = job["rayClusterSpec"]["workerGroupSpecs"]
    assert (group["minReplicas"], group["maxReplicas"]) == (0, 17)
    asked = group["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert asked == {"cpu": str(3 + pods.CPUS_BESIDE_WORKERS), "memory": f"{6 + pods.MEMORY_BESIDE_WORKERS_GB}Gi"}
    assert "17" not in job["entrypoint"]


@pytest.mark.parametrize(
    ("gpus", "most", "pod_count", "pod_gpus", "pod_cpus"),
    [(0, 5, 5, 0, 2), (1, 5, 5, 1, 2), (0.5, 5, 3, 1, 3), (0.25, 8, 2, 1, 5), (0.25, 2, 1, 1, 3), (2, 3, 3, 2, 2)],
)
def test_pods_hold_the_workers_that_share_a_gpu(gpus, most, pod_count, pod_gpus, pod_cpus):
    size = pods.pod_size(WorkersSpec(max=most, gpus=gpus))
    assert (pods.pods_for(most, size), size.gpus, size.cpus) == (pod_count, pod_gpus, pod_cpus)


def test_clusters_ask_for_a_token_and_pods_are_locked_down():
    cluster = one(rendered(spec_of("camera-traps-gpu"), "raycluster"), "RayCluster")["spec"]
    assert cluster["authOptions"] == {"mode": "token"}
    templates = [cluster["headGroupSpec"]["template"], cluster["workerGroupSpecs"][0]["template"]]
    for template in templates:
        pod, container = template["spec"], template["spec"]["containers"][0]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["terminationGracePeriodSeconds"] > 0
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"livenessProbe", "readinessProbe", "lifecycle"} <= set(container)
        secrets = [source["secretRef"]["name"] for source in container["envFrom"]]
        assert secrets == ["bucket-keys", "endpoint-keys"]


def test_the_endpoint_is_configured_as_it_reads_it():
    from ray.serve.schema import ServeDeploySchema

    service = one(rendered(spec_of("camera-traps-gpu"), "rayservice"), "RayService")["spec"]
    (application,) = ServeDeploySchema.model_validate(yaml.safe_load(service["serveConfigV2"])).applications
    told = config.ServeConfig.model_validate(application.args)
    assert (told.model, told.replicas.max, told.replicas.gpus) == ("/models/tlg-wildlife", 4, 0.5)
    files = yaml.safe_load(kubernetes.render(spec_of("compose"), "compose"))["configs"]
    assert config.ServeConfig.model_validate(yaml.safe_load(files["serve-yaml"]["content"])).port == pods.SERVE_PORT


def test_an_endpoint_without_keys_is_not_rendered():
    spec = spec_of("compose")
    assert not spec.deploy.secrets
    with pytest.raises(SpecError, match="TLG_API_KEYS"):
        kubernetes.render(spec, "rayservice")


def test_the_nightly_cron_job_forbids_overlap_and_submits_with_the_clusters_token():
    documents = rendered(spec_of("camera-traps"), "cronjob")
    night = one(documents, "CronJob")["spec"]
    assert (night["schedule"], night["timeZone"], night["concurrencyPolicy"]) == (NIGHTLY, "Europe/Berlin", "Forbid")
    container = night["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    cluster = one(documents, "RayCluster")["metadata"]["name"]
    assert f"http://{cluster}-head-svc:8265" in container["command"]
    token = [item for item in container["env"] if item["name"] == "RAY_AUTH_TOKEN"]
    assert token[0]["valueFrom"]["secretKeyRef"] == {"name": cluster, "key": "auth_token"}


def test_what_pods_mount_reads_back_as_the_same_job(tmp_path):
    spec = spec_of("camera-traps")
    data = one(rendered(spec, "rayjob"), "ConfigMap")["data"]
    for name, text in data.items():
        (tmp_path / name).write_text(text)
    again = load_annotate_spec(str(tmp_path / "spec.yaml"))
    assert again == spec.model_copy(update={"exemplars": str(tmp_path / "exemplars.yaml")})


@pytest.mark.parametrize("target", kubernetes.TARGETS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("images.uri=/data/pictures", "images.uri is /data/pictures, a path of this machine"),
        ("output.uri=/data/out", "output.uri is /data/out"),
        ("model=./my-model", "model is "),
        ("workers.gpus=1.5", "whole GPUs only"),
        ("workers.count=3", "unknown key 'workers.count'"),
        ("workers.max=0", "workers.max"),
    ],
)
def test_a_broken_spec_renders_nothing_and_says_why(target, change, message):
    arguments = ["render", str(CONFIGS / "camera-traps.yaml"), "--target", target, "--set", change]
    result = CliRunner().invoke(app, [*arguments, "--cron", NIGHTLY])
    assert isinstance(result.exception, SpecError)
    assert message in str(result.exception)
    assert result.output == ""


def test_exemplars_of_this_machine_cannot_be_mounted(tmp_path):
    (tmp_path / "set.yaml").write_text("{name: foxes, classes: [{name: fox, exemplars: [fox.jpg]}]}")
    spec = spec_of("camera-traps").model_copy(update={"exemplars": str(tmp_path / "set.yaml")})
    with pytest.raises(SpecError, match=r"exemplar of 'fox' is .*fox\.jpg, a path of this machine"):
        kubernetes.render(spec, "rayjob")


@pytest.mark.parametrize("line", ["", "0 2 * *", "61 2 * * *", "0 2 * * * *", "@daily", "0 2 L * *", "often"])
@pytest.mark.parametrize("target", [*schedule.SCHEDULERS.names(), schedule.LOCAL])
def test_wrong_schedules_are_refused_everywhere(target, line):
    arguments = ["schedule", str(CONFIGS / "camera-traps.yaml"), "--target", target, "--cron", line]
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, SpecError)
    assert result.output == ""


def test_an_unknown_time_zone_is_refused():
    with pytest.raises(SpecError, match="Mars/Olympus: unknown"):
        kubernetes.render(spec_of("camera-traps"), "cronjob", NIGHTLY, "Mars/Olympus")


@pytest.mark.parametrize(
    ("line", "calendar"),
    [
        ("0 2 * * *", "*-*-* 2:0:00 Etc/UTC"),
        ("30 1,13 * * 1-5", "Mon,Tue,Wed,Thu,Fri *-*-* 1,13:30:00 Etc/UTC"),
        ("0 3 1 */6 *", "*-1,7-1 3:0:00 Etc/UTC"),
        ("0 3 * * sun", "Sun *-*-* 3:0:00 Etc/UTC"),
        ("15 4 * * 7", "Sun *-*-* 4:15:00 Etc/UTC"),
    ],
)
def test_systemd_means_the_same_times(line, calendar):
    assert cron.to_systemd(line, "Etc/UTC") == calendar
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    told = subprocess.run(
        ["systemd-analyze", "calendar", "--base-time=2026-11-21 00:00:00 UTC", "--iterations=3", calendar],
        capture_output=True,
        text=True,
        check=True,
        env={"TZ": "UTC", "PATH": "/usr/bin:/bin"},
    ).stdout
    theirs = re.findall(r"(?:Next elapse|Iter\. #\d|Iteration #\d): \w+ ([\d-]+ [\d:]+) UTC", told)
    ours, moment = [], datetime(2026, 11, 21, tzinfo=ZoneInfo("Etc/UTC")) - timedelta(seconds=1)
    for _ in range(3):
        moment = cron.next_start(line, moment)
        ours.append(f"{moment:%Y-%m-%d %H:%M:%S}")
    assert theirs == ours


def test_systemd_accepts_the_units(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    night = schedule.command("spec.yaml", None)
    text = schedule.entries(schedule.Nightly(spec_of("camera-traps"), night, NIGHTLY, "Europe/Berlin"), "systemd")
    units = re.split(r"^# .*/(tlg-[\w.-]+)$", text, flags=re.MULTILINE)[1:]
    paths = []
    for name, content in zip(units[::2], units[1::2], strict=True):
        paths.append(tmp_path / name)
        paths[-1].write_text(content)
    assert [path.suffix for path in paths] == [".service", ".timer"]
    # In a container systemd itself may be missing the targets that units lean on; our own lines must be clean.
    told = subprocess.run(["systemd-analyze", "verify", "--user", *map(str, paths)], capture_output=True, text=True)
    assert not [line for line in told.stderr.splitlines() if str(tmp_path) in line or "tlg-camera" in line]


def test_the_crontab_line_survives_percent_signs():
    night = schedule.command("/jobs/50%.yaml", None)
    text = schedule.entries(schedule.Nightly(spec_of("camera-traps"), night, NIGHTLY, "Etc/UTC"), "crontab")
    last = text.splitlines()[-1]
    assert last.startswith(f"{NIGHTLY} timeout 21600 ")
    assert last.endswith(r"-m tlg annotate '/jobs/50\%.yaml'") or last.endswith(r"-m tlg annotate /jobs/50\%.yaml")


def test_compose_counts_workers_and_starts_a_store_only_where_the_spec_names_it():
    bundled = yaml.safe_load(kubernetes.render(spec_of("compose"), "compose"))
    assert set(bundled["services"]) == {"head", "worker", "job", "endpoint", "store"}
    assert bundled["services"]["worker"]["deploy"]["replicas"] == 2
    cloud = yaml.safe_load(kubernetes.render(spec_of("camera-traps-gpu"), "compose"))
    assert "store" not in cloud["services"]
    devices = cloud["services"]["worker"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]
    for service in bundled["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_a_buckets_name_is_no_shell_program():
    spec = spec_of("compose")
    odd = spec.model_copy(update={"images": spec.images.model_copy(update={"uri": "s3://a;id $(id)/x/"})})
    started = yaml.safe_load(kubernetes.render(odd, "compose"))["services"]["store"]["entrypoint"][2]
    made = shlex.split(started.replace("$$", "$"))
    assert "/data/a;id $(id)" in made[: made.index("&&")]
    assert "$(" not in started.replace("$$", "")
