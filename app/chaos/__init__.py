"""Chaos: real workers on real brokers, faults at random, and the oracle's verdict."""
