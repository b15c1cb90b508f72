"""Places for labels that would overlap where they belong; knows nothing but numbers."""

from collections.abc import Sequence


def dodge(wanted: Sequence[float], *, gap: float, length: float) -> list[float]:
    """Move places apart by at least `gap`, each as little as can be, within 0 to length.

    Least squares under order constraints, by pooling adjacent violators (Ayer, Brunk, Ewing, Reid
    and Silverman, 1955).

    Args:
        wanted: Where each would stand alone; equal ones keep their order.
        gap: Smallest distance of two.
        length: Largest place; taken as larger when they do not fit.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    pools: list[tuple[float, int]] = []
    for rank, i in enumerate(order):
        mean, size = wanted[i] - rank * gap, 1
        while pools and pools[-1][0] >= mean:
            before, count = pools.pop()
            mean, size = (before * count + mean * size) / (count + size), count + size
        pools.append((mean, size))
    room = max(0.0, length - gap * (len(wanted) - 1))
    bases = [min(max(mean, 0.0), room) for mean, size in pools for _ in range(size)]
    places = [0.0] * len(wanted)
    for rank, (i, base) in enumerate(zip(order, bases, strict=True)):
        places[i] = base + rank * gap
    return places
