"""The launch examples: valid for the tools they are for, saved before a stop, resumed after it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from finetune.runs import storage
from finetune.runs.folder import RunFolder
from tests.stages.finished import BERT, arguments, say


@pytest.fixture(scope="module")
def launch(root: Path) -> Path:
    return root / "scripts" / "launch"


def documents(file: Path) -> list[dict]:
    return list(yaml.safe_load_all(file.read_text("utf-8")))


# -- Slurm -------------------------------------------------------------------------------------


STEP = """
trap 'echo "srun TERM" >> "$CALLS"; exit 143' TERM
echo "srun $*" >> "$CALLS"
if [ -n "${STEP_EXIT:-}" ]; then exit "$STEP_EXIT"; fi
while :; do sleep 0.1; done
"""


class Cluster:
    """Slurm's commands, which only take notes, and the batch script under them."""

    def __init__(self, script: Path, folder: Path) -> None:
        self.script, self.calls_file = script, folder / "calls"
        self.programs = folder / "bin"
        self.programs.mkdir()
        for name, text in {
            "srun": STEP,
            "scontrol": 'case $1 in show) echo node7;; *) echo "scontrol $*" >> "$CALLS";; esac',
            "squeue": 'echo "$STATE"',
        }.items():
            (self.programs / name).write_text(f"#!/bin/bash\n{text}\n")
            (self.programs / name).chmod(0o755)

    def start(self, **environment: str) -> subprocess.Popen[str]:
        known = {
            "PATH": f"{self.programs}:{os.environ['PATH']}", "CALLS": str(self.calls_file),
            "STATE": "RUNNING", "FINETUNE_PYTHON": "python", "SLURM_JOB_ID": "41",
            "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_NUM_NODES": "2",
            "SLURM_GPUS_ON_NODE": "4",
        }  # fmt: skip
        self.process = subprocess.Popen(
            ["bash", str(self.script), "recipe=quickstart", "name=a b"],
            env={**known, **environment}, text=True, stdout=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        return self.process

    def calls(self) -> list[str]:
        return self.calls_file.read_text().splitlines() if self.calls_file.is_file() else []

    def told_to_stop(self, **environment: str) -> int:
        process = self.start(**environment)
        end = time.monotonic() + 30
        while not self.calls():
            assert time.monotonic() < end
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=15)
        return process.returncode


@pytest.fixture
def cluster(launch, tmp_path):
    made = Cluster(launch / "slurm.sbatch", tmp_path)
    yield made
    with contextlib.suppress(ProcessLookupError):
        os.killpg(made.process.pid, signal.SIGKILL)  # a step that SIGTERM did not reach


def test_slurms_signal_reaches_the_step_and_the_job_is_queued_again(cluster):
    assert cluster.told_to_stop() == 143
    assert cluster.calls()[1:] == ["srun TERM", "scontrol requeue 41"]


def test_every_node_is_given_the_same_command_and_meeting_point(cluster):
    process = cluster.start(STEP_EXIT="0")
    process.communicate(timeout=15)
    (call,) = cluster.calls()
    for part in ("--nnodes 2", "--nproc_per_node 4", "--rdzv_endpoint node7:20041",
                 "--rdzv_id 41-0", "-m finetune recipe=quickstart name=a b"):  # fmt: skip
        assert part in call


@pytest.mark.parametrize(
    "environment",
    [{"STATE": "COMPLETING"}, {"SLURM_RESTART_COUNT": "20"}],
    ids=["cancelled", "queued again too often"],
)
def test_a_job_that_shall_not_go_on_is_not_queued_again(cluster, environment):
    assert cluster.told_to_stop(**environment) == 143
    assert not any("requeue" in call for call in cluster.calls())


@pytest.mark.parametrize("code", [0, 3])
def test_a_step_that_ends_by_itself_gives_the_jobs_exit_code(cluster, code):
    process = cluster.start(STEP_EXIT=str(code))
    process.communicate(timeout=15)
    assert process.returncode == code
    assert not any("requeue" in call for call in cluster.calls())


def test_the_batch_script_asks_for_a_signal_and_for_requeueing(launch):
    text = (launch / "slurm.sbatch").read_text("utf-8")
    asked = [line.split()[1] for line in text.splitlines() if line.startswith("#SBATCH")]
    assert {"--requeue", "--signal=B:TERM@120", "--ntasks-per-node=1"} <= set(asked)


# -- Kubernetes --------------------------------------------------------------------------------


