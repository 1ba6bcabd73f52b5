"""Draw README's picture, the astronaut as she is and with a face mask, and that of the whole method.

python docs/make_picture.py
"""

from pathlib import Path

import plqlite
from plqlite.experiments.noncompliance import simulate
from plqlite.faces import largest_face
from plqlite.figures import grid, save_figure
from plqlite.pipeline import pipeline

if __name__ == "__main__":
    photo, model = plqlite.sample_faces()["astronaut"], plqlite.sface()
    face = largest_face(photo)
    masked = simulate(photo, face.landmarks, "face-mask-blue").photo
    images = [model.crop(each, face) for each in (photo, masked)]
    rows = [(image, plqlite.explain(model, image[None])) for image in images]
    save_figure(grid(rows, ["as she is", "with a face mask"]), Path(__file__).with_name("plq.png"))
    portraits = {name: plqlite.sample_faces()[name] for name in ("astronaut", "grace_hopper")}
    save_figure(pipeline(plqlite.facenet(), portraits), Path(__file__).with_name("pipeline.png"))
