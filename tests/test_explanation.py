import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.overrides import TorchFunctionMode

import plqlite
from conftest import random_images, tiny_model
from plqlite import explanation as explanation_module
from plqlite.explanation import pattern_of
from plqlite.saliency import pixel_level_quality

DOUBLE = tiny_model().double()

IMAGE = random_images(1).double()

ORDER = plqlite.explain(DOUBLE, IMAGE).saliency.flatten().argsort()


@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    passes=st.one_of(st.none(), st.integers(2, 40)),
    alpha=st.floats(1, 500),
    r=st.floats(0.5, 1),
    gamma=st.floats(4, 14),
)
def test_pixel_ranks_do_not_change(seed, passes, alpha, r, gamma):
    DOUBLE.scaling = plqlite.Scaling(alpha, r, gamma)
    explanation = plqlite.explain(DOUBLE, IMAGE, passes=passes, seed=seed)
    saliency, plq = (x.flatten()[ORDER] for x in (explanation.saliency, explanation.plq))
    assert (saliency.diff() >= -1e-9 * saliency.max()).all()
    assert (plq.diff() >= -1e-9).all()


def test_composes_the_three_steps(tiny, images):
    from plqlite import quality, regression, saliency

    q = quality.ser_fiq(tiny, images, passes=30, seed=4)
    scaled = quality.scale_quality(q, tiny.scaling.alpha, tiny.scaling.r)
    m_q = regression.QualityRegression(tiny, regression.node_weights(tiny(images), scaled))
    pixels = images.clone().requires_grad_()
    s = saliency.mean_over_channels(saliency.pixel_gradient(m_q(pixels), pixels))
    explanation = plqlite.explain(tiny, images, passes=30, seed=4)
    torch.testing.assert_close(explanation.quality, q)
    torch.testing.assert_close(explanation.scaled_quality, scaled)
    torch.testing.assert_close(explanation.saliency, s)
    torch.testing.assert_close(explanation.plq, saliency.pixel_level_quality(s, tiny.scaling.gamma))


@pytest.mark.parametrize("passes", [20, None])
def test_dropout_rate_matters(tiny, images, passes):
    low, high = (plqlite.explain(tiny, images, passes, dropout=p).quality for p in (0.1, 0.8))
    assert (high < low - 0.05).all()


def test_one_forward_pass_of_the_backbone(tiny, images):
    calls = []
    tiny.backbone.register_forward_hook(lambda *_: calls.append("forward"))
    tiny.backbone.register_full_backward_hook(lambda *_: calls.append("backward"))
    plqlite.explain(tiny, images, passes=500)
    assert calls == ["forward", "backward"]


@pytest.mark.slow
def test_batch_equals_one_by_one(model, faces):
    together = plqlite.explain(model, faces, passes=10)
    for index, face in enumerate(faces):
        alone = plqlite.explain(model, face[None], passes=10)
        assert alone.quality.item() == pytest.approx(together.quality[index].item(), abs=2e-6)
        # Not pixel by pixel: where a ReLU's input is within rounding of 0, the gradient jumps.
        difference = (alone.saliency[0] - together.saliency[index]).norm()
        assert difference < 2e-3 * together.saliency[index].norm()


def test_shapes_and_ranges(model, faces):
    explanation = plqlite.explain(model, faces)
    count, size = len(faces), model.size
    assert explanation.quality.shape == explanation.scaled_quality.shape == (count,)
    assert explanation.saliency.shape == explanation.plq.shape == (count, size, size)
    for value in (explanation.quality, explanation.scaled_quality, explanation.plq):
        assert 0 <= value.min() <= value.max() <= 1


@pytest.mark.slow
@pytest.mark.parametrize("reading", ["signed", "literal", "summed"])
def test_black_square_lowers_the_map_inside(model, faces, reading):
    inside = slice(round(0.35 * model.size), round(0.62 * model.size))
    covered = faces.clone()
    covered[:, :, inside, inside] = 0
    before, after = (plqlite.explain(model, x, reading=reading) for x in (faces, covered))
    if reading == "signed":
        means = [e.plq[:, inside, inside].mean((1, 2)) for e in (before, after)]
        assert (means[1] < means[0]).all()
    # The square lowers Q̂ and so the whole map: its share of the saliency tells that it is found.
    shares = [e.saliency[:, inside, inside].sum((1, 2)) / e.saliency.sum((1, 2)) for e in (before, after)]
    assert (shares[1] < shares[0]).all()


