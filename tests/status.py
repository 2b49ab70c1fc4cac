# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
"""How a program ended, in words."""
import signal


def in_words(status):
    """@status as subprocess returns it."""
    return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
