"""Palettes: which few colours suit many, by a weighted k-means in Lab."""

import numpy as np

from services.creation.effects.grade import Lab

ROUNDS = 12  # of k-means; it converges after about eight


def k_means(colours: Lab, weights: Lab, count: int, random: np.random.Generator) -> Lab:
    """Return at most `count` centres (N, 3) of weighted colours, initialised with k-means++.

    After Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding" (2007).
    """
    centres = colours[[random.choice(len(colours), p=weights / weights.sum())]]
    while len(centres) < min(count, len(colours)):
        chance = weights * distances(colours, centres).min(axis=1)
        if not chance.any():
            break
        centres = np.vstack([centres, colours[random.choice(len(colours), p=chance / chance.sum())]])
    for _ in range(ROUNDS):
        owner = distances(colours, centres).argmin(axis=1)
        totals = np.bincount(owner, weights=weights, minlength=len(centres))
        for channel in range(3):
            sums = np.bincount(owner, weights=weights * colours[:, channel], minlength=len(centres))
            np.divide(sums, totals, out=centres[:, channel], where=totals > 0, casting="unsafe")
    return centres


def apart(palette: Lab, least: float) -> Lab:
    """Return the colours (N, 3) without those that are nearer than `least` to one that stays."""
    squares = distances(palette, palette)
    kept: list[int] = []
    for index in range(len(palette)):
        if not kept or squares[index, kept].min() >= least**2:
            kept.append(index)
    return palette[kept]


def distances(colours: Lab, palette: Lab) -> Lab:
    """Return squared distances (colours, palette), by one matrix product."""
    squares: Lab = colours @ (-2 * palette.T)
    squares += (colours**2).sum(axis=1)[:, None]
    squares += (palette**2).sum(axis=1)
    return np.maximum(squares, 0, out=squares)
