#!/bin/sh
# One search of the checker as a Slurm job array: each task makes one part, and writes it where all nodes can read it.
#
#   sbatch --array=1-8 --export=ALL,STANDSTILL=/path/to/standstill,PARTS=/shared/parts docs/slurm-array.sh \
#       --scenario offline-vs-device-irq --protocol linux-3.14 --ipi instant
#   standstill check merge /shared/parts/part-*
#
#SBATCH --job-name=standstill
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
set -eu
: "${STANDSTILL:=standstill}" "${PARTS:?where the parts are written: a directory that all nodes share}"
mkdir -p "$PARTS"
# A task that is requeued begins again: a part has its name only once it is whole.
part=$PARTS/part-$SLURM_ARRAY_TASK_ID
status=0
"$STANDSTILL" check --engine dpor "$@" \
    --shard "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --part-file "$part.tmp" || status=$?
# 1: something is broken. The part says what, and the merge will.
[ "$status" -le 1 ] || exit "$status"
mv "$part.tmp" "$part"
