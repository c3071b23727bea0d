"""What has changed under an unfinished run since its last attempt: its data, its base model."""

from __future__ import annotations

import sys
from typing import Any

from finetune.config.schema import RunConfig
from finetune.errors import FinetuneError
from finetune.models.source import BaseModel
from finetune.runs.changes import Change
from finetune.runs.folder import RunFolder


class Since:
    """Looks for changes once, and keeps what it found on the way.

    Args:
        run: The run folder.
        config: The run as it is asked for now.
        rows: Rows given through the Python API.
    """

    def __init__(self, run: RunFolder, config: RunConfig, rows: Any) -> None:
        self.run, self.config, self.rows = run, config, rows
        self.base: BaseModel | None = None
        self.data: dict[str, Any] = {}

    def changes(self) -> list[Change]:
        """Return what has changed, but for the configuration.

        Raises:
            FinetuneError: The base model cannot be had; error.json says it too.
        """
        return [*self._of_data(), *self._of_base()]

    def accept(self) -> None:
        """Record the data as they are now, after the change was allowed or there was none."""
        known = self.run.manifest().get("data") or {}
        if self.data and self.run.is_done("prepare") and {**known, **self.data} != known:
            self.run.record(data={**known, **self.data})

    def _of_data(self) -> list[Change]:
        from finetune.data import fingerprint
        from finetune.stages.prepare import settings_of

        known = self.run.manifest().get("data") or {}
        parts = known.get("sources") or {}
        given = any(name.startswith("rows:") for name in parts)
        if not parts or (given and self.rows is None):  # those in the folder are all there is
            return []
        before = fingerprint.Fingerprint(parts, known.get("not_verifiable") or {})
        now = fingerprint.of(settings_of(self.config, self.rows))
        differences, blind = before.compared(now)
        for role, why in blind.items():
            sys.stderr.write(
                f"   data.{role} cannot be compared with what was prepared ({why}); going on "
                "with the rows that were\n"
            )
        kept = {n: value for n, value in parts.items() if n.partition(":")[0] in blind}
        self.data = {"sources": {**kept, **now.parts}, "not_verifiable": now.not_verifiable}
        return [Change(f"data: {name}", was, is_) for name, was, is_ in differences]

    def _of_base(self) -> list[Change]:
        from finetune.stages import base_model

        if not self.config.model.name_or_path:
            return []
        try:
            self.base = base_model.resolve(self.config)
        except FinetuneError as error:
            self.run.write_error(error)
            raise
        return base_model.changes(self.run.manifest().get("base_model") or {}, self.base)
