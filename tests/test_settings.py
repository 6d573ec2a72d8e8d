"""Settings: environment over file over defaults, every mistake named, secrets never shown."""

from dataclasses import fields
from pathlib import Path

import pytest

from config.errors import ConfigErrors
from config.settings import PREFIX, Secret, Settings, env_example, load_settings
from models.times import HOUR, MINUTE

REPOSITORY = Path(__file__).parent.parent


def mistakes(environ: dict[str, str], file: Path | None = None, **options: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load_settings(environ, file, options)
    return [str(error) for error in caught.value.errors]


def test_the_defaults_need_nothing() -> None:
    settings = load_settings({})
    assert settings == Settings()
    assert (settings.broker, settings.partitions) == ("127.0.0.1:9092", 64)
    assert settings.allowed_lateness == HOUR
    assert settings.limits().allowed_lateness == HOUR
    assert not settings.token


def test_options_win_over_the_environment_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('broker = "file:1"\npartitions = 3\nlocale = "zh-CN"\n')
    environ = {"LIFECYCLE_BROKER": "environment:2", "LIFECYCLE_PARTITIONS": "5"}
    settings = load_settings(environ, file, {"broker": "option:3"})
    assert (settings.broker, settings.partitions, settings.locale) == ("option:3", 5, "zh-CN")


def test_the_file_may_be_named_by_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('allowed_lateness = "15m"\ntest_members = ["m1", "m2"]\nbad_ratio = 0.25\n')
    settings = load_settings({"LIFECYCLE_CONFIG_FILE": str(file)})
    assert settings.allowed_lateness == 15 * MINUTE
    assert settings.limits().test_members == frozenset({"m1", "m2"})
    assert settings.bad_ratio == 0.25


def test_an_empty_variable_counts_as_not_set() -> None:
    assert load_settings({"LIFECYCLE_TOKEN": "", "LIFECYCLE_PARTITIONS": ""}) == Settings()


def test_all_mistakes_are_told_at_once_with_variable_field_and_line(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("# ours\nhttp_prot = 1\nopen_keys = 999\n")
    environ = {
        "LIFECYCLE_BROKER": "nowhere",
        "LIFECYCLE_TIME_ZONE": "Mars/Base",
        "LIFECYCLE_TOKN": "abc",
    }
    told = mistakes(environ, file, http_port="0")
    assert told == [
        f"{file}:2:1: http_prot: is no setting; did you mean 'http_port'?",
        f"{file}:3:1: open_keys: must be a whole number from 1 to 256, was 999",
        "environment: LIFECYCLE_BROKER: must be host:port, or several separated by commas,"
        " was 'nowhere'",
        "environment: LIFECYCLE_TIME_ZONE: must be a time zone such as UTC or Asia/Shanghai,"
        " was 'Mars/Base'",
        "environment: LIFECYCLE_TOKN: is no setting; did you mean 'LIFECYCLE_TOKEN'?",
        "options: --http-port: must be a whole number from 1 to 65535, was '0'",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("partitions", "0"),
        ("partitions", "many"),
        ("partitions", "1.0"),
        ("partitioner", "md5"),
        ("broker", "host:99999"),
        ("broker", "host:9092,"),
        ("redis", "http://127.0.0.1"),
        ("redis", "redis://host:port"),
        ("allowed_lateness", "60"),
        ("allowed_lateness", "8d"),
        ("bad_ratio", "0"),
        ("bad_ratio", "1.5"),
        ("bad_ratio", "nan"),
        ("locale", "english"),
        ("time_zone", "../etc/passwd"),
        ("test_members", "m1,,m2"),
        ("log_level", "loud"),
        ("app_id", "a b"),
        ("topic_prefix", "a/b"),
        ("session_timeout_ms", "-5"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(name: str, value: str) -> None:
    (told,) = mistakes({PREFIX + name.upper(): value})
    assert told.startswith(f"environment: {PREFIX}{name.upper()}: must ")


@pytest.mark.parametrize("value", ["true", "[1]", '"x"', "1979-05-27"])
def test_a_toml_value_of_the_wrong_type_is_refused(tmp_path: Path, value: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f"partitions = {value}\n")
    (told,) = mistakes({}, file)
    assert f"{file}:1:1: partitions: must be a whole number" in told


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    (told,) = mistakes({}, tmp_path / "none.toml")
    assert told.startswith(f"{tmp_path / 'none.toml'}: cannot be read")
    broken = tmp_path / "broken.toml"
    broken.write_text("a = 1\nb = \n")
    (told,) = mistakes({}, broken)
    assert told.startswith(f"{broken}:2:5: is not TOML")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.org"])
def test_listening_beyond_loopback_needs_a_token(host: str) -> None:
    (told,) = mistakes({"LIFECYCLE_HTTP_HOST": host})
    assert "LIFECYCLE_TOKEN: must be set when listening beyond loopback" in told
    assert load_settings({"LIFECYCLE_HTTP_HOST": host, "LIFECYCLE_TOKEN": "t"}).http_host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.5.5", "localhost", "::1"])
def test_listening_on_loopback_needs_none(host: str) -> None:
    assert load_settings({"LIFECYCLE_HTTP_HOST": host}).http_host == host


def test_sasl_needs_mechanism_user_and_password() -> None:
    told = mistakes({"LIFECYCLE_SECURITY_PROTOCOL": "SASL_SSL"})
    assert [line.split(": ")[1] for line in told] == [
        "LIFECYCLE_SASL_MECHANISM",
        "LIFECYCLE_SASL_PASSWORD",
        "LIFECYCLE_SASL_USERNAME",
    ]
    (told_user,) = mistakes({"LIFECYCLE_SASL_USERNAME": "u"})
    assert "LIFECYCLE_SECURITY_PROTOCOL: must be SASL" in told_user


def test_a_group_must_fit_into_one_batch_of_the_changelog() -> None:
    (told,) = mistakes({"LIFECYCLE_GROUP_MAX_BYTES": str(32 << 20)})
    assert "LIFECYCLE_CHANGELOG_MAX_MESSAGE_BYTES: must be at least" in told


def test_secrets_are_never_shown() -> None:
    environ = {
        "LIFECYCLE_TOKEN": "hunter2",
        "LIFECYCLE_SASL_PASSWORD": "hunter2",
        "LIFECYCLE_SASL_USERNAME": "u",
        "LIFECYCLE_SASL_MECHANISM": "PLAIN",
        "LIFECYCLE_SECURITY_PROTOCOL": "SASL_SSL",
        "LIFECYCLE_REDIS": "redis://:hunter2@127.0.0.1:6379/0",
    }
    settings = load_settings(environ)
    assert settings.token.reveal() == "hunter2"
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in f"{settings.token} {settings.token!r} {settings.sasl_password}"
    wrong = {"LIFECYCLE_TOKEN": " hunter2", "LIFECYCLE_REDIS": "redi://:hunter2@host"}
    assert "hunter2" not in " ".join(mistakes(wrong))


def test_a_secret_is_equal_to_itself_only() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert not Secret()


def test_topics_carry_the_prefix_and_the_changelog_its_settings() -> None:
    settings = load_settings({"LIFECYCLE_TOPIC_PREFIX": "shop."})
    assert settings.topic("triggers") == "shop.triggers"
    assert settings.changelog_topic_settings()["cleanup.policy"] == "compact"


def test_the_example_file_is_what_the_definition_says() -> None:
    written = (REPOSITORY / ".env.example").read_text()
    assert written == env_example(), "write it anew: config.settings.env_example()"


def test_the_example_file_names_every_setting_and_is_itself_right() -> None:
    lines = [line[1:] for line in env_example().splitlines() if line.startswith("#LIFE")]
    environ = dict(line.split("=", 1) for line in lines)
    assert set(environ) == {PREFIX + field.name.upper() for field in fields(Settings)}
    assert load_settings(environ) == Settings()
