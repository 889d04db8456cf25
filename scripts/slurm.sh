#!/usr/bin/env bash
# Analyze a checkpoint on a SLURM cluster, one process a task; JAX finds the others through SLURM by itself.
#   sbatch --nodes=4 --ntasks-per-node=1 --gpus-per-task=8 scripts/slurm.sh MODEL --out result.csv [options...]
# Submit it again after a time limit: --run-dir keeps what was finished, and the same command goes on from there.
#SBATCH --job-name=spectra
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --time=02:00:00
#SBATCH --output=spectra-%j.log
set -euo pipefail

[ "$#" -gt 0 ] || { echo "usage: sbatch [options] scripts/slurm.sh MODEL --out FILE [options of spectra analyze]" >&2; exit 2; }
# SLURM runs a copy of this file: the program is found from where the job was submitted, or on PATH.
spectra=${SPECTRA:-$(command -v spectra || echo "${SLURM_SUBMIT_DIR:-.}/.venv/bin/spectra")}
run_dir=${RUN_DIR:-${SLURM_SUBMIT_DIR:-.}/spectra-run}

srun --kill-on-bad-exit=1 "$spectra" analyze "$@" --distributed --run-dir "$run_dir"
