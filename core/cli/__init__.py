"""The commands of run.py. Modules here import typer and little else at the top, so that `--help` is quick."""
