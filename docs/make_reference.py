"""Write docs/reference/: the commands as ``--help`` tells them, the components as their classes declare them.

Run it after changing a command or a component; tests/docs checks that nothing is left out or out of date.
"""

import dataclasses
import inspect
import re
import typing
from pathlib import Path

import typer

from labelwise.cli.main import app
from labelwise.project.components import KINDS, describe, installed
from labelwise.project.config import Config

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Written by docs/make_reference.py; change the code, then run it again. -->\n"

COMMANDS = """# Commands

Every command takes `--help`. Facts go to stdout, remarks and progress to stderr.

Exit codes: 0 done; 2 what was given cannot be used; 3 too early or too late; 4 a component broke its
contract; 5 a file is damaged, or a check failed; 130 stopped with Ctrl-C.
"""
COMPONENTS = """# Components

A component is written `"name"` or `{ use = "name", setting = value }`, nested freely, in
`labelwise.toml` and in the options of `labelwise simulate`.
"""


def commands(group: typing.Any, words: tuple[str, ...] = ()) -> typing.Iterator[tuple[str, typing.Any]]:
    """Every command of a program by what is typed for it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield " ".join((*words, name)), command


def cli_page() -> str:
    """Every command, its arguments and options."""
    parts = [NOTE, COMMANDS]
    for name, command in commands(typer.main.get_command(app)):
        parts += [f"## labelwise {name}\n", _docstring(command.help)]
        rows = [_parameter(parameter) for parameter in command.params if parameter.name != "help"]
        if rows:
            parts.append("\n".join(["| | | default |", "|---|---|---|", *rows]) + "\n")
    return "\n".join(parts)


def _docstring(text: str) -> str:
    said, _, example = inspect.cleandoc(text).partition("Example: ")
    shown = " ".join(example.split())
    return f"{said.strip()}\n\n```\n{shown}\n```\n"


def _parameter(parameter: typing.Any) -> str:
    option = parameter.opts[0].startswith("-")
    name = ", ".join([*parameter.opts, *parameter.secondary_opts]) if option else parameter.name.upper()
    shown = parameter.show_default if isinstance(parameter.show_default, str) else parameter.default
    default = "required" if parameter.required else _default(shown)
    return f"| `{name}` | {_cell(parameter.help)} | {default} |"


def _default(value: typing.Any) -> str:
    return "" if value is None or value in (False, "", ()) else f"`{_cell(str(value))}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def components_page() -> str:
    """Every installed component with its settings."""
    parts = [NOTE, COMPONENTS]
    for kind in KINDS.values():
        parts.append(f"## {kind.capitalize()}\n")
        for name, point in installed(kind).items():
            parts += [f"### {name}\n", _described(point.load()), _settings(point.load())]
    parts += ["## Sections of labelwise.toml\n"]
    for field in dataclasses.fields(Config):
        hint = typing.get_type_hints(Config)[field.name]
        if dataclasses.is_dataclass(hint):
            parts += [f"### {field.name}\n", _described(hint), _settings(hint)]
    return "\n".join(part for part in parts if part)


def _described(cls: type) -> str:
    text = inspect.cleandoc(cls.__doc__ or "")
    blocks = re.split(r"\n\s*\n", text)
    # What is laid out in columns, such as a table of settings, stays as it is.
    return "\n\n".join(f"```text\n{b}\n```" if re.search(r"\S {2,}\S", b) else b for b in blocks) + "\n"


def _settings(cls: typing.Any) -> str:
    hints = typing.get_type_hints(cls)
    fields = [
        f for f in dataclasses.fields(cls) if f.init and not f.name.startswith("_") and not f.metadata.get("fitted")
    ]
    rows = [f"| `{f.name}` | {_cell(_type(hints[f.name]))} | {_field_default(f)} |" for f in fields]
    return "\n".join(["| setting | type | default |", "|---|---|---|", *rows]) + "\n" if rows else ""


def settings(cls: typing.Any) -> list[typing.Any]:
    """The fields of a component that can be set."""
    fields = dataclasses.fields(cls)
    return [f for f in fields if f.init and not f.name.startswith("_") and not f.metadata.get("fitted", False)]


def _type(hint: typing.Any) -> str:
    name = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint)
    return re.sub(r"\b(?:[a-z_]+\.)+", "", name)


def _field_default(field: typing.Any) -> str:
    if field.default is not dataclasses.MISSING:
        return f"`{_cell(str(describe(field.default)))}`"
    if field.default_factory is not dataclasses.MISSING:
        return f"`{_cell(str(describe(field.default_factory())))}`"
    return "required"


def _neat(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


PAGES = {"cli.md": lambda: _neat(cli_page()), "components.md": lambda: _neat(components_page())}


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
