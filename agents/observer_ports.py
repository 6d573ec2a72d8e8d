"""What the observer's records come to, as its store takes them."""

from typing import TypeAlias

from agents.serving_ports import FollowerStore
from models.lifecycle_facts import Fact

Facts: TypeAlias = tuple[Fact, ...]
"""Facts in the order in which they were read."""

ObserverStore: TypeAlias = FollowerStore[Facts]
"""Where facts are counted: all of a batch or nothing, and each batch once."""
