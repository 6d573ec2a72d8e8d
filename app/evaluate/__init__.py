"""How good the predictions are on real event logs, asked and answered in the order of time."""
