"""Architectures and callables that more than one service may use: tensors in, tensors out, no path and no setting."""
