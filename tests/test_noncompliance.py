import cv2
import numpy as np
import pytest

import plqlite
from plqlite.experiments.noncompliance import NON_COMPLIANCES, simulate
from plqlite.faces import Face, align_arcface, find_faces

PHOTO = plqlite.sample_faces()["astronaut"]
FACE = find_faces(PHOTO)[0]
VARIANTS = {
    "headgear": ["cap", "beanie", "headscarf"],
    "colour": ["cast", "grey", "saturated"],
    "illumination": ["left", "right", "top", "bottom", "over", "under"],
    "blur": ["defocus", "motion"],
    "glasses": ["clear", "dark", "lowered"],
    "contrast": ["low"],
    "reflection": ["skin", "glasses"],
    "face mask": ["black", "blue", "green", "white"],
    "pose": ["yaw", "pitch", "roll"],
    "expression": ["open mouth", "grimace", "closed eyes"],
    "distortion": ["barrel", "pincushion"],
    "background": ["busy"],
}


def crop(photo):
    """The face in ArcFace's canonical landmarks, 112×112."""
    return align_arcface(photo, FACE).astype(float)


def simulated(name, **options):
    return simulate(PHOTO, FACE.landmarks, name, **options)


def test_there_are_twelve_kinds_and_33_variants():
    found = {name: (each.kind, each.variant) for name, each in NON_COMPLIANCES.items()}
    expected = [(kind, variant) for kind, variants in VARIANTS.items() for variant in variants]
    assert list(found.values()) == expected
    assert len(found) == 33
    assert len({kind for kind, _ in found.values()}) == 12
    assert list(found) == ["-".join(each).replace(" ", "-") for each in expected]
    assert found["expression-open-mouth"] == ("expression", "open mouth")


def test_each_names_the_measure_that_it_breaks():
    """As OFIQ and ISO/IEC 29794-5 call it."""
    assert all(each.measure and each.measure.isprintable() for each in NON_COMPLIANCES.values())
    measures = {name: each.measure for name, each in NON_COMPLIANCES.items()}
    assert measures["headgear-cap"] == "NoHeadCoverings"
    assert measures["blur-motion"] == "Sharpness"
    assert measures["colour-cast"] == "NaturalColour"
    assert measures["expression-closed-eyes"] == "EyesOpen"
    assert measures["background-busy"] == "BackgroundUniformity"


@pytest.mark.parametrize("name", NON_COMPLIANCES)
def test_each_changes_the_face_and_what_it_masks(name):
    done = simulated(name)
    changed = np.abs(done.photo.astype(int) - PHOTO).max(2)
    assert done.photo.dtype == np.uint8
    assert done.photo.shape == PHOTO.shape
    assert (changed > 8).mean() > 0.002
    if done.mask is not None:
        assert done.mask.shape == PHOTO.shape[:2]
        assert 0 < done.mask.mean() < 1
        near = cv2.dilate(np.uint8(done.mask), np.ones((9, 9))) > 0
        assert (changed[~near] > 40).mean() < 0.002  # blurred edges, straps, the tint of lenses
        assert (changed[done.mask] > 8).mean() > 0.4  # what is stretched may look alike


@pytest.mark.parametrize("name", NON_COMPLIANCES)
def test_strength_runs_from_nothing_to_all(name):
    looks = [simulated(name, strength=s) for s in (0, 0.5, 1)]
    none, half, all_ = (look.photo.astype(int) for look in looks)
    assert looks[0].mask is None or not looks[0].mask.any()
    assert np.abs(none - PHOTO).max() <= 1
    assert 0 < np.abs(half - PHOTO).mean() < np.abs(all_ - PHOTO).mean()


def test_no_two_variants_look_alike():
    photos = {simulated(name).photo.tobytes() for name in NON_COMPLIANCES}
    assert len(photos) == 33
    below = {v: np.nonzero(simulated(f"glasses-{v}").mask)[0].mean() for v in ("clear", "lowered")}
    assert below["lowered"] > below["clear"] + 4  # pixels of the photo


def test_photos_come_as_load_face_takes_them():
    grey = PHOTO[..., 0]
    expected = simulate(np.stack([grey] * 3, axis=2), FACE.landmarks, "contrast-low").photo
    assert (simulate(grey, FACE.landmarks, "contrast-low").photo == expected).all()
    floats = simulate(PHOTO.astype(float), FACE.landmarks, "colour-grey").photo
    assert (floats == simulated("colour-grey").photo).all()
    flipped = simulate(PHOTO[:, ::-1], FACE.landmarks, "colour-saturated").photo
    assert (flipped == simulated("colour-saturated").photo[:, ::-1]).all()


def test_the_seed_decides():
    assert (simulated("colour-cast", seed=3).photo == simulated("colour-cast", seed=3).photo).all()
    casts = [simulated("colour-cast", seed=seed).photo.mean((0, 1)).round(1).tolist() for seed in range(8)]
    assert len({tuple(cast) for cast in casts}) == 3
    assert (simulated("pose-yaw", seed=1).photo == simulated("pose-yaw", seed=2).photo).all()  # no choice


def test_light_comes_from_where_it_is_said_to():
    def brighter(first, second):
        return first.mean() > 1.5 * second.mean()

    left, right, top, bottom, over, under = (
        crop(simulated(f"illumination-{variant}").photo) for variant in VARIANTS["illumination"]
    )
    assert brighter(left[40:90, 20:40], left[40:90, 72:92])
    assert brighter(right[40:90, 72:92], right[40:90, 20:40])
    assert brighter(top[30:50, 30:80], top[90:110, 30:80])
    assert brighter(bottom[90:110, 30:80], bottom[30:50, 30:80])
    assert over[40:90, 30:80].mean() > crop(PHOTO)[40:90, 30:80].mean() + 40
    assert under[40:90, 30:80].mean() < crop(PHOTO)[40:90, 30:80].mean() - 80


