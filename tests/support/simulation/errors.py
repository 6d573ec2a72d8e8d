"""What a broker refuses, by the names that Apache Kafka has for it."""


class BrokerError(Exception):
    """A broker said no: the request had no effect, and asking again changes nothing."""


class UnknownTopic(BrokerError):
    """There is no such topic or partition."""


class TopicExists(BrokerError):
    """A topic of that name is there already."""


class BatchTooLarge(BrokerError):
    """MESSAGE_TOO_LARGE: the topic takes no batch of that many bytes."""


class InvalidTimestamp(BrokerError):
    """INVALID_TIMESTAMP: a record claims to be from too far in the future."""


class InvalidRecord(BrokerError):
    """INVALID_RECORD: a compacted topic takes no record without a key."""


class OutOfOrderSequence(BrokerError):
    """OUT_OF_ORDER_SEQUENCE_NUMBER: the batch neither follows the last nor repeats a known one."""


class OffsetOutOfRange(BrokerError):
    """OFFSET_OUT_OF_RANGE: the partition begins after or ends before the offset asked for."""


class UnknownMember(BrokerError):
    """UNKNOWN_MEMBER_ID: the group has expelled the member, or never had it."""


class StaleGeneration(BrokerError):
    """ILLEGAL_GENERATION: the group has gone on to another generation without the member."""


class RebalanceUnderWay(BrokerError):
    """REBALANCE_IN_PROGRESS: every member has to join again."""
