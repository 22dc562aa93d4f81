"""Measured promises: `python -m benchmarks [NAME…] [--seconds N] [--rounds N] [--json]`. See docs/benchmarks.md."""
