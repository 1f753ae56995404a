"""What a GPU makes of the networks, each part as a share of the card's measured peak and against the textbook network.

`python -m benchmarks.gpu` needs torch, numpy and safetensors; Wan's part also diffusers and accelerate. It ends
within nine minutes and writes `benchmarks/results/gpu-NAME-OF-THE-CARD.json` after every part.
"""
