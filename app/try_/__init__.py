"""``lifecycle try``: a shop's own order export becomes one page about its members."""
