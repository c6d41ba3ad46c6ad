"""What the values of an output mean: said, beyond doubt, or refused with the lines that would say it."""

from __future__ import annotations

import pytest

from edge_tqs.errors import ModelError, UsageError
from edge_tqs.graph.graph import Output
from edge_tqs.system.reading import Said, read_output

QUANTILES = tuple(Output("temp", statistic="quantile", level=level, channel=0) for level in (0.1, 0.5, 0.9))


@pytest.mark.parametrize(
    ("shape", "channels", "said", "block"),
    [
        ((3,), 3, Said(), (1, 3, (0, 1, 2))),
        ((1,), 3, Said(feedback=(0, None, None)), (1, 1, (0, None, None))),
        ((4, 2), 3, Said(feedback=(0, 1, None)), (4, 2, (0, 1, None))),
        ((6, 1), 1, Said(), (6, 1, (0,))),
        ((6,), 1, Said(steps=6), (6, 1, (0,))),
        ((6,), 3, Said(steps=2), (2, 3, (0, 1, 2))),
        ((2,), 3, Said(feedback=(0, None, 1)), (1, 2, (0, None, 1))),
        ((5, 2), 2, Said(steps=5), (5, 2, (0, 1))),
        ((5, 2), 2, Said(last_only=True), (1, 2, (0, 1))),
        ((2,), 2, Said(feedback=(0, None), steps=1), (1, 2, (0, None))),
        ((3,), 1, Said(predicted=QUANTILES), (1, 3, (1,))),
        ((1,), 4, Said(kind="direct", targets=("price",)), (1, 1, (None,) * 4)),
        ((6,), 8, Said(kind="direct", targets=("load",)), (1, 6, (None,) * 8)),
        ((6, 2), 3, Said(kind="direct", targets=("a", "b")), (1, 12, (None,) * 3)),
        ((5, 2), 2, Said(kind="reconstruction"), (1, 10, (None, None))),
        ((10,), 2, Said(kind="reconstruction"), (1, 10, (None, None))),
        ((6,), 9, Said(kind="classes"), (1, 6, (None,) * 9)),
    ],
)
def test_what_an_output_holds(shape, channels, said, block) -> None:
    found = read_output(shape, 5, channels, said)
    assert (found.steps, found.outputs, found.feedback) == block


def test_direct_blocks_say_the_time_of_each_value() -> None:
    said = Said(kind="direct", targets=("a", "price"), columns=("b", "a"), lead=3)
    found = read_output((2, 2), 5, 2, said)
    assert [(o.name, o.lead, o.channel) for o in found.predicted] == [
        ("a", 3, 1),
        ("price", 3, None),
        ("a", 4, 1),
        ("price", 4, None),
    ]


@pytest.mark.parametrize(
    ("shape", "channels", "said", "match", "line"),
    [
        ((6,), 8, Said(), "6 values from 8 channels, and nothing says what they are", 'kind = "direct"'),
        ((6,), 8, Said(), "nothing says", 'kind = "classes"'),
        ((6,), 8, Said(), "nothing says", "6 of its inputs, fed back"),
        ((6,), 2, Said(), "6 values from 2 channels, and nothing says", "steps = 6"),
        ((3,), 1, Said(), "3 values from 1 channel, and nothing says", "quantile = 0.1"),
        ((3,), 1, Said(feedback=(0,)), "3 samples of 1, or one sample of 3", "steps = 3"),
        ((1,), 4, Said(), "1 value from 4 channels, and nothing says what it is", "--target-column COLUMN"),
        ((6,), 2, Said(steps=4), "not 4 samples", "steps"),
        ((4, 2), 2, Said(steps=3), "4 samples at once, not 3", "steps"),
        ((5, 2), 2, Said(), "as many as its window holds", 'labels = "wide"'),
        ((5, 2), 2, Said(), "as many as its window holds", "steps = 5"),
        ((5, 2), 2, Said(), "as many as its window holds", 'kind = "reconstruction"'),
        ((4, 2), 3, Said(), "4 samples of 2 values from 3 channels", 'kind = "direct"'),
        ((4, 2), 3, Said(kind="reconstruction"), "not the window", "kind"),
        ((2, 2, 2), 2, Said(), "not one sample or a block", "steps"),
        ((4, 2), 2, Said(last_only=True), "no sequence of 5 samples", "wide"),
    ],
)
def test_what_can_be_read_in_several_ways_is_refused_with_the_lines_that_say_it(
    shape, channels, said, match, line
) -> None:
    with pytest.raises(ModelError, match=match) as refused:
        read_output(shape, 5, channels, said)
    assert line in refused.value.hint


@pytest.mark.parametrize(
    ("shape", "channels", "said", "match"),
    [
        ((2,), 2, Said(feedback=(0, 2)), "which of 2 outputs"),
        ((2,), 2, Said(feedback=(None, None)), "no output becomes an input"),
        ((2,), 2, Said(kind="direct", targets=("a", "b", "c"), steps=1), "3 outputs are named"),
        ((2,), 2, Said(lead=12), "lead = 12: a closed loop"),
        ((6,), 2, Said(kind="classes", targets=("a", "b")), "2 classes are named, the model gives 6"),
        ((2,), 1, Said(predicted=(QUANTILES[0], QUANTILES[2])), "none of the outputs can be fed back"),
    ],
)
def test_what_does_not_fit_the_model_is_wrong_use(shape, channels, said, match) -> None:
    with pytest.raises(UsageError, match=match):
        read_output(shape, 5, channels, said)
