"""The command ``cqrs outbox debezium-config``: how Kafka Connect is told to send an outbox."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cqrs_core.errors import InvalidOption

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from cqrs_core.storage import ConnectorConfig, DebeziumSource


def add_connector_arguments(parser: argparse.ArgumentParser) -> None:
    """Tell *parser* what the command asks for, beside the storage."""
    parser.add_argument("--name", help="what to call the connector, its slot and its publication")
    parser.add_argument("--json", action="store_true", help="write JSON, as the interface of Kafka Connect takes it")
    parser.add_argument(
        "--plugin", type=Path, metavar="FOLDER", help="copy the plug-in to where the worker looks for them, too"
    )


def write_connector_config(storage: DebeziumSource, options: argparse.Namespace) -> int:
    """
    Write the settings to standard output, and copy the plug-in if asked to.

    Raises:
        InvalidOption: The folder for the plug-in is none.
        CqrsError: What the storage says against it.
    """
    config = storage.debezium_config(options.name)
    if options.plugin is not None:
        if not options.plugin.is_dir():
            raise InvalidOption("--plugin", str(options.plugin), "a folder that is there, of the worker's plugin.path")
        shutil.copy(config.plugin, options.plugin)
    sys.stdout.write(_as_json(config) if options.json else _as_properties(config))
    return 0


def _as_json(config: ConnectorConfig) -> str:
    settings = dict(config.settings)
    return f"{json.dumps({'name': settings.pop('name'), 'config': settings}, indent=2)}\n"


def _as_properties(config: ConnectorConfig) -> str:
    """Write the settings as a file, with what has to be done before at its top."""
    comments = [
        "Before, in the database, in this order:",
        *(f"  {statement}" for statement in config.preparation),
        f"In the worker's plugin.path: {config.plugin.name}, which --plugin FOLDER copies there.",
        *_providers_of(config.settings),
    ]
    lines = [
        *(f"# {comment}" for comment in comments),
        *(f"{_escaped(name, '=: ')}={_escaped(value)}" for name, value in config.settings.items()),
    ]
    return "".join(f"{line}\n" for line in lines)


def _providers_of(settings: Mapping[str, str]) -> list[str]:
    """Name what the worker has to be told, so that it finds what is not written into the settings."""
    variables = [name for value in settings.values() for name in re.findall(r"\$\{env:(\w+)\}", value)]
    if not variables:
        return []
    return [
        f"In the environment of the worker: {', '.join(variables)}. In its own settings:",
        "  config.providers=env",
        "  config.providers.env.class=org.apache.kafka.common.config.provider.EnvVarConfigProvider",
    ]


def _escaped(text: str, special: str = "") -> str:
    """
    Write a name or a value.

    Source:
        Java's ``java.util.Properties.load``: Latin-1, where a backslash stands before what would mean something else.
    """
    written = text.encode("utf-16-be", "surrogatepass")
    units = [int.from_bytes(written[at : at + 2], "big") for at in range(0, len(written), 2)]
    parts = [chr(unit) if 0x20 <= unit < 0x7F else f"\\u{unit:04x}" for unit in units]  # noqa: PLR2004 - printable ASCII
    parts = [f"\\{part}" if part == "\\" or part in special else part for part in parts]
    if parts and parts[0] == " ":
        parts[0] = "\\ "
    return "".join(parts)
