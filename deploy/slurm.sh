#!/bin/bash
# BN-Inception on four machines, one process on each. Slurm warns three minutes before the time limit; the run then saves
# and is queued again, until it is finished.
#
#   sbatch deploy/slurm.sh
#
# The program has to be built with --features mpi, and data and output have to be on a file system that all see.
#SBATCH --job-name=bn-inception
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=USR1@180
#SBATCH --requeue
#SBATCH --open-mode=append

OUT=${OUT:-runs/imagenet}
DATA=${DATA:-imagenet}
LAUNCH=${LAUNCH:-srun --mpi=pmix --kill-on-bad-exit=1}
PROGRAM=${PROGRAM:-target/release/examples/train-imagenet}

resume=()
[ -n "$(ls "$OUT/checkpoints" 2>/dev/null)" ] && resume=(--resume)

$LAUNCH "$PROGRAM" --data "$DATA" --out "$OUT" --batch-size 32 --accumulate 4 "${resume[@]}"
code=$?

# Stopped and saved.
[ $code -eq 130 ] && scontrol requeue "$SLURM_JOB_ID"
exit $code
