"""plqlite: pixel-level face image quality, explained.

A companion to "Pixel-Level Face Image Quality Assessment for Explainable Face Recognition"
(arXiv 2110.11001). Quality means utility for recognition, not how nice a photo looks.
"""

from plqlite.advice import advise
from plqlite.calibration import calibrate
from plqlite.explain import Explanation, explain
from plqlite.faces import NoFaceFound, UnreadableImage, load_face, sample_faces
from plqlite.models import FaceModel, Scaling, arcface, facenet, from_module, from_onnx, sface
from plqlite.quality import fit_scaling, scale_quality, ser_fiq, ser_fiq_closed_form
from plqlite.regression import node_weights
from plqlite.saliency import fit_gamma
from plqlite.show import explore, grid, show
from plqlite.split import UnusableModel

__all__ = [
    "Explanation",
    "FaceModel",
    "NoFaceFound",
    "Scaling",
    "UnreadableImage",
    "UnusableModel",
    "advise",
    "arcface",
    "calibrate",
    "explain",
    "explore",
    "facenet",
    "fit_gamma",
    "fit_scaling",
    "from_module",
    "from_onnx",
    "grid",
    "load_face",
    "node_weights",
    "sample_faces",
    "scale_quality",
    "ser_fiq",
    "ser_fiq_closed_form",
    "sface",
    "show",
]
