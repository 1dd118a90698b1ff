"""Whether confidence means what it says, against hard and against soft labels."""
