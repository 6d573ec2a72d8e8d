"""What policy remembers of a member: open triggers, contacts, what waits, and what holds it back.

All of it is bounded, and none of it is there for a member to whom nothing of the kind happened.
"""

import msgspec

from models.triggers import Reason

KEPT_CONTACTS = 64
KEPT_WORDS = 4
KEPT_HELD = 12
KEPT_REACH = 16
KEPT_RETURNS = 8

# States of a contact.
RAISED, SENT, GIVEN_BACK = 0, 1, 2
# What a held candidate waits for.
WINDOW, MORNING, SILENCE, OPENING, CONSENT = 0, 1, 2, 3, 4


class OpenTrigger(msgspec.Struct, array_like=True):
    """A trigger that was raised, or is held, and that may still be overtaken."""

    id: bytes
    rule: str
    key: str
    armed: int  # when the arming event happened; 0 for rules without absence
    due: int
    expires: int
    marketing: bool
    # None: the policy's, so that the usual case takes no room.
    channels: tuple[str, ...] | None = None


class Held(msgspec.Struct, array_like=True):
    """A candidate that is asked again at ``release``."""

    trigger: OpenTrigger
    version: int
    occasion: str
    reentry: bytes
    release: int
    waits_for: int
    reason: Reason


class Contact(msgspec.Struct, array_like=True):
    """A message that counts for caps: a trigger of ours, or a campaign that somebody else sent."""

    at: int
    id: bytes  # 8 bytes
    marketing: bool
    group: int  # hash of its name; 0 for none
    channels: tuple[str, ...] | None  # None: the policy's
    state: int = RAISED
    # Channel -> place of the gateway's latest word about it there << 1 | whether it was lost.
    words: dict[str, int] = msgspec.field(default_factory=dict)


class Standing(msgspec.Struct, array_like=True):
    """How things stand between the member and us."""

    # In order of time.
    contacts: list[Contact] = msgspec.field(default_factory=list)
    held: list[Held] = msgspec.field(default_factory=list)
    # Nothing is sent until this instant; the place where it was said.
    muted_until: int = 0
    mute_said: int = 0
    # Channel -> place of its latest sign << 1 | whether a message came back.
    reach: dict[str, int] = msgspec.field(default_factory=dict)
    # Hash of order id -> place of the latest word << 1 | whether a return is open.
    returns: dict[int, int] = msgspec.field(default_factory=dict)
    ticket_at: int = 0
    complaint_at: int = 0