def test_the_kubernetes_job_saves_before_it_is_stopped_and_begins_again(launch):
    claim, _, job = documents(launch / "kubernetes.yaml")
    pod = job["spec"]["template"]["spec"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]  # one run folder for all
    assert pod["terminationGracePeriodSeconds"] >= 60
    assert pod["restartPolicy"] == "Never"
    assert pod["shareProcessNamespace"] is True
    assert job["spec"]["backoffLimit"] > 0
    rules = job["spec"]["podFailurePolicy"]["rules"]
    assert {"type": "DisruptionTarget"} in rules[0]["onPodConditions"]
    assert rules[0]["action"] == "Ignore"
    (container,) = pod["containers"]
    assert container["args"][0].startswith("exec ")  # else SIGTERM ends at the shell


def test_the_kubernetes_pods_find_each_other(launch):
    _, service, job = documents(launch / "kubernetes.yaml")
    spec, name = job["spec"], job["metadata"]["name"]
    (container,) = spec["template"]["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"] == int(environment["NODES"]) == 2
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True  # before anybody is ready
    assert service["spec"]["selector"] == {"job-name": name}
    assert spec["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert f"--master_addr {name}-0.{service['metadata']['name']}" in container["args"][0]
    assert '--node_rank "$JOB_COMPLETION_INDEX"' in container["args"][0]


def test_kubernetes_accepts_the_example(launch):
    validator = pytest.importorskip("kubernetes_validate", reason="not installed")
    for document in documents(launch / "kubernetes.yaml"):
        validator.validate(document, validator.latest_version(), strict=True)


# -- SkyPilot and Ray --------------------------------------------------------------------------


def test_the_spot_job_resumes_from_storage_that_can_append(launch):
    (task,) = documents(launch / "skypilot.yaml")
    assert task["resources"]["use_spot"] is True
    assert task["resources"]["job_recovery"]["max_restarts_on_errors"] == 0
    ((folder, bucket),) = task["file_mounts"].items()
    assert bucket["mode"] == "MOUNT_CACHED"
    assert f"run.dir={folder}" in task["run"]
    assert task["num_nodes"] == 1


def test_skypilot_accepts_the_example(launch, monkeypatch, root):
    sky = pytest.importorskip("sky", reason="SkyPilot is not installed")
    monkeypatch.chdir(root)
    assert sky.Task.from_yaml(str(launch / "skypilot.yaml")).name == "finetune"


def test_rays_runtime_leaves_runs_and_environments_behind(launch):
    (runtime,) = documents(launch / "ray_runtime.yaml")
    assert {"runs", ".venv"} <= set(runtime["excludes"])


@pytest.mark.slow
def test_two_ray_workers_train_one_run(launch, root, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed")
    command = [sys.executable, str(launch / "ray_job.py"), "--workers", "2"]
    done = subprocess.run(
        [*command, *arguments(BERT, tmp_path)], check=False, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert RunFolder(tmp_path / "case").manifest()["stages"]["train"]["world_size"] == 2


# -- two nodes ---------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["accelerate", "torchrun"])
def test_two_simulated_nodes_train_as_one_process(launch, root, tmp_path, launcher):
    command = ["bash", str(launch / "two_nodes.sh")]
    done = subprocess.run(
        [*command, *arguments(BERT, tmp_path / "two", "model.dropout=0.0")], cwd=root,
        check=False, capture_output=True, text=True, timeout=400,
        env={
            **os.environ, "FINETUNE_PYTHON": sys.executable, "FINETUNE_LAUNCHER": launcher,
            "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root),
        },
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr
    alone = say(*arguments(BERT, tmp_path / "one", "model.dropout=0.0"))
    assert alone.code == 0, alone.err
    assert [entry.name for entry in (tmp_path / "two").iterdir()] == ["case"]
    one, two = (RunFolder(tmp_path / name / "case") for name in ("one", "two"))
    assert two.manifest()["stages"]["train"]["world_size"] == 2
    losses = [
        [line["loss"] for line in storage.read_jsonl(run.metrics_log) if "loss" in line]
        for run in (one, two)
    ]
    assert losses[1] == pytest.approx(losses[0], abs=1e-4)


def test_the_two_nodes_script_says_why_it_cannot_run(launch, tmp_path):
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    refused = subprocess.run(
        ["bash", str(launch / "two_nodes.sh")], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert refused.returncode == 77
    assert "need root" in refused.stderr
