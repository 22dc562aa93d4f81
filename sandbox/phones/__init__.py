"""Simulated phones: device 0 of an account, with Signal keys of its own and no client process behind it."""
