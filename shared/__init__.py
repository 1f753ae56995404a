"""What the four services hold in common: the contract, the queue, the media, the weights."""
