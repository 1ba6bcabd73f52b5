"""The picture of the whole method."""

import numpy as np
import torch

import plqlite
from plqlite.pipeline import STEPS, _scatter, pipeline

PHOTOS = {
    name: photo for name, photo in plqlite.sample_faces().items() if name in ("astronaut", "grace_hopper")
}


def test_a_row_for_each_photo_and_a_column_for_each_step():
    model = plqlite.facenet(device="cpu")
    figure = pipeline(model, PHOTOS)
    axes = np.array(figure.axes).reshape(2, len(STEPS))
    assert [axis.get_title() for axis in axes[0]] == list(STEPS)
    assert [axis.get_ylabel() for axis in axes[:, 0]] == list(PHOTOS)
    for row, photo in zip(axes, PHOTOS.values(), strict=True):
        images = plqlite.load_face(photo, model)
        explanation = plqlite.explain(model, images)
        np.testing.assert_array_equal(row[0].images[0].get_array(), photo)
        np.testing.assert_allclose(row[5].images[0].get_array(), explanation.plq[0], atol=1e-5)
        assert (
            row[3].get_xlabel()
            == f"Q = {explanation.quality[0]:.3f}, Q̂ = {explanation.scaled_quality[0]:.2f}"
        )
        assert len(row[2].lines[0].get_xdata()) == 100
    _, metadata = figure._repr_mimebundle_()
    assert all(name in metadata["image/png"]["alt"] for name in PHOTOS)


def test_the_scatter_keeps_distances_from_the_mean():
    model = plqlite.facenet(device="cpu")
    radius = {}
    for name, photo in PHOTOS.items():
        images = plqlite.load_face(photo, model)
        features = model.features(images)
        embeddings = plqlite.quality.stochastic_embeddings(model.head, features)[0]
        flat = _scatter(model, images)
        torch.testing.assert_close(flat.norm(dim=1), (embeddings - embeddings.mean(0)).norm(dim=1))
        radius[name] = flat.norm(dim=1).mean()
    assert radius["grace_hopper"] > radius["astronaut"]
