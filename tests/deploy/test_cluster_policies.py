"""What platforms ask of a job: their schemas, a linter, the standard `restricted`, a queue, proxies, roles."""

import json
import os
import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from deploy.manifests import kubernetes, placement
from tests.servers.debian import programs
from tests.servers.environments import Unavailable, environment
from tlg.cli import app
from tlg.documents import parse
from tlg.errors import SpecError
from tlg.spec import AnnotateSpec, load_annotate_spec

REPOSITORY = Path(__file__).parents[2]
CONFIGS = REPOSITORY / "configs/jobs"
# CPU, GPU, Kueue, restricted pod security, nights with a time zone.
SHAPES = {
    "cpu": ("camera-traps", "rayjob"),
    "gpu": ("camera-traps-gpu", "rayjob"),
    "endpoint": ("camera-traps-gpu", "rayservice"),
    "kueue": ("kueue", "rayjob"),
    "restricted": ("restricted", "rayjob"),
    "nightly": ("camera-traps", "cronjob"),
    "nightly by KubeRay": ("camera-traps", "raycronjob"),
}
# Of checkov's checks of pods, those that ask for another decision than ours, each with its reason.
NOT_OURS = {
    "CKV_K8S_43": "an image's digest is the user's to name",
    "CKV_K8S_15": "IfNotPresent is right for images that are named by version",
    "CKV_K8S_35": "stores' packages read keys from the environment",
    "CKV_K8S_38": "the head's autoscaler asks Kubernetes for workers",
    "CKV_K8S_40": "the user id is the image's own",
    "CKV_K8S_8": "a pod that submits ends by itself: nothing to probe",
    "CKV2_K8S_6": "KubeRay makes the network policy, where deploy.isolated asks for it",
    "CKV_K8S_9": "a pod that submits serves nothing: nothing to probe",
}
IMAGE = "registry.example.com/tlg"
LATEST = kubernetes_validate.latest_version()


def documents(name: str, target: str, **deploy: object) -> list[dict]:
    spec = load_annotate_spec(str(CONFIGS / f"{name}.yaml"))
    changed = spec.model_copy(update={"deploy": spec.deploy.model_copy(update=deploy)})
    line = "0 2 * * *" if target in kubernetes.SCHEDULED else None
    return kubernetes.documents(changed, target, line, "Europe/Berlin")


def templates(content: object) -> list[dict]:
    """Every pod template, wherever it lies."""
    if isinstance(content, list):
        return [template for one in content for template in templates(one)]
    if not isinstance(content, dict):
        return []
    if "containers" in content.get("spec", {}):
        return [content]
    return [template for one in content.values() for template in templates(one)]


def as_pod(template: dict, number: int = 0) -> dict:
    metadata = template["metadata"] | {"name": f"pod-{number}", "namespace": "annotation"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def ray_of(rendered: list[dict]) -> dict:
    (ray,) = [document for document in rendered if document["apiVersion"].startswith("ray.io/")]
    return ray


def cluster_of(rendered: list[dict]) -> dict:
    spec = ray_of(rendered)["spec"]
    spec = spec.get("jobTemplate", spec)
    return spec.get("rayClusterSpec") or spec.get("rayClusterConfig") or spec


@pytest.mark.parametrize("shape", SHAPES)
def test_schemas_accept_every_resource_and_every_pod_in_it(crds, shape):
    rendered = documents(*SHAPES[shape])
    for document in rendered:
        if validator := crds.get((document["apiVersion"], document["kind"])):
            assert [error.message for error in validator.iter_errors(document)] == []
        else:
            kubernetes_validate.validate(document, LATEST, strict=True)
    found = templates(rendered)
    assert len(found) >= 2
    for template in found:
        kubernetes_validate.validate(as_pod(template), LATEST, strict=True)


@pytest.mark.parametrize("shape", SHAPES)
def test_pods_keep_the_standard_restricted(shape):
    rendered = documents(*SHAPES[shape])
    for template in templates(rendered):
        pod = template["spec"]
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"configMap", "emptyDir", "persistentVolumeClaim", "projected", "secret"}
        for container in pod["containers"]:
            assert_confined(container["securityContext"])
            assert {"name": "scratch", "mountPath": "/tmp"} in container["volumeMounts"]
            assert {"name": "HOME", "value": "/tmp"} in container["env"]
            assert not [port for port in container.get("ports", []) if "hostPort" in port]
    if autoscaler := cluster_of(rendered).get("autoscalerOptions"):
        context = autoscaler["securityContext"]  # KubeRay's own container takes nothing from ours
        assert_confined(context)
        assert context["runAsNonRoot"]
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}


def assert_confined(context: dict) -> None:
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True
    assert context["capabilities"] == {"drop": ["ALL"]}


