#!/usr/bin/env bash
# Runs as root while the image is built: onnxruntime is one package for the CPU and another one for CUDA, which share
# their files, so one must be removed before the other is installed. CUDA 13 and cuDNN 9 are the base image's.
# insightface asks for a second OpenCV, so it comes without its dependencies; the requirements have what it imports.
set -euo pipefail
version=$(python -c 'from importlib.metadata import version; print(version("onnxruntime"))')
uv pip uninstall onnxruntime
uv pip install --no-deps "onnxruntime-gpu==${version}"
uv pip install --no-deps "insightface==2.1"
