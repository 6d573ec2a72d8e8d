"""``python -m app.dashboards``: write the dashboards' files anew."""

from app.dashboards.files import dashboard_files, folder

for name, text in dashboard_files().items():
    (folder() / name).write_text(text)
