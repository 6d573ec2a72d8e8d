"""How every kind of Kafka client of ours proves who it is, out of the same settings."""

import ssl
from typing import Any

import faust
from faust.types.auth import CredentialsT

from config.settings import Settings


def for_librdkafka(settings: Settings) -> dict[str, str | int]:
    """Return the configuration of confluent-kafka's clients."""
    config: dict[str, str | int] = {"security.protocol": settings.security_protocol}
    if settings.sasl_mechanism is not None:
        config["sasl.mechanism"] = settings.sasl_mechanism
        config["sasl.username"] = settings.sasl_username or ""
        config["sasl.password"] = settings.sasl_password.reveal()
    if settings.ssl_cafile is not None:
        config["ssl.ca.location"] = str(settings.ssl_cafile)
    return config


def for_aiokafka(settings: Settings) -> dict[str, Any]:
    """Return the keyword arguments of aiokafka's clients; raises ``OSError`` for a bad CA file."""
    arguments: dict[str, Any] = {"security_protocol": settings.security_protocol}
    if settings.security_protocol.endswith("SSL"):
        arguments["ssl_context"] = _context(settings)
    if settings.sasl_mechanism is not None:
        arguments["sasl_mechanism"] = settings.sasl_mechanism
        arguments["sasl_plain_username"] = settings.sasl_username
        arguments["sasl_plain_password"] = settings.sasl_password.reveal()
    return arguments


def for_faust(settings: Settings) -> CredentialsT | None:
    """Return Faust's credentials, for the client that declares its topics; None in plain text."""
    context = _context(settings) if settings.security_protocol.endswith("SSL") else None
    if settings.sasl_mechanism is not None:
        return faust.SASLCredentials(
            username=settings.sasl_username,
            password=settings.sasl_password.reveal(),
            mechanism=settings.sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None


def _context(settings: Settings) -> ssl.SSLContext:
    cafile = settings.ssl_cafile
    return ssl.create_default_context(cafile=None if cafile is None else str(cafile))
