"""The endpoint's log: a line for each request, as text for people or as JSON for machines."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone
from typing import Literal

Logs = Literal["text", "json"]
logger = logging.getLogger("tlg.serve")
# Where a record carries its facts apart from its text.
FACTS = "facts"


def start(form: Logs) -> None:
    """Lines on this process's standard error; Serve's own access log would say them twice."""
    if not logger.handlers:
        handler = logging.StreamHandler()
        text = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
        handler.setFormatter(JsonFormatter() if form == "json" else text)
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


class JsonFormatter(logging.Formatter):
    """One object a line; what a record says in facts has keys of its own."""

    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        line = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, FACTS, {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
