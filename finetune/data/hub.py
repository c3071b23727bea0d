"""Data sets of the Hugging Face hub, by id and revision; code in them never runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.data.files import format_of
from finetune.errors import HubError

if TYPE_CHECKING:
    import pyarrow as pa

_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")


def looks_like_id(text: str) -> bool:
    """Tell whether a path that is not on disk can be a hub id, such as ``org/name``."""
    path = Path(text)
    return bool(_ID.match(text)) and format_of(path) is None and not path.parent.exists()


def load(text: str, *, name: str | None = None, revision: str | None = None) -> dict[str, pa.Table]:
    """Load every split of a hub data set, media as their encoded bytes.

    Args:
        text: The hub id.
        name: Configuration name, for sets that have several.
        revision: Branch, tag or commit.

    Raises:
        HubError: It is not there, not permitted, or the network is.
    """
    import datasets

    try:
        found = datasets.load_dataset(text, name=name, revision=revision)
    except Exception as error:
        raise _explained(error, text) from error
    return {str(split): _plain(part) for split, part in found.items()}


def _plain(dataset: Any) -> pa.Table:
    import datasets

    from finetune.data.arrow_files import plain_table

    media = datasets.Image | datasets.Audio
    if any(isinstance(feature, media) for feature in dataset.features.values()):
        # The hub's own cache may hold paths; the run must not depend on it.
        return plain_table(datasets.table.embed_table_storage(dataset.data.table))
    return plain_table(dataset.data.table)


def _explained(error: Exception, text: str) -> HubError:
    """Say what went wrong with a hub data set and what to do; the cause stays for `--debug`."""
    reason = str(error).strip()
    if "BuilderConfig" in reason or "Config name is missing" in reason:
        first = reason.splitlines()[0]
        return HubError(
            f"The hub data set `{text}` has several configurations: {first}",
            fix="Choose one with data.name.",
        )
    if "script" in reason.lower():
        return HubError(
            f"The hub data set `{text}` needs its own code to load, which is not run.",
            fix="Use a revision in parquet (often data.revision=refs/convert/parquet).",
        )
    return HubError(
        f"`{text}` is neither a file or folder here nor a data set that could be had from the hub "
        f"({type(error).__name__}).",
        fix="Check the path, or the id, the network and the login; or download the data set where "
        "there is a network (`hf download --repo-type dataset ID --local-dir FOLDER`) and set "
        "data.path=FOLDER.",
    )
