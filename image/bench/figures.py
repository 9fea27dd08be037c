# SPDX-License-Identifier: Apache-2.0
"""What is measured and what comes of it: pure functions over times, sizes and their limits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

BUILD_RATIO = 1.05
"""A build may take at most this many times what a bare mkosi run takes."""
OWN_PART = 5.0
"""What a build does beside mkosi, at most, in percent of a bare mkosi run."""
NOTHING_TO_DO = 2.0
"""Seconds for a build when nothing changed."""
BOOT_RATIO = 1.25
"""From power-on to our first-boot unit done, in boots of a bare Debian."""
ROOT_SIZE, KERNEL_SIZE = 350.0, 64.0
"""MiB of the root partition and of the unified kernel image."""
SIZE_LIMITED = frozenset({"vm"})
"""Profiles to which the size limits apply; others carry drivers and firmware for all hardware."""
MIB = 1 << 20


@dataclass(frozen=True)
class Figure:
    """A measured `value` in `unit`; `limit`, where there is one, is the largest that meets the target."""

    name: str
    value: float
    unit: str
    limit: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None where there is none."""
        return None if self.limit is None else self.value <= self.limit

    @property
    def share(self) -> float:
        """The value in percent of its limit; where that is 0, each unit beyond it is 100 % more."""
        if self.limit is None:
            return 0.0
        return 100 * (self.value / self.limit if self.limit else 1 + self.value)

    def describe(self) -> dict[str, float | str | bool | None]:
        """Return it as a report has it."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "limit": self.limit,
            "met": self.met,
        }

    def write(self, value: float | None) -> str:
        """Return `value` with the unit of this figure."""
        return "" if value is None else f"{value:.2f} {self.unit}"


@dataclass(frozen=True)
class Timing:
    """What one measured run took: seconds in all, and by phase in the order of time."""

    seconds: float
    phases: Mapping[str, float]


@dataclass(frozen=True)
class Comparison:
    """Runs of ours and of what they are compared with, measured in turns; seconds."""

    ours: tuple[float, ...]
    other: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Our fastest run in units of the other's fastest: what else a machine does only ever adds time."""
        return min(self.ours) / min(self.other)


@dataclass(frozen=True)
class BuildTimes:
    """Builds of one kind (cold or warm), and bare mkosi runs of the same inputs, in turns."""

    ours: tuple[Timing, ...]
    mkosi: tuple[Timing, ...]

    def compare(self, start: float) -> Comparison:
        """Compare what a user waits for; `start` are the seconds that build.py needs before it builds."""
        ours = tuple(start + timing.seconds for timing in self.ours)
        return Comparison(ours, tuple(timing.seconds for timing in self.mkosi))

    def own_part(self, start: float) -> float:
        """Return the time that our build spends outside of mkosi, in percent of a bare mkosi run.

        Unlike the comparison it does not take for ours what else the machine did while mkosi ran.
        """
        theirs = {name for timing in self.mkosi for name in timing.phases}
        own = (
            timing.seconds - sum(taken for name, taken in timing.phases.items() if name in theirs)
            for timing in self.ours
        )
        return 100 * (start + min(own)) / min(timing.seconds for timing in self.mkosi)


@dataclass(frozen=True)
class Sizes:
    """Bytes of what a profile makes."""

    image: int
    root: int
    kernel: int
    initrd: int


def sum_phases(timings: Iterable[Timing]) -> dict[str, float]:
    """Return the median seconds of each phase; one that a run did not have counts as 0 in it."""
    runs = list(timings)
    names = list(dict.fromkeys(name for run in runs for name in run.phases))
    return {name: median(run.phases.get(name, 0.0) for run in runs) for name in names}


def rank_builds(cold: BuildTimes, warm: BuildTimes, unchanged: Sequence[float]) -> list[Figure]:
    """Return the figures of builds; `unchanged` are seconds of builds that had nothing to do."""
    start = min(unchanged)
    return [
        Figure("cold build", cold.compare(start).ratio, "× bare mkosi", BUILD_RATIO),
        Figure("warm build", warm.compare(start).ratio, "× bare mkosi", BUILD_RATIO),
        Figure("cold build, our own part", cold.own_part(start), "% of bare mkosi", OWN_PART),
        Figure("warm build, our own part", warm.own_part(start), "% of bare mkosi", OWN_PART),
        Figure("build without a change", median(unchanged), "s", NOTHING_TO_DO),
    ]


def rank_boots(boots: Comparison) -> list[Figure]:
    """Return the figures of boots."""
    return [Figure("boot to first boot done", boots.ratio, "× bare Debian", BOOT_RATIO)]


def rank_sizes(sizes: Mapping[str, Sizes]) -> list[Figure]:
    """Return the figures of sizes by profile."""
    figures = []
    for profile, size in sizes.items():
        limited = profile in SIZE_LIMITED
        figures += [
            Figure(f"{profile}: root partition", size.root / MIB, "MiB", ROOT_SIZE if limited else None),
            Figure(
                f"{profile}: kernel image (UKI)", size.kernel / MIB, "MiB", KERNEL_SIZE if limited else None
            ),
            Figure(f"{profile}: initrd in it", size.initrd / MIB, "MiB"),
            Figure(f"{profile}: whole image", size.image / MIB, "MiB"),
        ]
    return figures
