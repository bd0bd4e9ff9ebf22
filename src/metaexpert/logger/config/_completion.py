"""Completes a pydantic model without a search for pydantic's plug-ins.

Before it makes the validator of its first model, pydantic reads the entry points of every installed distribution in
search of plug-ins. In a usual environment this takes longer than all the rest of a logger's start. A plug-in that
watches validation has no business with the configuration of the logger, which may be what it logs to.

pydantic has one switch for that, the environment variable PYDANTIC_DISABLE_PLUGINS, and it is for the whole process.
So the function that makes the validator is wrapped while our model is completed. The wrapper looks at the model: those
of other threads get what they always get. With a version of pydantic whose inside differs, our model too.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import BaseModel
from pydantic._internal import _model_construction as construction
from pydantic_core import SchemaValidator

_MAKER: Final = "create_schema_validator"


def complete(model: type[BaseModel]) -> None:
    """Complete *model*, whose `model_config` has ``defer_build=True``. Models of other threads are not touched."""
    usual: Any = getattr(construction, _MAKER, None)

    def maker(
        schema: Any, kind: Any, module: str, name: str, role: Any, config: Any = None, *args: Any, **more: Any
    ) -> Any:
        if kind is model:
            return SchemaValidator(schema, config)
        return usual(schema, kind, module, name, role, config, *args, **more)

    if usual is not None:
        setattr(construction, _MAKER, maker)
    try:
        model.model_rebuild()
    finally:
        if usual is not None:
            setattr(construction, _MAKER, usual)