@pytest.mark.cluster
@pytest.mark.long
def test_a_linter_finds_nothing_but_decisions_of_ours(tmp_path):
    """checkov knows no Ray, so it is shown the pods themselves. No registry has kube-linter or kubeconform."""
    try:
        program = environment("checkov", ("checkov==3.3.30",)) / "checkov"
    except Unavailable as error:
        pytest.skip(str(error))
    for shape, (name, target) in SHAPES.items():
        rendered = documents(name, target)
        shown = [document for document in rendered if not document["apiVersion"].startswith("ray.io/")]
        shown += [as_pod(template, number) for number, template in enumerate(templates(rendered))]
        (tmp_path / f"{shape}.yaml").write_text(yaml.safe_dump_all(shown))
    asked = [program, "-d", tmp_path, "--framework", "kubernetes", "--output", "json", "--compact"]
    asked += ["--skip-check", ",".join(NOT_OURS), "--quiet", "--skip-download"]
    told = subprocess.run(asked, capture_output=True, text=True, env=os.environ | {"LOG_LEVEL": "ERROR"}, check=False)
    found = json.loads(told.stdout)
    failed = [f"{one['check_id']} {one['resource']}: {one['check_name']}" for one in found["results"]["failed_checks"]]
    assert not failed, "\n".join(sorted(set(failed)))
    assert found["summary"]["passed"] > 100


def test_kueue_admits_a_job_as_a_whole_and_suspends_it_itself():
    rendered = documents("kueue", "rayjob")
    job = ray_of(rendered)
    assert job["metadata"]["labels"][placement.QUEUE_LABEL] == "nightly"
    assert "suspend" not in job["spec"]
    assert job["spec"]["shutdownAfterJobFinishes"]
    cluster = cluster_of(rendered)
    assert not cluster["enableInTreeAutoscaling"]
    (group,) = cluster["workerGroupSpecs"]
    assert group["replicas"] == group["minReplicas"] == group["maxReplicas"] == 4
    with pytest.raises(SpecError, match=r"deploy\.queue: .* use --target cronjob"):
        documents("kueue", "raycronjob")


def test_labels_annotations_and_places_reach_every_pod():
    rendered = documents("restricted", "rayjob", priority_class="batch-low")
    found = templates(rendered)
    for metadata in [*(document["metadata"] for document in rendered), *(one["metadata"] for one in found)]:
        assert metadata["labels"]["team"] == "wildlife"
        assert metadata["annotations"]["example.com/contact"] == "wildlife@example.com"
    assert all(one["spec"]["imagePullSecrets"] == [{"name": "registry"}] for one in found)
    assert all(one["spec"]["priorityClassName"] == "batch-low" for one in found)
    (worker,) = [one for one in found if one["metadata"]["labels"]["app.kubernetes.io/component"] == "worker"]
    assert worker["spec"]["tolerations"] == [
        {"key": "dedicated", "operator": "Equal", "value": "annotation", "effect": "NoSchedule"}
    ]
    (terms,) = worker["spec"]["affinity"]["nodeAffinity"].values()
    (expression,) = terms["nodeSelectorTerms"][0]["matchExpressions"]
    assert expression["values"] == ["eu-central-1a", "eu-central-1b"]
    resources = worker["spec"]["containers"][0]["resources"]
    assert resources["requests"]["ephemeral-storage"] == resources["limits"]["ephemeral-storage"] == "20Gi"
    own = documents("restricted", "rayjob", labels={"app.kubernetes.io/component": "mine"})
    assert {one["metadata"]["labels"]["app.kubernetes.io/component"] for one in templates(own)} == {
        "head",
        "worker",
        "submitter",
    }, "selectors rely on our labels"


def test_a_proxy_is_not_asked_for_what_is_inside():
    container = templates(documents("restricted", "rayjob"))[0]["spec"]["containers"][0]
    told = {item["name"]: item["value"] for item in container["env"]}
    assert told["HTTPS_PROXY"] == "http://proxy.example.com:3128"
    assert {"camera-traps-restricted-head-svc", ".svc", "169.254.169.254"} <= set(told["NO_PROXY"].split(","))
    own = templates(documents("restricted", "rayjob", environment={"https_proxy": "http://p", "no_proxy": "here"}))
    assert "NO_PROXY" not in {item["name"] for item in own[0]["spec"]["containers"][0]["env"]}


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN", "db_password", "TLG_API_KEYS"])
def test_no_spec_holds_a_secret(name):
    content = load_annotate_spec(str(CONFIGS / "camera-traps.yaml")).model_dump(exclude_defaults=True)
    content["deploy"]["environment"] = {name: "x"}
    with pytest.raises(SpecError, match=f"{name} looks like a secret"):
        parse(AnnotateSpec, content, "job.yaml")


