"""Reading ``segments.yaml``, and telling people all that is wrong with one."""

from pathlib import Path

from config.errors import ConfigError
from config.paths import load_config, package_dir
from config.segment_files import load_segments, read_segments
from models.audiences import NOBODY
from models.rules import LastWas, Marked
from models.times import DAY


def read(folder: Path, text: str) -> list[tuple[int, int, str, str]]:
    path = folder / "segments.yaml"
    path.write_text(text)
    _, errors = read_segments(path)
    return [(one.line, one.column, one.field, one.message) for one in errors]


def test_the_shipped_file_is_right_and_is_what_the_configuration_has() -> None:
    found = load_segments(package_dir() / "segments.yaml")
    assert load_config().audiences.segments == found.segments
    names = [segment.name for segment in found.segments]
    assert names.index("vip") < names.index("vip_lapsing")
    lasts = {tag.name: tag.lasts for tag in found.tags}
    assert lasts["price_sensitive"] == 180 * DAY
    assert lasts["salon_guest"] is None


def test_a_segment_is_a_condition_with_a_name(tmp_path: Path) -> None:
    path = tmp_path / "segments.yaml"
    path.write_text(
        "tags: {dear: {about: Too dear.}}\n"
        "segments:\n"
        "  old: {about: Old., if: {last_order: {older_than: 30d}}}\n"
        "  lost: {about: Lost., if: {tags: dear, segments: [old]}}\n"
    )
    old, lost = load_segments(path).segments
    assert old.condition.tests == (LastWas("last_order", 30 * DAY, None),)
    assert lost.condition.tests == (Marked("tag", ("dear",)), Marked("segment", ("old",)))


def test_an_empty_file_has_no_segments(tmp_path: Path) -> None:
    path = tmp_path / "segments.yaml"
    path.write_text("# nothing\n")
    assert read_segments(path) == (NOBODY, [])


def test_every_mistake_is_told_at_its_place_with_what_was_meant(tmp_path: Path) -> None:
    text = (
        "tags:\n"
        "  dear: {about: Too dear., last: 30d}\n"
        "  Bad: {about: x, lasts: 0}\n"
        "segments:\n"
        "  first: {about: One., if: {segments: second}}\n"
        "  second: {about: Two., if: {segments: frist}}\n"
        "  third: {if: {tags: deer}}\n"
        "  fourth: {about: Four., if: {}}\n"
        "  fifth: {about: Five.}\n"
        "extra: 1\n"
    )
    duration = (
        "must be a duration such as 15s, 30m, 2h or 90d, longer than 0 and at most 3660d, "
        "was the number 0"
    )
    found = read(tmp_path, text)
    for expected in [
        (10, 1, "extra", "is not known here; allowed: tags, segments"),
        (
            2,
            28,
            "tags.dear.last",
            "is not known here; allowed: about, lasts; did you mean 'lasts'?",
        ),
        (3, 3, "tags.Bad", "must be a name (small letters, digits and _, starting with a letter)"),
        (3, 26, "tags.Bad.lasts", duration),
        (
            5,
            39,
            "segments.first.if.segments",
            "'second' does not stand above: a segment may only name those that do",
        ),
        (
            6,
            40,
            "segments.second.if.segments",
            "'frist' is no segment; defined: first; did you mean 'first'?",
        ),
        (7, 10, "segments.third.about", "is missing"),
        (
            7,
            22,
            "segments.third.if.tags",
            "'deer' is no tag; defined: dear, Bad; did you mean 'dear'?",
        ),
        (9, 10, "segments.fifth.if", "is missing"),
    ]:
        assert expected in found, found
    assert any(field == "segments.fourth.if" for _, _, field, _ in found)
    assert len(found) == 10


def test_more_segments_than_rows_have_room_for_are_refused(tmp_path: Path) -> None:
    one = "  s{}: {{about: x, if: {{orders: {{at_least: 1}}}}}}\n"
    text = "segments:\n" + "".join(one.format(number) for number in range(65))
    [(_, _, field, message)] = read(tmp_path, text)
    assert (field, message) == ("segments", "has 65 segments, at most 64 are allowed")


def test_what_is_no_mapping_is_told(tmp_path: Path) -> None:
    [(line, column, field, message)] = read(tmp_path, "segments: [a, b]\n")
    assert (line, column, field) == (1, 11, "segments")
    assert "a mapping of names and what they mean" in message


def test_mistakes_are_config_errors_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "segments.yaml"
    path.write_text("segments: 1\n")
    _, [error] = read_segments(path)
    assert isinstance(error, ConfigError)
    assert error.file == str(path)
