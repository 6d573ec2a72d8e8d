"""What may be sent, from ``policy.yaml``; an empty file is no policy at all."""

from pathlib import Path
from typing import Literal

from config.errors import ConfigError, ConfigErrors
from config.reading import Field, Report
from config.yaml_source import parse_file
from models.rules import Policy

_CONSENTS: tuple[Literal["opt_out"], ...] = ("opt_out",)


def load_policy(path: Path) -> Policy:
    """Return the policy of a file; raise ``ConfigErrors`` with all that is wrong."""
    policy, errors = read_policy(path)
    if errors:
        raise ConfigErrors(errors)
    return policy


def read_policy(path: Path) -> tuple[Policy, list[ConfigError]]:
    """Return the policy of a file and every mistake in it."""
    root, errors = parse_file(path)
    if root is None:
        return Policy(), errors
    report = Report(str(path))
    section = Field(root, "", report).section(("consent", "channels"))
    policy = Policy(
        consent=section.optional("consent", lambda field: field.choice(_CONSENTS), None),
        channels=section.optional("channels", Field.names, ()),
    )
    return policy, errors + report.errors
