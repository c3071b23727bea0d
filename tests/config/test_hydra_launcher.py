"""`hydra/launcher=`: the plugin's names, every mistake named, nothing that names code."""

from __future__ import annotations

import dataclasses

import pytest

from finetune.config.hydra_launcher import LocalQueue, SlurmQueue, take
from finetune.errors import ArtefactError, ConfigError

SLURM = "hydra/launcher=submitit_slurm"

# hydra-submitit-launcher 1.2.0, hydra_plugins/hydra_submitit_launcher/config.py
PLUGIN_SHARED = {
    "submitit_folder", "timeout_min", "cpus_per_task", "gpus_per_node", "tasks_per_node", "mem_gb",
    "nodes", "name", "stderr_to_stdout",
}  # fmt: skip
PLUGIN_SLURM = {
    "partition", "qos", "comment", "constraint", "exclude", "gres", "cpus_per_gpu", "gpus_per_task",
    "mem_per_gpu", "mem_per_cpu", "account", "signal_delay_s", "max_num_timeout",
    "additional_parameters", "array_parallelism", "setup",
}  # fmt: skip


def test_the_keys_are_those_of_hydras_plugin():
    names = [{item.name for item in dataclasses.fields(kind)} for kind in (LocalQueue, SlurmQueue)]
    assert names == [PLUGIN_SHARED, PLUGIN_SHARED | PLUGIN_SLURM]


def test_the_launcher_is_taken_off_the_runs_own_arguments():
    queue, rest = take([
        "recipe=quickstart", SLURM, "hydra.launcher.partition=gpu", "seed=1,2",
        "+hydra.launcher.additional_parameters.mail-type=END", "hydra.launcher.timeout_min=90",
    ])  # fmt: skip
    assert rest == ["recipe=quickstart", "seed=1,2"]
    assert isinstance(queue, SlurmQueue)
    assert (queue.partition, queue.timeout_min) == ("gpu", 90)
    assert queue.additional_parameters == {"mail-type": "END"}


@pytest.mark.parametrize("arguments", [[], ["hydra/launcher=basic"]])
def test_without_a_queue_runs_stay_here(arguments):
    assert take(["seed=1,2", *arguments]) == (None, ["seed=1,2"])


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("hydra.launcher.partiton=gpu", "did you mean `hydra.launcher.partition`"),
        ("hydra.launcher.timeout_min=soon", "must be a whole number"),
        ("hydra.launcher.timeout_min=0", "at least 1"),
        ("hydra.launcher.timeout_min=2", "must be shorter"),
        ("hydra.launcher.partition=a,b", "one launcher starts all runs"),
        ("hydra.launcher.gpus_per_node=8", "tasks_per_node=8"),
        ("hydra.launcher.partition='a\\\\nb'", None),
        ("hydra.launcher.comment='${oc.env:HOME}'", "plain text"),
        ("hydra.launcher.comment='a\nb'", "plain text"),
        ("~hydra.launcher.comment", "leave the key out"),
        ("hydra/launcher=submitit_slrm", "did you mean `submitit_slurm`"),
    ],
)
def test_each_mistake_is_named(argument, said):
    if said is None:  # a backslash is only a backslash
        assert take([SLURM, argument])[0] is not None
        return
    with pytest.raises(ConfigError, match=said) as raised:
        take([SLURM, argument])
    assert raised.value.exit_code == 2


def test_keys_without_a_launcher_are_refused_with_what_is_missing():
    with pytest.raises(ConfigError, match="give hydra/launcher="):
        take(["hydra.launcher.partition=gpu"])


def test_the_local_launcher_has_no_second_node():
    with pytest.raises(ConfigError, match="one node"):
        take(["hydra/launcher=submitit_local", "hydra.launcher.nodes=2"])


@pytest.mark.parametrize(
    "argument",
    [
        "hydra.launcher._target_=os.system",
        "+hydra.launcher._target_=os.system",
        "hydra.launcher.additional_parameters._args_=[x]",
        "hydra.launcher.additional_parameters={a: {_target_: os.system}}",
    ],
)
def test_a_launcher_cannot_name_code(argument):
    with pytest.raises(ArtefactError) as raised:
        take([SLURM, argument])
    assert raised.value.exit_code == 4
