"""Which columns make two rows the same question."""

import subprocess
import sys

from finetune.data.kinds import Audio, Image, Label, Messages, Text, input_columns, label_column


def test_inputs_are_what_the_model_reads():
    assert input_columns({"text": Text(), "label": Label()}) == ["text"]
    assert input_columns({"source": Text(), "target": Text()}) == ["source"]
    assert input_columns({"image": Image(), "text": Text()}) == ["image"]
    assert input_columns({"audio": Audio(), "text": Text()}) == ["audio"]
    assert input_columns({"messages": Messages()}) == ["messages"]


def test_a_kind_may_say_itself_whether_it_is_a_target():
    kinds = {"image": Image(), "text": Text(target=False)}
    assert input_columns(kinds) == ["image", "text"]


def test_the_label_column_is_found_by_kind_not_by_name():
    assert label_column({"text": Text(), "queue": Label()}) == "queue"
    assert label_column({"text": Text()}) is None


def test_importing_kinds_loads_nothing_heavy():
    code = (
        "import sys, finetune.data.kinds as k; "
        "print(sorted({'torch','datasets','pyarrow','pandas','numpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
