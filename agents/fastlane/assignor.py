"""Faust's assignor, which hands round with each assignment where the owners of lanes listen."""

from faust.assignor.partition_assignor import PartitionAssignor
from faust.types import TP


class AddressedAssignor(PartitionAssignor):  # type: ignore[misc]
    """Says at which address its worker answers: the app's ``address``.

    Faust takes a setting that must be known before the port is.
    """

    @property
    def _url(self) -> str:
        return str(self.app.address)

    def address_of(self, topic: str, lane: int) -> str | None:
        """Return the address of the worker that has a partition of a table's changelog.

        None when none is known, or the owner says none.
        """
        return self._tps_url.get(TP(topic, lane)) or None
