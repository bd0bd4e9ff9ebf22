"""Groups of commands: one that imports a command only when it is called, one that has a default command.

`with_options` gives several commands the same options.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any, ClassVar

import typer
import typer.main
from typer.core import TyperCommand, TyperGroup


class _AsGiven:
    """A command that takes its values unconverted, as texts and flags.

    Typer converts each value with pydantic, even text to text, and importing pydantic takes five times as long as
    showing the last entries of a log. Only for commands whose values are all texts, lists of texts and flags.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, with the one for help."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if not isinstance(parameter.process_value, partial):
                parameter.process_value = partial(_processed, parameter, parameter.process_value)
        return parameters


def _processed(parameter: Any, process: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    if value is None and (parameter.multiple or parameter.nargs == -1):
        value = ()
    if parameter.required and value in (None, ()):
        return process(context, value)  # it reports the missing value
    return parameter.callback(context, parameter, value) if parameter.callback is not None else value


class TextCommand(_AsGiven, TyperCommand):
    """A command whose values are texts, lists of texts and flags, see `_AsGiven`."""


class LazyGroup(_AsGiven, TyperGroup):
    """A group whose commands are imported on demand: `logs` must not wait for the imports of `run`.

    Attributes:
        references: Name of each command, and what it is, as ``module:name``: a `typer.Typer`, or the function of a
            `TextCommand`. In the order of the help.
    """

    references: ClassVar[dict[str, str]] = {}

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands."""
        return list(self.references)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of that name; for an unknown one None, with all loaded to suggest from."""
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        for name in [cmd_name] if cmd_name in self.references else self.references:
            if name not in self.commands:
                self.commands[name] = _loaded(self.references[name])
                self.commands[name].name = name
        return self.commands.get(cmd_name)


def _loaded(reference: str) -> Any:
    module, _, name = reference.partition(":")
    app = getattr(import_module(module), name)
    if not isinstance(app, typer.Typer):
        function, app = app, typer.Typer(add_completion=False)
        app.command(cls=TextCommand)(function)
    return typer.main.get_command(app)


class DefaultGroup(LazyGroup):
    """A group that is itself a command: ``logs [OPTIONS] [DIR]`` beside ``logs schema``.

    The first word decides: if it is a name in `references`, that command runs; otherwise the default command gets all
    words. A directory with such a name is written ``./schema``. The default command is not listed; the help of the
    group shows its options.
    """

    #: Name of the default command; with spaces, so that it is not typed by accident.
    DEFAULT: ClassVar[str] = " default "

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Give *args* to the command that they name, or to the default command."""
        if args and args[0] in self.references:
            return super().parse_args(ctx, args)
        options = args[: args.index("--")] if "--" in args else args
        if any(name in options for name in ctx.help_option_names):
            return super().parse_args(ctx, [ctx.help_option_names[0]])
        if ctx.resilient_parsing and not args:  # completion of the first word
            return super().parse_args(ctx, args)
        return super().parse_args(ctx, [self.DEFAULT, *args])

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """Return possible completions: commands, and options of the default command."""
        found = [*super().shell_complete(ctx, incomplete), *self.commands[self.DEFAULT].shell_complete(ctx, incomplete)]
        return list({item.value: item for item in found}.values())

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print the help of the default command and the list of the others."""
        with self._default_params():
            super().format_help(ctx, formatter)

    def get_usage(self, ctx: Any) -> str:
        """Return the usage line of both."""
        with self._default_params():
            return super().get_usage(ctx)

    @contextmanager
    def _default_params(self) -> Iterator[None]:
        mine, self.params = self.params, [*self.commands[self.DEFAULT].params]
        try:
            yield
        finally:
            self.params = mine


def with_options[**P, R](command: Callable[P, R], options: Mapping[str, Any]) -> Callable[P, R]:
    """Give *command*, which takes ``**options``, these *options*: their names, and their types with a `typer.Option`.

    When it is not given, a flag is False, and any other option None.
    """
    signature = inspect.signature(command, eval_str=True)
    parameters = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    for name, kind in options.items():
        default = False if kind.__origin__ is bool else None
        parameters.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind))
    command.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    return command
