"""Fixtures that every test may use."""

from stack_fixture import kafka_stack

__all__ = ["kafka_stack"]
