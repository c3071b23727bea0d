"""How a launched job ended: the one thing to tell. Whole jobs: tests/faults/test_ranks.py."""

from __future__ import annotations

import time

import pytest

from finetune.errors import DataError, DistributedError, Interrupted, TimeIsUp
from finetune.runs import roll as rolls
from finetune.runs import storage
from finetune.runs.folder import RunFolder
from finetune.runs.roll import EchoError
from finetune.stages import ends

DIED = DistributedError("Rank 1 died after step 4.")
STOPPED = Interrupted(15, "Stopped by SIGTERM after step 4.")


@pytest.fixture
def found(tmp_path):
    """Return what is told of ranks' words, in their order, and exit codes."""
    run, words = RunFolder(tmp_path / "run"), tmp_path / "words"
    words.mkdir()

    def tell(codes, **spoken):
        for number, (rank, error) in enumerate(spoken.items()):
            record = {"rank": int(rank[1:]), "at": time.time() + number, **rolls.described(error)}
            storage.write_json(words / f"{rank[1:]}.json", record)
        return ends.found(run, words, codes, time.time() - 60)

    return tell


def test_an_error_of_a_ranks_own_goes_before_what_others_made_of_it(found):
    error = found({0: 9, 1: 3}, r0=DIED, r1=DataError("Row 7.", fix="Remove it."))
    assert (error.exit_code, error.problems, error.fix) == (3, ["Row 7."], "Remove it.")


def test_the_launcher_adds_by_which_signal_a_rank_died(found):
    error = found({1: -9, 0: 9}, r0=DIED)
    assert error.problems == ["Rank 1 was killed by SIGKILL after step 4."]
    assert error.exit_code == 9


def test_a_rank_that_was_told_to_stop_because_another_died_is_not_the_reason(found):
    error = found({1: -9, 0: 143}, r0=STOPPED)
    assert (error.exit_code, error.problems) == (9, ["Rank 1 was killed by SIGKILL."])


def test_a_job_that_was_stopped_says_how_far_it_came(found):
    error = found({0: 143, 1: -15}, r0=STOPPED)
    assert isinstance(error, Interrupted)
    assert error.exit_code == 143
    assert "step 4" in error.problems[0]


def test_ranks_that_only_got_the_signal_were_stopped(found):
    assert found({0: -15, 1: -15}).exit_code == 143


def test_a_rank_without_a_word_is_named_with_its_code(found):
    error = found({1: 7, 0: -15})
    assert error.exit_code == 9
    assert "Rank 1 ended with code 7" in error.problems[0]


def test_an_echo_is_enough_where_the_other_could_not_say_it_here(found):
    echo = EchoError("Row 7.")
    echo.exit_code = 3
    assert found({0: 3}, r0=echo).exit_code == 3


def test_time_that_is_up_is_no_failure():
    record = {"at": 0.0, **rolls.described(TimeIsUp("The time is up after step 4."))}
    end = ends.ended([record])
    assert isinstance(end, TimeIsUp)
    assert end.exit_code == 0
    assert ends.ended([]) is None


def test_error_json_is_written_only_where_ranks_of_this_job_were(tmp_path):
    run = RunFolder(tmp_path)
    ends.leave_word(run, DIED, time.time())
    assert not run.error.exists()
    (tmp_path / rolls.FOLDER).mkdir()
    ends.leave_word(run, DIED, time.time())
    assert storage.read_json(run.error)["code"] == 9
