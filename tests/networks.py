"""Networks for the tests, with random weights: ArcFace's, and a small one of the same kind; as ONNX files."""

import warnings

import torch
from torch import nn


class Wrapped(nn.Module):
    """A network with something before and after it."""

    def __init__(self, before, network, after):
        super().__init__()
        self.before, self.network, self.after = before, network, after

    def forward(self, images):
        return self.after(self.network(self.before(images)))


def same(x):
    return x


class Residual(nn.Module):
    """BN, 3×3, BN, PReLU, 3×3, BN, added to the input: the block of ArcFace (arXiv 1801.07698, §2.2)."""

    def __init__(self, inside, outside, stride):
        super().__init__()
        self.path = nn.Sequential(
            nn.BatchNorm2d(inside),
            nn.Conv2d(inside, outside, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outside),
            nn.PReLU(outside),
            nn.Conv2d(outside, outside, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.skip = nn.Identity()
        if stride == 2:
            self.skip = nn.Sequential(nn.Conv2d(inside, outside, 1, 2, bias=False), nn.BatchNorm2d(outside))

    def forward(self, x):
        return self.path(x) + self.skip(x)


def iresnet(blocks, widths=(64, 128, 256, 512), size=112, dimensions=512, seed=0):
    """IResNet-50 has (3, 4, 14, 3) blocks, IResNet-100 (3, 13, 30, 3)."""
    torch.manual_seed(seed)
    width = widths[0]
    layers = [nn.Conv2d(3, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width), nn.PReLU(width)]
    for count, outside in zip(blocks, widths, strict=True):
        for i in range(count):
            layers.append(Residual(width, outside, 2 if i == 0 else 1))
            width = outside
    features = width * (size // 2 ** len(blocks)) ** 2
    layers += [nn.BatchNorm2d(width), nn.Flatten(), nn.Dropout(0.4)]
    network = nn.Sequential(*layers, nn.Linear(features, dimensions), nn.BatchNorm1d(dimensions))
    return with_statistics(network)


def small(size=16, dimensions=8, seed=0):
    """ArcFace's layers, as few as there can be."""
    return iresnet((1, 1), (4, 8), size, dimensions, seed)


def with_statistics(network, seed=0):
    """Give BatchNorm other constants than those it begins with, which would hide a mistake."""
    generator = torch.Generator().manual_seed(seed)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            for value in (layer.weight.data, layer.running_var):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            for value in (layer.bias.data, layer.running_mean):
                value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
    return network.eval()


def export(network, path, size=16, batch=None, opset=None, dynamo=False):
    """Write a network as an ONNX file for any batch size, or for one."""
    network.eval()
    path.parent.mkdir(parents=True, exist_ok=True)
    images = torch.zeros(batch or 2, 3, size, size, dtype=next(network.parameters()).dtype)
    if dynamo:
        shapes = None if batch else ({0: torch.export.Dim("batch")},)
        options = {"dynamic_shapes": shapes, "verbose": False}
    else:
        options = {"dynamic_axes": None if batch else {"images": {0: "batch"}}, "input_names": ["images"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's advice on its two exporters
        torch.onnx.export(network, (images,), path, opset_version=opset, dynamo=dynamo, **options)
    return path
