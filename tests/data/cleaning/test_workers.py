import os
from types import ModuleType

import pyarrow as pa
import pytest

from finetune.data.cleaning import workers
from finetune.data.cleaning.base import build

STEPS = build({"encoding": {}, "markers": {"action": "drop"}})


def batches(count):
    table = pa.table({"text": ["cafÃ©", "plain", None, "n/a"] * count, "other": range(4 * count)})
    return table.to_batches(max_chunksize=4)


def told(pairs):
    return [
        (
            batch.to_pydict(),
            {name: column.to_pylist() for name, column in outcome.columns.items()},
            outcome.stays.tolist(),
            outcome.tallies,
            outcome.events,
        )
        for batch, outcome in pairs
    ]


def die(*arguments):
    os._exit(1)


def test_two_processes_give_what_one_gives_in_the_same_order():
    alone = told(workers.outcomes(batches(12), ["text"], STEPS))
    assert told(workers.outcomes(batches(12), ["text"], STEPS, workers=2)) == alone
    assert len(alone) == 12
    assert alone[0][1] == {"text": ["café", "plain", None, "n/a"]}


def test_processes_that_die_cost_time_only(monkeypatch):
    alone = told(workers.outcomes(batches(12), ["text"], STEPS))
    monkeypatch.setattr(workers, "_from_message", die)
    assert told(workers.outcomes(batches(12), ["text"], STEPS, workers=2)) == alone


def test_no_more_batches_are_read_ahead_than_the_processes_need():
    read = []

    def stream():
        for number, batch in enumerate(batches(40)):
            read.append(number)
            yield batch

    results = workers.outcomes(stream(), ["text"], STEPS, workers=2)
    next(results)
    assert len(read) == 2 * workers.AHEAD + 1
    results.close()


def test_only_the_columns_to_clean_are_sent_without_what_they_were_cut_from():
    sent = []

    class Pool:
        def submit(self, function, *arguments):
            sent.append(arguments[0])
            return function(*arguments)

    table = pa.table({"text": ["x" * 100] * 1000, "picture": [b"y" * 1000] * 1000})
    batch = table.to_batches()[0].slice(500, 2)
    workers._submit(Pool(), batch, ["text"], STEPS)
    assert len(sent[0]) < 1000


def test_a_script_that_would_run_again_in_each_process_gets_none(monkeypatch, tmp_path):
    script = tmp_path / "mine.py"
    main = ModuleType("__main__")
    main.__file__ = str(script)
    monkeypatch.setitem(workers.sys.modules, "__main__", main)
    script.write_text("import finetune\nfinetune.train()\n", encoding="utf-8")
    assert not workers._may_spawn()
    script.write_text("if __name__ == '__main__':\n    pass\n", encoding="utf-8")
    assert workers._may_spawn()


def test_a_spawned_process_starts_no_others(monkeypatch):
    monkeypatch.setattr(workers.multiprocessing, "parent_process", lambda: object())
    monkeypatch.setattr(workers, "ProcessPoolExecutor", lambda *_: pytest.fail("started one"))
    assert len(told(workers.outcomes(batches(3), ["text"], STEPS, workers=2))) == 3
