#!/bin/sh
# For scripts/coverage.py: cargo calls this in place of the compiler for the crates of the workspace.
#
# The counters lie in the profile itself, mapped, so that a process that ends by a signal or by
# `_exit` leaves them, and the children of forks go on counting in them. They are atomic because the
# compiler computes some counts as differences of others.
# The variable lets a stable compiler count branches.
RUSTC_BOOTSTRAP=1 exec "$@" -Cinstrument-coverage -Zcoverage-options=branch \
    -Cllvm-args=-runtime-counter-relocation -Cllvm-args=-instrprof-atomic-counter-update-all
