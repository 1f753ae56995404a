"""What the four services share: the contract, the queue, media, weights."""
