"""The Grafana dashboards: declared here, written by ``python -m app.dashboards``."""
