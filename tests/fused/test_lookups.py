"""Look-ups in tables of parameters."""

import pytest
import torch
import torch.nn.functional as F

from sktorch.fused.agreement import NotWorthStacking
from sktorch.fused.lookups import OwnTables

CODES, TABLE = torch.tensor([0, 4]), torch.ones(4, 2)


def test_codes_out_of_range_are_nan():
    with OwnTables(set()):
        assert F.embedding(CODES, TABLE).isnan().tolist() == [[False] * 2, [True] * 2]


@pytest.mark.parametrize(
    "look_up",
    [
        lambda codes, table: F.embedding(codes, table),
        lambda codes, table: table[codes],
        lambda codes, table: table.index_select(0, codes),
        lambda codes, table: torch.index_select(table, 0, codes),
    ],
)
def test_tables_of_several_lengths_are_refused(look_up):
    codes = torch.tensor([0, 1])
    with OwnTables({5}):
        assert len(look_up(codes, TABLE)) == 2
    with OwnTables({4}), pytest.raises(NotWorthStacking, match="several lengths"):
        look_up(codes, TABLE)
    with OwnTables({4}):
        assert len(TABLE[:2]) == 2
