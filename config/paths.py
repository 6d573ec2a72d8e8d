"""Where the configuration lies: a folder of one's own over the one in the package."""

from importlib.resources import files
from pathlib import Path

import msgspec

from config.calendar_files import read_festivals
from config.chinese_files import read_chinese
from config.condition_files import Known
from config.errors import ConfigError, ConfigErrors
from config.policy_files import read_policy
from config.prediction_files import read_predictions
from config.rfm_files import read_tables
from config.rule_files import POLICY_FILE, read_rules
from config.rule_names import rule_names
from config.segment_files import known_with, read_segments
from config.stage_files import read_stages
from models.audiences import Audiences
from models.chinese import Chinese
from models.policy import Policy
from models.predictions import Predictions
from models.rules import Rule
from models.stages import StageTable

RULES_FOLDER = "rules"
STAGES_FILE = "stages.yaml"
CALENDAR_FILE = "calendar.yaml"
SEGMENTS_FILE = "segments.yaml"
RFM_FILE = "rfm.yaml"
PREDICTIONS_FILE = "predictions.yaml"
CHINESE_FILE = "chinese.yaml"
_FILES = (
    *(STAGES_FILE, POLICY_FILE, CALENDAR_FILE, SEGMENTS_FILE, RFM_FILE, PREDICTIONS_FILE),
    CHINESE_FILE,
)


class LoadedConfig(msgspec.Struct, frozen=True):
    """What the business chose: rules by name, the lifecycle table, the policy, the segments, what
    is predicted, and what all of it is called in Chinese.
    """

    rules: tuple[Rule, ...]
    stages: StageTable
    policy: Policy
    audiences: Audiences
    predictions: Predictions | None
    chinese: Chinese


def package_dir() -> Path:
    """Return the folder of the packaged configuration.

    The wheel is installed as files (it is an application, never run from a zip).
    """
    return Path(str(files("config")))


def find(directory: Path | None, name: str) -> Path:
    """Return the file or folder of that name in ``directory``, else the packaged one."""
    if directory is not None and (directory / name).exists():
        return directory / name
    return package_dir() / name


def load_config(directory: Path | None = None) -> LoadedConfig:
    """Read everything; raise ``ConfigErrors`` with all that is wrong."""
    errors = [] if directory is None else _strange(directory)
    festivals, festival_errors = read_festivals(find(directory, CALENDAR_FILE))
    audiences, segment_errors = read_segments(find(directory, SEGMENTS_FILE))
    tables, table_errors = read_tables(find(directory, RFM_FILE))
    audiences = msgspec.structs.replace(audiences, tables=tables)
    predictions, prediction_errors = read_predictions(find(directory, PREDICTIONS_FILE))
    errors += festival_errors + segment_errors + table_errors + prediction_errors
    known = known_with(audiences, Known(festivals=festivals))
    folder = find(directory, RULES_FOLDER)
    rules, rule_errors = read_rules(folder, known)
    stages, stage_errors = read_stages(find(directory, STAGES_FILE))
    path = policy_path(directory)
    # The packaged policy speaks of the packaged rules, which need not be those that are there.
    foreign = path.parent == package_dir() and folder.parent != package_dir()
    policy, policy_errors = read_policy(path, None if foreign else rule_names(folder, rules))
    errors += rule_errors + stage_errors + policy_errors
    if not errors:
        chinese, errors = _chinese(directory, rules, audiences)
    if errors:
        raise ConfigErrors(errors)
    return LoadedConfig(tuple(rules), stages, policy, audiences, predictions, chinese)


def _chinese(
    directory: Path | None, rules: list[Rule], audiences: Audiences
) -> tuple[Chinese, list[ConfigError]]:
    """Return the words; the packaged ones only for what is packaged, whatever else is named so."""
    path = find(directory, CHINESE_FILE)
    if path.parent != package_dir():
        return read_chinese(
            path,
            [one.name for one in rules],
            [one.name for one in audiences.segments],
            [one.name for one in audiences.tags],
        )
    chinese, errors = read_chinese(path)
    if find(directory, RULES_FOLDER).parent != package_dir():
        chinese = msgspec.structs.replace(chinese, rules={})
    if find(directory, SEGMENTS_FILE).parent != package_dir():
        chinese = msgspec.structs.replace(chinese, segments={}, tags={})
    return chinese, errors


def policy_path(directory: Path | None) -> Path:
    """Return the policy's file: among the rules, else beside them, else the packaged one."""
    among = find(directory, RULES_FOLDER) / POLICY_FILE
    return among if among.exists() else find(directory, POLICY_FILE)


def _strange(directory: Path) -> list[ConfigError]:
    """Return what cannot be meant of a folder; refuse one that is none."""
    if not directory.is_dir():
        raise ConfigErrors([ConfigError(str(directory), 0, 0, "", "", "is not a folder")])
    errors = []
    for path in sorted(directory.glob("*.yaml")):
        if path.name not in _FILES:
            message = f"is not read: rules lie in {directory / RULES_FOLDER}"
            errors.append(ConfigError(str(path), 0, 0, "", "", message))
    rules = directory / RULES_FOLDER
    if rules.exists() and not rules.is_dir():
        errors.append(ConfigError(str(rules), 0, 0, "", "", "is not a folder"))
    return errors
