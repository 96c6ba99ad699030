#!/usr/bin/env bash
# Trains on the nodes of a Slurm job, a process for each GPU (or, without GPUs, for each task). Sent again by Slurm, it goes on from its last checkpoint.
#
#     sbatch --nodes=2 --ntasks-per-node=4 --gpus-per-task=1 trainer/jobs/slurm.sh DATA RUN [settings of avedis train]
#
# DATA and RUN lie on a file system that all nodes see. AVEDIS names the program if it is not on PATH.
#SBATCH --job-name=avedis
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail
[ $# -ge 2 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
data=$1 run=$2
shift 2
# two minutes before the end of the job's time every rank gets SIGUSR1, which saves; then SIGTERM, which saves and stops
exec srun --mpi=pmix --kill-on-bad-exit=1 "${AVEDIS:-avedis}" train "$data" --run "$run" --resume "$@"
