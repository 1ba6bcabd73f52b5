"""plqlite: pixel-level face image quality, explained.

A companion to "Pixel-Level Face Image Quality Assessment for Explainable Face Recognition"
(arXiv 2110.11001). Quality means utility for recognition, not how nice a photo looks.

The paper is three files: quality.py, regression.py and saliency.py. Which names `plqlite` offers, and where
each is defined, is written in __init__.pyi; a module is imported when one of its names is first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
