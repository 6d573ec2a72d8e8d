"""Recording rules and alerts, declared once; ``config/prometheus/`` is made from here."""
