"""RCL against its formula by loops."""

import math

import pytest
import torch

from caption_methods import make_caption_trainer, method_alone, scores_and_batch, softmax_of
from noisy_xmodal import RobustTrainingArguments

COMPLEMENTS = {
    "log": lambda x: -math.log(1 - x),
    "tan": math.tan,
    "abs": lambda x: x,
    "exp": lambda x: math.exp(x - 1),
    "gce": lambda x: (1 - math.sqrt(1 - x)) / 0.5,
}


@pytest.mark.parametrize("complement", COMPLEMENTS)
def test_loss_is_the_sum_over_the_negatives_of_both_directions(complement):
    output, batch = scores_and_batch()
    method = method_alone("rcl", temperature=0.3, complement=complement)
    both = softmax_of(output.scores.detach(), batch, 0.3)
    expected = [
        sum(
            COMPLEMENTS[complement](float(match[i][j]))
            for match in both
            for j in range(7)
            if j != i and {i, j} != {1, 2}
        )
        for i in range(7)
    ]
    losses = method.loss(output, batch)
    torch.testing.assert_close(losses.detach(), torch.tensor(expected, dtype=torch.float64))


def test_siblings_have_no_gradient_and_sure_mistakes_a_finite_one():
    output, batch = scores_and_batch()
    method_alone("rcl").loss(output, batch).sum().backward()
    gradient = output.scores.grad
    assert gradient[1, 2] == gradient[2, 1] == 0
    assert (gradient.diagonal() < 0).all()
    sure, batch = scores_and_batch()
    with torch.no_grad():
        sure.scores[0, 3] = 50
    for complement in COMPLEMENTS:
        sure.scores.grad = None
        method_alone("rcl", complement=complement).loss(sure, batch).sum().backward()
        assert sure.scores.grad.isfinite().all(), complement


def test_a_warm_up_is_refused_but_for_the_default_of_the_arguments(tmp_path):
    default = RobustTrainingArguments.warmup_epochs
    make_caption_trainer("rcl", tmp_path, warmup_epochs=default, num_train_epochs=default + 1)
    with pytest.raises(ValueError, match="`warmup_epochs` is 2: the method has one loss"):
        make_caption_trainer("rcl", tmp_path, warmup_epochs=2)


def test_an_unknown_complement_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"`complement` .* must be one of log, tan.* found 'sin'"):
        make_caption_trainer("rcl", tmp_path, {"complement": "sin"})
