"""Failpoints of whole processes."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_kill_is_sigkill() -> None:
    """The process ends at that call, by a signal that nothing can catch."""
    code = (
        "from core.failpoints import reach; print('before', flush=True); reach('claimed'); print('after', flush=True)"
    )
    environ = {**os.environ, "GAPURA_FAILPOINT": "claimed=kill"}
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environ, capture_output=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (-9, b"before\n")


def test_a_gateway_with_a_wrong_value_does_not_start(tmp_path: Path) -> None:
    """Exit status 2 and one sentence, as with any wrong configuration, before anything is made on disk."""
    environ = {**os.environ, "GAPURA_FAILPOINT": "claimed=explode", "GAPURA_DATA": str(tmp_path)}
    command = [sys.executable, "run.py", "serve", "--port", "0"]
    ended = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "GAPURA_FAILPOINT: 'claimed=explode' is not NAME=ACTION[:NTH]" in ended.stderr
    assert list(tmp_path.iterdir()) == []
