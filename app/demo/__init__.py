"""``lifecycle demo``: the whole thing at work, days per second, ending today."""
