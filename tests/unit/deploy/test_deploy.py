"""What deploy/ says fits what the package does."""

import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import yaml

from cilium_proxy.supervisor.agent_arguments import starter_arguments

ROOT = Path(__file__).resolve().parents[3]
DEPLOY = ROOT / "deploy"
CONFIG = Path("/var/run/cilium/envoy/bootstrap-config.json")


def daemon_set():
    documents = {one["kind"]: one for one in yaml.safe_load_all((DEPLOY / "daemonset.yaml").read_text())}
    return documents["DaemonSet"]["spec"]["template"]["spec"]


def test_the_daemon_set_s_arguments_are_understood():
    (container,) = daemon_set()["containers"]
    assert container["command"] == ["/usr/bin/cilium-envoy-starter"]
    arguments = starter_arguments(container["args"])
    assert arguments.config == CONFIG
    assert arguments.value("--base-id") == "0"


def test_every_mount_has_its_volume():
    pod = daemon_set()
    mounts = {one["name"] for one in pod["containers"][0]["volumeMounts"]}
    assert mounts == {one["name"] for one in pod["volumes"]}


def test_manifests_and_units_grant_the_same_capabilities():
    (container,) = daemon_set()["containers"]
    values = yaml.safe_load((DEPLOY / "values.yaml").read_text())
    unit = (DEPLOY / "cilium-proxy-agent.service").read_text()
    granted = set(re.search(r"^AmbientCapabilities=(.*)$", unit, re.MULTILINE)[1].split())
    wanted = container["securityContext"]["capabilities"]["add"]
    assert values["envoy"]["securityContext"]["capabilities"]["envoy"] == wanted
    assert granted == {f"CAP_{name}" for name in wanted}


def test_the_unit_s_command_is_understood():
    unit = (DEPLOY / "cilium-proxy-agent.service").read_text()
    program, *arguments = shlex.split(re.search(r"^ExecStart=(.*)$", unit, re.MULTILINE)[1])
    assert program.endswith("/cilium-envoy-starter")
    assert starter_arguments(arguments).config == CONFIG


def test_the_image_gets_every_command_of_the_package(tmp_path):
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    packages = tmp_path / "packages"
    metadata = packages / "cilium_proxy-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: cilium-proxy\nVersion: 1\n")
    lines = ["[console_scripts]", *(f"{name} = {target}" for name, target in scripts.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines))
    command = [sys.executable, str(DEPLOY / "entry_points.py"), str(packages), str(tmp_path / "bin")]
    subprocess.run(command, check=True)
    assert {one.name for one in (tmp_path / "bin").iterdir()} == set(scripts)
    for name, target in scripts.items():
        entry = EntryPoint(name, target, "console_scripts")
        assert callable(entry.load())
        compile((tmp_path / "bin" / name).read_text(), name, "exec")