def test_an_isolated_cluster_lets_in_its_own_pods_and_kuberay():
    policy = cluster_of(documents("restricted", "rayjob"))["networkPolicy"]
    assert policy["mode"] == "DenyAllIngress"
    own, operator, anyone = policy["head"]["ingressRules"]
    labels = own["from"][0]["podSelector"]["matchLabels"]
    assert all(
        set(labels.items()) <= set(one["metadata"]["labels"].items())
        for one in templates(documents("restricted", "rayjob"))
    )
    assert operator["from"][0]["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "kuberay-operator"}
    assert [port["port"] for port in anyone["ports"]] == [8080]
    served = cluster_of(documents("camera-traps-gpu", "rayservice", isolated=True))["networkPolicy"]
    assert [port["port"] for port in served["worker"]["ingressRules"][2]["ports"]] == [8080, 8000]


def test_a_kubernetes_role_says_who_may_use_a_standing_cluster(crds):
    rendered = documents("camera-traps", "raycluster", authentication="kubernetes")
    assert cluster_of(rendered)["authOptions"] == {"mode": "token", "enableK8sTokenAuth": True}
    by_kind = {document["kind"]: document for document in rendered}
    (rule,) = by_kind["Role"]["rules"]
    assert (rule["resourceNames"], rule["verbs"]) == (["camera-traps"], ["ray:write"])
    (subject,) = by_kind["ClusterRoleBinding"]["subjects"]
    head = cluster_of(rendered)["headGroupSpec"]["template"]["spec"]
    assert subject["name"] == head["serviceAccountName"]
    assert head.get("automountServiceAccountToken", True), "it asks Kubernetes who comes"
    for document in rendered:
        if validator := crds.get((document["apiVersion"], document["kind"])):
            assert [error.message for error in validator.iter_errors(document)] == []
        else:
            kubernetes_validate.validate(document, LATEST, strict=True)
    with pytest.raises(SpecError, match="standing clusters alone"):
        documents("camera-traps", "rayjob", authentication="kubernetes")
    with pytest.raises(SpecError, match=r"name it in deploy\.service_account"):
        documents("camera-traps", "raycluster", authentication="kubernetes", service_account=None)


def test_the_history_servers_collector_is_an_option(crds):
    rendered = documents("camera-traps", "raycluster", history="registry.example.com/collector:1")
    options = cluster_of(rendered)["historyServerOptions"]["collectorOptions"]
    assert options["image"] == "registry.example.com/collector:1"
    (validator,) = [crds[one["apiVersion"], one["kind"]] for one in rendered if one["kind"] == "RayCluster"]
    assert not list(validator.iter_errors(ray_of(rendered)))


def test_a_drain_takes_the_endpoints_replicas_one_by_one():
    (budget,) = [one for one in documents("camera-traps-gpu", "rayservice") if one["kind"] == "PodDisruptionBudget"]
    assert budget["spec"]["maxUnavailable"] == 1
    assert budget["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] == "worker"


def test_a_kustomize_base_is_the_same_manifests_in_files(tmp_path):
    base = tmp_path / "base"
    command = ["render", str(CONFIGS / "restricted.yaml"), "--target", "rayjob", "--kustomize", str(base)]
    printed = CliRunner().invoke(app, command, catch_exceptions=False)
    assert printed.output.split() == [str(base / name) for name in sorted_as_written(base)]
    listed = yaml.safe_load((base / "kustomization.yaml").read_text())
    written = [yaml.safe_load((base / name).read_text()) for name in listed["resources"]]
    assert written == documents("restricted", "rayjob")
    assert listed["images"] == [{"name": IMAGE, "newTag": "0.1.0"}]
    again = CliRunner().invoke(app, command)
    assert isinstance(again.exception, SpecError)
    assert "is not empty" in str(again.exception)


@pytest.mark.cluster
def test_kustomize_builds_the_base_and_overlays_of_it(tmp_path):
    """By the Kustomize inside Debian's kubectl, which is an old one: newer ones read what it reads."""
    try:
        kubectl = programs("kubernetes-client") / "kubectl"
    except Unavailable as error:
        pytest.skip(str(error))
    command = ["render", str(CONFIGS / "restricted.yaml"), "--target", "rayjob", "--kustomize", str(tmp_path / "base")]
    CliRunner().invoke(app, command, catch_exceptions=False)
    overlay = {"bases": ["../base"], "namespace": "wildlife", "images": [{"name": IMAGE, "newTag": "0.2.0"}]}
    (tmp_path / "overlay").mkdir()
    (tmp_path / "overlay" / "kustomization.yaml").write_text(yaml.safe_dump(overlay))

    def built(folder):
        asked = [kubectl, "kustomize", tmp_path / folder]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return sorted(yaml.safe_load_all(done.stdout), key=lambda document: document["kind"])

    assert built("base") == sorted(documents("restricted", "rayjob"), key=lambda document: document["kind"])
    over = built("overlay")
    assert {document["metadata"]["namespace"] for document in over} == {"wildlife"}
    images = {container["image"] for template in templates(over) for container in template["spec"]["containers"]}
    assert images == {f"{IMAGE}:0.2.0"}


def sorted_as_written(base: Path) -> list[str]:
    listed = yaml.safe_load((base / "kustomization.yaml").read_text())["resources"]
    return [*listed, "kustomization.yaml"]
