"""What is in front of a face: composites with known masks, how the network was trained, how it is measured."""
