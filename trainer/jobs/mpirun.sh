#!/usr/bin/env bash
# Trains with mpirun: on this machine, or on those that a hostfile lists.
#
#     trainer/jobs/mpirun.sh RANKS DATA RUN [settings of avedis train]
#     HOSTFILE=hosts trainer/jobs/mpirun.sh 8 DATA RUN ...
#
# DATA and RUN lie on a file system that all machines see. AVEDIS names the program if it is not on PATH.
set -euo pipefail
[ $# -ge 3 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
ranks=$1 data=$2 run=$3
shift 3
# ten seconds between SIGTERM and SIGKILL, for a last checkpoint, which mpirun waits in any case; a process for each socket, or each GPU
exec mpirun -n "$ranks" ${HOSTFILE:+--hostfile "$HOSTFILE"} --mca odls_base_sigkill_timeout 10 \
    "${AVEDIS:-avedis}" train "$data" --run "$run" --resume "$@"
