"""``python -m app.alerting``: write the rule files anew."""

from app.alerting.files import folder, rule_files

for name, text in rule_files().items():
    (folder() / name).write_text(text)
