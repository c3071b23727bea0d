"""Fine-tune pretrained foundation models: recipe in, merged model and defensible report out."""

from finetune.api import Run, load, run
from finetune.version import __version__

__all__ = ["Run", "__version__", "load", "run"]
