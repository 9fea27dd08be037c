# SPDX-License-Identifier: Apache-2.0
"""What may arrive instead of a good message, as hypothesis strategies."""

from hypothesis import strategies as st

wire_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.binary(max_size=70)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
"""Any value that agent/wire.py encodes."""


def damage(good: bytes) -> st.SearchStrategy[bytes]:
    """Return what is not `good` but came of it: a byte changed, cut short, something added; or garbage."""
    place = st.integers(0, len(good) - 1)
    return st.one_of(
        st.builds(
            lambda at, mask: good[:at] + bytes([good[at] ^ mask]) + good[at + 1 :], place, st.integers(1, 255)
        ),
        place.map(lambda at: good[:at]),
        st.binary(min_size=1, max_size=40).map(lambda more: good + more),
        st.binary(max_size=300),
    )
