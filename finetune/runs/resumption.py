"""Going on with a run that was begun: what has changed since is refused, or recorded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from finetune.errors import ArtefactError, ConfigError
from finetune.runs import changes
from finetune.runs.changes import Change
from finetune.runs.identity import NAMES, identity

if TYPE_CHECKING:
    from finetune.runs.folder import RunFolder


def has_begun(run: RunFolder) -> bool:
    """Tell whether a stage was finished; what was trained is not thrown away unasked.

    Raises:
        ArtefactError: There are checkpoints, but the manifest knows of nothing.
    """
    if run.manifest().get("stages"):
        return True
    if run.has_trained():
        raise broken(run, "is missing, or names no stage, though there are checkpoints")
    return False


def broken(run: RunFolder, what: str) -> ArtefactError:
    """Return what to raise for a manifest that cannot be trusted."""
    return ArtefactError(
        f"`{run.manifest_file}` {what}.",
        fix="Restore it, or start the run anew with run.overwrite=true.",
        where=str(run.manifest_file),
    )


def resume(
    run: RunFolder,
    new: dict[str, Any],
    *,
    allow: Sequence[str],
    found: Callable[[], Sequence[Change]],
) -> list[Change]:
    """Return the changes that are allowed, after recording them.

    Args:
        run: A run in which some stage was finished.
        new: Its settings now.
        allow: Keys that may have changed.
        found: Returns what else has changed.

    Raises:
        ConfigError: The run is finished, or something has changed that must not.
    """
    if run.is_finished():
        raise ConfigError(
            f"`{run.path}` is a finished run.",
            fix="Give another name=NAME, or run.overwrite=true to replace it; "
            f"its report is {run.report}.",
            where=str(run.path),
        )
    manifest, trained = run.manifest(), run.has_trained()
    # The manifest's copy and not config.yaml, which a user can edit and then replay.
    old = manifest.get("configuration")
    if not isinstance(old, dict):
        old = changes.settings(run.config.read_text(encoding="utf-8", errors="replace"))
    changes.refuse_unknown(allow, old.keys() | new.keys())
    different = changes.between(old, new)
    allowed = changes.judge(
        [*(each for each in different if changes.matters(each.key)), *found()],
        allow=allow,
        trained=trained,
        where=str(run.path),
    )
    undone = changes.undone(different, allowed, trained=trained)
    if undone:
        run.forget_stages(sorted(undone))
    if allowed:
        before = identity(run)
        known = [*manifest.get("accepted", []), *(before[key] for key in NAMES if before[key])]
        entries = [{"key": key, "old": was, "new": now} for key, was, now in allowed]
        kept = [e for e in manifest.get("allowed_changes", []) if e not in entries]
        run.record(
            configuration=new, accepted=sorted(set(known)), allowed_changes=[*kept, *entries]
        )
    return allowed