def test_leaves_model_and_images_as_they_were(tiny, images):
    before = images.clone()
    with torch.no_grad():  # a caller may have switched gradients off
        plqlite.explain(tiny, images)
    assert images.equal(before)
    assert not images.requires_grad
    assert all(parameter.grad is None for parameter in tiny.parameters())


class ValuesUnknown(TorchFunctionMode):
    """Meta tensors hold no values: answer every `if` that looks for bad ones with no."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function is torch.Tensor.__bool__ and args[0].is_meta:
            return False
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("passes", [10, None])
@pytest.mark.parametrize("reading", ["signed", "literal", "summed"])
def test_every_tensor_is_made_on_the_device_of_the_images(tiny, images, passes, reading):
    """Mixing devices is an error on `meta` as it is on a GPU, and needs none."""
    with ValuesUnknown():
        explanation = plqlite.explain(tiny.to("meta"), images.to("meta"), passes=passes, reading=reading)
    found = [value for value in vars(explanation).values() if torch.is_tensor(value)]
    assert len(found) >= 5
    assert all(value.device.type == "meta" for value in found)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_other_devices_give_the_same_numbers(device, model, faces):
    if not {"cuda": torch.cuda, "mps": torch.backends.mps}[device].is_available():
        pytest.skip(f"no {device} here")
    on_cpu = plqlite.explain(model, faces)
    on_device = plqlite.explain(getattr(plqlite, model.name)(device=device), faces.to(device))
    for name, expected in on_cpu.numpy().items():
        found = getattr(on_device, name)
        assert found.device.type == device
        error = np.linalg.norm(found.cpu().numpy() - expected) / np.linalg.norm(expected)
        smooth = name in ("quality", "scaled_quality", "signal", "noise")
        assert error < (1e-5 if smooth else 5e-3)  # rounding alone bends some gradients; TF32 makes it 4e-2


def test_convolutions_are_computed_in_full_precision_forward_and_backward(tiny, images):
    """And torch is left as it was. What a GPU then computes is in the test above."""
    seen = []

    def look(*_):
        seen.append(torch.backends.cudnn.conv.fp32_precision)

    hooks = [
        tiny.backbone[0].register_forward_hook(look),
        tiny.backbone[0].register_full_backward_hook(look),
    ]
    before = torch.backends.cudnn.conv.fp32_precision
    plqlite.explain(tiny, images)
    tiny.features(images)
    for hook in hooks:
        hook.remove()
    assert seen == ["ieee"] * 3
    assert torch.backends.cudnn.conv.fp32_precision == before != "ieee"


def test_saves_what_numpy_returns(tiny, images, tmp_path):
    explanation = plqlite.explain(tiny, images)
    explanation.save(tmp_path / "plq.npz")
    with np.load(tmp_path / "plq.npz") as saved:
        names = {"quality", "scaled_quality", "saliency", "plq", "pattern", "signal", "noise"}
        assert set(saved) == names  # without reference statistics there is no deviation
        for name, value in explanation.numpy().items():
            np.testing.assert_array_equal(saved[name], value)
    assert [path.name for path in tmp_path.iterdir()] == ["plq.npz"]


def test_one_of_several_is_an_explanation_too(tiny_reference):
    images = random_images(3, size=112)
    together = plqlite.explain(tiny_reference, images)
    one = together[1]
    assert one.model is tiny_reference
    for name, value in together.numpy().items():
        np.testing.assert_array_equal(one.numpy()[name], value[1:2], err_msg=name)


def test_the_pattern_is_p_at_a_fixed_level(tiny, images):
    """Q̂ divided out, ½ put in its place, then smoothed; so a photo of low Q̂ has a pattern too."""
    explanation = plqlite.explain(tiny, images)
    level = explanation.scaled_quality[:, None, None]
    sharp = pixel_level_quality(explanation.saliency / level / 2, tiny.scaling.gamma)
    assert explanation.pattern.shape == sharp.shape
    torch.testing.assert_close(explanation.pattern.mean((1, 2)), sharp.mean((1, 2)), rtol=0.05, atol=0)
    tiny.scaling = plqlite.Scaling(alpha=20.0, r=1.5, gamma=8.0)  # Q̂ is below 1e-5
    poor = plqlite.explain(tiny, images)
    assert poor.scaled_quality.max() < 1e-3
    torch.testing.assert_close(poor.pattern, explanation.pattern, rtol=1e-3, atol=1e-5)
    assert poor.plq.max() < 1e-3


def test_the_pattern_is_smoothed_by_a_fortieth_of_the_width():
    """A single pixel becomes a Gaussian with a standard deviation of 3 of 120 pixels."""
    saliency = torch.zeros(1, 120, 120)
    saliency[0, 60, 60] = 1.0
    pattern = pattern_of(saliency, torch.tensor([0.5]), gamma=11)[0]
    assert pattern.sum().item() == pytest.approx(1, abs=1e-3)
    for direction in (0, 1):
        variance = (pattern.sum(direction) * (torch.arange(120) - 60) ** 2).sum().item()
        assert variance == pytest.approx(9, rel=0.05)


@pytest.mark.parametrize("passes", [None, 5])
def test_many_images_are_explained_in_batches(tiny_reference, monkeypatch, passes):
    tiny_reference, images = tiny_reference.double(), random_images(7, size=112).double()
    whole = plqlite.explain(tiny_reference, images, passes).numpy()
    assert whole.keys() == {*whole, "deviation", "signal"}
    sizes, original = [], explanation_module._explain
    monkeypatch.setattr(explanation_module, "ON_CPU", 3)
    monkeypatch.setattr(
        explanation_module, "_explain", lambda *each: sizes.append(len(each[1])) or original(*each)
    )
    split = plqlite.explain(tiny_reference, images, passes).numpy()
    assert sizes == [3, 3, 1]
    plqlite.explain(tiny_reference, images, passes, batch=5)
    assert sizes == [3, 3, 1, 5, 2]
    for name, values in whole.items():
        np.testing.assert_allclose(split[name], values, rtol=1e-5, atol=1e-9, err_msg=name)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"passes": "100"}, TypeError, "passes='100': give a whole number"),
        ({"passes": 2.0}, TypeError, "passes=2.0: give a whole number"),
        ({"passes": 1e6}, TypeError, "passes=1000000.0: give a whole number"),
        ({"passes": 1}, ValueError, "at least 2 passes"),
        ({"batch": 2.0}, TypeError, "batch=2.0: give a whole number"),
        ({"batch": 0}, ValueError, "batch=0: give 1 or more"),
        ({"passes": 5, "seed": 1.5}, TypeError, "seed=1.5: give a whole number"),
        ({"passes": 5, "seed": None}, TypeError, "seed=None: give a whole number"),
        ({"passes": 5, "seed": 2**32}, ValueError, "seed=4294967296: choose one from 0"),
        ({"passes": 5, "seed": -1}, ValueError, "seed=-1: choose one from 0"),
        ({"dropout": "0.5"}, TypeError, "dropout='0.5': give a share"),
        ({"dropout": 1.5}, ValueError, "choose a share between 0 and 1"),
        ({"dropout": 0.999999}, ValueError, "leaves 0.0002 of 196 features on average"),
        ({"dropout": 0.999999, "passes": 100}, ValueError, "leaves 0.0002 of 196 features on average"),
    ],
)
def test_numbers_that_cannot_be_are_refused(tiny, images, options, error, message):
    with pytest.raises(error, match=message):
        plqlite.explain(tiny, images, **options)


def test_whole_numbers_of_numpy_are_whole_numbers(tiny, images):
    found = plqlite.explain(tiny, images, passes=np.int64(5), seed=np.int64(3))
    assert found.quality.equal(plqlite.explain(tiny, images, passes=5, seed=3).quality)


@pytest.mark.parametrize("part", ["backbone.0", "head"])
def test_a_network_of_nan_is_an_error_and_not_a_map(tiny, images, part):
    tiny.get_submodule(part).weight[0] = float("nan")
    for passes in (None, 5):
        with pytest.raises(ValueError, match="hold NaN or infinity: check the weights"):
            plqlite.explain(tiny, images, passes)