def test_colours_and_contrast_are_what_they_are_called():
    def saturation(photo):
        return np.ptp(photo.astype(float), axis=2).mean()

    assert saturation(simulated("colour-grey").photo) == 0
    assert saturation(simulated("colour-saturated").photo) > 1.5 * saturation(PHOTO)
    assert simulated("contrast-low").photo.std() < 0.4 * PHOTO.std()
    cast = simulated("colour-cast").photo.astype(float).mean((0, 1)) / PHOTO.mean((0, 1))
    assert np.ptp(cast) > 0.2


@pytest.mark.parametrize("variant", VARIANTS["blur"])
def test_blur_takes_detail_and_no_light(variant):
    blurred = crop(simulated(f"blur-{variant}").photo)
    assert cv2.Laplacian(blurred, cv2.CV_64F).std() < 0.5 * cv2.Laplacian(crop(PHOTO), cv2.CV_64F).std()
    assert blurred.mean() == pytest.approx(crop(PHOTO).mean(), rel=0.02)


def landmarks_after(name):
    (face,) = find_faces(simulated(name).photo)[:1]
    return face.landmarks - FACE.landmarks, np.ptp(FACE.landmarks[:2, 0])


def test_a_turned_head_shows_its_nose_elsewhere():
    """The nose goes further than the eyes; a tilted head keeps its shape."""
    moved, wide = landmarks_after("pose-yaw")
    assert moved[2, 0] - moved[:2, 0].mean() > 0.1 * wide
    moved, wide = landmarks_after("pose-pitch")
    assert moved[:2, 1].mean() - moved[3:, 1].mean() > 0.05 * wide  # foreshortened: eyes nearer to the mouth
    after = find_faces(simulated("pose-roll").photo)[0].landmarks
    angle = np.degrees(
        np.arctan2(*(after[1] - after[0])[::-1]) - np.arctan2(*(FACE.landmarks[1] - FACE.landmarks[0])[::-1])
    )
    assert abs(angle) == pytest.approx(28, abs=4)
    assert all(simulated(f"pose-{variant}").moved for variant in VARIANTS["pose"])
    assert not simulated("glasses-dark").moved


def test_lenses_bend_a_grid():
    """A barrel draws what is far from the middle inwards, a pincushion outwards."""
    x, y = FACE.landmarks.mean(0)
    reach = np.linalg.norm(FACE.landmarks[1] - FACE.landmarks[0])
    ring = np.zeros_like(PHOTO)
    cv2.circle(ring, (int(x), int(y)), int(2 * reach), (255, 255, 255), 2)

    def radius(photo):
        rows, columns = np.nonzero(photo.max(2) > 60)
        return np.hypot(rows - y, columns - x).mean()

    barrel, pincushion = (
        simulate(ring, FACE.landmarks, f"distortion-{variant}").photo for variant in VARIANTS["distortion"]
    )
    assert radius(barrel) < 0.95 * radius(ring)
    assert radius(pincushion) > 1.05 * radius(ring)


def test_expressions_touch_what_they_move():
    left_eye, _, _, left_mouth, _ = FACE.landmarks.round().astype(int)
    eyes, mouth = simulated("expression-closed-eyes"), simulated("expression-open-mouth")
    assert eyes.mask[left_eye[1] - 6 : left_eye[1] + 12, left_eye[0]].any()
    assert not eyes.mask[left_mouth[1], left_mouth[0]]
    assert not mouth.mask[left_eye[1], left_eye[0]]
    gap = crop(mouth.photo)[100:106, 50:62]
    assert gap.mean() < 0.4 * crop(PHOTO)[100:106, 50:62].mean()  # dark inside
    pupils = [crop(each)[47:57, 33:44].min() for each in (PHOTO, eyes.photo)]
    assert pupils[1] > pupils[0]  # the dark pupil is gone


def test_the_background_changes_and_the_face_does_not():
    done = simulated("background-busy")
    changed = np.abs(done.photo.astype(int) - PHOTO).max(2)
    left, top, right, bottom = FACE.box.astype(int)
    assert changed[top:bottom, left + 10 : right - 10].max() < 10
    assert done.mask[:60, :60].mean() > 0.9
    tight = PHOTO[top:bottom, left:right]  # no background at all
    assert not simulate(tight, FACE.landmarks - (left, top), "background-busy").mask.all()


@pytest.mark.slow
def test_a_large_and_a_rotated_photo_look_the_same():
    """Placed by the landmarks: what the aligned face shows does not depend on the photo's size or tilt."""
    large = cv2.resize(PHOTO, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    face = Face(2 * FACE.box, 2 * FACE.landmarks + 0.5)
    for name, each in NON_COMPLIANCES.items():
        if each.kind not in ("pose", "background"):
            grown = align_arcface(simulate(large, face.landmarks, name).photo, face)
            assert np.abs(grown.astype(float) - crop(simulated(name).photo)).mean() < 9, name


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"no.*'glasses-pink': choose from headgear-cap, headgear-beanie"):
        simulated("glasses-pink")
    with pytest.raises(ValueError, match=r"no.*'tattoo-dragon'"):
        simulated("tattoo-dragon")
    for strength in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="choose 0 to 1"):
            simulated("blur-defocus", strength=strength)
