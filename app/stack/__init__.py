"""The local stack: Apache Kafka and Redis from pip packages, on loopback, for one user."""

from app.stack.errors import StackError
from app.stack.local import StackInfo, borrowed, down, status, up

__all__ = ["StackError", "StackInfo", "borrowed", "down", "status", "up"]
