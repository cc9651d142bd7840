"""Log lines that name the model, since one process may look after several."""

import logging
from collections.abc import MutableMapping
from typing import Any


class ModelLog(logging.LoggerAdapter[logging.Logger]):
    """Puts the model's name in front of every line."""

    def __init__(self, logger: logging.Logger, model: str) -> None:
        """Makes the log of one model."""
        super().__init__(logger)
        self._prefix = model.replace("%", "%%")

    def process(
        self, msg: str, kwargs: MutableMapping[str, Any]
    ) -> tuple[str, MutableMapping[str, Any]]:
        """Is called by `logging` for every line."""
        return f"{self._prefix}: {msg}", kwargs
