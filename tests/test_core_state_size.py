"""The size of a member's state, over the shipped sample of real customers."""

from state_size import measure_state_bytes

from config.paths import package_dir


def test_99_of_100_members_of_the_shipped_sample_take_less_than_2_kb() -> None:
    sample = package_dir() / "data" / "uci_sample.jsonl.gz"
    measured = measure_state_bytes([sample])
    size = measured[sample.name]
    assert size.members == 1000
    assert size.p99 < 2048
    assert size.largest <= 16_384
    # The fields account for the whole row but for the array's own three bytes.
    assert abs(sum(size.by_field.values()) + 3 - size.mean) < 1
    assert measured["all"] == size
