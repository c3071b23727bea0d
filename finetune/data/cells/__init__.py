"""What is wrong with the cells of a table: found by column and across columns, never changed."""

from finetune.data.cells.checking import Checked, check

__all__ = ["Checked", "check"]
