"""Rounds of several contenders side by side, and what can be said of them."""

import random
import statistics

# Seeded: the same rounds always give the same interval.
RESAMPLES = 4_000


def interleaved(contenders, rounds):
    """Calls each of the named once a round, in turn; the order is turned round every other round, so that drift
    favours nobody. Returns the values of each."""
    values = {name: [] for name in contenders}
    for number in range(rounds):
        for name in sorted(contenders, reverse=number % 2 == 1):
            values[name].append(contenders[name]())
    return values


def spread(values):
    """Median, lowest, highest."""
    return statistics.median(values), min(values), max(values)


def ratios(ones, others):
    """Round by round: neighbours in time share what the machine does meanwhile."""
    return [one / other for one, other in zip(ones, others) if other]


def interval(values, sureness=0.95):
    """Where the median lies, by bootstrap."""
    generator = random.Random(1)
    medians = sorted(statistics.median(generator.choices(values, k=len(values))) for _ in range(RESAMPLES))
    cut = int(RESAMPLES * (1 - sureness) / 2)
    return medians[cut], medians[-1 - cut]


def chance(ones, others):
    """Mann-Whitney, two-sided, normal approximation with ties: how likely two samples of one population differ so."""
    every = sorted([(value, 0) for value in ones] + [(value, 1) for value in others])
    ranks, at, ties = [0.0] * len(every), 0, 0
    while at < len(every):
        end = at
        while end < len(every) and every[end][0] == every[at][0]:
            end += 1
        for place in range(at, end):
            ranks[place] = (at + end + 1) / 2
        ties += (end - at) ** 3 - (end - at)
        at = end
    count, other_count = len(ones), len(others)
    total = count + other_count
    rank_sum = sum(rank for rank, (_, which) in zip(ranks, every) if which == 0)
    mean = count * (total + 1) / 2
    variance = count * other_count / 12 * (total + 1 - ties / (total * (total - 1)))
    if variance <= 0:
        return 1.0
    far = (abs(rank_sum - mean) - 0.5) / variance ** 0.5
    return min(1.0, 2 * (1 - statistics.NormalDist().cdf(max(0.0, far))))
