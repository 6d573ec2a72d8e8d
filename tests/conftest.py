"""Fixtures that every test may use, and what holds for all of them."""

import hypothesis
from stack_fixture import kafka_stack

__all__ = ["kafka_stack"]

# How long an example takes says something of the machine, and of what else it does.
hypothesis.settings.register_profile("untimed", hypothesis.settings.default, deadline=None)
hypothesis.settings.load_profile("untimed")
