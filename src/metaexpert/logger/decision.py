"""Decisions: why an expert traded, or did not, with an id that the orders made for it bear."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from metaexpert.logger.context import log_context
from metaexpert.logger.schema import DECISION, DECISION_ID


class Decision(log_context):
    """A decision that was logged. As a context (see `log_context`) it gives its id to what is logged inside.

    Args:
        log: The method that logs it, `info` of a logger.
        what: A word for it, such as ``"skip"`` or ``"enter"``.
        fields: The reasons.
    """

    def __init__(self, log: Callable[..., None], what: object, fields: dict[str, Any]) -> None:
        #: Its id; 16 random hexadecimal digits, unless the caller gave one as ``decision_id``.
        self.id = fields.setdefault(DECISION_ID, os.urandom(8).hex())
        log("Decision: %s", what, **{DECISION: what, **fields})
        super().__init__(**{DECISION_ID: self.id})
