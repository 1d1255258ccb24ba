"""deploy/kubernetes: each manifest by Kubernetes' own schema, all of them by what they say of one another; no cluster, no network."""

from __future__ import annotations

import copy
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from wxsign import serving
from wxsign.settings import load_settings

kubernetes_validate = pytest.importorskip(
    "kubernetes_validate", reason="kubernetes-validate is not installed"
)

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy/kubernetes"
# The oldest that kustomization.yaml speaks of, and one of today.
VERSIONS = ("1.29", "1.35")
PODS = {"app.kubernetes.io/name": "wxsign"}
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
MANIFESTS = {
    document["kind"]: document
    for name in KUSTOMIZATION["resources"]
    for document in yaml.safe_load_all((FOLDER / name).read_text())
}
POD = MANIFESTS["Deployment"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", MANIFESTS)
def test_every_manifest_is_what_kubernetes_takes(kind, version):
    kubernetes_validate.validate(MANIFESTS[kind], version, strict=True)


@pytest.mark.parametrize(
    ("place", "value"),
    [(("spec", "replica"), 2), (("spec", "minReadySeconds"), "ten"), (("spec", "template"), [])],
)
def test_a_wrong_name_or_type_is_seen(place, value):
    broken = copy.deepcopy(MANIFESTS["Deployment"])
    broken[place[0]][place[1]] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


def test_no_file_is_forgotten():
    component = yaml.safe_load((FOLDER / "monitoring/kustomization.yaml").read_text())
    named = {*KUSTOMIZATION["resources"], *(f"monitoring/{name}" for name in component["resources"])}
    assert named == {str(path.relative_to(FOLDER)) for path in FOLDER.rglob("*.yaml")} - {
        "kustomization.yaml",
        "monitoring/kustomization.yaml",
    }


def test_every_selector_means_the_pods_of_the_deployment():
    spec = MANIFESTS["Deployment"]["spec"]
    spread = POD["topologySpreadConstraints"]
    assert spec["template"]["metadata"]["labels"] == PODS
    assert [
        spec["selector"]["matchLabels"],
        MANIFESTS["Service"]["spec"]["selector"],
        MANIFESTS["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        MANIFESTS["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        *(constraint["labelSelector"]["matchLabels"] for constraint in spread),
    ] == [PODS] * 5


def test_every_port_is_the_one_that_the_container_names():
    assert CONTAINER["args"][-1] == f"0.0.0.0:{CONTAINER['ports'][0]['containerPort']}"
    (port,) = MANIFESTS["Service"]["spec"]["ports"]
    (entry,) = MANIFESTS["NetworkPolicy"]["spec"]["ingress"]
    probes = [CONTAINER[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    names = [port["targetPort"], *(one["port"] for one in entry["ports"]), *(one["port"] for one in probes)]
    assert set(names) == {CONTAINER["ports"][0]["name"]}
    assert [probe["path"] for probe in probes] == ["/healthz", "/healthz", "/readyz"]


def test_a_pod_that_is_told_to_end_has_time_for_what_it_accepted():
    waiting = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert POD["terminationGracePeriodSeconds"] >= waiting + serving.graceful_timeout + 5


def test_a_rollout_takes_no_pod_away_before_its_successor_is_ready():
    assert MANIFESTS["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert KUSTOMIZATION["replicas"][0]["count"] >= 2


def test_a_pod_is_the_image_s_user_and_may_do_nothing_else():
    user = re.search(r"useradd --uid (\d+)", (ROOT / "deploy/Dockerfile").read_text())
    security = POD["securityContext"]
    assert {security["runAsUser"], security["runAsGroup"], security["fsGroup"]} == {int(user[1])}
    assert security["runAsNonRoot"]
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not POD["automountServiceAccountToken"]


def test_the_ingress_shows_nothing_that_our_nginx_closes():
    (rule,) = MANIFESTS["Ingress"]["spec"]["rules"]
    closed = re.search(r"location ~ (\^/\(readyz\S+) \{", (ROOT / "deploy/nginx.conf").read_text())[1]
    paths = [path["path"] for path in rule["http"]["paths"]]
    assert "/jsconfig" in paths
    assert [path for path in paths if re.match(closed, path)] == []
    assert {path["backend"]["service"]["name"] for path in rule["http"]["paths"]} == {"wxsign"}


def test_the_example_is_read_from_where_config_and_secrets_are_mounted(tmp_path):
    sources = {volume["name"]: volume for volume in POD["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in CONTAINER["volumeMounts"]}
    assert mounts.keys() == sources.keys()
    (config,), (secret,) = KUSTOMIZATION["configMapGenerator"], KUSTOMIZATION["secretGenerator"]
    assert sources["config"]["configMap"]["name"] == config["name"]
    assert sources["secrets"]["secret"]["secretName"] == secret["name"]
    environ = {entry["name"]: entry["value"] for entry in CONTAINER["env"]}
    assert environ["WXSIGN_CONFIG"] == f"{mounts['config']}/{config['files'][0]}"

    for name, value in (
        ("app-secret", "0123456789abcdef" * 2),
        ("store", "rediss://:password@redis.example.com/0"),
    ):
        assert f"secrets/{name}" in secret["files"]
        (tmp_path / name).write_text(f"{value}\n")
    text = (FOLDER / "wxsign.example.toml").read_text()
    assert text.count(mounts["secrets"]) == 2
    (tmp_path / "wxsign.toml").write_text(text.replace(mounts["secrets"], str(tmp_path)))
    settings = load_settings(environ={**environ, "WXSIGN_CONFIG": str(tmp_path / "wxsign.toml")})
    assert settings.store.startswith("rediss://")
    assert (settings.server, settings.workers, settings.trusted_proxies) == ("gunicorn", 2, 1)
    assert settings.warnings == ()


def test_prometheus_is_led_to_the_port_of_the_service():
    monitor = yaml.safe_load((FOLDER / "monitoring/monitor.yaml").read_text())
    service = MANIFESTS["Service"]
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["endpoints"]
    assert (endpoint["port"], endpoint["path"]) == (service["spec"]["ports"][0]["name"], "/metrics")


def test_kustomize_puts_them_together_and_a_changed_secret_brings_new_pods(tmp_path):
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")
    here = shutil.copytree(FOLDER, tmp_path / "kubernetes")
    (here / "wxsign.example.toml").rename(here / "wxsign.toml")
    text = (here / "kustomization.yaml").read_text()
    assert "# components: [monitoring]" in text
    (here / "kustomization.yaml").write_text(text.replace("# components:", "components:"))
    (here / "secrets").mkdir()
    (here / "secrets/store").write_text("memory:")
    made = []
    for app_secret in ("one", "another"):
        (here / "secrets/app-secret").write_text(app_secret)
        done = subprocess.run([kubectl, "kustomize", here], capture_output=True, text=True, check=True)
        manifests = {document["kind"]: document for document in yaml.safe_load_all(done.stdout)}
        assert manifests.keys() == {*MANIFESTS, "ConfigMap", "Secret", "ServiceMonitor"}
        for kind, manifest in manifests.items():
            if kind != "ServiceMonitor":
                kubernetes_validate.validate(manifest, VERSIONS[-1], strict=True)
        volumes = manifests["Deployment"]["spec"]["template"]["spec"]["volumes"]
        secret = next(volume["secret"]["secretName"] for volume in volumes if volume["name"] == "secrets")
        assert secret == manifests["Secret"]["metadata"]["name"]
        made.append(secret)
    assert made[0] != made[1]
