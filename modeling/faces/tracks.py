"""Which face of a frame is which of the frames before, and where it is when the detector's trembling is taken out."""

from dataclasses import dataclass

from ..vit.faces import Face, overlap

LEAST_OVERLAP = 0.3  # of the boxes of one face in two frames: intersection over union
KEPT = (
    0.6  # of what was known of a face, beside .4 of what is seen now: half of a jump is gone after a frame and a half
)
FORGOTTEN = 10  # frames that a face may be out of sight


@dataclass
class Track:
    """A face that goes on: `box` and `soft_label` are means over the frames, the last one weighing most."""

    number: int
    box: tuple[float, ...]
    seen: int
    soft_label: dict[str, float] | None = None

    def hears(self, soft_label: dict[str, float]) -> dict[str, float]:
        """The mean of the soft labels with this one; it sums to 1, as they do."""
        before = self.soft_label or soft_label
        self.soft_label = {name: KEPT * before[name] + (1 - KEPT) * share for name, share in soft_label.items()}
        return self.soft_label


class Tracks:
    """Numbers from 0 on, in the order in which faces come."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._next = 0

    def follow(self, faces: list[Face], frame: int) -> list[Track]:
        """The track of each face of the frame; the pair of boxes that overlap most is the first to be matched.

        Args:
            frame: counts the frames that are looked at, and grows from call to call.
        """
        self._tracks = [track for track in self._tracks if frame - track.seen <= FORGOTTEN]
        pairs = sorted(
            (
                (-overlap(face.box, track.box), place, number)
                for place, face in enumerate(faces)
                for number, track in enumerate(self._tracks)
            ),
        )
        found: dict[int, Track] = {}
        taken: set[int] = set()
        for unlike, place, number in pairs:
            if -unlike >= LEAST_OVERLAP and place not in found and number not in taken:
                found[place] = self._tracks[number]
                taken.add(number)
        return [self._updated(found.get(place), face, frame) for place, face in enumerate(faces)]

    def _updated(self, track: Track | None, face: Face, frame: int) -> Track:
        if track is None:
            track = Track(self._next, tuple(map(float, face.box)), frame)
            self._tracks.append(track)
            self._next += 1
            return track
        track.box = tuple(KEPT * was + (1 - KEPT) * now for was, now in zip(track.box, face.box, strict=True))
        track.seen = frame
        return track
